# SPDX-License-Identifier: Apache-2.0
"""A change in SQL acts on open connections, parked requests, ringing calls and registrations."""
import time

import pytest

from tests.system.lib import (
    Phone,
    establish,
    provision,
    ready_phone,
    resp,
    sql,
    unique,
    wait_until,
)

pytestmark = pytest.mark.tsan


def bindings_of(lab, identity):
    return resp(lab, "LOCATE", identity)[3:]


def retire(lab, phone):
    sql(lab, "SELECT retire_device(%s)", phone.cn)


def test_F25_a_retired_phone_loses_connection_and_registration(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    assert bindings_of(lab, bob.identity)
    begun = time.monotonic()
    retire(lab, bob)
    bob.expect_closed()
    assert time.monotonic() - begun < 5
    assert bindings_of(lab, bob.identity) == []
    assert alice.message(bob.aor).status in (404, 480)


def test_F25_a_phone_that_keeps_one_identity_keeps_its_connection(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    second = f"second-{bob.user}@{lab.domain}"
    provision(lab, bob.cn, second)
    wait_until(lambda: bob.options(from_=f"<sip:{second}>").status == 200, what="two identities")
    bob.register(to=f"<sip:{second}>", from_=f"<sip:{second}>", call_id="second")
    sql(
        lab,
        "DELETE FROM cn_mapping WHERE cn = device_cn(%s) AND identity = %s",
        bob.cn,
        bob.identity,
    )
    wait_until(lambda: bindings_of(lab, bob.identity) == [], what="the binding is gone")
    assert alice.message(bob.aor).status in (404, 480)
    wait_until(lambda: bob.options().status == 403, what="bob's worker has heard of the loss")
    assert bob.options(from_=f"<sip:{second}>").status == 200
    sent = alice.send(alice.request("MESSAGE", f"sip:{second}", body="x"))
    bob.reply(bob.expect("MESSAGE"), 200)
    assert alice.response(sent).status == 200


def test_T19_a_ringing_call_of_a_peer_that_lost_the_identity_is_cancelled(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    provision(lab, alice.cn, f"keep-{alice.user}@{lab.domain}")  # its connection stays
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    sql(
        lab,
        "DELETE FROM cn_mapping WHERE cn = device_cn(%s) AND identity = %s",
        alice.cn,
        alice.identity,
    )
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    assert out.answer().status == 403


def test_T19_a_call_that_rings_at_a_phone_ends_when_that_loses_who_is_called(lab):
    """The phone keeps another identity, and its connection; so does what else rings there."""
    alice, bob = ready_phone(lab), ready_phone(lab)
    second = f"keep-{bob.user}@{lab.domain}"
    provision(lab, bob.cn, second)
    wait_until(lambda: bob.options(from_=f"<sip:{second}>").status == 200, what="two identities")
    bob.register(to=f"<sip:{second}>", from_=f"<sip:{second}>", call_id="second")
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    other = alice.invite(f"sip:{second}")
    kept = bob.expect_call()
    kept.reply(180)
    other.expect(180)
    sql(
        lab,
        "DELETE FROM cn_mapping WHERE cn = device_cn(%s) AND identity = %s",
        bob.cn,
        bob.identity,
    )
    cancel = bob.expect("CANCEL")
    assert cancel.call_id == into.invite.call_id
    bob.reply(cancel, 200)
    into.reply(487)
    into.expect_ack()
    assert out.answer().status == 480
    kept.reply(200)
    assert other.answer().status == 200
    kept.expect_ack()


def test_F25_a_retired_phones_ringing_call_is_cancelled(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    alice.expect(180)
    retire(lab, alice)
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    into.expect_ack()
    alice.expect_closed()


def test_F25_a_disabled_user_is_refused_in_and_out_of_dialogs(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    provision(lab, bob.cn, f"keep-{bob.user}@{lab.domain}")  # its connection stays
    out, into = establish(alice, bob)
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", bob.identity)
    wait_until(lambda: bindings_of(lab, bob.identity) == [], what="the binding is gone")
    wait_until(lambda: bob.options().status == 403, what="bob's worker has heard of it")
    refused = bob.message(alice.aor)
    assert refused.status == 403 and "user-disabled" in refused.get("Warning")
    refused = bob.exchange(into.make_request("INFO"))
    assert refused.status == 403
    sql(lab, "UPDATE sip_user SET state = 'enabled' WHERE identity = %s", bob.identity)
    wait_until(lambda: bob.message(f"sip:{lab.domain}").status != 403, what="bob is enabled")
    assert bindings_of(lab, bob.identity) == []  # no enabling gives back what disabling took
    bob.register()
    assert bindings_of(lab, bob.identity)


def test_F25_a_phone_whose_only_user_is_disabled_loses_its_connection(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    second = f"second-{bob.user}@{lab.domain}"
    provision(lab, bob.cn, second)
    wait_until(lambda: bob.options(from_=f"<sip:{second}>").status == 200, what="two identities")
    for phone in (alice, bob):
        sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", phone.identity)
    alice.expect_closed()
    assert bindings_of(lab, alice.identity) == []
    assert bob.options(from_=f"<sip:{second}>").status == 200
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", second)
    bob.expect_closed()


def test_F25_a_phone_whose_domain_is_disabled_loses_its_connection(lab):
    domain = f"{unique('d')}.example"
    sql(lab, "INSERT INTO domain (name) VALUES (%s)", domain)
    alice, bob = Phone(lab), ready_phone(lab)
    alice.provision()
    sql(lab, "UPDATE cn_mapping SET identity = %s WHERE cn = %s", f"alice@{domain}", alice.cn)
    alice.connect()
    wait_until(
        lambda: alice.options(from_=f"<sip:alice@{domain}>").status == 200, what="alice is known"
    )
    sql(lab, "UPDATE domain SET state = 'disabled' WHERE name = %s", domain)
    alice.expect_closed(timeout=20)
    assert bob.options().status == 200


def test_F25_a_disabled_store_closes_its_connections(fresh_lab):
    lab = fresh_lab
    alice, carol = ready_phone(lab), ready_phone(lab, store="corp")
    assert carol.options().status == 200
    sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'corp'")
    carol.expect_closed(timeout=20)  # spread over 10 s
    assert alice.options().status == 200
    assert alice.message(carol.aor).status in (404, 480)


def test_F24_a_new_mapping_is_live_on_the_open_connection(lab):
    phone = Phone(lab).connect()
    assert phone.register(expect=403)
    phone.provision()
    # mapperd knows it by now; the proxy's worker, which had cached the refusal, hears it next.
    wait_until(lambda: phone.register(expect=None).status == 200)
