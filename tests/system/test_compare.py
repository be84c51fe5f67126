# SPDX-License-Identifier: Apache-2.0
"""The slow comparison: what went round the change log is found, named and read again; what did not is left alone."""
import random
import threading

import pytest

from tests.lab.resp import RespError
from tests.system.lib import cn_of, psycopg2_connect, resp, sql, unique, wait_until
from tests.system.test_mapperd_bind import Device
from tests.system.test_mapperd_feed import (
    answered,
    change_at_random,
    info,
    known,
    new_mapping,
    served,
    state,
    tables,
)

QUICK = pytest.mark.lab(mapperd_conf={"compare_round_s": 1})


def unlogged(lab, *statements):
    """Changes that leave nothing in the log, whatever triggers there are."""
    connection = psycopg2_connect(lab)
    with connection.cursor() as cursor:
        cursor.execute("SET holdline.notify = off")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("DELETE FROM change_log WHERE xid = pg_current_xact_id()")
    connection.commit()
    connection.close()


def named(lab):
    return int(info(lab)["compare_named"])


def a_round_passes(lab):
    """One that began after this moment."""
    rounds = int(info(lab)["compare_rounds"])
    wait_until(lambda: int(info(lab)["compare_rounds"]) >= rounds + 2)


@QUICK
def test_a_whole_missing_and_a_whole_extra_key_and_a_changed_value_are_found(fresh_lab):
    lab = fresh_lab
    gone, new, changed = new_mapping(lab), cn_of(), new_mapping(lab)
    other = f"{unique()}@example.org"
    a_round_passes(lab)
    assert named(lab) == 0
    unlogged(
        lab,
        f"DELETE FROM cn_mapping WHERE cn = '{gone}'",
        f"INSERT INTO cn_mapping (cn, identity) VALUES ('{new}', '{other}')",
        f"INSERT INTO cn_mapping (cn, identity) VALUES ('{changed}', '{other}')",
    )
    wait_until(lambda: not known(lab, gone))
    wait_until(lambda: known(lab, new))
    wait_until(lambda: other in resp(lab, "PEER", "device", changed))
    a_round_passes(lab)
    assert named(lab) == 4  # and the user's row
    assert "compare-difference" in lab.log_of("mapperd").read_text()


