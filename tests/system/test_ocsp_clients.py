# SPDX-License-Identifier: Apache-2.0
"""OCSP of peers' certificates: who is revoked gets in nowhere and stays nowhere; whether an answer that
lacks lets pass is the store's choice; nobody else waits for it (RFC 6960, F11, T13, T14)."""
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.lab import certificates
from tests.lab.stack import quoted
from tests.system.lib import (
    Federation,
    Phone,
    cn_of,
    permit,
    ready_phone,
    resp,
    unique,
    wait_until,
)
from tests.system.lib.mapctl import BAD, GOOD, mapctl
from tests.system.lib.ocsp import Responder
from tests.system.test_tls_certificates import refusal, register_status, signed, write_chain
from tests.system.test_tls_reload import is_accepted, replace_in
from tests.system.test_tls_resumption import both, log_of, opened, twin, with_session
from tests.system.test_tls_revocation import figure
from tests.system.test_tls_route import status_of

checks = pytest.mark.parametrize("check", ["if_answered", "required"])


@pytest.fixture
def responder(tmp_path):
    ca = certificates.Authority(tmp_path / "ca.pem", tmp_path / "ca.key", "Device root")
    made = Responder(tmp_path, ca)
    yield made
    made.close()


@pytest.fixture
def ocsp_lab(make_lab, responder):
    """make(check, **options of store device): phones' certificates are of lab.ca, about which the
    responder is asked."""

    def make(check, conf=None, workers=2, **options):
        store = {
            "ca": str(responder.authority.certificate_path),
            "ocsp_check": check,
            "ocsp_responder": responder.url,
            **options,
        }
        lab = make_lab(
            workers=workers,
            proxy_conf={"ocsp_refresh": 1000, "ocsp_timeout": 10000, **(conf or {})},
            proxy_sections={"trust_store device": store},
        )
        lab.ca = responder.authority
        return lab

    return make


def phone_of(lab, responder, letter=None):
    """A phone that the responder says this of, not connected."""
    phone = Phone(lab).provision()
    responder.set(phone, letter)
    return phone


def events(lab, name):
    return [line for line in log_of(lab).splitlines() if f"event={name}" in line]


# ---- Who gets in


@checks
def test_F11_good_gets_in_and_revoked_does_not(ocsp_lab, responder, check):
    lab = ocsp_lab(check)
    good, bad = phone_of(lab, responder, "V"), phone_of(lab, responder, "R")
    assert register_status(good) == 200
    assert register_status(twin(good)) == 200
    assert refusal(bad) == "end"
    assert refusal(twin(bad)) == "end"
    assert responder.count(good) == 1 and responder.count(bad) == 1  # the answers are kept
    assert figure(lab, "ocsp_good") == 1 and figure(lab, "ocsp_revoked") == 1
    assert figure(lab, "ocsp_refused") == 2 and figure(lab, "ocsp_passed") == 0
    assert figure(lab, "ocsp_kept") == 2 and figure(lab, "ocsp_waiting") == 0
    line = events(lab, "handshake-failed")[0]
    assert "says that the certificate is revoked" in line and f'cn="{bad.cn}"' in line
    assert "store=device" in line


def damaged(der):
    return der[:-1] + bytes([der[-1] ^ 1])


def not_one(lab, responder):
    """What is no answer that says good or revoked, by name: the responder then does this."""
    stranger = certificates.Authority(lab.path("x.pem"), lab.path("x.key"), "Device root")
    good = ocsp.OCSPCertStatus.GOOD
    key = certificates.new_key()
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    phones = lab.ca.issue("a phone", key.public_key(), usages=usages)
    other = lab.ca.issue("another", key.public_key())
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    later = later.public_bytes(certificates.serialization.Encoding.DER)
    return {
        "does not know it": responder.by_openssl,
        "a stranger's word": responder.made(
            status=good, signer=stranger.certificate, key=stranger.key
        ),
        "signed by nobody": lambda request: damaged(responder.made(status=good)(request)),
        "a phone's word": responder.made(status=good, signer=phones, key=key),
        "about another": responder.made(status=good, about=other),
        "over": responder.made(status=good, age=60, seconds=-1),
        "to come": responder.made(status=good, age=-600),
        "old, without end": responder.made(status=good, age=301, has_end=False),
        "try later": lambda request: later,
        "no DER": lambda request: b"good",
        "empty": lambda request: b"",
        "huge": lambda request: b"\x30\x84\x7f\xff\xff\xff" + bytes(100_000),
    }


