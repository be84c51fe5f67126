# SPDX-License-Identifier: Apache-2.0
"""Nobody speaks for another: From, To, asserted identities, spellings, dialogs and their tokens,
CANCEL, ACK and responses (T1–T7, T16, T18)."""
import pytest

from tests.system.lib import (
    Phone,
    establish,
    new_branch,
    new_tag,
    parameter_of,
    provision,
    ready_phone,
    sql,
    uri_of,
    wait_until,
)

pytestmark = pytest.mark.tsan

METHODS = ("INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "NOTIFY", "INFO", "PUBLISH", "REFER", "BYE")


@pytest.fixture
def three(lab):
    phones = [ready_phone(lab) for _ in range(3)]
    yield phones
    for phone in phones:
        phone.close()


def refused(phone, request, reason, status=403):
    response = phone.exchange(request)
    assert response.status == status, response
    assert reason in (response.get("Warning") or ""), response


# ---- T1, T6, T7: From


@pytest.mark.parametrize("method", METHODS)
def test_T01_forged_from_is_refused(three, method):
    mallory, alice, bob = three
    to_tag = f";tag={new_tag()}" if method == "BYE" else ""
    request = mallory.request(method, bob.aor, from_=f"<{alice.aor}>", to=f"<{bob.aor}>{to_tag}")
    assert mallory.exchange(request).status in ((403, 481) if to_tag else (403,))
    assert not bob.seen(method)


def test_T01_forged_from_names_its_reason(three):
    mallory, alice, bob = three
    refused(
        mallory, mallory.request("INVITE", bob.aor, from_=f"<{alice.aor}>"), "from-not-permitted"
    )


@pytest.mark.parametrize(
    "form",
    [
        "<{alice}>",
        '"{alice}" <{alice}>',
        '"{me}" <{alice}>',
        "<{alice};user=phone>",
        "<{alice};x={me}>",
        "{alice}",
        '"a\\"b <{me}>" <{alice}>',
        "(comment {me}) <{alice}>",
        "<{ALICE_USER}@{domain}>",
    ],
)
def test_T06_T07_no_spelling_of_another_is_ones_own(three, form):
    mallory, alice, bob = three
    value = form.format(
        alice=alice.aor,
        me=mallory.aor,
        ALICE_USER="sip:" + alice.user.upper(),
        domain=alice.domain,
    )
    request = mallory.request("MESSAGE", bob.aor, body="x", from_=value)
    assert mallory.exchange(request).status in (400, 403)
    assert not bob.seen("MESSAGE")


def test_T06_the_address_counts_and_not_the_display_name(three):
    alice, boss, bob = three
    value = f'"{boss.aor}" <{alice.aor}>'
    request = alice.request("MESSAGE", bob.aor, body="x", from_=value)
    got = take(alice, request, bob)
    assert uri_of(got.get("P-Asserted-Identity")) == alice.aor


def take(sender, request, receiver):
    """Sends a request, answers it 200 at the receiver, and gives what arrived there."""
    sender.send(request)
    got = receiver.expect(request.method)
    receiver.reply(got, 200)
    assert sender.response(request).status == 200
    return got


@pytest.mark.parametrize("second", ["From", "f"])
def test_T06_two_from_are_400(three, second):
    mallory, alice, bob = three
    request = mallory.request("MESSAGE", bob.aor, body="x")
    request.insert(second, f"<{alice.aor}>;tag=2")
    assert mallory.exchange(request).status == 400
    assert not bob.seen("MESSAGE")


def escaped(user):
    return f"%{ord(user[0]):02x}" + user[1:]


@pytest.mark.parametrize(
    "spell",
    [
        lambda p: f"sip:{escaped(p.user)}@{p.domain}",
        lambda p: f"sip:{p.user}@{p.domain.upper()}",
        lambda p: f"sips:{p.user}@{p.domain}",
        lambda p: f"sip:{p.user}:password@{p.domain}",
        lambda p: f"sip:{p.user}@{p.domain}:5061",
        lambda p: f"sip:{p.user}@{p.domain}.",
        lambda p: f"sip:{p.user}@{p.domain};transport=tls;x=y",
        lambda p: f"SIP:{p.user}@{p.domain}",
    ],
    ids=["escape", "case", "sips", "password", "port", "dot", "parameters", "scheme"],
)
def test_T07_every_spelling_of_ones_own_is_ones_own(three, spell):
    alice, _, bob = three
    request = alice.request("MESSAGE", bob.aor, body="x", from_=f"<{spell(alice)}>")
    assert uri_of(take(alice, request, bob).get("P-Asserted-Identity")) == alice.aor


@pytest.mark.parametrize("user", ["%00", "{me}%00", "%0d%0a{me}", "%zz{me}", "{me}%7f"])
def test_T07_escapes_that_give_controls_are_400(three, user):
    alice, _, bob = three
    value = f"<sip:{user.format(me=alice.user)}@{alice.domain}>"
    assert alice.exchange(alice.request("MESSAGE", bob.aor, body="x", from_=value)).status == 400


def test_T07_case_of_the_user_counts(three):
    alice, _, bob = three
    value = f"<sip:{alice.user.upper()}@{alice.domain}>"
    request = alice.request("MESSAGE", bob.aor, body="x", from_=value)
    refused(alice, request, "from-not-permitted")


def test_T07_tel_is_not_a_way_round(three):
    mallory, alice, bob = three
    for value in (f"<tel:{alice.user}>", "<tel:+4930123456>", "<tel:+4930123456;phone-context=x>"):
        request = mallory.request("MESSAGE", bob.aor, body="x", from_=value)
        assert mallory.exchange(request).status in (400, 403, 416)


# ---- T2, T3, T18: dialogs


@pytest.mark.parametrize(
    "method", ["INVITE", "MESSAGE", "INFO", "BYE", "NOTIFY", "UPDATE", "REFER"]
)
def test_T02_invented_to_tag_is_refused(three, method):
    mallory, alice, bob = three
    for from_ in (alice.aor, mallory.aor):
        request = mallory.request(
            method, bob.aor, from_=f"<{from_}>", to=f"<{bob.aor}>;tag={new_tag()}"
        )
        assert mallory.exchange(request).status in (403, 481)
    assert not bob.seen(method)


def test_T18_token_of_a_dialog_used_by_a_third_device_is_refused(three):
    alice, bob, mallory = three
    out, into = establish(alice, bob)
    for call in (out, into):
        request = mallory.request(
            "BYE",
            call.target,
            from_=call.local_uri,
            from_tag=call.local_tag,
            to=f"{call.remote_uri};tag={call.remote_tag}",
            call_id=call.call_id,
            cseq=100,
            Route=call.routes,
        )
        refused(mallory, request, "token-other-device")
    assert not alice.seen("BYE") and not bob.seen("BYE")
    bye = out.bye()
    into.expect_bye()
    assert alice.response(bye).status == 200


def change_token(route, change):
    token = parameter_of(f"x;{uri_of(route).partition(';')[2]}", "t")
    return route.replace(token, change(token))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: ("B" if t[0] == "A" else "A") + t[1:],
        lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"),
        lambda t: t[:60] + ("A" if t[60] != "A" else "B") + t[61:],
        lambda t: t[:-4],
        lambda t: t + "AAAA",
        lambda t: "A" * len(t),
    ],
    ids=["version", "last", "middle", "shorter", "longer", "zeros"],
)
def test_T18_damaged_token_is_refused(three, change):
    alice, bob, _ = three
    out, into = establish(alice, bob)
    routes = [change_token(out.routes[0], change)] + out.routes[1:]
    refused(alice, out.make_request("INFO", Route=routes), "token-invalid")
    assert not bob.seen("INFO")


