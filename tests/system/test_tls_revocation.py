# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: what is listed gets in no more, what is open ends, without a reload; a list that
cannot be used leaves the last good one in force, and one that is over does as configured (F11)."""
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.lab import certificates
from tests.system.lib import Phone, cn_of, ready_phone, resp, unique, wait_until
from tests.system.test_tls_certificates import refusal, register_status, signed, write_chain
from tests.system.test_tls_reload import is_accepted


def certificate_of(phone):
    return x509.load_pem_x509_certificate(phone.pem.read_bytes())


def figure(lab, name):
    info = resp(lab, "INFO", program="proxy")
    return int(info.split(f"{name}:")[1].split("\r\n")[0])


def partition():
    """issuingDistributionPoint: a list for users' certificates only."""
    return x509.IssuingDistributionPoint(None, None, True, False, None, False, False)


def unknown():
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


def log_of(lab):
    return lab.log_of("proxy").read_text()


@pytest.fixture
def crl_lab(make_lab, tmp_path):
    """make(**options of store device) gives a lab whose store device has the list lab.crl, empty at
    first; the authority is lab.ca."""

    def make(revoked=(), hours=24, **options):
        ca = certificates.Authority(tmp_path / "ca.pem", tmp_path / "ca.key", "Device root")
        crl = ca.write_crl(tmp_path / "device.crl", revoked, hours=hours)
        store = {"ca": str(ca.certificate_path), "crl": [str(crl)], **options}
        lab = make_lab(proxy_sections={"trust_store device": store})
        lab.ca, lab.crl = ca, crl
        return lab

    return make


@pytest.mark.tsan
def test_F11_a_revocation_closes_what_is_open_and_lets_nobody_in(crl_lab):
    lab = crl_lab()
    good, bad = ready_phone(lab), ready_phone(lab)
    other = Phone(lab, cn=bad.cn, user=bad.user, pem=lab.ca.write_pair(lab.path("o.pem"), bad.cn))
    with good, bad:
        lab.ca.write_crl(lab.crl, [certificate_of(bad)])
        assert bad.expect_closed() == "end"
        assert good.options().status == 200
        assert "REVOKED" in refusal(Phone(lab, cn=bad.cn, user=bad.user, pem=bad.pem))
        assert good.exchange(good.request("MESSAGE", bad.aor)).status == 480
    log = log_of(lab)
    assert "event=certificate-revoked" in log and "end=certificate-revoked" in log
    assert figure(lab, "crl_revoked") == 1 and figure(lab, "crl_faulty") == 0
    assert register_status(other) == 200  # the device has another certificate: it is not listed
    lab.ca.write_crl(lab.crl)
    again = Phone(lab, cn=bad.cn, user=bad.user, pem=bad.pem)
    wait_until(lambda: is_accepted(again), what="a certificate that is taken off the list gets in")


def test_F11_a_call_that_rings_ends_with_the_callers_certificate(crl_lab):
    lab = crl_lab()
    caller, callee = ready_phone(lab), ready_phone(lab)
    with caller, callee:
        caller.invite(callee.aor)
        ringing = callee.expect_call()
        ringing.reply(180)
        caller.expect(180)
        lab.ca.write_crl(lab.crl, [certificate_of(caller)])
        assert callee.expect("CANCEL")
        assert caller.expect_closed()


def test_F11_a_list_that_cannot_be_used_leaves_the_old_one_and_is_named(crl_lab):
    lab = crl_lab()
    bad = ready_phone(lab)
    stranger = certificates.Authority(lab.path("x.pem"), lab.path("x.key"), "Device root")
    with bad:
        lab.ca.write_crl(lab.crl, [certificate_of(bad)])
        assert bad.expect_closed()
    for index, content in enumerate(
        (
            stranger.make_crl(),  # the right name, another key
            b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
            b"",
            lab.ca.make_crl()[:200],
            lab.ca.certificate_path.read_bytes(),
            lab.ca.make_crl(extensions=[x509.DeltaCRLIndicator(1)]),
            lab.ca.make_crl(extensions=[partition()]),
            lab.ca.make_crl(extensions=[unknown()]),
            None,
        )
    ):
        if content is None:
            lab.crl.unlink()
        else:
            certificates.write_private(lab.crl, content)
        wait_until(lambda: log_of(lab).count("event=crl-faulty") == index + 1)
        assert figure(lab, "crl_faulty") == 1
        assert "REVOKED" in refusal(Phone(lab, cn=bad.cn, user=bad.user, pem=bad.pem))
    assert "device.crl" in log_of(lab).split("event=crl-faulty")[1]
    lab.ca.write_crl(lab.crl)
    wait_until(lambda: figure(lab, "crl_faulty") == 0)
    assert is_accepted(Phone(lab, cn=bad.cn, user=bad.user, pem=bad.pem))


