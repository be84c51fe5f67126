# SPDX-License-Identifier: Apache-2.0
"""The messages of RFC 4475 over real TLS, from a device that may use the From of each, and what
else breaks parsers: two readings of an identity (T6, T7), messages without end (T32), wrong lengths
(T33), pings and garbage (T34).

Only what a test needs is rewritten in a message: the host of a Route, to the proxy's own, the
Request-URI of a request to nobody, and a To tag goes, since a dialog that the proxy does not know
is refused.
"""
import pathlib
import re

import pytest

from tests.system.lib import Phone, new_branch, provision, resp, sql
from tests.system.lib.sip import Framer

MESSAGES = pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "seeds" / "sip_message"
DOMAINS = ("example.com", "example.net", "example.org", "chair-dnrc.example.com")


def torture(name):
    return (MESSAGES / f"{name}.dat").read_bytes()


class Recorder(Framer):
    """Keeps the octets too: a forwarded message is compared as it came."""

    def __init__(self):
        super().__init__()
        self.raw = b""

    def feed(self, data):
        self.raw += data
        return super().feed(data)


def open_domains(lab):
    for domain in DOMAINS:
        sql(lab, "INSERT INTO domain (name) VALUES (%s) ON CONFLICT DO NOTHING", domain)


def device(lab):
    """A connected phone that may be any user of the domains."""
    phone = Phone(lab)
    for domain in DOMAINS:
        provision(lab, phone.cn, domain)
    return phone.connect()


def known_phone(lab):
    """Connected and permitted, without a registration."""
    return Phone(lab).provision().connect()


def register_as(phone, uri):
    request = phone.request(
        "REGISTER",
        "sip:" + uri.rpartition("@")[2],
        to=f"<{uri}>",
        from_=f"<{uri}>",
        contact=phone.contact,
        Expires=600,
    )
    response = phone.exchange(request)
    assert response.status == 200, f"{uri}: {response}"


def logical_lines(head):
    """Header lines with their folds, as octets."""
    return re.findall(rb"[^\r\n]+(?:\r\n[ \t][^\r\n]*)*\r\n", head.partition(b"\r\n")[2])


def name_of(line):
    name = line.partition(b":")[0].strip().lower()
    return {b"v": b"via"}.get(name, name)


REWRITTEN = {b"via", b"route", b"record-route", b"max-forwards", b"p-asserted-identity"}


def assert_passed_through(sent, raw):
    """Every header that is not the proxy's to change is there octet by octet, in its order, and so
    is the body."""
    head, _, body = sent.partition(b"\r\n\r\n")
    out_head, _, out_body = raw.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:\s*(\d+)", head)
    assert out_body[: int(length[1])] == body[: int(length[1])]

    def kept(text):
        return [
            line for line in logical_lines(text + b"\r\n") if name_of(line) not in REWRITTEN
        ]

    assert kept(head) == kept(out_head)
    vias = [line for line in logical_lines(head + b"\r\n") if name_of(line) == b"via"]
    out_vias = [line for line in logical_lines(out_head + b"\r\n") if name_of(line) == b"via"]
    assert len(out_vias) == len(vias) + 1
    assert out_vias[2:] == vias[1:]


def final_response(phone, call_id):
    """By Call-ID: the Via of these messages is not the phone's own."""
    return phone._wait(
        lambda: phone.take(lambda m: m.is_response and m.status >= 200 and m.call_id == call_id),
        15,
        f"response to {call_id}",
    )


def call_id_of(text):
    found = re.search(rb"(?im)^(?:call-id|i)[ \t]*:[ \t]*(\S+)", text)
    return found[1].decode() if found else None


def assert_open(phone):
    phone.ping()
    phone.expect_pong()


