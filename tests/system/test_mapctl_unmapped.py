# SPDX-License-Identifier: Apache-2.0
"""mapctl unmapped, watch and credential."""
import hashlib
import json
import os
import select
import signal
import subprocess
import time

import pytest

from tests.system.lib import cn_of, mapctl, mapctl_json, resp, sql, unique, wait_until
from tests.system.lib.mapctl import BAD, GOOD, UNREACHABLE, USAGE
from tests.system.lib.phone import Phone


def spelled(cn):
    return ":".join(cn[i : i + 2].lower() for i in range(0, 12, 2))


def listed(lab, cn, *more):
    status, rows = mapctl_json(lab, "unmapped", *more)
    assert status == GOOD
    return next((row for row in rows if row["cn"] == cn), None)


def test_F32_a_refused_phone_is_listed_adopted_and_registers(lab):
    phone = Phone(lab).connect()
    phone.register(expect=403)
    row = wait_until(lambda: listed(lab, phone.cn))
    assert (row["trust_store"], row["count"], row["from_tried"]) == ("device", 1, phone.identity)
    assert (row["address"], row["reason"]) == ("127.0.0.1", "device-unknown")
    assert row["first_seen"] == row["last_seen"] and row["last_seen"].endswith("Z")
    status, out, err = mapctl(lab, "unmapped", "--store", "device")
    line = next(line for line in out.splitlines() if phone.cn in line)
    assert (status, err) == (GOOD, "") and line.startswith(row["last_seen"])
    assert line.endswith(f", as {phone.identity}, from 127.0.0.1, device-unknown")
    assert phone.cn not in mapctl(lab, "unmapped", "--store", "corp")[1]
    second = f"{unique()}@example.org"
    status, out, err = mapctl(
        lab, "unmapped", "adopt", spelled(phone.cn), f"sip:{phone.identity}", second.upper().replace("EXAMPLE.ORG", "Example.org")
    )
    assert (status, err) == (GOOD, "") and f"device {phone.cn} {phone.identity}\n" in out
    assert listed(lab, phone.cn) is None
    wait_until(lambda: phone.identity in resp(lab, "PEER", "device", phone.cn))
    phone.register(expect=200)


