# SPDX-License-Identifier: Apache-2.0
"""F41 at mapperd: what a third party has registered, and when LOCATE gives it."""
import shutil
import time

import pytest

from tests.system.lib import resp, sql, unique, wait_until
from tests.system.lib.digest import set_password
from tests.system.test_compare import QUICK, a_round_passes, named, unlogged
from tests.system.test_mapperd_bind import Device, located
from tests.system.test_mapperd_feed import known
from tests.system.test_mapperd_journal import is_empty, restart_killed
from tests.system.test_mapperd_standby import reads_standby
from tests.system.test_mapperd_two import second  # noqa: F401: a fixture


class Desk(Device):
    """A device whose user may register for a guest."""

    def __init__(self, lab, allow=True):
        super().__init__(lab)
        self.user, self.guest = self.aor, f"{unique('guest')}@example.org"
        sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", self.guest)
        self.aor = self.guest
        if allow:
            self.rule()
        wait_until(lambda: resp(lab, "RIGHTS", self.guest)[2] == "known")

    def rule(self, effect="allow", methods="{REGISTER}", store=None, until=None, position=50):
        [[number]] = sql(
            self.lab,
            "INSERT INTO rights_rule (position, who_kind, who, trust_store, methods, target_kind, effect, valid_until)"
            " VALUES (%s, 'user', %s, %s, %s, 'ours', %s, to_timestamp(%s)) RETURNING id",
            *(position, self.user, store, methods, effect, until),
        )
        wait_until(lambda: any(r.startswith(f"{number} ") for r in resp(self.lab, "RIGHTS", self.user)[4:]))
        return number

    def arguments(self, **changed):
        changed.setdefault("registered_by", self.user)
        changed.setdefault("entry", self.user)
        return super().arguments(**changed)

    def shown(self, where=None):
        return [b.get("registered_by") for b in located(where or self.lab, self.guest)]


def test_F41_a_third_partys_binding_is_located_with_who_made_it(lab):
    desk = Desk(lab)
    assert desk.bind()[2] == "OK"
    [found] = desk.located()
    assert (found["registered_by"], found["groups"], found["until"]) == (desk.user, "-", "-")
    assert sql(lab, "SELECT registered_by FROM binding WHERE aor = %s", desk.guest) == [(desk.user,)]
    # Its own takes the place of it, and the other way round.
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", desk.cn, desk.guest)
    wait_until(lambda: desk.guest in resp(lab, "PEER", "device", desk.cn))
    resp(lab, *Device.arguments(desk, entry=desk.guest))
    assert desk.shown() == [None]
    assert sql(lab, "SELECT registered_by FROM binding WHERE aor = %s", desk.guest) == [(None,)]
    desk.bind()
    assert desk.shown() == [desk.user]


CHANGES = {
    "mapping of who made it": "DELETE FROM cn_mapping WHERE cn = '{cn}'",
    "who made it disabled": "UPDATE sip_user SET state = 'disabled' WHERE identity = '{user}'",
    "who made it deleted": "DELETE FROM sip_user WHERE identity = '{user}'",
    "address of record disabled": "UPDATE sip_user SET state = 'disabled' WHERE identity = '{guest}'",
    "rule": "DELETE FROM rights_rule WHERE who = '{user}'",
    "another method": "UPDATE rights_rule SET methods = '{{INVITE}}' WHERE who = '{user}'",
    "all methods": "UPDATE rights_rule SET methods = NULL WHERE who = '{user}'",
    "another target": "UPDATE rights_rule SET target_kind = 'user', target = 'x@example.org' WHERE who = '{user}'",
    "another store": "UPDATE rights_rule SET trust_store = 'corp' WHERE who = '{user}'",
    "over": "UPDATE rights_rule SET valid_until = now() WHERE who = '{user}'",
    "not yet": "UPDATE rights_rule SET valid_from = now() + interval '1 hour' WHERE who = '{user}'",
    "a denial before it": "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (1, 'user', '{user}', 'deny')",
    "a password asked, and none there": "UPDATE rights_rule SET effect = 'challenge' WHERE who = '{user}'",
    "device disabled": "INSERT INTO device_info (cn, state) VALUES ('{cn}', 'disabled')",
}


@pytest.mark.parametrize("change", CHANGES)
def test_F41_it_is_located_no_longer_once_anything_of_it_is_gone(lab, change):
    desk = Desk(lab)
    desk.bind()
    assert desk.shown() == [desk.user]
    sql(lab, CHANGES[change].format(user=desk.user, guest=desk.guest, cn=desk.cn))
    wait_until(lambda: desk.shown() == [], what=change)


def test_F41_by_name_and_by_password_it_stands_on_what_who_made_it_has(lab):
    desk = Desk(lab)
    sql(lab, "DELETE FROM cn_mapping WHERE cn = %s", desk.cn)
    wait_until(lambda: not known(lab, desk.cn))
    desk.bind()
    assert desk.shown() == []
    desk.bind(ground="name")
    assert desk.shown() == [desk.user]
    desk.bind(ground="name", entry="elsewhere.example")  # covers nobody that it is about
    assert desk.shown() == []
    without = {"device_key": f"digest:{desk.user}", "store": "", "cn": "", "ground": "digest"}
    desk.bind(**without)
    assert desk.shown() == []
    set_password(lab, desk.guest, "x")
    assert desk.shown() == []
    set_password(lab, desk.user, "x")
    desk.bind(**without)
    assert desk.shown() == [desk.user]
    sql(lab, "UPDATE rights_rule SET effect = 'challenge' WHERE who = %s", desk.user)
    wait_until(lambda: "challenge" in resp(lab, "RIGHTS", desk.user)[4])
    assert desk.shown() == [desk.user]
    sql(lab, "DELETE FROM credential WHERE identity = %s", desk.user)
    wait_until(lambda: desk.shown() == [])


