# SPDX-License-Identifier: Apache-2.0
"""Each change against each state that it finds (T19, F25). What has to come of it:

    change               idle      parked  unsent  ringing  registered    in a call
    mapping-removed      closed    403     403     403      gone          refused, lone
    user-disabled        closed    403     403     403      gone          refused, lone
    domain-disabled      closed    403     403     403      gone          refused, lone
    store-disabled       closed    403     403     403      gone          refused, lone
    store-removed        closed    403     403     403      gone          refused, lone
    device-disabled      closed    403     403     403      gone          refused, lone
    certificate-blocked  closed    403     403     403      unreachable   refused, lone
    certificate-revoked  closed    403     403     403      unreachable   shut out, lone
    certificate-by-ocsp  closed    403     403     403      unreachable   shut out, lone
    reload-store         closed    403     403     403      unreachable   shut out, lone
    reload-anchor        closed    403     403     403      unreachable   shut out, lone
    reload-certificate   closed    403     403     403      unreachable   shut out, lone
    reload-tls-min       closed    403     403     403      unreachable   shut out, lone
    reload-crl-check     closed    403     403     403      unreachable   shut out, lone
    reload-trusted-peer  closed    403     403     403      -             refused, lone
    password-changed     closed    403     403     403      gone          refused, lone
    password-removed     closed    403     403     403      gone          refused, lone
    membership-removed   refused   403     403     403      stays         stays
    rule-removed         refused   403     403     403      stays         stays
    rule-denies          refused   403     403     403      stays         stays

closed       its connection is ended, for what concerns many within 10 s
refused      new requests get 403; inside a call: on a new connection, its own requests do
403          the request is answered 403 and nothing of it arrives, or what rings is cancelled
gone         the binding is deleted
unreachable  the binding is the device's, not the certificate's, and stays; nobody is reached by it
             unless the device comes back with another certificate
shut out     TLS does not let it in again
lone         a request of the other side gets an answer: the other side's BYE ends the call there
stays        rules are about new requests; who may have a call goes on having it, and is called
"""
import re
import shutil
import signal
import ssl
import time

import pytest

from tests.conftest import Lab, LabError
from tests.lab import certificates
from tests.lab.stack import quoted
from tests.system.lib import (
    Call, Phone, SDP, certificate, ready_phone, resp, sql, unique, wait_until,
)
from tests.system.lib.digest import exchange, login, set_password
from tests.system.lib.ocsp import Responder
from tests.system.test_blocked_certificate import sha256
from tests.system.test_foreign_callers import reaches, rule
from tests.system.test_parking_connect import FullServer, connecting
from tests.system.test_tls_revocation import certificate_of

PBX = "sip:500@pbx.example.org"
TRUSTED = """trusted_peer gw {
    trust_store = "corp"
    cn = "Gateway"
}
"""
OTHER_STORES = ("lapsing", "listed", "leaving", "shrinking", "unlisted", "asked")
OPEN = {"client_certificate": "ignored", "trust_stores": None, "digest": "fallback"}
ASKING = {"client_certificate": "optional", "third_parties": "accept"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, variant):
    """One lab for all cells. Its PBX takes no connection, so that what is for it waits."""
    folder = tmp_path_factory.mktemp("stores")
    authorities = {
        name: certificates.Authority(folder / f"{name}.pem", folder / f"{name}.key", f"Root {name}")
        for name in (*OTHER_STORES, "second", "unlisted2")
    }
    (folder / "shrinking").mkdir()
    for name in ("shrinking", "second"):
        shutil.copy(folder / f"{name}.pem", folder / "shrinking" / f"{name}.pem")
    crl = authorities["listed"].write_crl(folder / "listed.crl")
    sections = {f"trust_store {name}": {"ca": str(folder / f"{name}.pem")} for name in OTHER_STORES}
    sections["trust_store listed"]["crl"] = [str(crl)]
    with_lists = authorities["unlisted2"].write_crl(folder / "unlisted2.crl")  # of another than the peer's
    sections["trust_store unlisted"]["ca"] = [str(folder / "unlisted.pem"), str(folder / "unlisted2.pem")]
    sections["trust_store unlisted"]["crl"] = [str(with_lists)]
    responder = Responder(folder, authorities["asked"])
    responder.answer = responder.made()
    sections["trust_store asked"].update(ocsp_check="if_answered", ocsp_responder=responder.url)
    sections["trust_store shrinking"]["ca"] = str(folder / "shrinking")
    sections["listener tls"] = {"trust_stores": ["device", "corp", *OTHER_STORES]}
    sections["listener open"] = OPEN
    sections["listener asking"] = ASKING
    made = Lab(
        variant=variant,
        proxy_sections=sections,
        proxy_conf={"handshake_timeout": 120000, "park_deadline": 10000, "ocsp_refresh": 1000},
    )
    made.extra["proxy"] += TRUSTED
    made.authorities, made.crl, made.revoked, made.folder_of_stores = authorities, crl, [], folder
    made.responder = responder
    try:
        made.start()
        for store in OTHER_STORES:
            add_store(made, store)
        rule(made, "everyone", "domain", "pbx.example.org", "allow", 50)
        for who in ("foreign", "anonymous"):
            rule(made, who, "domain", "pbx.example.org", "allow", 50)
        made.pbx = FullServer(made.route_pbx)
        made.bob = ready_phone(made)
        yield made
        made.finish()
    except LabError as error:
        raise LabError(f"{error}\n{made.last_lines(40)}") from error
    finally:
        made.pbx.close()
        made.end()
        responder.close()


