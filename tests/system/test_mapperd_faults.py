# SPDX-License-Identifier: Apache-2.0
"""mapperd against clients that flood, stay silent or never end, and its INFO for Redis' tools."""
import re
import select
import socket
import subprocess
import threading
import time

import pytest

from tests.lab.resp import Resp
from tests.system.lib import cn_of, ready_phone, resp, sql, unique, wait_until
from tests.system.test_mapperd_bind import Device


def connect(lab):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(lab.mapperd_socket)
    return client


def info(lab):
    with Resp(lab.mapperd_socket) as client:
        return client.info()


def private_kb(process):
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"^RssAnon:\s+(\d+) kB", file.read(), re.MULTILINE)[1])


class Flood:
    """Clients that pipeline lookups as fast as they are taken, and read all that comes."""

    def __init__(self, lab, count):
        self.ending = False
        self.answers = [0] * count
        self.sockets = [connect(lab) for _ in range(count)]
        self.threads = [
            threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        request = b"*3\r\n$4\r\nPEER\r\n$6\r\ndevice\r\n$12\r\n0004F2FFFFFE\r\n" * 2000
        client = self.sockets[number]
        client.setblocking(False)
        left = request
        while not self.ending:
            readable, writable, _ = select.select([client], [client], [], 1)
            if readable:
                self.answers[number] += client.recv(1 << 20).count(b"unknown")
            if writable:
                left = left[client.send(left) :] or request

    def end(self):
        self.ending = True
        for thread in self.threads:
            thread.join()
        for client in self.sockets:
            client.close()


@pytest.mark.lab
def test_T35_clients_that_flood_do_not_starve_others_nor_the_feed(fresh_lab):
    lab = fresh_lab
    before_kb = private_kb(lab.processes["mapperd"])
    flood = Flood(lab, 4)
    try:
        wait_until(lambda: min(flood.answers) > 2000, timeout=60)
        phone = ready_phone(lab)  # provisioned, seen by the feed, let in and registered meanwhile
        cn, user = cn_of(), f"{unique()}@example.org"
        slowest = 0.0
        with Resp(lab.mapperd_socket, timeout_s=30) as client:
            sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
            wait_until(lambda: client.command("PEER", "device", cn)[2] == "known", timeout=30)
            for _ in range(50):
                begun = time.monotonic()
                assert client.command("PING") == "PONG"
                slowest = max(slowest, time.monotonic() - begun)
        # far beyond a turn of the loop, far below any deadline of the proxy
        assert slowest < 2
        assert phone.exchange(phone.make_register()).status == 200
        sql(lab, "SELECT retire_device(%s)", cn)
        wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "unknown", timeout=30)
        served = list(flood.answers)
        wait_until(lambda: all(now > then for now, then in zip(flood.answers, served)), timeout=60)
        # each has at most its own input and output waiting
        assert private_kb(lab.processes["mapperd"]) - before_kb < 64 * 1024
        assert int(info(lab)["instantaneous_ops_per_sec"]) > 100
        assert int(info(lab)["standstills"]) == 0
    finally:
        flood.end()
    wait_until(lambda: int(info(lab)["connected_clients"]) < 10)


@pytest.mark.lab(workers=1, mapperd_conf={"max_clients": 20})
def test_idle_clients_up_to_the_bound_leave_those_inside_untouched(fresh_lab):
    lab = fresh_lab
    phone = ready_phone(lab)
    watcher = Resp(lab.mapperd_socket)  # came before the crowd
    inside = int(watcher.info()["connected_clients"])
    idle = [connect(lab) for _ in range(20 - inside)]
    wait_until(lambda: int(watcher.info()["connected_clients"]) == 20)
    assert watcher.info()["maxclients"] == "20"
    for number in range(1, 4):
        late = connect(lab)
        late.settimeout(30)
        assert late.recv(100) == b"-ERR max number of clients reached\r\n"
        assert late.recv(100) == b""
        late.close()
        assert watcher.info()["rejected_connections"] == str(number)
    # who is inside is served, the proxy among them
    assert watcher.command("PEER", "device", phone.cn)[2] == "known"
    assert phone.exchange(phone.make_register()).status == 200
    # one leaves, one may come
    idle.pop().close()
    wait_until(lambda: int(watcher.info()["connected_clients"]) == 19)
    assert resp(lab, "PING") == "PONG"
    for client in idle:
        client.close()
    wait_until(lambda: int(watcher.info()["connected_clients"]) == inside)
    watcher.close()


def test_commands_that_never_end_cost_their_own_bytes_alone(lab):
    """Half a command each, byte by byte, from many clients at once."""
    command = b"*3\r\n$4\r\nPEER\r\n$6\r\ndevice\r\n$4000\r\n" + b"x" * 3999
    before_kb = private_kb(lab.processes["mapperd"])
    clients = [connect(lab) for _ in range(200)]
    for client in clients:
        client.sendall(command)
    with Resp(lab.mapperd_socket) as slow:
        for byte in b"*1\r\n$4\r\nPING\r\n":
            slow.send_bytes(bytes([byte]))
            assert resp(lab, "PING") == "PONG"
        assert slow.receive() == "PONG"
    # what one command may have, doubled when a buffer grows
    assert private_kb(lab.processes["mapperd"]) - before_kb < 200 * 24 + 8192
    for client in clients:
        client.close()


