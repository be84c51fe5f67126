# SPDX-License-Identifier: Apache-2.0
"""sipload as a child process, on the generator's processor."""
import os
import re
import resource
import subprocess

from tests.lab.postgres import ROOT

from . import machine

PROGRAM = ROOT / "build" / "release" / "bench" / "sipload"
WORD = re.compile(r"(\S+)=(\S+)")
FAILURE = re.compile(r'^failure "(.*)"=(\d+)$')


class GeneratorError(Exception):
    pass


def limit_files():
    """Thousands of connections at either end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def figures_of(lines):
    """key=value words as numbers; failures by name as figures "failed: NAME"."""
    figures = {}
    for line in lines:
        failure = FAILURE.match(line)
        if failure:
            figures[f"failed: {failure[1]}"] = int(failure[2])
            continue
        for key, value in WORD.findall(line):
            try:
                figures[key] = float(value)
            except ValueError:
                figures[key] = value
    return figures


def start(mode, target, ca, *options, pids=(), stdin=None):
    argv = [str(PROGRAM), mode, "-t", target, "--ca", str(ca[0]), "--ca-key", str(ca[1])]
    argv += [str(o) for o in options]
    if pids:
        argv += ["-p", ",".join(str(p) for p in pids)]
    return subprocess.Popen(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {machine.GENERATOR}),
    )


def run(mode, target, ca, *options, pids=(), timeout_s=120):
    """One whole run; gives its figures."""
    process = start(mode, target, ca, *options, pids=pids)
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise GeneratorError(f"sipload {mode} did not end within {timeout_s} s") from None
    if process.returncode != 0:
        raise GeneratorError(f"sipload {mode} ended with status {process.returncode}")
    return figures_of(output.splitlines())


class Driven:
    """A run whose windows are opened from here: sipload burst, or requests --interactive."""

    def __init__(self, mode, target, ca, *options, pids=()):
        self.process = start(mode, target, ca, *options, pids=pids, stdin=subprocess.PIPE)
        self.ready = int(self._until("ready")["ready"])

    def _until(self, word):
        """Reads to the line that begins with a word; gives the figures on the way."""
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(word):
                return figures_of(lines)
        raise GeneratorError(f"sipload ended before it said {word}: {lines[-3:]}")

    def command(self, text=""):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def sent(self):
        return int(self._until("sent")["sent"])

    def report(self):
        return self._until("end")

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
