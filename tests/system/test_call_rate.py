# SPDX-License-Identifier: Apache-2.0
"""calls_per_minute: new calls of a user as a whole, on however many phones and workers."""
import pytest

from tests.system.lib import Phone, knows, provision, ready_phone, resp, sql, wait_until

pytestmark = pytest.mark.tsan


def bound(lab, who, calls, kind="user", **more):
    """A rule that lets `who` call users of ours so often; in force when this comes back."""
    rule = sql(
        lab,
        "INSERT INTO rights_rule (position, who_kind, who, target_kind, effect, calls_per_minute)"
        " VALUES (10, %s, %s, 'ours', 'allow', %s) RETURNING id",
        kind,
        who,
        calls,
    )[0][0]
    wait_until(
        lambda: any(r.startswith(f"{rule} ") for r in resp(lab, "RIGHTS", who)[4:]),
        what="mapperd has the rule",
    )
    return rule


def settle(lab, phone):
    """The phone's worker has the change: it has read a message that came after it."""
    marker = Phone(lab)
    provision(lab, marker.cn, marker.identity)
    wait_until(lambda: marker.connect().options().status == 200, what="the change has passed")


def call(phone, callee):
    """Status and Warning of a call that the callee declines."""
    out = phone.invite(callee.aor)
    wait_until(lambda: callee.seen("INVITE") or phone.seen(403), what="INVITE or 403")
    if callee.seen("INVITE"):
        into = callee.expect_call()
        into.reply(486)
        into.expect_ack()
    answer = out.answer()
    return answer.status, answer.get("Warning") or ""


def reason_count(lab, name):
    info = resp(lab, "INFO", program="proxy")
    info = info.decode() if isinstance(info, bytes) else info
    return int(dict(x.split(":", 1) for x in info.splitlines() if ":" in x).get(f"reason.{name}", 0))


@pytest.mark.lab(workers=4)
def test_F45_calls_a_minute_hold_for_a_user_on_all_its_phones(fresh_lab):
    lab = fresh_lab
    desk, bob, carol = (ready_phone(lab) for _ in range(3))
    phones = [desk]
    for _ in range(5):
        phone = Phone(lab, user=desk.user)
        provision(lab, phone.cn, desk.identity)
        phones.append(phone.connect())
    rule = bound(lab, desk.identity, 4)
    settle(lab, desk)
    assert [call(phone, bob)[0] for phone in phones[:4]] == [486] * 4
    for phone in phones:
        status, warning = call(phone, bob)
        assert status == 403 and "calls-too-many:" in warning
    assert call(carol, bob)[0] == 486
    sent = desk.send(desk.request("MESSAGE", bob.aor, body="no call"))
    bob.reply(bob.expect("MESSAGE"), 200)
    assert desk.response(sent).status == 200
    wait_until(lambda: reason_count(lab, "calls-too-many") == 6, what="the metric")
    lines = [x for x in lab.log_of("proxy").read_text().splitlines() if "calls-too-many" in x]
    assert len(lines) == 6
    assert all("event=decision effect=deny" in x and f"rule={rule}" in x for x in lines)


def test_F45_a_call_counts_once_however_often_it_is_sent_or_decided(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    rule = bound(lab, alice.identity, 1)
    settle(lab, alice)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    alice.send(out.invite)  # retransmitted
    into.reply(180)
    out.expect(180)
    sql(lab, "UPDATE rights_rule SET position = 11 WHERE id = %s", rule)
    settle(lab, alice)
    assert not bob.seen("CANCEL")  # decided again, by the same rule
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    again = out.send("INVITE", body="v=0\r\n", Contact=alice.contact)  # a hold is no new call
    bob.reply(bob.expect("INVITE"), 200, contact=bob.contact)
    assert alice.response(again).status == 200
    assert call(alice, bob)[0] == 403


def test_F45_users_that_a_device_invents_count_as_one(fresh_lab):
    lab = fresh_lab
    bob = ready_phone(lab)
    pbx = Phone(lab)
    provision(lab, pbx.cn, lab.domain)
    pbx.connect().options()
    bound(lab, lab.domain, 2, kind="domain")
    settle(lab, pbx)

    def call_as(user):
        out = pbx.invite(bob.aor, from_=f"<sip:{user}@{lab.domain}>")
        wait_until(lambda: bob.seen("INVITE") or pbx.seen(403), what="INVITE or 403")
        if bob.seen("INVITE"):
            into = bob.expect_call()
            into.reply(486)
            into.expect_ack()
        return out.answer().status

    assert [call_as(f"invented{i}") for i in range(4)] == [486, 486, 403, 403]
    assert knows(lab, "device", pbx.cn, lab.domain)
