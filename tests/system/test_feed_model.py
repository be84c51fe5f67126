# SPDX-License-Identifier: Apache-2.0
"""The feed against a model: many transactions of every kind at random, programs killed at random, and three things that
must hold whatever happens. The store equals the tables once they rest. No commit waits for another transaction. No
device is ever seen going back.

Each device has one mapping whose user part carries a version, raised under a lock that the transaction holds to its
end: versions of a device rise in the order of commits. So what mapperd answers needs no history to be judged."""
import os
import random
import threading
import time

import psycopg2
import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import psycopg2_connect, sql, wait_until

DEVICES = [f"0004F2AB{n:04X}" for n in range(40)]
BULK = [f"0004F2AC{n:04X}" for n in range(400)]
SEED = int(os.environ.get("FEED_MODEL_SEED", "20261129"))
SETUP = """
    CREATE TABLE model (cn text PRIMARY KEY, version bigint NOT NULL DEFAULT 0, present boolean NOT NULL DEFAULT false);
    INSERT INTO model SELECT '0004F2AB' || lpad(upper(to_hex(n)), 4, '0') FROM generate_series(0, 39) n;
"""


def version_of(reply):
    """The version that an answer shows; None: unknown."""
    if reply[2] != "known":
        return None
    assert len(reply) == 5, f"a device has one identity at a time, in every snapshot: {reply}"
    return int(reply[4].split("@")[0].split("-")[1])


