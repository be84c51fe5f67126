# SPDX-License-Identifier: Apache-2.0
"""What a client certificate makes of its holder: real certificates, real TLS, the whole path to the
answer of a REGISTER (T8, T9, T11, T12, T13)."""
import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab import certificates
from tests.system.lib import Phone, cn_of, sql, unique

DAY = certificates.DAY


def pem_of(lab, subject, **options):
    """A file with certificate and key for a subject (CN or x509.Name) of the store device."""
    return lab.ca.write_pair(lab.path(unique("pem")), subject, **options)


def device(lab, subject, user=None, **options):
    """A phone with a certificate of its own making; nothing is provisioned for it."""
    return Phone(lab, cn="none", user=user, pem=pem_of(lab, subject, **options))


def register_status(phone):
    with phone:
        return phone.connect().register(expect=None).status


def refusal(phone):
    """Why TLS refuses the phone; fails when it does not."""
    with phone:
        try:
            phone.connect()
        except OSError as error:
            return str(error)
        return phone.expect_closed()


# ---- T8: the store is part of the name


def test_T08_same_cn_under_another_trusted_store_is_not_that_device(lab):
    phone = Phone(lab).provision()
    twin = Phone(lab, cn=phone.cn, store="corp", user=phone.user)
    assert register_status(phone) == 200
    assert register_status(twin) == 403


def test_T08_same_cn_in_two_stores_is_two_devices(lab):
    device_phone = Phone(lab).provision()
    corp_phone = Phone(lab, cn=device_phone.cn, store="corp").provision()
    assert register_status(device_phone) == 200
    assert register_status(corp_phone) == 200
    crossed = Phone(lab, cn=device_phone.cn, store="corp", user=device_phone.user)
    assert register_status(crossed) == 403


# ---- T9: the CN


@pytest.mark.parametrize("spell", ["{}", "lower", "colons", "dashes"])
def test_T09_a_mac_in_any_spelling_is_its_canonical_form(lab, spell):
    phone = Phone(lab).provision()
    pairs = [phone.cn[i : i + 2] for i in range(0, 12, 2)]
    text = {"lower": phone.cn.lower(), "colons": ":".join(pairs), "dashes": "-".join(pairs)}
    same = device(lab, text.get(spell, phone.cn), user=phone.user)
    assert register_status(same) == 200


@pytest.mark.parametrize(
    "change",
    [
        lambda cn: cn + "\0",
        lambda cn: cn + "\0.example.org",
        lambda cn: "\n" + cn,
        lambda cn: cn + "\r\nX: y",
        lambda cn: cn.replace("0", "\uff10", 1),  # a full-width zero
        lambda cn: cn + "0",
        lambda cn: cn[:-1],
        lambda cn: cn + "\u200b",
    ],
    ids=["nul", "nul-and-more", "newline", "crlf", "look-alike", "longer", "shorter", "zero-width"],
)
def test_T09_a_cn_that_only_looks_like_it_is_not_that_device(lab, change):
    phone = Phone(lab).provision()
    false = device(lab, change(phone.cn), user=phone.user)
    assert register_status(false) == 403


def test_T09_the_most_specific_cn_alone_counts(lab):
    phone = Phone(lab).provision()
    first = device(lab, certificates.name(phone.cn, cn_of()), user=phone.user)
    last = device(lab, certificates.name(cn_of(), phone.cn), user=phone.user)
    assert register_status(first) == 403
    assert register_status(last) == 200


def test_T09_a_certificate_without_cn_is_no_device(lab):
    user = unique()
    nameless = device(
        lab, x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Holdline")]), user=user
    )
    assert register_status(nameless) == 403


def test_T09_a_newline_in_a_cn_forges_no_log_line(lab):
    forged = unique("forged")
    register_status(device(lab, f"x\nevent={forged} level=info"))
    log = lab.log_of("proxy").read_text(errors="replace")
    assert f"\nevent={forged}" not in log
    assert not any(line.startswith(f"event={forged}") for line in log.splitlines())


# ---- T11, T12: names in the certificate


def known_user(lab):
    """A user of ours that no mapping names."""
    user = unique()
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", f"{user}@{lab.domain}")
    return user


def test_T11_a_sip_name_with_user_is_that_user_and_nobody_else(lab):
    alice, bob = known_user(lab), known_user(lab)
    names = [x509.UniformResourceIdentifier(f"sip:{alice}@{lab.domain}")]
    assert register_status(device(lab, cn_of(), user=alice, names=names)) == 200
    assert register_status(device(lab, cn_of(), user=bob, names=names)) == 403


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("*.example.org"),
        x509.DNSName("*"),
        x509.UniformResourceIdentifier("sip:*.example.org"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.UniformResourceIdentifier("sip:example.org;transport=tls"),
        x509.UniformResourceIdentifier("sips:example.org"),
    ],
    ids=["wildcard", "star", "sip-wildcard", "address", "parameter", "sips"],
)
def test_T12_a_wildcard_an_address_or_more_than_a_name_matches_nothing(lab, name):
    user = known_user(lab)
    assert register_status(device(lab, cn_of(), user=user, names=[name])) == 403