@QUICK
def test_users_groups_rules_domains_and_stores_are_compared_too(fresh_lab):
    lab = fresh_lab
    user = f"{unique()}@example.org"
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", user)
    sql(lab, "INSERT INTO user_group (name) VALUES ('staff')")
    sql(lab, "INSERT INTO domain (name) VALUES ('other.example')")
    wait_until(lambda: resp(lab, "RIGHTS", user)[2] == "known")

    def rules():
        return [rule.split(" ", 1)[1] for rule in resp(lab, "RIGHTS", user)[4:]]

    assert rules() == ["allow * * ours - - -"]
    a_round_passes(lab)
    rule = "INSERT INTO rights_rule (position, who_kind, who, target_kind, effect) VALUES "
    unlogged(lab, rule + "(1, 'everyone', NULL, 'any', 'deny')")
    wait_until(lambda: "deny * * * - - -" in rules())
    unlogged(lab, rule + "(2, 'domain', 'example.org', 'any', 'allow')")
    wait_until(lambda: "allow * * * - - -" in rules())
    unlogged(lab, f"INSERT INTO user_group_member VALUES ('staff', '{user}')")
    unlogged(lab, rule + "(3, 'group', 'staff', 'ours', 'deny')")
    wait_until(lambda: "deny * * ours - - -" in rules())
    unlogged(lab, "DELETE FROM rights_rule WHERE who_kind <> 'everyone'")
    wait_until(lambda: len(rules()) == 2)
    credential = "INSERT INTO credential (identity, realm, username, ha1_md5) VALUES "
    unlogged(lab, credential + f"('{user}', 'r', 'u', repeat('0', 32))")
    wait_until(lambda: len(resp(lab, "CREDENTIAL", user)) == 4)
    unlogged(lab, "UPDATE credential SET ha1_md5 = repeat('1', 32)")
    wait_until(lambda: "1" * 32 in resp(lab, "CREDENTIAL", user)[3])
    unlogged(lab, "DELETE FROM credential")
    wait_until(lambda: len(resp(lab, "CREDENTIAL", user)) == 3)
    unlogged(lab, f"UPDATE sip_user SET state = 'disabled' WHERE identity = '{user}'")
    wait_until(lambda: resp(lab, "RIGHTS", user)[2] == "disabled")
    cn = new_mapping(lab)
    unlogged(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    wait_until(lambda: not known(lab, cn))
    unlogged(lab, "DELETE FROM domain WHERE name = 'other.example'")
    domains = int(info(lab)["domains"])
    wait_until(lambda: int(info(lab)["domains"]) == domains - 1)


@QUICK
def test_a_devices_own_row_and_each_realm_of_a_credential_are_compared_too(fresh_lab):
    lab = fresh_lab
    cn, bare, user = new_mapping(lab), cn_of(), f"{unique()}@example.org"
    credential = "INSERT INTO credential (identity, realm, username, ha1_md5) VALUES "
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", user)
    sql(lab, credential + f"('{user}', 'a', 'u', repeat('0', 32))")
    wait_until(lambda: len(answered(lab, "CREDENTIAL", user)) == 4)
    a_round_passes(lab)
    assert named(lab) == 0
    device = "INSERT INTO device_info (cn, state) VALUES "

    def credentials():
        return [text.split() for text in answered(lab, "CREDENTIAL", user)[3:]]

    # A device that has mappings and one that has none; one realm among several that stay as they are.
    unlogged(
        lab,
        device + f"('{cn}', 'disabled'), ('{bare}', 'disabled')",
        credential + f"('{user}', 'b', 'u', repeat('1', 32)), ('{user}', 'c', 'u', repeat('2', 32))",
    )
    wait_until(lambda: state(lab, cn) == state(lab, bare) == "disabled" and len(credentials()) == 3)
    unlogged(
        lab,
        f"UPDATE device_info SET state = 'known' WHERE cn = '{cn}'",
        "UPDATE credential SET username = 'w' WHERE realm = 'b'",
    )
    wait_until(lambda: known(lab, cn) and "username=w" in credentials()[1])
    unlogged(
        lab,
        f"UPDATE device_info SET state = 'known' WHERE cn = '{bare}'",
        f"DELETE FROM device_info WHERE cn = '{bare}'",
        "DELETE FROM credential WHERE realm = 'a'",
        "UPDATE credential SET realm = 'd' WHERE realm = 'c'",
    )
    wait_until(lambda: state(lab, bare) == "unknown" and [c[1] for c in credentials()] == ["realm=b", "realm=d"])
    a_round_passes(lab)
    assert named(lab) == 3 + 2 + 2


@QUICK
def test_bindings_are_compared_too(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    device.bind()
    assert len(device.located()) == 1
    a_round_passes(lab)
    assert named(lab) == 0
    unlogged(
        lab,
        "INSERT INTO binding (aor, device_key, instance_key, store, cn, ground, entry, contact,"
        " expires_at, call_id, cseq, flow, version_ms, version_by)"
        " SELECT aor, device_key, 'c:sip:second@192.0.2.9', store, cn, ground, entry,"
        " 'sip:second@192.0.2.9', expires_at, call_id, cseq, flow, version_ms + 1, version_by"
        f" FROM binding WHERE aor = '{device.aor}'",
    )
    wait_until(lambda: len(device.located()) == 2)
    unlogged(
        lab,
        "UPDATE binding SET removed = true, version_ms = version_ms + 5"
        f" WHERE aor = '{device.aor}' AND instance_key = 'c:sip:second@192.0.2.9'",
    )
    wait_until(lambda: len(device.located()) == 1)
    assert named(lab) == 2


@QUICK
def test_changes_in_masses_are_found_whatever_the_length_of_a_range(fresh_lab):
    lab = fresh_lab
    rows = (
        "INSERT INTO cn_mapping (cn, identity) SELECT lpad(upper(to_hex(n)), 12, '0'),"
        " 'a' || mod(n, 7) || '@example.org' FROM generate_series({}, {}) n"
    )
    sql(lab, rows.format(1, 2600))
    wait_until(lambda: known(lab, f"{2600:012X}"))
    kept = new_mapping(lab)
    unlogged(
        lab, "DELETE FROM cn_mapping WHERE cn < '000000001000'", rows.format(0x100000, 0x100000 + 2600)
    )
    wait_until(lambda: int(info(lab)["devices"]) == 2602, timeout=60)
    assert known(lab, kept)
    assert not known(lab, f"{1:012X}") and not known(lab, f"{2600:012X}")
    assert known(lab, f"{0x100000:012X}") and known(lab, f"{0x100000 + 2600:012X}")
    unlogged(lab, "DELETE FROM cn_mapping", "DELETE FROM sip_user")
    wait_until(lambda: info(lab)["devices"] == "0" and info(lab)["users"] == "0", timeout=60)


@QUICK
@pytest.mark.tsan
@pytest.mark.limit(180)
def test_a_change_on_its_way_is_no_difference(fresh_lab):
    """Nothing went round the log, so nothing is named, however much changes meanwhile."""
    lab, stop = fresh_lab, threading.Event()
    cns = [cn_of() for _ in range(300)]
    changers = [
        # No TRUNCATE: the fill after it begins a round anew, and none would end. Nor back to what was:
        # a record that is again as it was when a range was read passes for one that nobody told of.
        threading.Thread(target=change_at_random, args=(lab, cns, stop, seed, 0, True)) for seed in (3, 4)
    ]
    devices = [Device(lab) for _ in range(3)]
    for changer in changers:
        changer.start()
    try:
        rounds = int(info(lab)["compare_rounds"])
        chance = random.Random(5)

        def more():
            try:
                chance.choice(devices).bind()
            except RespError as refusal:
                # A row that an open transaction holds.
                assert str(refusal).startswith("UNCONFIRMED")
            return int(info(lab)["compare_rounds"]) >= rounds + 6

        wait_until(more, timeout=120)
    finally:
        stop.set()
        for changer in changers:
            changer.join()
    every = cns + [device.cn for device in devices]
    wait_until(lambda: served(lab, every) == tables(lab))
    a_round_passes(lab)
    assert named(lab) == 0


@QUICK
def test_a_round_goes_on_behind_a_lost_connection_and_age_says_when_it_ended(fresh_lab):
    lab = fresh_lab
    cn = new_mapping(lab)
    wait_until(lambda: info(lab)["compare_age_s"] != "unknown")
    lab.postgres.stop()
    lab.postgres.start()
    unlogged(lab, f"DELETE FROM cn_mapping WHERE cn = '{cn}'")
    wait_until(lambda: not known(lab, cn))
    a_round_passes(lab)
    assert int(info(lab)["compare_age_s"]) < 30


@pytest.mark.lab(mapperd_conf={"compare_round_s": 0})
def test_the_comparison_can_be_turned_off(fresh_lab):
    lab = fresh_lab
    new_mapping(lab)
    assert info(lab)["compare_ranges"] == "0" and info(lab)["compare_age_s"] == "unknown"


@pytest.mark.lab(mapperd_conf={"compare_round_s": 2})
def test_a_row_that_the_store_can_not_hold_is_reported_once_and_not_each_round(fresh_lab):
    lab = fresh_lab
    cn = cn_of()
    for name, in sql(
        lab,
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'cn_mapping'::regclass",
    ):
        sql(lab, f'ALTER TABLE cn_mapping DROP CONSTRAINT "{name}"')
    sql(lab, "ALTER TABLE cn_mapping DISABLE TRIGGER canonical")
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, 'bad user@example.org')", cn)
    sql(lab, "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', %s, 'a.example')", "x" * 400)
    wait_until(lambda: int(info(lab)["rows_skipped"]) >= 2)
    good = new_mapping(lab)
    wait_until(lambda: int(info(lab)["keys_waiting"]) == 0)
    skipped = info(lab)["rows_skipped"]
    a_round_passes(lab)
    assert info(lab)["rows_skipped"] == skipped and named(lab) == 0
    unlogged(lab, f"DELETE FROM cn_mapping WHERE cn = '{good}'")
    wait_until(lambda: not known(lab, good))
