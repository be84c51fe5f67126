# SPDX-License-Identifier: Apache-2.0
"""What pgTAP's one session cannot show of the change log: the hint, the order of commits, the cost
of the poll."""
import select
import threading
import time

import psycopg2
import pytest

from tests.lab import postgres
from tests.system.lib import wait_until

POLL = (
    "SELECT pg_current_snapshot()::text, kind, key FROM change_log "
    "WHERE xid >= %s::xid8 OR xid = ANY (%s::xid8[])"
)


@pytest.fixture(scope="module")
def cluster():
    folder = postgres.make_folder("holdline-log-")
    cluster = postgres.Cluster(folder, folder / "log")
    postgres.copy_template(cluster.data)
    cluster.start(fsync="off")
    cluster.sql("INSERT INTO domain (name) VALUES ('example.org')")
    yield cluster
    cluster.stop()
    cluster.remove()


@pytest.fixture
def connect(cluster):
    """connect(autocommit=…) gives a session; all are closed at the end."""
    connections = []

    def make(autocommit=True):
        connection = psycopg2.connect(cluster.conninfo(), options="-c statement_timeout=60s")
        connection.autocommit = autocommit
        connections.append(connection)
        return connection

    yield make
    for connection in connections:
        connection.close()


def run(connection, text, *values):
    with connection.cursor() as cursor:
        cursor.execute(text, values or None)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def provision(connection, number):
    return run(
        connection,
        "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)",
        f"{number:012X}",
        f"user{number}@example.org",
    )


def heard(connection, within_s):
    """The channels of the notifications that have come."""
    until = time.monotonic() + within_s
    while not connection.notifies and time.monotonic() < until:
        select.select([connection], [], [], max(0, until - time.monotonic()))
        connection.poll()
    channels = [(n.channel, n.payload) for n in connection.notifies]
    connection.notifies.clear()
    return channels


@pytest.fixture
def listener(connect):
    connection = connect()
    run(connection, "LISTEN holdline_change")
    return connection


def test_a_commit_of_many_statements_gives_one_hint(connect, listener):
    writer = connect(autocommit=False)
    for number in range(1, 6):
        provision(writer, number)
    assert heard(listener, 0.1) == []
    writer.commit()
    assert heard(listener, 10) == [("holdline_change", "")]


def test_bindings_and_statements_without_effect_give_no_hint(connect, listener):
    writer = connect()
    run(
        writer,
        "SELECT bind_put('a@example.org', 'd', 'c:x', 'device', 'x', 'name', 'e', '', 0, "
        "'sip:x', 4000000000, 1, 'c', 1, 'f', '', 1, 1)",
    )
    run(writer, "DELETE FROM cn_mapping WHERE cn = 'nobody'")
    provision(writer, 10)  # comes after them, so nothing of theirs is still under way
    assert heard(listener, 10) == [("holdline_change", "")]


def test_who_waits_for_nobody_provisions_while_another_holds_the_hint(connect, listener):
    """One transaction at a time gives the hint; the others go without, and the poll finds them."""
    slow, quick = connect(autocommit=False), connect()
    provision(slow, 20)
    run(quick, "SET statement_timeout = '5s'")
    provision(quick, 21)
    assert heard(listener, 0.2) == []
    slow.commit()
    assert heard(listener, 10) == [("holdline_change", "")]


def test_a_setting_turns_the_hint_off_so_that_transactions_can_be_prepared(connect, listener):
    writer = connect()
    run(writer, "BEGIN")
    provision(writer, 30)
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        run(writer, "PREPARE TRANSACTION 'one'")
    run(writer, "SET holdline.notify = off")
    run(writer, "BEGIN")
    provision(writer, 31)
    run(writer, "PREPARE TRANSACTION 'two'")
    run(writer, "COMMIT PREPARED 'two'")
    assert heard(listener, 0.2) == []
    assert run(writer, "SELECT count(*) FROM change_log WHERE key[2] = '00000000001F'") == [(1,)]


