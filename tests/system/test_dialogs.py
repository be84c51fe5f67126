# SPDX-License-Identifier: Apache-2.0
"""What phones do inside dialogs, and dialogs that outlive the keys and the proxy that they began with
(T2, T3, T18): hold, UPDATE, PRACK, transfer with REFER and Replaces, NOTIFY."""
import secrets

import pytest

from tests.lab.resp import RespError
from tests.system.lib import Call, Phone, SDP, establish, new_tag, ready_phone, resp, wait_until

pytestmark = pytest.mark.tsan

HELD = SDP.replace("m=audio", "a=sendonly\r\nm=audio")


@pytest.fixture
def three(lab):
    phones = [ready_phone(lab) for _ in range(3)]
    yield phones
    for phone in phones:
        phone.close()


def passes(sender, receiver, request, method, status=200, **options):
    """Sends it; the other side gets it and answers. Gives what it got."""
    sender.send(request)
    got = receiver.expect(method, call_id=request.call_id)
    receiver.reply(got, status, **options)
    response = sender.response(request)
    assert response.status == status, str(response)
    return got


def refused(phone, request, reason):
    response = phone.exchange(request)
    assert response.status == 403 and reason in response.get("Warning"), str(response)


def test_T18_hold_and_its_end_from_either_side(three):
    alice, bob, mallory = three
    out, into = establish(alice, bob)
    for call, sender, receiver in ((out, alice, bob), (into, bob, alice)):
        for body in (HELD, SDP):
            again = call.make_request("INVITE", body=body)
            got = passes(sender, receiver, again, "INVITE", body=body, contact=receiver.contact)
            assert got.text() == body
            sender.send(call.make_request("ACK", cseq=again.cseq))
            receiver.expect("ACK", call_id=call.call_id)
        refused(mallory, call.make_request("INVITE", body=HELD), "token-other-device")


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "MESSAGE", "OPTIONS", "NOTIFY", "SUBSCRIBE"])
def test_T18_requests_inside_a_call_pass_both_ways_and_from_nobody_else(three, method):
    alice, bob, mallory = three
    out, into = establish(alice, bob)
    passes(alice, bob, out.make_request(method), method)
    passes(bob, alice, into.make_request(method), method)
    refused(mallory, out.make_request(method), "token-other-device")
    assert not alice.seen(method) and not bob.seen(method)


def test_T18_prack_inside_a_dialog_that_is_not_answered_yet(three):
    alice, bob, mallory = three
    out = alice.invite(bob.aor, Supported="100rel")
    into = bob.expect_call()
    into.reply(183, Require="100rel", RSeq=1)
    out.expect(183)
    rack = {"RAck": f"1 {out.invite.cseq} INVITE"}
    refused(mallory, out.make_request("PRACK", **rack), "token-other-device")
    passes(alice, bob, out.make_request("PRACK", **rack), "PRACK")
    passes(alice, bob, out.make_request("UPDATE", body=SDP), "UPDATE")
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()


def test_T18_a_blind_transfer_by_refer_inside_the_call(three):
    alice, bob, carol = three
    out, into = establish(alice, bob)
    refer = out.make_request("REFER", Refer_To=f"<{carol.aor}>", Referred_By=f"<{alice.aor}>")
    got = passes(alice, bob, refer, "REFER", status=202)
    assert got.get("Refer-To") == f"<{carol.aor}>"
    # bob says how it goes, inside the call, and calls carol in his own name.
    notify = into.make_request("NOTIFY", Event="refer", body="SIP/2.0 100 Trying\r\n")
    passes(bob, alice, notify, "NOTIFY")
    moved, at_carol = establish(bob, carol)
    assert at_carol.invite.from_uri == bob.aor
    passes(bob, alice, into.make_request("NOTIFY", Event="refer", body="SIP/2.0 200 OK\r\n"), "NOTIFY")
    passes(alice, bob, out.make_request("BYE"), "BYE")
    passes(carol, bob, at_carol.make_request("BYE"), "BYE")
    # Referred-By is nobody's but the sender's, in a call as well.
    forged = moved.make_request("REFER", Refer_To=f"<{alice.aor}>", Referred_By=f"<{alice.aor}>")
    refused(bob, forged, "referred-by-not-permitted")


def test_T02_refer_outside_a_call_begins_a_dialog_of_its_own(three):
    alice, bob, mallory = three
    refer = alice.request("REFER", bob.aor, Refer_To=f"<{mallory.aor}>")
    alice.send(refer)
    got = bob.expect("REFER")
    bob.reply(got, 202, to_tag="bobs", contact=bob.contact)
    alice.response(refer)
    subscription = Call(bob, got, outgoing=False)
    subscription.local_tag = "bobs"
    passes(bob, alice, subscription.make_request("NOTIFY", Event="refer", body="SIP/2.0 200 OK\r\n"), "NOTIFY")
    refused(mallory, subscription.make_request("NOTIFY", Event="refer"), "token-other-device")
    alone = bob.request("NOTIFY", alice.aor, to=f"<{alice.aor}>;tag={new_tag()}", Event="refer")
    assert bob.exchange(alone).status == 481  # a To tag without a token is no dialog


