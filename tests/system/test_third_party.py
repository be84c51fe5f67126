# SPDX-License-Identifier: Apache-2.0
"""F41: registering for another (RFC 3261 10.2) is a right of who does it. A guest's calls go to the
phone of the front desk while the desk may do that, and no longer."""
import time

import pytest

from tests.system.lib import (
    Phone,
    establish,
    mapctl,
    provision,
    ready_phone,
    resp,
    sql,
    unique,
    wait_until,
)
from tests.system.test_mapperd_bind import located

RULE = """
    INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, target, effect, valid_until)
    VALUES (%s, 'user', %s, %s, %s, %s, %s, to_timestamp(%s)) RETURNING id
"""


def rule(lab, desk, methods=("REGISTER",), kind="ours", target=None, effect="allow", until=None, position=50):
    """A rule of the desk's; gives its number, when mapperd has it."""
    [[number]] = sql(lab, RULE, position, desk.identity, methods and list(methods), kind, target, effect, until)
    wait_until(lambda: any(r.startswith(f"{number} ") for r in resp(lab, "RIGHTS", desk.identity)[4:]))
    return number


def guest_of(lab):
    """A user that has no phone."""
    guest = Phone(lab)
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", guest.identity)
    wait_until(lambda: resp(lab, "RIGHTS", guest.identity)[2] == "known")
    return guest


def register_for(desk, guest, expect=200, **options):
    desk.call_id = f"{desk.user}-for-{guest.user}"
    return desk.register(expect, to=f"<{guest.aor}>", **options)


def reason(response):
    return (response.get("Warning") or "").partition('"')[2].partition(":")[0]


def called(caller, desk, guest):
    """200 by the desk's phone, or what the proxy answers."""
    sent = caller.send(caller.request("MESSAGE", guest.aor, body="x"))
    wait_until(lambda: desk.seen("MESSAGE") or any(caller.seen(s) for s in (403, 404, 480)))
    if desk.seen("MESSAGE"):
        desk.reply(desk.expect("MESSAGE"), 200)
    return caller.response(sent).status


class Scene:
    def __init__(self, lab, **options):
        self.lab = lab
        self.caller, self.desk = ready_phone(lab), ready_phone(lab, **options)
        self.guest = guest_of(lab)

    def registered(self, **options):
        self.rule = rule(self.lab, self.desk, **options)
        register_for(self.desk, self.guest)
        assert called(self.caller, self.desk, self.guest) == 200
        return self


@pytest.fixture
def scene(lab):
    return Scene(lab)


def test_F41_a_rule_that_names_REGISTER_lets_register_for_another_and_calls_reach_that_phone(scene):
    rule(scene.lab, scene.desk, ("MESSAGE", "REGISTER"), "user", scene.guest.identity)
    listed = register_for(scene.desk, scene.guest)
    assert scene.desk.local in listed.get("Contact")
    [binding] = located(scene.lab, scene.guest.identity)
    assert binding["registered_by"] == binding["entry"] == scene.desk.identity
    assert (binding["ground"], binding["groups"], binding["until"]) == ("mapping", "-", "-")
    assert called(scene.caller, scene.desk, scene.guest) == 200
    other = guest_of(scene.lab)
    assert reason(register_for(scene.desk, other, 403)) == "to-not-permitted"


@pytest.mark.parametrize("methods", [None, ("INVITE", "MESSAGE")])
def test_T04_no_rule_for_all_methods_or_others_lets_register_for_another(scene, methods):
    """The shipped one among them, for which there is no need to ask."""
    assert reason(register_for(scene.desk, scene.guest, 403)) == "to-not-permitted"
    rule(scene.lab, scene.desk, methods)
    assert reason(register_for(scene.desk, scene.guest, 403)) == "to-not-permitted"
    assert located(scene.lab, scene.guest.identity) == []
    assert called(scene.caller, scene.desk, scene.guest) == 480


