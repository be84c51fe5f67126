# SPDX-License-Identifier: Apache-2.0
"""What changes cost: from a COMMIT to the answer beside a bare LISTEN, lookups while five thousand
rows a second change, and one row behind a million.

How many lookups a core could answer meanwhile is taken from CPU time: that of the loop's thread a
lookup, and the part of the core that the feed's thread leaves. The rate itself would be that of
PostgreSQL and the generator, which share the other processor."""
import io
import itertools
import os
import select
import statistics
import subprocess
import threading
import time

import psycopg2

from tests.lab.resp import Resp

from . import machine
from .lookup import PEER
from .redis import benchmark
from .refusal import quantile
from .results import Row
from .stack import Ours

NAME = "change"
DEVICES = 1_000_000
RATE = 5000  # rows a second
BATCH = 100  # of one statement
DEPTH = 16
# Rows of one COPY; fewer for a run by hand.
COPIED = int(os.environ.get("HOLDLINE_BENCH_COPIED", "1000000"))


def next_identity(number):
    return f"n{number}@example.org"


def set_identity(connection, cn, number):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cn_mapping SET identity = %s WHERE trust_store = 'device' AND cn = %s",
            (next_identity(number), cn),
        )


def answer_ms(connection, mapperd, cn, number, told=None):
    """From COMMIT sent to the first PEER that shows it. `told` is a subscriber: the client then waits
    for the change's name, as a proxy does and as LISTEN does, and asks once. One that asks all the
    time would take the processor that PostgreSQL is on."""
    set_identity(connection, cn, number)
    wanted = next_identity(number)
    begin = time.monotonic()
    connection.commit()
    while told is not None and f" peer device {cn}" not in str(told.receive()[-1]):
        pass
    while wanted not in mapperd.command("PEER", "device", cn):
        time.sleep(0.0005)
    return (time.monotonic() - begin) * 1000


def notice_ms(connection, listener, number):
    """The same commit with a NOTIFY of its own to a client that only listens."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE bare SET n = %s; NOTIFY bare", (number,))
    begin = time.monotonic()
    connection.commit()
    while True:
        select.select([listener], [], [], 1)
        listener.poll()
        if listener.notifies:
            listener.notifies.clear()
            return (time.monotonic() - begin) * 1000


def thread_seconds(pid):
    """CPU seconds of the loop's thread, and of all others."""
    loop = others = 0
    for task in machine.tasks(pid):
        with open(f"/proc/{pid}/task/{task}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        if task == pid:
            loop += ticks
        else:
            others += ticks
    return loop / machine.TICKS, others / machine.TICKS


class Changer(threading.Thread):
    """Changes RATE rows a second, BATCH a commit, until it is stopped."""

    def __init__(self, conninfo, devices=DEVICES):
        super().__init__(daemon=True)
        self.devices = devices
        self.connection = psycopg2.connect(conninfo)
        self.ending, self.rows = threading.Event(), 0

    def run(self):
        begin = time.monotonic()
        while not self.ending.is_set():
            first = self.rows % (self.devices - BATCH)
            with self.connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE cn_mapping SET identity = 'r' || %s || '@example.net' WHERE trust_store = 'device'"
                    " AND cn BETWEEN lpad(%s::text, 12, '0') AND lpad(%s::text, 12, '0')",
                    (self.rows, first, first + BATCH - 1),
                )
            self.connection.commit()
            self.rows += BATCH
            wait = begin + self.rows / RATE - time.monotonic()
            if wait > 0:
                self.ending.wait(wait)

    def end(self):
        self.ending.set()
        self.join()
        self.connection.close()

    def last(self):
        """Device and identity of the last row that was changed."""
        number = self.rows - BATCH
        return f"{number % (self.devices - BATCH) + BATCH - 1:012d}", f"r{number}@example.net"


def before_all_others():
    """The client shares its processor with PostgreSQL: what it measured would be how long it waited for
    that. Without the right to it, it does."""
    os.sched_setaffinity(0, {machine.GENERATOR})
    priority = os.sched_getparam(0).sched_priority
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority + 1))
    except PermissionError:
        pass


def p99_us(socket):
    """Of one client that asks one thing after the other."""
    done = subprocess.run(
        ["redis-benchmark", "-s", socket, "-c", "1", "-n", "40000", "-r", str(DEVICES), "--csv", *PEER],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300,
        preexec_fn=before_all_others,
    )
    return float(done.stdout.strip().splitlines()[-1].split('","')[6].strip('"')) * 1000


def measure(ours, context):
    pid, socket = ours.pid("mapperd"), ours.stack.mapperd_socket
    requests = int(300_000 * context.seconds)
    began, before = time.monotonic(), thread_seconds(pid)
    benchmark(socket, requests, DEVICES, PEER, DEPTH)
    after, took = thread_seconds(pid), time.monotonic() - began
    loop, feed = after[0] - before[0], after[1] - before[1]
    return {
        "loop_us": loop / requests * 1e6,
        "feed_part": feed / took,
        "possible_per_s": (1 - feed / took) * requests / loop,
        "p99_us": p99_us(socket),
    }