def test_T01_invite_with_replaces_is_a_new_request_of_who_sends_it(three):
    """An attended transfer: alice has a call with bob and one with carol, and gives bob to carol."""
    alice, bob, carol = three
    out, into = establish(alice, bob)
    second, at_carol = establish(alice, carol)
    replaced = f"{second.call_id};to-tag={at_carol.local_tag};from-tag={second.local_tag}"
    target = f"<{carol.aor}?Replaces={replaced.replace(';', '%3B').replace('=', '%3D')}>"
    passes(alice, bob, out.make_request("REFER", Refer_To=target), "REFER", status=202)
    refused(bob, bob.request("INVITE", carol.aor, from_=f"<{alice.aor}>", Replaces=replaced), "from-not-permitted")
    assert not carol.seen("INVITE")
    moved = bob.invite(carol.aor, Replaces=replaced, Require="replaces")
    taken = carol.expect_call()
    assert taken.invite.get("Replaces") == replaced and taken.invite.from_uri == bob.aor
    taken.reply(200)
    assert moved.answer().status == 200
    taken.expect_ack()
    passes(carol, alice, at_carol.make_request("BYE"), "BYE")  # what it replaces
    passes(alice, bob, out.make_request("BYE"), "BYE")
    passes(bob, carol, moved.make_request("BYE"), "BYE")
    # Inside a dialog it is no way round either: the token leads to the other side alone.
    third, at_bob = establish(alice, bob)
    again = third.make_request("INVITE", uri=carol.aor, body=SDP, Replaces=replaced)
    passes(alice, bob, again, "INVITE", contact=bob.contact)
    assert not carol.seen("INVITE")


# ---- Keys


def lines_of(lab):
    return lab.path("token.keys").read_text().splitlines()


def write_keys(lab, lines):
    lab.path("token.keys").write_text("\n".join(lines) + "\n")


def by_restart(lab, *phones):
    lab.restart_program("proxy")
    for phone in phones:
        phone.close()
        phone.connect()
        wait_until(lambda p=phone: p.options().status == 200, what="the phone is known again")


def by_reload(lab, *phones):
    assert resp(lab, "RELOAD", program="proxy") == "OK"
    assert all(phone.options().status == 200 for phone in phones)


@pytest.mark.lab(workers=1)
@pytest.mark.parametrize("take_over", [by_restart, by_reload])
def test_T18_keys_are_rotated_while_calls_go_on(fresh_lab, take_over):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    old, _ = establish(alice, bob)
    first = lines_of(lab)
    key = next(i for i, line in enumerate(first) if line.startswith("key "))
    rotated = first[:key] + [f"key 200 {secrets.token_hex(32)}"] + first[key:]
    write_keys(lab, rotated)
    take_over(lab, alice, bob)
    passes(alice, bob, old.make_request("INFO"), "INFO")
    new, _ = establish(alice, bob)
    write_keys(lab, rotated[: key + 1])  # the old key is gone: so are the calls that it sealed
    take_over(lab, alice, bob)
    passes(alice, bob, new.make_request("INFO"), "INFO")
    refused(alice, old.make_request("INFO"), "token-invalid")
    write_keys(lab, first)
    take_over(lab, alice, bob)
    passes(alice, bob, old.make_request("INFO"), "INFO")
    refused(alice, new.make_request("INFO"), "token-invalid")


def test_keys_that_can_not_be_used_leave_the_running_ones(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    call, _ = establish(alice, bob)
    good = lines_of(lab)
    other_hash = [f"hash {secrets.token_hex(16)}" if x.startswith("hash ") else x for x in good]
    for bad in (other_hash, good[:-1], [*good, "key 1 00"]):
        write_keys(lab, bad)
        with pytest.raises(RespError):
            resp(lab, "RELOAD", program="proxy")
        passes(alice, bob, call.make_request("INFO"), "INFO")
    lab.path("token.keys").unlink()
    with pytest.raises(RespError):
        resp(lab, "RELOAD", program="proxy")
    assert not lab.path("token.keys").exists()
    assert lab.log_of("proxy").read_text().count("event=reload-failed") == 4
    passes(alice, bob, call.make_request("INFO"), "INFO")


ADVERTISED = {"listener tls": {"advertise": "sip.example.org:5061"}}


@pytest.mark.limit(120)
def test_T18_a_call_goes_on_through_another_proxy_that_has_the_key(make_lab):
    """Two hosts on one database; phones follow DNS to the second when the first is gone."""
    first = make_lab(workers=1, proxy_sections=ADVERTISED)
    alice, bob, mallory = (ready_phone(first) for _ in range(3))
    out, into = establish(alice, bob)
    device = {"ca": str(first.path("ca.pem"))}
    second = make_lab(
        workers=1,
        proxy_conf={"name": "proxy2", "token_keys": str(first.path("token.keys"))},
        mapperd_conf={"name": "mapperd2", "database": first.postgres.conninfo("holdline_mapperd")},
        proxy_sections={**ADVERTISED, "trust_store device": device},
    )
    there = [move(second, phone) for phone in (alice, bob, mallory)]
    for call, own, other in ((out, there[0], there[1]), (into, there[1], there[0])):
        call.agent = own
        passes(own, other, call.make_request("INFO"), "INFO")
        refused(there[2], call.make_request("INFO"), "token-other-device")
    second.stop_program("proxy")
    second.proxy_settings["token_keys"] = str(second.path("own.keys"))
    second.start_program("proxy")
    there = [move(second, phone) for phone in (alice, bob)]
    out.agent = there[0]
    refused(there[0], out.make_request("INFO"), "token-invalid")


def move(lab, phone):
    """The same device on another proxy."""
    moved = Phone(lab, cn=phone.cn, user=phone.user, pem=phone.pem).connect()
    wait_until(lambda: moved.options().status == 200, what="it is known there")
    return moved
