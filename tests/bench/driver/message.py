# SPDX-License-Identifier: Apache-2.0
"""CPU time a proxied MESSAGE takes: phone, proxy, phone, all over TLS, From authorised.

A thousand devices and more; 500 callers with a request outstanding each. Holdline's proxy and
mapperd are counted together, Kamailio's processes likewise. Both servers run all the time, on one
processor, and are loaded in turn; each run uses phones of its own."""
from . import generator
from .kamailio import Kamailio
from .results import Row
from .stack import Ours

NAME = "message"
GOAL = 0.5
PAIRS = 500
FIGURE = "server_cpu_s_per_1000_transactions"


def measure(server, base, seconds):
    options = ["-c", PAIRS, "-d", seconds, "-W", 1, "--base", base]
    figures = generator.run(
        "requests", server.target, server.ca, *options, pids=server.pids, timeout_s=120
    )
    if figures["failures"] or figures["ready"] < 2 * PAIRS:
        raise SystemExit(f"{server.name}: {figures}")
    return figures


def run(context):
    phones = 2 * PAIRS * (context.repetitions + 1)
    ours = Ours(context.folder / "message")
    kamailio = Kamailio(context.folder / "kamailio", phones + 1)
    try:
        ours.start()
        ours.provision(1, phones)
        kamailio.start()
        for repetition in range(context.repetitions):
            base = 1 + 2 * PAIRS * repetition
            for server in (ours, kamailio):
                figures = measure(server, base, context.seconds)
                context.results.add(NAME, repetition, server.name, figures)
    finally:
        kamailio.stop()
        ours.stop()
    return [row(context)]


def row(context):
    results = context.results
    own = results.all(NAME, Ours.name, FIGURE)
    peer = results.all(NAME, Kamailio.name, FIGURE)
    ours_median = results.median(NAME, Ours.name, FIGURE)
    peer_median = results.median(NAME, Kamailio.name, FIGURE)
    return Row(
        "proxied MESSAGE",
        "ms CPU",
        ours_median,
        Kamailio.name,
        peer_median,
        ours_median / peer_median,
        GOAL,
        [a / b for a, b in zip(own, peer)],
        len(own),
    )
