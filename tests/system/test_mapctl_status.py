# SPDX-License-Identifier: Apache-2.0
"""mapctl status: what it finds, how it judges and shows it."""
import json
import os
import pty
import signal
import subprocess

import pytest

from tests.system.lib import mapctl, mapctl_json, resp, sql, unique, wait_until
from tests.system.lib.mapctl import BAD, GOOD, UNREACHABLE, USAGE


def test_status_shows_database_mapperd_and_counts(lab):
    _, out, _ = mapctl(lab, "status")
    assert "database: answers, holdline as postgres" in out
    for line in ["  cn_mapping: ", "  sip_user: ", "  binding: ", "  mapperd mapperd1: id "]:
        assert line in out
    assert "mapperd: ready, data at most this old in ms: " in out
    assert "  devices: " in out and "\nproxy: " in out


def test_status_ends_with_0_when_all_is_well(lab):
    status, out, err = mapctl(lab, "status")
    assert (status, err) == (GOOD, "")
    assert "\nproxy: ready" in out


def test_status_tells_when_the_proxy_is_without_mapperd(fresh_lab):
    fresh_lab.stop_program("mapperd")
    wait_until(lambda: "mapperd:up" not in str(resp(fresh_lab, "INFO", program="proxy")))
    status, out, _ = mapctl(fresh_lab, "status")
    assert status == UNREACHABLE
    assert "\nmapperd: does not answer\nproxy: is without mapperd\n" in out


def test_status_takes_sockets_from_the_configurations(lab):
    configs = [
        a
        for c in ["mapperd.conf", "proxy.conf"]
        if lab.path(c).exists()
        for a in ("--config", str(lab.path(c)))
    ]
    _, out, err = mapctl(
        lab, *configs, "status", MAPPERD_SOCKET="/nonexistent", PROXY_SOCKET="/nonexistent"
    )
    assert "mapperd: ready" in out
    assert "holdline as holdline_mapperd" in out
    assert "/nonexistent" not in err or not lab.path("proxy.conf").exists()


def test_a_configuration_may_have_what_mapctl_does_not_know_and_include_others(lab, tmp_path):
    (tmp_path / "more.conf").write_text('control_socket = "/nonexistent/proxy"\n')
    config = tmp_path / "proxy.conf"
    config.write_text(
        'workers = 2\ninclude("more.conf")\nlist = {"a", "b"}\n'
        'route pbx { domain = "a" inbound = yes may_assert = {"b"} }\n'
        'listener tls { trust_stores = {"device", "corp"} address = "127.0.0.1:0" }\n'
        'mapperd_socket = "/nonexistent/mapperd"\n'
    )
    _, _, err = mapctl(lab, "--config", str(config), "status")
    assert "/nonexistent/proxy" in err and "/nonexistent/mapperd" in err
    config.write_text('workers = 2\nmapperd_socket == "x"\n')
    status, out, err = mapctl(lab, "--config", str(config), "status")
    assert (status, out) == (USAGE, "") and f"{config}:2: " in err


@pytest.mark.lab
def test_status_without_postgresql_says_so_and_ends_with_3(fresh_lab):
    fresh_lab.postgres.stop()
    wait_until(lambda: "database:0" in str(resp(fresh_lab, "INFO", "sync")))
    status, out, err = mapctl(fresh_lab, "status")
    assert status == UNREACHABLE
    assert out.startswith("database: does not answer\nmapperd: answers from LMDB, without database")
    assert "the database does not answer" in err


def newest_migration(lab):
    return sql(lab, "SELECT change FROM sqitch.changes ORDER BY committed_at DESC LIMIT 1")[0][0]


def test_status_as_json_has_what_each_part_says_of_itself(lab):
    status, found = mapctl_json(lab, "status")
    assert status == GOOD and found["status"] == "good"
    database, mapperd, proxy = found["database"], found["mapperd"], found["proxy"]
    assert [part["trouble"] for part in (database, mapperd, proxy)] == [None] * 3
    assert database["name"] == "holdline" and database["standby"] is False
    assert database["rows"]["trust_store"]["count"] >= 2
    assert database["rows"]["trust_store"]["estimated"] is False
    assert "mapperd1" in [one["name"] for one in database["mapperds"]]
    newest = newest_migration(lab)
    assert database["migration"] == {
        "visible": True,
        "deployed": newest,
        "newest": newest,
        "missing": 0,
        "newer": 0,
    }
    # every field of INFO is there, as a number where it is one
    with_info = {line.split(":")[0] for line in resp(lab, "INFO").splitlines() if ":" in line}
    assert with_info == set(mapperd["info"])
    assert isinstance(mapperd["info"]["age_ms"], int) and mapperd["info"]["name"] == "mapperd1"
    assert proxy["info"]["worker.0.mapperd"] == "up"


