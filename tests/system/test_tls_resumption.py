# SPDX-License-Identifier: Apache-2.0
"""Session tickets: a session is really resumed, its peer is who it was and is asked about anew, and
whatever has changed since the full handshake makes it a full one again (T14)."""
import datetime
import re
import select
import ssl
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.lab import certificates
from tests.system.lib import Phone, cn_of, ready_phone, resp, sql, unique, wait_until
from tests.system.lib.digest import exchange, set_password
from tests.system.test_blocked_certificate import block_named, openssl_names
from tests.system.test_tls_certificates import signed, write_chain
from tests.system.test_tls_reload import replace_in
from tests.system.test_tls_revocation import certificate_of, crl_lab, figure  # noqa: F401

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
both = pytest.mark.parametrize("version", list(VERSIONS))


def log_of(lab):
    return lab.log_of("proxy").read_text()


def opened(lab):
    """The lines of connections over TLS, in order."""
    return [line for line in log_of(lab).splitlines() if "event=connection-opened" in line and "tls=" in line]


def twin(phone, pem=None):
    """The same phone, to connect anew."""
    return Phone(
        phone.lab,
        cn=phone.cn,
        store=phone.store,
        user=phone.user,
        pem=pem or phone.pem,
        certified=phone.pem is not None,
    )


class Resumer:
    """A phone's TLS stack: one context, and the newest session that it was given."""

    def __init__(self, phone, version):
        self.phone = phone
        self.context = phone.context()
        self.context.check_hostname = False
        self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        self.session = None

    def connect(self, **options):
        """A connection that offers the session; the ticket of it is kept. Gives the phone."""
        phone = twin(self.phone).connect(context=self.context, session=self.session, **options)
        phone.options()  # whatever it is answered: a ticket of TLS 1.3 comes before it
        self.session = phone.stream.socket.session
        return phone

    def resumes(self, **options):
        """Whether a connection is resumed; an OSError when there is no handshake."""
        with self.connect(**options) as phone:
            return phone.stream.socket.session_reused

    def refusal(self, **options):
        """Why there is no handshake, or what the peer hears after it."""
        try:
            phone = twin(self.phone).connect(context=self.context, session=self.session, **options)
        except OSError as error:
            return str(error)
        with phone:
            return phone.expect_closed()


def with_session(phone, version, **options):
    """A Resumer that has done its full handshake."""
    resumer = Resumer(phone, version)
    assert not resumer.resumes(**options)
    assert resumer.session.has_ticket
    return resumer


def reload(lab):
    assert resp(lab, "RELOAD", program="proxy") == "OK"


def reloaded(lab, condition, what):
    """Workers take a new configuration over in their next turn."""
    reload(lab)
    wait_until(condition, what=what)


# ---- It works, and the peer is a new one for all but TLS


@pytest.mark.tsan
@both
def test_T14_a_session_is_resumed_and_its_peer_resolved_like_a_new_one(fresh_lab, version):
    lab = fresh_lab
    phone = Phone(lab).provision()
    resumer = with_session(phone, version)
    for _ in range(3):  # on any worker, with tickets of resumed sessions too
        with resumer.connect() as again:
            assert again.stream.socket.session_reused
            assert again.register().status == 200
    lines = opened(lab)
    assert "resumed=no" in lines[0] and "ticket=" not in lines[0]
    for line in lines[1:]:
        assert "resumed=yes" in line and f'cn="{phone.cn}"' in line and "store=device" in line
    assert figure(lab, "handshakes_resumed") == 3 and figure(lab, "handshakes") == 4


@both
def test_T14_a_mapping_that_was_removed_gives_a_resumed_session_no_rights(lab, version):
    phone = Phone(lab).provision()
    resumer = with_session(phone, version)
    sql(lab, "DELETE FROM cn_mapping WHERE cn = %s", phone.cn)
    wait_until(lambda: resp(lab, "PEER", "device", phone.cn)[2] == "unknown")
    with resumer.connect() as again:
        assert again.stream.socket.session_reused
        assert again.register(expect=None).status == 403


@both
def test_T14_a_blocked_certificate_gets_nothing_by_a_resumed_session(lab, version):
    phone = Phone(lab).provision()
    resumer = with_session(phone, version)
    fingerprint = certificate_of(phone).fingerprint(hashes.SHA256()).hex()
    with resumer.connect() as open_one:
        assert open_one.stream.socket.session_reused and open_one.register().status == 200
        sql(lab, "INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', %s)", fingerprint)
        assert open_one.expect_closed()
    late = twin(phone).connect(context=resumer.context, session=resumer.session)
    with late:
        response = late.register(expect=None)
        assert late.stream.socket.session_reused
        assert response.status == 403 and "certificate-blocked" in response.get("Warning")


