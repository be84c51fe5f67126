# SPDX-License-Identifier: Apache-2.0
"""BIND, UNBIND and LOCATE: registrations that are durable before they are confirmed."""
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, psycopg2_connect, resp, sql, unique, wait_until
from tests.system.test_mapperd_feed import answered, info, new_mapping


class Device:
    """A mapped device and the arguments of its bindings."""

    def __init__(self, lab, store="device", cn=None):
        self.lab, self.store, self.cn = lab, store, cn or cn_of()
        self.aor = f"{unique()}@example.org"
        sql(
            lab,
            "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (%s, %s, %s)",
            store,
            self.cn,
            self.aor,
        )
        wait_until(lambda: self.aor in answered(lab, "PEER", store, self.cn))

    @property
    def key(self):
        return f"{self.store}:{self.cn}"

    def arguments(self, contact="sip:phone@192.0.2.1:5061;transport=tls", **changed):
        fields = {
            "aor": self.aor,
            "device_key": self.key,
            "store": self.store,
            "cn": self.cn,
            "ground": "mapping",
            "entry": self.aor,
            "instance": "",
            "reg_id": 0,
            "contact": contact,
            "expires_unix": int(time.time()) + 3600,
            "q": 1000,
            "call_id": "call-1",
            "cseq": 1,
            "flow": "proxy1/1/0/1/1",
            "path": "",
        }
        fields.update(changed)
        return ["BIND", *fields.values()]

    def bind(self, **changed):
        return resp(self.lab, *self.arguments(**changed))

    def located(self):
        return located(self.lab, self.aor)


def parse(text):
    """Fields of one binding; contact goes to the end."""
    head, _, contact = text.partition(" contact=")
    fields = dict(part.split("=", 1) for part in head.split(" "))
    fields["contact"] = contact
    return fields


def located(lab, aor):
    return [parse(text) for text in answered(lab, "LOCATE", aor)[3:]]


def test_a_binding_is_located_at_once_with_all_that_was_given(lab):
    device = Device(lab)
    epoch, serial, done = device.bind(
        instance="<urn:uuid:00000000-0000-1000-8000-0004f224a6ac>",
        reg_id=2,
        q=500,
        call_id='a b%"c@192.0.2.1',
        cseq=4294967295,
        path="<sip:edge.example.org;lr>",
        expires_unix=2000000000,
    )
    assert done == "OK" and epoch > 0 and serial > 0
    assert device.located() == [
        {
            "v": "1",
            "store": "device",
            "cn": device.cn,
            "device": device.key,
            "ground": "mapping",
            "entry": device.aor,
            "flow": "proxy1/1/0/1/1",
            "expires": "2000000000",
            "instance": "<urn:uuid:00000000-0000-1000-8000-0004f224a6ac>",
            "reg_id": "2",
            "q": "500",
            "cseq": "4294967295",
            "call_id": 'a%20b%25"c@192.0.2.1',
            "path": "<sip:edge.example.org;lr>",
            "contact": "sip:phone@192.0.2.1:5061;transport=tls",
        }
    ]
    assert resp(lab, "LOCATE", device.aor)[2] == "known"


def test_a_binding_is_known_by_instance_and_reg_id_or_else_by_contact(lab):
    device = Device(lab)
    device.bind(instance="<urn:x>", reg_id=1, contact="sip:a@192.0.2.1")
    device.bind(instance="<urn:x>", reg_id=1, contact="sip:a@192.0.2.2")
    device.bind(instance="<urn:x>", reg_id=2, contact="sip:a@192.0.2.3")
    device.bind(contact="sip:a@192.0.2.4", flow="old/1/0/1/1")
    device.bind(contact="sip:a@192.0.2.4", flow="new/1/0/1/1")
    found = sorted((b["contact"], b["flow"].split("/")[0]) for b in device.located())
    assert found == [
        ("sip:a@192.0.2.2", "proxy1"),
        ("sip:a@192.0.2.3", "proxy1"),
        ("sip:a@192.0.2.4", "new"),
    ]
    resp(lab, "UNBIND", device.aor, device.key, "<urn:x>", 2, "sip:a@192.0.2.3")
    resp(lab, "UNBIND", device.aor, device.key, "", 0, "sip:a@192.0.2.4")
    assert [b["contact"] for b in device.located()] == ["sip:a@192.0.2.2"]
    resp(lab, "UNBIND", device.aor, device.key, "", 0, "*")
    assert device.located() == []