def test_F32_adopt_takes_only_who_was_refused_and_says_what_is_wrong(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    status, out, err = mapctl(lab, "unmapped", "adopt", cn, user)
    assert (status, out) == (BAD, "") and "is not among the devices that were refused" in err
    resp(lab, "REPORT", "device", cn, user, "device-unknown")
    wait_until(lambda: listed(lab, cn))
    status, out, err = mapctl(lab, "unmapped", "adopt", cn, user, "a b@example.org")
    assert (status, out) == (BAD, "") and 'must be escaped; Write %20 instead of " ".' in err  # with the server's HINT
    status, out, err = mapctl(lab, "unmapped", "adopt", "no mac", user)
    assert status == BAD and "is not a MAC address" in err and "; Write twelve hexadecimal digits" in err
    assert listed(lab, cn)
    assert sql(lab, "SELECT 1 FROM cn_mapping WHERE cn = %s", cn) == []
    status, document = mapctl_json(lab, "unmapped", "adopt", cn, user)
    assert (status, document) == (
        GOOD,
        {"trust_store": "device", "cn": cn, "identities": [user]},
    )
    name = f"Odd '; -- {unique()}"
    resp(lab, "REPORT", "corp", name, "", "device-unknown")
    row = wait_until(lambda: listed(lab, name))
    assert row["from_tried"] is None and row["address"] is None
    assert mapctl(lab, "unmapped", "adopt", name, user, "--store", "corp")[0] == GOOD
    for words in (("adopt",), ("adopt", cn), ("other", cn, user)):
        assert mapctl(lab, "unmapped", *words)[0] == USAGE
    assert mapctl(lab, "unmapped", "--limit", "0")[0] == USAGE
    assert mapctl(lab, "unmapped", "--database", "host=/nowhere")[0] == UNREACHABLE


class Watch:
    """mapctl watch under way, read line by line."""

    def __init__(self, lab, *arguments):
        self.process = subprocess.Popen(
            [str(lab.binary("mapctl")), "watch", *arguments],
            env={**os.environ, **lab.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "watching" in self.process.stderr.readline()

    def line_with(self, text, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            assert line, "it has ended"
            if text in line:
                return line.rstrip("\n")
        raise AssertionError(f"no line with {text}")

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        _, err = self.process.communicate(timeout=30)
        assert "Sanitizer" not in err, err
        return self.process.returncode


def test_watch_shows_denials_and_changes_as_they_happen_until_it_is_ended(lab):
    phone = Phone(lab).connect()
    watch, documents = Watch(lab), Watch(lab, "--json")
    phone.register(expect=403)
    line = watch.line_with(phone.cn)
    assert line[23:] == (
        f"Z denial device-unknown: device {phone.cn}, as {phone.identity}, from 127.0.0.1"
    )
    document = json.loads(documents.line_with(phone.cn))
    assert document.pop("at").startswith("20")
    assert document == {
        "event": "denial",
        "count": 1,
        "reason": "device-unknown",
        "trust_store": "device",
        "cn": phone.cn,
        "from": phone.identity,
        "address": "127.0.0.1",
    }
    phone.provision()
    assert watch.line_with(f"device {phone.cn}")[23:] == f"Z change peer device {phone.cn}"
    document = json.loads(documents.line_with(f"device {phone.cn}"))
    assert (document["event"], document["kind"]) == ("change", "peer")
    assert document["serial"] > 0 and document["epoch"] > 0
    assert watch.end() == GOOD and documents.end(signal.SIGTERM) == GOOD


def test_watch_ends_after_so_many_events_and_says_when_mapperd_does_not_answer(lab, make_lab):
    with_count = Watch(lab, "--count", "2")
    for n in range(3):
        resp(lab, "REPORT", "corp", f"Name {unique()}", "", "rule-denies", "", n + 1)
    out, _ = with_count.process.communicate(timeout=30)
    assert with_count.process.returncode == GOOD and len(out.splitlines()) == 2
    assert mapctl(lab, "watch", "--count", "0")[0] == USAGE
    assert mapctl(lab, "watch", "--mapperd-socket", "/nowhere")[0] == UNREACHABLE
    own = make_lab(mapperd_conf={"name": "m-watch"})
    watch, stopped = Watch(own), Watch(own)
    own.processes["mapperd"].send(signal.SIGSTOP)
    _, err = stopped.process.communicate(timeout=60)
    assert stopped.process.returncode == UNREACHABLE and "has said nothing" in err
    own.kill_program("mapperd")
    watch.process.communicate(timeout=30)
    assert watch.process.returncode == UNREACHABLE
    own.start_program("mapperd")


@pytest.mark.lab(mapperd_conf={"name": "m-mapctl-credential"})
def test_F46_credential_sends_hashes_and_the_password_is_in_no_log(fresh_lab):
    lab = fresh_lab
    user, password = unique(), f"p\u00e4ss-{unique()}"
    identity = f"{user}@example.org"
    assert mapctl(lab, "credential", f"sip:{identity}", stdin=password + "\n") == (
        GOOD, f"{identity}: password for realm example.org set\n", ""
    )
    want = hashlib.sha256(f"{user}:example.org:{password}".encode()).hexdigest()
    rows = "SELECT realm, username, ha1_sha256 FROM credential WHERE identity = %s ORDER BY realm"
    assert sql(lab, rows, identity) == [("example.org", user, want)]
    done = mapctl_json(
        lab, "credential", identity, "--realm", "Office", "--username", "ann", stdin=password
    )
    assert done == (GOOD, {"identity": identity, "realm": "Office", "done": "set"})
    want = hashlib.sha256(f"ann:Office:{password}".encode()).hexdigest()
    assert sql(lab, rows, identity)[0] == ("Office", "ann", want)
    # What the server refuses, it may log, with the whole row: it is asked for nothing of the kind.
    for option, bad in (("--realm", 'a"b'), ("--username", "a:b"), ("--realm", "x" * 129)):
        status, _, err = mapctl(lab, "credential", identity, option, bad, stdin=password)
        assert status == USAGE and "must have 1 to 128 octets" in err
    # A refusal with the values bound: they stand in no statement that the server logs.
    sql(lab, "UPDATE domain SET state = state; ALTER TABLE credential RENAME TO credential_away")
    try:
        status, _, err = mapctl(lab, "credential", identity, "--realm", "Refused", stdin=password)
    finally:
        sql(lab, "ALTER TABLE credential_away RENAME TO credential")
    refused = hashlib.sha256(f"{user}:Refused:{password}".encode()).hexdigest()
    log = lab.log_of("postgresql").read_text()
    assert status == BAD and "set_credential_ha1" in log
    assert refused not in log and password not in log
    status, out, _ = mapctl(lab, "credential", identity, "--realm", "Office", "--delete")
    assert (status, out) == (GOOD, f"{identity}: password for realm Office deleted\n")
    assert len(sql(lab, rows, identity)) == 1
    assert mapctl(lab, "credential", identity, "--realm", "Office", "--delete")[0] == BAD
    for stdin, word in (("", "1 to 512"), ("x" * 513, "1 to 512")):
        status, _, err = mapctl(lab, "credential", identity, stdin=stdin)
        assert status == BAD and word in err
    assert "is a domain" in mapctl(lab, "credential", "example.org", stdin="x")[2]
    assert "--username" in mapctl(lab, "credential", "j%C3%B6rg@example.org", stdin="x")[2]