def add_store(lab, store):
    sql(lab, "INSERT INTO trust_store (name, cn_form) VALUES (%s, 'exact') ON CONFLICT DO NOTHING", store)


# ---- Who it happens to


class Subject(Phone):
    """Somebody who may call bob and the PBX, until the change."""

    login = None
    registers = True
    listener = "tls"
    in_dialog_from = None

    def come(self):
        super().connect(listener=self.listener)
        return self

    def ready(self):
        self.provision()
        self.come()
        self.register()
        return self

    def make(self, method, uri, **options):
        return self.request(method, uri, **options)

    def sign(self, request):
        return request

    def call(self, uri):
        request = self.sign(self.make("INVITE", uri, body=SDP))
        self.send(request)
        return Call(self, request, outgoing=True)


class OfStore(Subject):
    def __init__(self, lab, store, authority=None):
        cn = unique("cn")
        pem = lab.path(f"{cn}.pem")
        lab.authorities[authority or store].write_pair(pem, certificates.name(cn))
        super().__init__(lab, cn=cn, store=store, pem=pem)


class Gateway(Subject):
    registers = False

    def __init__(self, lab):
        super().__init__(lab, store="corp", cn="Gateway", user="carol", domain="far.example")

    def ready(self):
        return self.come()

    def context(self):
        return super().context()

    def connect(self, **options):  # the name that the server is asked by is ours
        domain, self.domain = self.domain, self.lab.domain
        try:
            return super().connect(**options)
        finally:
            self.domain = domain

    def come(self):
        return self.connect(listener="tls")


class WithPassword(Subject):
    listener = "open"

    def __init__(self, lab):
        super().__init__(lab, certified=False)
        self.password = "first"
        set_password(lab, self.identity, self.password)

    def come(self):
        super().come()
        first = self.exchange(self.request("OPTIONS", f"sip:{self.domain}"))
        self.login = login(first, self.user, self.password)
        self.login.for_server = False  # what is tried here is for others
        return self

    def ready(self):
        self.come()
        self.register_with_password()
        return self

    def register_with_password(self):
        made, signed, response = exchange(self, self.make_register(), self.password)
        assert response.status == 200
        self.register_cseq += 1

    def sign(self, request):
        return self.login.sign(request)


# ---- What changes


def run(lab, statement, subject):
    names = {"cn": subject.cn, "id": subject.identity, "store": subject.store}
    wanted = re.findall(r"%\((\w+)\)s", statement)
    sql(lab, re.sub(r"%\(\w+\)s", "%s", statement), *(names[name] for name in wanted))


class Change:
    idle, registered, in_a_call = "closed", "gone", "refused"
    needs_mapperd = True
    many = False  # their connections are looked at within 10 s
    refusal = (403,)

    def __init__(self, statement=None):
        self.statement = statement

    def subject(self, lab):
        return Subject(lab).ready()

    def apply(self, lab, subject):
        run(lab, self.statement, subject)

    def undo(self, lab, subject):
        pass


class OfAStore(Change):
    many = True

    def subject(self, lab):
        add_store(lab, "lapsing")
        return OfStore(lab, "lapsing").ready()

    def undo(self, lab, subject):
        sql(lab, "UPDATE trust_store SET state = 'enabled' WHERE name = 'lapsing'")
        add_store(lab, "lapsing")


