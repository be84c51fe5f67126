# SPDX-License-Identifier: Apache-2.0
"""mapctl, run as an operator runs it."""
import json
import os
import subprocess

GOOD, BAD, USAGE, UNREACHABLE = range(4)


def mapctl(lab, *arguments, stdin=None, timeout=60, program=None, **environment):
    """Exit status, standard output and standard error of mapctl in the lab's environment; `stdin`
    is what it is given to read, `program` another build of it."""
    done = subprocess.run(
        [str(program or lab.binary("mapctl")), *arguments],
        env={**os.environ, **lab.environment(), **environment},
        input="" if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
    )
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def mapctl_json(lab, *arguments, **options):
    """Exit status and the one document of mapctl --json."""
    status, out, err = mapctl(lab, "--json", *arguments, **options)
    lines = out.splitlines()
    assert len(lines) == 1, out + err
    return status, json.loads(lines[0])
