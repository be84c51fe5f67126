# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL: one cluster for each lab, copied from a template that has the migrations
deployed.

Making a cluster and deploying every migration takes seconds, copying one takes a tenth of one. The
template lies in build/template, named by a hash of all it depends on, and is made again when a
migration changes.

initdb and postgres refuse root, and the user that they then run as may not be able to enter the
checkout or the lab's folder: a running cluster therefore lies in a temporary folder of its own.
"""
import fcntl
import hashlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from .process import Process, children, start_time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
# The one in PATH is a program in Perl that looks for it, which takes longer than most SQL.
PSQL = BIN / "psql"
DATABASE = "holdline"
SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "wal_level": "logical",
    "max_prepared_transactions": "20",
    "track_commit_timestamp": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %u ",
    "timezone": "UTC",
}


class PostgresError(Exception):
    pass


def server_user():
    """Whom the server runs as: ourselves, or PostgreSQL's user when we are root."""
    return SUPERUSER if os.getuid() == 0 else None


def make_folder(prefix):
    """A temporary folder with a short name (socket paths end at 107 bytes) that the server's user
    owns."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("LAB_TMP", "/tmp")))
    if server_user():
        account = pwd.getpwnam(server_user())
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def run_as_server(argv, **options):
    user = server_user()
    as_user = {"user": user, "group": user, "extra_groups": []} if user else {}
    done = subprocess.run(
        [str(a) for a in argv],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **as_user,
        **options,
    )
    if done.returncode != 0:
        raise PostgresError(f"{argv[0]} failed:\n{done.stdout}")


class Cluster:
    """A cluster with its socket in folder and its files in data (folder/data when nothing else is
    said)."""

    port = 5432  # names the socket; nothing listens on TCP

    def __init__(self, folder, log, process=None, data=None):
        self.folder = pathlib.Path(folder)
        self.data = pathlib.Path(data) if data else self.folder / "data"
        self.log = pathlib.Path(log)
        self.process = process

    @property
    def environment(self):
        """What libpq's programs need to reach it as superuser."""
        return {
            "PGHOST": str(self.folder),
            "PGPORT": str(self.port),
            "PGDATABASE": DATABASE,
            "PGUSER": SUPERUSER,
        }

    def conninfo(self, user=SUPERUSER):
        return f"host={self.folder} port={self.port} dbname={DATABASE} user={user}"

    def start(self, timeout_s=30, **settings):
        """Starts the server and waits until it accepts connections."""
        options = {
            **SETTINGS,
            "unix_socket_directories": str(self.folder),
            "port": self.port,
            **settings,
        }
        argv = [str(BIN / "postgres"), "-D", str(self.data)]
        for key, value in options.items():
            argv += ["-c", f"{key}={value}"]
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"}
        self.process = Process.start(
            argv, self.log, user=server_user(), cwd=str(self.folder), env=environment
        )
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if not self.process.alive():
                raise PostgresError(f"PostgreSQL ended at once; see {self.log}")
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"PostgreSQL was not ready within {timeout_s} s; see {self.log}"
                )
            time.sleep(0.02)

    def ready(self):
        """Whether the server says of itself, in its pid file, that it accepts connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"

    def has_data(self):
        """Whether its database is there, running or not."""
        return (pathlib.Path(self.data) / "PG_VERSION").exists()

    def running(self):
        return self.process is not None and self.process.alive()

    def stop(self, gently=signal.SIGINT):
        """Ends the server: SIGINT breaks connections off and shuts down, SIGQUIT is a crash."""
        if self.process is None:
            return
        self.resume()
        if not self.process.stop(gently, timeout_s=20):
            for pid in children(self.process.pid):
                os.kill(pid, signal.SIGKILL)

    def crash(self):
        """Ends the server as a loss of power would, but for what the kernel already has."""
        self.stop(signal.SIGQUIT)

    def kill(self):
        """kill -9 of the postmaster alone: its children notice and end, nothing is shut down. Waits
        until they have, since a new one does not start beside them."""
        left = [(pid, start_time(pid)) for pid in children(self.process.pid)]
        self.process.kill()
        deadline = time.monotonic() + 30
        while any(started is not None and start_time(pid) == started for pid, started in left):
            if time.monotonic() > deadline:
                raise PostgresError("children of a postmaster that was killed do not end")
            time.sleep(0.02)

    def pause(self):
        """Stops every process of the server: connections stay open, nothing is answered
        (SIGSTOP)."""
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        if self.running():
            for pid in [self.process.pid] + children(self.process.pid):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def sql(self, text, database=DATABASE):
        """Runs SQL through psql and gives its output, unaligned and without headers."""
        done = subprocess.run(
            [PSQL, "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"],
            input=text,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            raise PostgresError(done.stderr.strip())
        return done.stdout.rstrip("\n")

    # ---- A streaming replica

    def make_replica(self, name, **settings):
        """A running standby of this one, in a folder of its own below it; its log beside this
        one's."""
        replica = Cluster(self.folder / name, self.log.with_name(f"postgresql-{name}.log"))
        run_as_server(["mkdir", replica.folder])
        # Kept by a slot: a test may take the replica away for as long as it likes.
        run_as_server(
            [
                *(BIN / "pg_basebackup", "-D", replica.data, "-X", "stream", "-c", "fast"),
                *("--no-sync", "-C", "-S", f"slot_{name}", "-d", self._replication_text()),
            ]
        )
        replica.follow(self, slot=f"slot_{name}")
        replica.start(**settings)
        return replica

    def _replication_text(self):
        return f"host={self.folder} port={self.port} user={SUPERUSER}"

    def follow(self, primary, slot=None):
        """Makes this stopped cluster a standby of primary when it is started next."""
        settings = {"primary_conninfo": f"'{primary._replication_text()}'", "hot_standby": "on"}
        if slot:
            settings["primary_slot_name"] = slot
        settings.update(recovery_target_timeline="latest", wal_retrieve_retry_interval="100ms")
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        self._write("postgresql.auto.conf", text)
        self._write("standby.signal", "")

    def _write(self, name, text):
        path = self.data / name
        path.write_text(text)
        if server_user():
            account = pwd.getpwnam(server_user())
            os.chown(path, account.pw_uid, account.pw_gid)

    def cut_off(self):
        """A standby gets nothing more from its primary, and replays what it has."""
        self._alter("primary_conninfo", "''")
        self.wait_for("SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    def follow_again(self, primary):
        self._alter("primary_slot_name", "''")  # another primary has it not
        self._alter("primary_conninfo", f"'{primary._replication_text()}'")

    def delay_replay(self, delay):
        """Commits are replayed so much later than they were made; '0' ends it."""
        self._alter("recovery_min_apply_delay", f"'{delay}'")

    def _alter(self, name, value):
        self.sql(f"ALTER SYSTEM SET {name} = {value}")
        self.sql("SELECT pg_reload_conf()")

    def promote(self):
        self.sql("SELECT pg_promote(true, 60)", database="postgres")

    def replayed(self, primary):
        """Waits until this standby has replayed all that primary has written by now."""
        lsn = primary.sql("SELECT pg_current_wal_insert_lsn()")
        self.wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'")

    def wait_for(self, question, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while self.sql(question) != "t":
            if time.monotonic() > deadline:
                raise PostgresError(f"not true within {timeout_s} s: {question}")
            time.sleep(0.02)

    def rewind(self, source):
        """Takes this stopped cluster, once a primary, back to where source left it, to follow it."""
        source.sql("CHECKPOINT")  # pg_rewind goes by the timeline of the last one
        run_as_server(
            [
                *(BIN / "pg_rewind", "-D", self.data, "--no-sync"),
                f"--source-server={source._replication_text()} dbname={DATABASE}",
            ]
        )
        self.follow(source)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def migrations():
    folder = ROOT / "migrations"
    return sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else []


def template_name():
    digest = hashlib.sha256()
    version = subprocess.run(
        [BIN / "postgres", "--version"], stdout=subprocess.PIPE, check=True
    ).stdout
    for part in [version, str(os.getuid()).encode(), pathlib.Path(__file__).read_bytes()]:
        digest.update(part)
    for path in migrations():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def deploy(cluster):
    """Brings the database of cluster to the newest migration."""
    if not migrations():
        return
    identity = {"SQITCH_FULLNAME": "Holdline lab", "SQITCH_EMAIL": "lab@example.org"}
    done = subprocess.run(
        ["sqitch", "--chdir", str(ROOT / "migrations"), "deploy", f"db:pg:{DATABASE}"],
        env={**os.environ, **cluster.environment, **identity},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise PostgresError(f"sqitch deploy failed:\n{done.stdout}")


def initdb(cluster):
    """A cluster of its own: another one than the template and its copies, with another identifier."""
    locale = ("--encoding", "UTF8", "--locale", "C.UTF-8")
    who = ("--username", SUPERUSER, "--auth", "trust")
    run_as_server([BIN / "initdb", "-D", cluster.data, *who, *locale, "--no-sync"])


def make_template(path):
    folder = make_folder("holdline-template-")
    cluster = Cluster(folder, folder / "log")
    try:
        initdb(cluster)
        cluster.start(fsync="off")
        cluster.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
        deploy(cluster)
        cluster.stop()
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        subprocess.run(["cp", "-a", str(folder / "data"), str(unfinished)], check=True)
        unfinished.rename(path)
    except Exception as error:
        log = (folder / "log").read_text(errors="replace") if (folder / "log").exists() else ""
        raise PostgresError(f"{error}\n{log}".strip()) from error
    finally:
        cluster.stop()
        cluster.remove()


def copy_template(data):
    """Makes data a cluster by copying the template, which is made first when there is none of these
    migrations."""
    path = ROOT / "build" / "template" / template_name()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in path.parent.iterdir():
                if old.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
            make_template(path)
        subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", str(path), str(data)], check=True)
