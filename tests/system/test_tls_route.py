# SPDX-License-Identifier: Apache-2.0
"""Routes over TLS: whom we take for another domain's server (RFC 5922 7.3), what we show of
ourselves, and what leaves when the server is somebody else: nothing."""
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab.resp import RespError
from tests.system.lib import (
    Federation,
    permit,
    ready_phone,
    resp,
    wait_until,
)

OTHER = "other.example"


@pytest.fixture
def federation(tmp_path):
    return Federation(tmp_path)


@pytest.fixture
def route_lab(make_lab, federation):
    """make(partner, **options of the route) gives a lab with a route over TLS to the partner."""

    def make(partner, sections=None, workers=1, **route):
        own = federation.sections(partner, **route)
        for title, options in (sections or {}).items():
            own[title] = {**own.get(title, {}), **options}
        lab = make_lab(workers=workers, proxy_sections=own)
        permit(lab, partner.domain)
        return lab

    return make


def log_of(lab):
    return lab.log_of("proxy").read_text()


def wait_logged(lab, text):
    wait_until(lambda: text in log_of(lab), what=text)


def reload(lab):
    before = log_of(lab).count("event=reloaded")
    assert resp(lab, "RELOAD", program="proxy") == "OK"
    wait_until(lambda: log_of(lab).count("event=reloaded") > before)


def figure(lab, name):
    info = resp(lab, "INFO", program="proxy")
    return int(info.split(f"\n{name}:")[1].split("\r\n")[0])


def hang_up(lab, partner):
    """The partner closes what it has; the proxy has noticed when this returns."""
    before = figure(lab, "connections") - len(partner.streams)
    for stream in partner.streams:
        stream.close()
    partner.streams.clear()
    wait_until(lambda: figure(lab, "connections") == before, what="the proxy notices the end")


def status_of(phone, partner, to=None, answer=200):
    """Status of a MESSAGE to the partner's domain, which the partner answers if it gets it."""
    request = phone.request("MESSAGE", to or partner.aor, body="hello")
    phone.send(request)

    def done():
        partner.turn()
        return partner.seen("MESSAGE") or phone.seen(500) or phone.seen(403)

    wait_until(done, what="MESSAGE at the partner, or a refusal")
    if partner.seen("MESSAGE"):
        partner.reply(partner.expect("MESSAGE"), answer)
    return phone.response(request).status


@pytest.mark.tsan
def test_a_message_to_another_domain_goes_over_tls_and_comes_back(federation, route_lab):
    """SNI, Via, and the certificate that we show when we are asked."""
    partner = federation.partner(OTHER, ask=ssl.CERT_REQUIRED)
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        sent = alice.send(alice.request("MESSAGE", partner.aor, body="over the border"))
        got = partner.expect("MESSAGE")
        assert got.text() == "over the border" and got.uri == partner.aor
        via = got.get("Via")
        assert via.startswith(f"SIP/2.0/TLS 127.0.0.1:{lab.ports['federation']};")
        assert partner.names == [OTHER]
        assert "example.org" in str(partner.shown().subject)
        partner.reply(got, 200)
        assert alice.response(sent).status == 200
        assert status_of(alice, partner) == 200
        assert partner.accepted == 1  # once, for both
    wait_logged(lab, "route=other store=federation")


def test_the_certificate_is_shown_only_to_who_asks(federation, route_lab):
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        assert partner.shown() is None


def test_without_a_certificate_of_ours_the_partner_decides(federation, route_lab):
    partner = federation.partner(OTHER, ask=ssl.CERT_REQUIRED)
    lab = route_lab(partner, certificate=None, key=None)
    with partner:
        alice = ready_phone(lab)
        sent = alice.send(alice.request("MESSAGE", partner.aor, body="nobody"))
        wait_until(lambda: partner.turn().refused, what="the partner refuses us")
        assert alice.response(sent).status == 500
        wait_logged(lab, 'end=tls-failed detail="tlsv13 alert certificate required"')
        partner.server.verify_mode = ssl.CERT_OPTIONAL
        assert status_of(alice, partner) == 200
        assert partner.shown() is None


URI = x509.UniformResourceIdentifier
DNS = x509.DNSName

