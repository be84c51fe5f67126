# SPDX-License-Identifier: Apache-2.0
"""Our own stack, from the lab: release build, one worker; proxy and mapperd on the server's
processor, PostgreSQL on the other. Logs at level notice, since the peers log nothing either."""
import shutil
import time

from tests.lab.resp import Resp, RespError
from tests.lab.stack import Stack

from . import machine


class Ours:
    name = "Holdline"

    def __init__(self, folder, large=False, **options):
        """large: a database of gigabytes."""
        if large:
            options["postgres_settings"] = {"shared_buffers": "2GB", "max_wal_size": "16GB", "fsync": "off"}
        shutil.rmtree(folder, ignore_errors=True)
        proxy = {"log_level": "notice", **options.pop("proxy_conf", {})}
        mapperd = {
            "log_level": "notice",
            "lmdb_map_size_mb": 16384,
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

    def fill(self, count, users=False):
        """So many devices, number i is cn lpad(i, 12, '0') and uI@domain; mapperd is off meanwhile,
        so that they come as its first fill. Gives the seconds from its start to its first answer."""
        self.empty()
        insert = (
            f"INSERT INTO sip_user (identity) SELECT identity FROM (SELECT 'u' || i || '@{self.stack.domain}'"
            f" AS identity FROM generate_series(0, {count - 1}) AS i) u;"
            if users
            else ""
        )
        self.stack.postgres.sql(
            f"""SET session_replication_role = replica;
                SET synchronous_commit = off;
                ALTER TABLE cn_mapping DISABLE TRIGGER log_replicated;
                ALTER TABLE sip_user DISABLE TRIGGER log_replicated;
                {insert}
                INSERT INTO cn_mapping (trust_store, cn, identity, user_identity)
                SELECT 'device', lpad(i::text, 12, '0'), u.identity, {"u.identity" if users else "NULL"}
                FROM generate_series(0, {count - 1}) AS i,
                     LATERAL (SELECT 'u' || i || '@{self.stack.domain}' AS identity) u;
                ALTER TABLE cn_mapping ENABLE REPLICA TRIGGER log_replicated;
                ALTER TABLE sip_user ENABLE REPLICA TRIGGER log_replicated;
                ANALYZE cn_mapping; ANALYZE sip_user"""
        )
        self.stack.postgres.sql("CHECKPOINT")
        return self.start_mapperd()

    def empty(self):
        """Stops the programs and throws mapperd's store away."""
        for program in ("proxy", "mapperd"):
            self.stack.stop_program(program)
        shutil.rmtree(self.stack.path("lmdb"), ignore_errors=True)
        self.stack.path("lmdb").mkdir()

    def start_mapperd(self, timeout_s=1800):
        """Gives the seconds from its start to its first right answer."""
        begin = time.monotonic()
        self.stack.launch("mapperd")
        self.pin()
        while True:
            try:
                with Resp(self.stack.mapperd_socket, timeout_s=10) as mapperd:
                    while mapperd.command("PEER", "device", "000000000001")[2] != "known":
                        time.sleep(0.001)
                    return time.monotonic() - begin
            except (OSError, EOFError, RespError):
                if time.monotonic() - begin > timeout_s or not self.stack.processes["mapperd"].alive():
                    raise SystemExit("mapperd does not answer")
                time.sleep(0.002)

    def info(self):
        with Resp(self.stack.mapperd_socket, timeout_s=30) as mapperd:
            return mapperd.info()

    def stop(self):
        self.stack.end()
