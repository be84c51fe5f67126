# SPDX-License-Identifier: Apache-2.0
"""make run: the stack in the foreground until Ctrl-C, on a folder that keeps its data.

usage: python3 -m tests.lab.run FOLDER [--workers N]
"""
import argparse
import hashlib
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

from . import postgres
from .postgres import PostgresError
from .stack import DOMAIN, LabError, Stack

PORTS = {"tls": 5061, "tcp": 5060, "pbx": 5080}
PHONES = (("0004F2000001", "alice"), ("0004F2000002", "bob"))


def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class LastingStack(Stack):
    """A stack whose database, store, keys and certificates are there again the next time."""

    def _make_folder(self):
        self.log.mkdir(parents=True, exist_ok=True)

    def _choose_ports(self):
        self.ports = {name: port for name, port in PORTS.items() if free(port)}
        super()._choose_ports()

    def _make_cluster(self):
        """In the folder itself or, when PostgreSQL's user can't enter that, beside the system's
        other data."""
        data = self.path("postgresql")
        if postgres.server_user() and not data.is_symlink() and not self._server_can_enter():
            name = "holdline-run-" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
            data.symlink_to(pathlib.Path("/var/lib") / name)
        data = pathlib.Path(os.path.realpath(data))
        if not data.exists():
            postgres.copy_template(data)
        return postgres.Cluster(self.temporary, self.log_of("postgresql"), data=data)

    def _server_can_enter(self):
        user = postgres.server_user()
        return (
            subprocess.run(
                ["test", "-x", str(self.folder)],
                cwd="/",
                user=user,
                group=user,
                extra_groups=[],
                check=False,
            ).returncode
            == 0
        )

    def _make_database(self):
        postgres.deploy(self.postgres)
        super()._make_database()


def phone_files(stack, cn):
    path = stack.path("phones", f"{cn}.pem")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        stack.ca.write_pair(path, cn, days=3650)
    return path


def shown(path):
    """The path as a person would type it here."""
    relative = os.path.relpath(path)
    return shlex.quote(relative if len(relative) < len(str(path)) else str(path))


def explain(stack):
    (cn, user), (cn2, user2) = PHONES
    pems = [shown(phone_files(stack, one)) for one, _ in PHONES]
    spelled = ":".join(cn[i : i + 2] for i in range(0, 12, 2)).lower()
    host, port = stack.sip_tls
    address = stack.postgres.environment
    psql = "psql -h {PGHOST} -p {PGPORT} -U {PGUSER} {PGDATABASE}".format(**address)
    print(
        f"""
Holdline runs: TLS on {host}:{port}, for users of {stack.domain}. Its data stays in {stack.folder}.

  Its database:
    {psql}

  Let a phone be a user (any spelling of the MAC address):
    {psql} -c "INSERT INTO cn_mapping (cn, identity) VALUES ('{spelled}', '{user}@{stack.domain}')"

  Talk as that phone (the certificate of {cn2}, for {user2}, is {pems[1]}):
    openssl s_client -quiet -nocommands -crlf -connect {host}:{port} -servername {stack.domain} \\
      -CAfile {shown(stack.path("ca.pem"))} -cert {pems[0]} -key {pems[0]}

  then paste, with the empty line at its end:
    OPTIONS sip:{stack.domain} SIP/2.0
    Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK1
    From: <sip:{user}@{stack.domain}>;tag=1
    To: <sip:{stack.domain}>
    Call-ID: 1
    CSeq: 1 OPTIONS
    Max-Forwards: 70
    Content-Length: 0


  Cut it off:
    {psql} -c "SELECT retire_device('{spelled}')"

  What else a script needs is in {shown(stack.path("env"))}. Ctrl-C stops it.
  What follows is the log.
""",
        flush=True,
    )


def follow(stack, stopped):
    """Copies what the programs log to the terminal until a signal has come or a program has
    ended."""
    positions = {}
    for log in stack.log.glob("*.log"):
        positions[log] = log.stat().st_size
    while not stopped:
        for log in sorted(stack.log.glob("*.log")):
            with open(log, "rb") as file:
                file.seek(positions.get(log, 0))
                for line in file:
                    print(f"{log.stem}: {line.decode(errors='replace').rstrip()}", flush=True)
                positions[log] = file.tell()
        if not stack.running():
            raise LabError("a program has ended")
        time.sleep(0.2)


def main():
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("folder", type=lambda text: pathlib.Path(os.path.abspath(text)))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    running = Stack.load(arguments.folder)
    if running is not None:
        if running.running():
            print(f"a stack runs on {arguments.folder} already", file=sys.stderr)
            return 1
        running.end()

    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopped.append(number))
    quiet = {"log_level": "info"}
    stack = LastingStack(
        arguments.folder,
        workers=arguments.workers,
        proxy_conf=quiet,
        mapperd_conf=quiet,
        domain=DOMAIN,
    )
    try:
        stack.start()
        explain(stack)
        follow(stack, stopped)
    except (LabError, PostgresError, OSError) as error:
        print(f"{error}\n{stack.last_lines()}", file=sys.stderr)
        return 1
    finally:
        stack.end()
    print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