class OfADomain(Change):
    """Of a domain of its own, since bob is of the lab's."""

    many = True

    def subject(self, lab):
        domain = f"{unique('d')}.example"
        sql(lab, "INSERT INTO domain (name) VALUES (%s)", domain)
        subject = Subject(lab, domain=domain)
        subject.context = lambda: unnamed(Phone.context(subject))
        return subject.ready()


def unnamed(context):
    context.check_hostname = False
    return context


class OfRights(Change):
    idle, registered, in_a_call = "refused", "stays", "stays"

    def __init__(self, before, statement):
        super().__init__(statement)
        self.before = before

    def subject(self, lab):
        subject = Subject(lab).ready()
        run(lab, self.before, subject)
        wait_until(lambda: reaches(subject, lab.bob)[0] == 200, what="it may at first")
        return subject


class Blocked(Change):
    registered = "unreachable"

    def apply(self, lab, subject):
        sql(lab, "INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', %s)", sha256(subject.pem))


class Listed(Change):
    registered, in_a_call = "unreachable", "shut out"
    needs_mapperd = False

    def subject(self, lab):
        return OfStore(lab, "listed").ready()

    def apply(self, lab, subject):
        lab.revoked.append(certificate_of(subject))
        lab.authorities["listed"].write_crl(lab.crl, lab.revoked)


class ListedByResponder(Change):
    registered, in_a_call = "unreachable", "shut out"
    needs_mapperd = False

    def subject(self, lab):
        subject = OfStore(lab, "asked")
        lab.responder.set(subject, "V")
        return subject.ready()

    def apply(self, lab, subject):
        lab.responder.set(subject, "R")


class Reload(Change):
    """proxy.conf without something, read again."""

    registered, in_a_call = "unreachable", "shut out"
    needs_mapperd = False

    def __init__(self, take_away, make):
        super().__init__()
        self.take_away = take_away
        self.make = make

    def subject(self, lab):
        return self.make(lab).ready()

    def apply(self, lab, subject):
        self.conf = lab.path("proxy.conf").read_text()
        lab.path("proxy.conf").write_text(self.take_away(lab, self.conf))
        assert resp(lab, "RELOAD", program="proxy") == "OK"

    def undo(self, lab, subject):
        lab.path("proxy.conf").write_text(self.conf)
        for name in ("shrinking", "second"):
            shutil.copy(lab.folder_of_stores / f"{name}.pem", lab.folder_of_stores / "shrinking")
        assert resp(lab, "RELOAD", program="proxy") == "OK"


class ReloadTrusted(Reload):
    """It is decided when mapperd has answered."""

    in_a_call, needs_mapperd = "refused", True


def without(lab, conf, text, instead=""):
    assert text in conf
    return conf.replace(text, instead)


def without_store(lab, conf):
    return without(lab, conf, ', "leaving"')


def without_anchor(lab, conf):
    (lab.folder_of_stores / "shrinking" / "second.pem").unlink()
    return conf


def without_strangers(lab, conf):
    start = conf.index("listener asking")
    return conf[:start] + without(lab, conf[start:], quoted("optional"), quoted("required"))


def with_new_tls(lab, conf):
    return without(lab, conf, "listener tls {", f"listener tls {{\n    tls_min = {quoted('1.3')}")


def with_lists_required(lab, conf):
    return without(lab, conf, "trust_store unlisted {", f"trust_store unlisted {{\n    crl_check = {quoted('required')}")


class OfOldTls(Subject):
    def context(self):
        context = super().context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context


class Stranger(Subject):
    """Without certificate, where nobody asks for one."""

    listener, registers = "asking", False

    def __init__(self, lab):
        super().__init__(lab, certified=False, domain="far.example")
        self.context = lambda: unnamed(Phone.context(self))

    def ready(self):
        return self.come()


class Password(Change):
    refusal = (403, 407)

    def subject(self, lab):
        return WithPassword(lab).ready()