GOOD = {
    "dns": [DNS(OTHER)],
    "uri": [URI(f"sip:{OTHER}")],
    "case": [DNS("OTHER.Example")],
    "uri case": [URI("SIP:Other.EXAMPLE")],
    "one of several": [DNS("third.example"), DNS(OTHER)],
    "one of many": [DNS(f"d{i}.example") for i in range(40)] + [DNS(OTHER)],
    "uri beside user": [URI(f"sip:bob@{OTHER}"), URI(f"sip:{OTHER}")],
}
BAD = {
    "another domain": [DNS("evil.example")],
    "wildcard": [DNS("*.example"), DNS("*." + OTHER)],
    "below it": [DNS("sip." + OTHER)],
    "above it": [DNS("example")],
    "user of it": [URI(f"sip:bob@{OTHER}")],
    "dns beside a sip uri": [URI("sip:evil.example"), DNS(OTHER)],
    "dns beside a user's uri": [URI(f"sip:bob@{OTHER}"), DNS(OTHER)],
    "sips": [URI(f"sips:{OTHER}")],
    "port": [URI(f"sip:{OTHER}:5061")],
    "parameter": [URI(f"sip:{OTHER};transport=tls")],
    "address": [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
    "e-mail": [x509.RFC822Name(f"bob@{OTHER}")],
    "cn beside another name": [DNS("evil.example")],
    "cn alone": [],
    "nul": [DNS(f"{OTHER}\0.evil.example")],
}


def test_T20_the_server_must_be_the_domain_by_RFC_5922(federation, route_lab):
    """Every name by itself on one lab: the good ones are used, the others get not one byte."""
    partner = federation.partner("evil.example")
    partner.domain = OTHER
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        for what, names in BAD.items():
            partner.show(federation.pem(cn=OTHER, names=names))
            assert status_of(alice, partner) == 500, what
            wait_until(lambda: partner.turn().refused, what=what)
            assert not partner.streams and len(partner.refused) == 1, what
            partner.refused.clear()
        wait_until(lambda: log_of(lab).count("event=handshake-failed") == len(BAD))
        wait_logged(lab, 'route=other detail="hostname mismatch" wanted="other.example"')
        wait_logged(lab, 'names="*.example *.other.example"')
        for what, names in GOOD.items():
            partner.show(federation.pem(cn="x", names=names))
            assert status_of(alice, partner) == 200, what
            hang_up(lab, partner)


def test_the_cn_is_a_domain_only_without_any_name_and_where_the_store_says_so(
    federation, route_lab
):
    partner = federation.partner("evil.example")
    partner.domain = OTHER
    store = {"identities": ["san_dns", "cn_domain"]}
    lab = route_lab(partner, sections={"trust_store federation": store})
    with partner:
        alice = ready_phone(lab)
        partner.show(federation.pem(cn=OTHER, names=[DNS("evil.example")]))
        assert status_of(alice, partner) == 500
        partner.show(federation.pem(cn=OTHER, names=[URI("urn:x:y")]))
        assert status_of(alice, partner) == 500
        partner.show(federation.pem(cn=OTHER, names=[]))
        assert status_of(alice, partner) == 200


EKU = ExtendedKeyUsageOID
SIP_DOMAIN = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.20")


@pytest.mark.parametrize(
    "rule, good, bad",
    [
        ("accept", [EKU.SERVER_AUTH, SIP_DOMAIN, EKU.ANY_EXTENDED_KEY_USAGE], [EKU.CLIENT_AUTH]),
        ("require", [SIP_DOMAIN], [EKU.SERVER_AUTH, EKU.ANY_EXTENDED_KEY_USAGE]),
        ("ignore", [EKU.CLIENT_AUTH], []),
    ],
)
def test_F07_a_server_is_certified_as_one(federation, route_lab, rule, good, bad):
    partner = federation.partner(OTHER)
    lab = route_lab(partner, sections={"trust_store federation": {"key_usage": rule}})
    with partner:
        alice = ready_phone(lab)
        for usage in bad:
            partner.show(federation.pem(OTHER, usages=[usage]))
            assert status_of(alice, partner) == 500, usage
        for usage in good:
            partner.show(federation.pem(OTHER, usages=[usage]))
            assert status_of(alice, partner) == 200, usage
            hang_up(lab, partner)


def test_another_authority_than_the_routes_is_nobody(federation, route_lab, tmp_path):
    """Also one that the listeners trust."""
    other = Federation(tmp_path / "", "Corporate root")
    partner = other.partner(OTHER)
    lab = route_lab(partner, sections={"trust_store corp": {"ca": other.trust}})
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 500
        wait_until(lambda: partner.turn().refused)
        partner.show(federation.pem(OTHER))
        assert status_of(alice, partner) == 200


def test_a_next_hop_with_a_name_of_its_own(federation, route_lab):
    partner = federation.partner("sip.provider.example", ask=ssl.CERT_OPTIONAL)
    partner.domain = OTHER
    lab = route_lab(partner, tls_name="SIP.provider.example")
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        assert partner.names == ["sip.provider.example"]
        hang_up(lab, partner)
        partner.show(federation.pem(OTHER))
        assert status_of(alice, partner) == 500


def test_old_versions_of_tls_are_not_spoken_unless_the_route_says_so(federation, route_lab):
    partner = federation.partner(OTHER)
    partner.server.maximum_version = ssl.TLSVersion.TLSv1_2
    lab = route_lab(partner, tls_min="1.3")
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 500
        partner.server.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        assert status_of(alice, partner) == 200
        assert partner.stream.socket.version() == "TLSv1.3"


def test_sips_leaves_by_routes_over_tls_alone(federation, route_lab):
    """RFC 5630 3.1: every hop is TLS."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    permit(lab, f"pbx.{lab.domain}")
    with partner:
        alice = ready_phone(lab)
        assert alice.message(f"sips:500@pbx.{lab.domain}").status == 416
        call = alice.invite(f"sips:bob@{OTHER}", contact=f"<sips:{alice.user}@{alice.local}>")
        into = partner.expect_call()
        assert into.invite.uri == f"sips:bob@{OTHER}"
        assert all(r.startswith("<sips:") for r in into.invite.all("Record-Route"))
        into.reply(486)
        assert call.answer().status == 486
        into.expect_ack()


def test_a_server_that_never_shakes_hands_is_given_up(federation, make_lab):
    partner = federation.partner(OTHER, holding=True)
    lab = make_lab(
        workers=1,
        proxy_sections=federation.sections(partner),
        proxy_conf={"handshake_timeout": 500},
    )
    permit(lab, OTHER)
    with partner:
        alice = ready_phone(lab)
        assert alice.message(partner.aor).status == 500
        wait_logged(lab, 'route=other detail="too slow" wanted="other.example"')


def test_what_a_route_says_of_tls_is_checked_when_it_is_read(federation, make_lab):
    partner = federation.partner(OTHER)
    lab = make_lab(proxy_sections=federation.sections(partner))
    conf = lab.path("proxy.conf")
    good = conf.read_text()
    route = good.index("route other {")
    with partner:
        for old, new, complaint in (
            ('trust_stores = {"federation"}', "trust_stores = {}", "next hop are verified in"),
            ('trust_stores = {"federation"}', 'trust_stores = {"x"}', "no section trust_store x"),
            ('listener = "federation"', 'listener = "tcp"', "no listener tcp with transport = tls"),
            (f'domain = "{OTHER}"', 'domain = "192.0.2.7"', "a certificate names no address"),
            ('transport = "tls"', 'transport = "tcp"', "tcp takes no certificate"),
            ('transport = "tls"', 'transport = "udp"', "write tcp or tls"),
            ("    key = ", "    # key = ", "certificate and key go together"),
            ("    key = ", '    tls_name = "bob@x.example"\n    key = ', "is no domain"),
            ("    key = ", '    tls_min = "0.9"\n    key = ', "write 1.0, 1.1, 1.2 or 1.3"),
            ("    key = ", '    ciphers = "NONE"\n    key = ', "no cipher"),
        ):
            at = good.index(old, route)
            conf.write_text(good[:at] + new + good[at + len(old) :])
            before = len(log_of(lab))
            with pytest.raises(RespError):
                resp(lab, "RELOAD", program="proxy")
            wait_until(lambda: complaint in log_of(lab)[before:], what=complaint)
        conf.write_text(good)
        reload(lab)
