# SPDX-License-Identifier: Apache-2.0
"""Pruning of the change log: what may go goes, what anybody could still need stays, nobody waits."""
import contextlib
import re

import pytest

from tests.system.lib import psycopg2_connect, sql, wait_until
from tests.system.test_change_log import (  # noqa: F401
    POLL,
    cluster,
    connect,
    provision,
    run,
)
from tests.system.test_mapperd_feed import info, known, new_mapping

FOREIGN = (
    "INSERT INTO change_log (xid, stamp, system_id, database_oid, kind, key) "
    "SELECT (x::text::int8 + n)::text::xid8, n, 1, 1, 'all', '{}' "
    "FROM pg_snapshot_xmax(pg_current_snapshot()) x, generate_series(%s, %s) n"
)


def prune(session, at_most=1000, keep="15 minutes"):
    return run(session, "SELECT change_log_prune(%s, %s)", keep, at_most)[0][0]


def grow_old(session):
    """Time goes by, for positions and for mapperds that are gone."""
    run(session, "UPDATE change_log_position SET remembered_at = remembered_at - interval '1 hour'")
    run(session, "UPDATE mapperd SET seen_at = seen_at - interval '1 hour'")


def floor(session):
    return int((run(session, "SELECT xid::text FROM change_log_floor") or [("0",)])[0][0])


def peers(session):
    return {key[1] for (key,) in run(session, "SELECT key FROM change_log WHERE kind = 'peer'")}


@pytest.fixture
def session(connect):  # noqa: F811
    session = connect()
    run(session, "DELETE FROM cn_mapping")
    run(session, "DELETE FROM sip_user")
    run(session, "DELETE FROM mapperd")
    run(session, "TRUNCATE change_log, change_log_floor, change_log_position")
    return session


def test_what_is_younger_than_the_time_to_keep_stays_and_the_rest_goes_with_the_floor(session):
    provision(session, 1)
    assert prune(session) == 0 and floor(session) == 0  # nothing is known of its age
    provision(session, 2)
    grow_old(session)
    assert prune(session) > 0
    assert peers(session) == {"000000000002"}
    below = "SELECT count(*) FROM change_log WHERE xid < (SELECT xid FROM change_log_floor)"
    assert floor(session) > 0 and run(session, below) == [(0,)]


def test_a_row_of_a_long_transaction_stays_for_as_long_as_any_other(session, connect):  # noqa: F811
    """Its number is old when it commits, and so is its statement."""
    slow = connect(autocommit=False)
    provision(slow, 1)
    provision(session, 2)
    for _ in range(3):
        prune(session)
        grow_old(session)
    slow.commit()
    prune(session)
    assert "000000000001" in peers(session)
    grow_old(session)
    prune(session)
    assert peers(session) == set()


def test_a_mapperd_that_lives_is_waited_for_and_one_that_is_gone_is_not(session):
    provision(session, 1)
    run(
        session,
        "INSERT INTO mapperd (name, position_xmin, seen_at) "
        "SELECT 'm1', pg_snapshot_xmin(pg_current_snapshot()), now()",
    )
    stands = int(run(session, "SELECT position_xmin::text FROM mapperd")[0][0])
    provision(session, 2)
    for _ in range(3):
        prune(session)
        grow_old(session)
        run(session, "UPDATE mapperd SET seen_at = now()")
    prune(session)
    assert floor(session) == stands and peers(session) == {"000000000002"}
    grow_old(session)
    prune(session)
    assert floor(session) > stands and peers(session) == set()


def test_a_call_deletes_no_more_rows_than_it_is_told(session):
    for number in range(10):
        provision(session, number)
    prune(session)
    grow_old(session)
    before = run(session, "SELECT count(*) FROM change_log WHERE kind = 'peer'")[0][0]
    assert prune(session, at_most=3) == 3
    done = 3
    while (gone := prune(session, at_most=3)) == 3:
        done += gone
    assert before == 10 and done + gone >= 20 and peers(session) == set()