# Name, AoR that it goes to, what is rewritten.
FORWARDED = [
    (
        "wsinv",
        "sip:vivekg@chair-dnrc.example.com",
        {b"services.example.com": b"PROXY", b" ;   tag    = 1918181833n": b""},
    ),
    ("intmeth", "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com", {}),
    ("esc01", "sip:sips%3Auser%40example.com@example.net", {}),
    ("esc02", "sip:user@example.com", {b" sip:registrar.example.com": b" sip:user@example.com"}),
    ("lwsdisp", "sip:user@example.com", {}),
    ("longreq", "sip:user@example.com", {}),
    ("semiuri", "sip:user;par=u%40example.net@example.com", {}),
    ("transports", "sip:user@example.com", {}),
    ("mpart01", "sip:kumiko@example.org", {b"sip:127.0.0.1:5080": b"sip:PROXY;lr"}),
    ("baddate", "sip:user@example.com", {}),
    ("badbranch", "sip:user@example.com", {}),
    ("invut", "sip:user@example.com", {}),
    ("sdp01", "sip:user@example.com", {}),
]


@pytest.mark.limit(240)
def test_F60_what_is_only_odd_is_forwarded_octet_by_octet(fresh_lab):
    open_domains(fresh_lab)
    caller, callee = device(fresh_lab), device(fresh_lab)
    recorder = callee.stream.framer = Recorder()
    for aor in sorted({aor for _, aor, _ in FORWARDED}):
        register_as(callee, aor)
    own = "%s:%d" % fresh_lab.sip_tls
    for name, _, changes in FORWARDED:
        sent = torture(name)
        for old, new in changes.items():
            assert old in sent
            sent = sent.replace(old, new.replace(b"PROXY", own.encode()), 1)
        method = sent.split(b" ", 1)[0].decode()
        recorder.raw = b""
        caller.send(sent)
        try:
            request = callee.expect(method)
            assert_passed_through(sent, recorder.raw)
            assert request.start.split(" ")[1] != ""
            callee.reply(request, 486, to_tag="busy")
            response = final_response(caller, call_id_of(sent))
            assert response.status == 486, response
            if method == "INVITE":
                callee.expect("ACK")
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}; caller has {caller.inbox}") from error
    assert_open(caller)


@pytest.mark.limit(240)
def test_F60_what_is_malformed_is_refused_on_an_open_connection(fresh_lab):
    open_domains(fresh_lab)
    phone, callee = device(fresh_lab), device(fresh_lab)
    register_as(callee, "sip:user@example.com")
    expected = {
        "badinv01": 400,
        "scalar02": 400,
        "quotbal": 400,
        "ltgtruri": 400,
        "lwsruri": 400,
        "lwsstart": 400,
        "trws": 400,
        "badaspec": 400,
        "escruri": 400,
        "baddn": 400,
        "badvers": 505,
        "mismatch01": 400,
        "mismatch02": 400,
        "unkscm": 416,
        "novelsc": 416,
        "bext01": 420,
        "multi01": 400,
        "zeromf": 483,
    }
    for name, status in expected.items():
        sent = torture(name)
        if not sent.partition(b"\r\n\r\n")[1]:
            sent += b"\r\n"
        phone.send(sent)
        response = final_response(phone, call_id_of(sent))
        assert response.status == status, f"{name}: {response}"
    phone.send(torture("insuf"))
    assert phone.expect(400).call_id is None
    assert not callee.seen("INVITE")
    assert_open(phone)


def test_F60_an_unknown_extension_is_named_in_the_420(fresh_lab):
    open_domains(fresh_lab)
    phone = device(fresh_lab)
    phone.send(torture("bext01"))
    response = phone.expect(420)
    assert response.all("Unsupported") == ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]


def test_T16_responses_that_nobody_waits_for_are_dropped(fresh_lab):
    open_domains(fresh_lab)
    phone, other = device(fresh_lab), device(fresh_lab)
    for name in ("unreason", "noreason", "bigcode", "scalarlg", "bcast"):
        phone.send(torture(name))
        assert_open(phone)
    assert_open(other)
    assert not phone.inbox and not other.inbox


