# SPDX-License-Identifier: Apache-2.0
"""mapctl check --listener: one corpus of requests, sent to the proxy by real phones and asked of
mapctl with the same certificates; both must give the same answer (F48)."""
import itertools
import re

import pytest

from tests.lab.stack import ROOT
from tests.system.lib import Phone, provision, resp, sql, unique, wait_until
from tests.system.lib.digest import set_password
from tests.system.lib.mapctl import BAD, GOOD, USAGE, mapctl, mapctl_json

SECTIONS = {
    "listener optional": {"client_certificate": "optional"},
    "listener ignored": {"client_certificate": "ignored", "trust_stores": None},
    "listener fallback": {"client_certificate": "optional", "digest": "fallback"},
    "listener always": {"client_certificate": "optional", "digest": "always"},
    "listener strangers": {"client_certificate": "optional", "third_parties": "accept"},
    "trusted_peer sbc": {"trust_store": "corp", "cn": "sbc.example.net"},
}


# Some two hundred runs: the sanitized one starts slowly, and runs in the second test.
RELEASE = ROOT / "build" / "release" / "bin" / "mapctl"


def in_file(phone):
    return ["--cert", str(phone.pem)] if phone.pem else ["--no-cert"]


def check(lab, phone, listener, sender, method, target, run=mapctl, **options):
    configuration = ["--proxy-config", str(lab.path("proxy.conf")), "--listener", listener]
    words = [*configuration, *in_file(phone), sender, method, target]
    return run(lab, "check", *words, **options)


class World:
    """Who may be what. Whom they call is a user without a phone: 480 is as good as any answer, and
    comes at once."""

    def __init__(self, lab):
        self.lab = lab
        self.known = Phone(lab)
        self.unknown = Phone(lab)
        self.named_user = f"{unique()}@{lab.domain}"
        self.named = Phone(lab, store="corp", san=[f"sip:{self.named_user}"])
        self.trusted = Phone(lab, cn="sbc.example.net", store="corp")
        self.nobody = Phone(lab, certified=False)
        self.user, self.disabled = f"{unique()}@{lab.domain}", f"{unique()}@{lab.domain}"
        self.foreign = f"{unique()}@elsewhere.example"
        self.callee = f"{unique()}@{lab.domain}"
        for identity in (self.user, self.disabled, self.foreign):
            provision(lab, self.known.cn, identity)
        sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", self.callee)
        sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", self.disabled)
        wait_until(lambda: resp(lab, "RIGHTS", self.disabled)[2] == "disabled")
        set_password(lab, self.user, "correct horse")
        # For these the user may register, if they are enabled.
        self.rooms = [f"{unique()}@{lab.domain}" for _ in range(3)]
        for room in self.rooms[:2]:
            sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", room)
        sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", self.rooms[1])
        for room in self.rooms:
            sql(
                lab,
                "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, target, effect)"
                " VALUES (50, 'user', %s, '{REGISTER}', 'user', %s, 'allow')",
                *(self.user, room),
            )
        wait_until(lambda: sum("REGISTER" in r for r in resp(lab, "RIGHTS", self.user)[4:]) == 3)
        wait_until(lambda: resp(lab, "RIGHTS", self.rooms[1])[2] == "disabled")
        self.senders = [self.user, self.named_user, self.disabled, self.foreign]
        self.senders += [f"boss@{lab.domain}", "x@other.example"]
        self.targets = [self.callee, f"{unique()}@{lab.domain}", lab.domain]
        self.targets += [f"bob@pbx.{lab.domain}", "bob@nowhere.example"]

    def cells(self):
        """Phone, listener, From, method, target."""
        certified = (self.known, self.unknown, self.named, self.trusted)
        for phone, sender, target in itertools.product(certified, self.senders, self.targets):
            if phone in (self.known, self.trusted) or target == self.callee:
                yield phone, "tls", sender, "MESSAGE", target
        itself = [("REGISTER", to) for to in (self.user, self.callee, *self.rooms, "x@other.example")]
        itself.append(("OPTIONS", self.lab.domain))
        for sender, (method, target) in itertools.product(self.senders, itself):
            yield self.known, "tls", sender, method, target
        for listener in ("optional", "ignored", "fallback", "always", "strangers"):
            shown = (self.nobody, self.known, self.unknown, self.trusted)
            for phone, sender in itertools.product(shown, self.senders):
                if listener != "ignored" or phone is self.nobody:
                    yield phone, listener, sender, "MESSAGE", self.callee


def told(phone, sender, method, target):
    """The proxy's answer."""
    if method == "REGISTER":
        request = phone.make_register(to=f"<sip:{target}>", from_=f"<sip:{sender}>", expires=0)
    else:
        request = phone.request(method, f"sip:{target}", from_=f"<sip:{sender}>")
    return phone.exchange(request)


def difference(lab, phone, listener, *asked):
    """Empty, or what the two say."""
    status, out, err = check(lab, phone, listener, *asked, program=RELEASE)
    assert status in (GOOD, BAD), (asked, out, err)
    verdict = out.splitlines()[0]
    reason = re.search(r"^reason: ([a-z-]+)", out, re.MULTILINE)[1]
    but = re.search(r"^but: ([a-z-]+)", out, re.MULTILINE)
    if getattr(phone, "listener", None) != listener:
        phone.connect(listener=listener)
        phone.listener = listener
    answer = told(phone, *asked)
    warning = answer.get("Warning") or ""
    if verdict == "allowed":
        same = answer.status not in (401, 403, 407) and (but is None or but[1] in warning)
    elif verdict == "challenged":
        same = answer.status in (401, 407) and status == BAD
    else:
        same = verdict == "denied" and answer.status == 403 and reason in warning
    return "" if same else f"{listener} {asked}: {out!r} against {answer.status} {warning}"


@pytest.mark.lab(proxy_sections=SECTIONS)
def test_F48_check_and_the_proxy_give_the_same_answer(fresh_lab):
    world = World(fresh_lab)
    cells = list(world.cells())
    differ = [difference(fresh_lab, *cell) for cell in cells]
    assert not any(differ), "\n".join(filter(None, differ))
    assert len(cells) > 150


@pytest.mark.lab(proxy_sections=SECTIONS)
def test_F48_check_says_why_a_handshake_fails_and_what_cannot_be_asked(fresh_lab):
    lab = fresh_lab
    other = lab.path("other.pem")
    other.write_bytes(lab.path("proxy.conf").read_bytes())
    stranger = Phone(lab)
    asked = ("a@example.org", "MESSAGE", "b@example.org")
    status, answer = check(lab, Phone(lab, certified=False), "tls", *asked, run=mapctl_json)
    assert status == BAD and answer["reason"] == "tls-alert" and "requires" in answer["text"]
    server = Phone(lab, pem=lab.path("server.pem"))
    status, out, _ = check(lab, server, "tls", *asked)
    assert status == BAD and out.startswith("denied\nreason: tls-alert: ")
    for phone, listener, said in (
        (Phone(lab, pem=other), "tls", "must be PEM"),
        (stranger, "nowhere", "no listener nowhere over TLS"),
        (stranger, "tcp", "no listener tcp over TLS"),
    ):
        status, _, err = check(lab, phone, listener, *asked)
        assert status == USAGE and said in err
    status, _, err = mapctl(lab, "check", "--no-cert", *asked)
    assert status == USAGE and "--listener" in err
