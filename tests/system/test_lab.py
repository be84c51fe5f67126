# SPDX-License-Identifier: Apache-2.0
"""The lab itself: what every other system test relies on."""
import os
import subprocess
import sys

from tests.lab.stack import ROOT, Stack
from tests.system.lib import sql, wait_until


def command(*arguments):
    """One of make's lab commands, with its output taken as a shell's $( ) takes it: until every
    writer is gone."""
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def test_lab_has_the_domain_example_org(lab):
    assert sql(lab, "SELECT state FROM domain WHERE name = 'example.org'") == [("enabled",)]


def test_up_returns_at_once_and_up_and_down_may_be_said_twice(tmp_path):
    folder = tmp_path / ("a-long-name-" * 15)
    try:
        for _ in range(2):
            done = command("up", folder, "--variant", "asan")
            assert done.returncode == 0, done.stdout
        before = (folder / "env").read_text()
        pids = [int(line.partition("=")[2]) for line in before.splitlines() if "_PID=" in line]
        assert pids and all(os.path.exists(f"/proc/{pid}") for pid in pids)
        shell = subprocess.run(
            ["bash", "-c", '. "$1"; psql -XAt -c "SELECT 6 * 7"', "sh", folder / "env"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert shell.stdout == "42\n"
    finally:
        for _ in range(2):
            done = command("down", folder)
            assert done.returncode == 0, done.stdout
    assert not (folder / "env").exists()
    for pid in pids:
        wait_until(lambda gone=pid: not os.path.exists(f"/proc/{gone}"))


def test_labs_run_side_by_side(make_lab):
    first, second = make_lab(), make_lab()
    sql(first, "CREATE TABLE only_in_the_first ()")
    assert sql(second, "SELECT to_regclass('only_in_the_first')") == [(None,)]


def test_a_program_that_does_not_start_leaves_nothing_running(tmp_path):
    stack = Stack(
        tmp_path, "asan", proxy_conf={"no_such_option": 1}, mapperd_conf={"no_such_option": 1}
    )
    if not stack.has("mapperd"):
        return
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", "up", str(tmp_path), "--variant", "asan"],
        cwd=ROOT,
        env={**os.environ, "LAB_MAPPERD_CONF_EXTRA": str(extra(tmp_path))},
        timeout=60,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 1
    assert "no_such_option" in done.stdout
    assert not (tmp_path / "env").exists() and Stack.load(tmp_path) is None


def extra(folder):
    path = folder / "extra.conf"
    path.write_text("no_such_option = 1\n")
    return path


def test_programs_restart_while_postgresql_hangs_or_is_stopped(fresh_lab):
    fresh_lab.postgres.pause()
    for program in list(fresh_lab.processes):
        fresh_lab.restart_program(program)
    fresh_lab.postgres.resume()
    fresh_lab.postgres.stop()
    for program in list(fresh_lab.processes):
        fresh_lab.restart_program(program)
    fresh_lab.postgres.start()
    assert sql(fresh_lab, "SELECT 1") == [(1,)]
