# SPDX-License-Identifier: Apache-2.0
"""What RFC 3261, 4320 and 3327 ask of a proxy and registrar beyond calls that go well: which
answers go up, what is refused before permission is asked, whom nobody knows."""
import signal
import socket
import threading
import time

import pytest

from tests.system.lib import Pbx, Phone, parameter_of, provision, ready_phone, sql, wait_until
from tests.system.lib.agent import Agent, Stream

pytestmark = pytest.mark.tsan


def permit_pbx(lab, alice, pbx):
    """Calls to the next hop are permitted, and alice's worker knows it."""
    sql(
        lab,
        "INSERT INTO rights_rule (position, who_kind, target_kind, target, effect)"
        " VALUES (50, 'everyone', 'domain', 'pbx.example.org', 'allow')",
    )

    def passes():
        sent = alice.send(alice.request("OPTIONS", pbx.aor))
        response = None
        while response is None:
            if pbx.seen("OPTIONS"):
                pbx.reply(pbx.expect("OPTIONS"), 200)
            pbx._read()
            alice._read()
            response = alice.take(lambda m: m.status and m.branch == sent.branch)
        return response.status == 200

    wait_until(passes, what="the route is permitted")


class Stranger(Agent):
    """A TCP peer at an address that no route has."""

    transport = "TCP"

    def __init__(self, lab):
        super().__init__("mallory", lab.domain)
        connection = socket.socket()
        connection.bind(("127.0.0.77", 0))
        connection.connect(lab.sip_tcp)
        self.streams.append(Stream(connection))


def test_a_tcp_peer_that_is_no_route_gets_403_for_everything(lab):
    alice = ready_phone(lab)
    with Stranger(lab) as stranger:
        for method in ("OPTIONS", "REGISTER", "MESSAGE", "INVITE", "BYE"):
            refused = stranger.exchange(stranger.request(method, alice.aor))
            assert refused.status == 403 and "peer-not-a-route" in refused.get("Warning")
        call = stranger.invite(alice.aor)
        assert call.answer().status == 403
        assert stranger.exchange(call.make_cancel()).status == 481
        stranger.send(call.make_ack())
        stranger.send(stranger.make_response(stranger.request("MESSAGE", alice.aor), 200))
        assert stranger.options(alice.aor).status == 403
    assert alice.options().status == 200


def test_a_call_refused_by_the_next_hop_is_acknowledged_there(fresh_lab):
    with Pbx(fresh_lab) as pbx:
        alice = ready_phone(fresh_lab)
        permit_pbx(fresh_lab, alice, pbx)
        out = alice.invite(pbx.aor)
        into = pbx.expect_call()
        into.reply(486)
        assert into.expect_ack().branch == into.invite.branch
        assert out.answer().status == 486
        out = alice.invite(pbx.aor)
        into = pbx.expect_call()
        into.reply(180)
        out.expect(180)
        assert out.cancel().status == 200
        pbx.reply(pbx.expect("CANCEL"), 200)
        into.reply(487)
        into.expect_ack()
        assert out.answer().status == 487


def test_a_next_hop_that_is_not_there_is_503(fresh_lab):
    alice = ready_phone(fresh_lab)
    with Pbx(fresh_lab) as pbx:
        permit_pbx(fresh_lab, alice, pbx)

    def is_gone():
        response = alice.message(pbx.aor, timeout=10)
        return response.status == 500 and "next-hop-unreachable" in response.get("Warning")

    wait_until(is_gone, what="503 for the next hop")


def test_a_response_for_another_call_goes_nowhere(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="hello"))
    got = bob.expect("MESSAGE")

    def forge(name, value):
        forged = bob.make_response(got, 200)
        forged.remove(name)
        for one in [value] if isinstance(value, str) else value:
            forged.add(name, one)
        bob.send(forged, got.stream)

    forge("Call-ID", "another-call")
    forge("CSeq", "4711 MESSAGE")
    forge("From", f"<{alice.aor}>;tag=another")
    forge("Via", got.fields("Via")[0])
    forge("Via", [got.fields("Via")[0], "SIP/2.0/TLS 127.0.0.1:1;branch=z9hG4bKanother"])
    assert bob.options().status == 200
    assert not alice.seen(200)
    bob.reply(got, 202)
    assert alice.response(sent).status == 202