def test_bindings_come_newest_first(lab):
    device = Device(lab)
    for i in (3, 1, 2, 5, 4):
        device.bind(contact=f"sip:c{i}@192.0.2.1")
    device.bind(contact="sip:c1@192.0.2.1")
    wanted = [f"sip:c{i}@192.0.2.1" for i in (1, 4, 5, 2, 3)]
    assert [b["contact"] for b in device.located()] == wanted


def test_unbind_of_one_device_leaves_the_others_and_the_star_takes_all(lab):
    first, second = Device(lab), Device(lab)
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", second.cn, first.aor)
    wait_until(lambda: first.aor in resp(lab, "PEER", "device", second.cn))
    first.bind(contact="sip:one@192.0.2.1")
    second.bind(aor=first.aor, entry=first.aor, contact="sip:two@192.0.2.1")
    assert len(first.located()) == 2
    resp(lab, "UNBIND", first.aor, second.key, "", 0, "*")
    assert [b["contact"] for b in first.located()] == ["sip:one@192.0.2.1"]
    second.bind(aor=first.aor, entry=first.aor, contact="sip:two@192.0.2.1")
    resp(lab, "UNBIND", first.aor, "*", "", 0, "*")
    assert first.located() == []


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_a_binding_ends_with_its_mapping_its_user_its_store_and_its_time(fresh_lab):
    lab = fresh_lab
    by_mapping, by_user, by_time = Device(lab), Device(lab), Device(lab)
    by_mapping.bind()
    by_user.bind()
    by_time.bind(expires_unix=int(time.time()) + 2)
    assert by_mapping.located() and by_user.located() and by_time.located()
    sql(lab, "SELECT retire_device(%s)", by_mapping.cn)
    wait_until(lambda: by_mapping.located() == [])
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", by_user.aor)
    wait_until(lambda: by_user.located() == [])
    assert resp(lab, "LOCATE", by_user.aor)[2] == "disabled"
    wait_until(lambda: by_time.located() == [])
    last = Device(lab)
    last.bind()
    sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    wait_until(lambda: last.located() == [])
    # What came back with the mapping must register again.
    sql(lab, "UPDATE trust_store SET state = 'enabled' WHERE name = 'device'")
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", by_mapping.cn, by_mapping.aor)
    wait_until(lambda: by_mapping.aor in resp(lab, "PEER", "device", by_mapping.cn))
    assert by_mapping.located() == []


def test_a_ground_by_name_holds_without_mapping_and_a_ground_by_mapping_does_not(lab):
    device = Device(lab)
    other = f"{unique()}@example.org"
    device.bind(aor=other, entry=other, ground="name", contact="sip:n@192.0.2.1")
    device.bind(aor=other, entry=other, ground="mapping", contact="sip:m@192.0.2.1")
    assert [b["contact"] for b in located(lab, other)] == ["sip:n@192.0.2.1"]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_bindings_survive_kill_9_of_mapperd_and_the_loss_of_its_store(fresh_lab):
    import shutil

    lab = fresh_lab
    devices = [Device(lab) for _ in range(5)]
    for device in devices:
        device.bind()
        lab.kill_program("mapperd")
        lab.start_program("mapperd")
        assert len(device.located()) == 1
    lab.kill_program("mapperd")
    shutil.rmtree(lab.path("lmdb"))
    lab.start_program("mapperd")
    assert all(len(device.located()) == 1 for device in devices)


