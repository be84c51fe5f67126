# SPDX-License-Identifier: Apache-2.0
"""Dialogs with another domain: it is the same peer on the connection that we have opened to it and
on those that it opens by its certificate, and nobody else is."""
import pytest

from tests.system.lib import Federation, establish, permit, ready_phone, unique, wait_until
from tests.system.test_tls_route import (  # noqa: F401
    OTHER,
    federation,
    figure,
    hang_up,
    route_lab,
    wait_logged,
)

pytestmark = pytest.mark.tsan


def port_of(lab):
    return lab.ports["federation"]


def end(by, other):
    """BYE from `by` reaches `other`, and its 200 comes back."""
    bye = by.bye()
    other.expect_bye()
    assert by.agent.response(bye).status == 200


def test_a_call_to_another_domain_is_ended_by_either_side(federation, route_lab):
    """On the one connection that there is."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, workers=2)
    with partner:
        alice = ready_phone(lab)
        out, into = establish(alice, partner)
        routes = into.invite.all("Record-Route")
        assert len(routes) == 2 and f":{port_of(lab)};transport=tls" in routes[0]
        assert f":{lab.ports['tls']};transport=tls" in routes[1]
        end(into, out)
        end(*establish(alice, partner))
        assert partner.accepted == 1


def test_T18_the_other_domain_goes_on_over_a_connection_of_its_own(federation, route_lab):
    """It has closed ours, as a proxy does when it is idle, and comes by its certificate."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, workers=2)
    with partner:
        alice = ready_phone(lab)
        out, into = establish(alice, partner)
        hang_up(lab, partner)
        partner.connect(port_of(lab), pem=federation.pem(OTHER, cn="another certificate"))
        end(into, out)
        out, into = establish(alice, partner)  # by the route again
        assert partner.accepted == 2
        end(out, into)


def refused(lab, partner, alice, into, port, pem):
    """Status and Warning of a BYE on a connection with that certificate."""
    partner.connect(port, pem=pem)
    bye = into.bye()
    response = partner.response(bye)
    assert not alice.seen("BYE")
    return response.status, response.get("Warning") or ""


def test_T03_T20_no_other_identity_or_store_speaks_in_the_dialog(
    federation, route_lab, tmp_path
):
    partner = federation.partner(OTHER)
    corp = Federation(tmp_path, "Corporate root")
    lab = route_lab(
        partner,
        workers=2,
        sections={
            "trust_store corp": {"ca": corp.trust},
            "listener federation": {"trust_stores": ["federation", "corp"]},
        },
    )
    with partner:
        alice = ready_phone(lab)
        out, into = establish(alice, partner)
        for pem in (
            federation.pem("third.example"),
            federation.pem("sip." + OTHER),
            corp.pem(OTHER),
        ):
            status, warning = refused(lab, partner, alice, into, port_of(lab), pem)
            assert status == 403 and "token-other-device" in warning
        partner.streams.append(partner.streams[0])
        end(into, out)


def test_a_call_from_another_domain_is_answered_by_the_route(federation, route_lab):
    """The domain calls by its certificate and closes that connection; our BYE finds it."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, workers=2)
    with partner:
        alice = ready_phone(lab)
        partner.connect(port_of(lab))
        out, into = establish(partner, alice)
        hang_up(lab, partner)
        end(into, out)
        assert partner.accepted == 1


def test_T18_who_called_by_its_certificate_goes_on_over_our_connection(federation, route_lab):
    partner = federation.partner(OTHER)
    lab = route_lab(partner, workers=1)
    with partner:
        alice = ready_phone(lab)
        partner.connect(port_of(lab))
        out, into = establish(partner, alice)
        hang_up(lab, partner)
        sent = into.send("INFO")
        got = partner.expect("INFO")
        partner.reply(got, 200)
        assert alice.response(sent).status == 200
        end(out, into)
        assert partner.accepted == 1


def test_T16_an_answer_may_come_by_the_domains_own_connection_and_by_no_other(
    federation, route_lab
):
    """RFC 3261 18.2.2: who has lost the connection of the request opens one for the response."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, workers=2)
    with partner:
        alice = ready_phone(lab)
        out = alice.invite(partner.aor)
        into = partner.expect_call()
        into.reply(180)
        out.expect(180)
        hang_up(lab, partner)
        partner.connect(port_of(lab), pem=federation.pem("third.example"))
        third = partner.options(f"sip:{lab.domain}", from_="<sip:x@third.example>")
        assert third.status == 200  # it is known by now
        before = figure(lab, "dropped")
        partner.send(partner.make_response(into.invite, 200, to_tag=into.local_tag))
        wait_until(lambda: figure(lab, "dropped") > before, what="it is dropped")
        assert not alice.seen(200)
        partner.connect(port_of(lab))
        assert partner.options(f"sip:{lab.domain}").status == 200  # it is known by now
        partner.send(partner.make_response(into.invite, 200, to_tag=into.local_tag))
        assert out.answer().status == 200
        # That ACK found no connection, and has opened one; a 2xx is repeated until it comes.
        wait_until(lambda: len(partner.turn().streams) == 3, what="our connection")
        partner.send(partner.make_response(into.invite, 200, to_tag=into.local_tag))
        assert out.answer().status == 200
        into.expect_ack()


def test_T01_new_requests_of_the_domain_are_its_certificates_business(federation, route_lab):
    """That it is the route inside dialogs permits nothing else."""
    partner = federation.partner(OTHER)
    lab = route_lab(partner, inbound=True, may_assert=["carrier.example"])
    permit(lab, "carrier.example", who="foreign")
    with partner:
        alice = ready_phone(lab)
        partner.connect(port_of(lab))
        request = partner.request("MESSAGE", alice.aor, body="x", from_="<sip:x@carrier.example>")
        response = partner.exchange(request)
        assert response.status == 403 and "from-not-permitted" in response.get("Warning")
        # On the connection that we have opened it is the route, with the route's rights.
        sent = alice.send(alice.request("MESSAGE", partner.aor, body="y"))
        partner.reply(partner.expect("MESSAGE"), 200)
        assert alice.response(sent).status == 200
        request = partner.request("MESSAGE", alice.aor, body="x", from_="<sip:x@carrier.example>")
        partner.send(request)
        alice.reply(alice.expect("MESSAGE"), 200)
        assert partner.response(request).status == 200
        forged = partner.exchange(partner.request("MESSAGE", alice.aor, from_=f"<{alice.aor}>"))
        assert forged.status == 403


def test_a_reload_takes_the_route_from_a_store(federation, route_lab, tmp_path):
    """Whose authority the route does not trust any more is not the route from then on."""
    from tests.system.test_tls_route import reload
    from tests.system.test_tls_route_reuse import change

    partner = federation.partner(OTHER)
    corp = Federation(tmp_path, "Corporate root")
    lab = route_lab(partner, sections={"trust_store corp": {"ca": corp.trust}})
    with partner:
        alice = ready_phone(lab)
        out, into = establish(alice, partner)
        partner.connect(port_of(lab))  # it is the route until the reload
        info = partner.send(into.make_request("INFO"))
        alice.reply(alice.expect("INFO"), 200)
        assert partner.response(info).status == 200
        change(lab, 'trust_stores = {"federation"}', 'trust_stores = {"corp"}')
        reload(lab)
        bye = into.bye()  # on the same connection
        assert partner.response(bye).status == 403
        pem = federation.pem(OTHER)
        status, warning = refused(lab, partner, alice, into, port_of(lab), pem)
        assert status == 403 and "token-other-device" in warning
