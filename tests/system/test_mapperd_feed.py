# SPDX-License-Identifier: Apache-2.0
"""From a COMMIT to an answer: mapperd against a real PostgreSQL that is slow, gone, hung, crashed or full of surprises."""
import itertools
import pathlib
import random
import shutil
import signal
import threading
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, psycopg2_connect, resp, sql, unique, wait_until


def answered(lab, *command, timeout=30):
    """The answer, however long mapperd says that it has none yet: a start, a standstill or a larger map may
    come between any two lines of a test on a busy machine, and what is not answered is neither yes nor no."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return resp(lab, *command)
        except RespError as error:
            if not str(error).startswith("LOADING") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def state(lab, cn, store="device"):
    return answered(lab, "PEER", store, cn)[2]


def known(lab, cn):
    return state(lab, cn) == "known"


def info(lab):
    with Resp(lab.mapperd_socket) as client:
        return client.info()


def insert(target, cn, identity):
    statement = "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)"
    if hasattr(target, "cursor"):
        with target.cursor() as cursor:
            cursor.execute(statement, (cn, identity))
    else:
        sql(target, statement, cn, identity)


def new_mapping(lab):
    cn = cn_of()
    insert(lab, cn, f"{unique()}@example.org")
    wait_until(lambda: known(lab, cn))
    return cn


def tables(lab):
    rows = sql(
        lab,
        'SELECT cn, array_agg(identity ORDER BY identity COLLATE "C") FROM cn_mapping'
        " WHERE trust_store = 'device' GROUP BY cn",
    )
    return {cn: identities for cn, identities in rows}


def served(lab, cns):
    """What mapperd says of each of these, known or not."""
    found = {}
    with Resp(lab.mapperd_socket) as client:
        # By the hundred: mapperd stops reading from one that does not read its answers.
        for first in range(0, len(cns), 100):
            for cn in cns[first : first + 100]:
                client.send("PEER", "device", cn)
            for cn in cns[first : first + 100]:
                reply = client.receive()
                if reply[2] == "known":
                    found[cn] = reply[4:]
    return found


def start_without_waiting(lab):
    """Starts mapperd and waits for its socket only: it may have nothing to answer."""
    lab.launch("mapperd")
    wait_until(lambda: pathlib.Path(lab.mapperd_socket).exists())
    wait_until(lambda: answers_ping(lab))


def answers_ping(lab):
    try:
        return resp(lab, "PING") == "PONG"
    except OSError:
        return False


def test_T50_commits_in_the_other_order_than_their_ids_are_both_seen_at_once(lab):
    first, second = psycopg2_connect(lab), psycopg2_connect(lab)
    one, two = cn_of(), cn_of()
    insert(first, one, f"{unique()}@example.org")
    insert(second, two, f"{unique()}@example.org")
    second.commit()
    wait_until(lambda: known(lab, two), timeout=5)
    assert not known(lab, one)
    first.commit()
    wait_until(lambda: known(lab, one), timeout=5)
    first.close()
    second.close()


def test_T50_an_open_transaction_here_or_in_another_database_holds_nothing_back(fresh_lab):
    lab = fresh_lab
    here = psycopg2_connect(lab)
    with here.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
    lab.postgres.sql("CREATE DATABASE elsewhere", database="postgres")
    import psycopg2

    there = psycopg2.connect(lab.postgres.conninfo().replace("dbname=holdline", "dbname=elsewhere"))
    with there.cursor() as cursor:
        cursor.execute("CREATE TABLE t (); SELECT pg_current_xact_id()")
    for _ in range(5):
        cn = new_mapping(lab)
        sql(lab, "SELECT retire_device(%s)", cn)
        wait_until(lambda cn=cn: not known(lab, cn), timeout=5)
    late = cn_of()
    insert(here, late, f"{unique()}@example.org")
    between = new_mapping(lab)
    assert not known(lab, late)
    here.commit()
    wait_until(lambda: known(lab, late), timeout=5)
    assert known(lab, between)
    here.close()
    there.close()


def entries_read(postgres):
    """Entries of the log's index that statements have passed, whether their rows were visible or not."""
    postgres.sql("SELECT pg_stat_force_next_flush()")
    return int(postgres.sql("SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'change_log_xid'"))


