# SPDX-License-Identifier: Apache-2.0
"""Processes of a lab: started without any descriptor of ours, known by pid and start time, waited
for by event.

A lab that `make lab` started is stopped by another Python process later, so a process is described
by what /proc says of it; only the one that started it can also tell its exit status.
"""
import os
import pathlib
import select
import signal
import subprocess
import time


def start_time(pid):
    """Clock ticks since boot at which pid started; None when there is no such process, or only its
    zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def children(pid):
    """The direct children of pid that are alive."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] not in (b"Z", b"X"):
                found.append(int(entry))
    return found


def threads(pid):
    """(name, state) of each thread of pid."""
    found = []
    for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            front, _, rest = stat.read_text(errors="replace").rpartition(")")
        except OSError:
            continue
        found.append((front.partition("(")[2], rest.split()[0]))
    return found


class Process:
    """One process: started here (start) or described by a lab's state file (found)."""

    def __init__(self, pid, started, popen=None):
        self.pid = pid
        self.started = started
        self.popen = popen

    @classmethod
    def start(cls, argv, log, user=None, cwd="/", env=None):
        """Starts argv with its output appended to log, in a session of its own."""
        as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
        with open(log, "ab") as output:
            popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=env,
                start_new_session=True,
                **as_user,
            )
        return cls(popen.pid, start_time(popen.pid), popen)

    @classmethod
    def found(cls, state):
        return cls(state["pid"], state["started"]) if state else None

    def state(self):
        return {"pid": self.pid, "started": self.started}

    def alive(self):
        if self.popen is not None:
            return self.popen.poll() is None
        return self.started is not None and start_time(self.pid) == self.started

    @property
    def exit_status(self):
        """The exit status (negative: the signal that ended it); None while it runs, or when another
        started it."""
        return self.popen.poll() if self.popen is not None else None

    def send(self, number):
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, timeout_s):
        """Waits for the end; False when it has not come within timeout_s."""
        deadline = time.monotonic() + timeout_s
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            handle = None
        if handle is not None:
            try:
                while self.alive():
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    poll = select.poll()
                    poll.register(handle, select.POLLIN)
                    poll.poll(left * 1000)
            finally:
                os.close(handle)
        return not self.alive()

    def wait_for_thread(self, name, timeout_s=5):
        """Waits until its thread of that name, if it has one, sleeps: what it was woken for before
        is done."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.alive():
            if all(state in "StT" for thread, state in threads(self.pid) if thread == name):
                return
            os.sched_yield()

    def stop(self, gently=signal.SIGTERM, timeout_s=20):
        """Asks for the end and, when that takes too long, forces it. Returns whether asking was
        enough."""
        self.send(signal.SIGCONT)
        self.send(gently)
        if self.wait(timeout_s):
            return True
        self.send(signal.SIGKILL)
        self.wait(10)
        return False

    def kill(self):
        self.send(signal.SIGKILL)
        self.wait(10)