def test_a_non_invite_gets_neither_provisional_nor_408_of_the_callee(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="hello"))
    got = bob.expect("MESSAGE")
    bob.reply(got, 183)
    bob.reply(got, 408)
    assert bob.options().status == 200
    assert alice.options().status == 200
    assert not alice.seen(183) and not alice.seen(408)
    assert alice.take(lambda m: m.status and m.branch == sent.branch) is None


@pytest.mark.parametrize("answers, best", [
    ((503,), 500),
    ((503, 500), 500),
    ((486, 401), 401),
    ((404, 603), 603),
    ((502, 480), 480),
    ((408, 486), 486),
])
def test_the_best_answer_of_a_fork_goes_up(lab, answers, best):
    alice, desk = ready_phone(lab), ready_phone(lab)
    phones = [desk]
    for _ in answers[1:]:
        other = Phone(lab, user=desk.user)
        provision(lab, other.cn, desk.identity)
        other.connect().register()
        phones.append(other)
    out = alice.invite(desk.aor)
    calls = [phone.expect_call() for phone in phones]
    for call, status in zip(calls, answers):
        call.reply(status)
        call.expect_ack()
    assert out.answer().status == best


def test_what_an_early_dialog_needs_passes_by_its_token(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out = alice.invite(bob.aor, Supported="100rel")
    into = bob.expect_call()
    into.reply(183, Require="100rel", RSeq="1")
    assert out.expect(183).get("RSeq") == "1"
    for method, options in (("PRACK", {"RAck": "1 1 INVITE"}), ("UPDATE", {}), ("INFO", {})):
        sent = out.send(method, **options)
        bob.reply(bob.expect(method), 200)
        assert alice.response(sent).status == 200
    into.routes = into.invite.all("Record-Route")
    sent = into.send("UPDATE", uri=out.agent.contact[1:-1])
    alice.reply(alice.expect("UPDATE"), 200)
    assert bob.response(sent).status == 200
    into.reply(200)
    assert out.answer().status == 200
    out.ack()
    into.expect_ack()


def test_extensions_that_we_lack_are_refused_by_name(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    refused = alice.register(expect=420, Require=["outbound, gruu", "path"])
    assert refused.fields("Unsupported") == ["gruu, path"]
    refused = alice.options(Require="eating")
    assert refused.status == 420 and refused.fields("Unsupported") == ["eating"]
    refused = alice.message(bob.aor, Proxy_Require=["one", "two, three"])
    assert refused.status == 420 and refused.fields("Unsupported") == ["one, two, three"]
    assert alice.message(bob.aor, Proxy_Require="a b").status == 400
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="x", Require="theirs"))
    bob.reply(bob.expect("MESSAGE"), 200)
    assert alice.response(sent).status == 200


def test_a_register_that_is_none(lab):
    alice = ready_phone(lab)
    request = alice.make_register()
    request.start = f"REGISTER {alice.aor} SIP/2.0"
    assert alice.exchange(request).status == 400
    assert alice.register(expect=400, Expires="4294967296")
    assert alice.register(expect=400, contact="*")
    assert alice.register(expect=400, contact="<sip:%>")
    assert alice.register(expect=400, contact=f"<sip:{'a' * 1100}@127.0.0.1:5555>")
    assert alice.register(expect=400, call_id="c" * 600)
    brief = alice.register(expect=423, expires=5)
    assert int(brief.get("Min-Expires")) == 60
    not_here = alice.request("MESSAGE", f"sip:{lab.domain}", body="x")
    refused = alice.exchange(not_here)
    assert refused.status == 405 and refused.fields("Allow") == ["REGISTER, OPTIONS"]


