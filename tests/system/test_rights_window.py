# SPDX-License-Identifier: Apache-2.0
"""Rules with a validity window: mapperd sends them all, the proxy decides by its own clock, also from
an answer that it keeps."""
import time

import pytest

from tests.system.lib import ready_phone, resp, sql, wait_until

pytestmark = pytest.mark.tsan


def lookups(lab):
    text = resp(lab, "INFO", "stats")
    text = text.decode() if isinstance(text, bytes) else text
    return int(dict(line.split(":", 1) for line in text.splitlines() if ":" in line)["lookups"])


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_F45_a_rule_counts_in_its_window_and_a_kept_answer_ends_at_its_edge(lab, effect):
    alice, bob = ready_phone(lab), ready_phone(lab)
    # Everyone may write to users of ours: in the window it is denied, or allowed before a denial.
    inside, outside = (403, 200) if effect == "deny" else (200, 403)
    opens = int(time.time()) + 4
    closes = opens + 3
    rule = """
        INSERT INTO rights_rule (position, who_kind, who, methods, effect, valid_from, valid_until)
        VALUES (%s, 'user', %s, '{MESSAGE}', %s, to_timestamp(%s), to_timestamp(%s))
    """
    sql(lab, rule, 10, alice.identity, effect, opens, closes)
    if effect == "allow":
        sql(lab, rule, 20, alice.identity, "deny", None, None)
    count = 1 if effect == "deny" else 2
    wait_until(
        lambda: sum("MESSAGE" in r for r in resp(lab, "RIGHTS", alice.identity)[4:]) == count,
        what="mapperd has the rules, in force or not",
    )

    def status():
        sent = alice.send(alice.request("MESSAGE", bob.aor, body="x"))
        wait_until(lambda: bob.seen("MESSAGE") or alice.seen(403), what="MESSAGE or 403")
        if bob.seen("MESSAGE"):
            bob.reply(bob.expect("MESSAGE"), 200)
        return alice.response(sent).status

    wait_until(lambda: status() == outside or time.time() >= opens, what="the rules are in force")
    assert time.time() >= opens or status() == outside
    wait_until(lambda: status() == inside, what="the window opens")
    opened = time.time()
    assert opens <= opened < closes
    # From now on nothing is asked: what opens or closes a window is the clock.
    before = lookups(lab)
    assert status() == inside and lookups(lab) - before <= 2  # bob is located each time
    wait_until(lambda: status() == outside, what="the window closes")
    assert time.time() >= closes


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_T19_a_call_that_rings_ends_with_the_window_that_permits_it(lab, effect):
    alice, bob, carol = (ready_phone(lab) for _ in range(3))
    edge = int(time.time()) + 4
    rule = """
        INSERT INTO rights_rule (position, who_kind, who, methods, effect, valid_from, valid_until)
        VALUES (%s, 'user', %s, '{INVITE}', %s, to_timestamp(%s), to_timestamp(%s))
    """
    if effect == "allow":
        sql(lab, rule, 10, alice.identity, "allow", None, edge)
        sql(lab, rule, 20, alice.identity, "deny", None, None)
    else:
        sql(lab, rule, 10, alice.identity, "deny", edge, None)
    sql(lab, rule, 10, carol.identity, "allow", None, edge)  # what is shipped allows it afterwards
    count = 2 if effect == "allow" else 1
    wait_until(lambda: "INVITE" in str(resp(lab, "RIGHTS", carol.identity)), what="mapperd has hers")
    wait_until(
        lambda: sum("INVITE" in str(r) for r in resp(lab, "RIGHTS", alice.identity)[4:]) == count,
        what="mapperd has the rules",
    )
    before, into = alice.invite(bob.aor), bob.expect_call()
    into.reply(180)
    before.expect(180)
    other, stays = carol.invite(bob.aor), bob.expect_call()
    stays.reply(180)
    other.expect(180)
    assert time.time() < edge
    cancel = bob.expect("CANCEL", call_id=before.call_id)
    assert time.time() >= edge
    bob.reply(cancel, 200)
    into.reply(487)
    into.expect_ack()
    answer = before.answer()
    assert answer.status == 403 and "rule-denies:" in answer.get("Warning")
    stays.reply(200)
    assert other.answer().status == 200 and not bob.seen("CANCEL")
    stays.expect_ack()