def test_T18_token_in_another_dialog_is_refused(three):
    alice, bob, carol = three
    out, _ = establish(alice, bob)
    other, _ = establish(alice, carol)
    refused(alice, other.make_request("INFO", Route=out.routes), "token-invalid")
    request = out.make_request("INFO", from_tag=new_tag())
    refused(alice, request, "token-invalid")
    assert not bob.seen("INFO") and not carol.seen("INFO")


def test_T18_token_without_to_tag_is_refused(three):
    alice, bob, _ = three
    out, _ = establish(alice, bob)
    request = alice.request("MESSAGE", bob.aor, body="x", call_id=out.call_id, Route=out.routes)
    refused(alice, request, "token-without-to-tag")
    assert not bob.seen("MESSAGE")


def test_T18_token_leads_to_the_other_side_and_nowhere_else(three):
    """Whatever its Request-URI says."""
    alice, bob, carol = three
    out, into = establish(alice, bob)
    sent = alice.send(out.make_request("INFO", uri=carol.aor))
    got = bob.expect("INFO")
    bob.reply(got, 200)
    assert alice.response(sent).status == 200
    assert not carol.seen("INFO")


def test_T18_the_same_device_after_reconnecting_is_accepted(three):
    alice, bob, _ = three
    out, into = establish(alice, bob)
    alice.stream.close()
    alice.connect()
    bye = out.bye()
    into.expect_bye()
    assert alice.response(bye).status == 200