def test_polls_do_not_look_at_the_rows_of_a_transaction_that_is_still_open(fresh_lab):
    lab, rows = fresh_lab, 5000
    held = psycopg2_connect(lab)
    with held.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cn_mapping (cn, identity) SELECT lpad(i::text, 12, '0'), 'open@example.org'"
            " FROM generate_series(1, %s) AS i",
            (rows,),
        )
    polls = int(info(lab)["polls"])
    wait_until(lambda: int(info(lab)["polls"]) > polls + 5)  # its number lies in the position now
    polls, before = int(info(lab)["polls"]), entries_read(lab.postgres)
    wait_until(lambda: int(info(lab)["polls"]) > polls + 200)  # statistics come once a second
    new_mapping(lab)
    assert entries_read(lab.postgres) - before < 3 * rows
    held.commit()
    held.close()
    wait_until(lambda: known(lab, f"{rows:012d}"))


def test_rolled_back_rows_and_savepoints_are_seen_as_committed(lab):
    connection = psycopg2_connect(lab)
    kept, undone = cn_of(), cn_of()
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT a")
        insert(connection, undone, f"{unique()}@example.org")
        cursor.execute("ROLLBACK TO a")
        insert(connection, kept, f"{unique()}@example.org")
    connection.commit()
    wait_until(lambda: known(lab, kept))
    assert not known(lab, undone)
    connection.close()


def test_a_prepared_transaction_is_seen_when_it_is_committed(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    connection = psycopg2_connect(lab)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SET holdline.notify = off")
        cursor.execute("BEGIN")
        insert(connection, cn, f"{unique()}@example.org")
        cursor.execute("PREPARE TRANSACTION 'p1'")
        new_mapping(lab)
        assert not known(lab, cn)
        cursor.execute("COMMIT PREPARED 'p1'")
    wait_until(lambda: known(lab, cn), timeout=5)
    connection.close()


def test_a_row_is_answered_within_milliseconds_of_its_commit(lab):
    times = []
    with Resp(lab.mapperd_socket) as client:
        for _ in range(20):
            cn = cn_of()
            connection = psycopg2_connect(lab)
            insert(connection, cn, f"{unique()}@example.org")
            connection.commit()
            start = time.monotonic()
            wait_until(lambda: client.command("PEER", "device", cn)[2] == "known")
            times.append(time.monotonic() - start)
            connection.close()
    assert sorted(times)[10] < 0.5  # a sanitizer build on a busy machine; the benchmark measures


def test_a_small_change_is_one_write_of_the_store(lab):
    """What it says and the position go together: each write waits for the disk."""
    new_mapping(lab)
    before, begin, count = int(info(lab)["writes"]), time.monotonic(), 60
    for _ in range(count):
        new_mapping(lab)
    took_s, writes = time.monotonic() - begin, int(info(lab)["writes"]) - before
    # Once a second come the position, the proof and what is tidied up.
    assert count <= writes <= count + 5 + 3 * took_s


def test_a_small_change_does_not_wait_for_a_large_one(fresh_lab):
    lab = fresh_lab
    revoked = new_mapping(lab)
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT lpad(upper(to_hex(n)), 12, '0'),"
        " 'u' || n || '@example.org' FROM generate_series(1, 30000) n",
    )
    held = psycopg2_connect(lab)
    with held.cursor() as cursor:
        cursor.execute("LOCK TABLE sip_user")  # keys wait to be read, and the log is read on
    wait_until(lambda: int(info(lab)["log_rows"]) > 60000, timeout=60)
    rows = int(info(lab)["log_rows"])
    sql(lab, "SELECT retire_device(%s)", revoked)
    wait_until(lambda: int(info(lab)["log_rows"]) > rows)
    held.rollback()
    held.close()
    wait_until(lambda: not known(lab, revoked))
    waiting = int(info(lab)["queued_keys"])
    wait_until(lambda: known(lab, f"{30000:012X}"), timeout=60)
    assert waiting > 0


