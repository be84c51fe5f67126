# SPDX-License-Identifier: Apache-2.0
"""Tenants over their own logins, and mapperd beside row security."""
import shutil

import psycopg2
import pytest

from tests.system.lib import cn_of, knows, mapctl, resp, sql, unique, wait_until


@pytest.fixture
def tenants(fresh_lab):
    """A lab with row security on and a login for each of two domains; gives (lab, connect)."""
    lab = fresh_lab
    sql(lab, "INSERT INTO domain (name) VALUES ('a.example'), ('b.example')")
    sql(lab, "CREATE ROLE anton LOGIN")
    sql(lab, "CREATE ROLE berta LOGIN")
    sql(lab, "CREATE ROLE operator LOGIN IN ROLE holdline_admin")
    sql(lab, "SELECT tenants_enable(), tenant_grant('anton', 'a.example')")
    sql(lab, "SELECT tenant_grant('berta', 'b.example')")
    open_ones = []

    def connect(user):
        connection = psycopg2.connect(lab.postgres.conninfo(user))
        connection.autocommit = True
        open_ones.append(connection)
        return connection.cursor()

    yield lab, connect
    for connection in open_ones:
        connection.close()


def test_T56_what_a_tenant_provisions_is_live_and_mapperd_sees_every_tenant(tenants):
    lab, connect = tenants
    anton, berta = connect("anton"), connect("berta")
    cn, user = cn_of(), unique()
    insert = "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)"
    anton.execute(insert, (cn, f"{user}@a.example"))
    berta.execute(insert, (cn, f"{user}@b.example"))
    wait_until(lambda: knows(lab, "device", cn, f"{user}@a.example"), what="anton's is known")
    wait_until(lambda: knows(lab, "device", cn, f"{user}@b.example"), what="berta's is known")
    # A store that is filled afresh has both too: the fill reads with row security off.
    lab.stop_program("mapperd")
    shutil.rmtree(lab.path("lmdb"))
    lab.start_program("mapperd")
    wait_until(lambda: knows(lab, "device", cn, f"{user}@b.example"), what="still known")
    berta.execute("SELECT retire_device(%s)", (cn,))
    wait_until(lambda: not knows(lab, "device", cn, f"{user}@b.example"), what="berta's is gone")
    assert knows(lab, "device", cn, f"{user}@a.example")


@pytest.mark.parametrize(
    "statement",
    [
        "SET SESSION AUTHORIZATION berta",
        "SET ROLE berta",
        "SET ROLE holdline_admin",
        "SET ROLE holdline_mapperd",
        "COPY cn_mapping (cn, identity) FROM STDIN",
        "COPY cn_mapping FROM PROGRAM 'true'",
        "ALTER SYSTEM SET row_security = off",
        "SELECT pg_read_file('PG_VERSION')",
        "SET row_security = off; TABLE sip_user",
        "DO $$BEGIN EXECUTE 'SET ROLE postgres'; END$$",
        "LISTEN holdline_change; TABLE change_log",
        "CREATE VIEW pg_temp.v AS TABLE cn_mapping; TABLE binding",
    ],
)
def test_T56_a_tenant_has_no_way_out_of_its_login(tenants, statement):
    _, connect = tenants
    anton = connect("anton")
    with pytest.raises((psycopg2.errors.InsufficientPrivilege, psycopg2.errors.FeatureNotSupported)):
        if " FROM STDIN" in statement:
            anton.copy_expert(statement, open("/dev/null"))
        else:
            anton.execute(statement)
    anton.execute("RESET ROLE; SELECT current_user, session_user")
    assert anton.fetchone() == ("anton", "anton")


def test_T56_a_rule_of_a_tenant_ranks_behind_the_operators_and_reaches_its_own_callers_alone(tenants):
    lab, connect = tenants
    anton, operator = connect("anton"), connect("operator")
    operator.execute("UPDATE tenant SET may_allow_numbers = '{+49}'")
    operator.execute(
        "INSERT INTO rights_rule (who_kind, who, target_kind, target, effect) "
        "VALUES ('domain', 'a.example', 'number', '+4930', 'deny') RETURNING id"
    )
    ((denied,),) = operator.fetchall()
    for user in ["u@a.example", "u@b.example"]:
        operator.execute("INSERT INTO sip_user (identity) VALUES (%s)", (user,))
    anton.execute(
        "INSERT INTO rights_rule (who_kind, who, target_kind, target, effect) "
        "VALUES ('domain', 'a.example', 'number', '+49', 'allow') RETURNING id"
    )
    ((allowed,),) = anton.fetchall()

    def rules(user):
        answer = resp(lab, "RIGHTS", user)
        return [int(text.split(" ")[0]) for text in map(str, answer[4:]) if " number:" in text]

    wait_until(lambda: rules("u@a.example") == [denied, allowed], what="in the operator's order")
    assert rules("u@b.example") == []


def test_T56_history_of_a_tenant_is_its_own(tenants):
    lab, connect = tenants
    cn = cn_of()
    for who, domain in [("anton", "a.example"), ("berta", "b.example")]:
        connect(who).execute(
            "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", (cn, f"u@{domain}")
        )
    status, out, err = mapctl(lab, "history", cn, "--database", lab.postgres.conninfo("anton"))
    assert (status, err) == (0, "") and len(out.splitlines()) == 1 and "u@a.example" in out
    status, out, _ = mapctl(lab, "history", cn, "--database", lab.postgres.conninfo("operator"))
    assert status == 0 and len(out.splitlines()) == 2