@both
def test_T14_an_authority_that_is_blocked_by_its_number_cuts_resumed_sessions(lab, version):
    """The authority is in no ticket, only what blocks know it by."""
    key, issuing_key = certificates.new_key(), certificates.new_key()
    cn = cn_of()
    issuing = signed(lab, issuing_key, unique("CA"), lab.ca.certificate.subject, lab.ca.key, ca=True)
    leaf = signed(lab, key, cn, issuing.subject, issuing_key, ca=False)
    phone = Phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing)).provision()
    resumer = with_session(phone, version)
    with resumer.connect() as open_one:
        assert open_one.stream.socket.session_reused and open_one.register().status == 200
        block_named(lab, *openssl_names(write_chain(lab, issuing_key, issuing)))
        assert open_one.expect_closed()
    late = twin(phone).connect(context=resumer.context, session=resumer.session)
    with late:
        response = late.register(expect=None)
        assert late.stream.socket.session_reused
        assert response.status == 403 and "certificate-blocked" in response.get("Warning")


OPTIONAL = {"listener optional": {"client_certificate": "optional"}}


@pytest.mark.lab(proxy_sections=OPTIONAL)
@both
def test_T14_a_session_without_certificate_stays_without(fresh_lab, version):
    stranger = Phone(fresh_lab, certified=False)
    resumer = with_session(stranger, version, listener="optional")
    with resumer.connect(listener="optional") as again:
        assert again.stream.socket.session_reused
        assert again.register(expect=None).status == 403
    assert "resumed=yes" in opened(fresh_lab)[-1] and "certificate=none" in opened(fresh_lab)[-1]


PASSWORDS = {
    "listener digest": {"client_certificate": "ignored", "trust_stores": None, "digest": "fallback"}
}


@pytest.mark.lab(proxy_sections=PASSWORDS)
@both
def test_T14_a_password_is_asked_for_again_on_a_resumed_session(fresh_lab, version):
    lab = fresh_lab
    phone = Phone(lab, certified=False)
    set_password(lab, phone.identity, "secret")
    resumer = Resumer(phone, version)
    with resumer.connect(listener="digest") as first:
        assert exchange(first, first.make_register(), "secret")[2].status == 200
    with resumer.connect(listener="digest") as again:
        assert again.stream.socket.session_reused
        assert again.register(expect=None).status == 401


# ---- What makes the handshake a full one

TWO = {"listener other": {}}


@pytest.mark.lab(proxy_sections=TWO)
@both
def test_T14_a_session_of_another_listener_is_not_resumed(fresh_lab, version):
    """The same trust stores and certificates: the name alone tells them apart."""
    resumer = with_session(Phone(fresh_lab).provision(), version)
    session = resumer.session
    assert not resumer.resumes(listener="other")
    assert resumer.resumes(listener="other")
    resumer.session = session
    assert resumer.resumes()


@both
def test_T14_a_session_of_another_host_is_not_resumed(fresh_lab, version):
    lab = fresh_lab
    resumer = with_session(Phone(lab).provision(), version)
    session = resumer.session
    assert not resumer.resumes(host="other.example.org")
    assert "ticket=other-host" in opened(lab)[-1]
    resumer.session = session
    assert resumer.resumes(host=resumer.phone.domain.upper())


def set_stores(lab, stores):
    """What listener tls trusts from the next reload on."""
    path = lab.path("proxy.conf")
    text = path.read_text()
    new = re.sub(r"(trust_stores\s*=\s*)\{[^}]*\}", rf"\1{{{stores}}}", text, count=1)
    assert new != text
    path.write_text(new)


@both
def test_T14_a_session_of_a_store_that_was_removed_is_not_resumed(fresh_lab, version):
    lab = fresh_lab
    resumer = with_session(Phone(lab).provision(), version)
    kept = with_session(Phone(lab, store="corp").provision(), version)
    set_stores(lab, '"corp"')
    reload(lab)
    wait_until(lambda: "unknown" in resumer.refusal().lower(), what="the removed store's phone is refused")
    assert not kept.resumes()  # it was tried second: which store verifies is asked anew
    assert "ticket=store-changed" in opened(lab)[-1]
    assert kept.resumes()


@both
def test_T14_a_session_of_an_anchor_that_was_replaced_is_not_resumed(fresh_lab, version):
    lab = fresh_lab
    resumer = with_session(Phone(lab).provision(), version)
    other = certificates.Authority(lab.path("x.pem"), lab.path("x.key"), "Another authority")
    replace_in(lab.path("proxy.conf"), str(lab.path("ca.pem")), str(other.certificate_path))
    reload(lab)
    wait_until(lambda: "unknown" in resumer.refusal().lower(), what="the replaced anchor's phone is refused")


