# SPDX-License-Identifier: Apache-2.0
"""What fires no statement trigger of ours: replication, partitions, swapped tables, triggers turned off, restored
backups. The slow comparison is off here: each of these must be seen without it."""
import os
import subprocess
import time

import psycopg2
import pytest

from tests.lab import postgres
from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, resp, sql, unique, wait_until
from tests.system.test_mapperd_feed import info, known, new_mapping, start_without_waiting

ALONE = pytest.mark.lab(mapperd_conf={"compare_round_s": 0})
SWAP = """
BEGIN;
ALTER TABLE cn_mapping RENAME TO cn_before;
CREATE TABLE cn_mapping (LIKE cn_before INCLUDING DEFAULTS) PARTITION BY LIST (trust_store);
CREATE TABLE cn_device PARTITION OF cn_mapping FOR VALUES IN ('device');
CREATE TABLE cn_corp PARTITION OF cn_mapping FOR VALUES IN ('corp');
INSERT INTO cn_mapping SELECT * FROM cn_before;
GRANT SELECT ON cn_mapping TO holdline_mapperd;
"""


def psql(lab, text, database="holdline"):
    return lab.postgres.sql(text, database=database)


def log_triggers(lab):
    """The statements that give the table that is swapped in the triggers of the one before."""
    found = sql(
        lab,
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'cn_mapping'::regclass"
        " AND left(tgname, 4) = 'log_'",
    )
    return "".join(definition + ";\n" for (definition,) in found) + (
        "ALTER TABLE cn_mapping ENABLE REPLICA TRIGGER log_replicated;"
        "ALTER TABLE cn_mapping ENABLE ALWAYS TRIGGER log_truncate;"
    )


def partition(lab):
    """cn_mapping becomes a partitioned table whose every part is followed."""
    psql(
        lab,
        SWAP
        + log_triggers(lab)
        + "SELECT change_log_follow('cn_device'), change_log_follow('cn_corp'); COMMIT",
    )
    wait_until(lambda: int(info(lab)["fills"]) >= 2 and info(lab)["state"] == "feeding")


def add(lab, table="cn_mapping", store="device"):
    cn = cn_of()
    sql(
        lab,
        f"INSERT INTO {table} (trust_store, cn, identity) VALUES (%s, %s, %s)",
        store,
        cn,
        f"{unique()}@other.example",
    )
    return cn


def fills(lab):
    return int(info(lab)["fills"])


def never_known(lab, cn):
    """From the first answer on."""
    with Resp(lab.mapperd_socket) as client:
        end = time.monotonic() + 20
        while True:
            try:
                assert client.command("PEER", "device", cn)[2] == "unknown"
                return
            except RespError as error:
                assert str(error).startswith("LOADING") and time.monotonic() < end


@ALONE
def test_a_swapped_table_is_read_anew_and_one_without_triggers_is_reported(fresh_lab):
    lab = fresh_lab
    old, kept = new_mapping(lab), new_mapping(lab)
    psql(lab, SWAP + f"DELETE FROM cn_mapping WHERE cn = '{old}'; COMMIT")
    wait_until(lambda: not known(lab, old))
    assert known(lab, kept)
    wait_until(lambda: info(lab)["tables_unfollowed"] == "3")
    assert "table-not-followed" in lab.log_of("mapperd").read_text()
    psql(lab, "BEGIN; ALTER TABLE cn_mapping RENAME TO cn_after; ALTER TABLE cn_before RENAME TO cn_mapping; COMMIT")
    wait_until(lambda: known(lab, old))
    assert info(lab)["tables_unfollowed"] == "0"


@ALONE
@pytest.mark.limit(180)
def test_partitions_that_come_and_go_and_rows_put_straight_into_them_are_seen(fresh_lab):
    lab = fresh_lab
    first = new_mapping(lab)
    partition(lab)
    assert known(lab, first) and info(lab)["tables_unfollowed"] == "0"
    before = fills(lab)
    straight, through = add(lab, "cn_device"), add(lab)
    wait_until(lambda: known(lab, straight) and known(lab, through))
    sql(lab, "DELETE FROM cn_device WHERE cn = %s", straight)
    wait_until(lambda: not known(lab, straight))
    assert fills(lab) == before
    sql(lab, "ALTER TABLE cn_mapping DETACH PARTITION cn_device")
    wait_until(lambda: not known(lab, first) and not known(lab, through))
    sql(lab, "ALTER TABLE cn_mapping ATTACH PARTITION cn_device FOR VALUES IN ('device')")
    wait_until(lambda: known(lab, first) and known(lab, through))
    sql(lab, "TRUNCATE cn_device")
    wait_until(lambda: not known(lab, first))
    again = add(lab)
    wait_until(lambda: known(lab, again))
    sql(lab, "DROP TABLE cn_device")
    wait_until(lambda: not known(lab, again))


