# SPDX-License-Identifier: Apache-2.0
"""mapperd that reads from a streaming standby: lag, a standby cut off, promotion with and without lost commits, the old
primary that comes back."""
import shutil
import time

import pytest

from tests.lab.resp import Resp
from tests.system.lib import cn_of, psycopg2_connect, ready_phone, sql, unique, wait_until
from tests.system.test_mapperd_feed import entries_read, info, insert, known, new_mapping, served, tables

USER = "holdline_mapperd"


def reads_standby(make_lab, **mapperd_conf):
    """A lab whose mapperd reads from the replica and writes to the primary."""
    lab = make_lab(postgres_settings={"wal_log_hints": "on"})
    replica = lab.make_replica()
    read_from(lab, replica, **mapperd_conf)
    return lab, replica


def read_from(lab, cluster, primary=None, **mapperd_conf):
    lab.mapperd_settings.update(
        database=cluster.conninfo(USER),
        primary=(primary or lab.postgres).conninfo(USER),
        **mapperd_conf,
    )
    lab.restart_program("mapperd")


def age_ms(lab):
    text = info(lab)["age_ms"]
    return None if text == "unknown" else int(text)


def add(cluster, cn=None):
    cn = cn or cn_of()
    cluster.sql(f"INSERT INTO cn_mapping (cn, identity) VALUES ('{cn}', '{unique()}@example.org')")
    return cn


def retire(cluster, cn):
    cluster.sql(f"SELECT retire_device('{cn}')")


def test_F84_a_mapperd_on_a_standby_serves_what_the_primary_commits_and_knows_how_old_it_is(make_lab):
    lab, _ = reads_standby(make_lab)
    assert info(lab)["source"] == "standby"
    cn = new_mapping(lab)
    wait_until(lambda: age_ms(lab) is not None and age_ms(lab) < 2500)
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: not known(lab, cn))
    end = time.monotonic() + 4  # an idle primary: no change comes, and the age stays small
    while time.monotonic() < end:
        assert age_ms(lab) < 3000
        time.sleep(0.1)


def both(lab, *clusters, attributes="any"):
    hosts = ",".join(str(cluster.folder) for cluster in clusters)
    return (
        f"host={hosts} port={clusters[0].port} dbname=holdline user={USER}"
        f" target_session_attrs={attributes}"
    )


@pytest.mark.limit(180)
def test_T50_long_open_prepared_and_nested_transactions_are_seen_on_a_standby_when_they_commit(make_lab):
    import psycopg2

    lab, _ = reads_standby(make_lab)
    held = psycopg2.connect(lab.postgres.conninfo())
    late, undone, nested, prepared = cn_of(), cn_of(), cn_of(), cn_of()
    with held.cursor() as cursor:
        insert(held, late, f"{unique()}@example.org")
        cursor.execute("SAVEPOINT a")
        insert(held, undone, f"{unique()}@example.org")
        cursor.execute("ROLLBACK TO a")
        for i in range(200):  # more than a standby keeps in one record of its primary's
            cursor.execute(f"SAVEPOINT s{i}; SELECT pg_current_xact_id()")
            if i == 150:
                insert(held, nested, f"{unique()}@example.org")
    two_phase = psycopg2.connect(lab.postgres.conninfo())
    two_phase.autocommit = True
    with two_phase.cursor() as cursor:
        cursor.execute("SET holdline.notify = off; BEGIN")
        insert(two_phase, prepared, f"{unique()}@example.org")
        cursor.execute("PREPARE TRANSACTION 'p1'")
    for _ in range(3):
        cn = new_mapping(lab)
        sql(lab, "SELECT retire_device(%s)", cn)
        wait_until(lambda cn=cn: not known(lab, cn))
    assert not any(known(lab, cn) for cn in (late, undone, nested, prepared))
    lab.restart_program("mapperd")  # what is pending is kept
    new_mapping(lab)
    held.commit()
    wait_until(lambda: known(lab, late) and known(lab, nested))
    with two_phase.cursor() as cursor:
        cursor.execute("COMMIT PREPARED 'p1'")
    wait_until(lambda: known(lab, prepared))
    assert not known(lab, undone)
    held.close()
    two_phase.close()


