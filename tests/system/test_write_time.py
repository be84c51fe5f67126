# SPDX-License-Identifier: Apache-2.0
"""A decision counts when the request is written (design: "When a decision counts"): a worker that
has heard of a change refuses what another worker, whose link is slow, still believes in."""
import pytest

from tests.system.lib import knows, ready_phone, resp, sql, use_relay, wait_until

pytestmark = pytest.mark.tsan

SLOW_S = 1.2  # ticks still come within two seconds


def worker_of(phone):
    binding = resp(phone.lab, "LOCATE", phone.identity)[3]
    flow = next(field for field in binding.split(" ") if field.startswith("flow="))
    return int(flow.split("/")[2])


def ready_phone_elsewhere(other):
    for _ in range(50):
        phone = ready_phone(other.lab)
        if worker_of(phone) != worker_of(other):
            return phone
        phone.close()
    raise AssertionError("50 connections and all of them on one worker")


@pytest.mark.lab(workers=2)
def test_T19_a_mapping_removed_while_the_request_waits_for_another_worker_refuses_it(fresh_lab):
    lab = fresh_lab
    relay = use_relay(lab)
    try:
        alice = ready_phone(lab)
        bob = ready_phone_elsewhere(alice)
        assert alice.options().status == 200  # known to its worker by now
        spare = f"spare-{alice.user}@{lab.domain}"  # so that the connection stays
        sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", alice.cn, spare)
        wait_until(lambda: alice.options(from_=f"<sip:{spare}>").status == 200, what="spare is held")
        question = f"PEER\r\n$6\r\ndevice\r\n$12\r\n{alice.cn}\r\n"
        relay.only = relay.number_of(question.encode())
        relay.delay_s = SLOW_S
        asked = relay.asked_by[relay.only].count(bob.identity.encode())
        sent = alice.send(alice.request("MESSAGE", bob.aor, body="too late"))
        wait_until(
            lambda: relay.asked_by[relay.only].count(bob.identity.encode()) > asked,
            what="the target is asked for, the answer is on its slow way",
        )
        sql(
            lab,
            "DELETE FROM cn_mapping WHERE cn = device_cn(%s) AND identity = %s",
            alice.cn,
            alice.identity,
        )
        wait_until(lambda: not knows(lab, "device", alice.cn, alice.identity), what="it is gone")
        assert alice.response(sent).status == 403
        assert not bob.seen("MESSAGE")
        # Not because of the way: what is permitted arrives.
        relay.delay_s = 0
        sent = alice.send(alice.request("MESSAGE", bob.aor, from_=f"<sip:{spare}>", body="in time"))
        got = bob.expect("MESSAGE")
        assert got.text() == "in time"
        bob.reply(got, 200)
        assert alice.response(sent).status == 200
    finally:
        lab.stop_program("proxy")
        relay.close()