@pytest.mark.tsan
def test_truncate_is_noticed(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    before = info(lab)["epoch"]
    sql(lab, "TRUNCATE cn_mapping")
    wait_until(lambda: not known(lab, cn))
    assert info(lab)["epoch"] != before


def test_T52_a_mapping_deleted_while_mapperd_is_down_is_never_known_again(fresh_lab):
    lab = fresh_lab
    for _ in range(3):
        cn, other = new_mapping(lab), new_mapping(lab)
        lab.kill_program("mapperd")
        sql(lab, "SELECT retire_device(%s)", cn)
        start_without_waiting(lab)
        with Resp(lab.mapperd_socket) as client:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                try:
                    reply = client.command("PEER", "device", cn)
                except RespError as error:
                    assert str(error).startswith("LOADING")
                    continue
                assert reply[2] == "unknown"
                break
        assert known(lab, other)


def change_at_random(lab, cns, stop, seed, truncate=0.02, onward=False):
    """`onward`: no device is ever again what it was before."""
    chance = random.Random(seed)
    connection = psycopg2_connect(lab)
    number = itertools.count()
    while not stop.is_set():
        with connection.cursor() as cursor:
            # In order: two of these never hold what the other waits for.
            for cn in sorted(chance.choice(cns) for _ in range(chance.choice((1, 1, 1, 20)))):
                if onward:
                    cursor.execute("DELETE FROM cn_mapping WHERE cn = %s", (cn,))
                    identity = f"u{seed}-{next(number)}@example.org"
                    cursor.execute("INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", (cn, identity))
                elif chance.random() < 0.5:
                    cursor.execute(
                        "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                        (cn, f"u{chance.randrange(50)}@example.org"),
                    )
                else:
                    cursor.execute("DELETE FROM cn_mapping WHERE cn = %s", (cn,))
        if chance.random() < truncate:
            connection.commit()
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE cn_mapping")
        if chance.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
    connection.close()


@pytest.mark.limit(180)
def test_T52_after_kill_9_at_random_moments_the_store_equals_the_tables(fresh_lab):
    lab, stop = fresh_lab, threading.Event()
    cns = [cn_of() for _ in range(300)]
    chance = random.Random(20)
    changer = threading.Thread(target=change_at_random, args=(lab, cns, stop, 7))
    changer.start()
    try:
        for _ in range(12):
            time.sleep(chance.uniform(0.0, 0.25))
            lab.kill_program("mapperd")
            lab.start_program("mapperd")
    finally:
        stop.set()
        changer.join()
    wait_until(lambda: served(lab, cns) == tables(lab))


def damage(kind, lab):
    lmdb = lab.path("lmdb")
    current = (lmdb / "CURRENT").read_text().strip()
    data = lmdb / current / "data.mdb"
    if kind == "truncated":
        with open(data, "r+b") as file:
            file.truncate(data.stat().st_size // 2 // 4096 * 4096)
    elif kind == "empty":
        with open(data, "r+b") as file:
            file.truncate(0)
    elif kind == "foreign":
        data.write_bytes(b"SQLite format 3\0" + bytes(65536))
    elif kind == "no-current":
        (lmdb / "CURRENT").unlink()
    elif kind == "strange-current":
        (lmdb / "CURRENT").write_text("../../etc\n")
    elif kind == "missing":
        shutil.rmtree(lmdb / current)
    elif kind == "flipped":
        content = bytearray(data.read_bytes())
        at = content.find(b"@example.org\r\n")
        while at >= 0:
            content[at + 1] ^= 1
            at = content.find(b"@example.org\r\n", at + 1)
        data.write_bytes(bytes(content))


DAMAGES = ("truncated", "empty", "foreign", "no-current", "strange-current", "missing", "flipped")


@pytest.mark.limit(180)
def test_T52_a_damaged_store_is_filled_afresh_and_answers_nothing_without_the_database(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    for kind in DAMAGES:
        assert lab.stop_program("mapperd") == 0
        damage(kind, lab)
        lab.postgres.stop()
        start_without_waiting(lab)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            try:
                reply = resp(lab, "PEER", "device", cn)
                raise AssertionError(f"{kind}: answered {reply} from a damaged store")
            except RespError as error:
                assert str(error).startswith("LOADING"), kind
        lab.postgres.start()
        wait_until(lambda: info(lab)["ready"] == "1")
        assert known(lab, cn), kind


def test_a_store_of_another_format_is_filled_afresh(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.stop_program("mapperd")
    first = int(info_generation(lab))
    data = lab.path("lmdb", f"gen-{first}", "data.mdb")
    content = data.read_bytes()
    at = content.find(b"serial")
    assert at > 0
    # The format's number stands behind key and checksum; whatever is changed there must not be believed.
    changed = bytearray(content)
    while at >= 0:
        changed[at + 10] ^= 0x40
        at = content.find(b"serial", at + 1)
    data.write_bytes(bytes(changed))
    lab.start_program("mapperd")
    assert known(lab, cn)
    assert info_generation(lab) > first


def info_generation(lab):
    return int((lab.path("lmdb") / "CURRENT").read_text().strip().removeprefix("gen-"))


@pytest.mark.tsan
def test_mapperd_serves_while_the_database_is_stopped_and_catches_up_by_itself(fresh_lab):
    lab = fresh_lab
    cn, other = new_mapping(lab), new_mapping(lab)
    lab.postgres.stop()
    assert known(lab, cn)
    wait_until(lambda: info(lab)["database"] == "0")
    assert known(lab, cn) and info(lab)["ready"] == "1"
    lab.postgres.start()
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))
    assert known(lab, other)


def test_mapperd_that_starts_while_the_database_is_stopped_serves_within_seconds_with_its_age(
    fresh_lab,
):
    lab = fresh_lab
    cn = new_mapping(lab)
    wait_until(lambda: info(lab)["age_ms"] != "unknown")
    time.sleep(1.1)  # the proof is written with the next second's commit
    lab.stop_program("mapperd")
    lab.postgres.stop()
    lab.start_program("mapperd")
    assert known(lab, cn)
    with Resp(lab.mapperd_socket) as client:
        client.command("SUBSCRIBE", "changed")
        ages = [int(client.receive()[2].split()[3]) for _ in range(2)]
    assert ages[0] >= 1000 and ages[1] > ages[0]
    lab.postgres.start()
    late = new_mapping(lab)
    assert known(lab, late)


def test_a_database_that_hangs_is_left_and_found_again(fresh_lab):
    lab = fresh_lab
    cn, other = new_mapping(lab), new_mapping(lab)
    lab.postgres.pause()
    assert known(lab, cn)
    wait_until(lambda: int(info(lab)["age_ms"]) > 1500)
    assert known(lab, cn)
    wait_until(lambda: info(lab)["database"] == "0")
    lab.postgres.resume()
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))
    assert known(lab, other)


