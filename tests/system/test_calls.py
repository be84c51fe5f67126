# SPDX-License-Identifier: Apache-2.0
"""Phones register and reach each other through the proxy: MESSAGE, calls, CANCEL, forking, a next
hop over TCP, and calls that end when a permission does."""
import pytest

from tests.system.lib import (
    Pbx,
    Phone,
    establish,
    parameter_of,
    provision,
    ready_phone,
    sql,
    uri_of,
    wait_until,
)

pytestmark = pytest.mark.tsan


def send_message(caller, to, body="hello", **headers):
    return caller.send(caller.request("MESSAGE", to, body=body, **headers))


def test_a_mapped_phone_registers_and_a_stranger_does_not(lab):
    alice = ready_phone(lab)
    again = alice.register()
    assert uri_of(again.get("Contact")) == uri_of(alice.contact)
    assert int(parameter_of(again.get("Contact"), "expires")) == 3600
    refused = Phone(lab).connect().register(expect=403)
    assert "device-unknown" in refused.get("Warning")


def test_a_message_reaches_phones_of_every_worker(lab):
    phones = [ready_phone(lab) for _ in range(6)]
    for a in phones[:3]:
        for b in phones[3:]:
            sent = send_message(a, b.aor)
            got = b.expect("MESSAGE")
            assert got.text() == "hello"
            assert uri_of(got.get("P-Asserted-Identity")) == a.aor
            b.reply(got, 200)
            assert a.response(sent).status == 200


def test_a_call_with_ringing_answer_and_bye_from_either_side(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, into = establish(alice, bob)
    bye = into.bye()
    assert out.expect_bye().cseq == bye.cseq
    assert bob.response(bye).status == 200
    out, into = establish(alice, bob)
    bye = out.bye()
    assert into.expect_bye().cseq == bye.cseq
    assert alice.response(bye).status == 200


def test_a_ringing_call_is_cancelled(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    cancel = alice.send(out.make_cancel())
    assert alice.response(cancel).status == 200
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    assert out.answer().status == 487
    into.expect_ack()


def test_a_refused_call_is_acknowledged_hop_by_hop(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(486)
    into.expect_ack()
    assert out.answer().status == 486


def test_a_call_forks_to_all_phones_of_a_user_and_the_first_answer_wins(lab):
    alice, desk = ready_phone(lab), ready_phone(lab)
    mobile = Phone(lab, user=desk.user)
    provision(lab, mobile.cn, desk.identity)
    mobile.connect().register()
    out = alice.invite(desk.aor)
    at_desk, at_mobile = desk.expect_call(), mobile.expect_call()
    at_desk.reply(180)
    at_mobile.reply(180)
    out.expect(180)
    at_mobile.reply(200)
    assert out.answer().status == 200
    at_mobile.expect_ack()
    desk.reply(desk.expect("CANCEL"), 200)
    at_desk.reply(487)
    at_desk.expect_ack()
    out.bye()
    mobile.reply(at_mobile.expect_bye(), 200)


def test_nobody_there_is_480_and_nobody_known_404(lab):
    alice, away = ready_phone(lab), Phone(lab).provision()
    assert alice.message(away.aor).status == 480
    assert alice.message(f"sip:nobody@{lab.domain}").status == 404
    refused = alice.message("sip:someone@elsewhere.example")
    assert refused.status == 403 and "no-right" in refused.get("Warning")


def test_a_call_to_a_next_hop_over_tcp_and_its_bye_back_in(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        refused = alice.message(pbx.aor)
        assert refused.status == 403 and "no-right" in refused.get("Warning")
        sql(
            lab,
            "INSERT INTO rights_rule (position, who_kind, target_kind, target, effect)"
            " VALUES (50, 'everyone', 'domain', 'pbx.example.org', 'allow')",
        )
        wait_until(lambda: send_and_take(alice, pbx), what="the route is permitted")
        out, into = establish(alice, pbx)
        routes = into.invite.all("Record-Route")
        assert len(routes) == 2 and "transport=tcp" in routes[0] and "transport=tls" in routes[1]
        assert all(len(parameter_of(uri_of(r), "t")) < 160 for r in routes)
        bye = into.bye()
        assert out.expect_bye().cseq == bye.cseq
        assert pbx.response(bye).status == 200


def send_and_take(alice, pbx):
    sent = send_message(alice, pbx.aor)
    response = None
    while response is None:
        if pbx.seen("MESSAGE"):
            pbx.reply(pbx.expect("MESSAGE"), 200)
        pbx._read()
        alice._read()
        response = alice.take(lambda m: m.status and m.branch == sent.branch and m.status >= 200)
    return response.status == 200