def test_reg_id_counts_only_with_outbound(lab):
    alice = Phone(lab).provision().connect()
    contact = alice.contact + ';+sip.instance="<urn:uuid:1>";reg-id=1'
    without = alice.register(contact=contact)
    assert "reg-id" not in without.get("Contact") and not without.fields("Require")
    alice.register(contact=contact, expires=0)
    real = alice.register(contact=contact, Supported="path, outbound")
    assert "reg-id=1" in real.get("Contact") and real.get("Require") == "outbound"


def test_headers_of_a_contact_stay_out_of_the_request_uri_that_it_becomes(lab):
    alice, bob = ready_phone(lab), Phone(lab).provision().connect()
    plain = bob.contact.strip("<>")
    bob.register(contact=f"<{plain};ob?Route=%3Csip:x%3E>")
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="x"))
    got = bob.expect("MESSAGE")
    assert got.uri == f"{plain};ob" and not got.fields("Route")
    bob.reply(got, 200)
    assert alice.response(sent).status == 200


def test_a_changed_preference_is_stored(lab):
    alice = ready_phone(lab)
    for q in ("0.300", "0.700"):
        alice.register(contact=alice.contact + f";q={q}")
        other = Phone(lab, user=alice.user)
        provision(lab, other.cn, alice.identity)
        other.connect()
        listed = other.exchange(other.request("REGISTER", f"sip:{lab.domain}", to=f"<{alice.aor}>"))
        assert [parameter_of(c, "q") for c in listed.all("Contact")] == [q]


