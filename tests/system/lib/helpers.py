# SPDX-License-Identifier: Apache-2.0
"""SQL, RESP and waiting: what tests need besides phones."""
import itertools
import os
import re
import select
import threading
import time

import psycopg2

from tests.lab.resp import Resp

counter = itertools.count(1)
# One statement that leaves its session as it was.
PLAIN = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|SELECT)\b(?!.*(?:;|pg_|set_config))", re.IGNORECASE | re.DOTALL)
kept = threading.local()


def psycopg2_connect(lab, user="postgres", **options):
    """A connection of the test's own, for transactions that stay open."""
    return psycopg2.connect(lab.postgres.conninfo(user), **options)


def kept_session(lab):
    """The session of this thread with the lab's server. What has something to read while it rests has
    ended."""
    server = (str(lab.postgres.folder), lab.postgres.process.pid)
    session = getattr(kept, "session", None)
    if session is None or kept.server != server or select.select([session], [], [], 0)[0]:
        if session is not None:
            kept.session = None
            session.close()
        session = psycopg2_connect(lab)
        session.autocommit = True
        kept.session, kept.server = session, server
    return session


def run_in(session, text, parameters):
    with session.cursor() as cursor:
        cursor.execute(text, parameters or None)
        return cursor.fetchall() if cursor.description else None


def sql(lab, text, *parameters, user="postgres"):
    """Runs one or more statements and commits. Gives the last one's rows as tuples, or None when it
    has none. Plain statements share a session: a new one first compiles every trigger, which takes
    ten times as long as an INSERT."""
    if user == "postgres" and PLAIN.match(text):
        return run_in(kept_session(lab), text, parameters)
    session = psycopg2_connect(lab, user)
    try:
        session.autocommit = True
        return run_in(session, text, parameters)
    finally:
        session.close()


def resp(lab, *command, program="mapperd"):
    """One command to mapperd's socket, or to the proxy's with program='proxy'; an error reply
    raises RespError."""
    path = lab.mapperd_socket if program == "mapperd" else lab.proxy_socket
    with Resp(path) as client:
        return client.command(*command)


def wait_until(condition, timeout=20, what=None):
    """Waits until condition() is true and gives its value; the limit is generous since it only
    matters on a fault."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout} s: {what or condition}")
        time.sleep(0.01)


def unique(prefix="user"):
    """A name that no other test of this run or of another uses."""
    return f"{prefix}{os.getpid():x}x{next(counter):x}"


def cn_of(number=None):
    """A MAC address in canonical form that no other test uses."""
    number = next(counter) if number is None else number
    return f"0004F2{number & 0xFFFFFF:06X}"
