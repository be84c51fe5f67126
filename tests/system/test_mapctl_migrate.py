# SPDX-License-Identifier: Apache-2.0
"""mapctl migrate: forward, back, and what goes with it."""
import re

import pytest

from tests.lab import postgres
from tests.system.lib import mapctl, mapctl_json, sql, unique
from tests.system.lib.mapctl import BAD, GOOD, UNREACHABLE, USAGE

PLAN = re.findall(
    r"^([a-z_0-9]+) ", (postgres.ROOT / "migrations" / "sqitch.plan").read_text(), re.MULTILINE
)


@pytest.fixture
def empty(lab):
    """The name of an empty database."""
    name = unique("migrate")
    sql(lab, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield name
    sql(lab, f"DROP DATABASE {name} WITH (FORCE)")


def of(lab, database, text):
    """Lines of a query in another database of the lab."""
    return lab.postgres.sql(text, database=database).splitlines()


def tables(lab, database):
    return set(
        of(
            lab,
            database,
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition",
        )
    )


def test_migrate_brings_an_empty_database_there_and_verify_tells_what_is_missing(lab):
    database = unique("migrate")
    sql(lab, f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'")
    conninfo = (
        f"host={lab.postgres.folder} port={lab.postgres.port} dbname={database} " "user=postgres"
    )
    status, out, _ = mapctl(
        lab,
        "--database",
        conninfo,
        "migrate",
        "--migrations",
        str(postgres.ROOT / "migrations"),
        "--verify",
    )
    assert status == BAD
    status, out, _ = mapctl(lab, "--database", conninfo, "status")
    assert status != GOOD and "the schema is not there: mapctl migrate" in out
    for _ in range(2):  # the second finds nothing to do
        status, out, err = mapctl(lab, "--database", conninfo, "migrate")
        assert status == GOOD, out + err
    status, out, _ = mapctl(lab, "migrate", "--verify", PGDATABASE=database)
    assert status == GOOD and "Verify successful" in out
    sql(lab, f"DROP DATABASE {database}")


def test_migrate_without_database_ends_with_3(lab):
    status, _, err = mapctl(lab, "--database", "host=/nonexistent dbname=holdline", "migrate")
    assert status == UNREACHABLE and "the database does not answer" in err


def test_migrate_goes_to_a_change_and_on_from_there(lab, empty):
    status, done = mapctl_json(lab, "migrate", "--to", PLAN[2], PGDATABASE=empty)
    assert status == GOOD
    assert done == {
        "action": "deploy", "done": True, "deployed": PLAN[:3], "reverted": [], "losses": []
    }
    _, found = mapctl_json(lab, "status", PGDATABASE=empty)
    assert found["database"]["migration"]["deployed"] == PLAN[2]
    assert found["database"]["migration"]["missing"] == len(PLAN) - 3
    status, done = mapctl_json(lab, "migrate", PGDATABASE=empty)
    assert status == GOOD and done["deployed"] == PLAN[3:]
    status, done = mapctl_json(lab, "migrate", "--verify", PGDATABASE=empty)
    assert status == GOOD and done["action"] == "verify" and done["done"] is True
    # to an earlier one is another thing
    status, _, err = mapctl(lab, "migrate", "--to", PLAN[2], PGDATABASE=empty)
    assert status == BAD and f"mapctl migrate --revert --to {PLAN[2]} goes back" in err


def test_verify_is_not_misled_by_what_a_database_in_use_holds(lab, empty):
    """Its scripts write rows, which roll back: none that an operator may have, too."""
    assert mapctl(lab, "migrate", PGDATABASE=empty)[0] == GOOD
    of(lab, empty, "INSERT INTO domain (name) VALUES ('example.org')")
    of(lab, empty, "INSERT INTO device (cn, identities, state)"
       " VALUES ('0004F224A6AC', '{alice@example.org}', 'disabled')")
    of(lab, empty, "UPDATE domain SET state = 'disabled'")
    of(lab, empty, "UPDATE trust_store SET state = 'disabled'")
    of(lab, empty, "SELECT tenants_enable()")
    status, out, err = mapctl(lab, "migrate", "--verify", PGDATABASE=empty)
    assert status == GOOD, out + err
    of(lab, empty, "UPDATE device_info SET state = 'known'")
    of(lab, empty, "DELETE FROM cn_mapping")
    of(lab, empty, "DELETE FROM device_info")
    of(lab, empty, "UPDATE trust_store SET state = 'enabled'")
    of(lab, empty, "DELETE FROM trust_store")
    status, out, err = mapctl(lab, "migrate", "--verify", PGDATABASE=empty)
    assert status == GOOD, out + err


def test_revert_says_what_goes_and_asks_first(lab, empty):
    assert mapctl(lab, "migrate", PGDATABASE=empty)[0] == GOOD
    of(lab, empty, "INSERT INTO domain (name) VALUES ('example.org')")
    of(lab, empty, "INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000001', 'a@example.org'),"
       " ('0004F2000001', 'b@example.org')")
    before = tables(lab, empty)
    for answer in ["", "no\n", "y\n", "yes please\n"]:
        status, out, err = mapctl(
            lab, "migrate", "--revert", "--to", "trust", PGDATABASE=empty, stdin=answer
        )
        assert (status, out) == (BAD, "") and "nothing was changed" in err
        assert ("yes does: \nmapctl: " in err) == (answer == "")
        assert "  table cn_mapping, 2 rows\n" in err and "  table sip_user, 2 rows\n" in err
        assert "table trust_store" not in err and " mapping\n" in err
    assert tables(lab, empty) == before
    status, out, err = mapctl(
        lab, "migrate", "--revert", "--to", "trust", PGDATABASE=empty, stdin="yes\n"
    )
    assert status == GOOD, out + err
    assert "cn_mapping" not in tables(lab, empty) and "trust_store" in tables(lab, empty)
    # there and again
    status, out, err = mapctl(
        lab, "migrate", "--revert", "--to", "trust", PGDATABASE=empty
    )
    assert status == GOOD and "Nothing to take back" in err
    assert mapctl(lab, "migrate", PGDATABASE=empty)[0] == GOOD
    assert tables(lab, empty) == before


def test_revert_names_every_table_that_goes(lab, empty):
    assert mapctl(lab, "migrate", PGDATABASE=empty)[0] == GOOD
    before = tables(lab, empty)
    status, done = mapctl_json(lab, "migrate", "--revert", "--all", "--yes", PGDATABASE=empty)
    assert status == GOOD and done["done"] is True
    assert sorted(done["reverted"]) == sorted(PLAN)
    assert {loss["table"] for loss in done["losses"] if loss["whole"]} == before
    assert tables(lab, empty) == set()


def test_migrate_refuses_a_database_that_is_newer_than_its_plan(lab, empty, tmp_path):
    assert mapctl(lab, "migrate", PGDATABASE=empty)[0] == GOOD
    text = (postgres.ROOT / "migrations" / "sqitch.plan").read_text()
    (tmp_path / "sqitch.plan").write_text(text[: text.index(f"\n{PLAN[-1]} ")] + "\n")
    status, out, err = mapctl(lab, "migrate", "--migrations", str(tmp_path), PGDATABASE=empty)
    assert (status, out) == (BAD, "")
    assert f"the database has {PLAN[-1]}, which this program's plan does not" in err


def test_migrate_needs_a_role_that_may(lab):
    conninfo = lab.postgres.conninfo("holdline_mapperd")
    status, out, err = mapctl(lab, "migrate", "--database", conninfo)
    assert (status, out) == (BAD, "") and "migrate as the owner of the database" in err
    # what --config says is mapperd's role: it is not taken
    status, _, err = mapctl(
        lab, "migrate", "--config", str(lab.path("mapperd.conf")), PGDATABASE="nonexistent"
    )
    assert status == UNREACHABLE and '"nonexistent" does not exist' in err


@pytest.mark.parametrize(
    "line, text",
    [
        (["--revert"], "--revert goes back to --to CHANGE"),
        (["--revert", "--all", "--to", "trust"], "--revert goes back to --to CHANGE"),
        (["--revert", "--verify", "--all"], "do not go together"),
        (["--all"], "go with --revert"),
        (["--yes"], "go with --revert"),
        (["--to", "nowhere"], f"there is no change nowhere; the newest is {PLAN[-1]}"),
        (["--revert", "--to", "--all"], "there is no change --all"),
    ],
)
def test_migrate_refuses_what_does_not_go_together(lab, line, text):
    status, out, err = mapctl(lab, "migrate", *line)
    assert (status, out) == (USAGE, "") and text in err
