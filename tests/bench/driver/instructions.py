# SPDX-License-Identifier: Apache-2.0
"""Instructions of the hot path, counted by valgrind: they repeat exactly, so that a change of a few
percent shows. The difference of two counts of operations leaves the start of the program out."""
import re
import subprocess

from tests.lab.postgres import ROOT

NAME = "instructions"
PROGRAM = ROOT / "build" / "release" / "bench" / "instructions"
WORKS = {
    "parse-message": "parse a MESSAGE of 400 bytes",
    "parse-invite": "parse an INVITE with SDP",
    "decide": "two identities made canonical, one decide()",
    "transactions": "server and client transaction of a MESSAGE, begin to end",
}
FEW, MANY = 1000, 3000


def count(work, operations):
    done = subprocess.run(
        ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
        + [str(PROGRAM), work, str(operations)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = re.search(r"I +refs: +([0-9,]+)", done.stdout)
    if done.returncode != 0 or not found:
        raise SystemExit(f"valgrind {work} failed:\n{done.stdout}")
    return int(found[1].replace(",", ""))


def run(context):
    for work, what in WORKS.items():
        each = (count(work, MANY) - count(work, FEW)) / (MANY - FEW)
        context.results.add(NAME, 0, work, {"instructions": each})
        context.note(f"{each:.0f} instructions: {what}")
    return []
