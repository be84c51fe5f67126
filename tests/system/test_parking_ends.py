# SPDX-License-Identifier: Apache-2.0
"""The four ends of parking (answered, deadline, cancelled, owner gone), each with a mapperd that is
slow, stands still (SIGSTOP) or is killed. Fail closed, never open; nothing leaks."""
import signal
import time

import pytest

from tests.conftest import Lab
from tests.system.lib import Phone, knows, ready_phone, resp, sql, use_relay, wait_until

LONG_MS = 20000  # longer than what a test holds: no end but the one that it is about
SHORT_MS = 700
SLOW_S = 1.2  # more than SHORT_MS; ticks still come within two seconds

pytestmark = pytest.mark.tsan
HOW = pytest.mark.parametrize("how", ["slow", "hung", "killed"])


def make(variant, park_deadline):
    lab = Lab(variant=variant, proxy_conf={"park_deadline": park_deadline})
    try:
        lab.start()
        lab.relay = use_relay(lab)
    except BaseException:
        lab.end()
        raise
    return lab


def end(lab):
    try:
        lab.finish()
    finally:
        lab.relay.close()
        lab.end()


@pytest.fixture(scope="module")
def patient(variant):
    lab = make(variant, LONG_MS)
    yield lab
    end(lab)


@pytest.fixture(scope="module")
def hasty(variant):
    lab = make(variant, SHORT_MS)
    yield lab
    end(lab)


class Held:
    """mapperd gives no answer in time until let_go()."""

    def __init__(self, lab, how):
        self.lab, self.how, self.held = lab, how, False

    def __enter__(self):
        self.held, self.since = True, time.monotonic()
        if self.how == "slow":
            self.lab.relay.delay_s = SLOW_S
        elif self.how == "hung":
            self.lab.processes["mapperd"].send(signal.SIGSTOP)
        else:
            self.lab.kill_program("mapperd")
        return self

    def let_go(self):
        if not self.held:
            return
        self.held = False
        if self.how == "slow":
            self.lab.relay.delay_s = 0
        elif self.how == "hung":
            self.lab.processes["mapperd"].send(signal.SIGCONT)
        else:
            self.lab.start_program("mapperd")

    def __exit__(self, *_):
        self.let_go()
        self.lab.check()


def info(lab):
    text = resp(lab, "INFO", program="proxy")
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def links_down(lab):
    said = info(lab)
    return all(said[f"worker.{i}.mapperd"] != "up" for i in range(lab.workers))


def parked(lab):
    return int(info(lab)["parked"])


def wait_parked(lab, count):
    wait_until(lambda: parked(lab) == count, what=f"{count} requests parked")


def calls_again(alice, bob):
    """A whole exchange works: to wait for after mapperd is back."""
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="again"))
    got = wait_for_either(alice, sent, bob)
    if got is None:
        return False
    bob.reply(got, 200)
    return alice.response(sent).status == 200


def wait_for_either(alice, sent, bob):
    """The MESSAGE at bob's, or None when the proxy has refused it."""
    while True:
        if bob.seen("MESSAGE"):
            return bob.expect("MESSAGE")
        alice._read()
        if alice.take(lambda m: m.is_response and m.branch == sent.branch and m.status >= 200):
            return None
        time.sleep(0.01)


# ---- Answered