class Watcher(threading.Thread):
    """Asks for every device without end. What it sees of one may not fall below what it has seen."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab, self.ending, self.faults = lab, threading.Event(), []
        self.lock = threading.Lock()
        self.highest = dict.fromkeys(DEVICES, 0)  # seen of each
        self.rounds = 0

    def run(self):
        while not self.ending.is_set():
            try:
                with Resp(self.lab.mapperd_socket, timeout_s=20) as client:
                    while not self.ending.is_set():
                        self.look(client)
            except (OSError, EOFError, RespError):
                time.sleep(0.02)  # mapperd is being killed, or starts
            except Exception as fault:
                self.faults.append(str(fault) or repr(fault))
                return

    def look(self, client):
        with self.lock:
            for cn in DEVICES:
                client.send("PEER", "device", cn)
            for cn in DEVICES:
                seen = version_of(client.receive())
                if seen is None:
                    continue
                if seen < self.highest[cn]:
                    self.faults.append(f"{cn} went back from {self.highest[cn]} to {seen}")
                self.highest[cn] = seen
            self.rounds += 1

    def forget(self, versions):
        """History itself was lost: from here on these are the newest."""
        self.highest = {cn: min(self.highest[cn], versions[cn]) for cn in DEVICES}

    def end(self):
        self.ending.set()
        self.join()
        assert not self.faults, self.faults
        assert self.rounds > 0


class Writer(threading.Thread):
    """Random transactions on its own share of the devices, so that no two writers wait for each other's row locks."""

    def __init__(self, lab, number, of, watcher, settings=""):
        super().__init__(daemon=True)
        self.lab, self.watcher, self.settings, self.number = lab, watcher, settings, number
        self.random = random.Random(SEED * 100 + number)
        self.own = DEVICES[number::of]
        self.bulk = BULK[number::of]
        self.ending = threading.Event()
        self.watching = True  # what was committed is looked for; not while nothing can be seen
        self.faults, self.commits, self.prepared, self.waits = [], 0, 0, []

    def run(self):
        while not self.ending.is_set():
            try:
                self.server = self.lab.postgres.process.pid
                self.connection = psycopg2_connect(self.lab)
                with self.connection.cursor() as cursor:
                    cursor.execute(f"SET lock_timeout = '2s'; SET search_path = public; {self.settings}")
                self.connection.commit()
                while not self.ending.is_set():
                    self.transaction()
            except psycopg2.Error as fault:
                # Without a code it is the connection that failed, not the statement.
                if fault.pgcode is not None and not isinstance(fault, psycopg2.OperationalError):
                    self.faults.append(repr(fault))
                    return
                time.sleep(0.05)  # the server is being killed, or starts; or a lock was not to be had

    def change(self, cursor, cn):
        """Gives one device its next version, present or not."""
        cursor.execute("UPDATE model SET version = version + 1 WHERE cn = %s RETURNING version, present", (cn,))
        version, present = cursor.fetchone()
        identity = f"v-{version}@example.org"
        what = self.random.choice(("update", "delete", "replace") if present else ("insert",))
        if what == "update":
            cursor.execute("UPDATE cn_mapping SET identity = %s WHERE cn = %s", (identity, cn))
        elif what == "delete":
            cursor.execute("SELECT retire_device(%s)", (cn,))
        else:
            cursor.execute("DELETE FROM cn_mapping WHERE cn = %s", (cn,))
            cursor.execute("INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", (cn.lower(), identity))
        cursor.execute("UPDATE model SET present = %s WHERE cn = %s", (what != "delete", cn))
        return version if what != "delete" else None

    def bulk_copy(self, cursor):
        import io

        self.random.shuffle(self.bulk)
        part = self.bulk[: self.random.randrange(1, len(self.bulk))]
        cursor.execute("DELETE FROM cn_mapping WHERE cn = ANY (%s)", (part,))
        rows = "".join(f"{cn}\tb{self.random.randrange(50)}@example.org\n" for cn in part)
        cursor.copy_expert("COPY cn_mapping (cn, identity) FROM STDIN", io.StringIO(rows))

    def transaction(self):
        """One of many kinds; at its end what was committed is waited for, whoever else is still open."""
        kind = self.random.choice(("plain", "plain", "plain", "several", "savepoint", "rollback", "copy", "prepare"))
        changed = {}
        if kind == "prepare":
            self.prepared += 1
            self.connection.tpc_begin(self.connection.xid(1, f"{self.number}-{self.prepared}", "model"))
        with self.connection.cursor() as cursor:
            if kind == "prepare":
                cursor.execute("SET LOCAL holdline.notify = off")
            for cn in self.random.sample(self.own, 3 if kind == "several" else 1):
                changed[cn] = self.change(cursor, cn)
            if kind == "savepoint":
                cursor.execute("SAVEPOINT here")
                self.change(cursor, self.own[0])
                self.bulk_copy(cursor)
                cursor.execute("ROLLBACK TO here")
            elif kind == "copy":
                self.bulk_copy(cursor)
        if kind == "rollback":
            self.connection.rollback()
            return
        if kind == "prepare":
            self.connection.tpc_prepare()
            self.connection.tpc_commit()
        else:
            self.connection.commit()
        self.commits += 1
        if self.watching and self.random.random() < 0.3:
            self.wait_for(changed)

    def wait_for(self, changed):
        began = time.monotonic()
        for cn, version in changed.items():
            while version is not None and self.watching and not self.ending.is_set():
                try:
                    with Resp(self.lab.mapperd_socket, timeout_s=20) as client:
                        # This writer alone changes this device: only a wait can keep the version away.
                        if (version_of(client.command("PEER", "device", cn)) or 0) >= version:
                            break
                except (OSError, EOFError, RespError):
                    began = time.monotonic()  # mapperd was not there
                if self.lab.postgres.process.pid != self.server or not self.lab.postgres.running():
                    return  # the commit may be lost with it
                if time.monotonic() - began > 30:
                    self.faults.append(f"{cn} is not seen at version {version} after 30 s")
                    return
                time.sleep(0.005)
        self.waits.append(time.monotonic() - began)

    def end(self):
        self.ending.set()
        self.join()
        assert not self.faults, self.faults


def hold_open(lab):
    """Transactions that stay open to the end: one that only has a number, one with rows, one in another database."""
    if not lab.postgres.sql("SELECT 1 FROM pg_database WHERE datname = 'elsewhere'", database="postgres"):
        lab.postgres.sql("CREATE DATABASE elsewhere", database="postgres")
    here, rows = psycopg2_connect(lab), psycopg2_connect(lab)
    there = psycopg2.connect(lab.postgres.conninfo().replace("dbname=holdline", "dbname=elsewhere"))
    for connection in here, there:
        connection.cursor().execute("SELECT pg_current_xact_id()")
    rows.cursor().execute("INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2AD0000', 'open@example.net')")
    return here, rows, there