def test_two_prune_at_once_and_neither_waits(session, connect):  # noqa: F811
    first = connect(autocommit=False)
    provision(session, 1)
    prune(session)
    grow_old(session)
    assert prune(first) > 0
    run(session, "SET statement_timeout = '5s'")
    assert prune(session) == 0
    first.commit()
    assert floor(session) > 0


def test_pruning_waits_for_no_writer_and_no_writer_for_it(session, connect):  # noqa: F811
    writer, pruner = connect(autocommit=False), connect(autocommit=False)
    for number in range(5):
        provision(session, number)
    prune(session)
    grow_old(session)
    provision(writer, 6)
    run(pruner, "SET statement_timeout = '5s'")
    assert prune(pruner) > 0  # and holds what it has locked
    run(writer, "SET LOCAL statement_timeout = '5s'")
    provision(writer, 7)
    run(session, "SET statement_timeout = '5s'")
    provision(session, 8)
    pruner.commit()
    writer.commit()
    assert {"000000000006", "000000000007", "000000000008"} <= peers(session)


def test_what_a_restored_dump_brought_along_counts_for_nothing_and_goes(session):
    run(session, FOREIGN, -3, 2000)  # numbers gone by and numbers to come
    run(session, "INSERT INTO change_log_floor VALUES ('99999999', 1, 1, '99999999')")
    run(session, "INSERT INTO change_log_position VALUES (now() - interval '2 hours', '88888888', 1, 1)")
    provision(session, 1)
    assert prune(session) == 1000  # those ahead first: each poll would read them
    prune(session, 10000)
    provision(session, 2)
    grow_old(session)
    prune(session, 10000)
    assert run(session, "SELECT count(*) FROM change_log WHERE system_id = 1") == [(0,)]
    assert 0 < floor(session) < 80000000 and "000000000002" in peers(session)


def test_the_poll_costs_the_same_however_many_rows_were_pruned(session, connect):  # noqa: F811
    """Also while an old snapshot keeps what was deleted from being cleaned up."""
    old = connect(autocommit=False)
    run(old, "SET default_transaction_isolation = 'repeatable read'")
    old.commit()

    def pages():
        position = run(session, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0][0]
        run(session, "DELETE FROM cn_mapping")
        provision(session, 9)
        explained = run(session, "EXPLAIN (ANALYZE, BUFFERS) " + POLL, position, [])
        text = "\n".join(line for line, in explained)
        return int(re.search(r"shared hit=(\d+)", text)[1])

    run(session, "SET enable_seqscan = off")
    run(session, "SET synchronous_commit = off")
    at_rest = pages()
    most = 0
    for _ in range(4):
        run(old, "SELECT 1")
        for first in range(0, 20000, 5000):
            run(
                session,
                "INSERT INTO change_log (stamp, system_id, database_oid, kind, key) "
                "SELECT o.stamp, o.system_id, o.database_oid, 'peer', ARRAY['device', n::text] "
                "FROM change_log_origin() o, generate_series(%s, %s) n",
                first,
                first + 5000,
            )
        old.commit()
        grow_old(session)
        prune(session)
        run(old, "SELECT 1")
        grow_old(session)
        while prune(session, 2000) == 2000:
            pass
        most = max(most, pages())
    assert run(session, "SELECT count(*) < 20000 FROM change_log") == [(True,)]
    assert most <= at_rest + 20, (at_rest, most)


def test_the_log_is_vacuumed_by_count_and_not_by_share(session):
    options = run(session, "SELECT reloptions FROM pg_class WHERE oid = 'change_log'::regclass")[0][0]
    assert "autovacuum_vacuum_scale_factor=0" in options
    assert "autovacuum_vacuum_cost_delay=0" in options


# ---- mapperd


def session_of(lab):
    connection = psycopg2_connect(lab)
    connection.autocommit = True
    return contextlib.closing(connection)