@pytest.mark.limit(180)
def test_T50_what_begins_behind_more_savepoints_than_a_position_has_room_for_is_seen_when_it_commits(make_lab):
    lab, _ = reads_standby(make_lab)
    held, behind, cn = psycopg2_connect(lab), psycopg2_connect(lab), cn_of()
    with held.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE t (i int);"
            "DO $$ BEGIN FOR n IN 1..4200 LOOP"
            " BEGIN INSERT INTO t VALUES (n); EXCEPTION WHEN division_by_zero THEN END;"
            " END LOOP; END $$"
        )
    insert(behind, cn, f"{unique()}@example.org")
    new_mapping(lab)  # its number is above all of theirs
    polls = int(info(lab)["polls"])
    wait_until(lambda: int(info(lab)["polls"]) > polls + 2)
    assert not known(lab, cn)
    behind.commit()
    wait_until(lambda: known(lab, cn))
    held.rollback()
    held.close()
    behind.close()


@pytest.mark.limit(180)
def reads_nothing(lab, polls):
    """Whether so many polls find no row of the log."""
    before = info(lab)
    wait_until(lambda: int(info(lab)["polls"]) > int(before["polls"]) + polls)
    return info(lab)["log_rows"] == before["log_rows"]


def test_polls_on_a_standby_do_not_read_again_what_lies_behind_an_open_transaction(make_lab):
    import psycopg2

    lab, _ = reads_standby(make_lab)
    held = psycopg2.connect(lab.postgres.conninfo())
    with held.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
    new_mapping(lab)
    before, changes = int(info(lab)["log_rows"]), 3000
    lab.postgres.sql(
        "SET synchronous_commit = off; SET holdline.notify = off;"
        "DO $$ BEGIN FOR n IN 1..3000 LOOP"
        " INSERT INTO cn_mapping (cn, identity) VALUES (lpad(upper(to_hex(n)), 12, '0'), 'busy@example.org');"
        " COMMIT; END LOOP; END $$"
    )
    last = f"{changes:012X}"
    wait_until(lambda: known(lab, last), timeout=90)
    wait_until(lambda: reads_nothing(lab, polls=20))
    after = int(info(lab)["log_rows"])
    # Each change and the user's row; some twice, which came between a poll's two statements.
    assert changes <= after - before < 2 * changes
    held.rollback()
    held.close()


def test_polls_on_a_standby_do_not_look_at_the_rows_of_a_transaction_that_is_still_open(make_lab):
    lab, replica = reads_standby(make_lab)
    held = psycopg2_connect(lab)
    rows = 5000
    with held.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cn_mapping (cn, identity) SELECT lpad(i::text, 12, '0'), 'open@example.org'"
            " FROM generate_series(1, %s) AS i",
            (rows,),
        )
    new_mapping(lab)  # behind it in the WAL: the standby has those rows
    polls = int(info(lab)["polls"])
    wait_until(lambda: int(info(lab)["polls"]) > polls + 5)
    polls, before = int(info(lab)["polls"]), entries_read(replica)
    wait_until(lambda: int(info(lab)["polls"]) > polls + 200)
    new_mapping(lab)
    assert entries_read(replica) - before < 3 * rows
    held.commit()
    held.close()
    wait_until(lambda: known(lab, f"{rows:012d}"))


def test_a_revocation_is_seen_as_soon_as_it_is_replayed_and_the_age_tells_of_the_delay(make_lab):
    lab, replica = reads_standby(make_lab)
    cn = new_mapping(lab)
    replica.delay_replay("3s")
    retire(lab.postgres, cn)
    committed = time.monotonic()
    there = f"SELECT count(*) FROM cn_mapping WHERE cn = '{cn}'"
    oldest = 0
    while known(lab, cn):
        oldest = max(oldest, age_ms(lab))
        assert time.monotonic() < committed + 30
    assert replica.sql(there) == "0"
    assert time.monotonic() - committed > 2.5
    assert oldest > 2000
    wait_until(lambda: age_ms(lab) < 5000)  # a steady delay is a steady age
    replica.delay_replay("0")
    wait_until(lambda: age_ms(lab) < 2500)


def test_T51_a_standby_cut_off_from_its_primary_looks_current_but_its_age_grows(make_lab):
    lab, replica = reads_standby(make_lab, staleness_alarm_ms=3000)
    cn = new_mapping(lab)
    wait_until(lambda: (age_ms(lab) or 9999) < 2500)
    replica.cut_off()
    retire(lab.postgres, cn)
    wait_until(lambda: age_ms(lab) > 4000)
    assert known(lab, cn) and info(lab)["source"] == "standby"
    replica.follow_again(lab.postgres)
    wait_until(lambda: not known(lab, cn))
    wait_until(lambda: age_ms(lab) < 2500)


