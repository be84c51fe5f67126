# SPDX-License-Identifier: Apache-2.0
"""Listeners by what they ask of a client: a certificate required, optional or ignored (F1, F2)."""
import socket
import ssl

import pytest

from tests.lab import certificates
from tests.system.lib import Phone, cn_of, ready_phone, resp, wait_until

LISTENERS = {
    "listener optional": {"client_certificate": "optional"},
    "listener ignored": {"client_certificate": "ignored", "trust_stores": None},
}
pytestmark = pytest.mark.lab(proxy_sections=LISTENERS, proxy_conf={"message_timeout": 1500})


def nobody(lab, listener):
    """A connected client that shows no certificate."""
    return Phone(lab, certified=False).connect(listener=listener)


def got_nothing(phone):
    """Nothing but the answer to its own question, which comes after what was sent before."""
    return phone.options().status == 200 and not phone.inbox


def assert_refused(response):
    assert response.status == 403
    assert "certificate-required" in response.get("Warning")


@pytest.mark.tsan
def test_F01_a_peer_without_certificate_gets_403_and_its_own_reason(fresh_lab):
    callee = ready_phone(fresh_lab)
    with callee:
        for listener in ("optional", "ignored"):
            with nobody(fresh_lab, listener) as stranger:
                assert_refused(stranger.register(expect=None))
                for method in ("INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "NOTIFY", "INFO"):
                    assert_refused(stranger.exchange(stranger.request(method, callee.aor)))
        assert got_nothing(callee)
    info = resp(fresh_lab, "INFO", program="proxy")
    assert "reason.certificate-required:14" in info
    log = fresh_lab.log_of("proxy").read_text()
    assert 'reason=certificate-required method="MESSAGE"' in log and "certificate=none" in log


def test_F01_without_certificate_nothing_is_cancelled_acknowledged_or_answered(fresh_lab):
    """ACK and responses are dropped, CANCEL finds nothing, not even of a call that rings."""
    caller, callee = ready_phone(fresh_lab), ready_phone(fresh_lab)
    with caller, callee, nobody(fresh_lab, "optional") as stranger:
        invite = caller.request("INVITE", callee.aor)
        caller.send(invite)
        rings = callee.expect("INVITE")
        callee.reply(rings, 180)
        assert caller.expect(180)
        forged = stranger.request("CANCEL", callee.aor)
        for name in ("Via", "From", "To", "Call-ID"):
            forged.set(name, invite.get(name))
        forged.set("CSeq", invite.get("CSeq").replace("INVITE", "CANCEL"))
        assert stranger.exchange(forged).status == 481
        stranger.send(stranger.request("ACK", callee.aor))
        stranger.send(stranger.make_response(rings, 486))
        assert got_nothing(callee) and not caller.seen(486)
        callee.reply(rings, 200)
        assert caller.expect(200)


def test_F02_where_it_is_optional_a_good_one_makes_a_device(fresh_lab):
    phone = Phone(fresh_lab).provision()
    with phone.connect(listener="optional"):
        assert phone.register().status == 200


@pytest.mark.parametrize("fault", ["stranger", "expired", "for servers"])
def test_F02_where_it_is_optional_a_bad_one_is_no_handshake(fresh_lab, fault):
    ca = fresh_lab.ca
    options = {}
    if fault == "stranger":
        ca = certificates.Authority(fresh_lab.path("x.pem"), fresh_lab.path("x.key"), "Stranger")
    elif fault == "expired":
        now = certificates.datetime.datetime.utcnow()
        options = {"not_before": now - 3 * certificates.DAY, "not_after": now - certificates.DAY}
    else:
        options = {"usages": (certificates.ExtendedKeyUsageOID.SERVER_AUTH,)}
    phone = Phone(fresh_lab, pem=ca.write_pair(fresh_lab.path("bad.pem"), cn_of(), **options))
    try:
        phone.connect(listener="optional")
    except OSError:
        return
    assert phone.expect_closed()


def test_F01_where_it_is_ignored_none_is_asked_for(fresh_lab):
    """A phone that has one can't send it: it is as good as anybody there."""
    phone = Phone(fresh_lab).provision()
    with phone.connect(listener="ignored"):
        assert_refused(phone.register(expect=None))


def test_F01_required_stays_required(fresh_lab):
    stranger = Phone(fresh_lab, certified=False)
    try:
        stranger.connect()
    except OSError:
        return
    assert stranger.expect_closed()


def test_F01_who_shows_nothing_holds_a_place_for_message_timeout_only(fresh_lab):
    with nobody(fresh_lab, "optional") as stranger, ready_phone(fresh_lab) as phone:
        assert stranger.expect_closed() is not None
        assert phone.options().status == 200
    assert "end=idle" in fresh_lab.log_of("proxy").read_text()


def test_F01_the_option_changes_live(fresh_lab):
    """RELOAD: optional becomes required; what is open ends: test_live_matrix.py."""
    path = fresh_lab.path("proxy.conf")
    path.write_text(path.read_text().replace('"optional"', '"required"'))
    assert resp(fresh_lab, "RELOAD", program="proxy") == "OK"

    def is_refused():
        raw = socket.create_connection(("127.0.0.1", fresh_lab.ports["optional"]), 10)
        try:
            with Phone(fresh_lab, certified=False).context().wrap_socket(
                raw, server_hostname=fresh_lab.domain
            ) as secured:
                return secured.recv(1) == b""
        except (OSError, ssl.SSLError):
            return True

    wait_until(is_refused, what="a handshake without certificate fails")
