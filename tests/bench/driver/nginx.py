# SPDX-License-Identifier: Apache-2.0
"""nginx as Debian packages it, as a bare terminator of mutual TLS: it verifies the client's
certificate, says CRLF (which is what tells a client of TLS 1.3 that it was accepted) and closes. One
worker, on the server's processor."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from tests.lab.stack import reserve_port

from . import machine

READY_TIMEOUT_S = 10

CONFIGURATION = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
stream {{
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_client_certificate {ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        return "\r\n";
    }}
}}
"""


class Nginx:
    """certificate, key, ca: PEM files."""

    name = "nginx"

    def __init__(self, certificate, key, ca):
        self.files = {"certificate": certificate, "key": key, "ca": ca}
        self.process = self.folder = None

    def start(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="holdline-bench-"))
        port, holder = reserve_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(folder=self.folder, port=port, **self.files)
        )
        holder.close()
        self.target = f"127.0.0.1:{port}"
        log = self.folder / "log"
        with open(log, "w") as file:
            self.process = subprocess.Popen(
                ["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, {machine.SERVER}),
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"nginx does not start:\n{log.read_text()[-2000:]}")

    @property
    def pids(self):
        return machine.family(self.process.pid)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                for pid in machine.family(self.process.pid):
                    os.kill(pid, 9)
                self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