def test_status_compares_the_databases_migration_with_the_programs_newest(lab, tmp_path):
    newest = newest_migration(lab)
    assert f"  migration: {newest}, the newest\n" in mapctl(lab, "status")[1]
    plan = tmp_path / "sqitch.plan"
    there = [change for (change,) in sql(lab, "SELECT change FROM sqitch.changes")]
    plan.write_text("".join(f"{change} 2026-01-01T00:00:00Z x <x@y>\n" for change in there)
                    + "later [x] 2026-01-01T00:00:00Z x <x@y> # note\n@tag\n# remark\n\n")
    status, out, _ = mapctl(lab, "status", "--migrations", str(tmp_path))
    assert status == BAD
    assert "  lacks migrations: mapctl migrate\n" in out
    assert f"  migration: {newest}, 1 missing up to later: mapctl migrate\n" in out
    plan.write_text(f"%project=holdline\n{there[0]} 2026-01-01T00:00:00Z x <x@y>\n")
    status, out, _ = mapctl(lab, "status", "--migrations", str(tmp_path))
    assert status == GOOD
    assert f"  migration: {newest}, {len(there) - 1} newer than this program knows\n" in out
    status, out, _ = mapctl(lab, "status", "--migrations", "/nonexistent")
    assert status == GOOD and "; the plan of this program is not found" in out
    # mapperd's role may not read what sqitch has done, and need not
    status, out, err = mapctl(lab, "status", "--config", str(lab.path("mapperd.conf")))
    assert (status, err) == (GOOD, "") and "  migration: this role may not see it\n" in out


def test_status_watch_is_a_line_for_each_look_when_it_is_no_terminal(lab):
    status, out, err = mapctl(lab, "status", "--watch", "--interval", "1", "--count", "2")
    assert (status, err) == (GOOD, "")
    lines = out.splitlines()
    assert len(lines) == 2
    for line in lines:
        fields = dict(field.split("=", 1) for field in line.split())
        assert fields["status"] == "good" and fields["mapperd"] == "ready"
        assert int(fields["age_ms"]) >= 0 and int(fields["connections"]) >= 0
    status, out, _ = mapctl(lab, "status", "--watch", "--count", "1",
                            "--proxy-socket", "/nonexistent")
    assert status == UNREACHABLE and ' proxy="does not answer"\n' in out
    status, out, _ = mapctl(lab, "status", "--watch", "--json", "--interval=1", "--count=2")
    assert status == GOOD
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["good"] * 2


@pytest.mark.parametrize(
    "line, text",
    [
        (["--watch", "--interval", "0"], "--interval 0: write a number from 1 to 3600"),
        (["--watch", "--count", "x"], "--count x: write a number"),
        (["--count", "2"], "go with --watch"),
    ],
)
def test_status_watch_refuses_wrong_numbers(lab, line, text):
    status, out, err = mapctl(lab, "status", *line)
    assert (status, out) == (USAGE, "") and text in err


def start_watch(lab, output, *arguments):
    return subprocess.Popen(
        [str(lab.binary("mapctl")), "status", "--watch", "--interval", "1", *arguments],
        env={**os.environ, **lab.environment()},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_status_watch_ends_with_the_last_looks_status_on_a_signal(lab, end):
    watch = start_watch(lab, subprocess.PIPE)
    assert b"status=good" in watch.stdout.readline()
    watch.send_signal(end)
    _, err = watch.communicate(timeout=30)
    assert (watch.returncode, err) == (GOOD, b"")


def test_status_watch_draws_over_itself_on_a_terminal(lab):
    ours, theirs = pty.openpty()
    watch = start_watch(lab, theirs, "--count", "2", "--proxy-socket", "/nonexistent")
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    _, err = watch.communicate(timeout=30)
    # what does not answer is in the picture, not across it
    assert (watch.returncode, err) == (UNREACHABLE, b"")
    pictures = seen.split(b"\x1b[H")[1:]
    assert len(pictures) == 2
    for picture in pictures:
        lines = picture.split(b"\r\n")
        assert lines[0].startswith(b"every 1 s, Ctrl-C ends; time=")
        assert len(lines) <= 24 and all(len(line) <= 80 + len(b"\x1b[K") for line in lines)
        assert picture.endswith(b"\x1b[J") and b"database: answers" in picture


@pytest.mark.lab
def test_status_ends_although_every_part_stands_still(fresh_lab):
    stopped = [p for p in fresh_lab.processes.values()]
    for process in stopped:
        process.send(signal.SIGSTOP)
    try:
        status, found = mapctl_json(fresh_lab, "status", timeout=120)
    finally:
        for process in stopped:
            process.send(signal.SIGCONT)
    assert status == UNREACHABLE
    assert found["mapperd"]["answers"] is False and found["proxy"]["answers"] is False
    assert found["database"]["answers"] is True
