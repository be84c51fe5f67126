# SPDX-License-Identifier: Apache-2.0
"""A user agent of a test: its connections, what has come in, requests, responses and calls.

Nothing runs in the background. What arrives is read while the test waits for something (expect,
response, …) and stays in `inbox` until it is expected; nothing is answered by itself. So a test
reads like a ladder diagram.
"""
import select
import socket
import ssl
import time

from .sip import Framer, Message, new_branch, new_call_id, new_tag, parameter_of, uri_of

TIMEOUT_S = (
    15  # matters only when something is wrong: a sanitizer build on a busy machine takes its time
)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


class Stream:
    """One connection, TCP or TLS, read without blocking."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setblocking(False)
        self.framer = Framer()
        self.closed = None  # None while open, else why it ended: "end", "reset" or TLS's words

    def read(self):
        """Messages that have arrived."""
        messages = []
        while self.closed is None:
            try:
                data = self.socket.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                break
            except ssl.SSLError as error:
                self.closed = error.reason or str(error)
                break
            except OSError:
                self.closed = "reset"
                break
            if not data:
                self.closed = "end"
                break
            messages += self.framer.feed(data)
        for message in messages:
            message.stream = self
        return messages

    def write(self, data, timeout=TIMEOUT_S):
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{len(view)} bytes could not be written within {timeout} s")
            try:
                view = view[self.socket.send(view) :]
            except (ssl.SSLWantWriteError, BlockingIOError):
                select.select([], [self.socket], [], left)
            except ssl.SSLWantReadError:
                select.select([self.socket], [], [], left)

    def close(self):
        self.closed = self.closed or "by us"
        self.socket.close()


class Agent:
    """What phones and servers of a test have in common."""

    transport = "TLS"
    display = None

    def __init__(self, user, domain):
        self.user = user
        self.domain = domain
        self.streams = []
        self.inbox = []
        self.next_cseq = 1

    @property
    def aor(self):
        return f"sip:{self.user}@{self.domain}" if self.user else f"sip:{self.domain}"

    @property
    def stream(self):
        """The newest connection."""
        return self.streams[-1]

    @property
    def local(self):
        host, port = self.stream.socket.getsockname()[:2]
        return f"{host}:{port}"

    @property
    def contact(self):
        return f"<sip:{self.user}@{self.local};transport={self.transport.lower()}>"

    def close(self):
        for stream in self.streams:
            stream.close()
        self.streams = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- Receiving

    def _accept(self):
        """For a server: takes new connections. Gives what else to wait for."""
        return []

    def _read(self):
        for stream in self.streams:
            self.inbox += stream.read()

    def _wait(self, find, timeout, what):
        """Reads until find() gives something."""
        deadline = time.monotonic() + timeout
        while True:
            listening = self._accept()
            self._read()
            found = find()
            if found:
                return found
            left = deadline - time.monotonic()
            watched = listening + [s.socket for s in self.streams if s.closed is None]
            if left <= 0 or not watched:
                ends = [s.closed for s in self.streams if s.closed]
                raise AssertionError(
                    f"{self.user}: no {what} within {timeout} s; in the inbox: {self.inbox}"
                    + (f"; connection closed: {ends}" if ends else "")
                )
            select.select(watched, [], [], left)

    def take(self, match):
        """The first message of the inbox that matches, taken out of it; None when there is none."""
        for at, message in enumerate(self.inbox):
            if match(message):
                return self.inbox.pop(at)
        return None

    def expect(self, what, timeout=TIMEOUT_S, call_id=None):
        """The next request of a method ('INVITE') or response of a status (180). Others stay in the
        inbox."""

        def match(message):
            if call_id is not None and message.call_id != call_id:
                return False
            return (
                message.status == what
                if isinstance(what, int)
                else not message.is_response and message.method == what
            )

        return self._wait(lambda: self.take(match), timeout, what)

    def response(self, request, timeout=TIMEOUT_S, provisional=False):
        """The final response to a request that was sent (the next of any kind with
        provisional=True)."""

        def match(message):
            return (
                message.is_response
                and message.branch == request.branch
                and message.method == request.method
                and (provisional or message.status >= 200)
            )

        return self._wait(lambda: self.take(match), timeout, f"response to {request!r}")

    def expect_closed(self, timeout=TIMEOUT_S):
        """Waits until the other side has closed the newest connection; gives why ("end", "reset" or
        TLS's alert)."""
        return self._wait(lambda: self.stream.closed, timeout, "end of the connection")

    def expect_pong(self, timeout=TIMEOUT_S):
        """Waits for the answer to ping()."""
        before = self.pongs_seen
        self._wait(lambda: self.stream.framer.pongs > before, timeout, "pong")
        self.pongs_seen = self.stream.framer.pongs

    pongs_seen = 0

    def seen(self, what):
        """What of a method or status is in the inbox now, without waiting."""
        self._accept()
        self._read()
        return [
            m
            for m in self.inbox
            if (
                m.status == what
                if isinstance(what, int)
                else not m.is_response and m.method == what
            )
        ]

    # ---- Sending

    def send(self, message, stream=None):
        """A Message, or bytes or text as they are."""
        data = message.encode() if isinstance(message, str) else bytes(message)
        (stream or self.stream).write(data)
        return message

    def ping(self):
        self.send(b"\r\n\r\n")

    def request(
        self,
        method,
        uri,
        *,
        to=None,
        from_=None,
        from_tag=None,
        call_id=None,
        cseq=None,
        body=b"",
        contact=None,
        **headers,
    ):
        """A request as a well-behaved phone sends it; headers are named with _ for -
        (P_Asserted_Identity='…')."""
        if cseq is None:
            cseq = self.next_cseq
            self.next_cseq += 1
        message = Message(f"{method} {uri} SIP/2.0", body=body)
        message.add("Via", f"SIP/2.0/{self.transport} {self.local};branch={new_branch()};rport")
        message.add("Max-Forwards", 70)
        message.add("From", f"{from_ or f'<{self.aor}>'};tag={from_tag or new_tag()}")
        message.add("To", to or f"<{uri}>")
        message.add("Call-ID", call_id or new_call_id())
        message.add("CSeq", f"{cseq} {method}")
        if contact is None and method in ("INVITE", "SUBSCRIBE", "UPDATE", "REFER", "NOTIFY"):
            contact = self.contact
        if contact:
            message.add("Contact", contact)
        for name, value in headers.items():
            name = name.replace("_", "-")
            if isinstance(value, (list, tuple)):
                for one in value:
                    message.add(name, one)
            else:
                message.set(name, value)
        if body and not message.fields("Content-Type"):
            message.add(
                "Content-Type",
                "application/sdp" if message.body.startswith(b"v=0") else "text/plain",
            )
        return message

    def exchange(self, request, timeout=TIMEOUT_S):
        """Sends a request and gives its final response."""
        self.send(request)
        return self.response(request, timeout)

    def make_response(
        self, request, status, reason=None, to_tag=None, contact=None, body=b"", **headers
    ):
        message = Message(
            f"SIP/2.0 {status} {reason or REASONS.get(status, 'Response')}", body=body
        )
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            for value in request.fields(name):
                if name == "To" and status > 100 and parameter_of(value, "tag") is None:
                    value += f";tag={to_tag or new_tag()}"
                message.add(name, value)
        for value in request.fields("Record-Route"):
            message.add("Record-Route", value)
        if contact is None and request.method == "INVITE" and 100 < status < 300:
            contact = self.contact
        if contact:
            message.add("Contact", contact)
        for name, value in headers.items():
            message.add(name.replace("_", "-"), value)
        if body:
            message.add(
                "Content-Type",
                "application/sdp" if message.body.startswith(b"v=0") else "text/plain",
            )
        return message

    def reply(self, request, status, reason=None, **options):
        """Answers a request on the connection that it came in on."""
        return self.send(self.make_response(request, status, reason, **options), request.stream)

    # ---- What people do

    def options(self, uri=None, timeout=TIMEOUT_S, **options):
        return self.exchange(
            self.request("OPTIONS", uri or f"sip:{self.domain}", **options), timeout
        )

    def message(self, to, body="hello", timeout=TIMEOUT_S, **options):
        """Sends a MESSAGE and gives its final response; the other side must have answered it
        already, or be refused.

        When the test plays the other side too, it sends with send(request('MESSAGE', …)) and waits
        with response().
        """
        return self.exchange(self.request("MESSAGE", to, body=body, **options), timeout)

    def invite(self, to, body=SDP, **options):
        """Begins a call."""
        request = self.request("INVITE", to, body=body, **options)
        self.send(request)
        return Call(self, request, outgoing=True)

    def expect_call(self, timeout=TIMEOUT_S):
        """The next call that comes in."""
        return Call(self, self.expect("INVITE", timeout), outgoing=False)


class Call:
    """A call as one side sees it: the INVITE, then its dialog (RFC 3261 12)."""

    def __init__(self, agent, invite, outgoing):
        self.agent = agent
        self.invite = invite
        self.outgoing = outgoing
        self.call_id = invite.call_id
        self.final = None
        self.remote_tag = None
        if outgoing:
            self.local_uri, self.remote_uri = invite.get("From").partition(";tag=")[0], invite.get(
                "To"
            )
            self.local_tag = invite.from_tag
            self.target, self.routes = invite.uri, []
            self.cseq = invite.cseq
        else:
            self.local_uri, self.remote_uri = (
                invite.get("To"),
                invite.get("From").partition(";tag=")[0],
            )
            self.local_tag, self.remote_tag = new_tag(), invite.from_tag
            self.target, self.routes = invite.contact_uri, invite.all("Record-Route")
            self.cseq = 0

    # ---- The side that calls

    def expect(self, status, timeout=TIMEOUT_S):
        """The next response of that status to the INVITE."""
        response = self.agent._wait(
            lambda: self.agent.take(
                lambda m: m.status == status
                and m.branch == self.invite.branch
                and m.method == "INVITE"
            ),
            timeout,
            f"{status} to {self.invite!r}",
        )
        self._learn(response)
        return response

    def answer(self, timeout=TIMEOUT_S):
        """The final response, acknowledged."""
        response = self.agent.response(self.invite, timeout)
        self._learn(response)
        self.ack()
        return response

    def _learn(self, response):
        if response.status > 100 and response.to_tag:
            self.remote_tag = response.to_tag
        if 100 < response.status < 300:
            self.routes = list(reversed(response.all("Record-Route")))
            self.target = response.contact_uri or self.target
        if response.status >= 200:
            self.final = response

    def make_ack(self, **options):
        """ACK of a 2xx goes its own way (13.2.2.4), of another final response the way of the INVITE
        (17.1.1.3)."""
        if self.final is not None and self.final.status < 300:
            return self.make_request("ACK", cseq=self.invite.cseq, **options)
        return self._same_hop("ACK", self.final.get("To") if self.final else self.invite.get("To"))

    def ack(self):
        return self.agent.send(self.make_ack())

    def make_cancel(self):
        return self._same_hop("CANCEL", self.invite.get("To"))

    def cancel(self, timeout=TIMEOUT_S):
        """Sends CANCEL and gives its own response; the INVITE's comes with answer()."""
        return self.agent.exchange(self.make_cancel(), timeout)

    def _same_hop(self, method, to):
        message = Message(f"{method} {self.invite.uri} SIP/2.0")
        message.add("Via", self.invite.get("Via"))
        message.add("Max-Forwards", 70)
        message.add("From", self.invite.get("From"))
        message.add("To", to)
        message.add("Call-ID", self.call_id)
        message.add("CSeq", f"{self.invite.cseq} {method}")
        for route in self.invite.fields("Route"):
            message.add("Route", route)
        return message

    # ---- The side that is called

    def reply(self, status, reason=None, **options):
        """Answers the INVITE, with the tag of this call."""
        if status < 300 and "body" not in options and status >= 180:
            options["body"] = SDP if status >= 200 else b""
        return self.agent.reply(self.invite, status, reason, to_tag=self.local_tag, **options)

    def expect_ack(self, timeout=TIMEOUT_S):
        return self.agent.expect("ACK", timeout, call_id=self.call_id)

    # ---- Both

    def make_request(self, method, cseq=None, body=b"", **options):
        """A request inside the dialog, with its route set."""
        if cseq is None:
            self.cseq = cseq = self.cseq + 1
        to = self.remote_uri + (f";tag={self.remote_tag}" if self.remote_tag else "")
        options.setdefault("from_", self.local_uri)
        options.setdefault("Route", self.routes)
        return self.agent.request(
            method,
            options.pop("uri", self.target),
            to=options.pop("to", to),
            from_tag=options.pop("from_tag", self.local_tag),
            call_id=self.call_id,
            cseq=cseq,
            body=body,
            **options,
        )

    def send(self, method, **options):
        """Sends a request inside the dialog and gives it, for agent.response()."""
        return self.agent.send(self.make_request(method, **options))

    def exchange(self, method, timeout=TIMEOUT_S, **options):
        return self.agent.exchange(self.make_request(method, **options), timeout)

    def bye(self, **options):
        """Sends BYE and gives the request; the other side answers it with call.expect_bye()."""
        return self.send("BYE", **options)

    def expect_bye(self, timeout=TIMEOUT_S):
        """Waits for BYE and answers 200."""
        request = self.agent.expect("BYE", timeout, call_id=self.call_id)
        self.agent.reply(request, 200)
        return request


def establish(caller, callee, to=None):
    """A whole call up to the ACK: gives the caller's and the callee's side."""
    out = caller.invite(to or callee.aor)
    into = callee.expect_call()
    into.reply(180)
    out.expect(180)
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    return out, into


REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}