def test_T56_a_user_of_another_domain_registers_for_nobody(lab):
    """Whatever the rules of who is not ours say; the proxy sends no such BIND."""
    desk, stranger = Desk(lab), f"{unique()}@elsewhere.example"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", desk.cn, stranger)
    wait_until(lambda: stranger in resp(lab, "PEER", "device", desk.cn))
    [[number]] = sql(lab, "INSERT INTO rights_rule (position, who_kind, methods, target_kind, effect)"
                          " VALUES (5, 'foreign', '{REGISTER}', 'any', 'allow') RETURNING id")  # fmt: skip
    try:
        wait_until(lambda: any(r.startswith(f"{number} ") for r in resp(lab, "RIGHTS", stranger)[4:]))
        desk.bind(registered_by=stranger, entry=stranger)
        assert desk.shown() == []
    finally:
        sql(lab, "DELETE FROM rights_rule WHERE id = %s", number)


@pytest.mark.parametrize("by", ["", "example.org", "Desk@Example.ORG", "{guest}", "a b@example.org"])
def test_T55_a_hostile_row_is_nobodys_registration_least_of_all_its_own(fresh_lab, by):
    desk = Desk(fresh_lab)
    sql(fresh_lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, 'example.org')", desk.cn)
    wait_until(lambda: "example.org" in resp(fresh_lab, "PEER", "device", desk.cn))
    desk.bind(entry="example.org")
    assert desk.shown() == [desk.user]
    sql(fresh_lab, "ALTER TABLE binding DROP CONSTRAINT binding_registered_by_must_be_another_user")
    sql(fresh_lab, "UPDATE binding SET instance_key = 'c:sip:hostile@192.0.2.1', contact = 'sip:hostile@192.0.2.1',"
                   " registered_by = %s, version_ms = version_ms + 1", by.format(guest=desk.guest))  # fmt: skip
    wait_until(lambda: "event=row-skipped table=\"binding\"" in fresh_lab.log_of("mapperd").read_text()
               or "row-skipped table=binding" in fresh_lab.log_of("mapperd").read_text())  # fmt: skip
    assert "sip:hostile@192.0.2.1" not in [b["contact"] for b in desk.located()]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_F84_two_mapperds_see_a_third_partys_binding_alike(fresh_lab, second):  # noqa: F811
    desk = Desk(fresh_lab)
    desk.bind()
    wait_until(lambda: desk.shown(second) == [desk.user])
    sql(fresh_lab, "DELETE FROM rights_rule WHERE who = %s", desk.user)
    wait_until(lambda: desk.shown() == desk.shown(second) == [])
    desk.rule()
    wait_until(lambda: desk.shown() == desk.shown(second) == [desk.user])


def test_F84_a_standbys_mapperd_and_a_fill_show_a_third_partys_binding(make_lab):
    lab, replica = reads_standby(make_lab)
    desk = Desk(lab)
    replica.delay_replay("2s")
    desk.bind()
    assert desk.shown() == [desk.user]
    replica.delay_replay("0")
    lab.kill_program("mapperd")
    shutil.rmtree(lab.path("lmdb"))
    lab.start_program("mapperd")
    wait_until(lambda: desk.shown() == [desk.user], what="the fill has it")


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_T52_a_journalled_binding_of_a_third_party_outlives_kill_9_and_is_replayed_as_one(fresh_lab):
    desk, lost = Desk(fresh_lab), Desk(fresh_lab)
    fresh_lab.postgres.stop()
    assert desk.bind()[2] == lost.bind()[2] == "OK"
    assert desk.shown() == [desk.user]
    restart_killed(fresh_lab)
    wait_until(lambda: desk.shown() == [desk.user])
    fresh_lab.postgres.start()
    sql(fresh_lab, "DELETE FROM rights_rule WHERE who = %s", lost.user)
    wait_until(lambda: is_empty(fresh_lab))
    stored = sql(fresh_lab, "SELECT registered_by FROM binding WHERE aor IN (%s, %s) ORDER BY aor = %s",
                 desk.guest, lost.guest, lost.guest)  # fmt: skip
    assert stored == [(desk.user,), (lost.user,)]
    wait_until(lambda: lost.shown() == [])
    assert desk.shown() == [desk.user]


@QUICK
def test_who_registered_a_binding_is_compared_too(fresh_lab):
    desk, other = Desk(fresh_lab), Desk(fresh_lab)
    sql(fresh_lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", desk.cn, other.user)
    desk.bind()
    a_round_passes(fresh_lab)
    assert named(fresh_lab) == 0
    unlogged(
        fresh_lab,
        f"UPDATE binding SET registered_by = '{other.user}', entry = '{other.user}', version_ms = version_ms + 5"
        f" WHERE aor = '{desk.guest}'",
    )
    wait_until(lambda: desk.shown() == [other.user])
    assert named(fresh_lab) >= 1


def test_F45_the_window_of_the_rule_says_until_when(lab):
    desk = Desk(lab, allow=False)
    closes = int(time.time()) + 3
    desk.rule(until=closes)
    desk.bind()
    [found] = desk.located()
    assert found["until"] == str(closes)
    wait_until(lambda: desk.shown() == [])
    assert time.time() >= closes