def test_mapperd_starts_while_the_database_hangs_and_serves_what_it_has(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.stop_program("mapperd")
    lab.postgres.pause()
    try:
        lab.start_program("mapperd")
        assert known(lab, cn)
    finally:
        lab.postgres.resume()
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))


def test_a_first_start_without_database_answers_loading_and_then_fills(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.stop_program("mapperd")
    lab.postgres.stop()
    shutil.rmtree(lab.path("lmdb"))
    start_without_waiting(lab)
    for command in (
        ("PEER", "device", cn),
        ("RIGHTS", "a@example.org"),
        ("LOCATE", "a@example.org"),
    ):
        with pytest.raises(RespError, match="^LOADING"):
            resp(lab, *command)
    assert info(lab)["ready"] == "0"
    lab.postgres.start()
    wait_until(lambda: info(lab)["ready"] == "1")
    assert known(lab, cn)


@pytest.mark.tsan
def test_T36_after_a_standstill_the_old_yes_is_never_given(fresh_lab):
    lab = fresh_lab
    process = lab.processes["mapperd"]
    for _ in range(5):
        cn = new_mapping(lab)
        client = Resp(lab.mapperd_socket)
        assert client.command("PEER", "device", cn)[2] == "known"
        process.send(signal.SIGSTOP)
        time.sleep(0.4)
        sql(lab, "SELECT retire_device(%s)", cn)
        for _ in range(50):
            client.send("PEER", "device", cn)
        process.send(signal.SIGCONT)
        for _ in range(50):
            assert client.receive()[2] == "unknown"
        client.close()
    assert int(info(lab)["standstills"]) >= 5


def test_the_database_crashes_and_comes_back(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.postgres.crash()
    assert known(lab, cn)
    lab.postgres.start()
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))


