# SPDX-License-Identifier: Apache-2.0
"""The migrations: each goes there and back and there again, and the generated files are what they
make."""
import os
import re
import subprocess

import pytest

from tests.lab import postgres

MIGRATIONS = postgres.ROOT / "migrations"
CHANGES = re.findall(r"^([a-z_0-9]+) ", (MIGRATIONS / "sqitch.plan").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def cluster():
    folder = postgres.make_folder("holdline-migrations-")
    cluster = postgres.Cluster(folder, folder / "log")
    postgres.copy_template(cluster.data)
    cluster.start(fsync="off")
    yield cluster
    cluster.stop()
    cluster.remove()


def run(cluster, *argv):
    identity = {"SQITCH_FULLNAME": "Holdline tests", "SQITCH_EMAIL": "tests@example.org"}
    done = subprocess.run(
        [str(a) for a in argv],
        env={**os.environ, **cluster.environment, **identity},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{argv}:\n{done.stdout}"
    return done.stdout


def sqitch(cluster, database, command, *arguments):
    return run(cluster, "sqitch", "--chdir", MIGRATIONS, command, *arguments, f"db:pg:{database}")


def dump(cluster, database):
    """Schema and rows, without what differs from one dump to the next."""
    text = run(cluster, "pg_dump", "--exclude-schema=sqitch", "--inserts", database)
    text = re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)
    # Numbers that were taken are not given back; each verify takes some.
    text = re.sub(r"('public\.audit_id_seq'), \d+, (true|false)", r"\1, 0", text)
    text = re.sub(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^']*'", "'a moment'", text)
    return text


def fresh_database(cluster, name):
    cluster.sql(f"DROP DATABASE IF EXISTS {name}", database="postgres")
    cluster.sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'", database="postgres")
    return name


def step(cluster, database, way, change):
    """One script as sqitch runs it, without what sqitch itself takes to start."""
    script = MIGRATIONS / way / f"{change}.sql"
    return run(cluster, "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", script)


@pytest.mark.limit(300)
def test_each_migration_deploys_verifies_reverts_and_deploys_again(cluster):
    database = fresh_database(cluster, "there_and_back")
    before = dump(cluster, database)
    for change in CHANGES:
        step(cluster, database, "deploy", change)
        step(cluster, database, "verify", change)
        after = dump(cluster, database)
        step(cluster, database, "revert", change)
        assert dump(cluster, database) == before, f"revert of {change} leaves something"
        step(cluster, database, "deploy", change)
        before = dump(cluster, database)
        assert before == after, f"{change} deployed again gives something else"
    for change in CHANGES:
        step(cluster, database, "verify", change)


@pytest.mark.limit(300)
def test_everything_reverts_with_rows_in_every_table_and_deploys_again(cluster):
    database = fresh_database(cluster, "there_once")
    sqitch(cluster, database, "deploy", "--verify")
    cluster.sql(
        """
        INSERT INTO domain (name) VALUES ('example.org');
        INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', 'alice@example.org');
        INSERT INTO user_group (name) VALUES ('staff');
        INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'alice@example.org');
        INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', 'staff', 'deny');
        SELECT mapperd_enrol('m1');
        SELECT bind_put('alice@example.org', 'd', 'c:x', 'device', '0004F224A6AC', 'mapping',
                        'alice@example.org', '', 0, 'sip:x', 1, 1000, 'c', 1, 'p/1/0/0/1', '', 1, 1);
    """,
        database=database,
    )
    sqitch(cluster, database, "verify")
    sqitch(cluster, database, "revert", "-y")
    sqitch(cluster, database, "deploy", "--verify")


def test_F41_no_tenants_rule_of_before_lets_register_for_another_and_the_operators_are_named(cluster):
    database = fresh_database(cluster, "named_register")
    sqitch(cluster, database, "deploy", "--to", "third_party^")
    cluster.sql(
        """
        INSERT INTO domain (name) VALUES ('a.example');
        INSERT INTO tenant (domain, may_allow_ours) VALUES ('a.example', true);
        INSERT INTO rights_rule (position, tenant, who_kind, who, methods, target_kind, target, effect) VALUES
            (1000001, 'a.example', 'domain', 'a.example', '{INVITE,REGISTER}', 'ours', NULL, 'allow'),
            (1000002, 'a.example', 'domain', 'a.example', '{REGISTER}', 'ours', NULL, 'allow'),
            (1000003, 'a.example', 'domain', 'a.example', '{REGISTER}', 'domain', 'a.example', 'allow'),
            (1000004, 'a.example', 'domain', 'a.example', '{REGISTER}', 'ours', NULL, 'deny'),
            (5, NULL, 'domain', 'a.example', '{REGISTER}', 'ours', NULL, 'allow');
    """,
        database=database,
    )
    told = step(cluster, database, "deploy", "third_party")
    [[number]] = [re.findall(r"let their users register for others from now on: (.*)", told)]
    wanted = "SELECT id FROM rights_rule WHERE position = 5"
    assert number == cluster.sql(wanted, database=database)
    rules = "SELECT string_agg(position || array_to_string(methods, ','), ' ' ORDER BY position) FROM rights_rule"
    left = cluster.sql(f"{rules} WHERE methods IS NOT NULL", database=database)
    assert left == "5REGISTER 1000001INVITE 1000003REGISTER 1000004REGISTER"


def test_T56_what_tenants_had_of_devices_becomes_theirs_and_is_put_back(cluster):
    database = fresh_database(cluster, "own_devices")
    sqitch(cluster, database, "deploy", "--to", "tenant_device^")
    cluster.sql(
        """
        INSERT INTO domain (name) VALUES ('a.example'), ('b.example'), ('ours.example');
        INSERT INTO tenant (domain) VALUES ('a.example'), ('b.example');
        INSERT INTO device_info (cn, state, label, site, domain) VALUES
            ('0000000000A1', 'known', 'Door', 'Hall', 'a.example'), ('0000000000A2', 'known', NULL, NULL, 'a.example'),
            ('0000000000B1', 'disabled', 'Gate', NULL, 'b.example'),
            ('0000000000C1', 'known', 'Lobby', NULL, NULL), ('0000000000C2', 'known', 'Roof', NULL, 'ours.example');
    """,
        database=database,
    )
    rows = "SELECT string_agg(concat_ws(':', {}), ' ' ORDER BY cn) FROM {}"
    info = rows.format("right(cn, 2), state, label, site, domain, created_at", "device_info")
    before = cluster.sql(info, database=database)
    for _ in range(2):
        step(cluster, database, "deploy", "tenant_device")
        assert cluster.sql(
            rows.format("right(cn, 2), label, site, domain", "tenant_device"), database=database
        ) == "A1:Door:Hall:a.example A2:a.example B1:Gate:b.example"
        assert cluster.sql(
            rows.format("right(cn, 2), state, label, domain", "device_info"), database=database
        ) == "B1:disabled:b.example C1:known:Lobby C2:known:Roof:ours.example"
        step(cluster, database, "revert", "tenant_device")
        assert cluster.sql(info, database=database) == before


def test_one_that_is_no_superuser_deploys_into_its_own_database(cluster):
    cluster.sql("CREATE ROLE deployer LOGIN", database="postgres")
    fresh_database(cluster, "plain_owner")
    cluster.sql("ALTER DATABASE plain_owner OWNER TO deployer", database="postgres")
    sqitch(cluster, "plain_owner", "deploy", "--verify", "--db-user", "deployer")
    cluster.sql(
        """
        INSERT INTO domain (name) VALUES ('example.org');
        INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', 'alice@example.org');
    """,
        database="plain_owner",
    )
    assert (
        cluster.sql(
            "SELECT count(*) FROM change_log WHERE system_id = "
            "(SELECT system_identifier FROM pg_control_system())",
            database="plain_owner",
        )
        == "3"
    )


def test_a_database_that_is_not_utf8_is_refused_with_what_to_do(cluster):
    cluster.sql(
        "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'",
        database="postgres",
    )
    with pytest.raises(AssertionError, match="Holdline needs UTF8(.|\n)*createdb --encoding=UTF8"):
        sqitch(cluster, "ascii", "deploy")


def test_a_restored_dump_has_the_same_rows_and_a_log_that_is_not_its_own(cluster, tmp_path):
    database = fresh_database(cluster, "original")
    sqitch(cluster, database, "deploy")
    cluster.sql(
        """
        INSERT INTO domain (name) VALUES ('example.org');
        INSERT INTO cn_mapping (cn, identity)
        VALUES ('0004F224A6AC', 'alice@example.org'), ('0004F224A6AC', 'x@other.net');
    """,
        database=database,
    )
    run(cluster, "pg_dump", "--format=custom", "-f", tmp_path / "dump", database)
    restored = fresh_database(cluster, "restored")
    run(cluster, "pg_restore", "--exit-on-error", "-d", restored, tmp_path / "dump")
    assert dump(cluster, restored) == dump(cluster, database)
    own = "database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    assert cluster.sql(f"SELECT count(*) FROM change_log WHERE {own}", database=restored) == "0"
    cluster.sql("DELETE FROM cn_mapping WHERE identity = 'x@other.net'", database=restored)
    assert (
        cluster.sql(f"SELECT kind, key FROM change_log WHERE {own}", database=restored)
        == "peer|{device,0004F224A6AC}"
    )


def test_schema_sql_and_the_schema_reference_are_what_the_migrations_make(tmp_path):
    subprocess.run([str(MIGRATIONS / "dump-schema.sh"), str(tmp_path)], check=True)
    for name in ["schema/schema.sql", "docs/schema.md"]:
        assert (postgres.ROOT / name).read_text() == (
            tmp_path / name
        ).read_text(), f"{name} differs: run migrations/dump-schema.sh"