@both
def test_T14_a_store_with_other_rules_or_anchors_verifies_again(fresh_lab, version):
    lab = fresh_lab
    resumer = with_session(Phone(lab).provision(), version)
    path = lab.path("proxy.conf")
    replace_in(path, "trust_store device {", "trust_store device {\n    security_level = 1")
    reload(lab)
    wait_until(lambda: not resumer.resumes(), what="a full handshake under the new rules")
    assert "ticket=store-changed" in opened(lab)[-1]
    assert resumer.resumes()


@both
def test_T14_a_certificate_that_a_list_names_is_not_resumed(crl_lab, version):  # noqa: F811
    lab = crl_lab()
    resumer = with_session(Phone(lab).provision(), version)
    lab.ca.write_crl(lab.crl, [certificate_of(resumer.phone)])
    wait_until(lambda: figure(lab, "crl_revoked") == 1)
    wait_until(lambda: "REVOKED" in resumer.refusal(), what="the listed certificate is refused")
    wait_until(lambda: 'detail="certificate revoked"' in log_of(lab))


@both
def test_T14_an_intermediate_that_a_list_names_ends_its_phones_sessions(crl_lab, version):  # noqa: F811
    """The intermediate itself is not in the ticket, only what revocation knows it by."""
    lab = crl_lab()
    key, issuing_key = certificates.new_key(), certificates.new_key()
    cn = cn_of()
    issuing = signed(lab, issuing_key, unique("CA"), lab.ca.certificate.subject, lab.ca.key, ca=True)
    leaf = signed(lab, key, cn, issuing.subject, issuing_key, ca=False)
    phone = Phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing)).provision()
    resumer = with_session(phone, version)
    with resumer.connect() as open_one:
        assert open_one.stream.socket.session_reused
        session = resumer.session
        before = time.monotonic()
        lab.ca.write_crl(lab.crl, [issuing])
        assert open_one.expect_closed() == "end"
        assert time.monotonic() - before < 5  # within a second, on a machine that does nothing else
    resumer.session = session
    assert "REVOKED" in resumer.refusal()
    assert "event=certificate-revoked" in log_of(lab)


def short_lived(lab, seconds):
    end = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)
    cn = cn_of()
    pem = lab.ca.write_pair(lab.path(unique("pem")), cn, not_after=end)
    return Phone(lab, cn=cn, pem=pem).provision()


@both
def test_T14_a_resumed_connection_ends_with_its_certificate_and_its_ticket_too(fresh_lab, version):
    phone = short_lived(fresh_lab, 6)
    resumer = with_session(phone, version)
    with resumer.connect() as again:
        assert again.stream.socket.session_reused and again.register().status == 200
        assert resumer.session.ticket_lifetime_hint <= 6
        assert again.expect_closed(timeout=30) == "end"
    wait_until(lambda: "end=certificate-expired" in log_of(fresh_lab), what="the end in the log")
    assert "EXPIRED" in resumer.refusal().upper()


@pytest.mark.lab(proxy_conf={"resumption_max": 4000})
@both
def test_T14_resuming_again_and_again_does_not_put_off_the_full_handshake(fresh_lab, version):
    resumer = with_session(Phone(fresh_lab).provision(), version)
    begun = time.monotonic()
    assert resumer.resumes()
    wait_until(lambda: not resumer.resumes(), what="a full handshake")
    assert 2 < time.monotonic() - begun < 15
    assert resumer.resumes()  # with the new one's ticket


@both
def test_T14_a_limit_that_is_lowered_holds_for_tickets_that_were_given(fresh_lab, version):
    lab = fresh_lab
    resumer = with_session(Phone(lab).provision(), version)
    path = lab.path("proxy.conf")
    path.write_text("resumption_max = 1000\n" + path.read_text())
    reload(lab)
    session = resumer.session

    def is_too_old():
        resumer.session = session
        return not resumer.resumes() and "ticket=too-old" in opened(lab)[-1]

    wait_until(is_too_old, what="the old ticket counts no more")


# ---- Tickets and their keys


