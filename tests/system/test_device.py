# SPDX-License-Identifier: Apache-2.0
"""Devices with a state of their own: from SQL through mapperd to a phone's open connection."""
import shutil

import pytest

from tests.lab.resp import Resp
from tests.system.lib import (
    Phone,
    cn_of,
    establish,
    provision,
    ready_phone,
    resp,
    sql,
    unique,
    wait_until,
)


def bindings_of(lab, identity):
    return resp(lab, "LOCATE", identity)[3:]


def peer(lab, cn, store="device"):
    """State, canonical CN and identities."""
    return resp(lab, "PEER", store, cn)[2:]


def set_state(lab, phone, state):
    sql(
        lab,
        "INSERT INTO device_info (trust_store, cn, state) VALUES (%s, %s, %s)"
        " ON CONFLICT (trust_store, cn) DO UPDATE SET state = excluded.state",
        phone.store,
        phone.cn,
        state,
    )


def follow(lab):
    """Waits until mapperd has applied what was committed before."""
    provision(lab, cn_of(), f"{unique()}@example.org")


@pytest.mark.tsan
def test_F25_a_phone_disabled_in_a_call_is_cut_off(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    establish(alice, bob)
    assert bindings_of(lab, bob.identity)
    set_state(lab, bob, "disabled")
    bob.expect_closed()
    assert peer(lab, bob.cn) == ["disabled", bob.cn]
    assert bindings_of(lab, bob.identity) == []
    assert alice.message(bob.aor).status in (404, 480)
    # It may connect, and gets nothing.
    bob.connect()
    refused = bob.register(expect=403)
    assert "device-disabled" in refused.get("Warning")
    assert "device-disabled" in bob.message(alice.aor).get("Warning")
    assert bindings_of(lab, bob.identity) == []
    # Enabled, it is what it was, but for its registration.
    set_state(lab, bob, "known")
    wait_until(lambda: bob.options().status == 200, what="bob is enabled")
    assert bindings_of(lab, bob.identity) == []
    bob.register()
    assert alice.options().status == 200


@pytest.mark.tsan
def test_T19_a_disabled_phones_ringing_call_is_cancelled(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    alice.expect(180)
    set_state(lab, alice, "disabled")
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    alice.expect_closed()


def test_F25_the_names_of_a_disabled_phones_certificate_count_nothing(lab):
    name = f"{unique()}@{lab.domain}"
    phone = Phone(lab, user=name.split("@")[0], san=[f"sip:{name}"]).connect()
    phone.register()
    [binding] = bindings_of(lab, name)
    assert "ground=name" in binding
    set_state(lab, phone, "disabled")
    phone.expect_closed()
    assert bindings_of(lab, name) == []
    phone.connect()
    assert "device-disabled" in phone.register(expect=403).get("Warning")


@pytest.mark.parametrize("ground", ["mapping", "name"])
def test_F25_locate_gives_no_binding_of_a_disabled_device(lab, ground):
    """Also where the row stands: written by a mapperd that had not yet heard of it."""
    user = unique()
    san = [f"sip:{user}@{lab.domain}"] if ground == "name" else []
    phone = Phone(lab, user=user, san=san)
    if ground == "mapping":
        phone.provision()
    phone.connect().register()
    assert f"ground={ground}" in bindings_of(lab, phone.identity)[0]
    set_state(lab, phone, "disabled")
    phone.expect_closed()
    sql(
        lab,
        "UPDATE binding SET removed = false, version_ms = version_ms + 1 WHERE aor = %s",
        phone.identity,
    )
    follow(lab)
    assert bindings_of(lab, phone.identity) == []
    set_state(lab, phone, "known")
    # It has been there all the time.
    wait_until(lambda: bindings_of(lab, phone.identity), what="the binding is given again")


@pytest.mark.tsan
def test_replace_device_moves_a_user_to_another_phone(lab):
    alice, old = ready_phone(lab), ready_phone(lab)
    new = Phone(lab, user=old.user).connect()
    new.register(expect=403)
    sql(lab, "UPDATE device SET label = 'Desk' WHERE trust_store = 'device' AND cn = %s", old.cn)
    spelled = ":".join(new.cn[i : i + 2].lower() for i in range(0, 12, 2))
    assert sql(lab, "SELECT replace_device(%s, %s)", old.cn.lower(), spelled) == [(1,)]
    old.expect_closed()
    assert peer(lab, old.cn) == ["unknown", old.cn]
    assert peer(lab, new.cn) == ["known", new.cn, old.identity]
    assert bindings_of(lab, old.identity) == []
    wait_until(lambda: new.register(expect=None).status == 200, what="the new phone is known")
    sent = alice.send(alice.request("MESSAGE", old.aor, body="hello"))
    new.reply(new.expect("MESSAGE"), 200)
    assert alice.response(sent).status == 200
    old.connect()
    assert "device-unknown" in old.register(expect=403).get("Warning")
    assert sql(lab, "SELECT cn, label FROM device WHERE %s = ANY (identities)", old.identity) == [
        (new.cn, "Desk")
    ]


def test_a_replaced_disabled_phone_and_its_successor_stay_disabled(lab):
    old = ready_phone(lab)
    new = Phone(lab, user=old.user)
    set_state(lab, old, "disabled")
    assert sql(lab, "SELECT replace_device(%s, %s)", old.cn, new.cn) == [(1,)]
    wait_until(lambda: peer(lab, new.cn) == ["disabled", new.cn])
    assert peer(lab, old.cn) == ["disabled", old.cn]
    new.connect()
    new.register(expect=403)
    set_state(lab, new, "known")
    wait_until(lambda: new.register(expect=None).status == 200)
    assert peer(lab, old.cn) == ["disabled", old.cn]


def test_what_is_written_to_the_view_is_what_peer_says(lab):
    cn = cn_of()
    one, two = f"{unique()}@{lab.domain}", f"{unique()}@{lab.domain}"

    def says(*expected):
        wait_until(lambda: peer(lab, cn) == list(expected), what=f"{cn} is {expected}")

    where = " WHERE trust_store = 'device' AND cn = device_cn(%s)"
    sql(lab, "INSERT INTO device (cn, identities) VALUES (%s, %s)", cn.lower(), [one])
    says("known", cn, one)
    sql(lab, "UPDATE device SET identities = %s" + where, [two, lab.domain], cn.lower())
    says("known", cn, *sorted([two, lab.domain]))
    sql(lab, "UPDATE device SET label = 'x', state = 'disabled'" + where, cn.lower())
    says("disabled", cn)
    sql(lab, "UPDATE device SET identities = %s" + where, [one], cn.lower())
    follow(lab)
    assert peer(lab, cn) == ["disabled", cn]
    sql(lab, "UPDATE device SET state = 'known'" + where, cn.lower())
    says("known", cn, one)
    sql(lab, "UPDATE device SET identities = '{}'" + where, cn.lower())
    says("unknown", cn)
    sql(lab, "UPDATE device SET identities = %s" + where, [two], cn.lower())
    says("known", cn, two)
    sql(lab, "DELETE FROM device" + where, cn.lower())
    says("unknown", cn)


def test_retiring_a_disabled_device_leaves_it_disabled(lab):
    phone = ready_phone(lab)
    set_state(lab, phone, "disabled")
    sql(lab, "SELECT retire_device(%s)", phone.cn)
    provision(lab, cn_of(), f"{unique()}@example.org")
    assert peer(lab, phone.cn) == ["disabled", phone.cn]
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", phone.cn, phone.identity)
    follow(lab)
    assert peer(lab, phone.cn) == ["disabled", phone.cn]


def expected(lab):
    """What PEER has to say of every device, by the tables."""
    rows = sql(lab, "SELECT cn, identities, state FROM device WHERE trust_store = 'device'")
    return {
        cn: ["disabled", cn]
        if state == "disabled"
        else ["known", cn, *identities]
        if identities
        else ["unknown", cn]
        for cn, identities, state in rows
    }


def test_a_fill_finds_devices_of_either_table(fresh_lab):
    """Ranges of 5,000: devices with a mapping, with a row, with both, in one order."""
    lab = fresh_lab
    sql(
        lab,
        """
        INSERT INTO cn_mapping (cn, identity)
        SELECT lpad(to_hex(n), 12, '0'), 'u' || n % 7 || '@example.org'
        FROM generate_series(1, 11000) n WHERE n % 3 <> 0;
        INSERT INTO device_info (cn, state)
        SELECT lpad(to_hex(n), 12, '0'), CASE WHEN n % 4 = 0 THEN 'disabled' ELSE 'known' END
        FROM generate_series(1, 11000) n WHERE n % 3 = 0 OR n % 5 = 0
        """,
    )
    wanted = expected(lab)
    assert len(wanted) == 11000
    lab.stop_program("mapperd")
    shutil.rmtree(lab.path("lmdb"))
    lab.start_program("mapperd")
    found = {}
    with Resp(lab.mapperd_socket) as client:
        for cn in wanted:
            client.send("PEER", "device", cn)
            found[cn] = client.receive()[2:]
    assert found == wanted


def test_a_fill_reads_each_range_in_the_order_of_its_indexes(fresh_lab):
    """The plans of the program's own statements: nothing is sorted, whatever the tables' sizes."""
    lab = fresh_lab
    sql(
        lab,
        """
        ALTER ROLE holdline_mapperd SET session_preload_libraries = 'auto_explain';
        ALTER ROLE holdline_mapperd SET auto_explain.log_min_duration = 0;
        """,
    )
    log = lab.log_of("postgresql")
    for rows in (0, 12000):  # far apart: one has no statistics and no pages, the other has
        sql(
            lab,
            """
            INSERT INTO cn_mapping (cn, identity)
            SELECT lpad(to_hex(n), 12, '0'), 'u@example.org' FROM generate_series(1, %s) n;
            INSERT INTO device_info (cn) SELECT lpad(to_hex(n), 12, '0')
            FROM generate_series(1, %s) n WHERE n %% 3 = 0
            """,
            rows,
            rows,
        )
        lab.stop_program("mapperd")
        shutil.rmtree(lab.path("lmdb"))
        at = log.stat().st_size
        lab.start_program("mapperd")
        written = log.read_text()[at:] if at == 0 else log.read_bytes()[at:].decode()
        plans = [p for p in written.split("Query Text: ") if p.startswith("SELECT d.trust_store")]
        assert len(plans) >= rows // 5000 + 1
        for plan in plans:
            assert "Merge Append" in plan and " Sort  " not in plan, plan
            assert "Index Only Scan using cn_mapping_pkey" in plan, plan
            assert "Index Only Scan using device_info_pkey" in plan, plan