@pytest.mark.parametrize("when", ["with the floor far below", "at the floor", "before a fill"])
def test_a_commit_lost_on_the_server_is_noticed_by_its_stamp_and_undone_here(fresh_lab, when):
    lab = fresh_lab
    cn, other = cn_of(), cn_of()
    new_mapping(lab)
    insert(lab, cn, f"{unique()}@example.org")
    wait_until(lambda: known(lab, cn))
    if when == "before a fill":
        sql(lab, LOG.format("'all', '{}'"))
        wait_until(lambda: info(lab)["fills"] == "2")
    lab.kill_program("mapperd")
    if when == "at the floor":
        sql(
            lab,
            "DELETE FROM change_log_floor; INSERT INTO change_log_floor (xid, system_id, database_oid)"
            " SELECT max(l.xid), o.system_id, o.database_oid FROM change_log l, change_log_origin() o"
            " WHERE l.kind = 'peer' GROUP BY o.system_id, o.database_oid",
        )
    # As a crash with synchronous_commit = off leaves it: neither rows nor log, and the numbers are used again.
    sql(
        lab,
        "SET session_replication_role = replica;"
        "DELETE FROM change_log WHERE xid >= (SELECT max(xid) FROM change_log WHERE kind = 'peer');"
        f"DELETE FROM cn_mapping WHERE cn = '{cn}';"
        "DELETE FROM change_log WHERE xid = pg_current_xact_id()",
    )
    insert(lab, other, f"{unique()}@example.org")
    lab.start_program("mapperd")
    assert not known(lab, cn)
    assert known(lab, other)
    assert "history-lost" in lab.log_of("mapperd").read_text()


