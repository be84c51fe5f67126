# SPDX-License-Identifier: Apache-2.0
"""The phones of the tests against each other, without a proxy: a fault here would be looked for in
the proxy."""
import socket
import types

from tests.system.lib import Message, Pbx, Stream, establish, parameter_of, split_list, uri_of
from tests.system.lib.sip import Framer


def pair(count=1):
    """Two servers that are connected to each other."""
    lab = types.SimpleNamespace(domain="example.org")
    first = Pbx(lab, user="alice", domain="example.org", address=("127.0.0.1", 0))
    second = Pbx(lab, user="bob", domain="example.org", address=("127.0.0.1", 0))
    for _ in range(count):
        first.streams.append(Stream(socket.create_connection(second.listener.getsockname())))
    return first, second


def test_a_call_from_invite_to_bye():
    alice, bob = pair()
    with alice, bob:
        out, into = establish(alice, bob)
        assert out.call_id == into.call_id and out.remote_tag == into.local_tag
        bye = into.bye()
        assert out.expect_bye().cseq == bye.cseq
        assert bob.response(bye).status == 200


def test_a_call_is_cancelled_while_it_rings():
    alice, bob = pair()
    with alice, bob:
        out = alice.invite(bob.aor)
        into = bob.expect_call()
        into.reply(180)
        out.expect(180)
        cancel = alice.send(out.make_cancel())
        bob.reply(bob.expect("CANCEL"), 200)
        assert alice.response(cancel).status == 200
        into.reply(487)
        assert out.answer().status == 487
        ack = into.expect_ack()
        assert ack.branch == out.invite.branch and ack.to_tag == into.local_tag


def test_framing_of_split_and_joined_messages_and_keep_alives():
    one = bytes(Message("MESSAGE sip:a@b SIP/2.0", [("CSeq", "1 MESSAGE")], "hello"))
    framer = Framer()
    got = []
    for at in range(len(one)):
        got += framer.feed(one[at : at + 1])
    got += framer.feed(one + b"\r\n\r\n" + one + b"\r\n")
    assert [m.text() for m in got] == ["hello"] * 3
    assert (framer.pings, framer.pongs) == (1, 1)


def test_lists_uris_and_parameters_of_headers():
    assert split_list('"a, \\", b" <sip:a,b@c;x>;y, <sip:d>') == [
        '"a, \\", b" <sip:a,b@c;x>;y',
        "<sip:d>",
    ]
    assert (
        uri_of('"x <y>" <sip:a@b;transport=tls>;tag=1'.replace("<y>", "y"))
        == "sip:a@b;transport=tls"
    )
    assert parameter_of("<sip:a@b;tag=no>;x;tag=yes", "tag") == "yes"
    assert parameter_of("sip:a@b;tag=bare", "tag") == "bare"
    assert parameter_of("<sip:a@b;lr>", "lr") is None
    assert parameter_of("SIP/2.0/TLS 127.0.0.1:5061;rport;branch=z9", "branch") == "z9"
    assert parameter_of("SIP/2.0/TLS 127.0.0.1:5061;rport;branch=z9", "rport") == ""