@pytest.mark.parametrize("ending", ["close", "reset", "half"])
def test_a_client_that_leaves_with_answers_under_way_takes_nothing_with_it(lab, ending):
    request = b"*2\r\n$4\r\nPING\r\n$1000\r\n" + b"x" * 1000 + b"\r\n"
    for _ in range(20):
        client = connect(lab)
        client.setblocking(False)
        try:
            while True:
                client.send(request * 20)
        except BlockingIOError:
            pass
        if ending == "half":
            client.shutdown(socket.SHUT_WR)
        if ending == "reset":
            client.shutdown(socket.SHUT_RDWR)
        client.close()
    assert resp(lab, "PING") == "PONG"


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000, "output_max": 65536})
def test_T35_answers_that_wait_behind_a_binding_are_bounded_as_those_that_are_not_read(fresh_lab):
    lab, sent = fresh_lab, 0
    device = Device(lab)
    payload = b"x" * 1000
    request = b"*2\r\n$4\r\nPING\r\n$1000\r\n" + payload + b"\r\n"
    with Resp(lab.mapperd_socket, timeout_s=30) as client:
        lab.postgres.pause()
        client.send(*device.arguments())
        while sent < 4 << 20 and select.select([], [client.socket], [], 0.5)[1]:
            client.socket.sendall(request)
            sent += len(request)
        lab.postgres.resume()
        assert sent < 1 << 20
        assert client.receive()[2] == "OK"
        for _ in range(sent // len(request)):
            assert client.receive() == payload.decode()


# ---- INFO


def test_redis_cli_stat_reads_info(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "known")
    with subprocess.Popen(
        # It writes to a pipe by whole blocks: often, so that one is soon full.
        ["redis-cli", "-s", lab.mapperd_socket, "--stat", "-i", "0.02"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as stat:
        try:
            rows = []
            while len(rows) < 2:
                line = stat.stdout.readline()
                assert line, "redis-cli ended"
                if re.match(r"\d", line):
                    rows.append(line)
        finally:
            stat.kill()
    count = int(re.search(r"db0:keys=(\d+)", resp(lab, "INFO", "keyspace"))[1])
    for row in rows:
        keys, memory, clients, blocked, requests = row.split()[:5]
        assert int(keys) > 0 and int(keys) <= count + 1000
        assert re.fullmatch(r"[0-9.]+[KMG]", memory) and float(memory[:-1]) > 0
        assert int(clients) >= 2 and blocked == "0" and int(requests) > 0
    first, second = (int(re.search(r"(\d+) \(\+", row)[1]) for row in rows)
    assert second > first  # its own INFO at least


def test_info_has_the_fields_of_redis_that_are_true_here_and_no_others(lab):
    found = info(lab)
    for name in (
        "process_id uptime_in_seconds uptime_in_days connected_clients maxclients blocked_clients"
        " used_memory used_memory_rss maxmemory total_connections_received rejected_connections"
        " total_commands_processed instantaneous_ops_per_sec keyspace_hits keyspace_misses loading"
    ).split():
        assert re.fullmatch(r"\d+", found[name]), name
    assert int(found["used_memory"]) <= int(found["used_memory_rss"])
    assert int(found["process_id"]) == lab.processes["mapperd"].pid
    assert found["loading"] == "0" and found["blocked_clients"] == "0"
    assert re.fullmatch(r"keys=\d+,expires=\d+,avg_ttl=0", found["db0"])
    # it is no Redis, and is not to be taken for one
    assert not {"redis_version", "redis_mode", "role"} & set(found)
    sections = re.findall(r"^# (\w+)\r?$", resp(lab, "INFO"), re.MULTILINE)
    assert len(sections) == len(set(sections))
    for section in sections:
        only = resp(lab, "INFO", section.upper())
        assert re.findall(r"^# (\w+)\r?$", only, re.MULTILINE) == [section]
    names = re.findall(r"^([^#:\s]+):", resp(lab, "INFO"), re.MULTILINE)
    assert len(names) == len(set(names))


@pytest.mark.lab
def test_keys_of_info_follow_what_is_there(fresh_lab):
    def keys():
        return int(re.search(r"db0:keys=(\d+)", resp(fresh_lab, "INFO", "keyspace"))[1])

    before = keys()
    cn, user = cn_of(), f"{unique()}@example.org"
    sql(fresh_lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    wait_until(lambda: keys() == before + 2)  # a device and its user
    ready_phone(fresh_lab)
    wait_until(lambda: "expires=1," in resp(fresh_lab, "INFO", "keyspace"))
