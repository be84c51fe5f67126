# SPDX-License-Identifier: Apache-2.0
"""hiredis, as it is, is a client of mapperd and of the proxy's control socket."""
import contextlib
import ctypes

from tests.system.lib import cn_of, provision, unique

STRING, ARRAY, INTEGER, NIL, STATUS, ERROR = range(1, 7)


class Reply(ctypes.Structure):
    """redisReply of hiredis 0.14."""


Reply._fields_ = [
    ("type", ctypes.c_int),
    ("integer", ctypes.c_longlong),
    ("len", ctypes.c_size_t),
    ("str", ctypes.POINTER(ctypes.c_char)),
    ("elements", ctypes.c_size_t),
    ("element", ctypes.POINTER(ctypes.POINTER(Reply))),
]

hiredis = ctypes.CDLL("libhiredis.so.0.14")
hiredis.redisConnectUnix.restype = ctypes.c_void_p
hiredis.redisFree.argtypes = [ctypes.c_void_p]
hiredis.redisCommandArgv.restype = ctypes.POINTER(Reply)
hiredis.redisCommandArgv.argtypes = [
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
]
hiredis.redisAppendCommandArgv.argtypes = hiredis.redisCommandArgv.argtypes
hiredis.redisGetReply.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(Reply))]
hiredis.freeReplyObject.argtypes = [ctypes.POINTER(Reply)]


@contextlib.contextmanager
def connected(path):
    context = hiredis.redisConnectUnix(path.encode())
    assert context
    try:
        yield context
    finally:
        hiredis.redisFree(context)


def arguments(words):
    words = [word.encode() for word in words]
    values = (ctypes.c_char_p * len(words))(*words)
    sizes = (ctypes.c_size_t * len(words))(*map(len, words))
    return len(words), values, sizes


def taken(reply):
    """The reply as Python values; frees it."""
    assert reply, "hiredis lost the connection"

    def value(of):
        if of.type == INTEGER:
            return of.integer
        if of.type == ARRAY:
            return [value(of.element[at].contents) for at in range(of.elements)]
        return None if of.type == NIL else ctypes.string_at(of.str, of.len).decode()

    try:
        return reply.contents.type, value(reply.contents)
    finally:
        hiredis.freeReplyObject(reply)


def command(context, *words):
    return taken(hiredis.redisCommandArgv(context, *arguments(words)))


def test_hiredis_asks_mapperd(lab):
    cn, identity = cn_of(), f"{unique()}@{lab.domain}"
    provision(lab, cn, identity)
    with connected(lab.mapperd_socket) as context:
        assert command(context, "PING") == (STATUS, "PONG")
        kind, reply = command(context, "PEER", "device", cn)
        assert kind == ARRAY and reply[2:] == ["known", cn, identity]
        assert command(context, "NONSENSE")[0] == ERROR
        assert command(context, "PING") == (STATUS, "PONG")


def test_hiredis_pipelines_and_replies_come_in_order(lab):
    with connected(lab.mapperd_socket) as context:
        for number in range(1000):
            hiredis.redisAppendCommandArgv(context, *arguments(["PING", str(number)]))
        for number in range(1000):
            reply = ctypes.POINTER(Reply)()
            assert hiredis.redisGetReply(context, ctypes.byref(reply)) == 0
            assert taken(reply) == (STRING, str(number))


def test_hiredis_reads_the_proxys_info(lab):
    with connected(lab.proxy_socket) as context:
        kind, text = command(context, "INFO")
        assert kind == STRING and "ready:1" in text
