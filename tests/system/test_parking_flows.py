# SPDX-License-Identifier: Apache-2.0
"""What becomes of dialogs and permissions when connections go, and of many requests at once."""
import pytest

from tests.system.lib import (
    SDP,
    Phone,
    establish,
    provision,
    ready_phone,
    resp,
    sql,
    wait_until,
)

pytestmark = pytest.mark.tsan


def connections(lab):
    text = resp(lab, "INFO", program="proxy")
    return int(next(line for line in text.splitlines() if line.startswith("connections:"))[12:])


def test_T18_true_token_whose_flow_is_gone_is_480(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, _ = establish(alice, bob)
    before = connections(lab)
    bob.close()
    wait_until(lambda: connections(lab) < before, what="the proxy notices")
    assert alice.exchange(out.make_request("INFO")).status == 480
    bye = alice.exchange(out.make_request("BYE"))
    assert bye.status in (480, 481)


def test_T18_token_survives_a_restart_of_the_proxy(fresh_lab):
    """The key file does, and the devices are found again once they are back."""
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, into = establish(alice, bob)
    lab.restart_program("proxy")
    for phone in (alice, bob):
        phone.close()
        phone.connect()
        phone.options()
    bye = out.bye()
    into.expect_bye()
    assert alice.response(bye).status == 200


def test_T18_flow_of_an_earlier_run_is_nobodys(fresh_lab):
    """After a restart another device may have the slot that the token names: it gets nothing."""
    lab = fresh_lab
    alice, bob, mallory = ready_phone(lab), ready_phone(lab), Phone(lab).provision()
    out, _ = establish(alice, bob)
    lab.restart_program("proxy")
    for phone in (alice, bob):
        phone.close()
    for _ in range(4):
        mallory.connect()
    alice.connect()
    response = alice.exchange(out.make_request("INFO"))
    assert response.status in (480, 481)
    assert not mallory.seen("INFO")


def test_T19_one_identity_of_two_is_removed_and_the_other_goes_on(lab):
    alice, bob = Phone(lab).provision(), ready_phone(lab)
    second = Phone(lab)
    provision(lab, alice.cn, second.identity)
    alice.connect().register()
    out = alice.invite(bob.aor, from_=f"<{second.aor}>")
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    sql(lab, "DELETE FROM cn_mapping WHERE cn = %s AND identity = %s", alice.cn, second.identity)
    bob.reply(bob.expect("CANCEL"), 200)
    into.reply(487)
    assert out.answer().status in (403, 487)
    refused = alice.message(bob.aor, from_=f"<{second.aor}>")
    assert refused.status == 403 and "from-not-permitted" in refused.get("Warning")
    sent = alice.send(alice.request("MESSAGE", bob.aor, body="as myself"))
    bob.reply(bob.expect("MESSAGE"), 200)
    assert alice.response(sent).status == 200


def test_T19_talking_phone_that_is_removed_says_and_hears_nothing_more(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out, into = establish(alice, bob)
    sql(lab, "SELECT retire_device(%s)", alice.cn)
    alice.expect_closed()
    alice.close()
    alice.connect()
    assert alice.exchange(out.make_request("INFO")).status == 403
    assert not bob.seen("INFO")
    assert bob.exchange(into.make_request("BYE")).status in (480, 481)
    assert not alice.seen("BYE")


def test_T19_ringing_phone_that_is_removed_answers_nothing(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    out = alice.invite(bob.aor)
    into = bob.expect_call()
    into.reply(180)
    out.expect(180)
    sql(lab, "SELECT retire_device(%s)", bob.cn)
    bob.expect_closed()
    bob.close()
    bob.connect()
    assert bob.options().status == 403
    bob.send(bob.make_response(into.invite, 200, to_tag=into.local_tag, body=SDP))
    assert bob.options().status == 403  # what was sent before has been read
    alice.options()
    assert not [m for m in alice.seen(200) if m.get("CSeq").endswith("INVITE")]


def test_T19_mapping_that_comes_back_admits_again_without_reconnecting(lab):
    phone = Phone(lab).connect()
    refused = phone.register(expect=403)
    assert "device-unknown" in refused.get("Warning")
    phone.provision()
    wait_until(lambda: phone.register(expect=None).status == 200, what="known")


@pytest.mark.lab(proxy_conf={"park_deadline": 15000})
def test_a_disabled_store_refuses_at_once_and_closes_within_ten_seconds(fresh_lab):
    lab = fresh_lab
    phones = [ready_phone(lab) for _ in range(6)]
    corp = ready_phone(lab, store="corp")
    sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    for phone in phones:
        wait_until(lambda p=phone: is_refused(p), what="refused")
    for phone in phones:
        phone.expect_closed(timeout=20)
    assert corp.options().status == 200


def is_refused(phone):
    if phone.stream.closed:
        return True
    request = phone.send(phone.request("OPTIONS", f"sip:{phone.domain}"))
    try:
        return phone.response(request).status == 403
    except AssertionError:
        return bool(phone.stream.closed)
