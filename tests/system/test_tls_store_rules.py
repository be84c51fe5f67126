# SPDX-License-Identifier: Apache-2.0
"""What a trust store's options make of a certificate (F3 to F8), the lowest version of TLS (F12), and
the end of a connection with its certificate."""
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import certificates
from tests.system.lib import Phone, cn_of, ready_phone, sql, unique, wait_until
from tests.system.test_tls_certificates import known_user, lenient_context, refusal, register_status

SIP_DOMAIN = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20")


def listener_of(store):
    return {"trust_stores": [store]}


STORES = {
    "trust_store usage": {"ca": "FOLDER/usage.pem", "key_usage": "require"},
    "listener usage": listener_of("usage"),
    "trust_store lax": {"ca": "FOLDER/lax.pem", "key_usage": "ignore", "security_level": 0},
    "listener lax": {**listener_of("lax"), "tls_min": "1.1"},
    "trust_store mail": {"ca": "FOLDER/mail.pem", "email_as_sip": True},
    "listener mail": listener_of("mail"),
    "trust_store cn": {"ca": "FOLDER/cn.pem", "identities": ["cn_domain"]},
    "listener cn": {**listener_of("cn"), "tls_min": "1.3"},
}


@pytest.fixture
def stores_lab(make_lab, tmp_path):
    """A lab with one listener and one authority for each store; authorities by the store's name."""
    folder = tmp_path
    authorities = {
        name: certificates.Authority(folder / f"{name}.pem", folder / f"{name}.key", f"CA {name}")
        for name in ("usage", "lax", "mail", "cn")
    }
    sections = {
        title: {
            k: v.replace("FOLDER", str(folder)) if isinstance(v, str) else v
            for k, v in options.items()
        }
        for title, options in STORES.items()
    }
    lab = make_lab(proxy_sections=sections)
    for name in authorities:
        sql(lab, "INSERT INTO trust_store (name, cn_form) VALUES (%s, 'exact')", name)
    return lab, authorities


def phone_of(stores_lab, store, subject=None, user=None, **options):
    lab, authorities = stores_lab
    pem = authorities[store].write_pair(lab.path(unique("pem")), subject or cn_of(), **options)
    phone = Phone(lab, cn="none", user=user, pem=pem)
    connect = phone.connect
    phone.connect = lambda **more: connect(listener=store, **more)
    return phone


@pytest.mark.parametrize(
    "usages, accepted",
    [
        ((SIP_DOMAIN,), True),
        ((SIP_DOMAIN, ExtendedKeyUsageOID.SERVER_AUTH), True),
        ((ExtendedKeyUsageOID.CLIENT_AUTH,), False),
    ],
)
def test_F07_a_store_may_require_the_usage_sip_domain(stores_lab, usages, accepted):
    user = known_user(stores_lab[0])
    names = [x509.UniformResourceIdentifier(f"sip:{user}@{stores_lab[0].domain}")]
    phone = phone_of(stores_lab, "usage", user=user, usages=usages, names=names)
    if accepted:
        assert register_status(phone) == 200
    else:
        assert refusal(phone)


def test_F07_a_store_may_ignore_the_usage_and_its_weakness_is_named(stores_lab):
    lab, _ = stores_lab
    phone = phone_of(stores_lab, "lax", usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert register_status(phone) == 403
    log = lab.log_of("proxy").read_text()
    assert "event=weak-trust-store listener=lax store=lax security_level=0" in log
    assert "store=lax security_level=0 cn=" in log
    assert "event=weak-tls listener=lax tls_min=1.1" in log
    assert "store=device security_level" not in log


def test_F06_an_email_address_is_an_identity_where_the_store_says_so(stores_lab):
    lab, _ = stores_lab
    user, other = known_user(lab), known_user(lab)
    names = [x509.RFC822Name(f"{user}@{lab.domain}")]
    assert register_status(phone_of(stores_lab, "mail", user=user, names=names)) == 200
    assert register_status(phone_of(stores_lab, "mail", user=other, names=names)) == 403
    pem = lab.ca.write_pair(lab.path(unique("pem")), cn_of(), names=names)
    assert register_status(Phone(lab, cn="none", user=user, pem=pem)) == 403


def test_F05_the_cn_is_a_domain_where_the_store_says_so(stores_lab):
    lab, _ = stores_lab
    user = known_user(lab)
    assert register_status(phone_of(stores_lab, "cn", lab.domain, user=user)) == 200
    beside = [x509.DNSName("other.example")]
    assert register_status(phone_of(stores_lab, "cn", lab.domain, user=user, names=beside)) == 403


def test_a_store_without_mappings_takes_none(stores_lab):
    """A row for the CN is there, and known; the store's identities come from elsewhere."""
    lab, _ = stores_lab
    user, cn = known_user(lab), unique("cn")
    sql(
        lab,
        "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('cn', %s, %s),"
        " ('mail', %s, %s)",
        *(cn, f"{user}@{lab.domain}") * 2,
    )
    wait_until(lambda: register_status(phone_of(stores_lab, "mail", cn, user=user)) == 200)
    assert register_status(phone_of(stores_lab, "cn", cn, user=user)) == 403


def version_with(phone, lowest, highest):
    """The version that is agreed on; None: no handshake."""
    pem = phone.pem
    context = lenient_context(phone)
    phone.pem = pem
    context.minimum_version, context.maximum_version = lowest, highest
    with phone:
        try:
            phone.connect(context=context)
            assert phone.options().status in (200, 403)
        except (OSError, AssertionError):
            return None
        return phone.stream.socket.version()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_F12_each_listener_has_its_lowest_version(stores_lab):
    old, usual, new = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    lax, strict = phone_of(stores_lab, "lax"), phone_of(stores_lab, "cn")
    middle = phone_of(stores_lab, "mail")
    assert version_with(lax, old, old) == "TLSv1.1"
    assert version_with(lax, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1) is None
    assert version_with(lax, old, new) == "TLSv1.3"
    assert version_with(middle, old, old) is None
    assert version_with(middle, usual, usual) == "TLSv1.2"
    assert version_with(strict, usual, usual) is None
    assert version_with(strict, new, new) == "TLSv1.3"


@pytest.mark.tsan
def test_F11_a_connection_ends_with_its_certificate(fresh_lab):
    """The phone's certificate is good for seconds: registered, then closed, then refused."""
    steady = ready_phone(fresh_lab)
    phone = Phone(fresh_lab).provision()
    end = datetime.datetime.utcnow() + datetime.timedelta(seconds=8)
    phone.pem = fresh_lab.ca.write_pair(
        fresh_lab.path("brief.pem"), certificates.name(phone.cn), not_after=end
    )
    with phone.connect(), steady:
        assert phone.register().status == 200
        assert phone.expect_closed(timeout=40) == "end"
        assert datetime.datetime.utcnow() >= end.replace(microsecond=0)
        assert steady.options().status == 200
        assert steady.exchange(steady.request("MESSAGE", phone.aor)).status == 480
    assert "end=certificate-expired" in fresh_lab.log_of("proxy").read_text()
    assert "EXPIRED" in refusal(phone)
