# SPDX-License-Identifier: Apache-2.0
"""Our own certificates: several by the name that a client asks for, ECDSA and RSA side by side,
exchanged by a reload while connections stand (F12)."""
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import certificates
from tests.lab.resp import RespError
from tests.system.lib import Phone, ready_phone, resp, wait_until

NAMES = ("first.example.org", "second.example.org")
KINDS = ("ec", "rsa")
FILES = [f"{kind}-{name}" for name in NAMES for kind in KINDS]


def write_own(authority, folder, file):
    """Certificate and key for the name in the file's name, of the kind in it; its serial number."""
    kind, name = file.split("-", 1)
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else certificates.new_key()
    certificate = authority.issue(
        name,
        key.public_key(),
        names=[x509.DNSName(name)],
        usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    certificates.write_private(folder / f"{file}.pem", pem)
    certificates.write_private(folder / f"{file}.key", certificates.key_bytes(key))
    return certificate.serial_number


@pytest.fixture
def own_lab(make_lab, tmp_path):
    """A lab with two certificates for each of two names; their serial numbers by file."""
    ca = certificates.Authority(tmp_path / "ca.pem", tmp_path / "ca.key", "Device root")
    serials = {file: write_own(ca, tmp_path, file) for file in FILES}
    own = {
        "certificate": [str(tmp_path / f"{file}.pem") for file in FILES],
        "key": [str(tmp_path / f"{file}.key") for file in FILES],
        "client_certificate": "optional",
    }
    lab = make_lab(proxy_sections={"listener own": own})
    lab.own_ca, lab.own_folder = ca, tmp_path
    return lab, serials


def shown(lab, name, ciphers=None, version=None):
    """The serial number of what the proxy shows to a client that asks for the name (None: none)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(lab.own_ca.certificate_path)
    context.check_hostname = False
    if ciphers:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    with socket.create_connection(("127.0.0.1", lab.ports["own"]), 15) as raw:
        with context.wrap_socket(raw, server_hostname=name) as secured:
            der = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def test_F12_the_name_and_the_key_types_of_the_client_choose(own_lab):
    lab, serials = own_lab
    for name in NAMES:
        assert shown(lab, name) == serials[f"ec-{name}"]
        assert shown(lab, name.upper()) == serials[f"ec-{name}"]
        assert shown(lab, name, "ECDHE-RSA-AES128-GCM-SHA256") == serials[f"rsa-{name}"]
        assert shown(lab, name, "ECDHE-ECDSA-AES128-GCM-SHA256") == serials[f"ec-{name}"]
    for name in (None, "elsewhere.example.net", "127.0.0.1"):
        assert shown(lab, name) == serials[f"ec-{NAMES[0]}"]
        assert shown(lab, name, "ECDHE-RSA-AES128-GCM-SHA256") == serials[f"rsa-{NAMES[0]}"]


def test_F12_T14_the_name_changes_nothing_about_who_gets_in(own_lab):
    lab, _ = own_lab
    phone = Phone(lab).provision()
    context = phone.context()
    context.load_verify_locations(lab.own_ca.certificate_path)
    context.check_hostname = False
    for name in NAMES:
        with socket.create_connection(("127.0.0.1", lab.ports["own"]), 15) as raw:
            with context.wrap_socket(raw, server_hostname=name) as secured:
                secured.sendall(b"\r\n\r\n")
                assert secured.recv(2) == b"\r\n"
    log = lab.log_of("proxy").read_text()
    assert log.count(f'listener=own store=device cn="{phone.cn}"') == 2


def test_F12_a_reload_exchanges_them_and_closes_nothing(own_lab):
    lab, serials = own_lab
    with ready_phone(lab) as phone:
        new = write_own(lab.own_ca, lab.own_folder, FILES[3])
        assert shown(lab, NAMES[1], "ECDHE-RSA-AES128-GCM-SHA256") == serials[FILES[3]]
        assert resp(lab, "RELOAD", program="proxy") == "OK"
        wait_until(lambda: shown(lab, NAMES[1], "ECDHE-RSA-AES128-GCM-SHA256") == new)
        assert shown(lab, NAMES[1]) == serials[FILES[2]]
        (lab.own_folder / f"{FILES[2]}.key").write_bytes(
            (lab.own_folder / f"{FILES[0]}.key").read_bytes()
        )
        with pytest.raises(RespError):
            resp(lab, "RELOAD", program="proxy")
        log = lab.log_of("proxy").read_text()
        assert f"{FILES[2]}.pem: the key cannot be used" in log
        assert shown(lab, NAMES[1]) == serials[FILES[2]]
        assert phone.options().status == 200


def test_F12_a_key_that_is_open_to_everybody_is_refused(own_lab):
    lab, serials = own_lab
    key = lab.own_folder / f"{FILES[2]}.key"
    key.chmod(0o644)
    with pytest.raises(RespError):
        resp(lab, "RELOAD", program="proxy")
    assert f"{key} is open to everybody" in lab.log_of("proxy").read_text()
    assert shown(lab, NAMES[1]) == serials[FILES[2]]
    key.chmod(0o640)
    assert resp(lab, "RELOAD", program="proxy") == "OK"
