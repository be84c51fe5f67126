# SPDX-License-Identifier: Apache-2.0
"""A network of a program's own: loopback and one interface with an address, and nothing that leads
anywhere.

baresip wants an interface other than the loopback for its media; in a network namespace with a veth
pair the calls of a demo or a test touch no real network. That needs root: without it everything
runs on the machine's own network.
"""
import os
import subprocess
import sys

MARK = "HOLDLINE_OWN_NETWORK"
COMMANDS = """ip link set lo up &&
ip link add holdline0 type veth peer name holdline1 &&
ip address add 192.0.2.1/24 dev holdline0 &&
ip link set holdline0 up && ip link set holdline1 up"""


def enter():
    """Starts this program again in a network of its own, when that is possible; returns where it is
    not, or done."""
    if os.environ.get(MARK) or os.getuid() != 0:
        return
    if (
        subprocess.run(
            ["unshare", "--net", "sh", "-c", COMMANDS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
        != 0
    ):
        return
    argv = ["unshare", "--net", "sh", "-c", f'{COMMANDS} && exec "$@"', "sh", *sys.orig_argv]
    os.execvpe("unshare", argv, {**os.environ, MARK: "1"})
