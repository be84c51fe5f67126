# SPDX-License-Identifier: Apache-2.0
"""The command line of make bench."""
import argparse
import os
import pathlib
import shutil
import tempfile

from tests.lab.postgres import ROOT

from . import (
    authorization,
    bindings,
    change,
    fleet,
    generator,
    handshake,
    instructions,
    lookup,
    machine,
    message,
    parking,
    provisioning,
    refusal,
    steady,
)
from .results import Results, table

MODULES = (
    parking,
    lookup,
    message,
    handshake,
    authorization,
    refusal,
    change,
    bindings,
    fleet,
    provisioning,
    steady,
    instructions,
)
BENCHES = {module.NAME: module for module in MODULES}


class Context:
    """What each bench gets: where to work, how long and how often, where figures go."""

    def __init__(self, folder, results, repetitions, seconds, steady_s):
        self.folder = folder
        self.results = results
        self.repetitions = repetitions
        self.seconds = seconds
        self.steady_s = steady_s
        self.processors = os.sched_getaffinity(0)
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def model_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def main(arguments, usage):
    parser = argparse.ArgumentParser(
        description=usage, formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s"
    )
    parser.add_argument("names", nargs="*")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--steady", type=float, default=600, metavar="S")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHES:
            parser.error(f"{name}: not one of {', '.join(BENCHES)}")
    generator.limit_files()
    output = ROOT / "build" / "bench"
    results = Results(output / "results.tsv")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=output))
    context = Context(folder, results, options.repetitions, options.seconds, options.steady)
    rows = []
    try:
        for name in options.names or BENCHES:
            rows += BENCHES[name].run(context)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(
        [
            "",
            f"{model_name()}, server on processor {machine.SERVER}, everything else on"
            f" {machine.GENERATOR}; medians",
            "",
            *([table(rows), ""] if rows else []),
            *context.notes,
        ]
    )
    print(text)
    (output / "table.md").write_text(text + "\n")
    return 0 if all(row.met for row in rows) else 1
