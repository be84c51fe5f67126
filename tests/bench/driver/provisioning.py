# SPDX-License-Identifier: Apache-2.0
"""What the triggers cost: an import of a million rows against bare COPYs of every row that it writes,
and single INSERTs against the same with triggers disabled, without NOTIFY, with it, and with a
listener that stands in a transaction and takes nothing from the queue.

PostgreSQL and its clients have all processors; both sides of a ratio have the same."""
import os
import re
import subprocess
import time

import psycopg2

from tests.lab import postgres

from .results import Row

NAME = "provisioning"
ROWS = 1_000_000
WRITTEN = ("cn_mapping", "sip_user", "change_log", "audit")
OURS, BARE, DISABLED = "Holdline", "bare COPYs", "triggers disabled"
QUIET, NOTIFY, STUCK = "without NOTIFY", "with NOTIFY", "with a stuck listener"
IMPORT_GOAL, INSERT_GOAL = 2.0, 2.0
COMMITS_GOAL = 1 / 0.8  # in time for a commit


class Bench:
    def __init__(self, context):
        self.context = context
        self.folder = postgres.make_folder("holdline-bench-")
        self.cluster = postgres.Cluster(self.folder, context.folder / "postgresql.log")
        self.list = context.folder / "phones.txt"

    def start(self):
        postgres.copy_template(self.cluster.data)
        self.cluster.start(max_wal_size="8GB", shared_buffers="512MB", checkpoint_timeout="30min")
        self.sql("INSERT INTO domain (name) VALUES ('example.org')")
        for table in WRITTEN:
            self.sql(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING INDEXES)")
        with open(self.list, "w") as out:
            for n in range(ROWS):
                number = n * 2654435761 % 2**40  # spread over the index, each once
                out.write(f"{number:012X}\tuser{n}@example.org\n")

    def stop(self):
        self.cluster.stop()
        self.cluster.remove()

    def sql(self, text):
        return self.cluster.sql(text)

    def empty(self, tables):
        self.sql(f"TRUNCATE {', '.join(tables)} CASCADE; CHECKPOINT")

    # ---- Import

    def import_seconds(self):
        self.empty(WRITTEN)
        argv = [str(postgres.ROOT / "build/release/bin/mapctl"), "import", str(self.list)]
        environment = {**os.environ, **self.cluster.environment}
        begun = time.monotonic()
        subprocess.run(argv, env=environment, check=True, stdout=subprocess.DEVNULL)
        spent = time.monotonic() - begun
        if self.sql("SELECT count(*) FROM cn_mapping") != str(ROWS):
            raise SystemExit("the import is not whole")
        return spent

    def save(self):
        """The rows of the last import, as COPY reads them."""
        for table in WRITTEN:
            columns = self.sql(
                "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
                f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
            )
            self.sql(f"COPY (SELECT {columns} FROM {table}) TO '{self.folder}/{table}.copy'")

    def bare_seconds(self):
        self.empty([f"bare_{table}" for table in WRITTEN])
        begun = time.monotonic()
        for table in WRITTEN:
            self.sql(f"COPY bare_{table} FROM '{self.folder}/{table}.copy'")
        return time.monotonic() - begun

    # ---- Single INSERTs

    def commit_ms(self, clients, notify):
        """Milliseconds that a session waits for one INSERT of one new phone, on average."""
        script = self.context.folder / "insert.pgbench"
        script.write_text(
            "\\set n random(1, 281474976710655)\n"
            "INSERT INTO cn_mapping (cn, identity) VALUES (lpad(upper(to_hex(CAST(:n AS bigint))), 12, '0'), "
            "'u' || CAST(:n AS bigint) || '@example.org');\n"
        )
        argv = [postgres.BIN / "pgbench", "-n", "-M", "prepared", "-c", clients]
        argv += ["-j", min(clients, 2), "-T", max(1, int(self.context.seconds)), "-f", script]
        options = f"-c holdline.notify={'on' if notify else 'off'}"
        done = subprocess.run(
            [str(a) for a in argv],
            env={**os.environ, **self.cluster.environment, "PGOPTIONS": options},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
        if done.returncode != 0 or found is None:
            raise SystemExit(done.stdout)
        return clients / float(found[1]) * 1000

    def listener(self, stuck):
        connection = psycopg2.connect(self.cluster.conninfo())
        with connection.cursor() as cursor:
            cursor.execute("LISTEN holdline_change")
            connection.commit()
            if stuck:  # a transaction that stays open: its backend takes nothing from the queue
                cursor.execute("SELECT 1")
        return connection

    def triggers(self, on):
        self.sql(f"ALTER TABLE cn_mapping {'ENABLE' if on else 'DISABLE'} TRIGGER ALL")
        if on:  # ALL has made those of logical replication fire for every row
            self.sql("ALTER TABLE cn_mapping ENABLE REPLICA TRIGGER log_replicated")
            self.sql("ALTER TABLE cn_mapping ENABLE ALWAYS TRIGGER log_truncate")


def measure_inserts(bench, repetition, clients):
    results = bench.context.results
    for how in (QUIET, NOTIFY, STUCK):
        listener = None if how == QUIET else bench.listener(stuck=how == STUCK)
        for subject in (OURS, DISABLED):
            bench.triggers(subject == OURS)
            spent = bench.commit_ms(clients, how != QUIET)
            results.add(NAME, repetition, f"{subject} {clients} {how}", {"ms_per_commit": spent})
        bench.triggers(True)
        if listener is not None:
            listener.close()


def run(context):
    bench = Bench(context)
    results = context.results
    try:
        bench.start()
        for repetition in range(context.repetitions):
            results.add(NAME, repetition, OURS, {"import_s": bench.import_seconds()})
            if repetition == 0:
                bench.save()
            results.add(NAME, repetition, BARE, {"import_s": bench.bare_seconds()})
        bench.empty(WRITTEN)
        for repetition in range(context.repetitions):
            for clients in (1, 8):
                measure_inserts(bench, repetition, clients)
    finally:
        bench.stop()
    return rows(results)


def row(results, what, unit, ours, peer, peer_name, figure, goal):
    own, others = results.all(NAME, ours, figure), results.all(NAME, peer, figure)
    mine, theirs = results.median(NAME, ours, figure), results.median(NAME, peer, figure)
    ratios = [a / b for a, b in zip(own, others)]
    return Row(what, unit, mine, peer_name, theirs, mine / theirs, goal, ratios, len(own))


def rows(results):
    found = [
        row(
            results,
            f"import of {ROWS // 1_000_000}M rows, all checks and audit on",
            "s",
            OURS,
            BARE,
            BARE,
            "import_s",
            IMPORT_GOAL,
        )
    ]
    for clients, goal in ((1, INSERT_GOAL), (8, COMMITS_GOAL)):
        for how in (QUIET, NOTIFY, STUCK):
            found.append(
                row(
                    results,
                    f"INSERT of one phone, {clients} session{'s' if clients > 1 else ''}, {how}",
                    "ms a commit",
                    f"{OURS} {clients} {how}",
                    f"{DISABLED} {clients} {how}",
                    DISABLED,
                    "ms_per_commit",
                    goal,
                )
            )
    return found
