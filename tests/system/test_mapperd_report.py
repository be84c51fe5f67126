# SPDX-License-Identifier: Apache-2.0
"""REPORT: unknown devices get into unmapped_device, every refusal to who watches, and nobody waits."""
import os
import re
import signal
import subprocess
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, psycopg2_connect, resp, sql, unique, wait_until


def report(lab, cn, identity="a@example.org", reason="device-unknown", *more, store="device"):
    return resp(lab, "REPORT", store, cn, identity, reason, *more)


def unmapped(lab, cn, store="device"):
    rows = sql(
        lab,
        "SELECT count, from_tried, address, reason FROM unmapped_device"
        " WHERE trust_store = %s AND cn = %s",
        store,
        cn,
    )
    return rows[0] if rows else None


def info(lab):
    with Resp(lab.mapperd_socket) as client:
        return client.info()


class Watcher(Resp):
    """Subscribed to denials."""

    def __init__(self, lab, **options):
        super().__init__(lab.mapperd_socket, **options)
        assert self.command("SUBSCRIBE", "denials") == ["subscribe", "denials", 1]

    def message(self):
        kind, channel, payload = self.receive()
        assert (kind, channel) == ("message", "denials")
        return payload


def test_F32_an_unknown_device_is_noted_with_what_it_tried_and_counted(lab):
    cn, identity = cn_of(), f"{unique()}@example.org"
    start = time.time()
    assert report(lab, cn.lower(), identity, "device-unknown", "192.0.2.7") == "OK"
    row = wait_until(lambda: unmapped(lab, cn))
    assert row == (1, identity, "192.0.2.7", "device-unknown")
    for _ in range(4):
        report(lab, ":".join(cn[i : i + 2] for i in range(0, 12, 2)), "x@example.net", "device-unknown", "::1", 10)
    wait_until(lambda: unmapped(lab, cn) == (41, "x@example.net", "::1", "device-unknown"))
    first, last = sql(
        lab, "SELECT extract(epoch FROM first_seen), extract(epoch FROM last_seen)"
        " FROM unmapped_device WHERE cn = %s", cn,
    )[0]
    assert start - 1 <= first <= last <= time.time() + 1
    # No longer form is needed than the design's.
    other = cn_of()
    report(lab, other, "", "device-unknown")
    wait_until(lambda: unmapped(lab, other) == (1, "", "", "device-unknown"))


def test_F32_a_mapping_in_any_spelling_takes_the_row_and_a_late_report_does_not_bring_it_back(lab):
    cn, identity = cn_of(), f"{unique()}@example.org"
    report(lab, cn)
    wait_until(lambda: unmapped(lab, cn))
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn.lower(), identity)
    assert unmapped(lab, cn) is None
    wait_until(lambda: identity in resp(lab, "PEER", "device", cn))
    report(lab, cn)
    sentinel = cn_of()
    report(lab, sentinel)
    wait_until(lambda: unmapped(lab, sentinel))
    assert unmapped(lab, cn) is None


def test_F32_only_unknown_devices_are_noted_and_a_cn_of_another_form_as_it_is(lab):
    cn, odd, sentinel = cn_of(), f"Odd {unique()}", cn_of()
    report(lab, cn, "a@example.org", "from-not-permitted")
    report(lab, "", "a@example.org", "device-unknown")
    report(lab, cn, "a@example.org", "device-unknown", store="")
    report(lab, odd)
    report(lab, f"Name {odd}", store="corp")
    report(lab, sentinel)
    wait_until(lambda: unmapped(lab, sentinel))
    assert unmapped(lab, cn) is None
    assert unmapped(lab, odd) is not None and unmapped(lab, f"Name {odd}", "corp") is not None


def test_T10_hostile_reports_are_refused_or_are_data(lab):
    cn = cn_of()
    good = ["device", cn, "a@example.org", "device-unknown", "192.0.2.1", "1"]
    for place, value in (
        (0, "a b"), (0, "s" * 33), (0, b"\xff"), (1, b"a\0b"), (1, b"a\nb"), (1, "c" * 193), (1, b"\xc3"),
        (2, "a b@c"), (2, "x" * 255), (2, b"\x01"), (3, ""), (3, "Device Unknown"), (3, "r" * 65),
        (3, "r\n"), (4, "a b"), (4, "1" * 65), (5, "0"), (5, "-1"), (5, "x"),
        (5, "4294967296"), (5, ""),
    ):
        try:
            said = resp(lab, "REPORT", *good[:place], value, *good[place + 1 :])
        except RespError as error:
            said = str(error)
        assert re.fullmatch("ERR .* (is malformed|is not 1 to 4294967295)", said), value
    for count in (3, 7):
        with pytest.raises(RespError, match="wrong number"):
            resp(lab, "REPORT", *(good + ["x"])[:count])
    name = f"'; DROP TABLE unmapped_device; -- {{a,b}} \\ \" $1 %n {unique()}"
    assert report(lab, name, "o'brien;--@example.org", store="corp") == "OK"
    wait_until(lambda: unmapped(lab, name, "corp"))
    assert unmapped(lab, name, "corp")[1] == "o'brien;--@example.org"


