# SPDX-License-Identifier: Apache-2.0
"""make run: the stack in the foreground, its data kept for the next time."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

from tests.lab.stack import ROOT


@pytest.fixture
def folder():
    """One that PostgreSQL's user can enter, so that the data lie in it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="holdline-run-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def psql(text, statement):
    command = re.search(r"^ +(psql .+ holdline)$", text, re.MULTILINE)[1].split()
    done = subprocess.run(
        [*command, "-XAtc", statement], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def run_once(folder, statement):
    """Starts it, runs a statement in its database, ends it by Ctrl-C; gives what psql said."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.run", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    text = ""
    try:
        while "What follows is the log" not in text:
            line = program.stdout.readline()
            assert line, f"it ended: {text}"
            text += line
        assert "openssl s_client" in text and "INSERT INTO cn_mapping" in text
        answer = psql(text, statement)
    finally:
        program.send_signal(signal.SIGINT)
        rest = program.communicate(timeout=60)[0]
    assert program.returncode == 0 and rest.rstrip().endswith("stopped"), rest
    return answer


def test_run_says_how_to_use_it_and_keeps_its_data(folder):
    run_once(
        folder,
        "INSERT INTO cn_mapping (cn, identity) VALUES ('00:04:f2:00:00:01', 'alice@example.org')",
    )
    assert run_once(folder, "SELECT cn FROM cn_mapping") == "0004F2000001"
    assert not (folder / "env").exists()
