# SPDX-License-Identifier: Apache-2.0
"""A permission that goes while its request waits for a connection to be made (T19)."""
import contextlib
import os
import socket

import pytest

from tests.system.lib import Pbx, provision, ready_phone, resp, sql, unique, wait_until

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
    """Whether a connection of the proxy to the PBX waits for its first answer."""
    port = f"{lab.route_pbx[1]:04X}"
    pid = lab.processes["proxy"].pid
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    waiting = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(":" + port) and row[3] == "02"}
    return not waiting.isdisjoint(links_in(f"/proc/{pid}/fd"))


def links_in(folder):
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(f"{folder}/{name}")


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


def connections(lab):
    return int(resp(lab, "INFO", program="proxy").split("\nconnections:")[1].split("\r\n")[0])


def unacknowledged(lab, pbx):
    """A call that the PBX has answered, and whose connection is gone then."""
    alice = ready_phone(lab)
    out = alice.invite(pbx.aor)
    into = pbx.expect_call()
    into.reply(200)
    assert out.expect(200)
    before = connections(lab)
    into.invite.stream.close()
    wait_until(lambda: connections(lab) == before - 1, what="the proxy notices the end")
    return alice, out


def acknowledge(call):
    return call.agent.send(call.make_request("ACK", cseq=call.invite.cseq))


@pytest.fixture
def pbx(fresh_lab):
    sql(fresh_lab, RULE)
    with Pbx(fresh_lab) as pbx:
        yield pbx


def test_an_ack_opens_the_connection_to_the_next_hop_and_is_sent_on_it(fresh_lab, pbx):
    alice, out = unacknowledged(fresh_lab, pbx)
    sent = [acknowledge(out) for _ in range(3)]
    got = [pbx.expect("ACK", call_id=out.call_id) for _ in sent]
    assert all(ack.cseq == out.invite.cseq and ack.stream is pbx.stream for ack in got)
    assert len({ack.branch for ack in got}) == 3 and len(pbx.streams) == 2
    bye = out.bye()
    pbx.reply(pbx.expect("BYE"), 200)
    assert alice.response(bye).status == 200


def kept(lab):
    return int(resp(lab, "INFO", program="proxy").split("\nparked:")[1].split("\r\n")[0])


@pytest.mark.lab(proxy_conf={"park_per_device": 2, "t1": 1000})
def test_T37_acks_that_wait_for_a_connection_are_bounded(fresh_lab, pbx):
    alice, out = unacknowledged(fresh_lab, pbx)
    pbx.close()
    server = FullServer(fresh_lab.route_pbx)
    try:
        for _ in range(10):
            acknowledge(out)
        wait_until(lambda: kept(fresh_lab) == 4, what="twice the bound, as of all that ends calls")
        assert alice.options().status in (200, 500)
        assert kept(fresh_lab) == 4
        server.empty()
        wait_until(lambda: server.received().count(b"ACK sip:") == 4 and kept(fresh_lab) == 0, what="these are sent")
        assert alice.options().status == 200
    finally:
        server.close()


@pytest.mark.parametrize("change", ["disabled", "gone", "closed"])
def test_T19_an_ack_that_waits_for_a_connection_goes_with_who_sent_it(fresh_lab, pbx, change):
    lab = fresh_lab
    alice, out = unacknowledged(lab, pbx)
    other = f"{unique()}@{lab.domain}"  # without it nothing is left to a disabled user's phone
    provision(lab, alice.cn, other)
    wait_until(lambda: alice.options(from_=f"<sip:{other}>").status == 200, what="the mapping")
    pbx.close()
    server = FullServer(lab.route_pbx)
    try:
        acknowledge(out)
        wait_until(lambda: kept(lab) == 1, what="it waits")
        if change == "closed":
            alice.close()
        elif change == "disabled":
            sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", alice.identity)
            wait_until(lambda: alice.options().status == 403, what="the user is disabled")
        else:
            sql(lab, "SELECT retire_device(%s)", alice.cn)
            alice.expect_closed()
        if change != "disabled":
            wait_until(lambda: kept(lab) == 0, what="it is dropped")
        server.empty()
        wait_until(lambda: made(server, lab) and kept(lab) == 0, what="the connection is made or given up")
        assert b"ACK" not in server.received()
    finally:
        server.close()


def test_an_ack_is_dropped_when_the_next_hop_can_not_be_reached(fresh_lab, pbx):
    alice, out = unacknowledged(fresh_lab, pbx)
    pbx.close()
    acknowledge(out)
    wait_until(lambda: "event=connect-failed" in fresh_lab.log_of("proxy").read_text(), what="nobody is there")
    assert alice.options().status == 200 and kept(fresh_lab) == 0