def test_F61_registrations_of_rfc_4475(fresh_lab):
    open_domains(fresh_lab)
    phone = device(fresh_lab)
    expected = {
        "escnull": {200, 400, 403, 404},
        "unksm2": {400, 404, 416},
        "regaut01": {200, 401},
        "regbadct": {400},
        "cparam01": {200},
        "cparam02": {200},
        "regescrt": {200},
    }
    for name, statuses in expected.items():
        sent = torture(name)
        phone.send(sent)
        response = final_response(phone, call_id_of(sent))
        assert response.status in statuses, f"{name}: {response}"
        if name == "cparam01":
            assert response.contact_uri == "sip:+19725552222@gw1.example.net"
        if name == "cparam02":
            contacts = "".join(response.fields("Contact"))
            assert "<sip:+19725552222@gw1.example.net;unknownparam>" in contacts
        if name == "regescrt":
            contacts = "".join(response.fields("Contact"))
            assert "?Route=%3Csip:sip.example.com%3E" in contacts
    assert_open(phone)


def test_T33_two_messages_on_a_stream_are_answered_each(fresh_lab):
    open_domains(fresh_lab)
    phone, callee = device(fresh_lab), device(fresh_lab)
    register_as(callee, "sip:joe@example.com")
    first, second = torture("dblreq").split(b"\r\n\r\n\r\n")
    head, _, body = second.partition(b"\r\n\r\n")
    assert b"Content-Length: 150\r\n" in head + b"\r\n"
    # What the file has behind the second body is no message: a stream can't go on with it.
    phone.send(first + b"\r\n\r\n\r\n" + head + b"\r\n\r\n" + body[:150])
    assert final_response(phone, "dblreq.0ha0isndaksdj99sdfafnl3lk233412").status == 200
    callee.reply(callee.expect("INVITE"), 603, to_tag="no")
    assert final_response(phone, "dblreq.0ha0isnda977644900765@192.0.2.15").status == 603


@pytest.mark.parametrize("name", ["ncl", "mcl01", "inv2543"])
def test_T33_a_length_that_is_no_length_ends_the_connection(lab, name):
    phone = Phone(lab).connect()
    phone.send(torture(name))
    assert phone.expect(400).call_id == call_id_of(torture(name))
    assert phone.expect_closed()
    assert not phone.inbox


@pytest.mark.lab(proxy_conf={"message_timeout": 1500})
def test_T33_a_body_that_never_comes_is_waited_for_and_given_up(fresh_lab):
    phone = Phone(fresh_lab).connect()
    phone.send(torture("clerr"))
    assert phone.expect_closed()
    assert not [m for m in phone.inbox if m.is_response and m.status < 400]


OPTIONS = (
    "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch={branch}\r\n"
    "From: <sip:{user}@{domain}>;tag=1\r\nTo: <sip:{domain}>\r\nCall-ID: {branch}\r\n"
    "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
)


def options(phone, headers="Content-Length: 0\r\n", body="", **names):
    names = {"domain": phone.domain, "user": phone.user, "branch": new_branch(), **names}
    return OPTIONS.format(**names) + headers + "\r\n" + body


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 0\r\nl: 30\r\n",
        "l: 0\r\nContent-Length\r\n : 30\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: 0, 0\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 0\r\nX: a\r\n \r\n",
        "Content-Length: 0\r\nX: a\nContent-Length: 30\r\n",
        "Content-Length: 0\r\nX: a\rY: b\r\n",
    ],
)
def test_T33_nothing_behind_a_doubtful_length_is_read(lab, headers):
    phone = known_phone(lab)
    smuggled = options(phone)
    phone.send(options(phone, headers) + smuggled)
    assert phone.expect(400)
    assert phone.expect_closed()
    assert not phone.inbox


def test_T33_a_message_in_a_body_is_body(lab):
    phone = known_phone(lab)
    inner = options(phone, branch="z9hG4bKinner")
    phone.send(options(phone, f"Content-Length: {len(inner)}\r\n", inner))
    assert phone.expect(200).branch != "z9hG4bKinner"
    assert_open(phone)
    assert not phone.inbox


