# SPDX-License-Identifier: Apache-2.0
"""mapctl completion, in the shells themselves."""
import re
import subprocess

import pytest

from tests.system.lib import mapctl
from tests.system.lib.mapctl import GOOD, USAGE


def run(argv, **options):
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options
    )


@pytest.fixture
def script(lab, tmp_path):
    """Writes the script of a shell and gives its path."""

    def make(shell):
        status, out, err = mapctl(lab, "completion", shell)
        assert (status, err) == (GOOD, "")
        path = tmp_path / f"mapctl.{shell}"
        path.write_text(out)
        return path

    return make


@pytest.fixture
def complete(script, tmp_path):
    """What bash proposes for a command line whose last word is being typed."""
    path = script("bash")
    (tmp_path / "some.conf").write_text("")
    (tmp_path / "some folder").mkdir()

    def ask(*words):
        text = (
            f"set -eu; . '{path}'; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
            "_mapctl; if ((${#COMPREPLY[@]})); then printf '%s\\n' \"${COMPREPLY[@]}\"; fi"
        )
        done = run(["bash", "-c", text, "bash", "mapctl", *words], cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        return done.stdout.splitlines()

    return ask


def commands(lab):
    return re.findall(r"^  ([a-z]+)\b", mapctl(lab, "help")[1].split("\n\n")[1], re.MULTILINE)


def test_bash_proposes_commands(lab, complete):
    every = commands(lab)
    assert {"migrate", "status", "check", "completion", "help"} <= set(every)
    assert complete("") == every
    assert complete("st") == ["status"]
    assert complete("--json", "--config", "x.conf", "che") == ["check"]
    assert complete("help", "mig") == ["migrate"]
    assert complete("dance", "") == []


def test_bash_proposes_every_option_that_help_has(lab, complete):
    for command in commands(lab):
        listed = re.findall(r"^  (--[a-z0-9-]+)", mapctl(lab, "help", command)[1], re.MULTILINE)
        assert listed and complete(command, "-") == listed
    assert complete("status", "--wa") == ["--watch"]
    assert "--watch" not in complete("check", "-")
    assert "--config" in complete("-") and "--watch" not in complete("-")


def test_bash_proposes_values(complete):
    assert sorted(complete("--config", "so")) == ["some folder", "some.conf"]
    assert complete("status", "--config", "some.") == ["some.conf"]
    assert complete("migrate", "--migrations", "some") == ["some folder"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]
    assert complete("completion", "z") == ["zsh"]
    assert complete("check", "--name", "a") == [] and complete("check", "a") == []


def test_zsh_and_fish_take_their_scripts(lab, script, tmp_path):
    zsh, fish = script("zsh"), script("fish")
    done = run(["zsh", "-f", "-c", f"autoload -U compinit; compinit -u -d {tmp_path}/dump; . {zsh}; "
                "print $_comps[mapctl]"])
    assert (done.returncode, done.stdout) == (0, "_mapctl\n")
    home = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def proposed(line):
        done = run(["fish", "--no-config", "-c", f"source {fish}; complete -C '{line}'"], env=home)
        assert done.returncode == 0, done.stdout
        return [found.split("\t")[0] for found in done.stdout.splitlines()]

    assert sorted(proposed("mapctl ")) == sorted(commands(lab))
    assert proposed("mapctl status --wat") == ["--watch"]
    assert proposed("mapctl check --wat") == []
    assert sorted(proposed("mapctl completion ")) == ["bash", "fish", "zsh"]


def test_another_shell_is_refused(lab):
    status, out, err = mapctl(lab, "completion", "csh")
    assert (status, out) == (USAGE, "") and "write bash, zsh or fish" in err