def versions(lab):
    return dict(sql(lab, "SELECT cn, version FROM model"))


def tables(lab):
    return {
        cn: identities
        for cn, identities in sql(
            lab,
            'SELECT cn, array_agg(identity ORDER BY identity COLLATE "C") FROM cn_mapping'
            " WHERE trust_store = 'device' GROUP BY cn",
        )
    }


def differences(lab):
    """What mapperd holds that the tables do not, and the other way round; an empty list: they are equal."""
    truth = tables(lab)
    users = sql(lab, "SELECT count(*) FROM sip_user")[0][0]
    try:
        with Resp(lab.mapperd_socket, timeout_s=20) as client:
            cns = DEVICES + BULK + ["0004F2AD0000"]
            for cn in cns:
                client.send("PEER", "device", cn)
            replies = {cn: client.receive() for cn in cns}
            info = client.info()
    except (OSError, EOFError, RespError) as fault:
        return [repr(fault)]
    wrong = [
        (cn, reply[2:], truth.get(cn))
        for cn, reply in replies.items()
        if (reply[4:] if reply[2] == "known" else None) != truth.get(cn)
    ]
    for name, count in (("devices", len(truth)), ("users", users)):
        if int(info[name]) != count:
            wrong.append((name, info[name], count))
    return wrong


def rest(lab, writers, held):
    for writer in writers:
        writer.end()
    for connection in held:
        try:
            connection.rollback()
        except psycopg2.Error:
            pass
        connection.close()
    for (name,) in sql(lab, "SELECT gid FROM pg_prepared_xacts"):
        connection = psycopg2_connect(lab)
        connection.autocommit = True
        connection.cursor().execute("ROLLBACK PREPARED %s", (name,))
        connection.close()
    last = []

    def equal():
        last[:] = differences(lab)
        return not last

    try:
        wait_until(equal, timeout=60)
    except AssertionError as fault:
        raise AssertionError(f"store and tables differ: {last[:5]}") from fault


def begin(lab, settings="", count=4):
    watcher = Watcher(lab)
    writers = [Writer(lab, number, count, watcher, settings) for number in range(count)]
    for thread in [watcher, *writers]:
        thread.start()
    return watcher, writers


def watch(writers, watching):
    for writer in writers:
        writer.watching = watching


def wait_for_commits(writers, more):
    wanted = sum(w.commits for w in writers) + more
    wait_until(
        lambda: sum(w.commits for w in writers) >= wanted or any(w.faults for w in writers), timeout=60
    )
    assert not [w.faults for w in writers if w.faults]


@pytest.mark.limit(180)
def test_T50_random_transactions_leave_the_store_equal_and_nobody_waits(fresh_lab):
    lab = fresh_lab
    lab.postgres.sql(SETUP)
    held = hold_open(lab)
    watcher, writers = begin(lab)
    wait_for_commits(writers, 300)
    # TRUNCATE wants the table for itself: whoever has rows open goes first.
    held[1].rollback()
    sql(lab, "LOCK TABLE model; UPDATE model SET present = false, version = version + 1; TRUNCATE cn_mapping")
    wait_for_commits(writers, 300)
    assert all(w.waits for w in writers)  # … with the two others open all the time
    rest(lab, writers, held)
    watcher.end()


@pytest.mark.limit(180)
def test_T52_mapperd_killed_at_random_among_random_transactions(fresh_lab):
    lab = fresh_lab
    chance = random.Random(SEED)
    lab.postgres.sql(SETUP)
    held = hold_open(lab)
    watcher, writers = begin(lab)
    for _ in range(6):
        wait_for_commits(writers, chance.randrange(5, 60))
        with watcher.lock:
            lab.kill_program("mapperd")
        lab.start_program("mapperd")
    rest(lab, writers, held)
    watcher.end()


