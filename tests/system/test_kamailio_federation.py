# SPDX-License-Identifier: Apache-2.0
"""Kamailio, as Debian packages it, is another domain: calls and messages in both directions over
mutual TLS, with the configurations that docs/federation.md shows."""
import contextlib
import os
import re
import shutil
import signal
import socket

import pytest

from tests.lab.postgres import ROOT
from tests.lab.process import Process
from tests.lab.stack import reserve_port
from tests.system.lib import (
    Federation,
    Pbx,
    Stream,
    establish,
    ready_phone,
    resp,
    sql,
    wait_until,
)

PAGE = ROOT / "docs" / "federation.md"
OTHER = "other.example"


def block(title):
    """The indented text below a heading of the page."""
    text = PAGE.read_text().split(f"### {title}\n\n")[1]
    lines = re.match(r"(?:    .*\n|\n)+", text)[0].splitlines()
    return "\n".join(line[4:] for line in lines) + "\n"


class Kamailio:
    """One Kamailio with the page's configuration, on ports of loopback."""

    def __init__(self, folder, federation, phone):
        self.folder = folder
        self.log = folder / "kamailio.log"
        self.process = None
        self.ports, self.holders = {}, []
        for name in ("tls", "tcp"):
            self.ports[name], holder = reserve_port()
            self.holders.append(holder)
        self.use(federation.pem(OTHER))
        shutil.copy(federation.trust, folder / "federation-ca.pem")
        self.words = {
            "/etc/kamailio": str(folder),
            "192.0.2.30:5061": f"127.0.0.1:{self.ports['tls']}",
            "192.0.2.30:5060": f"127.0.0.1:{self.ports['tcp']}",
            "192.0.2.31:5060": phone,
        }

    def use(self, pem):
        """What it shows, from its next start on."""
        for name in ("other.example.pem", "other.example.key"):
            shutil.copy(pem, self.folder / name)

    def start(self, ours):
        words = {**self.words, "192.0.2.1:5061": ours}
        for name in ("kamailio.cfg", "tls.cfg"):
            (self.folder / name).write_text(replace(block(name), words))
        while self.holders:
            self.holders.pop().close()
        self.process = Process.start(
            ["kamailio", "-DD", "-E", "-m", "64", "-M", "8", "-Y", str(self.folder)]
            + ["-f", str(self.folder / "kamailio.cfg")],
            self.log,
            cwd=str(self.folder),
        )
        wait_until(self.listens, what=f"Kamailio listens: {self.log}")
        return self

    def listens(self):
        assert self.process.alive(), self.log.read_text()[-3000:]
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.ports["tcp"]), 1).close()
            return True
        return False

    def stop(self):
        while self.holders:
            self.holders.pop().close()
        if self.process and self.process.alive():
            os.killpg(self.process.pid, signal.SIGKILL)  # asked, it takes up to a minute
            self.process.wait(10)


def replace(text, words):
    for word, value in words.items():
        text = text.replace(word, value)
    return text


class KamailioPhone(Pbx):
    """bob of other.example, where Kamailio looks for him; he sends by a connection of his own."""

    def __init__(self, lab):
        super().__init__(lab, "bob", OTHER, ("127.0.0.1", 0))

    def connect_to(self, port):
        self.streams.append(Stream(socket.create_connection(("127.0.0.1", port), 15)))
        return self


def proxy_sections(words):
    """The page's sections for the lab, whose own syntax is a dictionary."""
    sections = {}
    for title, body in re.findall(r"^(\w+ \w+) \{\n(.*?)^\}", block("proxy.conf"), re.M | re.S):
        options = dict(re.findall(r"^ +(\w+) = (.+)$", body, re.M))
        options.pop("address" if title.startswith("listener") else "", None)
        sections[title] = {
            name: re.findall(r'"(.*?)"', replace(value, words))
            if value.startswith("{")
            else replace(value, words).strip('"')
            for name, value in options.items()
        }
    return sections


