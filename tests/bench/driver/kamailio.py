# SPDX-License-Identifier: Apache-2.0
"""Kamailio as Debian packages it: registrar and proxy over mutual TLS, From checked from an htable
that is filled at start. One worker process for TLS, on the server's processor."""
import os
import shutil
import subprocess
import tempfile
import time

from tests.lab import certificates
from tests.lab.postgres import ROOT
from tests.lab.stack import reserve_port

from . import generator, machine

HERE = ROOT / "tests" / "bench" / "kamailio"
READY_TIMEOUT_S = 30


def write_mappings(folder, phones, domain):
    """What Kamailio reads into its htable: CN to "identity,identity"."""
    folder.mkdir()
    (folder / "version").write_text(
        "table_name(string) table_version(int)\ncnmap:2\nhtable:2\n"
    )
    with open(folder / "cnmap", "w") as file:
        file.write(
            "id(int,auto) key_name(string) key_type(int) value_type(int) key_value(string)"
            " expires(int)\n"
        )
        for i in range(1, phones + 1):
            identities = f"u{i:06d}@{domain},alt{i:06d}@{domain}"
            file.write(f"{i}:0004F2{i:06X}:0:0:{identities}:0\n")


class Kamailio:
    name = "Kamailio"

    def __init__(self, folder, phones, domain="example.org"):
        self.folder = folder
        folder.mkdir(parents=True)
        self.authority = certificates.Authority(
            folder / "ca.pem", folder / "ca.key", "Device root"
        )
        certificates.write_server(
            self.authority, folder / "server.pem", folder / "server.key", domain
        )
        write_mappings(folder / "db", phones, domain)
        self.ca = folder / "ca.pem", folder / "ca.key"
        self.process = self.run_folder = None

    def start(self):
        # Its control socket needs a short name.
        self.run_folder = tempfile.mkdtemp(prefix="holdline-bench-")
        ports = []
        holders = []
        for _ in range(2):
            port, holder = reserve_port()
            ports.append(port)
            holders.append(holder)
        words = {
            "@RUN@": self.run_folder,
            "@FOLDER@": str(self.folder),
            "@TLS_PORT@": str(ports[0]),
            "@TCP_PORT@": str(ports[1]),
        }
        for name in ("kamailio.cfg", "tls.cfg"):
            text = (HERE / name).read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            (self.folder / name).write_text(text)
        for holder in holders:
            holder.close()
        self.target = f"127.0.0.1:{ports[0]}"
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(
                ["kamailio", "-DD", "-E", "-f", str(self.folder / "kamailio.cfg")]
                + ["-m", "1024", "-M", "64"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, {machine.SERVER}),
            )
        self._wait_ready()
        return self

    def _wait_ready(self):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            figures = generator.run(
                "idle", self.target, self.ca, "-n", 1, "--hold", 0, "--timeout", 1
            )
            if figures.get("connections") == 1:
                return
            time.sleep(0.1)
        tail = (self.folder / "log").read_text(errors="replace").splitlines()[-10:]
        raise SystemExit("Kamailio does not answer:\n" + "\n".join(tail))

    @property
    def pids(self):
        return machine.family(self.process.pid)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                for pid in machine.family(self.process.pid):
                    os.kill(pid, 9)
                self.process.wait()
        if self.run_folder:
            shutil.rmtree(self.run_folder, ignore_errors=True)
