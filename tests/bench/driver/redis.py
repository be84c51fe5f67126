# SPDX-License-Identifier: Apache-2.0
"""redis-server on a unix socket, nothing saved, on the server's processor; and redis-benchmark,
which asks it and mapperd alike."""
import os
import shutil
import subprocess
import tempfile
import time

from tests.lab.resp import Resp

from . import machine


class Redis:
    name = "redis-server"

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="holdline-bench-")
        self.socket = os.path.join(self.folder, "redis.sock")
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket]
            + ["--save", "", "--appendonly", "no", "--dir", self.folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {machine.SERVER}),
        )
        deadline = time.monotonic() + 10
        while not os.path.exists(self.socket):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("redis-server did not start")
            time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    def fill(self, pairs):
        """Sets keys, pipelined."""
        with Resp(self.socket, timeout_s=60) as client:
            while True:
                batch = [pair for _, pair in zip(range(1000), pairs)]
                if not batch:
                    return
                client.send_bytes(
                    b"".join(
                        b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n"
                        % (len(key), key, len(value), value)
                        for key, value in batch
                    )
                )
                for _ in batch:
                    client.receive()

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)


def benchmark(socket, requests, keys, command, depth=16, clients=50):
    """Runs redis-benchmark; __rand_int__ in command becomes twelve digits. Requests per second."""
    done = subprocess.run(
        ["redis-benchmark", "-s", socket, "-c", str(clients), "-P", str(depth)]
        + ["-n", str(requests), "-r", str(keys), "-q", "--csv", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        preexec_fn=lambda: os.sched_setaffinity(0, {machine.GENERATOR}),
    )
    last = done.stdout.strip().splitlines()[-1]
    if done.returncode != 0 or last.count('","') < 2:
        raise SystemExit(f"redis-benchmark failed:\n{done.stdout}")
    return float(last.split('","')[1])
