# SPDX-License-Identifier: Apache-2.0
"""OCSP stapling: a client that asks is shown the response beside our certificate, the newest that can be
used, as long as it lasts; a bad file changes nothing and is named (RFC 6960, RFC 6066 8)."""
import datetime
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import certificates
from tests.system.lib import Phone, ready_phone, resp, wait_until
from tests.system.test_tls_reload import replace_in
from tests.system.test_tls_revocation import figure

both = pytest.mark.parametrize("version", ["1.2", "1.3"])


def log_of(lab):
    return lab.log_of("proxy").read_text()


def own_certificate(lab, stem="server"):
    return x509.load_pem_x509_certificate(lab.path(f"{stem}.pem").read_bytes())


def make_response(
    lab,
    certificate=None,
    status=ocsp.OCSPCertStatus.GOOD,
    seconds=3600,
    age=60,
    signer=None,
    key=None,
    extra=(),
    has_end=True,
    algorithm=None,
):
    """By the authority itself, or by a signer whose certificate is sent along."""
    now = datetime.datetime.utcnow()
    revoked = status == ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate or own_certificate(lab),
        issuer=lab.ca.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=status,
        this_update=now - datetime.timedelta(seconds=age),
        next_update=now + datetime.timedelta(seconds=seconds) if has_end else None,
        revocation_time=now if revoked else None,
        revocation_reason=None,
    )
    builder = builder.responder_id(
        ocsp.OCSPResponderEncoding.HASH, signer or lab.ca.certificate
    )
    if signer:
        builder = builder.certificates([signer, *extra])
    response = builder.sign(key or lab.ca.key, hashes.SHA256())
    return response.public_bytes(serialization.Encoding.DER)


def write(lab, der):
    certificates.write_private(lab.path("server.ocsp"), der)


def delegate(lab, usage=ExtendedKeyUsageOID.OCSP_SIGNING, authority=None):
    key = certificates.new_key()
    signer = (authority or lab.ca).issue("OCSP responder", key.public_key(), usages=(usage,))
    return {"signer": signer, "key": key}


def stapled(lab, version="1.3", listener="ocsp"):
    """What openssl s_client says of the response that it was shown; None: it was shown none."""
    phone = Phone(lab)
    argv = [
        *("openssl", "s_client", "-connect", f"127.0.0.1:{lab.ports[listener]}", "-status"),
        *("-servername", lab.domain, "-cert", phone.pem, "-key", phone.pem),
        *("-CAfile", lab.path("ca.pem"), "-tls1_2" if version == "1.2" else "-tls1_3"),
    ]
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=60, check=False)
    text = done.stdout.decode(errors="replace")
    assert "Verify return code: 0" in text or "Verification: OK" in text, text + done.stderr.decode()
    if "OCSP response: no response sent" in text:
        return None
    assert "OCSP Response Status: successful" in text, text
    return text


pytestmark = pytest.mark.lab(proxy_sections={"listener ocsp": {"ocsp": ["FOLDER/server.ocsp"]}})


@pytest.fixture
def ocsp_lab(fresh_lab):
    """Listener ocsp staples what stands in server.ocsp, which is not there yet."""
    return fresh_lab


@pytest.mark.tsan
@both
def test_a_client_that_asks_is_shown_the_response(ocsp_lab, version):
    lab = ocsp_lab
    assert stapled(lab, version) is None
    assert figure(lab, "ocsp_faulty") == 1 and "event=ocsp-faulty listener=ocsp" in log_of(lab)
    write(lab, make_response(lab))
    wait_until(lambda: stapled(lab, version), what="the response is stapled, without a reload")
    text = stapled(lab, version)
    serial = f"{own_certificate(lab).serial_number:X}"
    assert "Cert Status: good" in text and serial in text.replace(":", "")
    assert stapled(lab, version, listener="tls")  # the same certificate, whoever names the file
    assert figure(lab, "ocsp_stapled") == 1 and figure(lab, "ocsp_faulty") == 0
    with ready_phone(lab) as phone:  # who does not ask is served as before
        assert phone.options().status == 200


def test_a_response_by_a_delegated_responder_and_by_another_digest_is_good(ocsp_lab):
    lab = ocsp_lab
    write(lab, make_response(lab, **delegate(lab)))
    wait_until(lambda: stapled(lab), what="the delegate's response")
    assert "OCSP responder" in stapled(lab)
    write(lab, make_response(lab, algorithm=hashes.SHA256()))
    wait_until(lambda: "OCSP responder" not in stapled(lab), what="the authority's response")


