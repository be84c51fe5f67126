# SPDX-License-Identifier: Apache-2.0
"""From a phone that is refused to its provisioning: the proxy reports, mapperd notes, adopting it
lets it in; and nobody waits for a report."""
import signal
import time

import pytest
from cryptography import x509

from tests.lab.resp import Resp
from tests.system.lib import cn_of, ready_phone, resp, sql, unique, wait_until
from tests.system.lib.phone import Phone


def unmapped(lab, cn):
    rows = sql(
        lab,
        "SELECT trust_store, count, from_tried, address, reason FROM unmapped_device WHERE cn = %s",
        cn,
    )
    return rows[0] if rows else None


@pytest.mark.tsan
def test_F32_an_unknown_phone_shows_up_and_registers_once_it_is_provisioned(lab):
    phone = Phone(lab).connect()
    phone.register(expect=403)
    row = wait_until(lambda: unmapped(lab, phone.cn))
    assert row == ("device", 1, phone.identity, "127.0.0.1", "device-unknown")
    for _ in range(3):
        phone.register(expect=403)
    wait_until(lambda: unmapped(lab, phone.cn)[1] == 4)
    phone.provision()
    assert unmapped(lab, phone.cn) is None
    phone.register(expect=200)
    assert unmapped(lab, phone.cn) is None


def denials(watcher, cn):
    """Yields count, reason, address and From of each message about the device."""
    while True:
        _, kind, count, reason, store, address, identity, name = watcher.receive()[2].split(" ", 7)
        assert kind == "denial"
        if name == cn:
            assert store == "device"
            yield int(count), reason, address, identity


def test_F32_each_denial_is_told_with_its_reason_and_the_same_ones_are_counted(lab):
    phone, stranger = Phone(lab).provision().connect(), f"{unique()}@example.org"
    with Resp(lab.mapperd_socket, timeout_s=30) as watcher:
        watcher.command("SUBSCRIBE", "denials")
        for _ in range(5):
            phone.send(phone.request("MESSAGE", phone.aor, from_=f"<sip:{stranger}>"))
        count, told = 0, denials(watcher, phone.cn)
        while count < 5:
            times, reason, address, identity = next(told)
            assert (reason, address, identity) == ("from-not-permitted", "127.0.0.1", stranger)
            count += times
        assert count == 5
        # Refused before any lookup: told as well.
        phone.send(phone.request("MESSAGE", phone.aor, Route="<sip:elsewhere.example;lr>"))
        assert next(told) == (1, "route-not-permitted", "127.0.0.1", phone.identity)
    assert unmapped(lab, phone.cn) is None


@pytest.mark.lab(workers=1)
def test_T36_denials_are_answered_at_once_whatever_becomes_of_their_reports(fresh_lab):
    lab, known = fresh_lab, Phone(fresh_lab).provision().connect()
    first = Phone(lab).connect()
    first.register(expect=403)
    wait_until(lambda: unmapped(lab, first.cn))

    def answered(phone):
        start = time.monotonic()
        phone.register(expect=403)
        return time.monotonic() - start

    # Without the database they wait in mapperd.
    late = Phone(lab).connect()
    lab.postgres.stop()
    assert answered(late) < 3
    for _ in range(20):
        phone = Phone(lab).connect()
        assert answered(phone) < 3
    lab.postgres.start(**lab.postgres_settings)
    wait_until(lambda: unmapped(lab, late.cn), timeout=60)
    # Without mapperd they are dropped and counted; what is cached goes on being refused till then.
    lab.processes["mapperd"].send(signal.SIGSTOP)
    known.send(known.request("MESSAGE", known.aor, from_="<sip:nobody@example.org>"))
    lab.kill_program("mapperd")
    lab.start_program("mapperd")
    wait_until(lambda: resp(lab, "INFO", program="proxy").find("worker.0.mapperd:up") > 0)
    again = Phone(lab).connect()
    again.register(expect=403)
    wait_until(lambda: unmapped(lab, again.cn) or again.register(expect=403) is None, timeout=60)


@pytest.mark.lab(workers=1, proxy_conf={"park_per_device": 1000})
def test_T35_a_flood_of_different_denials_is_bounded_and_what_is_left_out_is_counted(fresh_lab):
    lab, phone = fresh_lab, Phone(fresh_lab).provision().connect()
    count = 400
    sent = [
        phone.send(phone.request("MESSAGE", phone.aor, from_=f"<sip:nobody{n}@example.org>"))
        for n in range(count)
    ]
    assert {phone.response(one, timeout=30).status for one in sent} == {403}

    def figures():
        text = resp(lab, "INFO", program="proxy")
        dropped = int(text.split("denials_dropped:")[1].split()[0])
        with Resp(lab.mapperd_socket) as client:
            return dropped, int(client.info()["reports"])

    wait_until(lambda: sum(figures()) == count)
    assert figures()[0] > 0 and figures()[1] >= 64


def test_F48_the_line_of_a_denial_says_which_certificate_it_was(lab):
    phone = ready_phone(lab)
    request = phone.request("MESSAGE", f"sip:x@{lab.domain}", from_=f"<sip:boss@{lab.domain}>")
    assert phone.exchange(request).status == 403
    held = x509.load_pem_x509_certificate(phone.pem.read_bytes())
    serial = held.serial_number.to_bytes((held.serial_number.bit_length() + 7) // 8, "big").hex()
    lines = lab.log_of("proxy").read_text().splitlines()
    (line,) = [x for x in lines if "event=decision" in x and request.get("Call-ID") in x]
    for said in (
        "effect=deny reason=from-not-permitted store=device",
        f'cn="{phone.cn}"',
        f"certificate_serial={serial.upper()} ",
        f'issuer="{held.issuer.rfc4514_string()}"',
        f'from="boss@{lab.domain}"',
        'method="MESSAGE"',
    ):
        assert said in line, (said, line)
