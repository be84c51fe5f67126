# SPDX-License-Identifier: Apache-2.0
"""Several servers of one route (F65): what one can't do another is asked for (RFC 3261 16.7, RFC 3263 4.3),
but never what one has decided, and never without the permission of that moment."""
import pytest

from tests.system.lib import Federation, Pbx, permit, ready_phone, resp, sql, wait_until
from tests.system.test_foreign_callers import reaches, rule
from tests.system.test_parking_connect import FullServer, connecting

DOMAIN = "pbx.example.org"


def pbx_at(host, port=0):
    return Pbx(None, domain=DOMAIN, address=(host, port))


@pytest.fixture
def servers(make_lab):
    """make(**proxy_conf) gives a lab, the two servers of its route, and a phone that may call them."""
    opened = []

    def make(**proxy_conf):
        first, second = pbx_at("127.0.0.2"), pbx_at("127.0.0.3")
        opened.extend((first, second))
        route = {"route pbx": {"address": [first.local, second.local]}}
        lab = make_lab(workers=1, proxy_conf=proxy_conf, proxy_sections=route)
        alice = ready_phone(lab)
        rule(lab, "everyone", "domain", DOMAIN, "allow")
        wait_until(lambda: reaches(alice, first)[0] == 200, what="the rule")
        return lab, first, second, alice

    yield make
    for server in opened:
        server.close()


def send(phone, server):
    return phone.send(phone.request("MESSAGE", server.aor, body="hello"))


def answered_by(phone, server, request, status=200):
    """The server gets it and answers; gives what it got."""
    got = server.expect("MESSAGE", call_id=request.call_id)
    server.reply(got, status)
    assert phone.response(request).status == status
    return got


def connections(lab):
    return int(resp(lab, "INFO", program="proxy").split("\nconnections:")[1].split("\r\n")[0])


def goes(lab, server):
    """Nobody is there any more, and the proxy has noticed."""
    before = connections(lab) - len(server.streams)
    server.close()
    wait_until(lambda: connections(lab) == before, what="the proxy notices the end")


def failures(lab):
    return lab.log_of("proxy").read_text().count("event=connect-failed")


def test_F65_a_server_that_is_not_there_is_passed_over_and_comes_back(servers):
    lab, first, second, alice = servers(next_hop_pause=600)
    address = first.listener.getsockname()
    goes(lab, first)
    answered_by(alice, second, send(alice, first))
    assert failures(lab) == 1
    assert "event=next-hop-failed route=pbx server=" in lab.log_of("proxy").read_text()
    back = pbx_at(*address)

    def asked_again():
        request = send(alice, first)
        wait_until(lambda: back.seen("MESSAGE") or second.seen("MESSAGE"), what="MESSAGE at one of them")
        answered_by(alice, back if back.seen("MESSAGE") else second, request)
        return not second.seen("MESSAGE") and back.streams

    with back:
        wait_until(asked_again, what="the first is asked again")


def test_F65_one_that_has_failed_is_not_asked_while_its_pause_lasts(servers):
    lab, first, second, alice = servers()
    goes(lab, first)
    for _ in range(3):
        answered_by(alice, second, send(alice, first))
    assert failures(lab) == 1
    goes(lab, second)
    assert alice.response(send(alice, first)).status == 500
    assert failures(lab) == 3


def test_F65_503_goes_to_the_next_and_a_decision_to_the_caller(servers):
    lab, first, second, alice = servers()
    for status in (403, 404, 486, 500, 600):
        answered_by(alice, first, send(alice, first), status)
    request = send(alice, first)
    got = first.expect("MESSAGE")
    first.reply(got, 503)
    again = answered_by(alice, second, request)
    assert again.branch != got.branch and again.uri == got.uri
    # Without Retry-After it says nothing of other requests (RFC 3261 21.5.4); with it they wait.
    request = send(alice, first)
    first.reply(first.expect("MESSAGE"), 503, Retry_After="60 (busy)")
    answered_by(alice, second, request)
    answered_by(alice, second, send(alice, first))
    # All of them: of one behind us, not of us (16.7).
    request = send(alice, first)
    second.reply(second.expect("MESSAGE"), 503)
    first.reply(first.expect("MESSAGE"), 503)
    assert alice.response(request).status == 500
    assert not first.seen("MESSAGE") and not second.seen("MESSAGE")


def test_F65_a_connection_that_ends_before_an_answer_is_a_failure(servers):
    lab, first, second, alice = servers()
    request = send(alice, first)
    got = first.expect("MESSAGE")
    got.stream.close()
    answered_by(alice, second, request)


@pytest.mark.parametrize("trying", [False, True])
def test_F65_a_call_whose_server_has_said_at_most_100_goes_to_the_next(servers, trying):
    lab, first, second, alice = servers()
    out = alice.invite(first.aor)
    left = first.expect_call()
    if trying:
        left.reply(100)
        again = alice.invite(first.aor)  # its 100 has been read once this one is there
        behind = first.expect_call()
        behind.reply(180)
        again.expect(180)
    left.invite.stream.close()
    into = second.expect_call()
    assert into.invite.call_id == out.invite.call_id
    into.reply(200)
    assert out.answer().status == 200
    assert into.expect_ack()


def test_a_call_that_no_server_is_left_for_ends_at_once_and_not_with_503(servers):
    lab, first, second, alice = servers()
    goes(lab, second)
    calls = [alice.invite(first.aor) for _ in range(20)]  # more than a connection's list has room for
    taken = [first.expect_call() for _ in calls]
    for into in taken:
        into.reply(100)
    taken[0].invite.stream.close()
    for out in calls:
        answer = out.answer()
        assert answer.status == 500 and "next-hop-unreachable:" in answer.get("Warning") and answer.get("Retry-After")


