# SPDX-License-Identifier: Apache-2.0
"""The journal of bindings: what was answered OK while the primary was away is located at once, outlives
kill -9, reaches the primary when it is back and never replaces what is newer there."""
import glob
import pathlib
import random
import shutil
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import Phone, psycopg2_connect, ready_phone, resp, sql, wait_until
from tests.system.test_mapperd_bind import Device
from tests.system.test_mapperd_feed import info, known
from tests.system.test_restarts import reaches


def journal(lab):
    said = info(lab)
    return {
        key: int(said[key])
        for key in (
            "journal_entries",
            "journal_bytes",
            "bindings_journalled",
            "bindings_replayed",
            "bindings_dropped",
            "bindings_unconfirmed",
        )
    }


def is_empty(lab):
    return journal(lab)["journal_entries"] == 0 and journal(lab)["journal_bytes"] == 0


def contacts(device):
    return sorted(b["contact"] for b in device.located())


def rows(lab, aor):
    """Contacts of the table that are not removed."""
    statement = "SELECT contact FROM binding WHERE aor = %s AND NOT removed ORDER BY contact"
    return [contact for (contact,) in sql(lab, statement, aor)]


def unbind(device, key="*", instance="", reg_id=0, contact="*"):
    return resp(device.lab, "UNBIND", device.aor, key, instance, reg_id, contact)[2]


def restart_killed(lab):
    lab.kill_program("mapperd")
    lab.start_program("mapperd")


@pytest.mark.tsan
@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 500})
def test_F26_while_the_primary_hangs_a_binding_is_journalled_located_and_replayed(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    device.bind(contact="sip:before@192.0.2.1")
    lab.postgres.pause()
    start = time.monotonic()
    assert device.bind(contact="sip:late@192.0.2.1")[2] == "OK"
    assert 0.45 < time.monotonic() - start < 1.4
    assert contacts(device) == ["sip:before@192.0.2.1", "sip:late@192.0.2.1"]
    start = time.monotonic()
    assert device.bind(contact="sip:later@192.0.2.1")[2] == "OK"
    assert time.monotonic() - start < 0.4  # the journal is in use: nobody waits for the primary
    assert journal(lab)["journal_entries"] == 2
    lab.postgres.resume()
    wait_until(lambda: is_empty(lab))
    assert rows(lab, device.aor) == contacts(device)
    assert len(contacts(device)) == 3
    # And straight again.
    journalled = journal(lab)["bindings_journalled"]
    assert device.bind(contact="sip:straight@192.0.2.1")[2] == "OK"
    assert journal(lab)["bindings_journalled"] == journalled == 2


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 500})
def test_while_the_database_is_stopped_bindings_are_journalled_and_lookups_go_on(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    device.bind()
    lab.postgres.stop()
    with Resp(lab.mapperd_socket) as client:
        for i in range(20):
            client.send(*device.arguments(contact=f"sip:new{i}@192.0.2.1"))
            client.send("PEER", "device", device.cn)
        start = time.monotonic()
        for _ in range(20):
            assert client.receive()[2] == "OK"
            assert client.receive()[2] == "known"
        assert time.monotonic() - start < 3  # all together, not one after the other
    assert len(device.located()) == 21
    assert journal(lab)["bindings_unconfirmed"] == 0
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    assert rows(lab, device.aor) == contacts(device)
    assert len(rows(lab, device.aor)) == 21


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_T52_what_was_answered_ok_outlives_kill_9_with_the_database_away(fresh_lab):
    lab = fresh_lab
    devices = [Device(lab) for _ in range(4)]
    lab.postgres.stop()
    for device in devices:
        assert device.bind(contact="sip:old@192.0.2.1", instance="<urn:x>", reg_id=1)[2] == "OK"
        assert device.bind(contact="sip:new@192.0.2.1", instance="<urn:x>", reg_id=1)[2] == "OK"
        restart_killed(lab)
        assert contacts(device) == ["sip:new@192.0.2.1"]
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    for device in devices:
        assert contacts(device) == rows(lab, device.aor) == ["sip:new@192.0.2.1"]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_T52_kill_9_in_every_phase_of_the_replay_loses_nothing(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    wanted = [f"sip:c{i:04}@192.0.2.1" for i in range(1000)]
    lab.postgres.stop()
    with Resp(lab.mapperd_socket, timeout_s=30) as client:
        for contact in wanted:
            client.send(*device.arguments(contact=contact))
        for contact in wanted:
            assert client.receive()[2] == "OK"
    lab.postgres.start()
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for _ in range(6):
        time.sleep(chance.random() * 0.3)  # any moment is as good as another
        lab.kill_program("mapperd")
        lab.start_program("mapperd")
        # Neither too early out of the journal nor too late into the store.
        assert contacts(device) == wanted, f"seed {seed}"
    wait_until(lambda: is_empty(lab))
    assert rows(lab, device.aor) == wanted == contacts(device), f"seed {seed}"


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_unbind_is_journalled_too_and_keeps_its_place_in_the_order(fresh_lab):
    lab = fresh_lab
    device, other, third = Device(lab), Device(lab), Device(lab)
    for d in (device, other, third):
        d.bind(contact="sip:a@192.0.2.1")
        d.bind(contact="sip:b@192.0.2.1")
    lab.postgres.stop()
    assert unbind(device, device.key, contact="sip:a@192.0.2.1") == "OK"
    assert contacts(device) == ["sip:b@192.0.2.1"]
    other.bind(contact="sip:c@192.0.2.1")
    assert unbind(other) == "OK"
    assert contacts(other) == []
    other.bind(contact="sip:d@192.0.2.1")
    other.bind(contact="sip:a@192.0.2.1")
    assert contacts(other) == ["sip:a@192.0.2.1", "sip:d@192.0.2.1"]
    assert unbind(third, third.key) == "OK"
    assert contacts(third) == []
    restart_killed(lab)
    shown = {d: contacts(d) for d in (device, other, third)}
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    for d in (device, other, third):
        assert contacts(d) == rows(lab, d.aor) == shown[d]
    assert [len(shown[d]) for d in (device, other, third)] == [1, 2, 0]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 500})
