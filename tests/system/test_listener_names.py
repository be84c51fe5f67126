# SPDX-License-Identifier: Apache-2.0
"""Via and Record-Route name the listener by which who gets the request reaches us (RFC 3261 16.6, RFC 5658):
with two listeners each side of a call has a way back, and keeps it when it comes back by the other one."""
import pytest

from tests.system.lib import Phone, establish, resp, wait_until
from tests.system.test_write_time import worker_of

NAMES = {"tls": "first.example.net:5061", "second": "second.example.net:5071"}

pytestmark = pytest.mark.lab(
    workers=2,
    proxy_sections={f"listener {name}": {"advertise": advertised} for name, advertised in NAMES.items()},
)


def phone_on(lab, listener):
    phone = Phone(lab).provision().connect(listener=listener)
    phone.register()
    return phone


def phone_elsewhere(other, listener):
    """On the other worker."""
    for _ in range(50):
        phone = phone_on(other.lab, listener)
        if worker_of(phone) != worker_of(other):
            return phone
        phone.close()
    raise AssertionError("50 connections and all of them on one worker")


def via_names(request, listener):
    return request.get("Via").startswith(f"SIP/2.0/TLS {NAMES[listener]};branch=")


def recorded(message):
    """The listeners that Record-Route names, topmost first."""
    by_name = {advertised: name for name, advertised in NAMES.items()}
    return [by_name[value.split("sip:")[1].split(";")[0]] for value in message.all("Record-Route")]


def connections(lab):
    return int(resp(lab, "INFO", program="proxy").split("\nconnections:")[1].split("\r\n")[0])


def comes_back(phone, listener):
    """Without a word about where it is: no REGISTER."""
    before = connections(phone.lab)
    phone.close()
    wait_until(lambda: connections(phone.lab) < before, what="the proxy notices the end")
    phone.connect(listener=listener)
    phone.options()


@pytest.mark.tsan
@pytest.mark.parametrize("caller, callee", [("tls", "second"), ("second", "tls"), ("second", "second")])
def test_F60_each_side_of_a_call_is_told_the_listener_that_it_reaches(fresh_lab, caller, callee):
    alice = phone_on(fresh_lab, caller)
    for bob in (phone_on(fresh_lab, callee), phone_elsewhere(alice, callee)):
        out, into = establish(alice, bob)
        both = [callee, caller] if callee != caller else [caller]
        assert recorded(into.invite) == both and recorded(out.final) == both
        assert via_names(into.invite, callee)
        for side, sender, receiver, there in ((out, alice, bob, callee), (into, bob, alice, caller)):
            sent = side.send("INFO")
            got = receiver.expect("INFO")
            assert via_names(got, there)
            assert got.all("Route") == []
            receiver.reply(got, 200)
            assert sender.response(sent).status == 200
        bye = into.bye()
        assert via_names(out.expect_bye(), caller)
        assert bob.response(bye).status == 200


@pytest.mark.tsan
def test_F60_who_has_come_back_by_another_listener_is_told_that_one(fresh_lab):
    """The flow of the binding is gone; the request was written for it, and is written anew. So are its CANCEL
    and its ACK, which name what the request names (RFC 3261 9.1, 17.1.1.3)."""
    alice = phone_on(fresh_lab, "tls")
    for bob in (phone_on(fresh_lab, "tls"), phone_elsewhere(alice, "tls")):
        comes_back(bob, "second")
        out = alice.invite(bob.aor)
        into = bob.expect_call()
        assert via_names(into.invite, "second") and recorded(into.invite) == ["second", "tls"]
        into.reply(180)
        out.expect(180)
        assert out.cancel().status == 200
        cancel = bob.expect("CANCEL")
        assert cancel.get("Via") == into.invite.get("Via")
        bob.reply(cancel, 200)
        into.reply(487)
        assert into.expect_ack().get("Via") == into.invite.get("Via")
        assert out.answer().status == 487
        # The token says where it was when the call began.
        out, into = establish(alice, bob)
        comes_back(bob, "tls")
        sent = out.send("INFO")
        got = bob.expect("INFO")
        assert via_names(got, "tls")
        bob.reply(got, 200)
        assert alice.response(sent).status == 200


def test_F60_a_flow_of_an_earlier_run_is_replaced_by_what_is_there(fresh_lab):
    bob = phone_on(fresh_lab, "second")
    fresh_lab.restart_program("proxy")
    bob.close()
    bob.connect(listener="second").options()
    alice = Phone(fresh_lab).provision().connect()
    out, into = establish(alice, bob)
    assert via_names(into.invite, "second") and recorded(into.invite) == ["second", "tls"]
    bye = out.bye()
    assert via_names(into.expect_bye(), "second")
    assert alice.response(bye).status == 200
