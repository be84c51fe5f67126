# SPDX-License-Identifier: Apache-2.0
"""Our own stack, from the lab: release build, one worker; proxy and mapperd on the server's
processor, PostgreSQL on the other. Logs at level notice, since the peers log nothing either."""
import shutil
import time

from tests.lab.resp import Resp
from tests.lab.stack import Stack

from . import machine


class Ours:
    name = "Holdline"

    def __init__(self, folder, **options):
        shutil.rmtree(folder, ignore_errors=True)
        proxy = {"log_level": "notice", **options.pop("proxy_conf", {})}
        mapperd = {
            "log_level": "notice",
            "lmdb_map_size_mb": 4096,
            **options.pop("mapperd_conf", {}),
        }
        self.stack = Stack(
            folder, variant="release", workers=1, proxy_conf=proxy, mapperd_conf=mapperd, **options
        )

    def start(self, needed=("proxy", "mapperd")):
        for program in needed:
            if not self.stack.has(program):
                raise SystemExit(f"build/release has no {program}")
        self.stack.start()
        self.pin()
        return self

    def pin(self):
        for process in self.stack.processes.values():
            machine.pin(process.pid, machine.SERVER)
        machine.pin(self.stack.postgres.process.pid, machine.GENERATOR)

    def pid(self, program):
        return self.stack.processes[program].pid

    @property
    def pids(self):
        return [process.pid for process in self.stack.processes.values()]

    @property
    def target(self):
        return "{}:{}".format(*self.stack.sip_tls)

    @property
    def ca(self):
        return self.stack.path("ca.pem"), self.stack.path("ca.key")

    def provision(self, first, count):
        """Phones by sipload's numbering, with two identities each; mapperd knows them afterwards."""
        self.stack.postgres.sql(
            f"""INSERT INTO cn_mapping (cn, identity)
                SELECT '0004F2' || lpad(upper(to_hex(i)), 6, '0'),
                       name || lpad(i::text, 6, '0') || '@{self.stack.domain}'
                FROM generate_series({first}, {first + count - 1}) AS i,
                     unnest(ARRAY['u', 'alt']) AS name"""
        )
        deadline = time.monotonic() + 30
        with Resp(self.stack.mapperd_socket) as mapperd:
            for number in (first, first + count - 1):
                while mapperd.command("PEER", "device", f"0004F2{number:06X}")[2] != "known":
                    if time.monotonic() > deadline:
                        raise SystemExit("mapperd does not learn of the phones")
                    time.sleep(0.02)

    def stop(self):
        self.stack.end()