class Lines(io.RawIOBase):
    """A list of phones as COPY reads it."""

    def __init__(self, first, count):
        super().__init__()
        self.numbers, self.left = iter(range(first, first + count)), b""

    def readable(self):
        return True

    def read(self, size=-1):
        while len(self.left) < max(size, 1):
            more = b"".join(b"%012d\tm%d@example.net\n" % (i, i) for i in itertools.islice(self.numbers, 2000))
            if not more:
                break
            self.left += more
        size = len(self.left) if size < 0 else size
        taken, self.left = self.left[:size], self.left[size:]
        return taken


def behind_a_million(ours, connection, mapperd, repetition):
    """Milliseconds from the COMMIT of one row to its answer, while a COPY of a million rows, committed
    just before it, is being applied."""
    first = (repetition + 1) * DEVICES
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY cn_mapping (cn, identity) FROM STDIN", Lines(first, COPIED))
    connection.commit()
    took = []
    last = f"{first + COPIED - 1:012d}"
    number = 10_000_000 * (repetition + 1)
    while mapperd.command("PEER", "device", last)[2] != "known":
        number += 1
        took.append(answer_ms(connection, mapperd, "000000000007", number))
    if len(took) < 3:
        raise SystemExit("a million rows were applied before anything could be asked")
    return max(took)


def run(context):
    results = context.results
    ours = Ours(context.folder / "change")
    os.sched_setaffinity(0, {machine.GENERATOR})
    try:
        ours.start(needed=["mapperd"])
        ours.fill(DEVICES)
        postgres = ours.stack.postgres
        postgres.sql("CREATE TABLE bare (n bigint); INSERT INTO bare VALUES (0)")
        connection = psycopg2.connect(postgres.conninfo())
        listener = psycopg2.connect(postgres.conninfo())
        listener.autocommit = True
        listener.cursor().execute("LISTEN bare")
        with Resp(ours.stack.mapperd_socket, timeout_s=120) as mapperd:
            samples = max(100, int(100 * context.seconds))
            for repetition in range(context.repetitions):
                with Resp(ours.stack.mapperd_socket, timeout_s=120) as told:
                    told.command("SUBSCRIBE", "changed")
                    own = [answer_ms(connection, mapperd, "000000000007", repetition * samples + i, told)
                           for i in range(samples)]
                bare = [notice_ms(connection, listener, i) for i in range(samples)]
                for name, values in ((ours.name, own), ("LISTEN", bare)):
                    results.add(NAME, repetition, name,
                                {"p50_ms": statistics.median(values), "p99_ms": quantile(values, 0.99)})
            for repetition in range(context.repetitions):
                results.add(NAME, repetition, "rest", measure(ours, context))
                changer = Changer(postgres.conninfo())
                changer.start()
                results.add(NAME, repetition, "changing", measure(ours, context))
                changer.end()
            for repetition in range(context.repetitions):
                took = behind_a_million(ours, connection, mapperd, repetition)
                results.add(NAME, repetition, ours.name, {"behind_a_million_ms": took})
        longest = int(ours.info()["longest_write_us"]) / 1000
        results.add(NAME, 0, ours.name, {"longest_write_ms": longest})
        connection.close()
        listener.close()
    finally:
        os.sched_setaffinity(0, context.processors)
        ours.stop()
    return rows(results)


def rows(results):
    def compare(what, unit, ours, peer, figure, goal, invert=False):
        own, other = results.all(NAME, ours, figure), results.all(NAME, peer, figure)
        ratios = [b / a if invert else a / b for a, b in zip(own, other)]
        own, other = statistics.median(own), statistics.median(other)
        return Row(what, unit, own, peer, other, other / own if invert else own / other, goal, ratios, len(ratios))

    def plain(what, unit, figure, goal):
        values = results.all(NAME, Ours.name, figure)
        middle = statistics.median(values)
        return Row(what, unit, middle, f"goal {goal:g}", None, middle, goal, values, len(values))

    return [
        compare("COMMIT sent to the new answer, p50", "ms", Ours.name, "LISTEN", "p50_ms", 3),
        plain("COMMIT sent to the new answer, p99", "ms", "p99_ms", 10),
        compare("lookups a core can answer while 5,000 rows/s change, at rest to then", "1/s", "changing", "rest",
                "possible_per_s", 1.25, invert=True),
        compare("p99 of a lookup while 5,000 rows/s change", "µs", "changing", "rest", "p99_us", 2),
        plain("one row's COMMIT to its answer while a million are applied, longest", "ms", "behind_a_million_ms", 1000),
        plain("longest LMDB write transaction", "ms", "longest_write_ms", 20),
    ]
