# SPDX-License-Identifier: Apache-2.0
"""Processors, CPU time and threads, from /proc.

What is measured runs alone on one processor; the generator, and all that is not measured, on
another.
"""
import os
import pathlib

TICKS = os.sysconf("SC_CLK_TCK")


def processors():
    """The processor of the server under test, and that of everything else."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("make bench needs two processors: one for the server under test")
    return usable[0], usable[1]


SERVER, GENERATOR = processors()


def tasks(pid):
    return [int(p.name) for p in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def family(pid):
    """A process and all that descends from it."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def pin(pid, processor):
    """All threads of a process and of its children. Threads made later inherit it."""
    for member in family(pid):
        try:
            for task in tasks(member):
                os.sched_setaffinity(task, {processor})
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile


def threads(pid):
    return len(tasks(pid))


def cpu_seconds(pids):
    """CPU time of processes so far, user and system, their threads included."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_kb(pid):
    """Proportional set size."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
