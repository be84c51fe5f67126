# SPDX-License-Identifier: Apache-2.0
"""Callers of other domains: a federated peer is who its certificate says, reaches users of ours, and
leaves to nobody else without a rule. And the order of rules."""
import pytest

from tests.system.lib import Pbx, Phone, provision, ready_phone, resp, sql, wait_until

pytestmark = pytest.mark.tsan

PARTNER = "partner.example"


def federated(lab, san=(PARTNER,), user="bob"):
    peer = Phone(lab, store="corp", san=san, user=user).connect()
    peer.domain = PARTNER
    return peer


def reaches(sender, receiver, to=None, **options):
    """Status and Warning of a MESSAGE that the receiver answers with 200 when it gets it."""
    request = sender.request("MESSAGE", to or receiver.aor, body="hello", **options)
    sender.send(request)
    wait_until(lambda: receiver.seen("MESSAGE") or sender.seen(403), what="MESSAGE or 403")
    if receiver.seen("MESSAGE"):
        receiver.reply(receiver.expect("MESSAGE"), 200)
    response = sender.response(request)
    return response.status, response.get("Warning") or ""


def rule(lab, who_kind, target_kind, target, effect, position=10, **columns):
    names = "".join(f", {name}" for name in columns)
    places = ", %s" * len(columns)
    sql(
        lab,
        f"INSERT INTO rights_rule (position, who_kind, target_kind, target, effect{names})"
        f" VALUES (%s, %s, %s, %s, %s{places})",
        position,
        who_kind,
        target_kind,
        target,
        effect,
        *columns.values(),
    )


def test_a_federated_peer_reaches_users_of_ours_and_nobody_else(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice, bob = ready_phone(lab), federated(lab)
        assert reaches(bob, alice)[0] == 200
        status, warning = reaches(bob, pbx)
        assert status == 403 and "no-right:" in warning
        assert reaches(bob, alice, from_=f"<{alice.aor}>")[1].count("from-not-permitted:") == 1
        assert reaches(bob, alice, from_="<sip:bob@other.example>")[0] == 403
        refused = bob.exchange(bob.request("REGISTER", f"sip:{lab.domain}", to=f"<{bob.aor}>"))
        assert refused.status in (403, 404)
        rule(lab, "foreign", "domain", f"pbx.{lab.domain}", "allow")
        wait_until(lambda: reaches(bob, pbx)[0] == 200, what="a rule lets it out")


def test_rules_for_who_is_not_ours_by_store_and_method(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), federated(lab)
    assert reaches(bob, alice)[0] == 200
    rule(lab, "foreign", "any", None, "deny", methods=["MESSAGE"], trust_store="device")
    rule(lab, "everyone", "any", None, "deny", methods=["INFO"])
    assert reaches(bob, alice)[0] == 200
    rule(lab, "foreign", "any", None, "deny", methods=["MESSAGE"], trust_store="corp")
    wait_until(lambda: "rule-denies:" in reaches(bob, alice)[1], what="the rule of its store")
    out = bob.invite(alice.aor)
    into = alice.expect_call()
    into.reply(486)
    into.expect_ack()
    assert out.answer().status == 486
    carol = ready_phone(lab)
    assert reaches(carol, alice)[0] == 200  # a user of ours


def test_F45_the_longest_number_decides_where_positions_tie(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        domain = f"pbx.{lab.domain}"
        rule(lab, "everyone", "domain", domain, "allow")
        rule(lab, "everyone", "number", "+49", "deny")
        rule(lab, "everyone", "number", "+49301", "deny")
        rule(lab, "everyone", "number", "+4930", "allow", position=10)
        rule(lab, "user", "number", "+493012", "allow", who=alice.identity)
        wait_until(lambda: reaches(alice, pbx)[0] == 200, what="the rules")
        wait_until(
            lambda: [r.split(" ")[4] for r in resp(lab, "RIGHTS", alice.identity)[4:]]
            == ["number:+493012", "number:+49301", "number:+4930", "number:+49", f"domain:{domain}", "ours"],
            what="the order",
        )

        def dial(number):
            return reaches(alice, pbx, to=f"sip:{number}@{domain}")[0]

        wait_until(lambda: dial("+493012") == 200, what="the user's own rule")
        assert [dial(n) for n in ("+4930123", "+493013", "+49302", "+4931", "+43")] == [
            200, 403, 200, 403, 200,
        ]


def test_a_rule_for_a_user_that_is_registered_and_for_a_group(fresh_lab):
    lab = fresh_lab
    alice, bob, carol = (ready_phone(lab) for _ in range(3))
    sql(lab, "INSERT INTO user_group (name) VALUES ('desk')")
    sql(lab, "INSERT INTO user_group_member (group_name, identity) VALUES ('desk', %s)", alice.identity)
    rule(lab, "group", "user", bob.identity, "deny", who="desk")
    wait_until(lambda: reaches(alice, bob)[0] == 403, what="the group's rule")
    assert reaches(alice, carol)[0] == 200
    assert reaches(carol, bob)[0] == 200
    provision(lab, alice.cn, f"other-{alice.user}@{lab.domain}")
    wait_until(lambda: reaches(alice, bob, from_=f"<sip:other-{alice.identity}>")[0] == 200, what="her second identity")
