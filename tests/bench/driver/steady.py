# SPDX-License-Identifier: Apache-2.0
"""Five thousand changed rows a second for minutes, while a transaction stays open in another
database that began before: what a poll costs and what mapperd holds in memory must not grow. Read
from the primary, then from a standby.

The cost is CPU time of the one server process that answers the polls, for a thousand changed rows, in
the first minute and in the last (a fifth of the time, when that is shorter)."""
import statistics
import time

import psycopg2

from tests.lab.resp import Resp

from . import machine
from .change import RATE, Changer
from .fleet import anonymous_kb
from .results import Row
from .stack import Ours

NAME = "steady"
DEVICES = 100_000
FLAT = 1.2
READER = "holdline_mapperd"
POLL = "%pg_current_snapshot() AS snapshot%"


def poller(cluster):
    """The process that answers the polls; the log's connection asks nothing else once it follows."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = cluster.sql(
            f"SELECT pid FROM pg_stat_activity WHERE usename = '{READER}' AND query LIKE '{POLL}' LIMIT 1"
        )
        if found:
            return int(found)
        time.sleep(0.05)
    raise SystemExit("nobody polls")


def run_ms(pid):
    """CPU time of a process so far, in milliseconds."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e6


class Window:
    """What a while costs."""

    def __init__(self, ours, poller_pid, changer, seconds):
        begin, cpu, rows = time.monotonic(), run_ms(poller_pid), changer.rows
        polls = int(ours.info()["polls"])
        time.sleep(seconds)
        took = time.monotonic() - begin
        self.cpu_ms_per_1000 = (run_ms(poller_pid) - cpu) / (changer.rows - rows) * 1000
        self.polls_per_s = (int(ours.info()["polls"]) - polls) / took
        self.rate = (changer.rows - rows) / took
        self.mapperd_kb = anonymous_kb(ours.pid("mapperd"))
        self.poller_kb = anonymous_kb(poller_pid)


def caught_up(ours, cn, identity):
    begin = time.monotonic()
    with Resp(ours.stack.mapperd_socket, timeout_s=30) as mapperd:
        while identity not in mapperd.command("PEER", "device", cn):
            if time.monotonic() - begin > 60:
                raise SystemExit("mapperd did not keep up with the changes")
            time.sleep(0.01)
    return time.monotonic() - begin


def measure(ours, cluster, context, subject):
    pid = poller(cluster)
    changer = Changer(ours.stack.postgres.conninfo(), DEVICES)
    window_s = min(60.0, context.steady_s / 5)
    changer.start()
    try:
        time.sleep(window_s / 10)
        first = Window(ours, pid, changer, window_s)
        time.sleep(max(0.0, context.steady_s - 2.1 * window_s))
        last = Window(ours, pid, changer, window_s)
    finally:
        changer.end()
    figures = {"lag_s": caught_up(ours, *changer.last())}
    for name, window in (("first", first), ("last", last)):
        for figure, value in vars(window).items():
            figures[f"{name}_{figure}"] = value
    if min(first.rate, last.rate) < 0.9 * RATE:
        raise SystemExit(f"the database takes only {min(first.rate, last.rate):.0f} changes a second")
    context.results.add(NAME, 0, subject, figures)


def read_from_standby(ours):
    replica = ours.stack.make_replica()
    ours.stack.mapperd_settings.update(database=replica.conninfo(READER))
    ours.stack.stop_program("mapperd")
    ours.start_mapperd()
    machine.pin(replica.process.pid, machine.GENERATOR)
    return replica


def run(context):
    ours = Ours(context.folder / "steady")
    try:
        ours.start(needed=["mapperd"])
        ours.fill(DEVICES)
        postgres = ours.stack.postgres
        postgres.sql("CREATE DATABASE elsewhere")
        held = psycopg2.connect(postgres.conninfo().replace("dbname=holdline", "dbname=elsewhere"))
        held.cursor().execute("SELECT pg_current_xact_id()")
        measure(ours, postgres, context, "primary")
        measure(ours, read_from_standby(ours), context, "standby")
        held.close()
    finally:
        ours.stop()
    return rows(context)


def rows(context):
    def row(what, unit, subject, figure, *more):
        def value(name):
            return sum(statistics.median(context.results.all(NAME, subject, f"{name}_{f}")) for f in (figure, *more))

        first, last = value("first"), value("last")
        return Row(what, unit, last, "at first", first, last / first, FLAT, [last / first], 1)

    minutes = f"after {context.steady_s / 60:.2g} min of 5,000 rows/s"
    found = []
    for subject in ("primary", "standby"):
        found.append(row(f"CPU of the polls on a {subject} {minutes}", "ms a 1,000 rows", subject, "cpu_ms_per_1000"))
        found.append(row(f"own memory of mapperd and of its poll's process, {subject}, {minutes}", "kB", subject,
                         "mapperd_kb", "poller_kb"))
    return found