def test_T50_commits_in_another_order_than_their_ids_are_each_found_once_by_the_poll(connect):
    reader, early, late = connect(), connect(autocommit=False), connect(autocommit=False)

    def snapshot():
        return run(
            reader,
            "SELECT pg_snapshot_xmax(s)::text, "
            "ARRAY(SELECT x::text FROM pg_snapshot_xip(s) x) "
            "FROM pg_current_snapshot() s",
        )[0]

    def poll(position):
        return [key[1] for _, kind, key in run(reader, POLL, *position) if kind == "peer"]

    start = snapshot()
    provision(early, 50)
    provision(late, 51)
    late.commit()
    position = snapshot()
    assert poll(start) == ["000000000033"]
    assert poll(position) == []
    early.commit()
    assert poll(position) == ["000000000032"]
    assert poll(snapshot()) == []


def test_the_poll_is_an_index_scan_however_long_the_log_is(cluster, connect):
    reader = connect()
    run(
        reader,
        "INSERT INTO change_log (xid, stamp, system_id, database_oid, kind, key) "
        "SELECT (n / 3 + 3)::text::xid8, n, 1, 1, 'peer', ARRAY['device', n::text] "
        "FROM generate_series(1, 200000) n",
    )
    for analyzed in [False, True]:
        if analyzed:
            run(reader, "ANALYZE change_log")
        explained = run(reader, "EXPLAIN (ANALYZE) " + POLL, "60000", ["100", "200", "300"])
        plan = "\n".join(line for line, in explained)
        assert "Seq Scan" not in plan and plan.count("change_log_xid") == 2, plan
    run(reader, "DELETE FROM change_log WHERE system_id = 1")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT trust_store, cn, identity FROM cn_mapping "
        "WHERE (trust_store, cn, identity) > ('device', '0', '') "
        "ORDER BY trust_store, cn, identity LIMIT 100",
        "SELECT identity FROM cn_mapping WHERE trust_store = 'device' AND cn = '000000000001'",
        "SELECT identity, state FROM sip_user WHERE identity > 'a' ORDER BY identity LIMIT 100",
        "SELECT group_name FROM user_group_member WHERE identity = 'a@example.org' ORDER BY group_name",
        "SELECT * FROM rights_rule WHERE who_kind = 'user' AND who = 'a@example.org' "
        "ORDER BY position, id",
        "SELECT * FROM binding WHERE aor = 'a@example.org'",
        "SELECT * FROM binding WHERE (aor, device_key, instance_key) > ('a', '', '') "
        "ORDER BY aor, device_key, instance_key LIMIT 100",
        "UPDATE binding SET removed = true WHERE store = 'device' AND cn = '1' AND NOT removed",
        "DELETE FROM cn_mapping WHERE user_identity = 'a@example.org'",
    ],
    ids=lambda query: " ".join(query.split()[:1] + query.split("WHERE")[1].split()[:3]),
)
def test_what_mapperd_and_the_triggers_ask_is_answered_by_an_index_in_order(connect, query):
    session = connect()
    # The tables here are too small for the planner to bother: can an index answer in order?
    for way in ["seqscan", "sort", "bitmapscan"]:
        run(session, f"SET enable_{way} = off")
    plan = "\n".join(line for line, in run(session, "EXPLAIN " + query))
    assert "Seq Scan" not in plan and "Sort" not in plan, plan


class Waiting:
    """A statement and its commit in a thread of their own, since they wait for another session."""

    def __init__(self, connection, text, *values):
        self.failure = None
        self.thread = threading.Thread(target=self.work, args=(connection, text, *values))
        self.thread.start()

    def work(self, connection, text, *values):
        try:
            run(connection, text, *values)
            connection.commit()
        except psycopg2.Error as error:
            self.failure = error

    def end(self):
        self.thread.join(30)
        assert not self.thread.is_alive() and self.failure is None, self.failure


