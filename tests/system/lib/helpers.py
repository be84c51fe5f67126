# SPDX-License-Identifier: Apache-2.0
"""SQL, RESP and waiting: what tests need besides phones."""
import itertools
import os
import time

import psycopg2

from tests.lab.resp import Resp

counter = itertools.count(1)


def psycopg2_connect(lab, user="postgres", **options):
    """A connection of the test's own, for transactions that stay open."""
    return psycopg2.connect(lab.postgres.conninfo(user), **options)


def sql(lab, text, *parameters, user="postgres"):
    """Runs one or more statements and commits. Gives the last one's rows as tuples, or None when it
    has none."""
    connection = psycopg2_connect(lab, user)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text, parameters or None)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


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