def test_a_file_that_cannot_be_used_leaves_the_last_good_one_and_is_named(ocsp_lab):
    lab = ocsp_lab
    write(lab, make_response(lab))
    wait_until(lambda: stapled(lab))
    good = re.search(r"This Update: .*", stapled(lab))[0]
    stranger = certificates.Authority(lab.path("x.pem"), lab.path("x.key"), "Device root")
    phone = x509.load_pem_x509_certificate(Phone(lab).pem.read_bytes())
    bad = {
        "of another certificate": make_response(lab, phone),
        "revoked": make_response(lab, status=ocsp.OCSPCertStatus.REVOKED),
        "unknown": make_response(lab, status=ocsp.OCSPCertStatus.UNKNOWN),
        "over": make_response(lab, seconds=-5),
        "without end": make_response(lab, has_end=False),
        "a stranger's": make_response(lab, signer=stranger.certificate, key=stranger.key),
        "a stranger's delegate": make_response(lab, **delegate(lab, authority=stranger)),
        "a phone's": make_response(lab, **delegate(lab, ExtendedKeyUsageOID.CLIENT_AUTH)),
        "no answer": ocsp.OCSPResponseBuilder.build_unsuccessful(
            ocsp.OCSPResponseStatus.TRY_LATER
        ).public_bytes(serialization.Encoding.DER),
        "cut": make_response(lab)[:-1],
        "longer": make_response(lab) + b"\n",
        "no DER": b"good",
        "empty": b"",
        "huge": make_response(lab) + bytes(70000),
    }
    seen = log_of(lab).count("event=ocsp-faulty")
    for index, (what, der) in enumerate(bad.items(), 1):
        write(lab, der)
        wait_until(
            lambda n=seen + index: log_of(lab).count("event=ocsp-faulty") == n, what=f"{what} is refused"
        )
        assert figure(lab, "ocsp_faulty") == 1 and figure(lab, "ocsp_stapled") == 1
        assert good in stapled(lab), what
    lab.path("server.ocsp").unlink()
    wait_until(lambda: log_of(lab).count("event=ocsp-faulty") == seen + len(bad) + 1)
    assert resp(lab, "RELOAD", program="proxy") == "OK"  # finds no file either
    wait_until(lambda: log_of(lab).count("event=ocsp-faulty") == seen + len(bad) + 2)
    assert good in stapled(lab)
    write(lab, make_response(lab))
    wait_until(lambda: figure(lab, "ocsp_faulty") == 0)
    assert "server.ocsp" in log_of(lab).split("event=ocsp-faulty")[1]


def test_a_response_that_is_over_is_shown_no_more(ocsp_lab):
    lab = ocsp_lab
    write(lab, make_response(lab, seconds=4))
    wait_until(lambda: figure(lab, "ocsp_stapled") == 1)
    wait_until(lambda: figure(lab, "ocsp_expired") == 1)
    assert stapled(lab) is None and "event=ocsp-expired listener=ocsp" in log_of(lab)
    write(lab, make_response(lab))
    wait_until(lambda: stapled(lab))
    assert figure(lab, "ocsp_expired") == 0


def test_a_reload_takes_another_file_and_each_certificate_its_own(ocsp_lab):
    lab = ocsp_lab
    second = lab.ca.write_pair(
        lab.path("second.pem"),
        "other.example.org",
        names=[x509.DNSName("other.example.org")],
        usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
    )
    chain = second.read_bytes() + lab.ca.certificate_path.read_bytes()
    second.write_bytes(chain)
    certificate = x509.load_pem_x509_certificate(chain)
    certificates.write_private(lab.path("second.ocsp"), make_response(lab, certificate))
    write(lab, make_response(lab))
    wait_until(lambda: stapled(lab))
    path = lab.path("proxy.conf")
    before, mark, rest = path.read_text().partition("listener ocsp {")
    for option, name in (("certificate", "server.pem"), ("key", "server.key"), ("ocsp", "server.ocsp")):
        file = "second.ocsp" if option == "ocsp" else "second.pem"
        value = f'{{"{lab.path(name)}", "{lab.path(file)}"}}'
        rest = re.sub(rf"(\n\s*{option} = )[^\n]*", rf"\g<1>{value}", rest, count=1)
    path.write_text(before + mark + rest)
    assert resp(lab, "RELOAD", program="proxy") == "OK"
    wait_until(lambda: figure(lab, "ocsp_stapled") == 2)
    assert f"{own_certificate(lab).serial_number:X}" in stapled(lab)
    replace_in(path, f', "{lab.path("second.ocsp")}"', "")
    with pytest.raises(Exception, match="ERR"):
        resp(lab, "RELOAD", program="proxy")
    assert "name one for each" in log_of(lab)
