# SPDX-License-Identifier: Apache-2.0
"""SUBSCRIBE changed: what is published, in which order, and what a cache may conclude from it."""
import select
import signal
import socket
import threading
import time

import pytest

from tests.lab.resp import Resp
from tests.system.lib import cn_of, resp, sql, unique, wait_until


class Subscriber(Resp):
    """Keeps what came: lists of (epoch, serial, rest of the payload)."""

    def __init__(self, lab):
        super().__init__(lab.mapperd_socket)
        assert self.command("SUBSCRIBE", "changed") == ["subscribe", "changed", 1]

    def message(self):
        kind, channel, payload = self.receive()
        assert (kind, channel) == ("message", "changed")
        epoch, serial, rest = payload.split(" ", 2)
        return int(epoch), int(serial), rest

    def change(self):
        """The next message that is no tick."""
        while True:
            message = self.message()
            if not message[2].startswith("tick "):
                return message

    def tick(self):
        while True:
            message = self.message()
            if message[2].startswith("tick "):
                return message

    def changes_until(self, wanted):
        found = []
        while not found or found[-1][2] != wanted:
            found.append(self.change())
        return found


def insert(lab, cn, identity):
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, identity)


def test_a_subscription_is_ticked_at_once_and_then_twice_a_second(lab):
    start = time.monotonic()
    with Subscriber(lab) as subscriber:
        epoch, serial, rest = subscriber.message()
        assert rest.startswith("tick ") and time.monotonic() - start < 0.4
        assert epoch > 0 and serial > 0
        times = []
        for _ in range(4):
            assert subscriber.tick()[0] == epoch
            times.append(time.monotonic())
        assert 1.2 < times[-1] - times[0] < 3


def test_each_kind_of_change_is_named_with_rising_serials(fresh_lab):
    lab, user, cn = fresh_lab, f"{unique()}@example.org", cn_of()
    steps = [
        (
            f"INSERT INTO cn_mapping (cn, identity) VALUES ('{cn}', '{user}')",
            [f"peer device {cn}", f"user {user}"],
        ),
        (
            "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', 'Big Box 7', 'example.net')",
            ["peer corp Big Box 7"],
        ),
        (f"UPDATE sip_user SET state = 'disabled' WHERE identity = '{user}'", [f"user {user}"]),
        ("INSERT INTO user_group (name) VALUES ('g1')", ["group g1"]),
        (
            f"INSERT INTO user_group_member (group_name, identity) VALUES ('g1', '{user}')",
            [f"user {user}"],
        ),
        (
            "INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', 'g1', 'deny')",
            ["group g1"],
        ),
        ("INSERT INTO rights_rule (effect) VALUES ('deny')", ["rules"]),
        ("INSERT INTO domain (name) VALUES ('example.com')", ["domain example.com"]),
        ("UPDATE trust_store SET state = 'disabled' WHERE name = 'corp'", ["store corp"]),
    ]
    with Subscriber(lab) as subscriber:
        epoch, serial, _ = subscriber.message()
        for statement, wanted in steps:
            sql(lab, statement)
            left = set(wanted)
            while left:
                message = subscriber.change()
                assert message[0] == epoch and message[1] > serial
                serial = message[1]
                left.discard(message[2])
        assert subscriber.tick()[1] == serial


def test_a_binding_is_never_published(lab):
    user, cn = f"{unique()}@example.org", cn_of()
    insert(lab, cn, user)
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "known")
    with Subscriber(lab) as subscriber:
        resp(
            lab,
            "BIND",
            user,
            f"device:{cn}",
            "device",
            cn,
            "mapping",
            user,
            "",
            "0",
            "sip:a@192.0.2.1",
            str(int(time.time()) + 60),
            "1000",
            "c",
            "1",
            "p/1/0/1/1",
            "",
        )
        marker = cn_of()
        insert(lab, marker, user)
        found = [message[2] for message in subscriber.changes_until(f"peer device {marker}")]
        assert not any(user in text and "user" not in text for text in found)