@pytest.mark.parametrize("of", ["all devices", "one device"])
def test_a_removal_does_not_overtake_a_bind_that_a_lock_keeps_from_being_replayed(fresh_lab, of):
    lab = fresh_lab
    device, seen = Device(lab), []
    held = psycopg2_connect(lab)
    with held.cursor() as cursor:  # of another writer, who has not ended
        cursor.execute(
            "INSERT INTO binding (aor, device_key, instance_key, store, cn, ground, entry, contact, expires_at,"
            " call_id, cseq, flow, version_ms, version_by) VALUES (%s, %s, 'c:sip:gone@192.0.2.1', 'device', %s,"
            " 'mapping', %s, 'sip:gone@192.0.2.1', now() + interval '1 hour', 'c', 1, 'f', 1, 1)",
            (device.aor, device.key, device.cn, device.aor),
        )
    lab.postgres.pause()
    assert device.bind(contact="sip:gone@192.0.2.1")[2] == "OK"
    assert unbind(device, "*" if of == "all devices" else device.key) == "OK"
    other = Device.__new__(Device)
    other.__dict__.update(device.__dict__, aor=f"other-{device.aor}")
    assert other.bind()[2] == "OK"
    lab.postgres.resume()

    def replayed():
        seen.extend(contacts(device))
        return journal(lab)["bindings_replayed"] >= 1

    wait_until(replayed)  # the lock holds up its address of record and no other
    held.rollback()
    held.close()
    wait_until(lambda: is_empty(lab))
    assert seen == [] == contacts(device) == rows(lab, device.aor)


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_a_replay_never_replaces_what_another_mapperd_wrote_meanwhile(fresh_lab):
    lab = fresh_lab
    device, quiet = Device(lab), Device(lab)
    for d in (device, quiet):
        d.bind(contact="sip:first@192.0.2.1", instance="<urn:x>", reg_id=1)
    lab.postgres.stop()
    for d in (device, quiet):
        d.bind(contact="sip:journalled@192.0.2.1", instance="<urn:x>", reg_id=1)
    assert contacts(device) == ["sip:journalled@192.0.2.1"]
    lab.kill_program("mapperd")
    lab.postgres.start()
    sql(
        lab,
        "UPDATE binding SET contact = 'sip:theirs@192.0.2.1', version_ms = version_ms + 3600000,"
        " version_by = 9 WHERE aor = %s",
        device.aor,
    )
    lab.start_program("mapperd")
    wait_until(lambda: is_empty(lab))
    assert contacts(device) == rows(lab, device.aor) == ["sip:theirs@192.0.2.1"]
    assert contacts(quiet) == rows(lab, quiet.aor) == ["sip:journalled@192.0.2.1"]
    # The clock has seen that version.
    device.bind(contact="sip:mine@192.0.2.1", instance="<urn:x>", reg_id=1)
    assert contacts(device) == rows(lab, device.aor) == ["sip:mine@192.0.2.1"]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_what_the_primary_refuses_at_replay_is_dropped_here_as_well(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    lab.postgres.stop()
    for i in range(40):
        call_id = "refused" if i in (7, 31) else "fine"
        device.bind(contact=f"sip:c{i}@192.0.2.1", call_id=call_id)
    assert len(contacts(device)) == 40
    lab.kill_program("mapperd")
    lab.postgres.start()
    sql(lab, "ALTER TABLE binding ADD CHECK (call_id <> 'refused')")
    lab.start_program("mapperd")
    wait_until(lambda: is_empty(lab))
    assert contacts(device) == rows(lab, device.aor)
    assert len(contacts(device)) == 38
    assert journal(lab)["bindings_dropped"] == 2
    assert journal(lab)["bindings_replayed"] == 38
    assert "event=binding-refused" in lab.log_of("mapperd").read_text()


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_what_waits_in_the_journal_is_located_in_a_new_generation_and_only_while_it_may(fresh_lab):
    lab = fresh_lab
    device, other = Device(lab), Device(lab)
    device.bind(contact="sip:held@192.0.2.1")
    other.bind(contact="sip:free@192.0.2.1")
    lab.postgres.stop()
    device.bind(contact="sip:held@192.0.2.1", cseq=2)
    other.bind(contact="sip:free@192.0.2.1", cseq=2)
    lab.kill_program("mapperd")
    lab.postgres.start()
    with psycopg2_connect(lab) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM binding WHERE aor = %s FOR UPDATE", (device.aor,))
        lab.start_program("mapperd")
        # One that a lock holds up holds up no other.
        wait_until(lambda: journal(lab)["journal_entries"] == 1)
        wait_until(
            lambda: sql(lab, "SELECT cseq FROM binding WHERE aor = %s", other.aor) == [(2,)]
        )
        fills = int(info(lab)["fills"])
        sql(lab, "TRUNCATE user_group CASCADE")
        wait_until(lambda: int(info(lab)["fills"]) > fills)
        assert [b["cseq"] for b in device.located()] == ["2"]
        # The store is lost with it: the journal is not.
        lab.kill_program("mapperd")
        for path in glob.glob(str(lab.path("lmdb", "gen-*"))):
            shutil.rmtree(path)
        lab.start_program("mapperd")
        assert [b["cseq"] for b in device.located()] == ["2"]
        assert journal(lab)["journal_entries"] == 1
        sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", other.aor)
        sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
        wait_until(lambda: device.located() == [])
        sql(lab, "UPDATE trust_store SET state = 'enabled' WHERE name = 'device'")
        wait_until(lambda: len(device.located()) == 1)
        connection.rollback()
    wait_until(lambda: is_empty(lab))
    assert [b["cseq"] for b in device.located()] == ["2"]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_a_journalled_binding_gives_nothing_once_its_mapping_is_gone(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    lab.postgres.stop()
    device.bind()
    assert len(device.located()) == 1
    lab.kill_program("mapperd")
    lab.postgres.start()
    sql(lab, "SELECT retire_device(%s)", device.cn)
    lab.start_program("mapperd")
    assert device.located() == []
    wait_until(lambda: is_empty(lab))
    assert device.located() == []


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100, "journal_max_mb": 1})
def test_T41_a_full_journal_is_unconfirmed_and_takes_again_when_it_has_room(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    lab.postgres.stop()
    outcomes = []
    for i in range(1000):
        try:
            outcomes.append(device.bind(contact=f"sip:c{i}@192.0.2.1", path="x" * 2000)[2])
        except RespError as error:
            outcomes.append(str(error).split()[0])
        if outcomes[-2:] == ["UNCONFIRMED"] * 2:
            break
    stored = outcomes.count("OK")
    assert 300 < stored < 600 and outcomes[stored:] == ["UNCONFIRMED"] * 2
    assert journal(lab)["journal_bytes"] <= 1 << 20
    assert "event=journal-full" in lab.log_of("mapperd").read_text()
    assert unbind(device, device.key, contact="sip:c0@192.0.2.1") == "OK"  # takes less than it frees
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    assert len(rows(lab, device.aor)) == stored - 1
    assert device.bind(contact="sip:again@192.0.2.1")[2] == "OK"


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
CREATE TRIGGER slow BEFORE INSERT ON binding FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_a_primary_that_is_slower_than_the_confirmation_gets_through_the_replay(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    sql(lab, SLOW)
    for i in range(3):
        assert device.bind(contact=f"sip:c{i}@192.0.2.1")[2] == "OK"
    assert len(contacts(device)) == 3
    wait_until(lambda: is_empty(lab), timeout=30)
    assert rows(lab, device.aor) == contacts(device)


def damage_journal(kind, folder):
    data = folder / "data.mdb"
    if kind == "truncated":
        with open(data, "r+b") as file:
            file.truncate(data.stat().st_size // 2)
    elif kind == "garbage":
        data.write_bytes(random.randbytes(65536))
    else:
        content = bytearray(data.read_bytes())
        at = content.find(b"sip:precious")
        while at >= 0:
            content[at : at + 12] = b"sip:attacker"
            at = content.find(b"sip:precious")
        data.write_bytes(bytes(content))


@pytest.mark.parametrize("kind", ["truncated", "garbage", "flipped"])
@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_T52_a_damaged_journal_is_set_aside_and_never_believed(fresh_lab, kind):
    lab = fresh_lab
    device = Device(lab)
    lab.postgres.stop()
    device.bind(contact="sip:precious@192.0.2.1")
    lab.kill_program("mapperd")
    damage_journal(kind, pathlib.Path(lab.path("lmdb", "journal")))
    lab.start_program("mapperd")
    assert contacts(device) == []
    assert "event=journal-damaged" in lab.log_of("mapperd").read_text()
    assert lab.path("lmdb", "journal.damaged", "data.mdb").exists()
    # The new one works.
    assert device.bind(contact="sip:new@192.0.2.1")[2] == "OK"
    assert contacts(device) == ["sip:new@192.0.2.1"]
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    assert rows(lab, device.aor) == ["sip:new@192.0.2.1"]


def test_T51_a_phone_registers_and_is_called_while_postgresql_is_killed_and_nothing_of_it_is_lost(fresh_lab):
    """kill -9 of the postmaster: commits are on its disk, the last numbers are given again."""
    lab = fresh_lab
    alice, carol = ready_phone(lab), ready_phone(lab)
    bob = Phone(lab).provision().connect()
    lab.postgres.kill()
    bob.register(expect=200)
    assert reaches(alice, bob) and reaches(alice, carol)
    assert journal(lab)["journal_entries"] == 1
    lab.restart_program("mapperd")
    wait_until(lambda: reaches(alice, bob), what="LMDB and journal alone answer")
    lab.postgres.start()
    sql(lab, "SELECT retire_device(%s)", carol.cn)
    wait_until(lambda: is_empty(lab) and info(lab)["state"] == "feeding")
    wait_until(lambda: not known(lab, carol.cn))
    assert len(rows(lab, bob.identity)) == 1
    assert reaches(alice, bob) and not reaches(alice, carol)


@pytest.mark.tsan
@pytest.mark.parametrize("how", ["stopped", "hung"])
def test_F26_a_phone_registers_and_is_called_while_postgresql_is_away(fresh_lab, how):
    lab = fresh_lab
    alice = ready_phone(lab)
    bob = Phone(lab).provision().connect()
    (lab.postgres.pause if how == "hung" else lab.postgres.stop)()
    bob.register(expect=200)
    assert reaches(alice, bob)
    lab.restart_program("mapperd")
    wait_until(lambda: reaches(alice, bob), what="LMDB and journal alone answer")
    (lab.postgres.resume if how == "hung" else lab.postgres.start)()
    wait_until(lambda: is_empty(lab))
    assert len(rows(lab, bob.identity)) == 1
    assert reaches(alice, bob)