GROUP = "INSERT INTO user_group (name) VALUES ('g-' || %(id)s) ON CONFLICT DO NOTHING;"
CHANGES = {
    "mapping-removed": Change("DELETE FROM cn_mapping WHERE cn = %(cn)s AND identity = %(id)s"),
    "user-disabled": Change("UPDATE sip_user SET state = 'disabled' WHERE identity = %(id)s"),
    "domain-disabled": OfADomain("UPDATE domain SET state = 'disabled' WHERE name = split_part(%(id)s, '@', 2)"),
    "store-disabled": OfAStore("UPDATE trust_store SET state = 'disabled' WHERE name = %(store)s"),
    "store-removed": OfAStore(
        "DELETE FROM cn_mapping WHERE trust_store = %(store)s; DELETE FROM trust_store WHERE name = %(store)s"
    ),
    "device-disabled": Change("INSERT INTO device_info (cn, state) VALUES (%(cn)s, 'disabled')"),
    "certificate-blocked": Blocked(),
    "certificate-revoked": Listed(),
    "certificate-by-ocsp": ListedByResponder(),
    "reload-store": Reload(without_store, lambda lab: OfStore(lab, "leaving")),
    "reload-anchor": Reload(without_anchor, lambda lab: OfStore(lab, "shrinking", "second")),
    "reload-certificate": Reload(without_strangers, Stranger),
    "reload-tls-min": Reload(with_new_tls, OfOldTls),
    "reload-crl-check": Reload(with_lists_required, lambda lab: OfStore(lab, "unlisted")),
    "reload-trusted-peer": ReloadTrusted(lambda lab, conf: without(lab, conf, TRUSTED), Gateway),
    "password-changed": Password("SELECT set_credential(%(id)s, NULL, 'second')"),
    "password-removed": Password("DELETE FROM credential WHERE identity = %(id)s"),
    "membership-removed": OfRights(
        "INSERT INTO user_group (name) VALUES ('staff') ON CONFLICT DO NOTHING;"
        "INSERT INTO user_group_member (group_name, identity) VALUES ('staff', %(id)s);"
        "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (40, 'group', 'staff', 'allow');"
        "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (45, 'user', %(id)s, 'deny')",
        "DELETE FROM user_group_member WHERE identity = %(id)s",
    ),
    "rule-removed": OfRights(
        "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (40, 'user', %(id)s, 'allow');"
        "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (45, 'user', %(id)s, 'deny')",
        "DELETE FROM rights_rule WHERE who_user = %(id)s AND effect = 'allow'",
    ),
    "rule-denies": OfRights(
        "INSERT INTO rights_rule (position, who_kind, who, effect) VALUES (40, 'user', %(id)s, 'allow')",
        "UPDATE rights_rule SET effect = 'deny' WHERE who_user = %(id)s",
    ),
}


@pytest.fixture(params=CHANGES, ids=str)
def cell(request, lab):
    """(change, subject); the change is taken back afterwards."""
    change = CHANGES[request.param]
    subject = change.subject(lab)
    made = Cell(lab, change, subject)
    yield made
    made.undo()
    subject.close()
    lab.bob.inbox.clear()


class Cell:
    def __init__(self, lab, change, subject):
        self.lab, self.change, self.subject, self.bob = lab, change, subject, lab.bob
        self.applied = False

    def apply(self):
        self.applied = True
        self.change.apply(self.lab, self.subject)

    def undo(self):
        if self.applied:
            self.change.undo(self.lab, self.subject)


def figure(lab, name):
    info = resp(lab, "INFO", program="proxy")
    return int(info.split(f"\r\n{name}:")[1].split("\r\n")[0])


def bindings_of(lab, identity):
    return resp(lab, "LOCATE", identity)[3:]


# ---- The states


def test_T19_idle_connection(cell):
    subject = cell.subject
    cell.apply()
    if cell.change.idle == "closed":
        subject.expect_closed(timeout=20)
    else:
        wait_until(lambda: reaches(subject, cell.bob)[0] == 403, what="new requests are refused")
        assert subject.options().status == 200 and not subject.stream.closed


