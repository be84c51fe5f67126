# SPDX-License-Identifier: Apache-2.0
"""Registrations a second: BINDs with a thousand in flight against the same upserts by pgbench, 64 sessions, into the same
table with its triggers. And how long a BIND takes while a million rows of one COPY are applied."""
import collections
import os
import random
import re
import select
import selectors
import socket
import subprocess
import threading
import time

from tests.lab.postgres import BIN
from tests.lab.resp import Resp

from . import machine
from .refusal import quantile
from .results import Row
from .stack import Ours

NAME = "bindings"
PHONES = 100_000
CONNECTIONS, WINDOW = 4, 250  # a thousand in flight
SESSIONS = 64
RATE = 1000  # BINDs a second while the rows are applied
ROWS = 1_000_000
GOAL_MS = 50
# As for an import (provisioning.py).
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "min_wal_size": "8GB"}
PEER = "pgbench upserts"

# pgbench takes a colon for a variable, in quotes as well.
UPSERT = """\\set n random(1, {phones})
INSERT INTO binding AS b (aor, device_key, instance_key, store, cn, ground, entry, instance, contact, call_id, flow, path,
    reg_id, expires_at, q, cseq, version_ms, version_by, removed)
SELECT 'u' || n || '@{domain}', E'device\\x3a' || n, E'i\\x3a<urn\\x3auuid\\x3a' || n || E'>\\x3a1', 'device', lpad(n::text, 12, '0'), 'mapping',
    'u' || n || '@{domain}', E'<urn\\x3auuid\\x3a' || n || '>', E'sip\\x3au' || n || E'@192.0.2.1\\x3a5061;transport=tls',
    'call-' || n || '@192.0.2.1', 'proxy1/1/0/1/1', '', 1, now() + interval '1 hour', 1000, 1,
    (extract(epoch FROM clock_timestamp()) * 1000000)::int8, 7, false
FROM (VALUES (:n::int)) AS v (n)
ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET store = excluded.store, cn = excluded.cn, ground = excluded.ground,
    entry = excluded.entry, instance = excluded.instance, reg_id = excluded.reg_id, contact = excluded.contact,
    expires_at = excluded.expires_at, q = excluded.q, call_id = excluded.call_id, cseq = excluded.cseq, flow = excluded.flow,
    path = excluded.path, version_ms = excluded.version_ms, version_by = excluded.version_by, removed = false
WHERE (excluded.version_ms, excluded.version_by) > (b.version_ms, b.version_by)
RETURNING b.version_ms;
"""


def bind(n, domain):
    """One BIND as mapperd reads it."""
    aor = f"u{n}@{domain}"
    words = [
        "BIND", aor, f"device:{n}", "device", f"{n:012d}", "mapping", aor, f"<urn:uuid:{n}>", "1",
        f"sip:u{n}@192.0.2.1:5061;transport=tls", str(int(time.time()) + 3600), "1000", f"call-{n}@192.0.2.1", "1",
        "proxy1/1/0/1/1", "",
    ]  # fmt: skip
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words
    )