@checks
def test_F11_what_is_no_answer_lets_pass_by_choice_alone(ocsp_lab, responder, check):
    lab = ocsp_lab(check)
    accepted = check == "if_answered"
    cases = not_one(lab, responder)
    for number, (what, answer) in enumerate(cases.items(), 1):
        phone = phone_of(lab, responder)
        responder.answer = answer
        assert is_accepted(phone) is accepted, what
        assert responder.count(phone) >= 1, what
        counted = "ocsp_passed" if accepted else "ocsp_refused"
        assert figure(lab, counted) == number, what
    responder.answer = responder.by_openssl
    for status, headers in ((302, {"Location": responder.url}), (500, {}), (200, {"Content-Type": "text/html"})):
        responder.http_status, responder.headers = status, headers
        phone = phone_of(lab, responder, "V")
        assert is_accepted(phone) is accepted, status
        assert responder.count(phone) >= 1, status
    responder.http_status, responder.headers = 200, {}
    responder.stop()
    phone = phone_of(lab, responder, "V")
    assert is_accepted(phone) is accepted, "nobody listens"
    responder.resume()
    if not accepted:  # it is asked again, by and by
        wait_until(lambda: is_accepted(twin(phone)), what="with the responder back")
    what = "ocsp-unanswered" if accepted else "handshake-failed"
    assert f'cn="{phone.cn}"' in "".join(events(lab, what))
    assert "responder=" in events(lab, "ocsp-no-answer")[0]


@checks
def test_T13_an_answer_by_a_delegate_of_the_authority_is_good(ocsp_lab, responder, check, tmp_path):
    lab = ocsp_lab(check)
    key = certificates.new_key()
    signer = lab.ca.issue("OCSP", key.public_key(), usages=(ExtendedKeyUsageOID.OCSP_SIGNING,))
    pem = tmp_path / "delegate.pem"
    certificates.write_private(pem, write_pem(signer) + certificates.key_bytes(key))
    responder.signer = (pem, pem)
    assert register_status(phone_of(lab, responder, "V")) == 200
    assert refusal(phone_of(lab, responder, "R")) == "end"
    assert figure(lab, "ocsp_good") == 1 and figure(lab, "ocsp_revoked") == 1


def write_pem(certificate):
    return certificate.public_bytes(certificates.serialization.Encoding.PEM)


def with_aia(lab, subject, key, issuer, issuer_key, urls):
    """A certificate that names its responders."""
    plain = signed(lab, key, subject, issuer.subject, issuer_key, ca=False)
    methods = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url)
        )
        for url in urls
    ]
    builder = x509.CertificateBuilder(
        issuer_name=plain.issuer,
        subject_name=plain.subject,
        public_key=plain.public_key(),
        serial_number=plain.serial_number,
        not_valid_before=plain.not_valid_before,
        not_valid_after=plain.not_valid_after,
        extensions=list(plain.extensions),
    )
    builder = builder.add_extension(x509.AuthorityInformationAccess(methods), critical=False)
    return builder.sign(issuer_key, certificates.hashes.SHA256())


def test_F11_the_certificate_names_its_responder_and_an_intermediate_issues_it(ocsp_lab, responder, tmp_path):
    """The issuer is no anchor: it comes with the chain."""
    lab = ocsp_lab("required", ocsp_responder="")
    key, issuing_key, cn = certificates.new_key(), certificates.new_key(), cn_of()
    root = lab.ca
    issuing = signed(lab, issuing_key, unique("CA"), root.certificate.subject, root.key, ca=True)
    pem, key_pem = tmp_path / "issuing.pem", tmp_path / "issuing.key"
    certificates.write_private(pem, write_pem(issuing))
    certificates.write_private(key_pem, certificates.key_bytes(issuing_key))
    responder.authority = certificates.Authority(pem, key_pem, "")
    responder.signer = (pem, key_pem)

    def phone_with(*urls):
        leaf = with_aia(lab, cn, key, issuing, issuing_key, urls)
        return Phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing)).provision()

    phone = phone_with("ldap://127.0.0.1/", "https://127.0.0.1/", responder.url + "/there?x=y")
    responder.set(phone, "V")
    assert register_status(phone) == 200
    responder.set(phone := phone_with(responder.url), "R")
    assert refusal(phone) == "end" and responder.count(phone) == 1
    responder.set(phone := phone_with("https://127.0.0.1/"), "V")
    assert refusal(phone) == "end" and responder.count(phone) == 0
    responder.authority, responder.signer = root, (root.certificate_path, root.key_path)
    responder.set(phone := phone_with(responder.url), "V")  # by the root, which did not issue it
    assert refusal(phone) == "end" and responder.count(phone) == 1