def test_T19_parked(cell):
    """mapperd says nothing until the change is made; it has stood still for so long then that it asks
    the database first."""
    lab, subject = cell.lab, cell.subject
    request = subject.sign(subject.make("MESSAGE", lab.bob.aor, body="parked"))
    lab.processes["mapperd"].send(signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        subject.send(request)
        wait_until(lambda: figure(lab, "parked") == 1, what="it is parked")
        cell.apply()
        if cell.change.needs_mapperd:
            wait_until(lambda: time.monotonic() > stopped + 0.5, what="a standstill that is noticed")
        else:
            assert subject.response(request).status == 403
    finally:
        lab.processes["mapperd"].send(signal.SIGCONT)
    if cell.change.needs_mapperd:
        assert subject.response(request).status in cell.change.refusal
    assert not lab.bob.seen("MESSAGE")


def test_T19_between_check_and_forward(cell):
    """Permitted, and the connection that it is for is not made yet."""
    lab, subject = cell.lab, cell.subject
    call = subject.call(PBX)
    call.expect(100)
    request = subject.sign(subject.make("MESSAGE", PBX, body="unsent"))
    subject.send(request)
    log = lab.log_of("proxy")
    wait_until(lambda: f'effect=allow reason=allowed' in line_of(log, request.call_id), what="it is permitted")
    cell.apply()
    assert call.answer().status in cell.change.refusal
    if cell.change.idle == "closed" and not cell.change.many:
        assert subject.response(request).status == 403
    # Else it is asked when it would be written: the test below.


def test_T19_what_was_refused_while_it_waited_is_not_written_when_the_way_is_open(lab):
    lab.pbx.empty()
    lab.bob.send(lab.bob.request("MESSAGE", PBX, body="permitted"))
    wait_until(lambda: b"permitted" in lab.pbx.received() and not connecting(lab), what="what is permitted arrives")
    assert b"unsent" not in lab.pbx.received() and b"INVITE" not in lab.pbx.received()


def line_of(log, call_id):
    return next((line for line in log.read_text().splitlines() if call_id in line and "event=decision" in line), "")


def test_T19_ringing(cell):
    bob = cell.bob
    out = cell.subject.call(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    cell.apply()
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    assert out.answer().status in cell.change.refusal


def test_T19_registered(cell):
    lab, subject, change = cell.lab, cell.subject, cell.change
    if not subject.registers:
        pytest.skip("who is trusted to name others, or is a stranger, registers nobody")
    assert bindings_of(lab, subject.identity)
    cell.apply()
    if change.registered == "stays":
        wait_until(lambda: reaches(subject, cell.bob)[0] == 403, what="the change is in force")
        assert reaches(cell.bob, subject)[0] == 200
        return
    if change.registered == "gone":
        wait_until(lambda: not bindings_of(lab, subject.identity), what="the binding is gone")
    elif change.registered == "unreachable":
        subject.expect_closed()
        assert bindings_of(lab, subject.identity)
    assert cell.bob.message(subject.aor).status in (404, 480)
    assert not subject.seen("MESSAGE")


def test_T19_in_a_call(cell):
    lab, subject, bob, change = cell.lab, cell.subject, cell.bob, cell.change
    out = subject.call(bob.aor)
    into = bob.expect_call()
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    cell.apply()
    if change.in_a_call == "stays":
        wait_until(lambda: reaches(subject, bob)[0] == 403, what="the change is in force")
        info = out.send("INFO")
        bob.reply(bob.expect("INFO"), 200)
        assert subject.response(info).status == 200
    else:
        in_dialog(cell, out)
    bye = into.bye()
    if change.in_a_call == "stays":
        out.expect_bye()
        assert bob.response(bye).status == 200
    else:  # it may have come back, to nothing but refusals: it is told nevertheless
        wait_until(lambda: subject.seen("BYE") or bob.seen(480), what="an answer, or BYE")
        if subject.seen("BYE"):
            out.expect_bye()
        assert bob.response(bye).status in (200, 480)


def in_dialog(cell, out):
    """Its own requests, on a connection of its own if it gets one."""
    subject, change = cell.subject, cell.change
    if change.in_a_call == "shut out":
        subject.expect_closed()
        try:
            subject.come()
            assert subject.expect_closed()
        except OSError:
            pass
        return
    if not change.many:
        subject.expect_closed()
    else:
        wait_until(lambda: not is_held(subject), what="the change is in force")
    Phone.connect(subject, listener=subject.listener) if subject.login else subject.come()
    refused = subject.exchange(out.make_request("INFO"))
    assert refused.status in (403, 407), str(refused)
    assert not cell.bob.seen("INFO")


def is_held(subject):
    """By mapperd, which says the same to every worker."""
    held = resp(subject.lab, "PEER", subject.store, subject.cn)[2] == "known"
    return held and resp(subject.lab, "RIGHTS", subject.identity)[2] == "known"