@pytest.mark.limit(180)
def test_T51_a_mapperd_that_is_led_to_a_lagging_standby_waits_and_no_key_goes_back(make_lab):
    lab = make_lab(postgres_settings={"wal_log_hints": "on"})
    replica = lab.make_replica()
    kept, gone, again = new_mapping(lab), new_mapping(lab), new_mapping(lab)
    replica.replayed(lab.postgres)
    replica.sql("SELECT pg_wal_replay_pause()")
    replica.wait_for("SELECT pg_get_wal_replay_pause_state() = 'paused'")
    retire(lab.postgres, again)
    wait_until(lambda: not known(lab, again))
    add(lab.postgres, again)
    retire(lab.postgres, gone)
    wait_until(lambda: known(lab, again) and not known(lab, gone))
    read_from(lab, replica)
    assert replica.sql(f"SELECT count(*) FROM cn_mapping WHERE cn = '{gone}'") == "1"
    wait_until(lambda: info(lab)["behind"] == "1")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert not known(lab, gone) and known(lab, kept) and known(lab, again)
    assert age_ms(lab) > 2000
    bind(lab, "first@example.org", kept)  # the primary is there: writes need no reading
    replica.sql("SELECT pg_wal_replay_resume()")
    while info(lab)["source"] != "standby":
        assert not known(lab, gone)
    late = new_mapping(lab)
    assert not known(lab, gone) and known(lab, again) and known(lab, late)
    assert "history-lost" not in lab.log_of("mapperd").read_text()


def bind(lab, aor, cn, contact="sip:a@192.0.2.1", path=None, flow="proxy1/1/0/0/0"):
    with Resp(path or lab.mapperd_socket) as client:
        return client.command(
            *("BIND", aor, f"device:{cn}", "device", cn, "mapping", aor, "", "0", contact),
            *(str(int(time.time()) + 600), "1000", "call1", "1", flow, ""),
        )


def unbind(lab, aor, cn, contact):
    with Resp(lab.mapperd_socket) as client:
        return client.command("UNBIND", aor, f"device:{cn}", "", "0", contact)


def locate(lab, aor, path=None):
    with Resp(path or lab.mapperd_socket) as client:
        return client.command("LOCATE", aor)[3:]


def test_F84_a_binding_made_through_a_standbys_mapperd_is_shown_there_at_once_and_elsewhere(make_lab):
    lab, replica = reads_standby(make_lab)
    other = make_lab()  # only its mapperd is wanted, on the first one's primary
    other.mapperd_settings.update(name="mapperd2", database=lab.postgres.conninfo(USER))
    other.restart_program("mapperd")
    aor, cn = f"{unique()}@example.org", cn_of()
    insert(lab, cn, aor)
    wait_until(lambda: known(lab, cn) and known(other, cn))
    replica.delay_replay("2s")
    for n in range(3):
        assert bind(lab, aor, cn, f"sip:{n}@192.0.2.1")[2] == "OK"
        assert f"contact=sip:{n}@192.0.2.1" in locate(lab, aor)[0]
        wait_until(lambda n=n: any(f"contact=sip:{n}@" in b for b in locate(other, aor)))
    replica.delay_replay("0")
    bind(other, aor, cn, "sip:other@192.0.2.2")
    wait_until(lambda: any("contact=sip:other@" in b for b in locate(lab, aor)))
    assert len(locate(lab, aor)) == 4