@ALONE
def test_T52_a_partition_dropped_while_mapperd_is_down_is_never_known_again(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    partition(lab)
    lab.kill_program("mapperd")
    sql(lab, "DROP TABLE cn_device")
    start_without_waiting(lab)
    never_known(lab, cn)
    assert "structure-changed" in lab.log_of("mapperd").read_text()


@ALONE
def test_T52_nothing_is_answered_before_the_structure_is_known_however_soon_the_log_is(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    partition(lab)
    lab.kill_program("mapperd")
    sql(lab, "DROP TABLE cn_device")
    with psycopg2.connect(lab.postgres.conninfo()) as held, held.cursor() as cursor:
        cursor.execute("LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE")
        start_without_waiting(lab)
        wait_until(lambda: int(info(lab)["polls"]) > 50)
        assert info(lab)["ready"] == "0"
    never_known(lab, cn)


@ALONE
def test_tables_that_inherit_are_followed_too(fresh_lab):
    lab = fresh_lab
    psql(lab, "CREATE TABLE more () INHERITS (cn_mapping); SELECT change_log_follow('more')")
    wait_until(lambda: fills(lab) >= 2 and info(lab)["tables_unfollowed"] == "0")
    one, two = add(lab, "more"), add(lab, "more")
    wait_until(lambda: known(lab, one) and known(lab, two))
    sql(lab, "DELETE FROM more WHERE cn = %s", one)
    wait_until(lambda: not known(lab, one))
    psql(lab, f"SET session_replication_role = replica; DELETE FROM more WHERE cn = '{two}'")
    wait_until(lambda: not known(lab, two))
    three = add(lab, "more")
    wait_until(lambda: known(lab, three))
    sql(lab, "ALTER TABLE more NO INHERIT cn_mapping")
    wait_until(lambda: not known(lab, three))


def test_only_what_belongs_to_a_followed_table_can_be_followed(lab):
    with pytest.raises(psycopg2.errors.WrongObjectType, match="belongs to no table"):
        sql(lab, "SELECT change_log_follow('mapperd')")


@ALONE
@pytest.mark.parametrize("off", ["USER", "log_delete"])
def test_what_changes_while_a_trigger_is_off_is_seen_when_it_is_on_again(make_lab, off):
    lab = make_lab(mapperd_conf={"compare_round_s": 0})
    cn, other = new_mapping(lab), new_mapping(lab)
    psql(
        lab,
        f"BEGIN; ALTER TABLE cn_mapping DISABLE TRIGGER {off}; DELETE FROM cn_mapping WHERE cn = '{cn}';"
        f"ALTER TABLE cn_mapping ENABLE TRIGGER {off}; COMMIT",
    )
    wait_until(lambda: not known(lab, cn))
    assert known(lab, other)


@ALONE
def test_changes_of_a_session_in_the_role_of_replication_are_seen_at_once(fresh_lab):
    lab = fresh_lab
    cn, user = new_mapping(lab), f"{unique()}@example.org"
    replica = "SET session_replication_role = replica;"
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", user)
    sql(lab, "INSERT INTO user_group (name) VALUES ('staff')")
    before = fills(lab)
    psql(lab, replica + f"DELETE FROM cn_mapping WHERE cn = '{cn}'")
    wait_until(lambda: not known(lab, cn))
    psql(
        lab,
        replica
        + f"INSERT INTO user_group_member VALUES ('staff', '{user}');"
        + "INSERT INTO rights_rule (position, who_kind, who, target_kind, effect) VALUES"
        + f" (1, 'everyone', NULL, 'any', 'deny'), (2, 'group', 'staff', 'any', 'deny'), (3, 'user', '{user}', 'any', 'deny'),"
        + " (4, 'domain', 'example.org', 'any', 'deny')",
    )
    wait_until(lambda: len(resp(lab, "RIGHTS", user)[4:]) == 5)
    psql(lab, replica + f"UPDATE sip_user SET state = 'disabled' WHERE identity = '{user}'")
    wait_until(lambda: resp(lab, "RIGHTS", user)[2] == "disabled")
    cn = new_mapping(lab)
    psql(lab, replica + "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    wait_until(lambda: not known(lab, cn))
    psql(lab, replica + "UPDATE trust_store SET state = 'enabled' WHERE name = 'device'")
    wait_until(lambda: known(lab, cn))
    assert fills(lab) == before
    psql(lab, replica + "TRUNCATE cn_mapping")
    wait_until(lambda: not known(lab, cn))


PUBLISHED = """
CREATE TABLE cn_mapping (trust_store text, cn text, identity text, user_identity text,
    created_at timestamptz DEFAULT now(), PRIMARY KEY (trust_store, cn, identity));
CREATE PUBLICATION phones FOR TABLE cn_mapping;
SELECT pg_create_logical_replication_slot('phones', 'pgoutput');
"""


@ALONE
@pytest.mark.limit(180)
def test_logical_replication_into_our_tables_is_followed(fresh_lab):
    lab = fresh_lab
    local = new_mapping(lab)
    psql(lab, "CREATE DATABASE elsewhere", database="postgres")
    psql(lab, PUBLISHED, database="elsewhere")

    def there(text):
        psql(lab, text, database="elsewhere")

    def put(cn):
        there(f"INSERT INTO cn_mapping VALUES ('device', '{cn}', '{cn.lower()}@other.example')")

    copied, later, changed = cn_of(), cn_of(), cn_of()
    put(copied)
    conninfo = lab.postgres.conninfo().replace("dbname=holdline", "dbname=elsewhere")
    psql(
        lab,
        f"CREATE SUBSCRIPTION phones CONNECTION '{conninfo}' PUBLICATION phones"
        " WITH (create_slot = false, slot_name = 'phones')",
    )
    wait_until(lambda: known(lab, copied), timeout=60)
    put(later)
    wait_until(lambda: known(lab, later), timeout=30)
    there(f"UPDATE cn_mapping SET cn = '{changed}' WHERE cn = '{later}'")
    wait_until(lambda: known(lab, changed) and not known(lab, later), timeout=30)
    there(f"DELETE FROM cn_mapping WHERE cn = '{copied}'")
    wait_until(lambda: not known(lab, copied), timeout=30)
    assert known(lab, local) and info(lab)["fills"] == "1"
    there("TRUNCATE cn_mapping")
    wait_until(lambda: not known(lab, changed), timeout=30)
    psql(lab, "ALTER SUBSCRIPTION phones DISABLE")
    psql(lab, "ALTER SUBSCRIPTION phones SET (slot_name = NONE)")
    psql(lab, "DROP SUBSCRIPTION phones")


# ---- Backups


def run(lab, *argv):
    done = subprocess.run(
        [str(a) for a in argv],
        env={**os.environ, **lab.postgres.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{argv}:\n{done.stdout}"


@ALONE
@pytest.mark.limit(180)
@pytest.mark.parametrize("running", [True, False])
def test_T51_a_backup_restored_over_the_same_database_is_what_mapperd_says(make_lab, tmp_path, running):
    lab = make_lab(mapperd_conf={"compare_round_s": 0})
    before, gone = new_mapping(lab), new_mapping(lab)
    run(lab, "pg_dump", "--format=custom", "-f", tmp_path / "dump", "holdline")
    sql(lab, "SELECT retire_device(%s)", gone)
    after = new_mapping(lab)
    wait_until(lambda: not known(lab, gone))
    if not running:
        lab.kill_program("mapperd")
    run(lab, "pg_restore", "--clean", "--if-exists", "--single-transaction", "-d", "holdline", tmp_path / "dump")
    if not running:
        start_without_waiting(lab)
        never_known(lab, after)
    wait_until(lambda: not known(lab, after) and known(lab, gone))
    assert known(lab, before)
    new = new_mapping(lab)
    sql(lab, "SELECT retire_device(%s)", new)
    wait_until(lambda: not known(lab, new))


@ALONE
@pytest.mark.limit(180)
def test_T51_a_backup_restored_into_another_database_is_filled_from_and_its_log_means_nothing(fresh_lab, tmp_path):
    lab = fresh_lab
    kept, gone = new_mapping(lab), new_mapping(lab)
    wait_until(lambda: sql(lab, "SELECT position_xmin IS NOT NULL FROM mapperd") == [(True,)])
    psql(lab, "SELECT change_log_prune('1 hour', 10)")
    psql(lab, "UPDATE change_log_position SET remembered_at = remembered_at - interval '1 hour'")
    psql(lab, "SELECT change_log_prune('1 hour', 1)")
    psql(lab, "UPDATE change_log_floor SET xid = '99999999'")
    number = sql(lab, "SELECT id FROM mapperd")
    run(lab, "pg_dump", "--format=custom", "-f", tmp_path / "dump", "holdline")
    psql(lab, "CREATE DATABASE restored TEMPLATE template0 ENCODING 'UTF8'", database="postgres")
    run(lab, "pg_restore", "--exit-on-error", "-d", "restored", tmp_path / "dump")
    psql(lab, f"SELECT retire_device('{gone}')", database="restored")
    lab.stop_program("mapperd")
    conninfo = lab.postgres.conninfo("holdline_mapperd").replace("dbname=holdline", "dbname=restored")
    lab.mapperd_settings["database"] = conninfo
    lab.start_program("mapperd")
    assert known(lab, kept) and not known(lab, gone)
    assert "the server is another one" in lab.log_of("mapperd").read_text()
    assert info(lab)["mapperd_id"] == str(number[0][0])
    psql(lab, f"SELECT retire_device('{kept}')", database="restored")
    wait_until(lambda: not known(lab, kept))
    # Nothing of the other's log is left to be believed or paid for.
    lab.restart_program("mapperd")
    assert info(lab)["fills"] == "0"
    psql(lab, "SELECT change_log_prune('1 hour', 100000)", database="restored")
    psql(lab, "UPDATE change_log_position SET remembered_at = remembered_at - interval '2 hours'", database="restored")
    psql(lab, "UPDATE mapperd SET seen_at = seen_at - interval '2 hours' WHERE position_xmin::text::int8 > 99999999", database="restored")
    psql(lab, "SELECT change_log_prune('1 hour', 100000)", database="restored")
    left = "SELECT count(*) FROM change_log WHERE database_oid <> (SELECT oid FROM pg_database WHERE datname = 'restored')"
    wait_until(lambda: psql(lab, left, database="restored") == "0")
    assert psql(lab, "SELECT mapperd_enrol('another')", database="restored") == str(number[0][0] + 1)


@ALONE
def test_T51_a_backup_restored_into_another_cluster_gives_no_stale_yes(fresh_lab, tmp_path):
    """Of the same name and number, in its first transactions; only the cluster's identifier differs."""
    lab = fresh_lab
    kept, gone = new_mapping(lab), new_mapping(lab)
    number = psql(lab, "SELECT oid FROM pg_database WHERE datname = 'holdline'")
    run(lab, "pg_dump", "--format=custom", "-f", tmp_path / "dump", "holdline")
    run(lab, "pg_dumpall", "--roles-only", "-f", tmp_path / "roles")
    after = new_mapping(lab)
    other = postgres.Cluster(postgres.make_folder("holdline-lab-"), lab.log_of("postgresql-other"))
    try:
        postgres.initdb(other)
        other.start(fsync="off")
        roles = (tmp_path / "roles").read_text().replace("CREATE ROLE postgres;", "")
        other.sql(roles, database="postgres")
        other.sql(f"CREATE DATABASE holdline OID {number} TEMPLATE template0", database="postgres")
        conninfo = other.conninfo().replace("dbname=holdline", "")
        run(lab, "pg_restore", "--exit-on-error", "-d", f"{conninfo} dbname=holdline", tmp_path / "dump")
        other.sql(f"SELECT retire_device('{gone}')")
        # While it is down, and then while it runs: the other way, by the same name.
        lab.kill_program("mapperd")
        lab.mapperd_settings["database"] = other.conninfo("holdline_mapperd")
        start_without_waiting(lab)
        never_known(lab, gone)
        assert not known(lab, after) and known(lab, kept)
        assert "the server is another one" in lab.log_of("mapperd").read_text()
        other.sql(f"SELECT retire_device('{kept}')")
        wait_until(lambda: not known(lab, kept))
        lab.stop_program("mapperd")
        del lab.mapperd_settings["database"]
        start_without_waiting(lab)
        assert known(lab, gone) and known(lab, after) and known(lab, kept)
        new_mapping(lab)
        lab.stop_program("mapperd")
    finally:
        other.stop()
        other.remove()


@ALONE
@pytest.mark.limit(180)
def test_rows_alone_are_restored_with_triggers_disabled(fresh_lab, tmp_path):
    lab = fresh_lab
    cn = new_mapping(lab)
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, 'whole.example')", cn)
    rows = "SELECT trust_store, cn, identity, user_identity FROM cn_mapping ORDER BY 1, 2, 3"
    before = sql(lab, rows)
    run(
        lab, "pg_dump", "--format=custom", "--data-only", "--disable-triggers", "--exclude-table=change_log*", "--exclude-table=audit*", "--exclude-table=mapperd*",
        "--exclude-schema=sqitch", "-f", tmp_path / "dump", "holdline",
    )
    psql(lab, "TRUNCATE trust_store, domain, user_group, sip_user, cn_mapping, rights_rule, binding, user_group_member, device_info CASCADE")
    wait_until(lambda: not known(lab, cn))
    run(
        lab, "pg_restore", "--single-transaction", "--disable-triggers", "-d", "holdline", tmp_path / "dump"
    )
    wait_until(lambda: known(lab, cn))
    assert sql(lab, rows) == before
