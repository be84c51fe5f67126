# SPDX-License-Identifier: Apache-2.0
"""What ten thousand parked requests cost those that need not wait.

A relay holds mapperd's answers back for 2.5 s. A thousand phones with certificates of their own
send ten MESSAGEs each at once; each waits for a LOCATE, so that one worker holds all of them.
Meanwhile a hundred known phones send OPTIONS and refreshing REGISTERs at a steady rate, which ask
mapperd nothing. Their p99 while the ten thousand wait is compared with that of the same phones in
the same run when nothing waits; a third window takes in the burst's arrival and its release as
well. The number of the proxy's threads is read in each."""
import os
import shutil
import tempfile
import time

from tests.lab.resp import Resp

from . import generator, machine
from .relay import Relay
from .results import Row
from .stack import Ours

NAME = "parking"
GOAL = 2.0
HOLD_S = 2.5
CALLERS, EACH = 1000, 10
PARKED = CALLERS * EACH
KNOWN = 100
RATE = 2000  # requests a second of all known phones
ARRIVAL_S, WINDOW_S = 1.1, 1.2  # both within HOLD_S
FIRST_CALLER, FIRST_KNOWN = 1, 10_001


class Parking:
    def __init__(self, context):
        self.folder = tempfile.mkdtemp(prefix="holdline-bench-")
        os.chmod(self.folder, 0o755)
        path = os.path.join(self.folder, "mapperd")
        self.ours = Ours(
            context.folder / "parking",
            proxy_conf={"mapperd_socket": path, "park_total": 2 * PARKED, "park_per_device": 64},
            # PostgreSQL shares the generator's processor: each poll would show in the latencies.
            mapperd_conf={"poll_ms": 200},
        )
        self.relay = Relay(path, lambda: self.ours.stack.mapperd_socket)

    def start(self):
        self.ours.start()
        self.ours.provision(FIRST_CALLER, 2 * CALLERS)
        self.ours.provision(FIRST_KNOWN, KNOWN)

    def generators(self):
        target, ca = self.ours.target, self.ours.ca
        burst = ["-c", CALLERS, "-w", EACH, "--callees", CALLERS, "--base", FIRST_CALLER]
        known = ["-c", KNOWN, "-m", "mixed", "--uas", "none", "--rate", RATE]
        return (
            generator.Driven("burst", target, ca, *burst, "--expect", 480),
            generator.Driven(
                "requests", target, ca, *known, "--interactive", "--base", FIRST_KNOWN
            ),
        )

    def parked(self):
        with Resp(self.ours.stack.proxy_socket) as client:
            return int(client.info()["parked"])

    def wait_until_parked(self):
        deadline = time.monotonic() + ARRIVAL_S
        while self.parked() < PARKED:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {self.parked()} requests are parked after {ARRIVAL_S} s")
            time.sleep(0.02)

    def window(self, known, seconds):
        known.command(seconds)
        figures = known.report()
        if figures["failures"]:
            raise SystemExit(f"the known phones: {figures}")
        figures["threads"] = machine.threads(self.ours.pid("proxy"))
        return figures

    def idle(self, known):
        return self.window(known, WINDOW_S)

    def held(self, burst, known):
        burst.command()
        if burst.sent() != PARKED:
            raise SystemExit("some callers are not connected")
        self.wait_until_parked()
        figures = self.window(known, WINDOW_S)
        figures["parked"] = self.parked()
        self.check_burst(burst.report())
        if figures["parked"] < PARKED:
            raise SystemExit("some were released before the window closed")
        return figures

    def through(self, burst, known):
        """A window from before the burst until after its last answer."""
        known.command(HOLD_S + 2)
        burst.command()
        burst.sent()
        self.check_burst(burst.report())
        figures = known.report()
        if figures["failures"]:
            raise SystemExit(f"the known phones: {figures}")
        return figures

    def check_burst(self, figures):
        if figures["failures"] or figures["transactions"] != PARKED:
            raise SystemExit(f"the callers: {figures}")

    def stop(self):
        self.ours.stop()
        self.relay.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(context):
    parking = Parking(context)
    add = context.results.add
    try:
        parking.start()
        burst, known = parking.generators()
        with burst, known:
            parking.relay.hold_s = HOLD_S
            parking.held(burst, known)
            for repetition in range(context.repetitions):
                add(NAME, repetition, "nothing parked", parking.idle(known))
                add(NAME, repetition, "10000 parked", parking.held(burst, known))
                add(NAME, repetition, "burst and release", parking.through(burst, known))
    finally:
        parking.stop()
    return rows(context)


def rows(context):
    results = context.results
    idle = results.all(NAME, "nothing parked", "request_p99_us")
    held = results.all(NAME, "10000 parked", "request_p99_us")
    through = results.all(NAME, "burst and release", "request_p99_us")
    threads = set(results.all(NAME, "nothing parked", "threads"))
    threads |= set(results.all(NAME, "10000 parked", "threads"))
    idle_median = results.median(NAME, "nothing parked", "request_p99_us")
    held_median = results.median(NAME, "10000 parked", "request_p99_us")
    context.note(
        f"parking: p99 of the known phones over a whole burst, hold and release: "
        f"{results.median(NAME, 'burst and release', 'request_p99_us') / 1000:.2f} ms "
        f"(median of {len(through)})"
    )
    return [
        Row(
            "p99 of known phones while 10,000 requests are parked",
            "µs",
            held_median,
            "nothing parked",
            idle_median,
            held_median / idle_median,
            GOAL,
            [a / b for a, b in zip(held, idle)],
            len(held),
        ),
        Row(
            "the proxy's threads, most to least in these windows",
            "threads",
            max(threads),
            "",
            min(threads),
            max(threads) / min(threads),
            1.0,
            runs=len(held),
        ),
    ]