# ---- Who waits


def test_F11_a_question_that_hangs_keeps_nobody_else_waiting(ocsp_lab, responder):
    """One worker: a phone of another store answers while the question hangs, and one that is known
    already, too; the ones that wait are heard of when the time is over."""
    lab = ocsp_lab("required", workers=1, conf={"ocsp_timeout": 2000})
    known = phone_of(lab, responder, "V")
    assert register_status(known) == 200
    responder.answer = responder.hang
    phone = phone_of(lab, responder, "V")
    with phone.connect() as waits:
        wait_until(lambda: figure(lab, "ocsp_waiting") == 1, what="it waits")
        with ready_phone(lab, store="corp") as other, twin(known).connect() as again:
            assert other.options().status == 200
            assert again.options().status == 200
            assert figure(lab, "ocsp_waiting") == 1
        assert waits.expect_closed() == "end"
    assert "in time" in events(lab, "handshake-failed")[0]
    assert figure(lab, "ocsp_waiting") == 0


@pytest.mark.tsan
def test_F11_whatever_number_waits_one_question_is_asked(ocsp_lab, responder):
    lab = ocsp_lab("required")
    phone = phone_of(lab, responder, "V")
    responder.answer = responder.hang
    phones = [twin(phone).connect() for _ in range(8)]
    wait_until(lambda: figure(lab, "ocsp_waiting") == 8, what="all wait")
    gone = phones.pop()
    gone.close()  # while it waits: nobody else notices
    for one in phones:
        one.send(one.request("OPTIONS", f"sip:{one.domain}"))
    assert responder.count(phone) == 1 and figure(lab, "ocsp_asking") == 1
    responder.release()
    for one in phones:
        assert one.expect(200)
        one.close()
    assert responder.count(phone) == 1
    wait_until(lambda: figure(lab, "connections") == 0)


def test_F11_a_late_answer_lets_pass_by_choice(ocsp_lab, responder):
    lab = ocsp_lab("if_answered", conf={"ocsp_timeout": 1500})
    responder.answer = responder.hang
    phone = phone_of(lab, responder, "R")
    with phone.connect():
        assert phone.options().status == 200
        assert figure(lab, "ocsp_passed") == 1 and "in time" in events(lab, "ocsp-unanswered")[0]
        responder.release()
        responder.answer = responder.made()
        assert phone.expect_closed(timeout=60) == "end"  # it is asked again, and hears the truth then
    assert events(lab, "certificate-revoked")


def test_F11_a_proxy_that_ends_does_not_wait_for_an_answer(ocsp_lab, responder):
    lab = ocsp_lab("required", conf={"ocsp_timeout": 60000, "handshake_timeout": 60000})
    responder.answer = responder.hang
    with phone_of(lab, responder, "V").connect() as phone:
        wait_until(lambda: figure(lab, "ocsp_waiting") == 1 and responder.asked)
        lab.stop_program("proxy")  # fails when it takes long, or leaks
        assert phone.expect_closed()


# ---- What becomes of it later


@pytest.mark.tsan
def test_F11_a_revocation_closes_what_is_open_on_every_worker(ocsp_lab, responder):
    lab = ocsp_lab("if_answered")
    good, bad = phone_of(lab, responder, "V").connect(), phone_of(lab, responder, "V")
    others = [twin(bad).connect() for _ in range(4)]
    for one in others:
        assert one.options().status == 200
    responder.set(bad, "R")
    for one in others:
        assert one.expect_closed() == "end"
        one.close()
    with good:
        assert good.options().status == 200
    assert refusal(twin(bad)) == "end"
    assert "end=certificate-revoked" in log_of(lab)