def test_a_position_below_the_floor_is_filled_afresh(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.kill_program("mapperd")
    for _ in range(3):
        sql(lab, "SELECT pg_current_xact_id()")
    sql(
        lab,
        "SET session_replication_role = replica;"
        f"DELETE FROM cn_mapping WHERE cn = '{cn}';"
        "DELETE FROM change_log; DELETE FROM change_log_floor;"
        "INSERT INTO change_log_floor (xid, system_id, database_oid)"
        " SELECT pg_snapshot_xmax(pg_current_snapshot()), o.system_id, o.database_oid"
        " FROM change_log_origin() o",
    )
    lab.start_program("mapperd")
    assert not known(lab, cn)


def test_what_is_owed_a_fill_is_not_proved_current_meanwhile(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    wait_until(lambda: info(lab)["age_ms"] != "unknown")
    held = psycopg2_connect(lab)
    with held.cursor() as cursor:
        cursor.execute("LOCK TABLE blocked_certificate")
    sql(
        lab,
        "SET session_replication_role = replica; DELETE FROM cn_mapping;"
        "DELETE FROM change_log WHERE xid = pg_current_xact_id()",
    )
    sql(lab, LOG.format("'all', '{}'"))
    wait_until(lambda: info(lab)["state"] == "resyncing")
    # The log is read on, and every counter comes back: none says anything of what only the fill will find.
    wait_until(lambda: int(info(lab)["age_ms"]) > 2500)
    assert known(lab, cn)
    held.rollback()
    held.close()
    wait_until(lambda: not known(lab, cn))
    wait_until(lambda: int(info(lab)["age_ms"]) < 2000)


def test_rows_of_another_cluster_in_the_log_are_ignored(lab):
    cn = new_mapping(lab)
    polls = int(info(lab)["log_rows"])
    sql(
        lab,
        "INSERT INTO change_log (stamp, system_id, database_oid, kind, key)"
        " VALUES (1, 1, 1, 'all', '{}'), (2, 2, 2, 'peer', '{device,x}')",
    )
    second = new_mapping(lab)
    assert known(lab, cn) and known(lab, second)
    assert int(info(lab)["log_rows"]) > polls


LOG = (
    "INSERT INTO change_log (stamp, system_id, database_oid, kind, key)"
    " SELECT o.stamp, o.system_id, o.database_oid, {} FROM change_log_origin() o"
)


@pytest.mark.limit(180)
def test_T55_hostile_rows_are_skipped_and_reported_and_nothing_else_suffers(fresh_lab):
    lab = fresh_lab
    cn, good = cn_of(), f"{unique()}@example.org"
    constraints = sql(
        lab,
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND"
        " conrelid IN ('cn_mapping'::regclass, 'sip_user'::regclass, 'rights_rule'::regclass)",
    )
    for table, name in constraints:
        sql(lab, f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    with psycopg2_connect(lab) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        # Longer than PostgreSQL's own index entry would be refused by it; random text, since it compresses.
        long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2500))
        for identity in (
            good,
            "with space@example.org",
            "bell\x07@example.org",
            f"{long}@example.org",
            "UPPER@EXAMPLE.ORG",
            "a@b@c",
            "",
            "line\nfeed@example.org",
            "x%zz@example.org",
        ):
            cursor.execute("INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", (cn, identity))
        for name in ("a\nb", "x" * 400, "\x01"):
            cursor.execute(
                "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', %s, %s)",
                (name, good),
            )
        cursor.execute(
            "INSERT INTO sip_user (identity) VALUES (%s), ('bad user@example.org')", (good,)
        )
        cursor.execute(
            "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, target, effect)"
            " VALUES (5, 'user', %s, '{IN VITE}', 'user', 'a b c', 'deny'),"
            " (6, 'user', %s, '{\"IN VITE\"}', 'user', 'a b c', 'allow')",
            (good, good),
        )
        cursor.execute("SET session_replication_role = origin")
        for key in (
            f"'peer', ARRAY['device', '{cn}']",
            "'peer', ARRAY['corp', E'a\\nb']",
            "'peer', ARRAY['corp', repeat('x', 400)]",
            "'peer', ARRAY['only one']",
            "'peer', '{}'",
            "'user', ARRAY[repeat('y', 2000)]",
            "'user', ARRAY['']",
            "'user', ARRAY[NULL]",
            f"'user', ARRAY['{good}']",
            "'user', ARRAY['bad user@example.org']",
            "'binding', ARRAY['no such']",
            "'group', ARRAY[E'x\\ny']",
        ):
            cursor.execute(LOG.format(key))
    wait_until(lambda: answered(lab, "PEER", "device", cn)[4:] == [good])
    wait_until(lambda: len(answered(lab, "RIGHTS", good)[4:]) == 2)
    assert answered(lab, "RIGHTS", good)[4].split(" ", 1)[1] == "deny * * * - - -"
    assert int(info(lab)["rows_skipped"]) > 5
    assert "row-skipped" in lab.log_of("mapperd").read_text()
    new_mapping(lab)
    lab.stop_program("mapperd")  # and the same through a fill
    shutil.rmtree(lab.path("lmdb"))
    lab.start_program("mapperd")
    assert resp(lab, "PEER", "device", cn)[4:] == [good]
    assert resp(lab, "RIGHTS", good)[4].split(" ", 1)[1] == "deny * * * - - -"


def test_a_second_mapperd_on_one_folder_refuses_with_the_reason(fresh_lab):
    import subprocess

    lab = fresh_lab
    text = lab.path("mapperd.conf").read_text().replace("mapperd.sock", "second.sock")
    second = lab.path("second.conf")
    second.write_text(text)
    done = subprocess.run(
        [lab.binary("holdline-mapperd"), "--config", second],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
    )
    assert done.returncode != 0 and "another mapperd serves" in done.stdout
    assert resp(lab, "PING") == "PONG"


def test_sighup_opens_the_log_again_and_takes_what_can_change(fresh_lab):
    lab = fresh_lab
    cn, log = new_mapping(lab), lab.log_of("mapperd")
    process = lab.processes["mapperd"]
    config = lab.path("mapperd.conf")
    good = config.read_text()
    config.write_text(good + "no_such_option = 1\n")
    process.send(signal.SIGHUP)
    wait_until(lambda: "reload-failed" in log.read_text())
    assert "log-reopened" in log.read_text() and known(lab, cn)
    config.write_text(good + "staleness_bound_ms = 1\n")
    process.send(signal.SIGHUP)
    wait_until(lambda: "event=reloaded" in log.read_text())
    with pytest.raises(RespError, match="^STALE"):
        for _ in range(1000):
            known(lab, cn)


def test_a_fill_cuts_no_device_in_two_where_a_range_ends(fresh_lab):
    """Several rows a device, many more than one range takes, some with a row of their own and no mapping."""
    lab = fresh_lab
    lab.stop_program("mapperd")
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT '0004F3' || lpad(upper(to_hex(d)), 6, '0'),"
        " 'd' || d || 'i' || i || '@example.net' FROM generate_series(1, 2400) d, generate_series(1, 7) i;"
        "INSERT INTO device_info (cn, state) SELECT '0004F3' || lpad(upper(to_hex(d)), 6, '0'), 'disabled'"
        " FROM generate_series(2300, 2500) d",
    )
    shutil.rmtree(lab.path("lmdb"))
    lab.path("lmdb").mkdir()
    lab.start_program("mapperd")
    truth = {cn: identities for cn, identities in tables(lab).items() if int(cn[6:], 16) < 2300}
    assert served(lab, [f"0004F3{d:06X}" for d in range(1, 2501)]) == truth
    assert all(state(lab, f"0004F3{d:06X}") == "disabled" for d in (2300, 2400, 2401, 2500))
