# SPDX-License-Identifier: Apache-2.0
"""Certificates of a lab: two authorities, the server's certificate, and phones' certificates by CN.

EC P-256 throughout. What a test wants different (key, dates, extensions, an intermediate) it says
in issue().
"""
import datetime
import ipaddress
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_bytes(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path, data):
    """Writes a file whole or not at all, readable by its owner only."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    temporary.rename(path)


def name(*cns, organization=None):
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name(parts + [x509.NameAttribute(NameOID.COMMON_NAME, cn) for cn in cns])


class Authority:
    """A certificate authority in two files, made when they are not there."""

    def __init__(self, certificate_path, key_path, common_name):
        self.certificate_path = pathlib.Path(certificate_path)
        self.key_path = pathlib.Path(key_path)
        if not self.certificate_path.exists() or not self.key_path.exists():
            self._make(common_name)
        self.key = serialization.load_pem_private_key(self.key_path.read_bytes(), None)
        self.certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())

    def _make(self, common_name):
        key = new_key()
        subject = name(common_name, organization="Holdline lab")
        now = datetime.datetime.utcnow()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        write_private(self.key_path, key_bytes(key))
        write_private(self.certificate_path, certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        subject,
        public_key,
        names=(),
        usages=(ExtendedKeyUsageOID.CLIENT_AUTH,),
        days=30,
        not_before=None,
        not_after=None,
    ):
        """A certificate for subject (an x509.Name or a CN); names are x509.GeneralName objects."""
        if not isinstance(subject, x509.Name):
            subject = name(subject)
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - DAY)
            .not_valid_after(not_after or now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(names)), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())

    def make_crl(self, revoked=(), hours=24, this_update=None, digest=None, extensions=()):
        """A CRL that lists these certificates or serial numbers, as PEM."""
        now = datetime.datetime.utcnow()
        end = now + datetime.timedelta(hours=hours)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(this_update or min(now, end) - datetime.timedelta(minutes=1))
            .next_update(end)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(getattr(one, "serial_number", one))
                .revocation_date(now - DAY)
                .build()
            )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        crl = builder.sign(self.key, digest or hashes.SHA256())
        return crl.public_bytes(serialization.Encoding.PEM)

    def write_crl(self, path, revoked=(), **options):
        """The same in a file, which is replaced whole."""
        write_private(path, self.make_crl(revoked, **options))
        return pathlib.Path(path)

    def write_pair(self, path, subject, **options):
        """Certificate and key for subject in one file at path."""
        key = new_key()
        certificate = self.issue(subject, key.public_key(), **options)
        write_private(path, certificate.public_bytes(serialization.Encoding.PEM) + key_bytes(key))
        return pathlib.Path(path)


def key_usage(**wanted):
    usages = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**usages, **wanted})


def write_server(authority, certificate_path, key_path, domain):
    """The server's certificate followed by its authority's, and its key; kept when there
    already."""
    certificate_path, key_path = pathlib.Path(certificate_path), pathlib.Path(key_path)
    if certificate_path.exists() and key_path.exists():
        return
    key = new_key()
    names = [x509.DNSName(domain), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = authority.issue(
        domain, key.public_key(), names=names, days=3650, usages=(ExtendedKeyUsageOID.SERVER_AUTH,)
    )
    write_private(key_path, key_bytes(key))
    write_private(
        certificate_path,
        certificate.public_bytes(serialization.Encoding.PEM)
        + authority.certificate_path.read_bytes(),
    )
