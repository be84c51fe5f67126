# SPDX-License-Identifier: Apache-2.0
"""Ten million devices and ten million users: first fill, restart, size, lookups, a rule for everyone.

HOLDLINE_BENCH_FLEET says another number of devices. The fill is set against COPY … TO STDOUT of the
same rows to /dev/null, in turns; lookups against the same program with ten thousand devices."""
import os
import statistics
import subprocess
import time

import psycopg2

from tests.lab.resp import Resp

from . import lookup, machine
from .results import Row
from .stack import Ours

NAME = "fleet"
DEVICES = int(os.environ.get("HOLDLINE_BENCH_FLEET", "10000000"))
FEW = 10_000
DEPTH = 16
RULES = 20


def copy_seconds(stack):
    """Everything that a fill reads, as fast as the server gives it to one client."""
    begin = time.monotonic()
    for what in ("(SELECT trust_store, cn, identity FROM cn_mapping)", "(SELECT identity, state FROM sip_user)"):
        subprocess.run(
            ["psql", "-XqAt", "-c", f"COPY {what} TO STDOUT"],
            env={**os.environ, **stack.postgres.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {machine.GENERATOR}),
        )
    return time.monotonic() - begin


def anonymous_kb(pid):
    """Memory that is the process's own: neither the map nor a program's text."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Anonymous:"):
                return int(line.split()[1])
    raise SystemExit("smaps_rollup has no Anonymous")


def rule_ms(stack, connection, mapperd, number):
    """A rule for everyone: from COMMIT sent to the first RIGHTS that shows it."""
    methods = f"BENCH{number}"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rights_rule (position, who_kind, methods, target_kind, effect)"
            " VALUES (1, 'everyone', ARRAY[%s], 'any', 'allow') RETURNING id",
            (methods,),
        )
    begin = time.monotonic()
    connection.commit()
    while not any(methods in str(word) for word in mapperd.command("RIGHTS", f"u1@{stack.domain}")):
        pass
    return (time.monotonic() - begin) * 1000


def run(context):
    results = context.results
    ours, few = Ours(context.folder / "fleet", large=True), Ours(context.folder / "few")
    try:
        ours.start(needed=["mapperd"])
        ours.fill(DEVICES, users=True)
        for repetition in range(context.repetitions):
            results.add(NAME, repetition, "PostgreSQL", {"copy_s": copy_seconds(ours.stack)})
            ours.empty()
            results.add(NAME, repetition, ours.name, {"fill_s": ours.start_mapperd()})
        info = ours.info()
        results.add(NAME, 0, ours.name, {
            "bytes_per_mapping": int(info["map_used_bytes"]) / DEVICES,
            "anonymous_mb": anonymous_kb(ours.pid("mapperd")) / 1024,
        })
        for repetition in range(context.repetitions):
            ours.stack.stop_program("mapperd")
            results.add(NAME, repetition, ours.name, {"restart_s": ours.start_mapperd()})
        few.start(needed=["mapperd"])
        few.fill(FEW)
        subjects = (("10M devices", ours, DEVICES), ("10k devices", few, FEW))
        for name, stack, keys in subjects:
            lookup.measure(stack.pid("mapperd"), stack.stack.mapperd_socket, lookup.PEER, DEPTH, 2, keys)
        for repetition in range(context.repetitions):
            for name, stack, keys in subjects:
                figures = lookup.measure(
                    stack.pid("mapperd"), stack.stack.mapperd_socket, lookup.PEER, DEPTH, context.seconds, keys
                )
                results.add(NAME, repetition, name, figures)
        connection = psycopg2.connect(ours.stack.postgres.conninfo())
        with Resp(ours.stack.mapperd_socket, timeout_s=30) as mapperd:
            for number in range(RULES):
                took = rule_ms(ours.stack, connection, mapperd, number)
                results.add(NAME, number, ours.name, {"rule_ms": took})
        connection.close()
    finally:
        few.stop()
        ours.stop()
    return rows(results)


def rows(results):
    figure = lookup.figure(DEPTH)
    many, few = results.all(NAME, "10M devices", figure), results.all(NAME, "10k devices", figure)
    fills, copies = results.all(NAME, Ours.name, "fill_s"), results.all(NAME, "PostgreSQL", "copy_s")
    size = f"{DEVICES / 1e6:g}M"

    def plain(what, unit, name, goal, choose=statistics.median):
        values = results.all(NAME, Ours.name, name)
        return Row(what, unit, choose(values), f"goal {goal:g}", None, choose(values), goal, values, len(values))

    return [
        Row(f"PEER, {size} devices, -P {DEPTH}", "µs CPU", statistics.median(many), "own, 10k devices",
            statistics.median(few), statistics.median(many) / statistics.median(few), 1.6,
            [a / b for a, b in zip(many, few)], len(many)),
        Row(f"first fill, {size} devices and users", "s", statistics.median(fills), "COPY TO STDOUT",
            statistics.median(copies), statistics.median(fills) / statistics.median(copies), 2,
            [a / b for a, b in zip(fills, copies)], len(fills)),
        plain(f"restart with {size} devices to the first answer", "s", "restart_s", 0.3),
        plain("LMDB, users included, a mapping", "bytes", "bytes_per_mapping", 150),
        plain(f"mapperd's own memory at {size} devices", "MB", "anonymous_mb", 32),
        plain(f"a rule for everyone, {size} users, COMMIT to answer, p50", "ms", "rule_ms", 20),
    ]
