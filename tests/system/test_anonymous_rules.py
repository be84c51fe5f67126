# SPDX-License-Identifier: Apache-2.0
"""Who has proved nothing has the rules of `anonymous`: alone on a listener that asks for nothing (default
none), and before the listener's word where third parties are accepted (F46)."""
import pytest

from tests.system.lib import Pbx, Phone, ready_phone, sql, wait_until
from tests.system.test_emergency import dial
from tests.system.test_foreign_callers import federated, reaches, rule

SECTIONS = {
    "listener open": {"client_certificate": "ignored", "trust_stores": None},
    "listener accepting": {"client_certificate": "optional", "third_parties": "accept"},
    "route pbx": {"services": ["sos"]},
}
pytestmark = pytest.mark.lab(workers=2, proxy_sections=SECTIONS)


def nobody(lab, listener):
    """x@elsewhere.example, without a certificate."""
    phone = Phone(lab, user="x", certified=False).connect(listener=listener)
    phone.domain = "elsewhere.example"
    return phone


def refused(response, reason):
    return response[0] == 403 and reason in response[1]


def test_F46_where_nothing_is_asked_the_rules_of_anonymous_alone_let_in(fresh_lab):
    lab = fresh_lab
    alice, caller = ready_phone(lab), nobody(lab, "open")
    ours = f"<sip:bob@{lab.domain}>"
    assert refused(dial(caller, alice.aor), "certificate-required:")
    rule(lab, "everyone", "any", None, "allow")
    rule(lab, "foreign", "any", None, "allow")
    assert refused(dial(caller, alice.aor), "certificate-required:")
    rule(lab, "anonymous", "user", alice.identity, "allow", position=5)
    wait_until(lambda: reaches(caller, alice)[0] == 200, what="the rule")
    assert refused(reaches(caller, alice, from_=ours), "certificate-required:")
    assert refused(reaches(caller, alice, from_=f"<{alice.aor}>"), "certificate-required:")
    assert refused(dial(caller, f"sip:bob@{lab.domain}"), "certificate-required:")
    assert refused(dial(caller, f"sip:x@pbx.{lab.domain}"), "certificate-required:")
    assert caller.exchange(caller.request("OPTIONS", f"sip:{lab.domain}")).status == 403
    for request in (caller.make_register(), caller.make_register(to=f"<{alice.aor}>")):
        request.start = f"REGISTER sip:{lab.domain} SIP/2.0"
        answer = caller.exchange(request)
        assert answer.status == 403 and "certificate-required:" in answer.get("Warning")
    out = caller.invite(alice.aor)
    into = alice.expect_call()
    assert not into.invite.fields("P-Asserted-Identity")
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    bye = into.bye()
    out.expect_bye()
    assert alice.response(bye).status == 200
    sql(lab, "DELETE FROM rights_rule WHERE who_group = 'anonymous'")
    wait_until(lambda: refused(reaches(caller, alice), "certificate-required:"), what="the rule is gone")


def test_F46_a_stranger_is_bound_by_the_rules_of_anonymous_and_not_by_those_of_foreign(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice, caller, peer = ready_phone(lab), nobody(lab, "accepting"), federated(lab)
        assert reaches(caller, alice)[0] == 200
        assert refused(dial(caller, "urn:service:sos"), "no-right:")
        rule(lab, "foreign", "any", None, "deny")
        wait_until(lambda: refused(reaches(peer, alice), "rule-denies:"), what="the rule of foreign")
        assert reaches(caller, alice)[0] == 200
        rule(lab, "anonymous", "service", "sos", "allow")
        wait_until(lambda: reaches(caller, pbx, to="urn:service:sos")[0] == 200, what="emergency calls")
        assert refused(dial(peer, "urn:service:sos"), "rule-denies:")
        rule(lab, "anonymous", "ours", None, "deny", methods=["MESSAGE"])
        wait_until(lambda: refused(reaches(caller, alice), "rule-denies:"), what="the rule of anonymous")
        out = caller.invite(alice.aor)
        into = alice.expect_call()
        into.reply(486)
        into.expect_ack()
        assert out.answer().status == 486
