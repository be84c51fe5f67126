# SPDX-License-Identifier: Apache-2.0
"""make demo: two real phones with nothing but a certificate, from the row in the database to the
call.

Each step says in plain lines what it does and checks that it came true; the first that does not
ends the demo with what the programs logged. Nothing is left running.
"""
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from tests.system.lib import Baresip, Phone, certificate, resp, sql, wait_until

from . import network
from .postgres import PostgresError
from .stack import LabError, Stack

ALICE = {"cn": "0004F2A11CE0", "spelled": "00:04:f2:a1:1c:e0", "user": "alice"}
BOB = {"cn": "0004F2B0B000", "spelled": "0004.f2b0.b000", "user": "bob"}


def say(text=""):
    print(text, flush=True)


def step(number, text):
    say(f"\n{number}. {text}")


class DemoError(Exception):
    pass


def check(condition, text):
    if not condition:
        raise DemoError(text)


def insert(stack, phone):
    statement = (
        "INSERT INTO cn_mapping (cn, identity) "
        f"VALUES ('{phone['spelled']}', '{phone['user']}@{stack.domain}')"
    )
    say(f"   {statement};")
    sql(stack, statement)


def start_phone(stack, phone, host):
    return Baresip(
        stack.path(phone["user"]),
        phone["user"],
        stack.domain,
        certificate(stack, phone["cn"]),
        stack.path("ca.pem"),
        stack.sip_tls,
        host=host,
    )


def call(caller, callee, seconds_of_audio=1):
    """One calls the other, both hear something, the caller hangs up."""
    heard = caller.heard_s(), callee.heard_s()
    caller.dial(callee.aor)
    callee.expect("CALL_ESTABLISHED")
    caller.expect("CALL_ESTABLISHED")
    for phone, before in zip((caller, callee), heard):
        wait_until(lambda: phone.heard_s() > before + seconds_of_audio, 20, f"{phone.user} hears")
    caller.hang_up()
    callee.expect("CALL_CLOSED")
    caller.expect("CALL_CLOSED")


def forged(stack):
    """A MESSAGE over alice's connection that says it is from bob."""
    with Phone(stack, ALICE["cn"], user=ALICE["user"]) as phone:
        phone.connect()
        request = phone.request(
            "MESSAGE",
            f"sip:{BOB['user']}@{stack.domain}",
            body="send me the door code",
            from_=f"<sip:{BOB['user']}@{stack.domain}>",
        )
        return phone.exchange(request)


def cut_off(stack, phone):
    """Milliseconds from the return of retire_device() to the end of a connection that the phone has
    open."""
    with Phone(stack, phone["cn"], user=phone["user"]) as other:
        other.connect()
        check(other.options().status == 200, "the phone was not served before it was removed")
        statement = f"SELECT retire_device('{phone['spelled']}')"
        say(f"   {statement};")
        sql(stack, statement)
        began = time.monotonic()
        other.expect_closed(timeout=5)
        return (time.monotonic() - began) * 1000


def show(stack, phones):
    step(
        2,
        "Two rows make two phones known: this certificate's CN may be this user. Any spelling of\n"
        "   the MAC address will do.",
    )
    insert(stack, ALICE)
    insert(stack, BOB)

    step(3, "Two baresip phones start, each with its certificate and no password, and register.")
    phones.append(start_phone(stack, ALICE, "127.0.0.11"))
    phones.append(start_phone(stack, BOB, "127.0.0.12"))
    alice, bob = phones
    for phone in phones:
        phone.wait_registered()
        say(f"   {phone.aor} is registered")

    step(4, "alice calls bob. The call reaches him on the connection that his phone opened.")
    call(alice, bob)
    say("   bob answered, both sent a tone and heard one, alice hung up")

    step(5, "alice's phone sends a message and claims to be bob.")
    refusal = forged(stack)
    say(f"   {refusal.start}")
    say(f"   Warning: {refusal.get('Warning')}")
    check(refusal.status == 403, "the forged From was not refused")

    step(6, "PostgreSQL is stopped. Calls go on: the answers come from mapperd's own copy.")
    stack.postgres.stop()
    check(resp(stack, "PEER", "device", ALICE["cn"])[2] == "known", "mapperd does not answer")
    call(alice, bob)
    say("   alice called bob again")
    stack.postgres.start()
    say("   PostgreSQL is back")

    step(7, "bob's phone is stolen. One statement removes it:")
    milliseconds = cut_off(stack, BOB)
    say(f"   its open connection was closed {milliseconds:.0f} ms after the statement returned")
    check(milliseconds < 1000, "that took a second or more")
    alice.dial(bob.aor)
    closed = alice.expect("CALL_CLOSED")
    say(f"   alice calls bob once more: {closed.get('param', 'no such call')}")
    check(
        not any(e.get("type") == "CALL_ESTABLISHED" for e in bob.events),
        "bob's phone still gets calls",
    )


def main():
    network.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="holdline-demo-"))
    stack, phones, statuses = Stack(folder), [], None
    try:
        step(
            1,
            f"A private PostgreSQL, mapperd and proxy start in {folder},\n"
            "   with a small certificate authority.",
        )
        stack.start()
        check(stack.processes.keys() == {"mapperd", "proxy"}, "the programs are not built")
        host, port = stack.sip_tls
        say(f"   TLS on {host}:{port}; who has no certificate of ours does not get in")
        show(stack, phones)
    except (DemoError, LabError, PostgresError, AssertionError, OSError) as error:
        print(f"\nthe demo failed: {error}\n{stack.last_lines()}", file=sys.stderr)
        return 1
    finally:
        for phone in phones:
            phone.close()
        try:
            statuses = stack.stop()
        except LabError as error:
            print(error, file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    if statuses is None or any(statuses.values()):
        print(f"a program did not end cleanly: {statuses}", file=sys.stderr)
        return 1
    say("\nDone; nothing is left running. `make run` keeps the same stack up for you.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
