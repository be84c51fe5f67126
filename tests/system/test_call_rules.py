# SPDX-License-Identifier: Apache-2.0
"""Timer C, and what a next hop may do inside a call."""
import pytest

from tests.system.lib import SDP, Pbx, establish, ready_phone, sql, wait_until

pytestmark = pytest.mark.tsan


def ring(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    return alice, bob, out, into


@pytest.mark.lab(workers=2, proxy_conf={"timer_c": 1000})
def test_timer_C_cancels_a_call_that_rings_for_too_long(fresh_lab):
    _, bob, out, into = ring(fresh_lab)
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    assert out.answer().status in (408, 487)


@pytest.mark.lab(workers=2, proxy_conf={"timer_c": 1000, "t1": 50})
def test_timer_C_ends_the_call_of_a_callee_that_takes_no_cancel(fresh_lab):
    _, bob, out, _ = ring(fresh_lab)
    bob.expect("CANCEL")
    assert out.answer().status in (408, 487)


def routed(lab, phone, pbx):
    """The rule is in force: a MESSAGE gets through to the next hop."""
    phone.send(phone.request("MESSAGE", pbx.aor, body="hello"))
    wait_until(lambda: pbx.seen("MESSAGE") or phone.seen(403), what="MESSAGE or 403")
    if pbx.seen("MESSAGE"):
        pbx.reply(pbx.expect("MESSAGE"), 200)
        phone.expect(200)
        return True
    phone.expect(403)
    return False


def test_a_next_hops_re_invite_and_info_come_back_in(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        sql(
            lab,
            "INSERT INTO rights_rule (target_kind, target, effect)"
            " VALUES ('domain', 'pbx.example.org', 'allow')",
        )
        wait_until(lambda: routed(lab, alice, pbx), what="the rule")
        out, into = establish(alice, pbx)
        again = into.send("INVITE", body=SDP, Contact=pbx.contact)
        received = alice.expect("INVITE", call_id=out.call_id)
        assert received.body
        alice.reply(received, 200, contact=alice.contact, body=SDP)
        assert pbx.response(again).status == 200
        pbx.send(into.make_request("ACK", cseq=again.cseq))
        assert alice.expect("ACK", call_id=out.call_id).cseq == again.cseq
        info = into.send("INFO")
        alice.reply(alice.expect("INFO"), 200)
        assert pbx.response(info).status == 200
        into.bye()
        out.expect_bye()
