# SPDX-License-Identifier: Apache-2.0
"""REFER (RFC 3515): who has another call somebody needs the right to call him (toll fraud), in a call
and outside of one, whatever the other may do."""
import pytest

from tests.system.lib import Pbx, establish, ready_phone, sql, wait_until
from tests.system.test_foreign_callers import PARTNER, federated, reaches, rule

PLAN = {"number_prefixes": ["+", "0"], "country_code": "49", "number_form": "e164"}

pytestmark = [pytest.mark.tsan, pytest.mark.lab(workers=2, proxy_sections={"route pbx": PLAN})]

REASON = "refer-to-not-permitted:"


@pytest.fixture
def calls(fresh_lab):
    """alice may call users of ours, bob the PBX and German numbers besides, but no 0900."""
    with Pbx(fresh_lab) as pbx:
        alice, bob = ready_phone(fresh_lab), ready_phone(fresh_lab)
        for target in (("number", "+49900", "deny"), ("number", "+49", "allow"), ("domain", pbx.domain, "allow")):
            rule(fresh_lab, "user", *target, who=bob.identity, position=20 if target[2] == "allow" else 10)
        wait_until(lambda: reaches(bob, pbx)[0] == 200, what="the rules")
        yield fresh_lab, alice, bob, pbx


def outcome(sender, receiver, request):
    """Status and Warning of a REFER that the receiver accepts when it gets it."""
    sender.send(request)
    wait_until(lambda: receiver.seen("REFER") or sender.seen(403) or sender.seen(400), what="REFER or its refusal")
    if receiver.seen("REFER"):
        receiver.reply(receiver.expect("REFER"), 202)
    response = sender.response(request)
    return response.status, response.get("Warning") or ""


def targets(lab, pbx):
    return [
        pbx.aor, f"sips:operator@{pbx.domain}", "tel:+4930123", f"sip:+4930123@{lab.domain}", f"sip:030-123@{lab.domain}",
        f"sip:030@{pbx.domain};user=phone", f"{pbx.aor};method=MESSAGE", f"{pbx.aor}?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc",
        "sip:carol@elsewhere.example", "sip:elsewhere.example", "urn:service:sos",
    ]  # fmt: skip


def test_T21_who_may_not_call_a_number_has_nobody_else_call_it(calls):
    lab, alice, bob, pbx = calls
    out, into = establish(alice, bob)
    for target in targets(lab, pbx):
        for request in (
            out.make_request("REFER", Refer_To=f"<{target}>"),
            out.make_request("REFER", r=f"<{target}>", Referred_By=f"<{alice.aor}>"),
            alice.request("REFER", bob.aor, Refer_To=f'"Carol" <{target}>'),
        ):
            status, warning = outcome(alice, bob, request)
            assert status == 403 and REASON in warning, target
    # bob may: his rules count for what he has alice call, and alice's own when she calls.
    for target in targets(lab, pbx)[2:8]:
        for request in (into.make_request("REFER", Refer_To=f"<{target}>"), bob.request("REFER", alice.aor, Refer_To=f"<{target}>")):
            assert outcome(bob, alice, request)[0] == 202, target
    for target in ("tel:+49900", f"sip:0900@{lab.domain}", f"sip:0900,1@{pbx.domain}", f"sip:+4930;rn=1@{pbx.domain}"):
        assert REASON in outcome(bob, alice, into.make_request("REFER", Refer_To=f"<{target}>"))[1], target
    # What is no call through us, and users of ours.
    carol = ready_phone(lab)
    for target in (carol.aor, f"sip:nobody@{lab.domain}", f"sip:{lab.domain}", "http://example.net/", f"<{carol.aor}?Replaces=a>"):
        assert outcome(alice, bob, out.make_request("REFER", Refer_To=f"<{target.strip('<>')}>"))[0] == 202, target
    for bad in ("<sip:a@b", "sip:@", "<sip:+49 30@x>"):
        assert outcome(alice, bob, out.make_request("REFER", Refer_To=bad))[0] == 400, bad


def test_T19_the_right_to_refer_comes_and_goes_with_the_rule(calls):
    lab, alice, bob, pbx = calls
    out, _ = establish(alice, bob)
    refer = lambda: outcome(alice, bob, out.make_request("REFER", Refer_To=f"<{pbx.aor}>"))[0]  # noqa: E731
    assert refer() == 403
    rule(lab, "user", "domain", pbx.domain, "allow", who=alice.identity, methods=["INVITE"])
    wait_until(lambda: refer() == 202, what="the right to call is that to refer")
    sql(lab, "UPDATE rights_rule SET effect = 'deny' WHERE who = %s", alice.identity)
    wait_until(lambda: refer() == 403, what="it is taken back")


def test_who_is_not_ours_refers_to_our_users_and_within_his_own_domain(calls):
    lab, alice, bob, pbx = calls
    carol = federated(lab, user="carol")
    out, _ = establish(carol, bob)
    begin = lambda target: carol.request("REFER", bob.aor, Refer_To=f"<{target}>")  # noqa: E731
    inside = lambda target: out.make_request("REFER", Refer_To=f"<{target}>")  # noqa: E731
    for make in (begin, inside):
        for target in (pbx.aor, "tel:+4930123", f"sip:+4930123@{lab.domain}", "sip:dave@elsewhere.example"):
            assert REASON in outcome(carol, bob, make(target))[1], target
        for target in (alice.aor, f"sip:dave@{PARTNER}"):
            assert outcome(carol, bob, make(target))[0] == 202, target
    # The PBX in a call, to its own extensions and to what it has no rule for.
    out, into = establish(bob, pbx)
    for target, status in ((f"sip:200@{pbx.domain}", 202), (bob.aor, 202), ("tel:+4930123", 403), (f"sip:x@{PARTNER}", 403)):
        assert outcome(pbx, bob, into.make_request("REFER", Refer_To=f"<{target}>"))[0] == status, target
