# SPDX-License-Identifier: Apache-2.0
"""session_timer: the proxy asks for RFC 4028 in every INVITE and UPDATE, so that a call whose refresh is
refused is ended by the side that may go on."""
import pytest

from tests.system.lib import SDP, establish, ready_phone, sql, wait_until
from tests.system.test_trusted_peer import run_check

OURS = 600
pytestmark = [pytest.mark.tsan, pytest.mark.lab(workers=2, proxy_conf={"session_timer": OURS})]

TIMER = {"Supported": "timer"}


def phones(lab):
    return ready_phone(lab), ready_phone(lab)


def answered(out, into, **headers):
    """What the callee got and what the caller got."""
    into.reply(200, **headers)
    response = out.answer()
    into.expect_ack()
    return into.invite, response


@pytest.mark.parametrize("caller_has", [True, False])
@pytest.mark.parametrize("callee_has", [True, False])
def test_a_call_has_a_timer_when_one_of_the_two_knows_of_it(fresh_lab, caller_has, callee_has):
    alice, bob = phones(fresh_lab)
    out = alice.invite(bob.aor, **(TIMER if caller_has else {}))
    into = bob.expect_call()
    headers = {"Session_Expires": f"{OURS};refresher=uas", "Require": "timer"} if callee_has else {}
    invite, response = answered(out, into, **headers)
    assert invite.fields("Session-Expires") == [str(OURS)] and not invite.fields("Min-SE")
    if callee_has:
        assert response.fields("Session-Expires") == [f"{OURS};refresher=uas"]
        assert response.fields("Require") == ["timer"]
    elif caller_has:  # we are the first on the way back that knows it
        assert response.fields("Session-Expires") == [f"{OURS};refresher=uac"]
        assert response.fields("Require") == ["timer"]
    else:
        assert not response.fields("Session-Expires") and not response.fields("Require")


def test_an_interval_is_lowered_to_ours_but_not_below_what_the_caller_bears(fresh_lab):
    alice, bob = phones(fresh_lab)
    for asked, least, leaves in (
        (7200, None, OURS),
        (7200, 900, 900),
        (300, None, 300),
        (300, 900, 900),
        (None, 900, 900),
    ):
        headers = dict(TIMER)
        if asked:
            headers["Session_Expires"] = f"{asked};refresher=uac"
        if least:
            headers["Min_SE"] = least
        out = alice.invite(bob.aor, **headers)
        invite, _ = answered(out, bob.expect_call())
        expected = f"{leaves};refresher=uac" if asked else str(leaves)
        assert invite.fields("Session-Expires") == [expected], (asked, least)
        assert invite.fields("Min-SE") == ([str(least)] if least else [])


def test_too_brief_an_interval_is_422_for_who_understands_it_and_raised_for_others(fresh_lab):
    alice, bob = phones(fresh_lab)
    out = alice.invite(bob.aor, Session_Expires=30, **TIMER)
    refused = out.answer()
    assert refused.status == 422 and refused.fields("Min-SE") == ["90"]
    assert "session-too-brief" in refused.get("Warning") and not bob.seen("INVITE")
    out = alice.invite(bob.aor, Session_Expires=90, Min_SE=90, **TIMER)
    invite, _ = answered(out, bob.expect_call())
    assert invite.fields("Session-Expires") == ["90"]
    out = alice.invite(bob.aor, Session_Expires=30)
    invite, _ = answered(out, bob.expect_call())
    assert invite.fields("Session-Expires") == ["90"] and invite.fields("Min-SE") == ["90"]
    out = alice.invite(bob.aor, Session_Expires="soon")
    assert out.answer().status == 400


def test_refreshes_inside_the_call_are_asked_for_as_well(fresh_lab):
    alice, bob = phones(fresh_lab)
    out, into = establish(alice, bob)
    update = out.send("UPDATE", **TIMER)
    got = bob.expect("UPDATE")
    assert got.fields("Session-Expires") == [str(OURS)]
    bob.reply(got, 200)
    assert alice.response(update).fields("Session-Expires") == [f"{OURS};refresher=uac"]
    again = into.send("INVITE", body=SDP, Session_Expires="7200;refresher=uas")
    got = alice.expect("INVITE")
    assert got.fields("Session-Expires") == [f"{OURS};refresher=uas"]
    alice.reply(got, 200, Session_Expires=f"{OURS};refresher=uas", Require="timer")
    assert bob.response(again).fields("Session-Expires") == [f"{OURS};refresher=uas"]
    info = out.send("INFO")
    got = bob.expect("INFO")
    assert not got.fields("Session-Expires")
    bob.reply(got, 200)
    assert not alice.response(info).fields("Session-Expires")


def test_T19_a_refresh_of_who_lost_the_identity_is_refused_and_the_other_side_ends_the_call(fresh_lab):
    lab = fresh_lab
    alice, bob = phones(lab)
    spare = f"spare-{alice.user}@{lab.domain}"  # so that the connection stays
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", alice.cn, spare)
    out = alice.invite(bob.aor, **TIMER)
    into = bob.expect_call()
    answered(out, into, Session_Expires=f"{OURS};refresher=uac", Require="timer")
    sql(lab, "DELETE FROM cn_mapping WHERE cn = %s AND identity = %s", alice.cn, alice.identity)
    wait_until(lambda: alice.options().status == 403, what="it is lost")
    for refresh in (("UPDATE", {}), ("INVITE", {"body": SDP})):
        request = out.send(refresh[0], **TIMER, **refresh[1])
        assert alice.response(request).status == 403
    assert not bob.seen("UPDATE") and not bob.seen("INVITE")
    bye = into.bye()  # bob's timer is over
    out.expect_bye()
    assert bob.response(bye).status == 200


@pytest.mark.lab(workers=1)
def test_without_the_option_what_the_two_agree_on_passes_untouched(fresh_lab):
    alice, bob = phones(fresh_lab)
    out = alice.invite(bob.aor, Session_Expires="30;refresher=uac", Min_SE=20, **TIMER)
    invite, response = answered(out, bob.expect_call())
    assert invite.fields("Session-Expires") == ["30;refresher=uac"]
    assert invite.fields("Min-SE") == ["20"]
    assert not response.fields("Session-Expires")


def test_the_option_is_0_or_90_and_more(fresh_lab):
    path = fresh_lab.path("bad.conf")
    path.write_text(fresh_lab.path("proxy.conf").read_text().replace(f"session_timer = {OURS}", "session_timer = 89"))
    done = run_check(fresh_lab, path)
    assert done.returncode != 0 and "90 and more" in done.stderr