def test_T18_a_request_to_a_side_that_has_reconnected_finds_it(three):
    alice, bob, _ = three
    out, into = establish(alice, bob)
    bob.stream.close()
    bob.connect()
    bob.options()
    bye = out.bye()
    into.expect_bye()
    assert alice.response(bye).status == 200


def test_T03_cancel_from_another_device_is_481(three):
    alice, bob, mallory = three
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    forged = out.make_cancel()
    response = mallory.exchange(forged)
    assert response.status == 481
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    assert not bob.seen("CANCEL")


def test_T03_ack_from_another_device_is_dropped(three):
    alice, bob, mallory = three
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(200)
    out.expect(200)
    forged = out.make_request("ACK", cseq=out.invite.cseq)
    mallory.send(forged)
    take(mallory, mallory.request("MESSAGE", bob.aor, body="after it"), bob)
    assert not bob.seen("ACK")
    out.ack()
    into.expect_ack()


# ---- T4: REGISTER


def test_T04_register_for_another_is_refused(three):
    mallory, alice, bob = three
    refused(mallory, mallory.make_register(to=f"<{alice.aor}>"), "to-not-permitted")
    refused(
        mallory,
        mallory.make_register(to=f"<{alice.aor}>", contact="*", expires=0),
        "to-not-permitted",
    )
    refused(mallory, mallory.make_register(from_=f"<{alice.aor}>"), "from-not-permitted")
    message = bob.request("MESSAGE", alice.aor, body="still there")
    assert take(bob, message, alice).text() == "still there"


def test_T04_a_contact_that_names_another_phone_gets_its_calls_to_the_registering_one(three):
    mallory, alice, bob = three
    mallory.register(contact=alice.contact)
    got = take(bob, bob.request("MESSAGE", mallory.aor, body="for mallory"), mallory)
    assert got.text() == "for mallory"
    assert not alice.seen("MESSAGE")


# ---- T5: asserted identities


ASSERTED = ("P-Asserted-Identity", "Remote-Party-ID", "P-Preferred-Identity")


def test_T05_asserted_identities_of_phones_are_removed_in_requests(three):
    alice, boss, bob = three
    lie = f"<{boss.aor}>"
    request = alice.request("MESSAGE", bob.aor, body="x")
    for name in ASSERTED:
        request.add(name, lie)
    request.add("P-Asserted-Identity", "<tel:+49301>")
    request.add("Identity", "token;info=<https://example.org>")
    got = take(alice, request, bob)
    assert [uri_of(v) for v in got.all("P-Asserted-Identity")] == [alice.aor]
    assert not got.fields("Remote-Party-ID") and not got.fields("P-Preferred-Identity")
    assert got.get("Identity") == "token;info=<https://example.org>"


