# SPDX-License-Identifier: Apache-2.0
"""mapctl exporter: what Prometheus reads, by real HTTP, and that nobody can hold it up."""
import http.client
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from tests.lab.stack import ROOT, without_randomization
from tests.system.lib import mapctl, ready_phone, resp, wait_until
from tests.system.lib.mapctl import BAD, GOOD, USAGE

TYPES = {"counter", "gauge", "untyped", "histogram", "summary"}
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"\})? '
    r"(-?[0-9]+(?:\.[0-9]+)?|[+-]Inf|NaN)"
)


def parse(text):
    """{(name, label's value or None): number}; strict, as promtool's check metrics is: HELP, then
    TYPE, then all samples of a metric, each metric and sample once, counters end in _total."""
    assert text.endswith("\n") and "\r" not in text
    samples, current, helped, seen = {}, None, None, set()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped, words = line.split(" ", 3)[2:4]
            assert words[0].isupper() or words[0].isdigit(), line
            assert helped not in seen, line
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert kind in TYPES and name not in seen, line
            assert helped == name or kind == "untyped", line
            assert (kind == "counter") == name.endswith("_total"), line
            assert not re.search(r"_(ms|milliseconds|kb|mb)$", name), line
            seen.add(name)
            current = name
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == current, line
            key = (match[1], match[4])
            assert key not in samples, line
            samples[key] = float(match[5])
    return samples