@pytest.mark.parametrize("count", [50, 1500])  # a load of many asks for all of its users at once
def test_loads_that_name_the_same_new_users_neither_deadlock_nor_lose_a_row(connect, count):
    first, second = connect(autocommit=False), connect(autocommit=False)
    users = [f"shared{count}-{n}@example.org" for n in range(count)]
    insert = "INSERT INTO cn_mapping (cn, identity) SELECT %s, unnest(%s)"
    run(first, insert, f"00000000F1{count % 16:02X}", users)
    waiting = Waiting(second, insert, f"00000000F2{count % 16:02X}", users[::-1])
    watcher = connect()
    wait_until(lambda: run(watcher, "SELECT FROM pg_locks WHERE NOT granted"), what="it waits")
    first.commit()
    waiting.end()
    for of, rows in [
        ("cn_mapping WHERE identity", 2 * count),
        ("sip_user WHERE identity", count),
        ("audit WHERE table_name = 'cn_mapping' AND identity", 2 * count),
        ("audit WHERE table_name = 'sip_user' AND identity", count),
        ("change_log WHERE kind = 'user' AND key[1]", count),
    ]:
        assert run(first, f"SELECT count(*) FROM {of} LIKE 'shared{count}-%'") == [(rows,)], of


def test_a_mapping_of_a_user_that_is_being_deleted_never_stands_without_it(connect):
    writer, deleter = connect(autocommit=False), connect(autocommit=False)
    provision(writer, 70)
    writer.commit()
    run(deleter, "DELETE FROM sip_user WHERE identity = 'user70@example.org'")
    waiting = Waiting(
        writer,
        "INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000F3', " "'user70@example.org')",
    )
    deleter.commit()
    waiting.end()
    assert run(deleter, "SELECT cn FROM cn_mapping WHERE identity = 'user70@example.org'") == [
        ("0000000000F3",)
    ]
    assert run(deleter, "SELECT state FROM sip_user WHERE identity = 'user70@example.org'") == [
        ("enabled",)
    ]


REFERENCES = [
    (
        "INSERT INTO domain (name) VALUES ('short.example')",
        "INSERT INTO sip_user (identity) VALUES ('x@short.example')",
        "DELETE FROM domain WHERE name = 'short.example'",
        "SELECT (SELECT count(*) FROM domain WHERE name = 'short.example'), "
        "(SELECT count(*) FROM sip_user WHERE domain = 'short.example')",
    ),
    (
        "INSERT INTO trust_store (name) VALUES ('short')",
        "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('short', 'x', 'other.example')",
        "UPDATE trust_store SET name = 'long' WHERE name = 'short'",
        "SELECT (SELECT count(*) FROM trust_store WHERE name = 'short'), "
        "(SELECT count(*) FROM cn_mapping WHERE trust_store = 'short')",
    ),
]


@pytest.mark.parametrize("make, refer, remove, rows", REFERENCES, ids=["domain", "trust_store"])
@pytest.mark.parametrize("first", ["refer", "remove"])
def test_who_refers_and_who_removes_at_once_meet_whoever_is_first(
    connect, make, refer, remove, rows, first
):
    one, two = connect(autocommit=False), connect(autocommit=False)
    run(one, make)
    one.commit()
    early, late = (refer, remove) if first == "refer" else (remove, refer)
    run(one, early)
    pid = two.get_backend_pid()
    waiting = Waiting(two, late)
    waits = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
    watcher = connect()
    until = time.monotonic() + 30
    while run(watcher, waits, pid) == [(0,)]:
        assert time.monotonic() < until, "the second does not wait for the first"
    one.commit()
    waiting.thread.join(30)
    assert isinstance(waiting.failure, psycopg2.errors.ForeignKeyViolation)
    two.rollback()
    assert run(watcher, rows) == [(1, 1) if first == "refer" else (0, 0)]
    if first == "refer":
        run(watcher, "DELETE FROM sip_user WHERE identity = 'x@short.example'")
        run(watcher, "DELETE FROM cn_mapping WHERE trust_store = 'short'")
        run(watcher, remove)
    run(watcher, "DELETE FROM trust_store WHERE name = 'long'")


def test_a_transaction_that_keeps_its_snapshot_may_not_remove_what_it_cannot_see_referred_to(
    connect,
):
    remover = connect(autocommit=False)
    run(connect(), "INSERT INTO domain (name) VALUES ('kept.example')")
    run(remover, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run(remover, "SELECT FROM domain")
    run(connect(), "INSERT INTO sip_user (identity) VALUES ('x@kept.example')")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="READ COMMITTED"):
        run(remover, "DELETE FROM domain WHERE name = 'kept.example'")