@pytest.mark.tsan
@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_many_bindings_at_once_share_commits_and_answers_come_in_order(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    with Resp(lab.mapperd_socket) as client:
        for i in range(600):
            client.send(
                *device.arguments(instance="<urn:many>", reg_id=i % 3 + 1, call_id=f"c{i}", cseq=i)
            )
            client.send("PING", str(i))
        for i in range(600):
            assert client.receive()[2] == "OK"
            assert client.receive() == str(i)
    assert sorted(b["cseq"] for b in device.located()) == ["597", "598", "599"]
    rows = sql(lab, "SELECT cseq FROM binding WHERE aor = %s ORDER BY cseq", device.aor)
    assert rows == [(597,), (598,), (599,)]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_a_refused_binding_in_a_batch_is_an_error_alone(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    sql(lab, "ALTER TABLE binding ADD CHECK (call_id <> 'refused')")
    with Resp(lab.mapperd_socket) as client:
        for i in range(50):
            call_id = "refused" if i == 25 else f"c{i}"
            client.send(*device.arguments(contact=f"sip:c{i}@192.0.2.1", call_id=call_id))
        for i in range(50):
            if i == 25:
                with pytest.raises(RespError, match="^ERR"):
                    client.receive()
            else:
                assert client.receive()[2] == "OK"
    assert len(device.located()) == 49


@pytest.mark.parametrize(
    "changed",
    [
        {"aor": "not an aor"},
        {"aor": "example.org"},
        {"aor": "A@EXAMPLE.ORG"},
        {"device_key": ""},
        {"device_key": "x" * 301},
        {"ground": "none"},
        {"ground": ""},
        {"entry": "no such thing at all"},
        {"instance": "x" * 513},
        {"instance": b"a\0b"},
        {"reg_id": "-1"},
        {"reg_id": "x"},
        {"contact": ""},
        {"contact": "sip:a b@192.0.2.1"},
        {"contact": b"sip:a\r\n@192.0.2.1"},
        {"contact": "x" * 1099},
        {"expires_unix": 0},
        {"expires_unix": "tomorrow"},
        {"q": 1001},
        {"call_id": ""},
        {"cseq": 4294967296},
        {"flow": ""},
        {"path": b"\xff"},
        {"store": "x" * 33},
        {"cn": "x" * 193},
        {"registered_by": ""},
        {"registered_by": "example.org"},
        {"registered_by": "Desk@EXAMPLE.ORG"},
        {"registered_by": "x" * 250 + "@x.org"},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_a_malformed_binding_is_an_error_and_changes_nothing(lab, changed):
    with pytest.raises(RespError, match="^ERR"):
        resp(lab, *example(lab).arguments(**changed))


def example(lab):
    if not hasattr(lab, "example_device"):
        lab.example_device = Device(lab)
    return lab.example_device


def test_T10_a_cn_and_device_key_with_spaces_stay_one_field(lab):
    device = Device(lab, store="corp", cn=f"Big Box =7 {unique()}")
    device.bind()
    (found,) = device.located()
    assert found["cn"] == device.cn.replace(" ", "%20")
    assert found["device"] == device.key.replace(" ", "%20")


def test_what_another_writer_puts_into_the_table_is_located_and_an_older_version_never_wins(lab):
    device = Device(lab)
    device.bind(contact="sip:mine@192.0.2.1", instance="<urn:i>", reg_id=1)
    sql(
        lab,
        "UPDATE binding SET contact = 'sip:theirs@192.0.2.1', version_ms = version_ms + 100000, version_by = 9"
        " WHERE aor = %s",
        device.aor,
    )
    wait_until(lambda: [b["contact"] for b in device.located()] == ["sip:theirs@192.0.2.1"])
    # The clock has seen that version: what is written here next is newer than it.
    device.bind(contact="sip:mine-again@192.0.2.1", instance="<urn:i>", reg_id=1)
    assert [b["contact"] for b in device.located()] == ["sip:mine-again@192.0.2.1"]
    rows = sql(lab, "SELECT contact FROM binding WHERE aor = %s", device.aor)
    assert rows == [("sip:mine-again@192.0.2.1",)]


def test_an_unbind_leaves_a_tombstone_that_an_older_bind_does_not_pass(lab):
    device = Device(lab)
    resp(lab, "UNBIND", device.aor, device.key, "<urn:i>", 1, "sip:a@192.0.2.1")
    ((removed, version),) = sql(
        lab, "SELECT removed, version_ms FROM binding WHERE aor = %s", device.aor
    )
    assert removed
    (stood,) = sql(
        lab,
        "SELECT bind_put(%s, %s, 'i:<urn:i>:1', 'device', %s, 'mapping', %s, '<urn:i>', 1,"
        " 'sip:a@192.0.2.1', 2000000000, 1000, 'c', 1, 'f', '', %s, 1)",
        device.aor,
        device.key,
        device.cn,
        device.aor,
        version - 1,
    )
    assert stood == (False,)
    assert device.located() == []


AGED = (
    "INSERT INTO binding (aor, device_key, instance_key, store, cn, ground, entry, contact, expires_at,"
    " call_id, cseq, flow, version_ms, version_by, removed)"
    " SELECT %s, 'd', 'c:' || n, 'device', %s, 'mapping', %s, 'sip:' || n, now() - %s::interval, 'c', 1, 'f',"
    " (extract(epoch FROM now() - %s::interval) * 1000)::int8, 1, n %% 2 = 0 FROM generate_series(1, %s) n"
)


def test_what_is_over_goes_in_pages_from_table_and_store(fresh_lab):
    lab = fresh_lab
    device = Device(lab)
    device.bind()
    stored = int(info(lab)["bindings"])
    sql(lab, AGED, device.aor, device.cn, device.aor, "9 days", "9 days", 1200)
    sql(lab, AGED, f"z{device.aor}", device.cn, device.aor, "7 days", "7 days", 3)
    # Either alone is not enough: a late arrival may still be on its way to a tombstone that is as young as this.
    sql(lab, AGED, f"y{device.aor}", device.cn, device.aor, "9 days", "7 days", 2)
    sql(lab, AGED, f"x{device.aor}", device.cn, device.aor, "7 days", "9 days", 2)
    # More than one page; what was put into the store meanwhile goes from there as well.
    wait_until(lambda: sql(lab, "SELECT count(*) FROM binding") == [(8,)], timeout=60)
    wait_until(lambda: int(info(lab)["bindings"]) == stored + 7, timeout=60)
    assert int(info(lab)["bindings_purged"]) == 1200
    assert len(device.located()) == 1


def test_a_delete_by_hand_ends_a_binding_everywhere_and_the_next_register_brings_it_back(lab):
    device = Device(lab)
    device.bind()
    sql(lab, "DELETE FROM binding WHERE aor = %s", device.aor)
    wait_until(lambda: device.located() == [])
    assert sql(lab, "SELECT removed FROM binding WHERE aor = %s", device.aor) == [(True,)]
    device.bind()
    assert len(device.located()) == 1


def test_a_missing_row_removes_nothing(lab):
    # What mapperd reads from may lag behind what the primary has confirmed.
    device = Device(lab)
    device.bind(contact="sip:a@192.0.2.1")
    with psycopg2_connect(lab) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM binding WHERE aor = %s", (device.aor,))
    device.bind(contact="sip:b@192.0.2.1")
    sql(lab, "UPDATE binding SET version_ms = version_ms + 1 WHERE aor = %s", device.aor)
    new_mapping(lab)  # and what was committed before it has been read
    assert len(device.located()) == 2