class Exporter:
    def __init__(self, lab, *arguments):
        self.process = subprocess.Popen(
            without_randomization(lab.variant)
            + [str(lab.binary("mapctl")), "exporter", "--listen", "127.0.0.1:0", *arguments],
            env={**os.environ, **lab.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = self.process.stderr.readline()
        self.port = int(re.fullmatch(r"mapctl: listening at 127\.0\.0\.1:(\d+), .*\n", said)[1])

    def get(self, path, method="GET", timeout=30, body=None):
        """Code, headers and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def metrics(self):
        code, headers, text = self.get("/metrics")
        assert code == 200
        assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return parse(text)


@contextmanager
def exporter(lab, *arguments):
    running = Exporter(lab, *arguments)
    try:
        yield running
        running.process.send_signal(signal.SIGTERM)
        out, err = running.process.communicate(timeout=60)
        assert (running.process.returncode, out, err) == (GOOD, "", "")
    finally:
        running.process.kill()
        running.process.communicate()


@contextmanager
def standing_still(process):
    process.send(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)


@pytest.mark.tsan
def test_metrics_are_well_formed_and_have_every_figure(lab):
    phone = ready_phone(lab)
    assert phone.exchange(phone.make_register(from_="<sip:boss@example.org>")).status == 403
    with exporter(lab) as running:
        # at the very start no tick has said yet how old the data is
        wait_until(lambda: ("holdline_proxy_mapperd_data_age_seconds", "1") in running.metrics())
        found = running.metrics()
        text = running.get("/metrics")[2]
        info = resp(lab, "INFO", "everything")
    assert " untyped" not in text, "a figure of INFO that the exporter has no words for"
    assert found["holdline_mapperd_up", None] == found["holdline_proxy_up", None] == 1
    assert found["holdline_mapperd_ready", None] == found["holdline_proxy_ready", None] == 1
    assert found["holdline_mapperd_info", "mapperd1"] == 1
    assert found["holdline_mapperd_feed_state", "feeding"] == 1
    assert 0 <= found["holdline_mapperd_data_age_seconds", None] < 30
    assert found["holdline_mapperd_devices", None] >= 1
    assert found["holdline_mapperd_map_size_bytes", None] == 1 << 30
    assert found["holdline_proxy_connections", None] >= 1
    assert found["holdline_proxy_mapperd_link_up", "0"] == 1
    assert found["holdline_proxy_reasons_total", "from-not-permitted"] >= 1
    # what it counts goes on
    again = re.search(r"^total_commands_processed:(\d+)", info, re.MULTILINE)
    assert 0 < found["holdline_mapperd_commands_total", None] <= int(again[1])


def test_pages_and_methods(lab):
    with exporter(lab) as running:
        assert running.get("/healthz")[::2] == (200, "ok\n")
        assert running.get("/readyz")[::2] == (200, "mapperd: ready\nproxy: ready\n")
        assert running.get("/readyz?x=1")[0] == 200
        for path in ["/", "/metrics/", "/METRICS", "/../etc/passwd", "/%00", "/" + "x" * 5000]:
            assert running.get(path)[0] == 404, path
        assert running.get("/" + "x" * 60000)[0] in (400, 414, 431)
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"]:
            code, headers, _ = running.get("/metrics", method, body="x" * 10)
            assert code == 405 and headers["Allow"] == "GET, HEAD"
        code, headers, text = running.get("/metrics", "HEAD")
        assert (code, text) == (200, "") and int(headers["Content-Length"]) > 1000
        assert headers["Cache-Control"] == "no-store"
        # two requests of one connection
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        for _ in range(2):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
        connection.close()
        for garbage in [b"\x00" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"*1\r\n$4\r\nINFO\r\n"]:
            with socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                assert b" 200 " not in client.recv(4096)
        assert running.get("/healthz")[0] == 200


@pytest.mark.tsan
def test_a_mapperd_that_hangs_holds_up_nobody(fresh_lab):
    with exporter(fresh_lab, "--timeout", "500") as running:
        with standing_still(fresh_lab.processes["mapperd"]):
            begun = time.monotonic()
            found = running.metrics()
            # not a figure: only far from the 5 s that every other command waits
            assert time.monotonic() - begun < 4
            assert found["holdline_mapperd_up", None] == 0
            assert ("holdline_mapperd_ready", None) not in found
            assert found["holdline_proxy_up", None] == 1
            code, _, text = running.get("/readyz")
            assert code == 503 and text.startswith("mapperd: does not answer\n")
            # the others are answered while one waits
            waiting = [
                socket.create_connection(("127.0.0.1", running.port), timeout=30) for _ in range(8)
            ]
            for client in waiting:
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert running.get("/healthz")[0] == 200
            for client in waiting:
                assert client.recv(12) == b"HTTP/1.1 200"
                client.close()
        wait_until(lambda: running.get("/readyz")[0] == 200)


@pytest.mark.lab
def test_readiness_follows_the_programs_and_either_may_be_left_out(fresh_lab):
    with exporter(fresh_lab) as both, exporter(fresh_lab, "--no-mapperd") as proxy, exporter(
        fresh_lab, "--no-proxy"
    ) as mapperd:
        assert [e.get("/readyz")[0] for e in (both, proxy, mapperd)] == [200] * 3
        fresh_lab.stop_program("proxy")
        assert [e.get("/readyz")[0] for e in (both, proxy, mapperd)] == [503, 503, 200]
        assert mapperd.get("/readyz")[2] == "mapperd: ready\n"
        names = {name for name, _ in mapperd.metrics()}
        assert not any(name.startswith("holdline_proxy_") for name in names)
        fresh_lab.stop_program("mapperd")
        assert [e.get("/readyz")[0] for e in (both, proxy, mapperd)] == [503] * 3
        assert mapperd.metrics() == {("holdline_mapperd_up", None): 0}
        assert both.get("/healthz")[0] == 200


def test_clients_that_say_nothing_are_bounded_and_go(lab):
    with exporter(lab) as running:
        silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(64)]
        silent[0].sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        threads = len(os.listdir(f"/proc/{running.process.pid}/task"))
        assert threads <= 32 + 4

        def answered():
            try:
                return running.get("/healthz", timeout=30)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(answered, timeout=60, what="the silent ones are let go")
        for client in silent:
            client.close()


def test_whatever_info_holds_the_text_is_well_formed(lab, tmp_path):
    lines = [
        b"ready:1", b"ready:0", b"age_ms:unknown", b"polls:x", b"new_thing:5", b"new_thing:6",
        b"new.thing:7", b"lag_ms:1500", b"a b:1", b"\xff:1", b"up:1", b"1x:5", b"db0:keys=1",
        b'name:a"b\\c\xff\x01', b"x" * 200 + b":1", b"ratio:0.25", b"neg:-3", b"v:1.2.3", b"w:-",
        b"data_age_seconds:9", b"role:master",
    ]
    text = b"# Server\r\n" + b"\r\n".join(lines) + b"\r\n"
    path = tmp_path / "mapperd"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def work():
        try:
            client, _ = listener.accept()
            client.recv(4096)
            client.sendall(b"$%d\r\n%s\r\n" % (len(text), text))
            client.close()
        except OSError:
            pass

    thread = threading.Thread(target=work)
    thread.start()
    with exporter(lab, "--no-proxy", "--mapperd-socket", str(path)) as running:
        found = running.metrics()
    thread.join()
    listener.close()
    assert found == {
        ("holdline_mapperd_up", None): 1,
        ("holdline_mapperd_ready", None): 1,
        ("holdline_mapperd_info", 'a\\"b\\\\c??'): 1,
        ("holdline_mapperd_data_age_seconds", None): float("inf"),
        ("holdline_mapperd_new_thing", None): 5,
        ("holdline_mapperd_lag_seconds", None): 1.5,
        ("holdline_mapperd_1x", None): 5,
        ("holdline_mapperd_ratio", None): 0.25,
        ("holdline_mapperd_neg", None): -3,
    }


@pytest.mark.parametrize(
    "line, text",
    [
        (["--listen", "9464"], "--listen: write a numeric address"),
        (["--listen", "localhost:9464"], "--listen: write a numeric address"),
        (["--listen", "127.0.0.1:70000"], "--listen: write a numeric address"),
        (["--listen", ":9464"], "--listen: write a numeric address"),
        (["--listen", "[::1:9464"], "--listen: write a numeric address"),
        (["--timeout", "49"], "--timeout 49: write a number from 50 to 5000"),
        (["--no-proxy", "--no-mapperd"], "nothing to export"),
    ],
)
def test_exporter_refuses_wrong_options(lab, line, text):
    status, out, err = mapctl(lab, "exporter", *line)
    assert (status, out) == (USAGE, "") and text in err


def test_exporter_says_when_its_port_is_taken(lab):
    with exporter(lab) as running:
        status, _, err = mapctl(lab, "exporter", "--listen", f"127.0.0.1:{running.port}")
        assert status == BAD and "can't listen: Address already in use" in err


def test_exporter_unit_starts_what_there_is(lab):
    unit = (ROOT / "etc" / "systemd" / "holdline-exporter.service").read_text()
    words = re.search(r"^ExecStart=/usr/local/bin/mapctl (.*)$", unit, re.MULTILINE)[1].split()
    assert words[0] == "exporter" and "127.0.0.1:9464" in words
    listed = mapctl(lab, "help", "exporter")[1]
    assert all(f"  {word} " in listed for word in words if word.startswith("--"))