class Client:
    """openssl s_client, which keeps its session in a file and prints its ticket."""

    def __init__(self, phone, version, listener="tls"):
        self.phone = phone
        lab = phone.lab
        self.file = lab.path(unique("session"))
        self.argv = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{lab.ports[listener]}", "-crlf"),
            *("-servername", phone.domain, "-cert", phone.pem, "-key", phone.pem, "-nocommands"),
            *("-tls1_2" if version == "1.2" else "-tls1_3", "-CAfile", lab.path("ca.pem")),
        ]

    def run(self, *options):
        """What it prints until it has been answered a ping, after which nothing more of the
        handshake comes."""
        process = subprocess.Popen(
            [*self.argv, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        text = b""
        try:
            process.stdin.write(b"\n\n")
            process.stdin.flush()
            deadline = time.monotonic() + 20
            while not text.endswith(b"\r\n") and time.monotonic() < deadline:  # its own lines: LF
                if not select.select([process.stdout], [], [], 1)[0]:
                    continue
                part = process.stdout.read1(65536)
                if not part:
                    break
                text += part
        finally:
            process.stdin.close()
            text += process.stdout.read()
            process.wait(timeout=20)
            process.stdout.close()
        return text.decode(errors="replace")

    def full(self):
        """A full handshake; gives its one ticket."""
        text = self.run("-sess_out", self.file)
        assert "New, TLS" in text and text.count("TLS session ticket:") == 1, text
        return ticket_in(self.file)

    def resumes(self):
        text = self.run("-sess_in", self.file)
        assert ("Reused, TLS" in text) != ("New, TLS" in text), text
        return "Reused, TLS" in text


def ticket_in(path):
    """The ticket of a session file, from the hexadecimal dump that OpenSSL makes of it."""
    argv = ["openssl", "sess_id", "-in", path, "-noout", "-text"]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    dump = text.split("TLS session ticket:")[1].split("Start Time")[0]
    lines = re.findall(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -])+)", dump, re.M)
    return bytes.fromhex("".join(lines).replace("-", " "))


def tamper(path, ticket, at):
    """One bit of the ticket in a session file changes."""
    der = ssl.PEM_cert_to_DER_cert(
        path.read_text().replace("SSL SESSION PARAMETERS", "CERTIFICATE").strip()
    )
    assert der.count(ticket) == 1
    index = der.index(ticket) + (at if at >= 0 else len(ticket) + at)
    changed = der[:index] + bytes([der[index] ^ 1]) + der[index + 1 :]
    path.write_text(
        ssl.DER_cert_to_PEM_cert(changed).replace("CERTIFICATE", "SSL SESSION PARAMETERS")
    )


@both
def test_T14_T31_one_ticket_no_early_data_and_a_forged_one_is_no_session(fresh_lab, version):
    client = Client(Phone(fresh_lab).provision(), version)
    ticket = client.full()
    good = client.file.read_text()
    assert client.resumes()
    early = fresh_lab.path("early")
    early.write_text("OPTIONS sip:a SIP/2.0\r\n\r\n")
    if version == "1.3":
        text = client.run("-sess_in", client.file, "-early_data", early)
        assert "Early data was accepted" not in text and "Max Early Data: 0" in text
    for at in (0, 15, 16, 31, 32, len(ticket) // 2, -33, -32, -1):
        client.file.write_text(good)
        tamper(client.file, ticket, at)
        assert not client.resumes()
        assert "ticket=unreadable" in opened(fresh_lab)[-1]
    client.file.write_text(good)
    assert client.resumes()


@pytest.mark.lab(proxy_conf={"ticket_key_rotation": 1000, "resumption_max": 250000})
@both
def test_T14_keys_change_and_the_old_ones_still_open(fresh_lab, version):
    client = Client(Phone(fresh_lab).provision(), version)
    name = client.full()[:16]
    good = client.file.read_text()
    other = Client(client.phone, version)
    wait_until(lambda: other.full()[:16] != name, what="another key seals")
    client.file.write_text(good)
    assert client.resumes()
    assert name.hex() not in log_of(fresh_lab).lower()


def test_T14_a_key_goes_when_its_tickets_are_over(make_lab):
    """By TLS 1.2, whose clients show a ticket that is over."""
    lab = make_lab(proxy_conf={"ticket_key_rotation": 1000, "resumption_max": 1000})
    client = Client(Phone(lab).provision(), "1.2")
    client.full()
    path = lab.path("proxy.conf")
    replace_in(path, "resumption_max = 1000", "resumption_max = 250000")

    def is_gone():
        return not client.resumes() and "ticket=unreadable" in opened(lab)[-1]

    wait_until(is_gone, what="its key is gone")
    reload(lab)
    assert is_gone()


def test_T14_after_a_restart_all_do_a_full_handshake(fresh_lab):
    client = Client(Phone(fresh_lab).provision(), "1.3")
    client.full()
    fresh_lab.restart_program("proxy")
    assert not client.resumes()


@pytest.mark.lab(proxy_sections={"listener off": {"tickets": False}})
@both
def test_T14_a_listener_without_tickets_gives_and_takes_none(fresh_lab, version):
    client = Client(Phone(fresh_lab).provision(), version, listener="off")
    assert "TLS session ticket:" not in client.run()
    resumer = with_session(Phone(fresh_lab).provision(), version)
    assert not resumer.resumes(listener="off")


def test_a_ticket_key_must_last_long_enough(fresh_lab):
    path = fresh_lab.path("proxy.conf")
    path.write_text("resumption_max = 604800000\nticket_key_rotation = 1000\n" + path.read_text())
    with pytest.raises(Exception, match="ERR"):
        reload(fresh_lab)
    assert "ticket_key_rotation" in log_of(fresh_lab)