def test_F11_a_call_that_rings_ends_when_the_responder_revokes_the_caller(ocsp_lab, responder):
    lab = ocsp_lab("if_answered")
    caller, callee = (phone_of(lab, responder, "V").connect() for _ in range(2))
    callee.register()
    with caller, callee:
        caller.invite(callee.aor)
        callee.expect_call().reply(180)
        caller.expect(180)
        responder.set(caller, "R")
        assert callee.expect("CANCEL")
        assert caller.expect_closed()


@checks
def test_F11_a_good_that_ends_without_another(ocsp_lab, responder, check):
    """The responder goes away: what is open stays as long as its answer lasts, or as it is chosen."""
    lab = ocsp_lab(check)
    responder.answer = responder.made(seconds=4)
    phone = phone_of(lab, responder, "V")
    with phone.connect():
        assert phone.options().status == 200
        wait_until(lambda: responder.count(phone) >= 2, what="it is asked again before the end")
        responder.stop()
        wait_until(lambda: figure(lab, "ocsp_kept") == 0, what="the last answer ends")
        if check == "required":
            assert phone.expect_closed() == "end"
            assert "end=certificate-status-not-known" in log_of(lab)
        else:
            assert phone.options().status == 200
    assert is_accepted(twin(phone)) is (check == "if_answered")
    responder.resume()
    wait_until(lambda: is_accepted(twin(phone)), what="with the responder back")


def test_F11_an_answer_of_before_does_not_lift_a_revocation(ocsp_lab, responder):
    """Who can put himself between us and the responder has what it said yesterday."""
    lab = ocsp_lab("required")
    phone = phone_of(lab, responder, "V")
    old = []
    responder.answer = lambda request: old.append(responder.made(age=60)(request)) or old[0]
    with phone.connect():
        assert phone.options().status == 200
        responder.set(phone, "R")
        responder.answer = responder.made(age=30, seconds=2)
        assert phone.expect_closed() == "end"
        responder.answer = lambda request: old[0]
        seen = responder.count(phone)
        wait_until(
            lambda: refusal(twin(phone)) == "end" and responder.count(phone) > seen,
            what="it is asked about again, and the old answer does not count",
        )
    assert refusal(twin(phone)) == "end"
    responder.set(phone, "V")
    responder.answer = responder.by_openssl
    wait_until(lambda: is_accepted(twin(phone)), what="a new good does")


# ---- Resumption


@both
def test_T14_a_session_is_resumed_only_by_a_good_that_is_kept(ocsp_lab, responder, version):
    lab = ocsp_lab("if_answered", workers=1)
    phone = phone_of(lab, responder, "V")
    resumer = with_session(phone, version)
    assert resumer.resumes()
    assert responder.count(phone) == 1
    with resumer.connect() as resumed:
        assert resumed.stream.socket.session_reused
        responder.set(phone, "R")
        assert resumed.expect_closed() == "end"  # it is asked about again as any other
    assert resumer.refusal() == "end"
    responder.answer = responder.made(seconds=3)
    other = phone_of(lab, responder, "V")
    resumer = with_session(other, version)
    assert resumer.resumes()
    responder.stop()
    wait_until(lambda: not resumer.resumes(), what="its answer is over")
    assert "ticket=status-not-known" in opened(lab)[-1]
    responder.resume()


# ---- Reload


def set_check(lab, old, new):
    replace_in(lab.path("proxy.conf"), f"ocsp_check = {quoted(old)}", f"ocsp_check = {quoted(new)}")
    assert resp(lab, "RELOAD", program="proxy") == "OK"


@pytest.mark.tsan
def test_F11_a_reload_that_asks_acts_on_what_is_open(ocsp_lab, responder):
    lab = ocsp_lab("off", conf={"ocsp_timeout": 2000})
    good, bad, unknown = (phone_of(lab, responder, letter).connect() for letter in ("V", "R", None))
    with good, bad, unknown:
        for phone in (good, bad, unknown):
            assert phone.register().status == 200
        assert not responder.asked
        set_check(lab, "off", "if_answered")
        assert bad.expect_closed() == "end"
        assert unknown.options().status == 200
        set_check(lab, "if_answered", "required")
        assert unknown.expect_closed() == "end"
        assert good.options().status == 200
        assert good.message(bad.aor).status == 480
        responder.answer = responder.hang
        with phone_of(lab, responder, "R").connect() as waits:
            wait_until(lambda: figure(lab, "ocsp_waiting") == 1)
            set_check(lab, "required", "off")
            assert waits.options().status == 200
        asked = len(responder.asked)
        assert is_accepted(twin(bad)) and is_accepted(twin(unknown))
        assert len(responder.asked) == asked