def marks_read(lab):
    """A position is remembered, and mapperd has read its mark."""
    rows = int(info(lab)["log_rows"])
    with session_of(lab) as connection:
        prune(connection)
        mark = run(connection, "SELECT count(*) FROM change_log WHERE kind = 'mark'")[0][0]
    assert mark > 0
    wait_until(lambda: int(info(lab)["log_rows"]) > rows)


def floor_rises(lab, alive=True):
    """Over all that is in the log now."""
    with session_of(lab) as connection:
        grow_old(connection)
        if alive:
            wait_until(
                lambda: run(
                    connection, "SELECT seen_at > now() - interval '10 s' FROM mapperd"
                )
                == [(True,)]
            )
        prune(connection)
        assert floor(connection) > 0 and peers(connection) == set()


@pytest.mark.lab(mapperd_conf={"log_keep_s": 1})
def test_mapperd_prunes_the_log_by_itself_and_goes_on(fresh_lab):
    lab = fresh_lab
    cns = [new_mapping(lab) for _ in range(5)]
    wait_until(lambda: sql(lab, "SELECT count(*) FROM change_log WHERE kind = 'peer'") == [(0,)])
    assert int(info(lab)["log_pruned"]) >= 5
    assert all(known(lab, cn) for cn in cns)
    sql(lab, "SELECT retire_device(%s)", cns[0])
    wait_until(lambda: not known(lab, cns[0]))
    assert known(lab, new_mapping(lab)) and info(lab)["fills"] == "1"


def test_after_a_long_time_without_changes_mapperd_starts_without_a_fill(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    marks_read(lab)
    floor_rises(lab)
    lab.kill_program("mapperd")
    lab.start_program("mapperd")
    assert known(lab, cn) and info(lab)["fills"] == "0"
    other = new_mapping(lab)
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn) and known(lab, other))


def test_T52_a_mapperd_that_was_away_for_longer_than_the_log_reaches_fills_afresh(fresh_lab):
    lab = fresh_lab
    cn, other = new_mapping(lab), new_mapping(lab)
    lab.kill_program("mapperd")
    sql(lab, "SELECT retire_device(%s)", cn)
    with session_of(lab) as connection:
        prune(connection)
    floor_rises(lab, alive=False)
    lab.start_program("mapperd")
    assert not known(lab, cn) and known(lab, other)
    assert info(lab)["fills"] == "1"


def test_a_floor_that_came_with_a_dump_makes_nobody_fill(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    lab.kill_program("mapperd")
    sql(lab, "INSERT INTO change_log_floor VALUES ('99999999', 1, 1, '99999999')")
    lab.start_program("mapperd")
    assert known(lab, cn) and info(lab)["fills"] == "0"


def test_T51_a_number_given_again_below_the_floor_is_no_gap(fresh_lab):
    """What mapperd has seen last lies below the floor, its position does not: a crash may have given
    numbers again in between, and what was deleted may have been one of them."""
    lab = fresh_lab
    cn = new_mapping(lab)
    for _ in range(50):
        sql(lab, "SELECT pg_current_xact_id()")
    wait_until(lambda: int(info(lab)["age_ms"]) < 500)
    position = int(sql(lab, "SELECT position_xmin::text FROM mapperd")[0][0])
    last = int(sql(lab, "SELECT xid::text FROM change_log ORDER BY xid DESC LIMIT 1")[0][0])
    wait_until(
        lambda: int(sql(lab, "SELECT position_xmin::text FROM mapperd")[0][0]) > last + 40,
    )
    lab.kill_program("mapperd")
    sql(
        lab,
        "SET session_replication_role = replica;"
        f"DELETE FROM cn_mapping WHERE cn = '{cn}';"
        "INSERT INTO change_log_floor SELECT (%s)::text::xid8, o.system_id, o.database_oid, '0'"
        " FROM change_log_origin() o",
        last + 20,
    )
    assert position > 0
    lab.start_program("mapperd")
    assert not known(lab, cn) and info(lab)["fills"] == "1"