def knows_the_rule(lab, phone):
    return any(OTHER in rule for rule in resp(lab, "RIGHTS", phone.identity)[4:])


@pytest.fixture
def both(make_lab, tmp_path):
    """Both domains with the page's configurations: the lab, alice of ours, bob of theirs, Kamailio."""
    federation = Federation(tmp_path)
    with contextlib.ExitStack() as stack:
        bob = stack.enter_context(KamailioPhone(None))
        kamailio = Kamailio(tmp_path, federation, bob.local)
        stack.callback(kamailio.stop)
        shutil.copy(federation.ours, tmp_path / "example.org.pem")
        shutil.copy(federation.ours, tmp_path / "example.org.key")
        words = {"/etc/holdline": str(tmp_path), **kamailio.words}
        lab = make_lab(proxy_sections=proxy_sections(words))
        kamailio.start(f"127.0.0.1:{lab.ports['federation']}")
        sql(lab, block("SQL"))
        alice = stack.enter_context(ready_phone(lab))
        wait_until(lambda: knows_the_rule(lab, alice), what="the page's rule")
        kamailio.federation = federation
        yield lab, alice, bob.connect_to(kamailio.ports["tcp"]), kamailio


def log_of(lab):
    return lab.log_of("proxy").read_text()


def end(by, other):
    bye = by.bye()
    other.expect_bye()
    assert by.agent.response(bye).status == 200


def test_messages_go_to_kamailio_and_come_back(both):
    lab, alice, bob, _ = both
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="hello bob"))
    got = bob.expect("MESSAGE")
    assert got.text() == "hello bob" and got.from_uri == alice.aor
    bob.reply(got, 200)
    assert alice.response(sent).status == 200
    sent = bob.send(bob.request("MESSAGE", alice.aor, body="hello alice"))
    got = alice.expect("MESSAGE")
    assert got.text() == "hello alice" and got.from_uri == bob.aor
    alice.reply(got, 200)
    assert bob.response(sent).status == 200
    log = log_of(lab)
    assert "route=other store=federation" in log
    assert 'listener=federation store=federation cn="other.example"' in log


@pytest.mark.parametrize("ender", ["alice", "bob"])
def test_calls_go_to_kamailio_and_either_side_ends_them(both, ender):
    _, alice, bob, _ = both
    out, into = establish(alice, bob)
    end(*((out, into) if ender == "alice" else (into, out)))


@pytest.mark.parametrize("ender", ["alice", "bob"])
def test_calls_come_from_kamailio_and_either_side_ends_them(both, ender):
    _, alice, bob, _ = both
    out, into = establish(bob, alice)
    end(*((into, out) if ender == "alice" else (out, into)))


def test_T01_kamailio_speaks_for_nobody_else(both):
    """Not for users of ours, not for a third domain, and it reaches nobody but users of ours."""
    _, alice, bob, _ = both
    for name in (f"<{alice.aor}>", "<sip:carol@third.example>"):
        refused = bob.exchange(bob.request("MESSAGE", alice.aor, from_=name))
        assert refused.status == 403 and "from-not-permitted" in refused.get("Warning")
    assert not alice.seen("MESSAGE")


def test_T20_kamailio_by_another_name_is_another(both):
    """The same machine and authority, with a certificate for third.example."""
    lab, alice, bob, kamailio = both
    kamailio.stop()
    kamailio.use(kamailio.federation.pem("third.example"))
    kamailio.start(f"127.0.0.1:{lab.ports['federation']}")
    assert alice.message(bob.aor).status == 500
    wait_until(lambda: 'wanted="other.example"' in log_of(lab), what="whom it takes it for")
    assert 'names="third.example"' in log_of(lab)
    bob.connect_to(kamailio.ports["tcp"])
    refused = bob.exchange(bob.request("MESSAGE", alice.aor))
    assert refused.status == 403 and "from-not-permitted" in refused.get("Warning")
