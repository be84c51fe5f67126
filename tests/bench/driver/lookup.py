# SPDX-License-Identifier: Apache-2.0
"""CPU time of a PEER lookup in mapperd against a GET of redis-server.

The same redis-benchmark asks both, over unix sockets, one million keys each, with one, sixteen and
sixty-four requests outstanding on each of fifty connections. Each server has the processor to
itself while it is asked."""
from . import machine
from .redis import Redis, benchmark
from .results import Row
from .stack import Ours

NAME = "lookup"
GOALS = {1: 1.0, 16: 0.8, 64: 0.67}  # by requests outstanding on a connection
KEYS = 1_000_000
RATE = {1: 60_000, 16: 500_000, 64: 600_000}  # requests a second of measuring, roughly
PEER = ["PEER", "device", "__rand_int__"]
GET = ["GET", "mapping:__rand_int__"]


def figure(depth):
    return f"cpu_us_per_request_p{depth}"


def measure(pid, socket, command, depth, seconds, keys=KEYS):
    requests = int(RATE[depth] * seconds)
    before = machine.cpu_seconds([pid])
    rate = benchmark(socket, requests, keys, command, depth)
    used = machine.cpu_seconds([pid]) - before
    return {figure(depth): used / requests * 1e6, f"requests_per_s_p{depth}": rate}


def run(context):
    ours = Ours(context.folder / "lookup")
    redis = Redis()
    try:
        ours.start(needed=["mapperd"])
        ours.fill(KEYS)
        redis.fill(pairs())
        subjects = (
            (ours.name, ours.pid("mapperd"), ours.stack.mapperd_socket, PEER),
            (redis.name, redis.pid, redis.socket, GET),
        )
        for name, pid, socket, command in subjects:
            measure(pid, socket, command, 16, 0.5)
        for repetition in range(context.repetitions):
            for depth in GOALS:
                for name, pid, socket, command in subjects:
                    figures = measure(pid, socket, command, depth, context.seconds)
                    context.results.add(NAME, repetition, name, figures)
    finally:
        redis.stop()
        ours.stop()
    return [row(context, depth, goal) for depth, goal in GOALS.items()]


def pairs():
    for i in range(KEYS):
        yield b"mapping:%012d" % i, b"u%d@example.org" % i


def row(context, depth, goal):
    results = context.results
    own = results.all(NAME, Ours.name, figure(depth))
    peer = results.all(NAME, Redis.name, figure(depth))
    ours_median = results.median(NAME, Ours.name, figure(depth))
    peer_median = results.median(NAME, Redis.name, figure(depth))
    return Row(
        f"PEER, 1M devices, -P {depth}",
        "µs CPU",
        ours_median,
        "redis-server GET",
        peer_median,
        ours_median / peer_median,
        goal,
        [a / b for a, b in zip(own, peer)],
        len(own),
    )