def test_T04_a_refusal_tells_nothing_of_who_is_registered_for(scene):
    disabled, nobody = guest_of(scene.lab), Phone(scene.lab)
    sql(scene.lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", disabled.identity)
    wait_until(lambda: resp(scene.lab, "RIGHTS", disabled.identity)[2] == "disabled")
    named = rule(scene.lab, scene.desk, effect="deny")
    asked = [scene.guest, disabled, nobody]
    answers = [register_for(scene.desk, who, 403) for who in asked]
    assert {reason(a) for a in answers} == {"to-not-permitted"}
    assert len({(a.start, a.get("Warning")) for a in answers}) == 1
    sql(scene.lab, "DELETE FROM rights_rule WHERE id = %s", named)
    rule(scene.lab, scene.desk)
    # Who has the right learns what the user's state is.
    assert reason(register_for(scene.desk, disabled, 403)) == "user-disabled"


def lose_rule(s):
    sql(s.lab, "DELETE FROM rights_rule WHERE id = %s", s.rule)


def gain_denial(s):
    rule(s.lab, s.desk, None, effect="deny", kind="user", target=s.guest.identity, position=40)


def lose_mapping(s):
    sql(s.lab, "DELETE FROM cn_mapping WHERE cn = %s AND identity = %s", s.desk.cn, s.desk.identity)


def disable_desk(s):
    sql(s.lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", s.desk.identity)


def disable_guest(s):
    sql(s.lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", s.guest.identity)


LOSSES = [lose_rule, gain_denial, lose_mapping, disable_desk, disable_guest]


@pytest.mark.parametrize("loss", LOSSES)
def test_F25_calls_no_longer_reach_the_phone_once_anything_that_permits_it_is_gone(scene, loss):
    """The phone holds another user, and stays connected."""
    provision(scene.lab, scene.desk.cn, f"{unique()}@{scene.lab.domain}")
    scene.registered()
    loss(scene)
    wait_until(lambda: located(scene.lab, scene.guest.identity) == [], what="LOCATE shows it no longer")
    wanted = 404 if loss is disable_guest else 480
    assert called(scene.caller, scene.desk, scene.guest) == wanted
    assert scene.desk.stream.closed is None


def ringing(scene):
    out = scene.caller.invite(scene.guest.aor)
    into = scene.desk.expect_call()
    into.reply(180)
    out.expect(180)
    return out, into


def cancelled(scene, out, into):
    """What the caller gets when the proxy has ended it."""
    scene.desk.reply(scene.desk.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    return out.answer().status


@pytest.mark.parametrize("loss", LOSSES)
def test_T19_what_rings_at_the_phone_ends_once_anything_that_permits_it_is_gone(scene, loss):
    provision(scene.lab, scene.desk.cn, f"{unique()}@{scene.lab.domain}")
    scene.registered()
    call = ringing(scene)
    loss(scene)
    assert cancelled(scene, *call) == (404 if loss is disable_guest else 480)


def test_F45_a_window_that_closes_ends_it_without_any_change(scene):
    closes = int(time.time()) + 3
    scene.registered(until=closes)
    [binding] = located(scene.lab, scene.guest.identity)
    assert binding["until"] == str(closes)
    wait_until(lambda: called(scene.caller, scene.desk, scene.guest) == 480, what="the window closes")
    assert time.time() >= closes
    assert register_for(scene.desk, scene.guest, None).status == 403


def test_F41_a_group_gives_the_right_and_takes_it(scene):
    lab, group = scene.lab, unique("g")
    sql(lab, "INSERT INTO user_group (name) VALUES (%s)", group)
    sql(lab, "INSERT INTO user_group_member (group_name, identity) VALUES (%s, %s)", group, scene.desk.identity)
    [[number]] = sql(lab, "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, effect)"
                          " VALUES (50, 'group', %s, '{REGISTER}', 'ours', 'allow') RETURNING id", group)  # fmt: skip
    wait_until(lambda: any(r.startswith(f"{number} ") for r in resp(lab, "RIGHTS", scene.desk.identity)[4:]))
    register_for(scene.desk, scene.guest)
    assert located(lab, scene.guest.identity)[0]["groups"] == group
    call = ringing(scene)
    sql(lab, "DELETE FROM rights_rule WHERE id = %s", number)
    assert cancelled(scene, *call) == 480
    sql(lab, "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, effect)"
             " VALUES (50, 'group', %s, '{REGISTER}', 'ours', 'allow')", group)  # fmt: skip
    wait_until(lambda: located(lab, scene.guest.identity), what="the right is back, and it has not expired")
    sql(lab, "DELETE FROM user_group_member WHERE identity = %s", scene.desk.identity)
    wait_until(lambda: located(lab, scene.guest.identity) == [])
    assert called(scene.caller, scene.desk, scene.guest) == 480


def written(lab, guest):
    return sql(lab, "SELECT version_ms FROM binding WHERE aor = %s", guest.identity)


def test_F61_a_refresh_in_the_stored_time_needs_no_write_and_the_same_right(scene):
    scene.registered()
    before = written(scene.lab, scene.guest)
    register_for(scene.desk, scene.guest)
    assert written(scene.lab, scene.guest) == before
    lose_rule(scene)
    wait_until(lambda: register_for(scene.desk, scene.guest, None).status == 403)
    rule(scene.lab, scene.desk)
    register_for(scene.desk, scene.guest)


def test_F61_a_refresh_by_another_user_of_the_phone_is_written_and_stands_on_its_right(scene):
    second = Phone(scene.lab)
    provision(scene.lab, scene.desk.cn, second.identity)
    scene.registered()
    assert reason(register_for(scene.desk, scene.guest, 403, from_=f"<{second.aor}>")) == "to-not-permitted"
    rule(scene.lab, second)
    register_for(scene.desk, scene.guest, from_=f"<{second.aor}>")
    [binding] = located(scene.lab, scene.guest.identity)
    assert binding["registered_by"] == second.identity
    lose_rule(scene)
    wait_until(lambda: not any("REGISTER" in r for r in resp(scene.lab, "RIGHTS", scene.desk.identity)[4:]))
    assert called(scene.caller, scene.desk, scene.guest) == 200  # by the second's right
    wait_until(lambda: register_for(scene.desk, scene.guest, None).status == 403)


def test_F61_a_refresh_after_the_user_was_disabled_for_a_moment_is_a_write(scene):
    provision(scene.lab, scene.desk.cn, f"{unique()}@{scene.lab.domain}")
    scene.registered()
    disable_desk(scene)
    wait_until(lambda: located(scene.lab, scene.guest.identity) == [])
    sql(scene.lab, "UPDATE sip_user SET state = 'enabled' WHERE identity = %s", scene.desk.identity)
    wait_until(lambda: register_for(scene.desk, scene.guest, None).status == 200)
    assert called(scene.caller, scene.desk, scene.guest) == 200


def test_F61_who_may_register_for_another_may_remove_what_it_has(scene):
    own = Phone(scene.lab, user=scene.guest.user)
    provision(scene.lab, own.cn, own.identity)
    own.connect().register()
    rule(scene.lab, scene.desk)
    listed = register_for(scene.desk, scene.guest)
    assert len(listed.all("Contact")) == 2
    register_for(scene.desk, scene.guest, expires=0)
    assert [b["device"] for b in located(scene.lab, own.identity)] == [f"device:{own.cn}"]
    register_for(scene.desk, scene.guest, contact="*", expires=0)
    assert located(scene.lab, own.identity) == []
    own.register()  # its refresh is a write again
    assert len(located(scene.lab, own.identity)) == 1


def test_T18_a_dialog_with_the_phone_goes_on_while_it_holds_who_registered_it(scene):
    provision(scene.lab, scene.desk.cn, f"{unique()}@{scene.lab.domain}")
    scene.registered()
    out, into = establish(scene.caller, scene.desk, scene.guest.aor)
    assert into.local_uri == f"<{scene.guest.aor}>"
    info = into.send("INFO")
    scene.caller.reply(scene.caller.expect("INFO"), 200)
    assert scene.desk.response(info).status == 200
    lose_rule(scene)  # rules are about new requests
    wait_until(lambda: located(scene.lab, scene.guest.identity) == [])
    scene.desk.connect()
    info = into.send("INFO")
    scene.caller.reply(scene.caller.expect("INFO"), 200)
    assert scene.desk.response(info).status == 200
    disable_desk(scene)
    wait_until(lambda: scene.desk.options().status == 403, what="the desk's worker has heard of it")
    assert reason(into.exchange("INFO")) == "user-disabled"
    sql(scene.lab, "UPDATE sip_user SET state = 'enabled' WHERE identity = %s", scene.desk.identity)
    wait_until(lambda: scene.desk.options().status == 200)
    info = into.send("INFO")
    scene.caller.reply(scene.caller.expect("INFO"), 200)
    assert scene.desk.response(info).status == 200
    lose_mapping(scene)
    wait_until(lambda: scene.desk.options().status == 403)
    assert into.exchange("INFO").status == 403
    bye = out.bye()
    scene.desk.reply(scene.desk.expect("BYE"), 200)
    assert scene.caller.response(bye).status == 200


def test_F41_who_registered_for_another_has_nobody_called_by_that_ones_rights(scene):
    target = f"other.{scene.lab.domain}"
    add = (
        "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, target, effect)"
        " VALUES (1, 'user', %s, '{INVITE}', 'domain', %s, 'allow')"
    )
    scene.registered()
    sql(scene.lab, add, scene.guest.identity, target)
    wait_until(lambda: target in str(resp(scene.lab, "RIGHTS", scene.guest.identity)))
    _, into = establish(scene.caller, scene.desk, scene.guest.aor)
    assert reason(into.exchange("REFER", Refer_To=f"<sip:x@{target}>")) == "refer-to-not-permitted"
    sql(scene.lab, add, scene.desk.identity, target)

    def refers():
        sent = into.send("REFER", Refer_To=f"<sip:x@{target}>")
        wait_until(lambda: scene.caller.seen("REFER") or scene.desk.seen(403), what="REFER or 403")
        if scene.caller.seen("REFER"):
            scene.caller.reply(scene.caller.expect("REFER"), 202)
        return scene.desk.response(sent).status == 202

    wait_until(refers, what="its own right")


@pytest.mark.tsan
def test_F63_a_call_finds_the_newest_connection_that_holds_who_registered_it(scene):
    scene.registered()
    scene.desk.connect()
    assert scene.desk.options().status == 200  # it is known by now
    scene.desk.streams.pop(0).close()
    wait_until(lambda: called(scene.caller, scene.desk, scene.guest) == 200)


def test_F48_mapctl_check_says_the_same(scene):
    asked = ("device", scene.desk.cn, scene.desk.identity, "REGISTER", scene.guest.identity)
    status, out, _ = mapctl(scene.lab, "check", *asked)
    assert status == 1 and "to-not-permitted" in out
    number = rule(scene.lab, scene.desk)
    status, out, _ = mapctl(scene.lab, "check", *asked)
    assert status == 0 and f"rule: {number}" in out and f"* rule {number} allow" in out
    disable_guest(scene)
    wait_until(lambda: "user-disabled" in mapctl(scene.lab, "check", *asked)[1])
