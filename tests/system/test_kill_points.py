# SPDX-License-Identifier: Apache-2.0
"""kill -9 of mapperd between any two steps of a fill, a swap, an application, a comparison, the growing of the map, a
binding and the journal, each by the name that it has in the program (mapperd/kill_point.h). Whatever was half done: the next start serves what the tables say, what
was deleted while it was down is never known, and what was answered OK is there."""
import pathlib
import re
import signal
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, sql, unique, wait_until
from tests.system.test_compare import unlogged
from tests.system.test_mapperd_bind import Device
from tests.system.test_mapperd_feed import (
    LOG,
    info,
    insert,
    known,
    new_mapping,
    served,
    start_without_waiting,
    tables,
)
from tests.system.test_mapperd_journal import contacts, is_empty, rows
from tests.system.test_store_growth import add

FILL = (
    "fill-created",
    "fill-begun",
    "fill-range:1",
    "fill-range:10",
    "fill-copied",
    "swap-sealed",
    "swap-synced",
    "swap-named",
    "swap-renamed",
    "swap-installed",
)
BESIDE = FILL + ("apply-fresh", "generation-unlinked")
APPLICATION = ("start-epoch", "poll-queued", "poll-part", "apply-written", "apply-written:3", "apply-done")
GROWTH = ("map-grown",)
COMPARISON = ("compare-named",)
BINDING = ("bind-confirmed:3", "bind-kept:3", "journal-put:3", "journal-kept:3")
MANY = (
    "INSERT INTO cn_mapping (cn, identity) SELECT '0004F4' || lpad(upper(to_hex(n)), 6, '0'),"
    " 'm' || n || '@example.net' FROM generate_series(1, 1100) n ON CONFLICT DO NOTHING"
)
FEW = "DELETE FROM cn_mapping WHERE cn LIKE '0004F4%'"


def test_every_point_of_the_program_is_killed_at():
    sources = pathlib.Path(__file__).resolve().parents[2].joinpath("mapperd").glob("*.c")
    calls = [re.findall(r"kill_point\((.*)\);", source.read_text()) for source in sources]
    named = {name for call in calls for line in call for name in re.findall(r'"([a-z-]+)"', line)}
    assert named == {point.split(":")[0] for point in BESIDE + APPLICATION + GROWTH + COMPARISON + BINDING}


def launch_to_die(lab, monkeypatch, point):
    """Starts mapperd so that it ends at this point; waits for nothing. Gives its process."""
    with monkeypatch.context() as context:
        context.setenv("HOLDLINE_KILL_AT", point)
        lab.launch("mapperd")
    return lab.processes["mapperd"]


def wait_for_death(lab, point, meanwhile=lambda: None):
    """The point was come to: nothing else has ended it."""
    mapperd = lab.processes["mapperd"]

    def dead():
        meanwhile()
        return not mapperd.alive()

    wait_until(dead, timeout=60, what=f"mapperd comes to {point}")
    assert mapperd.exit_status == -signal.SIGKILL, point
    del lab.processes["mapperd"]


def first_answer(lab, cn):
    """What the first answer after a start says of a device."""
    end = time.monotonic() + 60
    while True:
        try:
            with Resp(lab.mapperd_socket) as client:
                return client.command("PEER", "device", cn)[2]
        except RespError as error:
            assert str(error).startswith("LOADING") and time.monotonic() < end


def starts_right(lab, point, gone):
    """A start after the kill: the devices `gone` are not known, nor is one that goes while mapperd is down."""
    last, late = cn_of(), cn_of()
    insert(lab, last, f"{unique()}@example.org")
    before = sql(lab, "SELECT cn FROM cn_mapping WHERE cn LIKE '0004F2%%' AND cn <> %s LIMIT 1", last)[0][0]
    sql(lab, "SELECT retire_device(%s)", before)
    insert(lab, late, f"{unique()}@example.org")
    start_without_waiting(lab)
    for cn in [before, *gone]:
        assert first_answer(lab, cn) == "unknown", f"{point}: {cn}"
    assert known(lab, late) and known(lab, last), point
    truth = tables(lab)
    asked = list(truth)[:500] + [before, *gone]
    assert served(lab, asked) == {cn: truth[cn] for cn in asked if cn in truth}, point
    assert info(lab)["devices"] == str(len(truth)), point


@pytest.mark.limit(180)
def test_T52_kill_9_in_each_phase_of_a_first_fill(fresh_lab, monkeypatch):
    lab = fresh_lab
    sql(lab, MANY)
    for _ in range(len(FILL)):
        new_mapping(lab)
    for point in FILL:
        lab.stop_program("mapperd")
        lab.path("lmdb", "CURRENT").unlink()
        launch_to_die(lab, monkeypatch, point)
        wait_for_death(lab, point)
        starts_right(lab, point, [])