@pytest.mark.limit(180)
def test_F84_a_store_filled_from_a_lagging_standby_has_what_was_confirmed_here(make_lab):
    lab, replica = reads_standby(make_lab)
    other = make_lab()  # only its mapperd is wanted, on the first one's primary
    other.mapperd_settings.update(name="mapperd2", database=lab.postgres.conninfo(USER))
    other.restart_program("mapperd")
    aor, cn = f"{unique()}@example.org", cn_of()
    insert(lab, cn, aor)
    wait_until(lambda: known(lab, cn) and known(other, cn))
    assert bind(lab, aor, cn, "sip:gone@192.0.2.1")[2] == "OK"
    replica.replayed(lab.postgres)
    replica.sql("SELECT pg_wal_replay_pause()")
    replica.wait_for("SELECT pg_get_wal_replay_pause_state() = 'paused'")
    assert bind(lab, aor, cn, "sip:kept@192.0.2.1")[2] == "OK"
    assert unbind(lab, aor, cn, "sip:gone@192.0.2.1")[2] == "OK"
    assert "sip:kept@" not in replica.sql("SELECT string_agg(contact, ' ') FROM binding")

    def lose_the_store():
        lab.kill_program("mapperd")
        for path in lab.path("lmdb").glob("gen-*"):
            shutil.rmtree(path)
        lab.start_program("mapperd")
        wait_until(lambda: known(lab, cn))

    for _ in range(2):  # a fill from the standby leaves them to the next
        lose_the_store()
        (only,) = locate(lab, aor)
        assert "contact=sip:kept@192.0.2.1" in only
    # What is newer stays, and what the standby has replayed is not brought back.
    assert bind(other, aor, cn, "sip:kept@192.0.2.1", flow="proxy2/1/0/0/0")[2] == "OK"
    replica.sql("SELECT pg_wal_replay_resume()")
    wait_until(lambda: ["flow=proxy2/" in b for b in locate(lab, aor)] == [True])
    lab.postgres.sql("TRUNCATE binding")
    wait_until(lambda: locate(lab, aor) == [])
    lose_the_store()
    assert locate(lab, aor) == []


@pytest.mark.limit(180)
def test_T51_promotion_of_the_standby_that_is_read_loses_nothing(make_lab):
    import psycopg2

    lab, replica = reads_standby(make_lab)
    first = lab.postgres
    lab.mapperd_settings["primary"] = both(lab, first, replica, attributes="read-write")
    lab.restart_program("mapperd")
    two_phase, open_one = psycopg2.connect(first.conninfo()), psycopg2.connect(first.conninfo())
    two_phase.autocommit = True
    prepared, never, before = cn_of(), cn_of(), new_mapping(lab)
    with two_phase.cursor() as cursor:
        cursor.execute("SET holdline.notify = off; BEGIN")
        insert(two_phase, prepared, f"{unique()}@example.org")
        cursor.execute("PREPARE TRANSACTION 'p1'")
    insert(open_one, never, f"{unique()}@example.org")
    last = add(first)
    replica.replayed(first)
    fills = info(lab)["fills"]
    first.crash()
    replica.promote()
    after = add(replica)
    wait_until(lambda: known(lab, after))
    assert info(lab)["source"] == "primary"
    replica.sql("COMMIT PREPARED 'p1'")
    wait_until(lambda: known(lab, prepared))
    assert known(lab, last) and known(lab, before) and not known(lab, never)
    retire(replica, before)
    wait_until(lambda: not known(lab, before))
    wait_until(lambda: info(lab)["database_bindings"] == "1")
    assert bind(lab, "first@example.org", last)[2] == "OK"
    wait_until(lambda: age_ms(lab) is not None and age_ms(lab) < 2500)
    assert info(lab)["fills"] == fills  # it went on, it did not begin again
    lab.postgres, lab.replicas["b"] = replica, first
    wait_until(lambda: served(lab, [*tables(lab), never]) == tables(lab))


@pytest.mark.limit(180)
def test_T51_a_commit_lost_by_a_promotion_is_undone_here_and_the_old_primary_is_read_again_once_rewound(
    make_lab,
):
    lab = make_lab(postgres_settings={"wal_log_hints": "on"})
    first, replica = lab.postgres, lab.make_replica()
    lab.mapperd_settings.update(database=both(lab, first, replica, attributes="read-write"))
    lab.restart_program("mapperd")
    kept = new_mapping(lab)
    replica.replayed(first)
    replica.cut_off()
    lost = new_mapping(lab)
    first.crash()
    assert known(lab, lost)
    replica.promote()
    wait_until(lambda: not known(lab, lost))
    assert known(lab, kept) and info(lab)["source"] == "primary"
    assert "history-lost" in lab.log_of("mapperd").read_text()
    # The old primary still has it until it is taken back to where the two parted.
    new = add(replica)
    wait_until(lambda: known(lab, new))
    first.start(**lab.postgres_settings)  # pg_rewind wants a clean end
    first.stop()
    first.rewind(replica)
    first.start(**lab.postgres_settings)
    lab.postgres, lab.replicas["b"] = replica, first
    first.replayed(replica)
    read_from(lab, first, primary=replica)
    wait_until(lambda: info(lab)["source"] == "standby")
    late = new_mapping(lab)
    assert known(lab, late) and known(lab, kept) and known(lab, new) and not known(lab, lost)


