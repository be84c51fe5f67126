# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, for the store and for the journal: what is there is served with its true age, what can't be
written is refused or waits, the log says why, nothing that was confirmed is lost, and with room again all goes on by
itself.

The disk is full for mapperd alone and from one moment to the next: no file of its may become larger than a bound
(RLIMIT_FSIZE; its signal is blocked, so that a write ends short or fails, as on a full disk)."""
import resource
import time

import pytest

from tests.lab.resp import RespError
from tests.system.lib import resp, sql, wait_until
from tests.system.test_mapperd_bind import Device
from tests.system.test_mapperd_feed import (
    info,
    info_generation,
    known,
    new_mapping,
    served,
    start_without_waiting,
    state,
    tables,
)
from tests.system.test_mapperd_journal import contacts, is_empty, journal, rows

ROOM = resource.RLIM_INFINITY


def bound(lab, size):
    """No file of mapperd's grows beyond this from now on."""
    resource.prlimit(lab.processes["mapperd"].pid, resource.RLIMIT_FSIZE, (size, ROOM))


def starts_bounded(lab, size):
    """From its first instruction on. Its log must not be what is full."""
    lab.log_of("mapperd").unlink(missing_ok=True)
    lab.wrap["mapperd"] = ["prlimit", f"--fsize={size}:unlimited"]
    try:
        start_without_waiting(lab)
    finally:
        del lab.wrap["mapperd"]


def said(lab, text):
    return text in lab.log_of("mapperd").read_text()


def size_of_store(lab):
    return lab.path("lmdb", f"gen-{info_generation(lab)}", "data.mdb").stat().st_size


def fill_up(lab, first, count=2000):
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT '0004F5' || lpad(upper(to_hex(n)), 6, '0'),"
        " 'd' || n || '@example.net' FROM generate_series(%s, %s) n",
        first,
        first + count - 1,
    )


def never_answered(lab, cn):
    """Longer than mapperd waits for a database before it serves what it has."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        with pytest.raises(RespError, match="^LOADING"):
            resp(lab, "PEER", "device", cn)


@pytest.mark.lab(mapperd_conf={"staleness_alarm_ms": 1000, "bind_confirm_ms": 100})
def test_T41_with_a_full_disk_the_old_is_served_with_its_age_and_all_goes_on_with_room(fresh_lab):
    lab = fresh_lab
    fill_up(lab, 1)
    kept, gone = new_mapping(lab), new_mapping(lab)
    device = Device(lab)
    bound(lab, size_of_store(lab))
    fill_up(lab, 2001)  # more than its free pages hold
    wait_until(lambda: said(lab, "event=store-failed"))
    assert said(lab, "look whether the disk is full")
    sql(lab, "SELECT retire_device(%s)", gone)
    # It says that it is not current, and goes on saying what it knows.
    wait_until(lambda: said(lab, "event=data-old") and info(lab)["age_alarm"] == "1")
    assert known(lab, kept) and int(info(lab)["age_ms"]) >= 1000
    # A binding is confirmed only by what has kept it.
    try:
        confirmed = device.bind()[2] == "OK"
    except RespError as error:
        assert str(error).startswith("UNCONFIRMED")
        confirmed = False
    lab.kill_program("mapperd")
    starts_bounded(lab, 16384)
    # A start that can write nothing opens no store: what the data's age is could not be kept.
    never_answered(lab, kept)
    bound(lab, ROOM)
    wait_until(lambda: info(lab)["ready"] == "1")
    assert state(lab, gone) == "unknown" and known(lab, kept)
    truth = tables(lab)
    wait_until(lambda: info(lab)["devices"] == str(len(truth)))
    sample = list(truth)[::20]
    assert served(lab, sample) == {cn: truth[cn] for cn in sample}
    if confirmed:
        wait_until(lambda: len(contacts(device)) == 1 and len(rows(lab, device.aor)) == 1)
    assert device.bind()[2] == "OK"
    sql(lab, "SELECT retire_device(%s)", kept)
    wait_until(lambda: not known(lab, kept))


def test_T41_with_room_again_a_store_that_could_not_be_opened_is_served_without_the_database(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.stop_program("mapperd")
    lab.postgres.stop()
    starts_bounded(lab, 16384)
    wait_until(lambda: said(lab, "event=store-absent"))
    never_answered(lab, cn)
    bound(lab, ROOM)
    wait_until(lambda: info(lab)["ready"] == "1")
    assert known(lab, cn) and info(lab)["fills"] == "0"
    lab.postgres.start()
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))
    assert info(lab)["fills"] == "0"


def test_T41_a_fill_that_finds_the_disk_full_leaves_what_serves_and_is_done_when_there_is_room(fresh_lab):
    lab = fresh_lab
    fill_up(lab, 1, 100)
    cn = new_mapping(lab)
    generation = info_generation(lab)
    bound(lab, 65536)
    fill_up(lab, 101)
    sql(lab, "TRUNCATE user_group CASCADE")  # everything is read again
    wait_until(lambda: said(lab, "event=store-failed"))
    assert known(lab, cn) and info_generation(lab) == generation
    bound(lab, ROOM)
    wait_until(lambda: info(lab)["devices"] == "2101" and info(lab)["state"] == "feeding")
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_T41_with_the_journals_disk_full_a_binding_is_unconfirmed_and_none_that_was_confirmed_is_lost(fresh_lab):
    lab = fresh_lab
    device, confirmed = Device(lab), []
    lab.postgres.stop()

    def bind(number):
        contact = f"sip:c{number:03}@192.0.2.1"
        try:
            if device.bind(contact=contact, path="x" * 1500)[2] == "OK":
                confirmed.append(contact)
                return True
        except RespError as error:
            assert str(error).startswith("UNCONFIRMED"), error
        return False

    assert bind(0)
    bound(lab, lab.path("lmdb", "journal", "data.mdb").stat().st_size + (64 << 10))
    count = 1
    while count < 100 and bind(count):
        count += 1
    assert 5 < count < 100
    assert said(lab, "event=journal-failed") and said(lab, "look whether the disk is full")
    assert set(confirmed) <= set(contacts(device))
    # Nothing of what is there is lost by a start that can't write, either.
    lab.kill_program("mapperd")
    starts_bounded(lab, 16384)
    bound(lab, ROOM)
    wait_until(lambda: info(lab)["ready"] == "1")
    assert set(confirmed) <= set(contacts(device))
    assert bind(count + 1)
    assert journal(lab)["journal_entries"] >= len(confirmed)
    lab.postgres.start()
    wait_until(lambda: is_empty(lab))
    assert set(confirmed) <= set(rows(lab, device.aor))
    assert contacts(device) == rows(lab, device.aor)
