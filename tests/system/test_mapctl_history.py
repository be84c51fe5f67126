# SPDX-License-Identifier: Apache-2.0
"""mapctl history: who changed what of a device or a user."""
from tests.system.lib import cn_of, mapctl, mapctl_json, sql, unique
from tests.system.lib.mapctl import BAD, GOOD, UNREACHABLE, USAGE


def spelled(cn):
    return ":".join(cn[i : i + 2].lower() for i in range(0, 12, 2))


def test_history_tells_every_change_of_a_device_in_any_spelling_the_oldest_first(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", spelled(cn), user)
    sql(lab, "SET application_name = 'by\nhand'; SELECT retire_device(%s)", cn)
    status, out, err = mapctl(lab, "history", spelled(cn))
    assert (status, err) == (GOOD, "")
    first, second = out.splitlines()
    assert f": insert cn_mapping device {cn} {user}, after {{}}" in first
    assert f" with by?hand: delete cn_mapping device {cn} {user}, before " in second
    status, rows = mapctl_json(lab, "history", cn)
    assert status == GOOD and [row["operation"] for row in rows] == ["insert", "delete"]
    assert rows[0]["after"] == {} and rows[0]["before"] is None
    assert rows[1]["after"] is None and rows[1]["who"] == "postgres" and rows[1]["role"] == "none"
    assert rows[0]["at"] <= rows[1]["at"] and isinstance(rows[0]["xid"], int)
    status, rows = mapctl_json(lab, "history", cn, "--limit", "1")
    assert [row["operation"] for row in rows] == ["delete"]


def test_history_of_a_user_has_its_state_its_rules_and_its_mappings(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", user)
    sql(lab, "INSERT INTO rights_rule (who_kind, who, effect) VALUES ('user', %s, 'deny')", user)
    status, rows = mapctl_json(lab, "history", "--user", f"sip:{user}")
    assert status == GOOD
    assert sorted((row["table"], row["operation"]) for row in rows) == [
        ("cn_mapping", "insert"),
        ("rights_rule", "insert"),
        ("sip_user", "insert"),
        ("sip_user", "update"),
    ]
    update = next(row for row in rows if row["operation"] == "update")
    assert (update["before"], update["after"]) == ({"state": "enabled"}, {"state": "disabled"})


def test_history_keeps_trust_stores_apart_and_takes_a_name_as_data(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    odd = f"{unique()}' OR true --"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    sql(
        lab,
        "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', %s, %s)",
        odd,
        user,
    )
    status, out, err = mapctl(lab, "history", cn, "--store", "corp")
    assert (status, out) == (BAD, "") and "nothing is known" in err
    status, rows = mapctl_json(lab, "history", odd, "--store", "corp")
    assert status == GOOD and [row["cn"] for row in rows] == [odd]


def test_history_says_what_is_wrong(lab):
    status, out, err = mapctl(lab, "history", "no MAC")
    assert (status, out) == (BAD, "") and "is not a MAC address" in err
    status, out, err = mapctl(lab, "history", "0004F2000001", "--store", "nowhere")
    assert status == BAD and "there is no trust store" in err
    assert mapctl(lab, "history")[0] == USAGE
    assert mapctl(lab, "history", "0004F2000001", "--limit", "0")[0] == USAGE
    status, _, err = mapctl(lab, "history", "0004F2000001", PGHOST="/nowhere")
    assert status == UNREACHABLE and "does not answer" in err
