# SPDX-License-Identifier: Apache-2.0
"""Figures of runs: one TSV line each, on standard output and in a file; medians of them."""
import pathlib
import statistics
import sys
import time


class Results:
    COLUMNS = ("time", "bench", "repetition", "subject", "figure", "value")

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        self.file = open(self.path, "a", buffering=1)
        if new:
            self.file.write("\t".join(self.COLUMNS) + "\n")
        self.values = {}

    def add(self, bench, repetition, subject, figures):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for figure, value in figures.items():
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            line = "\t".join((now, bench, str(repetition), subject, figure, text))
            print(line)
            self.file.write(line + "\n")
            self.values.setdefault((bench, subject, figure), []).append(value)
        sys.stdout.flush()

    def all(self, bench, subject, figure):
        return self.values.get((bench, subject, figure), [])

    def median(self, bench, subject, figure):
        return statistics.median(self.all(bench, subject, figure))


class Row:
    """One line of the table at the end: `ratio` of ours to the peer's against the goal."""

    def __init__(self, what, unit, ours, peer_name, peer, ratio, goal, ratios=(), runs=0):
        self.what, self.unit = what, unit
        self.ours, self.peer_name, self.peer = ours, peer_name, peer
        self.ratio, self.goal = ratio, goal
        self.ratios, self.runs = list(ratios), runs

    @property
    def met(self):
        return self.ratio <= self.goal


def number(value):
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def table(rows):
    """Markdown, as docs/performance.md holds it."""
    lines = [
        "| what | ours | peer | ratio (min to max) | goal | runs | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        peer = f"{row.peer_name} {number(row.peer)}" if row.peer is not None else row.peer_name
        spread = (
            f" ({number(min(row.ratios))} to {number(max(row.ratios))})" if row.ratios else ""
        )
        lines.append(
            f"| {row.what}, {row.unit} | {number(row.ours)} | {peer} | {number(row.ratio)}{spread}"
            f" | ≤ {row.goal:g} | {row.runs} | {'yes' if row.met else 'no'} |"
        )
    return "\n".join(lines)