@pytest.mark.limit(180)
def test_T52_kill_9_in_each_phase_of_a_fill_beside_a_store_that_serves(fresh_lab, monkeypatch):
    """Changes go into both stores meanwhile."""
    lab = fresh_lab
    sql(lab, MANY)
    for _ in range(len(FILL)):
        new_mapping(lab)
    for point in BESIDE:
        gone = []

        def change():
            sql(lab, LOG.format("'all', '{}'"))  # a fill may be over before a change is read
            cn = new_mapping_soon(lab)
            sql(lab, "SELECT retire_device(%s)", cn)
            gone.append(cn)

        lab.stop_program("mapperd")
        launch_to_die(lab, monkeypatch, point)
        wait_until(lambda: info_or_none(lab).get("ready") == "1")
        wait_for_death(lab, point, change)
        starts_right(lab, point, gone)


def new_mapping_soon(lab):
    cn = cn_of()
    insert(lab, cn, f"{unique()}@example.org")
    return cn


def info_or_none(lab):
    try:
        return info(lab)
    except (OSError, EOFError):
        return {}


@pytest.mark.limit(180)
def test_T52_kill_9_in_each_phase_of_an_application(fresh_lab, monkeypatch):
    lab = fresh_lab
    sql(lab, MANY)
    for _ in range(20):
        new_mapping(lab)
    for point in APPLICATION:
        # What was committed while it was down, small and large, is being applied.
        gone = [new_mapping(lab), f"0004F4{1100:06X}"]
        sql(lab, MANY)
        wait_until(lambda: known(lab, gone[1]))
        lab.stop_program("mapperd")
        sql(lab, "SELECT retire_device(%s)", gone[0])
        sql(lab, FEW)
        launch_to_die(lab, monkeypatch, point)
        wait_for_death(lab, point)
        starts_right(lab, point, gone)


@pytest.mark.lab(mapperd_conf={"lmdb_map_size_mb": 16})
@pytest.mark.limit(180)
def test_T52_kill_9_while_the_map_grows(fresh_lab, monkeypatch):
    lab = fresh_lab
    gone, _ = new_mapping(lab), new_mapping(lab)
    lab.stop_program("mapperd")
    sql(lab, "SELECT retire_device(%s)", gone)
    add(lab, 1, 65000, labels=48)  # of 16 MB, in one go
    for point in GROWTH:
        launch_to_die(lab, monkeypatch, point)
        wait_for_death(lab, point)
    starts_right(lab, GROWTH[-1], [gone])
    assert int(info(lab)["map_bytes"]) > 16 << 20


@pytest.mark.lab(mapperd_conf={"compare_round_s": 1})
def test_T52_kill_9_when_a_comparison_has_found_something(fresh_lab, monkeypatch):
    lab = fresh_lab
    for point in COMPARISON:
        gone = new_mapping(lab)
        unlogged(lab, f"DELETE FROM cn_mapping WHERE cn = '{gone}'")
        lab.stop_program("mapperd")
        launch_to_die(lab, monkeypatch, point)
        wait_for_death(lab, point)
        start_without_waiting(lab)
        wait_until(lambda: not known(lab, gone), what=f"{point}: what was named is read again")


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
@pytest.mark.limit(180)
def test_T52_kill_9_in_each_phase_of_a_binding(fresh_lab, monkeypatch):
    lab = fresh_lab
    for point in BINDING:
        device, answered = Device(lab), []
        lab.stop_program("mapperd")
        if point.startswith("journal"):
            lab.postgres.stop()
        launch_to_die(lab, monkeypatch, point)
        wait_until(lambda: info_or_none(lab).get("ready") == "1")

        def bind():
            contact = f"sip:c{len(answered):03}@192.0.2.1"
            try:
                if device.bind(contact=contact)[2] == "OK":
                    answered.append(contact)
            except RespError as error:
                assert str(error).startswith("UNCONFIRMED"), error
            except (OSError, EOFError):
                pass  # it is dead

        wait_for_death(lab, point, bind)
        assert answered, point
        lab.start_program("mapperd")
        assert set(answered) <= set(contacts(device)), point
        if point.startswith("journal"):
            lab.postgres.start()
        wait_until(lambda: is_empty(lab))
        assert set(answered) <= set(rows(lab, device.aor)), point
        wait_until(lambda: contacts(device) == rows(lab, device.aor))