@pytest.mark.lab(proxy_conf={"aliases": ["sip.example.org"]})
def test_an_alias_in_a_route_means_us(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    port = lab.sip_tls[1]
    sent = alice.send(
        alice.request("MESSAGE", bob.aor, body="x", Route=f"<sip:SIP.example.org:{port};lr>")
    )
    got = bob.expect("MESSAGE")
    assert not got.fields("Route")
    bob.reply(got, 200)
    assert alice.response(sent).status == 200
    refused = alice.message(bob.aor, Route="<sip:sip.example.org:9;lr>")
    assert refused.status == 403 and "route-not-permitted" in refused.get("Warning")


@pytest.mark.lab(proxy_conf={"t1": 100, "t2": 400})
@pytest.mark.parametrize("ringing", [False, True])
def test_a_callee_that_is_gone_for_good_is_480(fresh_lab, ringing):
    alice, bob = ready_phone(fresh_lab), ready_phone(fresh_lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    if ringing:
        into.reply(180)
        out.expect(180)
    bob.close()
    assert out.answer().status == 480


@pytest.mark.lab(proxy_conf={"t1": 100, "t2": 400})
def test_a_fork_ends_when_one_phone_refuses_and_the_other_was_retired(fresh_lab):
    lab = fresh_lab
    alice, desk = ready_phone(lab), ready_phone(lab)
    mobile = Phone(lab, user=desk.user)
    provision(lab, mobile.cn, desk.identity)
    mobile.connect().register()
    out = alice.invite(desk.aor)
    at_desk, at_mobile = desk.expect_call(), mobile.expect_call()
    at_mobile.reply(180)
    out.expect(180)
    sql(lab, "SELECT retire_device(%s)", mobile.cn)
    mobile.expect_closed()
    at_desk.reply(486)
    assert out.answer().status == 486


def test_a_fork_ends_with_what_one_phone_said_when_the_other_loses_who_is_called(fresh_lab):
    lab = fresh_lab
    alice, desk = ready_phone(lab), ready_phone(lab)
    mobile = Phone(lab, user=desk.user)
    provision(lab, mobile.cn, desk.identity)
    provision(lab, mobile.cn, f"keep-{desk.user}@{lab.domain}")  # its connection stays
    mobile.connect().register()
    out = alice.invite(desk.aor)
    at_desk, at_mobile = desk.expect_call(), mobile.expect_call()
    at_mobile.reply(180)
    out.expect(180)
    at_desk.reply(486)
    at_desk.expect_ack()
    sql(
        lab,
        "DELETE FROM cn_mapping WHERE cn = device_cn(%s) AND identity = %s",
        mobile.cn,
        desk.identity,
    )
    mobile.reply(mobile.expect("CANCEL"), 200)
    at_mobile.reply(487)
    at_mobile.expect_ack()
    assert out.answer().status == 486


@pytest.mark.lab(proxy_conf={"t1": 100, "t2": 400})
def test_a_callee_that_comes_back_while_it_rings_may_still_answer(fresh_lab):
    alice, bob = ready_phone(fresh_lab), ready_phone(fresh_lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    contact = bob.contact
    bob.close()
    bob.connect().register()
    deadline = time.monotonic() + 1.5  # longer than the proxy waits for a phone that is away
    while time.monotonic() < deadline:
        assert bob.options().status == 200
    bob.send(bob.make_response(into.invite, 200, to_tag=into.local_tag, contact=contact))
    assert out.answer().status == 200


def test_a_rule_without_a_route_leads_nowhere(fresh_lab):
    alice = ready_phone(fresh_lab)
    sql(
        fresh_lab,
        "INSERT INTO rights_rule (position, who_kind, target_kind, target, effect)"
        " VALUES (50, 'everyone', 'domain', 'far.example', 'allow')",
    )

    def leads_nowhere():
        refused = alice.message("sip:bob@far.example")
        return refused.status == 403 and "target-no-route" in refused.get("Warning")

    wait_until(leads_nowhere, what="the rule")


def test_faults_have_reasons_of_their_own(lab):
    alice = ready_phone(lab)
    for start, status, reason in (
        ("OPTIONS http://example.org SIP/2.0", 416, "scheme-unsupported"),
        ("OPTIONS sip:example.org SIP/3.0", 505, "version-unsupported"),
        ("OPTIONS sip:%ff%@example.org SIP/2.0", 400, "malformed"),
    ):
        request = alice.request("OPTIONS", "sip:example.org")
        request.start = start
        refused = alice.exchange(request)
        assert refused.status == status and reason + ":" in refused.get("Warning")
    refused = alice.options(from_="<http://example.org>")
    assert refused.status == 400 and "malformed" in refused.get("Warning")


def test_sips_never_leaves_over_tcp_and_routing_parameters_by_no_number(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    assert alice.message(f"sips:operator@pbx.{lab.domain}").status == 416
    sent = alice.send(alice.request("MESSAGE", f"sips:{bob.identity}", body="x"))
    bob.reply(bob.expect("MESSAGE"), 200)
    assert alice.response(sent).status == 200
    refused = alice.message(f"sip:+4930@{lab.domain};rn=+1900;user=phone")
    assert refused.status == 403


def test_a_stop_answers_what_is_parked_and_leaves_nothing(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    stored = alice.make_register(expires=7200)
    lab.processes["mapperd"].send(signal.SIGSTOP)
    try:
        out = alice.invite(bob.aor)
        alice.send(stored)
        out.expect(100)
        stopper = threading.Thread(target=lambda: ended.append(lab.stop_program("proxy")))
        ended = []
        stopper.start()
        assert out.answer().status == 503
        assert alice.response(stored).status == 503
        alice.expect_closed()
        stopper.join()
        assert ended == [0]
    finally:
        lab.processes["mapperd"].send(signal.SIGCONT)


def test_each_refusal_is_logged_once(lab):
    alice = ready_phone(lab)
    refused = alice.message("sip:someone@elsewhere.example")
    assert refused.status == 403
    wait_until(lambda: refused.get("Call-ID") in lab.log_of("proxy").read_text())
    lines = [line for line in lab.log_of("proxy").read_text().splitlines() if refused.get("Call-ID") in line]
    assert [line for line in lines if "effect=deny" in line]
    assert not [line for line in lines if "event=refused" in line]


def test_T32_what_is_too_long_to_name_a_transaction_is_malformed(lab):
    alice = ready_phone(lab)
    long_branch = alice.request("OPTIONS", f"sip:{lab.domain}")
    long_branch.set("Via", long_branch.get("Via").replace(";branch=", ";branch=" + "z9hG4bK" * 700))
    for request in (long_branch, alice.request("A" * 65, f"sip:{lab.domain}")):
        refused = alice.exchange(request)
        assert refused.status == 400 and "malformed" in refused.get("Warning")
    assert alice.options().status == 200
