# SPDX-License-Identifier: Apache-2.0
"""mapctl import and export in a lab: lists as files, what they say, and what is in the store."""
import json
import os
import subprocess

from .helpers import sql, unique

GOOD, BAD, USAGE, UNREACHABLE = range(4)


class Done:
    """How a command ended."""

    def __init__(self, process, out, err):
        self.status, self.out, self.err = process.returncode, out.decode(), err.decode()
        assert "Sanitizer" not in self.err and "runtime error" not in self.err, self.err

    @property
    def wrong(self):
        """What it complained of but conflicts, which come from what other tests left."""
        return [line for line in self.err.splitlines() if ": conflict: " not in line]

    @property
    def document(self):
        [line] = self.out.splitlines()
        return json.loads(line)


def environment(lab):
    return {**os.environ, **lab.environment()}


def start(lab, *arguments, **options):
    """The command, under way."""
    return subprocess.Popen(
        [str(lab.binary("mapctl")), *map(str, arguments)],
        env=environment(lab),
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )


def run(lab, *arguments, given=None, timeout=90):
    """The command to its end; `given` goes to its standard input."""
    process = start(
        lab, *arguments, stdin=subprocess.DEVNULL if given is None else subprocess.PIPE
    )
    try:
        return Done(process, *process.communicate(given, timeout=timeout))
    finally:
        process.kill()


def make_store(lab, form="mac"):
    """A trust store of the test's own."""
    name = unique("s").lower().replace("_", "-")[:32]
    sql(lab, "INSERT INTO trust_store (name, cn_form) VALUES (%s, %s)", name, form)
    return name


def mappings(lab, store):
    """What the store has, as a set of pairs."""
    return set(sql(lab, "SELECT cn, identity FROM cn_mapping WHERE trust_store = %s", store))
