# SPDX-License-Identifier: Apache-2.0
"""What an adversary's reading of mapperd found: locks, versions, crashes and full disks at the worst
moment."""
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from tests.lab.resp import RespError
from tests.system.lib import psycopg2_connect, sql, wait_until
from tests.system.test_mapperd_bind import Device
from tests.system.test_mapperd_feed import info, known, new_mapping, start_without_waiting


def outcome(device, **changed):
    try:
        return device.bind(**changed)[2]
    except RespError as error:
        return str(error).split()[0]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 1000})
def test_an_open_transaction_that_holds_one_binding_holds_up_nobody_else(fresh_lab):
    lab = fresh_lab
    held, other = Device(lab), Device(lab)
    held.bind()
    ends = time.monotonic() + 5
    refused = []

    def insist():
        while time.monotonic() < ends:
            refused.append(outcome(held, cseq=2))

    with psycopg2_connect(lab) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT retire_device(%s)", (held.cn,))
        thread = threading.Thread(target=insist)
        thread.start()
        outcomes = []
        while time.monotonic() < ends:
            outcomes.append(outcome(other, cseq=3))
            time.sleep(0.05)
        thread.join()
        waiting = sql(lab, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        connection.rollback()
    assert outcomes.count("OK") > 9 * len(outcomes) / 10
    assert set(refused) == {"UNCONFIRMED"} and waiting[0][0] <= 1
    wait_until(lambda: outcome(held, cseq=4) == "OK")


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_a_bind_that_meets_a_newer_version_is_not_said_to_be_stored(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    device.bind()
    outcomes = []
    with psycopg2_connect(lab) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE binding SET version_ms = version_ms + 3600000, removed = true WHERE aor = %s",
            (device.aor,),
        )
        thread = threading.Thread(target=lambda: outcomes.append(outcome(device, cseq=5)))
        thread.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: sql(lab, waits)[0][0] == 1)
        connection.commit()
        thread.join()
    assert outcomes == ["UNCONFIRMED"]
    wait_until(lambda: device.located() == [])
    device.bind(cseq=6)
    assert [b["cseq"] for b in device.located()] == ["6"]


def lose_numbers(lab):
    """Numbers that leave nothing on disk: mapperd's position passes them, the crash takes them
    back. Leaves mapperd stopped. Gives the last of them."""
    connection = psycopg2_connect(lab)
    connection.autocommit = False
    # The counter, once a second, would leave a number above them; and the WAL writer, see below.
    wait_until(lambda: int(info(lab)["age_ms"]) < 200)
    with connection.cursor() as cursor:
        for _ in range(60):
            cursor.execute("SELECT pg_current_xact_id()")
            lost = int(cursor.fetchone()[0])
            connection.rollback()
    time.sleep(0.1)
    os.kill(lab.processes["mapperd"].pid, signal.SIGSTOP)
    lab.postgres.crash()
    connection.close()
    lab.postgres.start()
    return lost


@pytest.mark.lab(postgres_settings={"wal_writer_delay": "10s"})
def test_T51_a_revocation_under_a_number_given_again_after_a_crash_is_seen(fresh_lab):
    lab = fresh_lab
    for _ in range(5):
        cn = new_mapping(lab)
        lost = lose_numbers(lab)
        sql(lab, "SELECT retire_device(%s)", cn)
        again = int(sql(lab, "SELECT max(xid) FROM change_log")[0][0])
        while int(sql(lab, "SELECT pg_current_xact_id()")[0][0]) <= lost:
            pass
        os.kill(lab.processes["mapperd"].pid, signal.SIGCONT)
        wait_until(lambda: not known(lab, cn))
        if again < lost:
            return
    raise AssertionError("no number was given again")


@pytest.mark.limit(120)
def test_sigterm_ends_mapperd_at_any_moment_of_its_start(fresh_lab):
    lab = fresh_lab
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT lpad(upper(to_hex(n)), 12, '0'),"
        " 'u' || n || '@example.org' FROM generate_series(1, 5000) n",
    )
    lab.stop_program("mapperd")
    for round, delay_s in enumerate((0, 0, 0.01, 0.02, 0.05, 0.05, 0.1, 0.2, 0.4, 0.8)):
        if round % 2:
            shutil.rmtree(lab.path("lmdb"), ignore_errors=True)
        start_without_waiting(lab)
        time.sleep(delay_s)
        mapperd = lab.processes["mapperd"]
        mapperd.send(signal.SIGTERM)
        wait_until(lambda: not mapperd.alive())
        assert mapperd.exit_status == 0
    lab.start_program("mapperd")


JUNK = (
    "INSERT INTO change_log (stamp, system_id, database_oid, kind, key)"
    " SELECT o.stamp, o.system_id, o.database_oid, 'user', ARRAY['u' || n || '@example.org']"
    " FROM change_log_origin() o, generate_series(1, %s) n"
)


@pytest.mark.limit(240)
def test_a_revocation_does_not_wait_while_the_rows_of_a_large_transaction_are_read(fresh_lab):
    lab = fresh_lab
    cns = [new_mapping(lab) for _ in range(5)]
    sql(lab, JUNK, 200000)
    wait_until(lambda: int(info(lab)["log_rows"]) > 2000)
    polls = info(lab)["polls"]
    waits = []
    for cn in cns:
        sql(lab, "SELECT retire_device(%s)", cn)
        start = time.monotonic()
        wait_until(lambda: not known(lab, cn))
        waits.append(time.monotonic() - start)
    assert info(lab)["polls"] == polls, "the poll has ended before anything was shown"
    assert max(waits) < 5, waits
    # What was passed over is read again from where the position stands.
    lab.kill_program("mapperd")
    start_without_waiting(lab)
    wait_until(lambda: info(lab)["ready"] == "1", timeout=90)
    assert not any(known(lab, cn) for cn in cns)
    wait_until(lambda: info(lab)["queued_keys"] == "0" and int(info(lab)["polls"]) > 0, timeout=60)
    assert int(info(lab)["log_rows"]) >= 200000


ASK_AS_ANOTHER = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for command in (b"PEER device 0004F2000001", b"SUBSCRIBE changed", b"INFO", b"UNBIND a@b.c x i 0 s"):
    words = command.split()
    peer.sendall(b"*%d\\r\\n" % len(words) + b"".join(b"$%d\\r\\n%s\\r\\n" % (len(w), w) for w in words))
    print(peer.recv(4096).decode().split()[0])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_T57_another_user_gets_nothing_from_the_socket_whatever_its_mode(fresh_lab):
    lab = fresh_lab
    path = str(lab.mapperd_socket)
    os.chmod(os.path.dirname(path), 0o755)

    def ask():
        return subprocess.run(
            ["/usr/bin/python3", "-c", ASK_AS_ANOTHER, path],
            user=65534,
            group=65534,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
        )

    assert "PermissionError" in ask().stderr
    os.chmod(path, 0o666)
    assert ask().stdout.split() == ["-DENIED"] * 4