def follows(lab):
    """Whether mapperd serves what the server has since its start, and no store from before it."""
    number = sql(lab, "UPDATE model SET version = version WHERE cn = %s RETURNING pg_current_xact_id()::text", DEVICES[0])
    mark = f"0004F2AE{int(number[0][0]) % 65536:04X}"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, 'mark@example.net') ON CONFLICT DO NOTHING", mark)
    try:
        with Resp(lab.mapperd_socket, timeout_s=20) as client:
            seen = wait_until(lambda: client.command("PEER", "device", mark)[2] == "known", timeout=5)
            return seen and client.info()["state"] == "feeding"
    except (OSError, EOFError, RespError, AssertionError):
        return False
    finally:
        sql(lab, "DELETE FROM cn_mapping WHERE cn = %s", mark)


@pytest.mark.limit(240)
def test_T51_postgresql_crashes_among_random_transactions(fresh_lab):
    """With synchronous_commit = off: commits that were seen, and applied, are lost."""
    lab = fresh_lab
    chance = random.Random(SEED + 1)
    lab.postgres.sql(SETUP)
    watcher, writers = begin(lab, settings="SET synchronous_commit = off; ")
    for _ in range(4):
        wait_for_commits(writers, chance.randrange(10, 80))
        lab.postgres.crash()
        with watcher.lock:
            lab.postgres.start()
            wait_until(lambda: follows(lab), timeout=60)
            # What was committed up to here is all the history there is.
            watcher.forget(versions(lab))
    wait_for_commits(writers, 20)
    rest(lab, writers, [])
    watcher.end()


# ---- mapperd reads from a streaming standby, everybody else writes to its primary


def on_standby(make_lab):
    lab = make_lab(postgres_settings={"wal_log_hints": "on"})
    replica = lab.make_replica()
    lab.postgres.sql(SETUP)
    hosts = f"host={lab.postgres.folder},{replica.folder} port={replica.port} dbname=holdline"
    lab.mapperd_settings.update(
        database=replica.conninfo("holdline_mapperd"),
        primary=f"{hosts} user=holdline_mapperd target_session_attrs=read-write",
    )
    lab.restart_program("mapperd")
    return lab, replica


@pytest.mark.limit(180)
def test_T51_random_transactions_seen_through_a_standby_that_lags_is_cut_off_and_promoted(make_lab):
    lab, replica = on_standby(make_lab)
    first, chance = lab.postgres, random.Random(SEED + 2)
    held = hold_open(lab)
    watcher, writers = begin(lab)
    for _ in range(3):
        wait_for_commits(writers, chance.randrange(10, 60))
        watch(writers, False)
        replica.sql("SELECT pg_wal_replay_pause()")
        commits = sum(w.commits for w in writers)
        wait_until(lambda: sum(w.commits for w in writers) > commits + 5)  # nobody waits for it
        if chance.random() < 0.5:
            with watcher.lock:
                lab.kill_program("mapperd")
            lab.launch("mapperd")
        replica.sql("SELECT pg_wal_replay_resume()")
        watch(writers, True)
    watch(writers, False)
    replica.cut_off()
    wait_until(lambda: sum(w.commits for w in writers) > commits + 20)
    replica.follow_again(first)
    watch(writers, True)
    wait_for_commits(writers, 30)
    # The primary is lost in the midst of it, with what had not reached the standby.
    first.crash()
    replica.promote()
    lab.postgres, lab.replicas["b"] = replica, first
    wait_for_commits(writers, 60)
    rest(lab, writers, held)
    watcher.end()


@pytest.mark.limit(180)
def test_T51_a_primary_crashes_with_synchronous_commit_off_behind_the_standby_that_is_read(make_lab):
    """What is lost had never reached the standby: nothing that was seen there goes back, whatever numbers come again."""
    lab, replica = on_standby(make_lab)
    chance = random.Random(SEED + 3)
    watcher, writers = begin(lab, settings="SET synchronous_commit = off; ")
    for _ in range(3):
        wait_for_commits(writers, chance.randrange(10, 60))
        lab.postgres.crash()
        lab.postgres.start(**lab.postgres_settings)
    wait_for_commits(writers, 20)
    rest(lab, writers, [])
    watcher.end()
    assert "history-lost" not in lab.log_of("mapperd").read_text()