def test_T05_asserted_identities_are_removed_in_dialogs_and_responses(three):
    alice, boss, bob = three
    lie = f'"Boss" <{boss.aor}>'
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180, P_Asserted_Identity=lie, Remote_Party_ID=lie)
    ringing = out.expect(180)
    into.reply(200, P_Asserted_Identity=lie, Remote_Party_ID=lie)
    answered = out.answer()
    into.expect_ack()
    for response in (ringing, answered):
        assert boss.user not in str(response.all("P-Asserted-Identity"))
        assert not response.fields("Remote-Party-ID")
    sent = alice.send(out.make_request("INFO", P_Asserted_Identity=lie, Remote_Party_ID=lie))
    got = bob.expect("INFO")
    bob.reply(got, 200)
    assert alice.response(sent).status == 200
    assert boss.user not in str(got.all("P-Asserted-Identity"))
    assert not got.fields("Remote-Party-ID")


def test_T05_preferred_identity_that_the_device_holds_is_asserted(lab, three):
    alice, boss, bob = three
    second = Phone(lab).identity
    provision(lab, alice.cn, second)
    preferred = alice.request("MESSAGE", bob.aor, body="x", P_Preferred_Identity=f"<sip:{second}>")
    wait_until(
        lambda: uri_of(
            take(
                alice,
                alice.request("MESSAGE", bob.aor, body="x", P_Preferred_Identity=f"<sip:{second}>"),
                bob,
            ).get("P-Asserted-Identity")
        )
        == f"sip:{second}"
    )
    got = take(alice, preferred, bob)
    assert uri_of(got.get("P-Asserted-Identity")) == f"sip:{second}"
    assert got.from_uri == alice.aor


# ---- T16: responses


def test_T16_response_from_another_device_is_dropped(three):
    alice, bob, mallory = three
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    mallory.send(mallory.make_response(into.invite, 200, body="v=0\r\n", contact=mallory.contact))
    mallory.send(mallory.make_response(into.invite, 603))
    guess = mallory.make_response(into.invite, 200)
    guess.set("Via", guess.get("Via").replace(into.invite.branch, new_branch()))
    mallory.send(guess)
    mallory.options()
    assert not alice.seen(200) and not alice.seen(603)
    into.reply(486)
    into.expect_ack()
    assert out.answer().status == 486


# ---- T8: the same CN elsewhere


def test_T08_same_cn_under_another_store_is_another_device(lab, three):
    alice, _, bob = three
    impostor = Phone(lab, cn=alice.cn, store="corp", user=alice.user).connect()
    impostor.register(expect=403)
    assert impostor.message(bob.aor).status == 403
    assert not bob.seen("MESSAGE")


# ---- T19: held elsewhere


def test_T19_ringing_call_of_a_removed_phone_is_cancelled(lab, three):
    alice, bob, _ = three
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    sql(lab, "SELECT retire_device(%s)", alice.cn)
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    alice.expect_closed()


def test_T19_call_to_a_phone_that_was_removed_does_not_reach_it(lab, three):
    alice, bob, _ = three
    sql(lab, "SELECT retire_device(%s)", bob.cn)
    bob.expect_closed()
    assert alice.message(bob.aor).status in (404, 480)


def test_T19_ringing_call_of_a_disabled_user_is_cancelled(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    provision(lab, alice.cn, f"keep-{alice.user}@{lab.domain}")  # its connection stays
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", alice.identity)
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    assert out.answer().status in (403, 487)
    refused(alice, alice.request("MESSAGE", bob.aor, body="x"), "user-disabled")


def test_T53_a_change_is_seen_by_the_very_next_request_of_every_worker(lab):
    """Once a refusal was seen, no worker says yes any more."""
    phones = [ready_phone(lab) for _ in range(4)]
    target = ready_phone(lab)
    for phone in phones:
        provision(lab, phone.cn, f"keep-{phone.user}@{lab.domain}")  # its connection stays
        sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", phone.identity)
        wait_until(lambda p=phone: p.options().status == 403, what="disabled is seen")
        assert all(phone.options().status == 403 for _ in range(20))
        assert phone.message(target.aor).status == 403
    assert not target.seen("MESSAGE")
