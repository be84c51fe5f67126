# SPDX-License-Identifier: Apache-2.0
"""Peers that take and do not give: silent handshakes, slow and half-closed streams, floods, missing
descriptors. Whatever they do, another phone is served (T30, T31, T34, T38, T41)."""
import fcntl
import os
import resource
import select
import socket
import ssl
import subprocess
import time

import pytest

from tests.system.lib import Phone, ready_phone, wait_until

SILENT = 2000


def connect(lab, receive_buffer=None):
    """A TCP connection to the TLS listener that says nothing. Its descriptor is a high one: phones
    wait with select(), which knows only the first 1,024."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(15)
    connection.connect(tuple(lab.sip_tls))
    high = socket.socket(fileno=fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, 2048))
    connection.close()
    high.settimeout(15)
    return high


def wait_closed(connections, timeout=30):
    """Waits until the proxy has ended every one of them."""
    left = {c.fileno(): c for c in connections}
    poll = select.poll()
    for number in left:
        poll.register(number, select.POLLIN)
    deadline = time.monotonic() + timeout
    while left:
        assert time.monotonic() < deadline, f"{len(left)} connections are still open"
        for number, _ in poll.poll(1000):
            connection = left[number]
            try:
                data = connection.recv(4096)
            except OSError:
                data = b""
            if not data:
                poll.unregister(number)
                del left[number]


@pytest.mark.lab(proxy_conf={"handshake_timeout": 4000})
def test_T30_handshakes_that_never_end_time_out_and_others_are_served(fresh_lab):
    phone = ready_phone(fresh_lab)
    silent = [connect(fresh_lab) for _ in range(SILENT)]
    for number, connection in enumerate(silent):
        if number % 2:
            connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[: number % 12])
    with phone, ready_phone(fresh_lab) as late:
        assert phone.options().status == 200
        assert late.options().status == 200
        wait_closed(silent)
        assert phone.options().status == 200
    for connection in silent:
        connection.close()


@pytest.mark.lab(proxy_conf={"handshake_timeout": 8000, "max_handshakes": 64})
def test_T30_more_silent_peers_than_handshakes_may_run_shut_out_nobody(fresh_lab):
    silent = [connect(fresh_lab) for _ in range(200)]
    with ready_phone(fresh_lab) as phone:
        assert phone.options().status == 200
    for connection in silent:
        connection.close()


@pytest.mark.lab(proxy_conf={"message_timeout": 2000})
def test_T30_a_message_that_drips_in_is_cut_off(fresh_lab):
    with ready_phone(fresh_lab) as phone, ready_phone(fresh_lab) as other:
        text = bytes(phone.request("OPTIONS", f"sip:{phone.domain}"))
        started = time.monotonic()
        for at in range(len(text) - 1):
            if phone.stream.read() or phone.stream.closed:
                break
            try:
                phone.stream.write(text[at : at + 1])
            except OSError:
                break
            select.select([phone.stream.socket], [], [], 0.1)
        assert phone.expect_closed()
        assert time.monotonic() - started < 15
        assert other.options().status == 200


def test_T30_a_half_closed_connection_still_gets_its_answers(lab):
    with ready_phone(lab) as phone:
        assert phone.options().status == 200
        request = phone.send(phone.request("OPTIONS", f"sip:{phone.domain}"))
        # SSLSocket's own shutdown() would forget its keys.
        socket.socket.shutdown(phone.stream.socket, socket.SHUT_WR)
        assert phone.response(request).status == 200


def test_T34_garbage_ends_the_connection(lab):
    for garbage in (b"\x00\x01\x02\x03" * 1000, b"\xff" * 70000, b"GET / HTTP/1.1\r\n\r\n" * 100):
        with ready_phone(lab) as phone:
            try:
                phone.stream.write(garbage)
            except OSError:
                pass
            assert phone.expect_closed()


def test_T34_a_flood_of_pings_is_closed_and_a_few_are_answered(lab):
    with ready_phone(lab) as phone:
        phone.stream.write(b"\r\n\r\n")
        phone.expect_pong()
        try:
            for _ in range(200):
                phone.stream.write(b"\r\n\r\n" * 1000)
        except OSError:
            pass
        assert phone.expect_closed()
        assert phone.stream.framer.pongs < 100


@pytest.mark.lab(proxy_conf={"max_message": 16384, "output_max": 65536})
def test_T38_a_peer_that_stops_reading_is_closed_and_nobody_waits(fresh_lab):
    with ready_phone(fresh_lab) as other:
        slow = Phone(fresh_lab).provision().connect()
        raw = connect(fresh_lab, receive_buffer=4096)
        secured = slow.context().wrap_socket(raw, server_hostname=slow.domain)
        secured.settimeout(1)
        # Answers carry Via back: long ones fill what waits sooner than the peer's requests do.
        text = bytes(slow.request("OPTIONS", f"sip:{slow.domain}"))
        long = text.replace(
            b"Via: ", b"Via: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK" + b"x" * 8000 + b"\r\nVia: ", 1
        )
        try:
            for _ in range(5000):
                secured.sendall(long)
        except (OSError, ssl.SSLError):
            pass
        assert other.options().status == 200
        wait_until(lambda: "end=output-full" in fresh_lab.log_of("proxy").read_text(), 30)
        assert other.options().status == 200
        secured.close()
        slow.close()


def test_T31_renegotiation_is_refused(lab):
    """By hand, with `openssl s_client`: R asks for it."""
    with ready_phone(lab) as phone:
        host, port = lab.sip_tls
        process = subprocess.run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"{host}:{port}",
                "-tls1_2",
                "-cert",
                str(phone.pem),
                "-key",
                str(phone.pem),
                "-quiet",
                "-no_ign_eof",
            ],
            input=b"R\n",
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert b"no renegotiation" in process.stderr or process.returncode != 0
        assert phone.options().status == 200


def test_T41_without_descriptors_the_old_are_served_and_the_new_come_later(fresh_lab):
    pid = fresh_lab.processes["proxy"].pid
    with ready_phone(fresh_lab) as phone, ready_phone(fresh_lab) as other:
        used = len(os.listdir(f"/proc/{pid}/fd"))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
        refused = [connect(fresh_lab) for _ in range(20)]
        wait_closed(refused)
        assert phone.options().status == 200
        assert other.options().status == 200
        assert "no descriptors" in fresh_lab.log_of("proxy").read_text()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        with ready_phone(fresh_lab) as late:
            assert late.options().status == 200
