# SPDX-License-Identifier: Apache-2.0
"""Parked requests are bounded, and what must get through gets through meanwhile (T37)."""
import pytest

from tests.conftest import Lab
from tests.system.lib import (
    Phone,
    establish,
    provision,
    ready_phone,
    resp,
    use_relay,
    wait_until,
)

pytestmark = pytest.mark.tsan

PER_DEVICE, TOTAL = 4, 6
SLOW_S = 1.3


@pytest.fixture(scope="module")
def small(variant):
    settings = {"park_per_device": PER_DEVICE, "park_total": TOTAL, "park_deadline": 20000}
    lab = Lab(variant=variant, workers=1, proxy_conf=settings)
    try:
        lab.start()
        lab.relay = use_relay(lab)
        yield lab
        lab.finish()
        lab.relay.close()
    finally:
        lab.end()


@pytest.fixture
def slow(small):
    """The lab with a mapperd that takes its time, ticks included, until let go."""
    yield small
    small.relay.delay_s = 0
    wait_until(lambda: parked(small) == 0, what="nothing parked any more")
    small.check()


def parked(lab):
    text = resp(lab, "INFO", program="proxy")
    return int(next(line for line in text.splitlines() if line.startswith("parked:"))[7:])


def park(lab, phone, to, count):
    """So many MESSAGEs of the phone wait for LOCATE."""
    before = parked(lab)
    sent = [phone.send(phone.request("MESSAGE", to, body=str(i))) for i in range(count)]
    wait_until(lambda: parked(lab) == before + count, what=f"{count} parked")
    return sent


def test_T37_one_device_can_park_so_many_and_gets_500_beyond(slow):
    alice, bob = ready_phone(slow), ready_phone(slow)
    slow.relay.delay_s = SLOW_S
    sent = park(slow, alice, bob.aor, PER_DEVICE)
    for _ in range(20):
        refused = alice.message(bob.aor)
        assert refused.status == 500 and int(refused.get("Retry-After")) > 0
        assert "park-bound-device" in refused.get("Warning")
    assert parked(slow) == PER_DEVICE
    slow.relay.delay_s = 0
    for request in sent:
        bob.reply(bob.expect("MESSAGE"), 200)
        assert alice.response(request).status == 200
    assert not bob.seen("MESSAGE")


def test_T37_the_bound_is_the_devices_not_the_connections(slow):
    alice, bob = ready_phone(slow), ready_phone(slow)
    slow.relay.delay_s = SLOW_S
    park(slow, alice, bob.aor, PER_DEVICE)
    alice.connect()
    assert alice.message(bob.aor).status == 500
    alice.close()


def test_T37_cancel_bye_responses_and_pings_get_through_a_full_device(slow):
    alice, bob, carol = ready_phone(slow), ready_phone(slow), ready_phone(slow)
    talk, talk_at_bob = establish(alice, bob)
    ringing = alice.invite(bob.aor)
    ringing_at_bob = bob.expect_call()
    ringing_at_bob.reply(180)
    ringing.expect(180)
    incoming = carol.invite(alice.aor)
    incoming_at_alice = alice.expect_call()
    slow.relay.delay_s = SLOW_S
    park(slow, alice, bob.aor, PER_DEVICE)
    assert alice.message(bob.aor).status == 500
    alice.ping()
    alice.expect_pong()
    incoming_at_alice.reply(180)
    incoming.expect(180)
    incoming_at_alice.reply(200)
    assert incoming.answer().status == 200
    incoming_at_alice.expect_ack()
    assert ringing.cancel().status == 200
    bob.reply(bob.expect("CANCEL"), 200)
    ringing_at_bob.reply(487)
    assert ringing.answer().status == 487
    bye = talk.bye()
    talk_at_bob.expect_bye()
    assert alice.response(bye).status == 200
    alice.close()


def test_T37_a_parked_call_of_a_full_device_can_be_cancelled(slow):
    alice, bob = ready_phone(slow), ready_phone(slow)
    slow.relay.delay_s = SLOW_S
    calls = [alice.invite(bob.aor) for _ in range(PER_DEVICE)]
    wait_until(lambda: parked(slow) == PER_DEVICE)
    assert calls[0].cancel().status == 200
    assert calls[0].answer().status == 487
    assert parked(slow) == PER_DEVICE - 1
    alice.close()


def test_T37_the_global_bound_is_503(slow):
    alice, bob, carol = ready_phone(slow), ready_phone(slow), ready_phone(slow)
    slow.relay.delay_s = SLOW_S
    park(slow, alice, bob.aor, PER_DEVICE)
    park(slow, carol, bob.aor, TOTAL - PER_DEVICE)
    refused = carol.message(bob.aor)
    assert refused.status == 503 and int(refused.get("Retry-After")) > 0
    assert "park-bound-total" in refused.get("Warning")
    alice.close()
    carol.close()
    bob.close()


def test_identical_lookups_are_one(slow):
    """All that an unknown device sends while it is looked up costs one PEER."""
    phone = Phone(slow)
    question = b"$4\r\nPEER\r\n$6\r\ndevice\r\n$12\r\n" + phone.cn.encode()
    slow.relay.delay_s = 0.5
    phone.connect()
    sent = [phone.send(phone.request("OPTIONS", f"sip:{slow.domain}")) for _ in range(PER_DEVICE)]
    for request in sent:
        assert phone.response(request).status == 403
    assert slow.relay.asked.count(question) == 1
    provision(slow, phone.cn, phone.identity)
    wait_until(lambda: phone.options().status == 200, what="known without reconnecting")
