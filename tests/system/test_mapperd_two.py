# SPDX-License-Identifier: Apache-2.0
"""Two mapperds on one primary: each sees the other's bindings, and the version alone decides."""
import os
import threading
import time

import pytest

from tests.lab.process import Process
from tests.lab.resp import Resp, RespError
from tests.lab.stack import PROGRAMS, SANITIZERS, without_randomization
from tests.system.lib import cn_of, resp, sql, wait_until
from tests.system.test_mapperd_bind import Device, located
from tests.system.test_mapperd_feed import change_at_random, info, served, tables


class Second:
    """Another mapperd of the same lab, with a name, a socket and a folder of its own."""

    def __init__(self, lab):
        self.lab = lab
        self.mapperd_socket = str(lab.temporary / "second.sock")
        self.conf = lab.path("second.conf")
        text = lab.path("mapperd.conf").read_text()
        text = text.replace("mapperd1", "mapperd2").replace(lab.mapperd_socket, self.mapperd_socket)
        self.conf.write_text(text.replace(str(lab.path("lmdb")), str(lab.path("second-lmdb"))))
        self.process = None

    def start(self):
        lab = self.lab
        self.process = Process.start(
            without_randomization(lab.variant)
            + [str(lab.binary(PROGRAMS["mapperd"])), "--config", str(self.conf)],
            lab.log_of("second"),
            cwd=str(lab.folder),
            env={**os.environ, **{k: os.environ.get(k, v) for k, v in SANITIZERS.items()}},
        )
        wait_until(self.ready, what="the second mapperd is ready")
        return self

    def ready(self):
        try:
            with Resp(self.mapperd_socket) as client:
                return client.info()["ready"] == "1"
        except (OSError, EOFError, RespError):
            return False

    def stop(self):
        assert self.process.stop(timeout_s=20) and self.process.exit_status == 0

    def bind(self, device, **changed):
        return resp(self, *device.arguments(**changed))[2]


@pytest.fixture
def second(fresh_lab):
    other = Second(fresh_lab).start()
    yield other
    if other.process.alive():
        other.stop()


def shown(where, device):
    return [b["flow"] for b in located(where, device.aor)]


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 10000})
def test_two_mapperds_see_each_others_bindings_and_removals(fresh_lab, second):
    lab = fresh_lab
    device = Device(lab)
    same = {"instance": "<urn:x>", "reg_id": 1}
    assert device.bind(flow="first/1/0/1/1", **same)[2] == "OK"
    wait_until(lambda: shown(second, device) == ["first/1/0/1/1"])
    assert second.bind(device, flow="second/1/0/1/1", **same) == "OK"
    assert shown(second, device) == ["second/1/0/1/1"]
    wait_until(lambda: shown(lab, device) == ["second/1/0/1/1"])
    assert device.bind(flow="first/2/0/1/1", **same)[2] == "OK"
    wait_until(lambda: shown(second, device) == ["first/2/0/1/1"])
    assert resp(second, "UNBIND", device.aor, "*", "", 0, "*")[2] == "OK"
    assert shown(second, device) == []
    wait_until(lambda: shown(lab, device) == [])


@pytest.mark.lab(mapperd_conf={"bind_confirm_ms": 100})
def test_of_two_journals_the_newer_version_stays_whichever_is_replayed_last(fresh_lab, second):
    lab = fresh_lab
    same = {"instance": "<urn:x>", "reg_id": 1}
    devices = [Device(lab) for _ in range(2)]
    for device in devices:
        wait_until(lambda: device.aor in resp(second, "PEER", "device", device.cn))
    # mapperds learn their numbers before the primary goes away.
    assert second.bind(devices[0], **same) == "OK" and devices[0].bind(**same)[2] == "OK"
    lab.postgres.stop()
    assert devices[0].bind(flow="first/9/0/1/1", **same)[2] == "OK"
    time.sleep(0.01)  # another millisecond: the clocks are one, the versions are of it
    assert second.bind(devices[0], flow="second/9/0/1/1", **same) == "OK"
    assert second.bind(devices[1], flow="second/9/0/1/1", **same) == "OK"
    time.sleep(0.01)
    assert devices[1].bind(flow="first/9/0/1/1", **same)[2] == "OK"
    # Each shows its own: while the primary is away, other sites do not see new bindings.
    assert shown(lab, devices[0]) == ["first/9/0/1/1"]
    assert shown(second, devices[0]) == ["second/9/0/1/1"]
    second.process.kill()
    lab.postgres.start()
    with Resp(lab.mapperd_socket) as client:
        wait_until(lambda: client.info()["journal_entries"] == "0")
    second.start()
    with Resp(second.mapperd_socket) as client:
        wait_until(lambda: client.info()["journal_entries"] == "0")
    for device, wins in zip(devices, ("second/9/0/1/1", "first/9/0/1/1")):
        wait_until(lambda: shown(lab, device) == shown(second, device) == [wins])
        assert sql(lab, "SELECT flow FROM binding WHERE aor = %s", device.aor) == [(wins,)]


@pytest.mark.lab(mapperd_conf={"log_keep_s": 1})
def test_two_mapperds_that_prune_at_once_lose_nothing_that_either_needs(fresh_lab, second):
    """Ten times a second each, while the log grows; neither has to fill, nor fails, nor waits for the other."""
    lab, stop = fresh_lab, threading.Event()
    cns = [cn_of() for _ in range(200)]
    changers = [
        threading.Thread(target=change_at_random, args=(lab, cns, stop, seed, 0)) for seed in (1, 2)
    ]
    for changer in changers:
        changer.start()
    try:
        wait_until(lambda: all(int(info(one)["log_pruned"]) > 100 for one in (lab, second)), timeout=60)
    finally:
        stop.set()
        for changer in changers:
            changer.join()
    truth = tables(lab)
    for one in (lab, second):
        wait_until(lambda: served(one, cns) == truth, what=one)
        assert info(one)["fills"] == "1"
    # And each comes to its end: what is left is what is younger than the time to keep.
    wait_until(lambda: sql(lab, "SELECT count(*) FROM change_log WHERE kind = 'peer'") == [(0,)])
    for name in ("mapperd", "second"):
        log = lab.log_of(name).read_text()
        assert not any(word in log for word in ("prune-failed", "database-lost", "history-lost"))