class Client:
    """One connection, replies in order; a reply that is not OK ends the bench."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.sent = collections.deque()
        self.rest = b""

    def send(self, commands):
        now = time.monotonic()
        self.sent.extend([now] * len(commands))
        self.socket.sendall(b"".join(commands))

    def receive(self, waits):
        data = self.rest + self.socket.recv(1 << 18)
        replies = data.split(b"$2\r\nOK\r\n")
        self.rest = replies.pop()
        if b"-" in data or not data:
            raise SystemExit(f"mapperd answered {data[:200]!r} to a BIND")
        now = time.monotonic()
        for _ in replies:
            waits.append((now - self.sent.popleft()) * 1000)
        return len(replies)


def closed_loop(path, commands, seconds):
    """A thousand in flight; → BINDs a second, waits in ms."""
    chance = random.Random(1)
    clients = [Client(path) for _ in range(CONNECTIONS)]
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(chance.choices(commands, k=WINDOW))
    waits, start = [], time.monotonic()
    while time.monotonic() - start < seconds:
        for key, _ in selector.select():
            done = key.data.receive(waits)
            if done:
                key.data.send(chance.choices(commands, k=done))
    took, count = time.monotonic() - start, len(waits)
    for client in clients:
        client.socket.close()
    return count / took, waits


class Steady(threading.Thread):
    """BINDs at a rate until it is told to stop. A wait counts from when the BIND was due, also when
    mapperd was too busy to be sent it."""

    IN_FLIGHT = 2000  # below what mapperd reads ahead of its answers

    def __init__(self, path, commands):
        super().__init__()
        self.client = Client(path)
        self.commands = commands
        self.waits = []
        self.stopping = False

    def send_due(self, start, sent, chance):
        due = int((time.monotonic() - start) * RATE)
        count = min(due - sent, self.IN_FLIGHT - len(self.client.sent))
        if count > 0:
            self.client.send(chance.choices(self.commands, k=count))
            for i in range(count):
                self.client.sent[i - count] = start + (sent + i) / RATE
        return sent + max(count, 0)

    def run(self):
        chance = random.Random(2)
        start, sent = time.monotonic(), 0
        while not self.stopping or self.client.sent:
            if not self.stopping:
                sent = self.send_due(start, sent, chance)
            if select.select([self.client.socket], [], [], 0.001)[0]:
                self.client.receive(self.waits)


def pgbench(ours, script, seconds):
    done = subprocess.run(
        [
            BIN / "pgbench", "-n", "-M", "prepared", "-c", str(SESSIONS), "-j", "1",
            "-T", str(max(1, round(seconds))), "-f", script,
        ],
        env=ours.stack.postgres.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {machine.GENERATOR}),
    )  # fmt: skip
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.M)
    if done.returncode != 0 or not found:
        raise SystemExit(f"pgbench failed:\n{done.stdout[:2000]}")
    return float(found[1])


def applied(ours, rows):
    """Waits until the feed has nothing left to read."""
    with Resp(ours.stack.mapperd_socket, timeout_s=60) as mapperd:
        while True:
            info = mapperd.info()
            if int(info["devices"]) >= rows and info["keys_waiting"] == "0":
                return
            time.sleep(0.05)


def load(ours, repetition):
    """A million phones in one statement."""
    ours.stack.postgres.sql(
        f"""INSERT INTO cn_mapping (trust_store, cn, identity)
            SELECT 'device', lpad(to_hex({repetition + 1} * {ROWS * 2} + i), 12, '0'), 'l{repetition}x' || i || '@{ours.stack.domain}'
            FROM generate_series(1, {ROWS}) AS i"""
    )


def use_wal(ours):
    """A server that has run for a while uses its WAL segments again. A new one makes each, of zeros, and
    all commits wait some 50 ms meanwhile, which is not what is measured here."""
    ours.stack.postgres.sql(
        "SELECT count(pg_logical_emit_message(false, '', repeat('x', 1000000))) FROM generate_series(1, 5000)"
    )
    ours.stack.postgres.sql("CHECKPOINT")


def measure_load(context, ours, commands):
    for repetition in range(context.repetitions):
        use_wal(ours)
        steady = Steady(ours.stack.mapperd_socket, commands)
        steady.start()
        load(ours, repetition)
        applied(ours, ROWS * (repetition + 1))
        steady.stopping = True
        steady.join()
        context.results.add(
            NAME,
            repetition,
            "while rows are applied",
            {
                "p50_ms": quantile(steady.waits, 0.5),
                "p99_ms": quantile(steady.waits, 0.99),
                "max_ms": max(steady.waits),
                "binds": len(steady.waits),
            },
        )


def run(context):
    # All shall wait for the primary: what the journal takes is answered sooner.
    ours = Ours(
        context.folder / "bindings", mapperd_conf={"bind_confirm_ms": 10000}, postgres_settings=SETTINGS
    )
    script = context.folder / "upsert.sql"
    try:
        ours.start(needed=["mapperd"])
        domain = ours.stack.domain
        script.write_text(UPSERT.format(phones=PHONES, domain=domain))
        commands = [bind(n, domain) for n in range(1, PHONES + 1)]
        closed_loop(ours.stack.mapperd_socket, commands, 1)
        pgbench(ours, script, 1)
        ours.stack.postgres.sql("TRUNCATE binding")
        for repetition in range(context.repetitions):
            rate, waits = closed_loop(ours.stack.mapperd_socket, commands, context.seconds)
            context.results.add(
                NAME,
                repetition,
                ours.name,
                {"per_s": rate, "us_each": 1e6 / rate, "p99_ms": quantile(waits, 0.99)},
            )
            ours.stack.postgres.sql("TRUNCATE binding")  # its versions are the other's
            rate = pgbench(ours, script, context.seconds)
            context.results.add(NAME, repetition, PEER, {"per_s": rate, "us_each": 1e6 / rate})
            ours.stack.postgres.sql("TRUNCATE binding")
        with Resp(ours.stack.mapperd_socket) as mapperd:
            info = mapperd.info()
        if info["bindings_journalled"] != "0" or info["bindings_unconfirmed"] != "0":
            raise SystemExit("some BINDs did not go to the primary")
        measure_load(context, ours, commands)
    finally:
        ours.stop()
    return [row_rate(context), row_wait(context)]


def row_rate(context):
    ours = context.results.all(NAME, Ours.name, "us_each")
    peer = context.results.all(NAME, PEER, "us_each")
    own = context.results.median(NAME, Ours.name, "us_each")
    theirs = context.results.median(NAME, PEER, "us_each")
    return Row(
        "BIND, 1,000 in flight, time for each",
        "µs",
        own,
        f"pgbench upsert, {SESSIONS} sessions",
        theirs,
        own / theirs,
        1.0,
        [a / b for a, b in zip(ours, peer)],
        len(ours),
    )


def row_wait(context):
    values = context.results.all(NAME, "while rows are applied", "p99_ms")
    p99 = context.results.median(NAME, "while rows are applied", "p99_ms")
    what = f"BIND, {RATE:,} a second, while 1M rows are applied, p99"
    return Row(what, "ms", p99, f"goal {GOAL_MS}", None, p99, GOAL_MS, values, len(values))
