# SPDX-License-Identifier: Apache-2.0
"""A permission that goes while its request waits for a connection to be made (T19)."""
import socket

import pytest

from tests.system.lib import ready_phone, sql, wait_until

pytestmark = pytest.mark.tsan

RULE = (
    "INSERT INTO rights_rule (position, who_kind, target_kind, target, effect)"
    " VALUES (50, 'everyone', 'domain', 'pbx.example.org', 'allow')"
)


class FullServer:
    """Takes no connection while it is full: the kernel leaves SYNs without an answer."""

    def __init__(self, address):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.listener.listen(0)
        self.fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            self.fillers.append(filler)
        self.accepted = []

    def empty(self):
        """Makes room: takes what was there, and what comes from now on is read by received()."""
        for filler in self.fillers:
            filler.close()
        self.listener.settimeout(0)

    def received(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                break
            connection.settimeout(0)
            self.accepted.append([connection, b""])
        for entry in self.accepted:
            try:
                entry[1] += entry[0].recv(65536)
            except BlockingIOError:
                pass
            except OSError:
                pass
        return b"".join(data for _, data in self.accepted)

    def close(self):
        for end in [self.listener, *self.fillers, *(c for c, _ in self.accepted)]:
            end.close()


@pytest.fixture
def full(fresh_lab):
    sql(fresh_lab, RULE)
    server = FullServer(fresh_lab.route_pbx)
    yield server
    server.close()


def held_call(lab):
    """A call that is permitted and waits for the connection to the PBX."""
    alice = ready_phone(lab)
    out = alice.invite("sip:500@pbx.example.org")
    out.expect(100)
    alice.options()
    wait_until(lambda: connecting(lab), what="the proxy connects to the PBX")
    assert not alice.seen(403) and not alice.seen(500)
    return alice, out


def connecting(lab):
    """Whether a connection to the PBX waits for its first answer."""
    port = f"{lab.route_pbx[1]:04X}"
    pid = lab.processes["proxy"].pid
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return any(row[2].endswith(":" + port) and row[3] == "02" for row in rows)


def made(full, lab):
    full.received()  # makes room by accepting
    return not connecting(lab)


def test_a_call_that_waits_for_a_connection_goes_out_when_it_is_made(fresh_lab, full):
    _, out = held_call(fresh_lab)
    full.empty()
    wait_until(lambda: b"INVITE " in full.received(), what="INVITE at the PBX")


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM rights_rule WHERE target = 'pbx.example.org'",
        "UPDATE sip_user SET state = 'disabled' WHERE identity = '{identity}'",
        "SELECT retire_device('{cn}')",
    ],
    ids=["rule", "user", "device"],
)
def test_T19_permission_that_goes_while_connecting_refuses_the_call(fresh_lab, full, change):
    alice, out = held_call(fresh_lab)
    sql(fresh_lab, change.format(identity=alice.identity, cn=alice.cn))
    if "retire" in change:
        alice.expect_closed()
    else:
        assert out.answer().status in (403, 487)
    full.empty()
    with ready_phone(fresh_lab) as bob:
        bob.options()
    wait_until(lambda: made(full, fresh_lab), what="the connection is made or given up")
    assert b"INVITE" not in full.received()
