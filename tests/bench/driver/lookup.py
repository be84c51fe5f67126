# SPDX-License-Identifier: Apache-2.0
"""CPU time of a PEER lookup in mapperd against a GET of redis-server.

The same redis-benchmark asks both, over unix sockets, one million keys each, sixteen requests
outstanding on each of fifty connections. Each server has the processor to itself while it is
asked."""
from . import machine
from .redis import Redis, benchmark
from .results import Row
from .stack import Ours

NAME = "lookup"
GOAL = 1.0
KEYS = 1_000_000
FIGURE = "cpu_us_per_request"
RATE = 500_000  # requests a second of measuring, roughly


def fill(ours):
    """A million phones; the feed is off meanwhile, so that they come as mapperd's first fill."""
    stack = ours.stack
    stack.stop_program("proxy")
    stack.stop_program("mapperd")
    for path in stack.path("lmdb").glob("*"):
        if path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink()
    stack.postgres.sql(
        f"""SET session_replication_role = replica;
            INSERT INTO cn_mapping (trust_store, cn, identity)
            SELECT 'device', lpad(i::text, 12, '0'), 'u' || i || '@{stack.domain}'
            FROM generate_series(0, {KEYS - 1}) AS i;
            ANALYZE cn_mapping"""
    )
    stack.start_program("mapperd")
    ours.pin()


def measure(pid, socket, command, seconds):
    requests = int(RATE * seconds)
    before = machine.cpu_seconds([pid])
    rate = benchmark(socket, requests, KEYS, command)
    used = machine.cpu_seconds([pid]) - before
    return {
        FIGURE: used / requests * 1e6,
        "requests_per_s": rate,
        "memory_kb": machine.memory_kb(pid),
    }


def run(context):
    ours = Ours(context.folder / "lookup")
    redis = Redis()
    try:
        ours.start(needed=["mapperd"])
        fill(ours)
        redis.fill(pairs())
        peer = ["PEER", "device", "__rand_int__"]
        subjects = (
            (ours.name, ours.pid("mapperd"), ours.stack.mapperd_socket, peer),
            (redis.name, redis.pid, redis.socket, ["GET", "mapping:__rand_int__"]),
        )
        for name, pid, socket, command in subjects:
            measure(pid, socket, command, 0.2)
        for repetition in range(context.repetitions):
            for name, pid, socket, command in subjects:
                figures = measure(pid, socket, command, context.seconds)
                context.results.add(NAME, repetition, name, figures)
    finally:
        redis.stop()
        ours.stop()
    return [row(context)]


def pairs():
    for i in range(KEYS):
        yield b"mapping:%012d" % i, b"u%d@example.org" % i


def row(context):
    results = context.results
    own = results.all(NAME, Ours.name, FIGURE)
    peer = results.all(NAME, Redis.name, FIGURE)
    ours_median = results.median(NAME, Ours.name, FIGURE)
    peer_median = results.median(NAME, Redis.name, FIGURE)
    return Row(
        "PEER, 1M keys, -P 16",
        "µs CPU",
        ours_median,
        "redis-server GET",
        peer_median,
        ours_median / peer_median,
        GOAL,
        [a / b for a, b in zip(own, peer)],
        len(own),
    )