def test_F32_every_denial_is_told_to_who_watches(lab):
    cn, name = cn_of(), f"Big Box {unique()}"
    with Watcher(lab) as watcher, Watcher(lab) as other:
        before = int(time.time() * 1000) - 1
        report(lab, cn.lower(), "a@example.org", "device-unknown", "192.0.2.7", 3)
        report(lab, name, "", "rule-denies", store="corp")
        report(lab, "", "x@example.net", "peer-not-a-route", "2001:db8::1", store="")
        want = [
            f"denial 3 device-unknown device 192.0.2.7 a@example.org {cn}",
            f"denial 1 rule-denies corp - - {name}",
            "denial 1 peer-not-a-route - 2001:db8::1 x@example.net ",
        ]
        for one in (watcher, other):
            got = []
            while len(got) < 3:
                at, rest = one.message().split(" ", 1)
                assert before <= int(at) <= time.time() * 1000 + 1
                if rest in want:  # the lab is others' too
                    got.append(rest)
            assert got == want
        # Both channels on one connection, and one less.
        assert watcher.command("SUBSCRIBE", "changed") == ["subscribe", "changed", 2]
        while (message := watcher.receive())[:2] != ["message", "changed"]:
            pass
        assert " tick " in message[2]
        watcher.send("UNSUBSCRIBE", "denials")
        while (message := watcher.receive())[0] != "unsubscribe":
            pass
        assert message == ["unsubscribe", "denials", 1]
        watcher.send("UNSUBSCRIBE")
        while (message := watcher.receive())[0] != "unsubscribe":
            pass
        assert message == ["unsubscribe", "changed", 0]
    with pytest.raises(RespError, match="the channels are changed and denials"):
        resp(lab, "SUBSCRIBE", "other")


def report_many(client, numbers):
    client.send_bytes(
        b"".join(
            b"*5\r\n$6\r\nREPORT\r\n$6\r\ndevice\r\n$12\r\n%012X\r\n$13\r\na@example.org\r\n"
            b"$14\r\ndevice-unknown\r\n" % n
            for n in numbers
        )
    )
    assert [client.receive() for _ in numbers] == ["OK"] * len(numbers)


@pytest.mark.lab(mapperd_conf={"name": "m-flood", "output_max": 65536})
def test_T35_a_flood_of_unknown_cns_grows_nothing_and_says_what_it_left_out(fresh_lab):
    lab, count, size = fresh_lab, 60000, 3000
    sql(lab, "ALTER DATABASE holdline SET holdline.unmapped_max = '500'")
    pid = lab.processes["mapperd"].pid

    def resident_kb():
        with open(f"/proc/{pid}/status") as file:
            return int(next(line for line in file if line.startswith("VmRSS")).split()[1])

    with Watcher(lab, timeout_s=60) as watcher, Watcher(lab) as sleeper:
        before, left_out = None, 0
        with Resp(lab.mapperd_socket, timeout_s=60) as client:
            for first in range(0, count, size):
                report_many(client, range(first, first + size))
                before = before or resident_kb()
        assert resident_kb() < before + 40000
        figures = info(lab)
        assert int(figures["reports"]) == count and int(figures["reports_dropped"]) > count / 2
        wait_until(lambda: int(info(lab)["unmapped_written"]) > 0, timeout=60)
        wait_until(
            lambda: sql(lab, "SELECT count(*) FROM unmapped_device")[0][0] == 500, timeout=60
        )
        while left_out <= 1000:  # it says how many of each second
            _, what, *number = watcher.message().split(" ")
            left_out += int(number[0]) if what == "dropped" else 0
        # Others are answered meanwhile; the one that never reads is closed, the reader is not.
        assert resp(lab, "PEER", "device", cn_of())[2] == "unknown"
        deadline = time.monotonic() + 60
        closed = False
        while not closed and time.monotonic() < deadline:
            with Resp(lab.mapperd_socket, timeout_s=60) as client:
                report_many(client, range(1000))  # at once: two hundred a second are passed on
            while watcher.message().split(" ")[1] != "dropped":
                pass
            closed = int(info(lab)["subscribers_closed"]) > 0
        assert closed
        with pytest.raises((EOFError, ConnectionResetError)):
            while True:
                sleeper.receive()


