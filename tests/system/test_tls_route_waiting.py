# SPDX-License-Identifier: Apache-2.0
"""A permission that goes while its request waits for a connection to another domain (T19): until TCP
is connected, until the handshake is over."""
import pytest

from tests.system.lib import ready_phone, sql, wait_until
from tests.system.test_parking_connect import connecting
from tests.system.test_tls_route import OTHER, federation, log_of, route_lab  # noqa: F401

pytestmark = pytest.mark.tsan

WAITS = ("connect", "handshake")
CHANGES = {
    "rule": "DELETE FROM rights_rule WHERE target = 'other.example'",
    "user": "UPDATE sip_user SET state = 'disabled' WHERE identity = '{identity}'",
    "device": "SELECT retire_device('{cn}')",
}


def held_call(lab, partner, where):
    """A call that is permitted and waits for the connection to the partner."""
    alice = ready_phone(lab)
    out = alice.invite(partner.aor)
    out.expect(100)
    if where == "connect":
        lab.ports["pbx"] = partner.listener.getsockname()[1]
        wait_until(lambda: connecting(lab), what="the proxy connects")
    else:
        wait_until(lambda: partner.turn().accepted, what="the proxy is connected")
    alice.options()
    assert not alice.seen(403) and not alice.seen(500)
    return alice, out


def let_go(lab, partner):
    """The partner does what the proxy waits for; returns when the handshake is over."""
    partner.empty()
    partner.holding = False
    wait_until(
        lambda: partner.turn().streams or "connect-failed" in log_of(lab), what="the handshake"
    )
    wait_until(lambda: "route=other" in log_of(lab), what="the proxy knows it too")


def waiting(federation, where):
    return federation.partner(OTHER, full=where == "connect", holding=where == "handshake")


@pytest.mark.parametrize("where", WAITS)
def test_a_call_that_waits_goes_out_when_the_server_is_verified(federation, route_lab, where):
    partner = waiting(federation, where)
    lab = route_lab(partner)
    with partner:
        alice, out = held_call(lab, partner, where)
        let_go(lab, partner)
        into = partner.expect_call()
        into.reply(486)
        assert out.answer().status == 486
        into.expect_ack()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", WAITS)
def test_T19_permission_that_goes_while_the_server_is_awaited_refuses_the_call(
    federation, route_lab, where, change
):
    partner = waiting(federation, where)
    lab = route_lab(partner)
    with partner:
        alice, out = held_call(lab, partner, where)
        sql(lab, CHANGES[change].format(identity=alice.identity, cn=alice.cn))
        if change == "device":
            alice.expect_closed()
        else:
            assert out.answer().status in (403, 487)
        let_go(lab, partner)
        with ready_phone(lab) as bob:
            bob.options()
        assert not partner.turn().seen("INVITE")


@pytest.mark.parametrize("where", WAITS)
def test_a_call_that_is_cancelled_while_it_waits_never_leaves(federation, route_lab, where):
    partner = waiting(federation, where)
    lab = route_lab(partner)
    with partner:
        alice, out = held_call(lab, partner, where)
        assert out.cancel().status == 200
        assert out.answer().status == 487
        let_go(lab, partner)
        alice.options()
        assert not partner.turn().seen("INVITE") and not partner.seen("CANCEL")
