# SPDX-License-Identifier: Apache-2.0
"""CPU time that the authorization of a request takes when the peer and the users' rights are in the
worker's cache: identity, rights, decision and what it rests on, without parsing and sending."""
import os
import statistics
import subprocess

from tests.lab.postgres import ROOT

from . import machine
from .results import Row

NAME = "authorization"
GOAL_US = 3
PROGRAM = ROOT / "build" / "release" / "bench" / "authorization"
REQUESTS = 300000


def run(context):
    for repetition in range(context.repetitions):
        done = subprocess.run(
            [str(PROGRAM), str(REQUESTS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {machine.SERVER}),
        )
        if done.returncode != 0:
            raise SystemExit(f"authorization ended with status {done.returncode}")
        figures = {"request_cpu_us": float(done.stdout) / 1000}
        context.results.add(NAME, repetition, "Holdline", figures)
    each = context.results.all(NAME, "Holdline", "request_cpu_us")
    median = statistics.median(each)
    what = "authorization of a known peer's request"
    return [Row(what, "µs CPU", median, f"goal {GOAL_US}", None, median, GOAL_US, each, len(each))]
