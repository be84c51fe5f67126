# SPDX-License-Identifier: Apache-2.0
"""Who connects to the routes' listener from an address that no route has."""
import socket

import pytest

from tests.system.lib import Agent, Pbx, Stream

pytestmark = pytest.mark.tsan
STRANGER = "127.0.0.9"


class Stranger(Agent):
    """Speaks from an address of its own, so that no route is recognised."""

    transport = "TCP"

    def __init__(self, lab):
        super().__init__("operator", f"pbx.{lab.domain}")
        self.lab = lab
        self.streams.append(
            Stream(socket.create_connection(lab.sip_tcp, 10, source_address=(STRANGER, 0)))
        )

    @property
    def local(self):
        return f"{STRANGER}:5060"


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "INVITE", "REGISTER", "BYE"])
def test_a_peer_of_no_route_is_refused_with_the_reason(lab, method):
    stranger = Stranger(lab)
    target = f"sip:{lab.domain}" if method in ("OPTIONS", "REGISTER") else f"sip:x@{lab.domain}"
    response = stranger.exchange(stranger.request(method, target))
    assert response.status == 403
    assert "peer-not-a-route" in response.get("Warning")


def test_nothing_of_a_peer_of_no_route_does_harm(lab):
    with Pbx(lab) as pbx:
        stranger = Stranger(lab)
        for method in ("ACK", "CANCEL", "OPTIONS"):
            stranger.send(stranger.request(method, f"sip:{lab.domain}"))
        assert stranger.expect(481).cseq
        assert stranger.expect(403)
        pbx.connect()
        assert pbx.exchange(pbx.request("OPTIONS", f"sip:{lab.domain}")).status == 200