@pytest.mark.tsan
def test_T53_an_answer_after_a_message_is_never_older_than_it(fresh_lab):
    """The worker's connection: commands and messages in one order. Each answer's serial is at least that of every message before it,
    and what the message named has its new value."""
    lab, stop, cns = fresh_lab, threading.Event(), [cn_of() for _ in range(20)]

    def change():
        present = set()
        while not stop.is_set():
            for cn in cns:
                if cn in present:
                    sql(lab, "DELETE FROM cn_mapping WHERE cn = %s", cn)
                    present.discard(cn)
                else:
                    insert(lab, cn, f"u{len(present)}@example.org")
                    present.add(cn)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        with Subscriber(lab) as client:
            newest, asked, answers, end = 0, 0, 0, time.monotonic() + 4
            client.send("PEER", "device", cns[0])
            while time.monotonic() < end:
                item = client.receive()
                if item[0] == "message":
                    serial = int(item[2].split()[1])
                    assert serial >= newest
                    newest = serial
                else:
                    assert item[1] >= newest
                    asked, answers = asked + 1, answers + 1
                    client.send("PEER", "device", cns[asked % len(cns)])
            assert answers > 100 and newest > 10
    finally:
        stop.set()
        changer.join()


def test_a_fill_is_a_new_epoch_a_star_and_a_tick_at_once(fresh_lab):
    lab = fresh_lab
    with Subscriber(lab) as subscriber:
        epoch = subscriber.tick()[0]
        sql(lab, "TRUNCATE user_group CASCADE")
        message = subscriber.change()
        start = time.monotonic()
        assert message[2] == "*" and message[0] != epoch
        tick = subscriber.tick()
        assert tick[:2] == message[:2] and time.monotonic() - start < 0.4


def test_commands_go_on_beside_a_subscription_and_unsubscribe_ends_it(lab):
    with Subscriber(lab) as client:
        client.tick()
        client.send("PING", "here")
        while (item := client.receive()) != "here":
            assert item[0] == "message"
        client.send("UNSUBSCRIBE", "changed")
        while (item := client.receive())[0] != "unsubscribe":
            assert item[0] == "message"
        assert item == ["unsubscribe", "changed", 0]
        time.sleep(0.7)
        assert client.command("PING") == "PONG"


def test_no_tick_keeps_an_old_yes_alive_across_a_standstill(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    insert(lab, cn, f"{unique()}@example.org")
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "known")
    process = lab.processes["mapperd"]
    with Subscriber(lab) as subscriber:
        before = subscriber.tick()
        process.send(signal.SIGSTOP)
        time.sleep(0.6)
        sql(lab, "SELECT retire_device(%s)", cn)
        process.send(signal.SIGCONT)
        while True:
            message = subscriber.message()
            if message[2] == f"peer device {cn}":
                break
            # Ticks that were under way when it stopped; none of later.
            assert message[1] <= before[1] and message[2].startswith("tick ")
            assert int(message[2].split()[1]) < 1700
        assert message[1] > before[1]


def test_no_tick_comes_while_the_database_is_asked_first(fresh_lab):
    """It hangs, so that mapperd waits for it after the standstill as long as it ever does, a second."""
    process = fresh_lab.processes["mapperd"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(30)
        client.connect(fresh_lab.mapperd_socket)
        client.sendall(b"SUBSCRIBE changed\r\n")
        got = b""
        while b" tick " not in got:
            got += client.recv(4096)
        fresh_lab.postgres.pause()
        process.send(signal.SIGSTOP)
        time.sleep(0.4)
        while select.select([client], [], [], 0)[0]:
            client.recv(4096)  # of before
        going_on = time.monotonic()
        process.send(signal.SIGCONT)
        assert b" tick " in client.recv(4096)
        assert time.monotonic() - going_on > 0.99
        fresh_lab.postgres.resume()


@pytest.mark.lab(mapperd_conf={"staleness_bound_ms": 1500})
def test_beyond_the_staleness_bound_lookups_are_refused(fresh_lab):
    from tests.lab.resp import RespError

    lab, cn = fresh_lab, cn_of()
    insert(lab, cn, f"{unique()}@example.org")

    def known():
        try:
            return resp(lab, "PEER", "device", cn)[2] == "known"
        except RespError as error:
            assert str(error).startswith("STALE")
            return False

    wait_until(known)
    lab.postgres.stop()
    wait_until(lambda: not known())
    assert resp(lab, "PING") == "PONG"
    lab.postgres.start()
    wait_until(known)
