# SPDX-License-Identifier: Apache-2.0
"""Emergency calls (RFC 5031): urn:service:sos is a target like others, allowed by a rule, led out by a
route. They get through where all else is forbidden, and nothing else gets through with them."""
import re

import pytest

from tests.system.lib import Pbx, Phone, provision, ready_phone, sql, wait_until
from tests.system.lib.mapctl import mapctl
from tests.system.test_foreign_callers import federated, reaches, rule
from tests.system.test_trusted_peer import run_check

pytestmark = pytest.mark.lab(workers=2, proxy_sections={"route pbx": {"services": ["sos"]}})

SOS = "urn:service:sos"
SPELLINGS = (SOS, "URN:SERVICE:SOS", "urn:Service:sos", f"{SOS}.fire", f"{SOS}.POLICE", f"{SOS}.animal-control")


@pytest.fixture
def emergency(fresh_lab):
    """A phone and a PBX: emergency calls are allowed to everyone, and all else is forbidden."""
    with Pbx(fresh_lab) as pbx:
        alice = ready_phone(fresh_lab)
        status, warning = reaches(alice, pbx, to=SOS)
        assert status == 403 and "no-right:" in warning
        rule(fresh_lab, "everyone", "service", "sos", "allow", position=1)
        rule(fresh_lab, "everyone", "any", None, "deny", position=2)
        wait_until(lambda: reaches(alice, pbx, to=SOS)[0] == 200, what="the rules")
        yield fresh_lab, alice, pbx


def dial(phone, uri, **options):
    """Status and Warning of a request that the PBX does not get."""
    response = phone.exchange(phone.request("MESSAGE", uri, body="x", **options))
    return response.status, response.get("Warning") or ""


def test_F47_emergency_calls_leave_in_every_spelling_and_nothing_else_does(emergency):
    lab, alice, pbx = emergency
    bob = ready_phone(lab)
    for uri in SPELLINGS:
        alice.send(alice.request("MESSAGE", uri, body="help"))
        got = pbx.expect("MESSAGE")
        assert got.uri == uri and uri in got.get("To")
        pbx.reply(got, 200)
    for uri in ("urn:service:sosfire", "urn:service:counseling", "urn:service:so", bob.aor, pbx.aor):
        status, warning = dial(alice, uri)
        assert status == 403 and "rule-denies:" in warning, uri
    for uri in ("urn:service:", "urn:service:sos.", f"{SOS};x=y", "urn:service:%73os", f"{SOS}@{lab.domain}"):
        assert dial(alice, uri)[0] == 400, uri
    assert dial(alice, "urn:isbn:123")[0] == 416
    assert not pbx.seen("MESSAGE") and not bob.seen("MESSAGE")


def test_an_emergency_call_is_a_call_from_both_sides(emergency):
    _, alice, pbx = emergency
    out = alice.invite(f"{SOS}.fire")
    into = pbx.expect_call()
    assert alice.aor in into.invite.get("P-Asserted-Identity")
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    for call, other in ((out, pbx), (into, alice)):
        sent = call.send("INFO")
        got = other.expect("INFO")
        assert call is out or (SOS in got.get("From") and not got.fields("P-Asserted-Identity"))
        other.reply(got, 200)
        assert call.agent.response(sent).status == 200
    bye = into.bye()
    out.expect_bye()
    assert pbx.response(bye).status == 200


def test_a_service_is_called_and_calls_nobody(emergency):
    lab, alice, pbx = emergency
    for from_ in (f"<{SOS}>", "<urn:service:counseling>"):
        status, warning = dial(alice, SOS, from_=from_)
        assert status == 400 and "malformed:" in warning
    nobody = '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert reaches(alice, pbx, to=SOS, from_=nobody, P_Preferred_Identity=f"<{alice.aor}>")[0] == 200
    assert dial(alice, SOS, from_=nobody, P_Preferred_Identity=f"<{SOS}>")[0] == 403
    refused = alice.exchange(alice.make_register(to=f"<{SOS}>"))
    assert refused.status == 403 and "to-not-permitted:" in refused.get("Warning")
    assert alice.exchange(alice.request("REGISTER", SOS)).status == 400


def test_who_is_not_ours_and_who_is_disabled_need_rules_and_rights_as_for_all_else(emergency):
    lab, alice, pbx = emergency
    bob = federated(lab)
    status, warning = dial(bob, SOS)
    assert status == 403 and "no-right:" in warning
    rule(lab, "foreign", "service", "sos", "allow", position=1)
    wait_until(lambda: reaches(bob, pbx, to=SOS)[0] == 200, what="the rule of who is not ours")
    assert "device-unknown:" in dial(Phone(lab).connect(), SOS)[1]
    provision(lab, alice.cn, f"other-{alice.identity}")  # so that it stays connected
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", alice.identity)
    wait_until(lambda: "user-disabled:" in reaches(alice, pbx, to=SOS)[1], what="disabled")


def test_without_a_route_a_service_that_is_allowed_is_404(emergency):
    lab, alice, _ = emergency
    rule(lab, "everyone", "service", "counseling", "allow", position=1)
    wait_until(lambda: dial(alice, "urn:service:counseling.suicide")[0] == 404, what="the rule")
    assert "service-no-route:" in dial(alice, "urn:service:counseling.suicide")[1]
    assert "rule-denies:" in dial(alice, "urn:service:toll")[1]
    for target, said in ((SOS, "allowed"), ("urn:service:counseling", "but: service-no-route")):
        asked = ["--listener", "tls", "--cert", str(alice.pem), alice.identity, "INVITE", target]
        _, out, err = mapctl(lab, "check", "--proxy-config", str(lab.path("proxy.conf")), *asked)
        assert said in out, err


def test_services_that_are_none_are_named_with_their_line(fresh_lab):
    path = fresh_lab.path("bad.conf")
    text = fresh_lab.path("proxy.conf").read_text()
    bad = re.sub(r"services *=.*", 'services = {"sos", "urn:service:"}', text)
    path.write_text(bad)
    line = 1 + bad[: bad.index('"urn:service:"')].count("\n")
    done = run_check(fresh_lab, path)
    assert done.returncode != 0
    assert re.search(rf'bad\.conf:{line}: .*"urn:service:" is no service', done.stderr), done.stderr