@HOW
def test_T36_a_parked_call_goes_on_when_mapperd_answers(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    newcomer = Phone(patient).provision()
    with Held(patient, how) as held:
        out = alice.invite(bob.aor)
        out.expect(100)
        newcomer.connect()
        register = newcomer.send(newcomer.make_register())
        wait_parked(patient, 2)
        assert not bob.seen("INVITE")
        held.let_go()
        into = bob.expect_call()
        into.reply(200)
        assert out.answer().status == 200
        into.expect_ack()
        assert newcomer.response(register).status == 200
    wait_parked(patient, 0)


def worker_of(phone):
    """The worker that has the connection of a registered phone."""
    binding = resp(phone.lab, "LOCATE", phone.identity)[3]
    flow = next(field for field in binding.split(" ") if field.startswith("flow="))
    return int(flow.split("/")[2])


def ready_phone_beside(other):
    """A phone on the same worker as another."""
    for _ in range(50):
        phone = ready_phone(other.lab)
        if worker_of(phone) == worker_of(other):
            return phone
        phone.close()
    raise AssertionError("50 connections and none of them on that worker")


@HOW
def test_parked_requests_wake_in_the_order_they_came(patient, how):
    # On one worker: between two the order is that of their links to mapperd, which come back when
    # they come back, and what arrives at one that has none yet is decided again.
    bob = ready_phone(patient)
    alice = ready_phone_beside(bob)
    with Held(patient, how) as held:
        if how == "killed":  # one lookup for all: mapperd names what it reads again at its start
            wait_until(lambda: links_down(patient), what="both workers notice")
        sent = [alice.send(alice.request("MESSAGE", bob.aor, body=str(i))) for i in range(20)]
        wait_parked(patient, 20)
        held.let_go()
        for i, request in enumerate(sent):
            got = bob.expect("MESSAGE")
            assert got.text() == str(i)
            bob.reply(got, 200)
            assert alice.response(request).status == 200


@HOW
def test_a_retransmitted_parked_request_is_absorbed(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    with Held(patient, how) as held:
        out = alice.invite(bob.aor)
        out.expect(100)
        for _ in range(3):
            alice.send(out.invite)
            out.expect(100)  # its last response again, no second request
        wait_parked(patient, 1)
        held.let_go()
        into = bob.expect_call()
        into.reply(486)
        into.expect_ack()
        assert out.answer().status == 486
    assert not bob.seen("INVITE")


# ---- Deadline


@HOW
def test_T36_a_parked_request_ends_in_503_at_its_deadline(hasty, how):
    alice, bob = ready_phone(hasty), ready_phone(hasty)
    newcomer = Phone(hasty).provision()
    with Held(hasty, how) as held:
        began = time.monotonic()
        out = alice.invite(bob.aor)
        out.expect(100)
        refused = out.answer()
        assert refused.status == 503 and int(refused.get("Retry-After")) > 0
        assert SHORT_MS / 1000 * 0.9 < time.monotonic() - began < 5
        assert not newcomer.connect().register(expect=503).get("Contact")
        wait_parked(hasty, 0)
        held.let_go()
        wait_until(lambda: calls_again(alice, bob), what="back to normal by itself")
        newcomer.register()
        assert not bob.seen("INVITE")


# ---- Cancelled


@HOW
def test_a_parked_call_that_is_cancelled_never_rings(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    with Held(patient, how) as held:
        out, other = alice.invite(bob.aor), alice.invite(bob.aor)
        out.expect(100)
        other.expect(100)
        assert out.cancel().status == 200
        assert out.answer().status == 487
        wait_parked(patient, 1)  # only this one has left
        held.let_go()
        into = bob.expect_call()
        assert into.call_id == other.call_id
        into.reply(486)
        into.expect_ack()
        assert other.answer().status == 486
        assert not bob.seen("INVITE")


@HOW
def test_cancel_of_a_parked_message_changes_nothing(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    with Held(patient, how) as held:
        sent = alice.send(alice.request("MESSAGE", bob.aor, body="hello"))
        wait_parked(patient, 1)
        cancel = alice.request("CANCEL", bob.aor, to=sent.get("To"), cseq=sent.cseq)
        for name in ("Via", "From", "Call-ID"):
            cancel.set(name, sent.get(name))
        alice.send(cancel)
        held.let_go()
        bob.reply(bob.expect("MESSAGE"), 200)
        assert alice.response(sent).status == 200


# ---- Owner gone


@HOW
def test_what_a_closed_connection_had_parked_is_dropped(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    newcomer = Phone(patient).provision()
    with Held(patient, how) as held:
        alice.invite(bob.aor).expect(100)
        alice.send(alice.request("MESSAGE", bob.aor, body="hello"))
        newcomer.connect().send(newcomer.make_register())
        wait_parked(patient, 3)
        alice.close()
        newcomer.close()
        wait_parked(patient, 0)
        held.let_go()
        carol = ready_phone(patient)
        wait_until(lambda: calls_again(carol, bob), what="another call")
        assert not bob.seen("INVITE") and not bob.seen("MESSAGE")


# ---- A mapping that goes meanwhile (T19), and cached answers that are too old (T36)


@HOW
def test_T19_a_mapping_removed_while_the_request_is_parked_refuses_it(patient, how):
    alice, bob = ready_phone(patient), ready_phone(patient)
    with Held(patient, how) as held:
        out = alice.invite(bob.aor)
        out.expect(100)
        wait_parked(patient, 1)
        if how == "hung":  # mapperd takes it for standing still only when it is longer than this
            wait_until(lambda: time.monotonic() > held.since + 0.5, what="half a second")
        sql(patient, "SELECT retire_device(%s)", alice.cn)
        if how == "slow":
            wait_until(lambda: not knows(patient, "device", alice.cn, alice.identity))
        held.let_go()
        in_time = how != "slow" or time.monotonic() < held.since + SLOW_S
        alice.expect_closed()
        wait_parked(patient, 0)
        bob.options()  # whatever was on its way to bob would have come
        if bob.seen("INVITE"):  # the answer was there before the change, on a very busy machine
            assert not in_time
            bob.expect("CANCEL")


def test_T36_two_seconds_after_its_last_tick_no_cached_yes_is_used(hasty):
    alice, mallory = ready_phone(hasty), ready_phone(hasty)
    assert alice.options().status == 200 and mallory.options().status == 200
    with Held(hasty, "hung") as held:
        sql(hasty, "SELECT retire_device(%s)", mallory.cn)
        wait_until(lambda: links_down(hasty), what="both workers notice")
        assert mallory.options().status == 503
        assert alice.options().status == 503
        held.let_go()
        mallory.expect_closed()
        wait_until(lambda: alice.options().status == 200, what="alice goes on")
    refused = Phone(hasty, cn=mallory.cn, user=mallory.user).connect().register(expect=403)
    assert "device-unknown" in refused.get("Warning")


# ---- Nonsense (T36)


@pytest.mark.parametrize(
    "answer",
    [
        b"-LOADING for ever\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"*100000000\r\n",
        b"$4999999\r\n" + b"x" * 5000000,
        b"*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$5\r\n* * *\r\n",
        b"\x00" * 1000,
    ],
    ids=["loading", "http", "huge-array", "huge-bulk", "bad-message", "zeros"],
)
def test_T36_a_mapperd_that_talks_nonsense_ends_in_503_and_is_forgiven(hasty, answer):
    alice, bob = ready_phone(hasty), ready_phone(hasty)
    hasty.relay.answer = answer
    try:
        response = alice.message(bob.aor)
        assert response.status in (500, 503)
        assert not bob.seen("MESSAGE")
    finally:
        hasty.relay.answer = None
    wait_until(lambda: calls_again(alice, bob), what="back to normal by itself")
    hasty.check()


def test_a_message_that_is_parked_long_gets_100_and_never_408(make_lab):
    lab = make_lab(proxy_conf={"park_deadline": 5000, "nonfinal_100_after": 300})
    relay = use_relay(lab)
    try:
        alice, bob = ready_phone(lab), ready_phone(lab)
        relay.delay_s = 1.0
        sent = alice.send(alice.request("MESSAGE", bob.aor, body="hello"))
        assert alice.response(sent, provisional=True).status == 100
        bob.reply(bob.expect("MESSAGE"), 200)
        assert alice.response(sent).status == 200
    finally:
        relay.close()