def test_F11_a_reload_that_asks_ends_what_it_gets_no_answer_about(ocsp_lab, responder):
    lab = ocsp_lab("off", conf={"ocsp_timeout": 1000})
    responder.answer = responder.hang
    with phone_of(lab, responder, "V").connect() as phone:
        assert phone.options().status == 200
        set_check(lab, "off", "required")
        assert phone.expect_closed() == "end"


def test_what_a_store_says_of_ocsp_is_checked_when_it_is_read(ocsp_lab, responder):
    lab = ocsp_lab("off")
    path = lab.path("proxy.conf")
    whole = path.read_text()
    for option, value in (
        ("ocsp_check", "maybe"),
        ("ocsp_responder", "https://127.0.0.1/"),
        ("ocsp_responder", "127.0.0.1:80"),
    ):
        path.write_text(re.sub(rf"({option} = )[^\n]*", rf"\g<1>{quoted(value)}", whole))
        with pytest.raises(Exception, match="ERR"):
            resp(lab, "RELOAD", program="proxy")
        assert f"{option}: write" in log_of(lab)


# ---- mapctl check


@checks
def test_F48_mapctl_check_asks_the_responder_too(ocsp_lab, responder, check):
    lab = ocsp_lab(check)
    wanted = {"V": 0, "R": 1, None: 0 if check == "if_answered" else 1}

    def checked(phone, *shown):
        words = ["--proxy-config", str(lab.path("proxy.conf")), "--listener", "tls", *shown]
        return mapctl(lab, "check", *words, phone.identity, "OPTIONS", lab.domain)

    for letter, status in wanted.items():
        phone = phone_of(lab, responder, letter)
        found, out, err = checked(phone, "--cert", str(phone.pem))
        assert found == (GOOD if status == 0 else BAD), out + err
        assert is_accepted(phone) is (status == 0)
        said = {"V": "ocsp: good", "R": "says that the certificate is revoked"}
        expected = said.get(letter, "ocsp: unknown" if status == 0 else "no answer by OCSP")
        assert expected in out
    phone = phone_of(lab, responder, "R")
    found, out, err = checked(phone, "device", phone.cn)
    assert found == GOOD and "ocsp: not asked" in out, out + err
    assert responder.count(phone) == 0


# ---- Servers of routes


@pytest.fixture
def federation(tmp_path):
    return Federation(tmp_path)


def test_F11_a_routes_server_is_asked_about_before_anything_is_sent(federation, make_lab, tmp_path):
    responder = Responder(tmp_path, federation.ca)
    partner = federation.partner("other.example")
    serial = x509.load_pem_x509_certificate(Path(partner.pem).read_bytes()).serial_number
    sections = federation.sections(partner)
    sections["trust_store federation"].update(ocsp_check="required", ocsp_responder=responder.url)
    lab = make_lab(workers=1, proxy_conf={"ocsp_refresh": 1000}, proxy_sections=sections)
    permit(lab, partner.domain)
    responder.status[serial] = "V"
    with partner, ready_phone(lab) as alice:
        responder.answer = responder.hang
        sent = alice.send(alice.request("MESSAGE", partner.aor, body="hello"))

        def is_asked():
            partner.turn()
            return responder.waiting

        wait_until(is_asked, what="the handshake is done and the responder asked")
        assert not partner.seen("MESSAGE")
        responder.release()
        partner.reply(partner.expect("MESSAGE"), 200)
        assert alice.response(sent).status == 200
        responder.status[serial] = "R"
        assert partner.expect_closed() == "end"
        assert status_of(alice, partner) == 500
        assert not partner.seen("MESSAGE")
    assert "route=other" in events(lab, "handshake-failed")[0]
    responder.close()
