# SPDX-License-Identifier: Apache-2.0
"""What was answered 200 outlives the programs: registrations and dialogs over kill -9 of proxy and
mapperd, with PostgreSQL away, and over a phone's reconnection."""
import pytest

from tests.system.lib import Phone, establish, ready_phone, resp, sql, wait_until

pytestmark = pytest.mark.tsan


def call_and_hang_up(caller, callee):
    out, into = establish(caller, callee)
    bye = out.bye()
    into.expect_bye()
    assert caller.response(bye).status == 200


def test_registrations_outlive_kill_9_of_the_proxy(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    lab.kill_program("proxy")
    lab.start_program("proxy")
    alice.connect()
    assert alice.message(bob.aor).status == 480  # registered, but not connected yet
    bob.connect()  # and does not register again
    wait_until(lambda: reaches(alice, bob), what="bob is found by his new connection")
    call_and_hang_up(alice, bob)


def reaches(caller, callee):
    sent = caller.send(caller.request("MESSAGE", callee.aor, body="x"))
    while True:
        callee._read()
        if callee.seen("MESSAGE"):
            callee.reply(callee.expect("MESSAGE"), 200)
        caller._read()
        response = caller.take(lambda m: m.status and m.branch == sent.branch and m.status >= 200)
        if response:
            return response.status == 200


def test_registrations_outlive_kill_9_of_mapperd(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    lab.kill_program("mapperd")
    lab.start_program("mapperd")
    wait_until(lambda: reaches(alice, bob), what="mapperd answers again")
    call_and_hang_up(alice, bob)


def test_a_dialog_outlives_kill_9_of_the_proxy(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, into = establish(alice, bob)
    lab.kill_program("proxy")
    lab.start_program("proxy")
    alice.connect()
    bob.connect()
    wait_until(lambda: reaches(alice, bob), what="both are known again")
    bye = out.bye()
    assert into.expect_bye().cseq == bye.cseq
    assert alice.response(bye).status == 200


def test_a_dialog_goes_on_over_the_phones_new_connection(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, into = establish(alice, bob)
    bob.stream.close()
    bob.streams.clear()
    bob.connect()
    wait_until(lambda: bob.options().status == 200, what="bob is known again")
    bye = out.bye()
    assert into.expect_bye().cseq == bye.cseq
    assert alice.response(bye).status == 200
    out, into = establish(alice, bob)  # by the old binding, too
    bye = into.bye()
    out.expect_bye()
    assert bob.response(bye).status == 200


def test_T51_calls_go_on_with_postgresql_stopped(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    newcomer = Phone(lab).provision().connect()
    lab.postgres.stop()
    call_and_hang_up(alice, bob)
    assert alice.register().status == 200  # a refresh needs no write
    newcomer.register(expect=200)  # into the journal
    assert reaches(alice, newcomer)
    lab.restart_program("mapperd")  # starts without a database
    wait_until(lambda: reaches(alice, bob), what="LMDB alone answers")
    call_and_hang_up(alice, bob)
    lab.postgres.start()
    stored = "SELECT count(*) FROM binding WHERE aor = %s AND NOT removed"
    wait_until(lambda: sql(lab, stored, newcomer.identity) == [(1,)], what="it gets to the primary")


def test_T18_a_flow_that_is_gone_without_another_is_480(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    bob.stream.close()
    bob.streams.clear()
    wait_until(lambda: alice.message(bob.aor).status == 480, what="bob's connection is gone")
    assert len(resp(lab, "LOCATE", bob.identity)[3:]) == 1


def test_a_phone_that_reconnects_and_calls_at_once_is_served(lab):
    # Its mapping is in the worker's cache by then: the request is decided in the turn of its read.
    alice, bob = ready_phone(lab), ready_phone(lab)
    for _ in range(12):
        alice.stream.close()
        alice.connect()
        sent = alice.send(alice.request("MESSAGE", bob.aor, body="back again"))
        bob.reply(bob.expect("MESSAGE"), 200)
        assert alice.response(sent).status == 200