def test_rows_that_give_their_user_as_well_are_held_to_the_same_rules(connect):
    writer = connect()
    insert = "INSERT INTO cn_mapping (trust_store, cn, identity, user_identity) VALUES (%s, %s, %s, %s)"
    run(writer, insert, "device", "0000000000D1", "fast@example.org", "fast@example.org")
    user = "SELECT count(*) FROM sip_user WHERE identity = %s"
    assert run(writer, user, "fast@example.org") == [(1,)]
    for store, cn, identity in [
        ("device", "0000000000D2", "fast@foreign.example"),  # no domain of ours
        ("nowhere", "0000000000D2", "fast@example.org"),
        ("device", "0000000000D2", "fast@-example.org"),
    ]:
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            run(writer, insert, store, cn, identity, identity)
        assert run(writer, user, identity) == [(1,) if identity == "fast@example.org" else (0,)]
    # What is not canonical is made so, whatever was given.
    run(writer, insert, "device", "00:00:00:00:00:d3", "f%61st@Example.org", "f%61st@Example.org")
    run(writer, insert, "device", "0000000000D4", "a@foreign.example", "b@foreign.example")
    read = "SELECT identity, user_identity FROM cn_mapping WHERE cn = %s"
    assert run(writer, read, "0000000000D3") == [("fast@example.org", "fast@example.org")]
    assert run(writer, read, "0000000000D4") == [("a@foreign.example", None)]


def test_T58_a_listener_stuck_in_a_transaction_holds_up_no_provisioning(connect):
    """It keeps the queue of notifications from shrinking; nobody waits for it, and nothing fails."""
    stuck, writer = connect(), connect()
    run(stuck, "LISTEN holdline_change")
    run(stuck, "BEGIN")
    run(stuck, "SELECT pg_current_xact_id()")
    run(writer, "SET statement_timeout = '5s'")
    run(writer, "SET synchronous_commit = off")
    used = run(writer, "SELECT pg_notification_queue_usage()")[0][0]
    for number in range(1000, 1300):
        provision(writer, number)
    assert run(writer, "SELECT pg_notification_queue_usage()")[0][0] < used + 0.01
    logged = "SELECT count(*) FROM change_log WHERE kind = 'peer' AND key[2] BETWEEN %s AND %s"
    assert run(writer, logged, f"{1000:012X}", f"{1299:012X}") == [(300,)]
    run(stuck, "COMMIT")


def test_T58_beyond_its_share_of_the_queue_the_hint_is_left_out_and_the_change_goes_on(connect):
    """The queue holds 8 GB, and its bound is a constant of the server; which share of it we leave to others is ours.
    Here that share is smaller, and the queue really is fuller than it."""
    writer, other, stuck, hears = connect(), connect(), connect(), connect()
    guard = "pg_notification_queue_usage() < 0.5"
    hint = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE prosrc LIKE '%pg_notify(%'"  # one, and two that do without the call
    definitions = [row[0] for row in run(writer, hint)]
    assert [definition.count(guard) for definition in definitions] == [1, 1, 1]

    def used():
        return run(other, "SELECT pg_notification_queue_usage()")[0][0]

    def heard():
        run(hears, "SELECT 1")
        got, hears.notifies[:] = [n.channel for n in hears.notifies], []
        return got

    run(hears, "LISTEN holdline_change")
    run(stuck, "LISTEN others")
    run(stuck, "BEGIN")
    run(other, "SELECT pg_notify('others', n || repeat('x', 7900)) FROM generate_series(1, 100) n")
    full = used()
    assert full > 0
    try:
        for definition in definitions:
            run(writer, definition.replace(guard, f"pg_notification_queue_usage() < {full / 2:.12f}"))
        provision(writer, 1301)
        logged = "SELECT count(*) FROM change_log WHERE kind = 'peer' AND key[2] = %s"
        assert run(writer, logged, f"{1301:012X}") == [(1,)]
        assert used() == full and heard() == []
        run(stuck, "COMMIT")  # it reads on, and the queue shrinks with the next that is said
        run(other, "SELECT pg_notify('others', n || repeat('y', 7900)) FROM generate_series(1, 2) n")
        wait_until(lambda: used() < full / 2)
        provision(writer, 1302)
        wait_until(lambda: heard() == ["holdline_change"])
    finally:
        for definition in definitions:
            run(writer, definition)
