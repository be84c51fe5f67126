# SPDX-License-Identifier: Apache-2.0
"""From COMMIT to the refusal on the open connection.

A registered phone has two identities. One is deleted, and from the return of COMMIT on it sends
OPTIONS as that identity, one after the other, until the first 403; then the other is deleted, and
the clock stops when the proxy closes the connection."""
import os
import socket
import ssl
import statistics
import time

import psycopg2

from tests.system.lib import certificate

from . import machine
from .results import Row
from .stack import Ours

NAME = "refusal"
GOAL_MS = 20.0
LIMIT_S = 2.0


class Phone:
    """As little of a phone as leaves nothing but the proxy to be timed."""

    def __init__(self, stack, number):
        self.cn = f"0004F2{number:06X}"
        self.users = f"u{number:06d}", f"alt{number:06d}"
        self.domain = stack.domain
        self.cseq = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(stack.path("ca.pem"))
        context.load_cert_chain(certificate(stack, self.cn))
        raw = socket.create_connection(stack.sip_tls, timeout=LIMIT_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=stack.domain)

    def exchange(self, method, user):
        """The status of the answer; 0 when the connection is closed."""
        self.cseq += 1
        host, port = self.socket.getsockname()
        aor = f"sip:{user}@{self.domain}"
        to = aor if method == "REGISTER" else f"sip:{self.domain}"
        text = (
            f"{method} sip:{self.domain} SIP/2.0\r\n"
            f"Via: SIP/2.0/TLS {host}:{port};branch=z9hG4bK{self.cn}{self.cseq};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <{aor}>;tag={self.cn}\r\nTo: <{to}>\r\n"
            f"Call-ID: {self.cn}-{user}-{method}\r\nCSeq: {self.cseq} {method}\r\n"
            f"Contact: <sip:{user}@{host}:{port};transport=tls>\r\nContent-Length: 0\r\n\r\n"
        )
        try:
            self.socket.sendall(text.encode())
            return self.status()
        except (OSError, EOFError):
            return 0

    def status(self):
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError
            data += part
        return int(data.split(b" ", 2)[1])

    def wait_for_refusal(self, user):
        while (status := self.exchange("OPTIONS", user)) == 200:
            pass
        return status

    def wait_for_close(self):
        try:
            while self.socket.recv(65536):
                pass
        except OSError as error:
            return not isinstance(error, TimeoutError)
        return True


def delete(connection, phone, user):
    """Gives the moment when COMMIT returned."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM cn_mapping WHERE trust_store = 'device' AND cn = %s AND identity = %s",
            (phone.cn, f"{user}@{phone.domain}"),
        )
    connection.commit()
    return time.monotonic()


def sample(stack, connection, number):
    """Milliseconds to the 403, and to the close."""
    phone = Phone(stack, number)
    try:
        for user in phone.users:
            status = phone.exchange("REGISTER", user)
            if status != 200:
                raise SystemExit(f"REGISTER of {user}: {status}")
        start = delete(connection, phone, phone.users[0])
        status = phone.wait_for_refusal(phone.users[0])
        refused = time.monotonic() - start
        if status != 403:
            raise SystemExit(f"a removed identity got {status}")
        start = delete(connection, phone, phone.users[1])
        if not phone.wait_for_close():
            raise SystemExit("a phone without identities was not closed")
        closed = time.monotonic() - start
    finally:
        phone.socket.close()
    return refused * 1000, closed * 1000


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q))]


def run(context):
    per_run = max(100, int(50 * context.seconds))
    ours = Ours(context.folder / "refusal")
    everything = {"refused": [], "closed": []}
    os.sched_setaffinity(0, {machine.GENERATOR})
    try:
        ours.start()
        ours.provision(1, per_run * context.repetitions)
        connection = psycopg2.connect(ours.stack.postgres.conninfo())
        for repetition in range(context.repetitions):
            first = 1 + per_run * repetition
            samples = [sample(ours.stack, connection, first + i) for i in range(per_run)]
            for index, name in enumerate(everything):
                values = [s[index] for s in samples]
                everything[name] += values
                figures = {
                    "p50_ms": statistics.median(values),
                    "p99_ms": quantile(values, 0.99),
                    "max_ms": max(values),
                    "samples": len(values),
                }
                context.results.add(NAME, repetition, name, figures)
        connection.close()
    finally:
        os.sched_setaffinity(0, context.processors)
        ours.stop()
    return [row(context, name, what) for name, what in (
        ("refused", "COMMIT to 403 on the open connection, p99"),
        ("closed", "COMMIT to the connection's close, p99"),
    )]


def row(context, name, what):
    values = context.results.all(NAME, name, "p99_ms")
    p99 = statistics.median(values)
    return Row(what, "ms", p99, f"goal {GOAL_MS:g}", None, p99, GOAL_MS, values, len(values))