def test_a_call_that_rings_at_a_server_whose_connection_ends_goes_nowhere_else(servers):
    lab, first, second, alice = servers(t1=50, t2=300)
    out = alice.invite(first.aor)
    into = first.expect_call()
    into.reply(180)
    out.expect(180)
    into.invite.stream.close()
    assert out.answer().status == 500
    assert not second.seen("INVITE") and not first.seen("INVITE")


@pytest.mark.lab(workers=1, proxy_conf={"t2": 15000})
def test_a_call_that_rings_is_answered_by_another_connection_of_the_next_hop(fresh_lab):
    with Pbx(fresh_lab) as pbx:
        alice = ready_phone(fresh_lab)
        rule(fresh_lab, "everyone", "domain", pbx.domain, "allow")
        wait_until(lambda: reaches(alice, pbx)[0] == 200, what="the rule")
        out = alice.invite(pbx.aor)
        into = pbx.expect_call()
        into.reply(180)
        out.expect(180)
        before = connections(fresh_lab)
        into.invite.stream.close()
        wait_until(lambda: connections(fresh_lab) == before - 1, what="the proxy notices the end")
        pbx.connect()
        into.invite.stream = pbx.stream
        into.reply(200)
        assert out.answer().status == 200


def test_F65_a_call_stays_with_the_server_that_took_it(servers):
    lab, first, second, alice = servers()
    out = alice.invite(first.aor)
    refused = first.expect_call()
    refused.reply(503)
    assert refused.expect_ack()
    into = second.expect_call()
    into.reply(180)
    out.expect(180)
    into.reply(200)
    assert out.answer().status == 200
    assert into.expect_ack()
    for method in ("INFO", "UPDATE"):
        sent = out.send(method)
        second.reply(second.expect(method), 200)
        assert alice.response(sent).status == 200
    lab.restart_program("proxy")  # its name in the token is that of its address
    alice.connect().register()
    sent = out.send("INFO")
    second.reply(second.expect("INFO"), 200)
    assert alice.response(sent).status == 200
    sent = out.send("INFO")
    second.reply(second.expect("INFO"), 503)
    assert alice.response(sent).status == 500
    bye = out.bye()
    into.expect_bye()
    assert alice.response(bye).status == 200
    assert not first.seen("INFO") and not first.seen("BYE")


def test_F65_a_call_of_a_server_goes_back_to_it(servers):
    lab, first, second, alice = servers()
    request = send(alice, first)
    first.reply(first.expect("MESSAGE"), 503)
    answered_by(alice, second, request)
    out = second.invite(alice.aor)
    into = alice.expect_call()
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    bye = into.bye()
    out.expect_bye()
    assert alice.response(bye).status == 200


def test_F65_an_invite_that_nobody_answers_goes_to_the_next(servers):
    lab, first, second, alice = servers(t1=50)
    out = alice.invite(first.aor)
    assert first.expect_call()
    into = second.expect_call()
    into.reply(486)
    assert out.answer().status == 486


def test_F65_what_is_cancelled_goes_nowhere_else(servers):
    lab, first, second, alice = servers()
    out = alice.invite(first.aor)
    into = first.expect_call()
    into.reply(180)
    out.expect(180)
    assert out.cancel().status == 200
    first.reply(first.expect("CANCEL"), 200)
    into.reply(503)
    assert out.answer().status == 487, "the caller has cancelled it"
    answered_by(alice, first, send(alice, first))
    assert not second.seen("INVITE")


def test_F65_a_server_of_another_name_is_passed_over_on_tls(make_lab, tmp_path):
    federation = Federation(tmp_path)
    wrong, right = federation.partner("evil.example"), federation.partner("other.example")
    lab = make_lab(workers=1, proxy_sections=federation.sections(right, address=[wrong.address, right.address]))
    permit(lab, right.domain)
    with wrong, right:
        alice = ready_phone(lab)
        request = alice.send(alice.request("MESSAGE", right.aor, body="hello"))
        wait_until(lambda: wrong.turn().refused and right.turn().seen("MESSAGE"), what="the right one has it")
        right.reply(right.expect("MESSAGE"), 200)
        assert alice.response(request).status == 200
        assert not wrong.streams


@pytest.mark.lab(workers=1, proxy_conf={"handshake_timeout": 3000})
def test_T19_the_next_server_gets_nothing_once_the_permission_is_gone(fresh_lab):
    lab = fresh_lab
    full, second = FullServer(lab.route_pbx), pbx_at("127.0.0.2")
    try:
        lab.proxy_sections["route pbx"] = {"address": ["%s:%d" % lab.route_pbx, second.local]}
        lab.restart_program("proxy")
        alice = ready_phone(lab)
        rule(lab, "everyone", "domain", second.domain, "allow")
        wait_until(lambda: waits_for_connection(lab, alice, second), what="the rule")
        sql(lab, "DELETE FROM rights_rule WHERE target = %s", second.domain)
        answer = alice.expect(403)
        assert "no-right:" in answer.get("Warning")
        assert not second.seen("MESSAGE")
        rule(lab, "everyone", "domain", second.domain, "allow")
        wait_until(lambda: reaches(alice, second)[0] == 200, what="the rule is back: the next is asked at once")
    finally:
        full.close()
        second.close()


def waits_for_connection(lab, phone, server):
    """False: it was refused."""
    request = send(phone, server)
    wait_until(lambda: phone.seen(403) or connecting(lab), what="403, or a connection that is being made")
    if phone.seen(403):
        assert phone.response(request).status == 403
        return False
    return True
