# SPDX-License-Identifier: Apache-2.0
"""make lab, make lab-down, make lab-restart.

usage: python3 -m tests.lab up FOLDER [--variant V] [--workers N]
       python3 -m tests.lab down FOLDER
       python3 -m tests.lab restart FOLDER proxy|mapperd
"""
import argparse
import fcntl
import os
import pathlib
import signal
import sys

from .postgres import PostgresError
from .stack import LabError, Stack


class locked:
    """One command at a time in one lab."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / ".lock"

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def up(arguments):
    stack = Stack.load(arguments.folder)
    try:
        if stack is not None and stack.postgres.has_data():
            stack.start_missing()
        else:
            if stack is not None:
                stack.end()
            stack = Stack(arguments.folder, arguments.variant, arguments.workers)
            stack.start()
    except (LabError, PostgresError, OSError) as error:
        print(f"the lab did not start: {error}\n{stack.last_lines()}", file=sys.stderr)
        stack.end()
        return 1
    print(f"the lab in {stack.folder} is ready; see {stack.path('env')}")
    return 0


def down(arguments):
    stack = Stack.load(arguments.folder)
    if stack is None:
        print(f"no lab runs in {arguments.folder}")
        return 0
    try:
        stack.stop()
    except LabError as error:
        print(f"the lab in {arguments.folder} is stopped, but {error}", file=sys.stderr)
        return 1
    print(f"the lab in {arguments.folder} is stopped")
    return 0


def restart(arguments):
    stack = Stack.load(arguments.folder)
    if stack is None:
        print(f"no lab runs in {arguments.folder}", file=sys.stderr)
        return 1
    try:
        stack.restart_program(arguments.program)
    except LabError as error:
        print(f"{arguments.program} did not start: {error}\n{stack.last_lines()}", file=sys.stderr)
        return 1
    print(f"{arguments.program} runs again; see {stack.path('env')}")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="lab")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("up", up), ("down", down), ("restart", restart)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("folder", type=lambda text: pathlib.Path(os.path.abspath(text)))
        if name == "up":
            command.add_argument("--variant", default="release")
            command.add_argument("--workers", type=int, default=2)
        elif name == "restart":
            command.add_argument("program", choices=("proxy", "mapperd"))
    arguments = parser.parse_args()
    # Interrupted like terminated: start() then takes down what it has put up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if arguments.command == "down" and not arguments.folder.is_dir():
        print(f"no lab runs in {arguments.folder}")
        return 0
    with locked(arguments.folder):
        return arguments.function(arguments)


if __name__ == "__main__":
    sys.exit(main())