@pytest.mark.parametrize(
    "headers",
    [
        "X: " + "a" * (1 << 20) + "\r\n",
        "X: a" + "\r\n folded" * 9000 + "\r\n",
        "Via: SIP/2.0/TLS h\r\n" * 10000,
        "X: y\r\n" * 10000,
        "Content-Length: 10000000\r\n",
    ],
    ids=["one-megabyte", "folds", "vias", "headers", "body"],
)
def test_T32_a_message_without_end_is_refused_and_the_connection_closed(lab, headers):
    phone = known_phone(lab)
    try:
        phone.send(options(phone, headers))
    except OSError:
        pass  # closed while we were still writing
    assert phone.expect_closed()
    assert {m.status for m in phone.inbox} <= {400, 413, 513}
    assert_open(known_phone(lab))


def test_T34_pings_and_garbage(lab):
    phone = known_phone(lab)
    for _ in range(5):
        assert_open(phone)
    phone.send(b"\r\n" + options(phone).encode() + b"\r\n" + options(phone).encode())
    assert phone.expect(200) and phone.expect(200)
    phone.send(b"\x16\x03\x01\x00garbage")
    assert phone.expect_closed()


FROMS_OF_ANOTHER = [
    '"sip:{user}@{domain}" <sip:boss@{domain}>',
    '"<sip:{user}@{domain}>" <sip:boss@{domain}>',
    '"\\"" <sip:boss@{domain}>;x="<sip:{user}@{domain}>"',
    "<sip:boss@{domain};{user}@{domain}>",
    "<sip:{user}@{domain}@{domain}>",
    "<sip:boss@{domain}?From=sip:{user}%40{domain}>",
    "<sip:{user}%40{domain}@{domain}>",
    "<sip:{user}%00@{domain}>",
    "<sip:{user}@{domain}.evil.example>",
    "<sip:{user}@evil.example>",
    "<sip:boss:{user}@{domain}>",
    "sip:{user}@{domain}, sip:boss@{domain}",
    "<sip:{user}@{domain}> <sip:boss@{domain}>",
    "sip:{user}@{domain} <sip:boss@{domain}>",
    "<tel:+49301234>",
    "<sip:{upper}@{domain}>",
]


@pytest.mark.parametrize("value", FROMS_OF_ANOTHER)
def test_T06_no_trick_in_From_lends_an_identity(lab, value):
    phone = known_phone(lab)
    value = value.format(user=phone.user, domain=phone.domain, upper=phone.user.upper())
    text = options(phone).replace(f"From: <sip:{phone.user}@{phone.domain}>", f"From: {value}")
    phone.send(text)
    response = phone._wait(lambda: phone.take(lambda m: m.is_response), 15, "response")
    assert response.status in (400, 403), response
    assert_open(phone)


@pytest.mark.parametrize("second", ["From", "f", "FROM ", "F\t"])
def test_T06_two_Froms_are_refused(lab, second):
    phone = known_phone(lab)
    extra = f"{second}: <sip:boss@{phone.domain}>;tag=2\r\nContent-Length: 0\r\n"
    phone.send(options(phone, extra))
    assert phone.expect(400)
    assert_open(phone)


FROMS_OF_ONES_OWN = [
    '"Boss" <sip:{user}@{domain}>',
    '"sip:boss@{domain}" <sip:{user}@{domain}>',
    "sip:{user}@{domain}",
    "<sips:{user}@{domain}>",
    "<sip:{escaped}@{domain}>",
    "<sip:{user}@{upper}>",
    "<sip:{user}@{domain}.>",
    "<sip:{user}@{domain}:5061;transport=tls;x=y>",
    "<sip:{user}:secret@{domain}>",
]


@pytest.mark.parametrize("value", FROMS_OF_ONES_OWN)
def test_T07_all_spellings_of_ones_own_identity_are_it(lab, value):
    phone = known_phone(lab)
    value = value.format(
        user=phone.user,
        domain=phone.domain,
        upper=phone.domain.upper(),
        escaped="".join(f"%{ord(c):02x}" for c in phone.user),
    )
    text = options(phone).replace(f"From: <sip:{phone.user}@{phone.domain}>", f"From: {value}")
    phone.send(text)
    response = phone._wait(lambda: phone.take(lambda m: m.is_response), 15, "response")
    assert response.status == 200, response


def test_F80_the_proxy_is_still_the_same_process_after_all_this(lab):
    assert resp(lab, "PING", program="proxy") == "PONG"