@pytest.mark.limit(180)
@pytest.mark.parametrize("number_of", ["nothing logged", "another statement behind an open transaction"])
def test_T51_a_standby_of_another_history_is_filled_from_and_not_waited_for(make_lab, number_of):
    """What was applied is gone for good, and the standby's replay position is still below the one that was kept. Its
    number tells: it has ended as something that left no row, or there is a row of something else."""
    import psycopg2

    lab = make_lab(postgres_settings={"wal_log_hints": "on"})
    first = lab.postgres
    new_primary, standby = lab.make_replica("b"), lab.make_replica("c")
    kept = new_mapping(lab)
    for replica in (standby, new_primary):  # in this order: it must not have more than its primary
        replica.replayed(first)
        replica.cut_off()
    lost = new_mapping(lab)
    first.sql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))")
    new_mapping(lab)
    lab.stop_program("mapperd")
    first.crash()
    new_primary.promote()
    standby.follow_again(new_primary)
    lab.postgres, lab.replicas["b"] = new_primary, first
    held = psycopg2.connect(new_primary.conninfo())
    if number_of == "nothing logged":
        for _ in range(4):
            new_primary.sql("SELECT pg_current_xact_id()")
    else:
        with held.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")  # with the number of the lost one
    other = add(new_primary)
    standby.replayed(new_primary)
    lab.mapperd_settings.update(
        database=standby.conninfo(USER), primary=new_primary.conninfo(USER)
    )
    lab.start_program("mapperd")
    wait_until(lambda: info(lab)["source"] == "standby")
    wait_until(lambda: known(lab, other))
    assert known(lab, kept) and not known(lab, lost)
    held.close()
    # Nothing of the other history is held against the server from then on.
    lab.restart_program("mapperd")
    another = add(new_primary)
    wait_until(lambda: known(lab, another))
    assert info(lab)["fills"] == "0"


def test_F26_beyond_the_staleness_bound_the_proxy_says_so_for_what_it_has_cached_too(make_lab):
    import subprocess

    lab, replica = reads_standby(make_lab, staleness_bound_ms=4000, staleness_alarm_ms=3000)
    alice, bob = ready_phone(lab), ready_phone(lab)

    def message():
        return alice.message(bob.aor)

    def check():
        return subprocess.run(
            [
                *(lab.binary("mapctl"), "--mapperd-socket", lab.mapperd_socket, "check"),
                *("device", alice.cn, alice.identity, "MESSAGE", bob.identity),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
        )

    assert check().returncode == 0
    replica.cut_off()
    wait_until(lambda: info(lab)["stale"] == "1")
    assert info(lab)["age_alarm"] == "1"
    response = message()
    assert response.status == 503 and "mapperd-stale: " in response.get("Warning")
    assert response.get("Retry-After")
    done = check()
    assert done.returncode == 1 and "reason: mapperd-stale" in done.stdout
    assert "* data state=stale" in done.stdout
    assert "event=data-old" in lab.log_of("mapperd").read_text()
    replica.follow_again(lab.postgres)
    wait_until(lambda: info(lab)["stale"] == "0")
    wait_until(lambda: check().returncode == 0)
    wait_until(lambda: info(lab)["age_alarm"] == "0")
    wait_until(lambda: "event=data-current" in lab.log_of("mapperd").read_text())
    assert lab.log_of("mapperd").read_text().count("event=data-old") == 1


def test_T51_a_server_that_hangs_does_not_keep_mapperd_from_the_next_of_its_hosts(make_lab):
    lab = make_lab()
    first, replica = lab.postgres, lab.make_replica()
    kept = new_mapping(lab)
    replica.replayed(first)
    hosts = both(lab, first, replica)
    lab.mapperd_settings.update(database=hosts, primary=both(lab, first, replica, attributes="read-write"))
    lab.restart_program("mapperd")
    wait_until(lambda: info(lab)["source"] == "primary")
    first.pause()
    try:
        wait_until(lambda: info(lab)["source"] == "standby", timeout=60)
        assert known(lab, kept)
        replica.promote()
        wait_until(lambda: info(lab)["database_bindings"] == "1", timeout=60)
        late = add(replica)
        wait_until(lambda: known(lab, late))
        assert bind(lab, f"{unique()}@example.org", late)[2] == "OK"
    finally:
        first.resume()
