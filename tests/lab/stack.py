# SPDX-License-Identifier: Apache-2.0
"""A private stack in one folder: PostgreSQL, mapperd and proxy, with two authorities and their
configuration.

    FOLDER/env          shell fragment that says where everything is; there while the lab runs
    FOLDER/state.json   processes and ports, for the program that stops the lab later
    FOLDER/log/         one log for each program
    FOLDER/*.conf       what mapperd and proxy were started with
    FOLDER/lmdb/        mapperd's store
    FOLDER/*.pem, *.key the authorities and the server's certificate

What must have a short name or be open to PostgreSQL's user (its cluster, all unix sockets) lies in
a folder of its own below /tmp, which goes when the lab stops.
"""
import json
import os
import pathlib
import platform
import random
import re
import shlex
import shutil
import signal
import socket
import time

from . import certificates, postgres
from .process import Process
from .resp import Resp, RespError

ROOT = postgres.ROOT
DOMAIN = "example.org"
PROGRAMS = {"mapperd": "holdline-mapperd", "proxy": "holdline-proxy"}
READY_TIMEOUT_S = 20  # of one program; with PostgreSQL a lab is up, or down again, within 60 s

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=66:second_deadlock_stack=1",
}


class LabError(Exception):
    pass


def reserve_port():
    """A TCP port of 127.0.0.1 below those that the kernel hands out, and the socket that holds it
    meanwhile.

    Held with SO_REUSEPORT and never listening: the proxy can bind it, another lab that looks for a
    port can not.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first_ephemeral = int(file.read().split()[0])
    for _ in range(200):
        port = random.randrange(10000, max(first_ephemeral, 12000))
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            probe.close()
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        return port, holder
    raise LabError("no free port found on 127.0.0.1")


def without_randomization(variant):
    """The prefix that a sanitizer's program needs where the kernel spreads its address space too
    far (facts.md)."""
    if variant in ("release", "coverage"):
        return []
    try:
        with open("/proc/sys/vm/mmap_rnd_bits") as file:
            return ["setarch", platform.machine(), "-R"] if int(file.read()) > 28 else []
    except OSError:
        return []


def extra_conf(program):
    """The text of the file that LAB_PROXY_CONF_EXTRA or LAB_MAPPERD_CONF_EXTRA names."""
    path = os.environ.get(f"LAB_{program.upper()}_CONF_EXTRA")
    return pathlib.Path(path).read_text() if path else ""


class Stack:
    """A stack that was started here, or by another program in this folder (Stack.load).

    proxy_conf, mapperd_conf  options by name, over those that the lab writes
    postgres_settings         the same for PostgreSQL; fsync is on unless this says otherwise
    proxy_sections            options by name, by section: {"trust_store device": {"security_level": 0}}
                              goes over what the lab writes; "listener NAME" that is new is one more
                              over TLS, with the first one's options and ports[NAME]; None removes
                              an option; FOLDER/ at the start of a text is the lab's folder
    wrap                      by program, words before its command line: {"proxy": ["valgrind"]}
    """

    def __init__(
        self,
        folder,
        variant="release",
        workers=2,
        proxy_conf=None,
        mapperd_conf=None,
        postgres_settings=None,
        domain=DOMAIN,
        wrap=None,
        proxy_sections=None,
    ):
        self.folder = pathlib.Path(os.path.abspath(folder))
        self.variant = variant
        self.workers = workers
        self.domain = domain
        self.proxy_settings = dict(proxy_conf or {})
        self.mapperd_settings = dict(mapperd_conf or {})
        self.proxy_sections = {k: dict(v) for k, v in (proxy_sections or {}).items()}
        self.postgres_settings = dict(postgres_settings or {})
        self.wrap = dict(wrap or {})
        self.extra = {program: extra_conf(program) for program in PROGRAMS}
        self.temporary = None
        self.postgres = None
        self.replicas = {}
        self.processes = {}
        self.ports = {}
        self.holders = []

    # ---- Places

    def path(self, *parts):
        return self.folder.joinpath(*parts)

    @property
    def log(self):
        return self.path("log")

    def log_of(self, program):
        """Its log, with all that it has said up to now: a thread of its own writes it."""
        if program in self.processes:
            self.processes[program].wait_for_thread("log")
        return self.log / f"{program}.log"

    @property
    def mapperd_socket(self):
        return str(self.temporary / "mapperd.sock")

    @property
    def proxy_socket(self):
        return str(self.temporary / "proxy.sock")

    @property
    def sip_tls(self):
        """Host and port of the TLS listener, as a pair."""
        return "127.0.0.1", self.ports["tls"]

    @property
    def sip_tcp(self):
        return "127.0.0.1", self.ports["tcp"]

    @property
    def route_pbx(self):
        """Where the proxy looks for pbx.example.org."""
        return "127.0.0.1", self.ports["pbx"]

    def binary(self, name):
        return ROOT / "build" / self.variant / "bin" / name

    def has(self, program):
        return self.binary(PROGRAMS[program]).exists()

    # ---- Life

    def start(self):
        """Everything from nothing; on any error nothing is left running."""
        self._make_folder()
        try:
            self._make_certificates()
            self.temporary = postgres.make_folder("holdline-lab-")
            # Ours as well as the server's: sockets of our programs lie in it too.
            self.temporary.chmod(0o711 if os.getuid() == 0 else 0o700)
            self.postgres = self._make_cluster()
            self.postgres.start(**self.postgres_settings)
            self.save()
            self._make_database()
            self._choose_ports()
            for program in PROGRAMS:
                self.start_program(program)
            self.save()
        except BaseException:
            self.end()
            raise
        finally:
            self._release_ports()
        return self

    def start_missing(self):
        """Starts again what has ended since, with the data there is."""
        if not self.postgres.running():
            self.postgres.start(**self.postgres_settings)
            self.save()
        for program in PROGRAMS:
            if program not in self.processes or not self.processes[program].alive():
                self.start_program(program)

    def start_program(self, program):
        """Starts mapperd or proxy with the configuration it had and waits until it is ready. No SQL
        in here."""
        if not self.has(program) or (program == "proxy" and not self.has("mapperd")):
            return
        info = self._wait_ready(program, self.launch(program))
        if program == "proxy":
            for listener in ("tls", "tcp", *self._own_listeners()):
                self.ports[listener] = int(info[f"listener.{listener}.address"].rpartition(":")[2])
        self.save()

    def launch(self, program):
        """Starts mapperd or proxy and waits for nothing. Gives the path of its socket."""
        write = {"mapperd": self.write_mapperd_conf, "proxy": self.write_proxy_conf}[program]
        configuration = write()
        socket_path = {"mapperd": self.mapperd_socket, "proxy": self.proxy_socket}[program]
        pathlib.Path(socket_path).unlink(missing_ok=True)
        argv = (
            without_randomization(self.variant)
            + self.wrap.get(program, [])
            + [str(self.binary(PROGRAMS[program])), "--config", str(configuration)]
        )
        environment = {**os.environ, **{k: os.environ.get(k, v) for k, v in SANITIZERS.items()}}
        self.processes[program] = Process.start(
            argv, self.log / f"{program}.log", cwd=str(self.folder), env=environment
        )
        self.save()
        return socket_path

    def _wait_ready(self, program, path):
        deadline = time.monotonic() + READY_TIMEOUT_S
        process = self.processes[program]
        said = "its socket does not answer"
        while time.monotonic() < deadline:
            if not process.alive():
                raise LabError(
                    f"{program} ended with status {process.exit_status} instead of becoming ready"
                )
            try:
                with Resp(path, timeout_s=2) as client:
                    info = client.info()
                if info.get("ready") == "1":
                    return info
                said = f"its INFO says ready:{info.get('ready')}"
            except (OSError, EOFError, RespError) as error:
                said = f"its socket says: {error}"
            time.sleep(0.02)
        raise LabError(f"{program} was not ready within {READY_TIMEOUT_S} s: {said}")

    def stop_program(self, program, timeout_s=20):
        """Asks mapperd or proxy to end; returns its exit status (None when another program had
        started it)."""
        process = self.processes.pop(program, None)
        if process is None:
            return None
        if not process.stop(timeout_s=timeout_s):
            raise LabError(f"{program} did not end within {timeout_s} s of SIGTERM and was killed")
        return process.exit_status

    def kill_program(self, program):
        """kill -9."""
        self.processes.pop(program).kill()

    def restart_program(self, program):
        try:
            self.stop_program(program)
        finally:
            self.start_program(program)

    def running(self):
        """Whether all that was started still runs."""
        return (
            self.postgres is not None
            and self.postgres.running()
            and all(process.alive() for process in self.processes.values())
        )

    def stop(self, timeout_s=20):
        """Stops everything, in the order that lets each part end cleanly. May be called twice.

        Returns {program: exit status} of what had to be asked; raises when one had to be killed.
        """
        statuses, errors = {}, []
        for program in ("proxy", "mapperd"):
            if program in self.processes:
                try:
                    statuses[program] = self.stop_program(program, timeout_s)
                except LabError as error:
                    errors.append(str(error))
        for cluster in (*self.replicas.values(), self.postgres):
            if cluster is not None:
                # What is thrown away need not be written first.
                cluster.stop(signal.SIGQUIT if self._is_temporary(cluster) else signal.SIGINT)
        self.postgres = None
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)
            self.temporary = None
        for name in ("env", "state.json"):
            self.path(name).unlink(missing_ok=True)
        if errors:
            raise LabError("; ".join(errors))
        return statuses

    def _is_temporary(self, cluster):
        return self.temporary is not None and self.temporary in cluster.data.parents

    def end(self):
        """stop() for when it matters only that nothing is left, and soon."""
        try:
            self.stop(timeout_s=3)
        except LabError:
            pass

    # ---- What a lab is made of

    def _make_folder(self):
        self.log.mkdir(parents=True, exist_ok=True)
        for old in self.log.glob("*.log"):
            old.unlink()
        shutil.rmtree(self.path("lmdb"), ignore_errors=True)

    def _make_cluster(self):
        cluster = postgres.Cluster(self.temporary, self.log_of("postgresql"))
        postgres.copy_template(cluster.data)
        return cluster

    def _make_database(self):
        self.postgres.sql(
            f"INSERT INTO domain (name) VALUES ('{self.domain}') ON CONFLICT DO NOTHING"
        )

    def make_replica(self, name="b"):
        """A streaming standby of the lab's PostgreSQL, stopped with the lab."""
        self.replicas[name] = self.postgres.make_replica(name, **self.postgres_settings)
        return self.replicas[name]

    def _make_certificates(self):
        self.ca = certificates.Authority(self.path("ca.pem"), self.path("ca.key"), "Device root")
        self.ca2 = certificates.Authority(
            self.path("ca2.pem"), self.path("ca2.key"), "Corporate root"
        )
        certificates.write_server(
            self.ca, self.path("server.pem"), self.path("server.key"), self.domain
        )

    def _choose_ports(self):
        for name in ("tls", "tcp", "pbx", *self._own_listeners()):
            if name not in self.ports:
                self.ports[name], holder = reserve_port()
                self.holders.append(holder)

    def _release_ports(self):
        while self.holders:
            self.holders.pop().close()

    def write_mapperd_conf(self):
        settings = {
            "name": "mapperd1",
            "socket": self.mapperd_socket,
            "lmdb_dir": str(self.path("lmdb")),
            "lmdb_map_size_mb": 1024,
            "database": self.postgres.conninfo("holdline_mapperd"),
            "log_level": "debug",
            "log_file": "-",
        }
        return self._write_conf("mapperd", settings, self.mapperd_settings)

    def write_proxy_conf(self):
        settings = {
            "name": "proxy1",
            "workers": self.workers,
            "mapperd_socket": self.mapperd_socket,
            "control_socket": self.proxy_socket,
            "token_keys": str(self.path("token.keys")),
            "log_level": "debug",
            "log_file": "-",
        }
        return self._write_conf("proxy", settings, self.proxy_settings, self._sections())

    def _own_listeners(self):
        """Names of the listeners that proxy_sections adds."""
        names = [title.split()[1] for title in self.proxy_sections if title.startswith("listener ")]
        return [name for name in names if name not in ("tls", "tcp")]

    def _sections(self):
        """The sections of proxy.conf: the lab's, and over them those of proxy_sections."""
        tls = {
            "transport": "tls",
            "certificate": str(self.path("server.pem")),
            "key": str(self.path("server.key")),
            "trust_stores": ["device", "corp"],
        }
        sections = {
            "trust_store device": {"ca": str(self.path("ca.pem"))},
            "trust_store corp": {"ca": str(self.path("ca2.pem"))},
            "listener tls": tls,
            "listener tcp": {"transport": "tcp"},
            "route pbx": {
                "domain": f"pbx.{self.domain}",
                "address": f"127.0.0.1:{self.ports['pbx']}",
                "transport": "tcp",
                "inbound": True,
                "may_assert": [f"pbx.{self.domain}"],
            },
        }
        for title, own in self.proxy_sections.items():
            base = sections.get(title, tls if title.startswith("listener ") else {})
            merged = {**base, **{k: in_folder(v, self.folder) for k, v in own.items()}}
            sections[title] = {k: v for k, v in merged.items() if v is not None}
        for title, options in sections.items():
            if title.startswith("listener "):
                options["address"] = f"127.0.0.1:{self.ports[title.split()[1]]}"
        return "".join(
            title + " {\n" + "".join(f"    {k} = {as_value(v)}\n" for k, v in options.items()) + "}\n"
            for title, options in sections.items()
        )

    def _write_conf(self, program, settings, own, sections=""):
        """Settings of the lab, over them the test's, over them those of LAB_…_CONF_EXTRA."""
        settings = {**settings, **own}
        rest, depth = "", 0
        for line in self.extra[program].splitlines():
            simple = re.match(r"^\s*([a-z_0-9]+)\s*=\s*(.+?)\s*$", line)
            if simple and depth == 0 and "{" not in line:
                settings[simple[1]] = Raw(simple[2])
            else:
                rest += line + "\n"
            depth += line.count("{") - line.count("}")
        text = "".join(f"{key} = {as_value(value)}\n" for key, value in settings.items())
        path = self.path(f"{program}.conf")
        path.write_text(text + sections + rest)
        return path

    # ---- What others learn of it

    def environment(self):
        """What FOLDER/env says, as a dictionary."""
        variables = {
            **self.postgres.environment,
            "SIP_DOMAIN": self.domain,
            "SIP_TLS": f"127.0.0.1:{self.ports.get('tls', 0)}",
            "SIP_TCP": f"127.0.0.1:{self.ports.get('tcp', 0)}",
            "ROUTE_PBX": f"127.0.0.1:{self.ports.get('pbx', 0)}",
            "CA_CERT": str(self.path("ca.pem")),
            "CA_KEY": str(self.path("ca.key")),
            "CA2_CERT": str(self.path("ca2.pem")),
            "CA2_KEY": str(self.path("ca2.key")),
            "SERVER_CERT": str(self.path("server.pem")),
            "SERVER_KEY": str(self.path("server.key")),
            "MAPPERD_SOCKET": self.mapperd_socket,
            "PROXY_SOCKET": self.proxy_socket,
            "MAPPERD_CONF": str(self.path("mapperd.conf")),
            "PROXY_CONF": str(self.path("proxy.conf")),
            "LMDB_DIR": str(self.path("lmdb")),
            "MAPCTL": str(self.binary("mapctl")),
            "POSTGRES_PID": str(self.postgres.process.pid),
        }
        for program, process in self.processes.items():
            variables[f"{program.upper()}_PID"] = str(process.pid)
        return variables

    def save(self):
        """Writes env and state.json, each whole."""
        variables = self.environment()
        lines = [f"{key}={shlex.quote(value)}\n" for key, value in variables.items()]
        replace(self.path("env"), "".join(lines) + "export " + " ".join(variables) + "\n")
        replace(
            self.path("state.json"),
            json.dumps(
                {
                    "variant": self.variant,
                    "workers": self.workers,
                    "domain": self.domain,
                    "temporary": str(self.temporary),
                    "ports": self.ports,
                    "postgres": self.postgres.process.state(),
                    "data": str(self.postgres.data),
                    "processes": {
                        program: process.state() for program, process in self.processes.items()
                    },
                    "proxy_settings": {
                        k: v for k, v in self.proxy_settings.items() if not isinstance(v, Raw)
                    },
                    "mapperd_settings": {
                        k: v for k, v in self.mapperd_settings.items() if not isinstance(v, Raw)
                    },
                    "proxy_sections": self.proxy_sections,
                    "wrap": self.wrap,
                    "extra": self.extra,
                },
                indent=1,
            )
            + "\n",
        )

    @classmethod
    def load(cls, folder):
        """The stack that another program started in folder; None when there is none."""
        try:
            state = json.loads((pathlib.Path(folder) / "state.json").read_text())
        except FileNotFoundError:
            return None
        stack = cls(
            folder,
            state["variant"],
            state["workers"],
            state["proxy_settings"],
            state["mapperd_settings"],
            domain=state["domain"],
            wrap=state["wrap"],
            proxy_sections=state["proxy_sections"],
        )
        stack.extra = {p: extra_conf(p) or text for p, text in state["extra"].items()}
        stack.temporary = pathlib.Path(state["temporary"])
        stack.ports = state["ports"]
        stack.postgres = postgres.Cluster(
            stack.temporary,
            stack.log_of("postgresql"),
            Process.found(state["postgres"]),
            state["data"],
        )
        stack.processes = {name: Process.found(found) for name, found in state["processes"].items()}
        stack._make_certificates()
        return stack

    def last_lines(self, count=15):
        """The end of each log, for a person who wants to know why it did not start."""
        text = ""
        for log in sorted(self.log.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-count:]
            text += f"--- last lines of {log}\n" + "".join(line + "\n" for line in lines)
        return text


class Raw(str):
    """A value in the configuration's own syntax."""


def quoted(value):
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def in_folder(value, folder):
    """FOLDER/ at the start of a text, or of a list's texts, as the folder."""
    if isinstance(value, (list, tuple)):
        return [in_folder(v, folder) for v in value]
    if isinstance(value, str) and not isinstance(value, Raw) and value.startswith("FOLDER/"):
        return str(folder / value[len("FOLDER/") :])
    return value


def as_value(value):
    if isinstance(value, Raw):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(as_value(v) for v in value) + "}"
    return quoted(value)


def replace(path, text):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.rename(path)