@pytest.mark.lab(mapperd_conf={"name": "m-report-away"})
def test_F32_reports_wait_for_the_database_and_nobody_waits_for_them(fresh_lab):
    lab, cns = fresh_lab, [cn_of() for _ in range(3)]
    report(lab, cns[0])
    wait_until(lambda: unmapped(lab, cns[0]))
    with Watcher(lab) as watcher:
        lab.postgres.stop()
        wait_until(lambda: info(lab)["database"] == "0", timeout=60)
        for n in range(3):
            start = time.monotonic()
            assert report(lab, cns[n]) == "OK"
            assert time.monotonic() - start < 2
            assert watcher.message().endswith(cns[n])
        lab.postgres.start(**lab.postgres_settings)
        wait_until(lambda: unmapped(lab, cns[2]), timeout=60)
        assert unmapped(lab, cns[1])[0] == 1 and unmapped(lab, cns[0])[0] == 2


@pytest.mark.lab(mapperd_conf={"name": "m-report-locked"})
def test_F32_a_lock_on_the_table_holds_up_neither_bindings_nor_provisioning_waits_for_it(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    user = f"{unique()}@example.org"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    wait_until(lambda: user in resp(lab, "PEER", "device", cn))
    locked = cn_of()
    report(lab, locked)
    wait_until(lambda: unmapped(lab, locked))
    holder = psycopg2_connect(lab)
    with holder.cursor() as cursor:
        # A load that has given the device its mapping and is not committed.
        cursor.execute("INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", (locked, user))
        others = [cn_of() for _ in range(3)]
        for other in others:
            report(lab, locked)
            report(lab, other)
            wait_until(lambda: unmapped(lab, other), what="a locked row keeps no other away")
        cursor.execute("LOCK TABLE unmapped_device IN ACCESS EXCLUSIVE MODE")
        failed = len(lab.log_of("mapperd").read_text().split("reports-not-written")) - 1
        report(lab, cn_of())
        for n in range(20):
            assert resp(
                lab, "BIND", user, f"device:{cn}", "device", cn, "mapping", user, "", 0,
                "sip:x;transport=tls", int(time.time()) + 600, 1000, "c", n, "p/1/0/0/1", "",
            )[2] == "OK"
        wait_until(lambda: lab.log_of("mapperd").read_text().count("reports-not-written") > failed)
    holder.commit()
    holder.close()
    assert unmapped(lab, locked) is None
    report(lab, cn_of())
    wait_until(lambda: sql(lab, "SELECT count(*) FROM unmapped_device")[0][0] == 5, timeout=60)


@pytest.mark.lab(mapperd_conf={"name": "m-report-refused"})
def test_F32_what_the_database_refuses_is_dropped_and_counted(fresh_lab):
    lab = fresh_lab
    sql(lab, "REVOKE EXECUTE ON FUNCTION report_unmapped FROM holdline_mapperd")
    report(lab, cn_of())
    wait_until(lambda: info(lab)["unmapped_failed"] == "1")
    assert "event=reports-not-written" in lab.log_of("mapperd").read_text()
    sql(lab, "GRANT EXECUTE ON FUNCTION report_unmapped TO holdline_mapperd")
    cn = cn_of()
    report(lab, cn)
    wait_until(lambda: unmapped(lab, cn))


ASK_AS_ANOTHER = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for command in sys.argv[2:]:
    peer.sendall(command.encode() + b"\\r\\n")
    print(peer.recv(4096).decode().split()[0])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.lab(mapperd_conf={"name": "m-report-may", "read_uids": "65534", "register_uids": "65533"})
def test_T57_reporting_is_for_who_may_register_and_watching_for_who_may_read(fresh_lab):
    path = str(fresh_lab.mapperd_socket)
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o666)

    def ask(uid):
        return subprocess.run(
            ["/usr/bin/python3", "-c", ASK_AS_ANOTHER, path,
             "REPORT device 0004F2000001 a@example.org device-unknown", "SUBSCRIBE denials"],
            user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, text=True,
        ).stdout.split()

    assert ask(65534) == ["-DENIED", "*3"]
    assert ask(65533) == ["+OK", "-DENIED"]


@pytest.mark.lab(mapperd_conf={"name": "m-report-start"})
def test_F32_a_report_before_mapperd_may_answer_is_taken_and_harmless(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    lab.processes["mapperd"].send(signal.SIGSTOP)
    lab.processes["mapperd"].send(signal.SIGCONT)
    assert report(lab, cn) == "OK"
    wait_until(lambda: unmapped(lab, cn))