@pytest.mark.parametrize("choice, accepted", [("refuse", False), ("accept", True)])
def test_F11_an_expired_list_does_as_configured_and_raises_an_alarm(crl_lab, choice, accepted):
    lab = crl_lab(hours=-1, crl_expired=choice)
    listed, phone = Phone(lab).provision(), Phone(lab).provision()
    wait_until(lambda: figure(lab, "crl_expired") == 1)
    assert "event=crl-expired store=device" in log_of(lab)
    assert is_accepted(phone) is accepted
    lab.ca.write_crl(lab.crl, [certificate_of(listed)], hours=-1)
    wait_until(lambda: figure(lab, "crl_revoked") == 1)
    assert "REVOKED" in refusal(listed)  # an old list still names whom it names
    lab.ca.write_crl(lab.crl)
    wait_until(lambda: figure(lab, "crl_expired") == 0)
    assert is_accepted(phone)


@pytest.mark.parametrize("check, accepted", [("if_present", True), ("required", False)])
def test_F11_an_authority_without_a_list(crl_lab, check, accepted):
    """The root has one, the authority below it has none; then it gets one, with its certificate
    beside it."""
    lab = crl_lab(crl_check=check)
    key, issuing_key = certificates.new_key(), certificates.new_key()
    name, cn = unique("CA"), cn_of()
    issuing = signed(
        lab, issuing_key, name, lab.ca.certificate.subject, lab.ca.key, ca=True
    )
    leaf = signed(lab, key, cn, issuing.subject, issuing_key, ca=False)
    phone = Phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing)).provision()
    direct = Phone(lab).provision()
    assert is_accepted(direct)
    assert is_accepted(phone) is accepted

    class Issuing(certificates.Authority):
        def __init__(self):
            self.certificate, self.key = issuing, issuing_key

    pem = issuing.public_bytes(serialization.Encoding.PEM)
    certificates.write_private(lab.crl, lab.ca.make_crl() + pem + Issuing().make_crl())
    wait_until(lambda: is_accepted(phone), what="with the list of its authority")
    certificates.write_private(lab.crl, lab.ca.make_crl() + pem + Issuing().make_crl([leaf]))
    wait_until(lambda: not is_accepted(phone), what="its authority's list names it")
    certificates.write_private(lab.crl, lab.ca.make_crl([issuing]))
    wait_until(lambda: figure(lab, "crl_revoked") == 1)
    assert "REVOKED" in refusal(phone)  # its authority is listed by the root
    assert is_accepted(direct)


def test_F11_a_list_in_der_and_the_newer_of_two(crl_lab):
    lab = crl_lab()
    phone = Phone(lab).provision()
    crl = x509.load_pem_x509_crl(lab.ca.make_crl([certificate_of(phone)]))
    certificates.write_private(lab.crl, crl.public_bytes(serialization.Encoding.DER))
    wait_until(lambda: figure(lab, "crl_revoked") == 1)
    assert "REVOKED" in refusal(phone)
    old = lab.ca.make_crl(
        [certificate_of(phone)], this_update=datetime.datetime.utcnow() - certificates.DAY
    )
    certificates.write_private(lab.crl, old + lab.ca.make_crl())
    wait_until(lambda: figure(lab, "crl_revoked") == 0)
    assert is_accepted(phone)


def test_F11_a_weak_list_counts_in_a_weak_store_only(crl_lab):
    lab = crl_lab()
    lab.ca.write_crl(lab.crl, digest=hashes.SHA1())
    wait_until(lambda: "event=crl-faulty" in log_of(lab))
    assert "weak signature" in log_of(lab)


@pytest.mark.tsan
def test_F11_a_list_that_a_reload_brings_concerns_what_is_open(crl_lab):
    lab = crl_lab(crl_check="off")
    bad = ready_phone(lab)
    with bad:
        lab.ca.write_crl(lab.crl, [certificate_of(bad)])
        path = lab.path("proxy.conf")
        assert bad.options().status == 200
        path.write_text(path.read_text().replace('crl_check = "off"', 'crl_check = "required"'))
        assert resp(lab, "RELOAD", program="proxy") == "OK"
        assert bad.expect_closed() == "end"