def test_T12_a_dns_name_counts_only_without_a_sip_uri(lab):
    user, other = known_user(lab), known_user(lab)
    dns = x509.DNSName(lab.domain)
    uri = x509.UniformResourceIdentifier(f"sip:{other}@{lab.domain}")
    assert register_status(device(lab, cn_of(), user=user, names=[dns])) == 200
    assert register_status(device(lab, cn_of(), user=user, names=[dns, uri])) == 403


# ---- T13: what TLS refuses


def now():
    return datetime.datetime.utcnow()


def signed(lab, key, subject, issuer, issuer_key, ca, digest=hashes.SHA256(), path_length=None):
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificates.name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + DAY)
        .add_extension(
            x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True
        )
    )
    return builder.sign(issuer_key, digest)


def write_chain(lab, key, *chain):
    path = lab.path(unique("pem"))
    certificates.write_private(
        path,
        b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)
        + certificates.key_bytes(key),
    )
    return path


def phone_with(lab, pem):
    return Phone(lab, cn="none", pem=pem)


def test_T13_an_expired_certificate_gets_an_alert(lab):
    phone = device(lab, cn_of(), not_before=now() - 3 * DAY, not_after=now() - DAY)
    assert "EXPIRED" in refusal(phone)


def test_T13_a_certificate_of_tomorrow_is_refused(lab):
    assert refusal(device(lab, cn_of(), not_before=now() + DAY, not_after=now() + 2 * DAY))


def test_T13_a_certificate_for_servers_is_refused(lab):
    assert refusal(device(lab, cn_of(), usages=(ExtendedKeyUsageOID.SERVER_AUTH,)))


def test_T13_a_sip_domain_usage_is_accepted(lab):
    """id-kp-sipDomain of RFC 5924."""
    phone = Phone(lab).provision()
    usages = (x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20"),)
    assert register_status(device(lab, phone.cn, user=phone.user, usages=usages)) == 200


def test_T13_a_phone_does_not_sign_phones(lab):
    """A CA:false certificate of the store signs one for another CN."""
    phone = Phone(lab).provision()
    signer_key, key = certificates.new_key(), certificates.new_key()
    signer = lab.ca.issue(cn_of(), signer_key.public_key())
    leaf = signed(lab, key, phone.cn, signer.subject, signer_key, ca=False)
    assert refusal(phone_with(lab, write_chain(lab, key, leaf, signer)))


def test_T13_path_length_holds(lab):
    ca_key, sub_key, key = (certificates.new_key() for _ in range(3))
    ca = signed(
        lab, ca_key, unique("CA"), lab.ca.certificate.subject, lab.ca.key, True, path_length=0
    )
    good = signed(lab, key, cn_of(), ca.subject, ca_key, ca=False)
    sub = signed(lab, sub_key, unique("CA"), ca.subject, ca_key, ca=True)
    bad = signed(lab, key, cn_of(), sub.subject, sub_key, ca=False)
    assert register_status(phone_with(lab, write_chain(lab, key, good, ca))) == 403
    assert refusal(phone_with(lab, write_chain(lab, key, bad, sub, ca)))


def test_T13_strangers_and_their_own_are_refused(lab):
    ca_key, key = certificates.new_key(), certificates.new_key()
    stranger = signed(lab, key, cn_of(), certificates.name("Stranger"), ca_key, ca=False)
    # The name of our authority, and another key.
    twin = signed(lab, key, cn_of(), lab.ca.certificate.subject, ca_key, ca=False)
    assert refusal(phone_with(lab, write_chain(lab, key, stranger)))
    assert refusal(phone_with(lab, write_chain(lab, key, twin)))


def test_T13_no_certificate_is_refused(lab):
    phone = Phone(lab)
    phone.pem = None
    assert refusal(phone)


def test_T13_a_short_rsa_key_is_refused(lab):
    key = rsa.generate_private_key(65537, 1024)
    leaf = lab.ca.issue(cn_of(), key.public_key())
    phone = phone_with(lab, write_chain(lab, key, leaf))

    with phone:
        try:
            phone.connect(context=lenient_context(phone))
        except OSError:
            return
        assert phone.expect_closed()


def lenient_context(phone):
    """Else the phone's own OpenSSL would refuse to load the certificate."""
    pem, phone.pem = phone.pem, None
    context = phone.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(pem)
    return context


def test_T13_an_unusual_curve_is_a_device_like_any_other(lab):
    phone = Phone(lab).provision()
    key = ec.generate_private_key(ec.SECP384R1())
    leaf = lab.ca.issue(phone.cn, key.public_key())
    same = Phone(lab, cn="none", user=phone.user, pem=write_chain(lab, key, leaf))
    assert register_status(same) == 200
