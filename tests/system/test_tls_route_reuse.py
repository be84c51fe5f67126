# SPDX-License-Identifier: Apache-2.0
"""When a connection to another domain may be used again (T20), what a reload makes of it, and how it
ends: revoked, over, blocked."""
import datetime
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.lab.resp import RespError
from tests.system.lib import Federation, permit, ready_phone, resp, sql, wait_until
from tests.system.test_tls_route import (  # noqa: F401
    OTHER,
    federation,
    figure,
    log_of,
    reload,
    route_lab,
    status_of,
    wait_logged,
)

THIRD = "third.example"


def certificate_of(pem):
    with open(pem, "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


def change(lab, old, new):
    conf = lab.path("proxy.conf")
    text = conf.read_text()
    at = text.index(old, text.index("route other {"))
    conf.write_text(text[:at] + new + text[at + len(old) :])


def second_route(federation, partner, **options):
    """A route of another name for another domain, to the same address."""
    route = federation.sections(partner)["route other"]
    return {"route third": {**route, "domain": THIRD, **options}}


def other_user(partner, domain=THIRD):
    return f"sip:{partner.user}@{domain}"


# ---- Two routes, one address


def test_T20_a_connection_of_one_domain_serves_no_other(federation, route_lab):
    """The server is who the first route wants, not who the second wants."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, sections=second_route(federation, partner))
    permit(lab, THIRD)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        assert status_of(alice, partner, to=other_user(partner)) == 500
        wait_logged(lab, 'route=third detail="hostname mismatch" wanted="third.example"')
        assert status_of(alice, partner) == 200
        assert len(partner.streams) == 1


def test_T20_a_server_of_two_domains_has_a_connection_for_each(federation, route_lab):
    partner = federation.partner(OTHER, THIRD)
    lab = route_lab(partner, sections=second_route(federation, partner))
    permit(lab, THIRD)
    with partner:
        alice = ready_phone(lab)
        for _ in range(2):
            assert status_of(alice, partner) == 200
            assert status_of(alice, partner, to=other_user(partner)) == 200
        assert partner.names == [OTHER, THIRD] and partner.accepted == 2


def test_T20_two_routes_that_want_the_same_are_two_peers(federation, route_lab):
    """One name for two domains: what comes back on a connection must be one route's."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, sections=second_route(federation, partner, tls_name=OTHER))
    permit(lab, THIRD)
    with partner:
        alice = ready_phone(lab)
        for _ in range(2):
            assert status_of(alice, partner) == 200
            assert status_of(alice, partner, to=other_user(partner)) == 200
        assert partner.accepted == 2


def test_T20_each_route_shows_its_own_certificate(federation, route_lab):
    partner = federation.partner(OTHER, THIRD, ask=ssl.CERT_REQUIRED)
    own = federation.pem("example.net")
    lab = route_lab(
        partner, sections=second_route(federation, partner, certificate=own, key=own)
    )
    permit(lab, THIRD)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        assert status_of(alice, partner, to=other_user(partner)) == 200
        assert [partner.shown(s).subject.rfc4514_string() for s in partner.streams] == [
            "CN=example.org",
            "CN=example.net",
        ]


def test_T20_a_server_of_one_store_is_nobody_in_another(federation, route_lab, tmp_path):
    """Same address and same name; the second route's store knows another authority."""
    partner = federation.partner(OTHER, THIRD)
    second = Federation(tmp_path, "Second root")
    route = second_route(federation, partner, tls_name=OTHER, trust_stores=["second"])
    lab = route_lab(
        partner, sections={**route, "trust_store second": {"ca": second.trust}}
    )
    permit(lab, THIRD)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        assert status_of(alice, partner, to=other_user(partner)) == 500
        assert status_of(alice, partner) == 200
        assert len(partner.streams) == 1


# ---- Reload


@pytest.mark.tsan
def test_T20_a_reload_with_another_certificate_of_ours_takes_a_new_connection(
    federation, route_lab
):
    partner = federation.partner(OTHER, ask=ssl.CERT_REQUIRED)
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        reload(lab)
        assert status_of(alice, partner) == 200
        assert partner.accepted == 1  # the same files say the same
        own = federation.pem("example.net")
        ours = certificate_of(own).subject.rfc4514_string()
        change(lab, federation.ours, own)
        change(lab, federation.ours, own)  # its key
        reload(lab)
        assert status_of(alice, partner) == 200
        assert partner.accepted == 2 and partner.shown().subject.rfc4514_string() == ours
        assert partner.streams[0].closed is None  # what stands, stands
        assert status_of(alice, partner) == 200
        assert partner.accepted == 2


@pytest.mark.tsan
def test_T20_a_reload_with_another_store_ends_the_old_connection(
    federation, route_lab, tmp_path
):
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    second = Federation(tmp_path, "Second root")
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        conf = lab.path("proxy.conf")
        conf.write_text(conf.read_text().replace(federation.trust, second.trust))
        reload(lab)
        assert partner.expect_closed() == "end"
        wait_logged(lab, "end=trust-withdrawn")
        assert status_of(alice, partner) == 500
        partner.show(second.pem(OTHER))
        assert status_of(alice, partner) == 200


def test_T20_a_reload_with_one_more_authority_ends_nothing(federation, route_lab, tmp_path):
    """But what was verified by other stores than the route's now is not used again."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    second = Federation(tmp_path, "Second root")
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        both = tmp_path / "both.pem"
        both.write_bytes(
            federation.ca.certificate_path.read_bytes() + second.ca.certificate_path.read_bytes()
        )
        conf = lab.path("proxy.conf")
        conf.write_text(conf.read_text().replace(federation.trust, str(both)))
        reload(lab)
        partner.show(second.pem(OTHER))
        assert status_of(alice, partner) == 200
        assert partner.accepted == 2 and partner.streams[0].closed is None


def test_a_bad_file_of_a_route_leaves_the_old_one_running(federation, route_lab, tmp_path):
    partner = federation.partner(OTHER, ask=ssl.CERT_REQUIRED)
    lab = route_lab(partner)
    conf = lab.path("proxy.conf").read_text()
    with partner:
        alice = ready_phone(lab)
        bad = tmp_path / "bad.pem"
        bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        other_key = federation.pem("example.net")
        for new, said in (
            ("/nonexistent.pem", "/nonexistent.pem"),
            (str(bad), "cannot be used"),
            (other_key, "cannot be used with the certificate"),
        ):
            lab.path("proxy.conf").write_text(conf)
            change(lab, f'certificate = "{federation.ours}"', f'certificate = "{new}"')
            before = len(log_of(lab))
            with pytest.raises(RespError):
                resp(lab, "RELOAD", program="proxy")
            wait_until(lambda: said in log_of(lab)[before:], what=said)
            assert status_of(alice, partner) == 200
        assert partner.accepted == 1


# ---- Ends


@pytest.mark.tsan
def test_F11_a_revoked_server_is_left_at_once_and_not_gone_back_to(
    federation, route_lab, tmp_path
):
    crl = federation.ca.write_crl(tmp_path / "federation.crl")
    partner = federation.partner(OTHER)
    lab = route_lab(partner, sections={"trust_store federation": {"crl": [str(crl)]}})
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        began = time.monotonic()
        federation.ca.write_crl(crl, [certificate_of(partner.pem)])
        assert partner.expect_closed() == "end"
        assert time.monotonic() - began < 5  # a second on an idle machine
        wait_logged(lab, "end=certificate-revoked")
        assert status_of(alice, partner) == 500
        wait_logged(lab, 'route=other detail="certificate revoked"')
        partner.show(federation.pem(OTHER))
        assert status_of(alice, partner) == 200


def test_F11_a_call_at_a_revoked_server_ends(federation, route_lab, tmp_path):
    crl = federation.ca.write_crl(tmp_path / "federation.crl")
    partner = federation.partner(OTHER)
    lab = route_lab(partner, sections={"trust_store federation": {"crl": [str(crl)]}})
    with partner:
        alice = ready_phone(lab)
        call = alice.invite(partner.aor)
        partner.expect_call()
        federation.ca.write_crl(crl, [certificate_of(partner.pem)])
        assert partner.expect_closed()
        assert call.answer().status == 500


def test_F11_a_connection_ends_with_the_servers_certificate(federation, route_lab):
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        end = datetime.datetime.utcnow() + datetime.timedelta(seconds=4)
        partner.show(federation.pem(OTHER, not_after=end))
        assert status_of(alice, partner) == 200
        assert partner.expect_closed() == "end"
        wait_logged(lab, "end=certificate-expired")
        assert status_of(alice, partner) == 500
        wait_logged(lab, 'detail="certificate has expired"')


def fingerprint(certificate):
    return certificate.fingerprint(hashes.SHA256()).hex()


@pytest.mark.tsan
@pytest.mark.parametrize("whose", ["server", "authority"])
def test_a_blocked_certificate_of_a_server_ends_it_by_sql(federation, route_lab, whose):
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    blocked = fingerprint(
        certificate_of(partner.pem) if whose == "server" else federation.ca.certificate
    )
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        sql(
            lab,
            "INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('federation', %s)",
            blocked,
        )
        assert partner.expect_closed() == "end"
        assert status_of(alice, partner) == 500
        assert not partner.seen("MESSAGE")
        sql(lab, "DELETE FROM blocked_certificate")
        wait_until(lambda: status_of(alice, partner) == 200, what="it is let in again")


@pytest.mark.parametrize(
    "change_it, back",
    [
        (
            "UPDATE trust_store SET state = 'disabled' WHERE name = 'federation'",
            "UPDATE trust_store SET state = 'enabled' WHERE name = 'federation'",
        ),
        (
            "INSERT INTO device_info (trust_store, cn, state)"
            " VALUES ('federation', 'other.example', 'disabled')",
            "UPDATE device_info SET state = 'known' WHERE cn = 'other.example'",
        ),
    ],
    ids=["store", "device"],
)
def test_a_disabled_store_or_device_is_no_server_either(
    federation, route_lab, change_it, back
):
    partner = federation.partner(OTHER)
    lab = route_lab(partner)
    with partner:
        alice = ready_phone(lab)
        assert status_of(alice, partner) == 200
        sql(lab, change_it)
        assert partner.expect_closed() == "end"
        assert status_of(alice, partner) == 500
        sql(lab, back)
        wait_until(lambda: status_of(alice, partner) == 200, what="it is let in again")
