# SPDX-License-Identifier: Apache-2.0
"""SIP messages as tests need them: read, built and changed header by header, nothing hidden or
repaired."""
import re
import secrets

COMPACT = {
    "v": "Via",
    "f": "From",
    "t": "To",
    "i": "Call-ID",
    "m": "Contact",
    "l": "Content-Length",
    "c": "Content-Type",
    "s": "Subject",
    "k": "Supported",
    "e": "Content-Encoding",
}
LISTS = {
    "via",
    "route",
    "record-route",
    "contact",
    "path",
    "service-route",
    "p-asserted-identity",
    "supported",
    "require",
    "unsupported",
    "allow",
}


def new_branch():
    return "z9hG4bK" + secrets.token_hex(8)


def new_tag():
    return secrets.token_hex(5)


def new_call_id():
    return secrets.token_hex(10)


def full_name(name):
    return COMPACT.get(name.lower(), name).lower()


def split_list(value):
    """A header's values, split at the commas that are neither in quotes nor in < >."""
    values, start, quoted, angle, at = [], 0, False, False, 0
    while at < len(value):
        c = value[at]
        if quoted and c == "\\":
            at += 1
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "<>":
            angle = c == "<"
        elif not quoted and not angle and c == ",":
            values.append(value[start:at].strip())
            start = at + 1
        at += 1
    return values + [value[start:].strip()]


def uri_of(value):
    """The URI of a From, To, Contact, Route … value."""
    match = re.search(r"<([^>]*)>", value)
    return match[1] if match else value.partition(";")[0].strip()


def parameter_of(value, name):
    """A parameter after the URI (of the header, not of the URI); None when it is not there, ''
    without a value."""
    rest = (
        value.rpartition(">")[2]
        if ">" in value
        else value.partition(";")[2] and ";" + value.partition(";")[2]
    )
    match = re.search(
        rf";\s*{re.escape(name)}(?:\s*=\s*(\"[^\"]*\"|[^;,\s]*))?(?=[;,\s]|$)", rest, re.IGNORECASE
    )
    return None if match is None else (match[1] or "").strip('"')


class Message:
    """One request or response. str in and out is Latin-1 free UTF-8; bytes that are not UTF-8
    survive."""

    def __init__(self, start, headers=(), body=b""):
        self.start = start
        self.headers = [tuple(header) for header in headers]
        self.body = body.encode() if isinstance(body, str) else body
        self.stream = None  # the connection that it came in on

    # ---- Start line

    @property
    def is_response(self):
        return self.start.startswith("SIP/")

    @property
    def status(self):
        return int(self.start.split(" ", 2)[1]) if self.is_response else None

    @property
    def reason(self):
        return self.start.split(" ", 2)[2] if self.is_response else None

    @property
    def method(self):
        """Of a request its method, of a response that of its CSeq."""
        return (
            (self.get("CSeq") or " ").split()[-1]
            if self.is_response
            else self.start.split(" ", 1)[0]
        )

    @property
    def uri(self):
        return None if self.is_response else self.start.split(" ")[1]

    # ---- Headers

    def fields(self, name):
        """Every header field of that name, each as it stands."""
        wanted = full_name(name)
        return [value for key, value in self.headers if full_name(key) == wanted]

    def all(self, name):
        """Every value of a header that is a list, over all its fields."""
        values = self.fields(name)
        return (
            [v for value in values for v in split_list(value)]
            if full_name(name) in LISTS
            else values
        )

    def get(self, name):
        """The first value, or None."""
        values = self.all(name)
        return values[0] if values else None

    def remove(self, name):
        wanted = full_name(name)
        self.headers = [(key, value) for key, value in self.headers if full_name(key) != wanted]
        return self

    def add(self, name, value):
        self.headers.append((name, str(value)))
        return self

    def insert(self, name, value):
        """Adds it as the first header."""
        self.headers.insert(0, (name, str(value)))
        return self

    def set(self, name, value):
        """Replaces the header where it stands; adds it when there is none."""
        wanted = full_name(name)
        for at, (key, _) in enumerate(self.headers):
            if full_name(key) == wanted:
                self.headers[at] = (key, str(value))
                self.headers[at + 1 :] = [
                    h for h in self.headers[at + 1 :] if full_name(h[0]) != wanted
                ]
                return self
        return self.add(name, value)

    # ---- What tests look at most

    @property
    def branch(self):
        return parameter_of(self.get("Via") or "", "branch")

    @property
    def from_tag(self):
        return parameter_of(self.get("From") or "", "tag")

    @property
    def to_tag(self):
        return parameter_of(self.get("To") or "", "tag")

    @property
    def from_uri(self):
        return uri_of(self.get("From") or "")

    @property
    def to_uri(self):
        return uri_of(self.get("To") or "")

    @property
    def call_id(self):
        return self.get("Call-ID")

    @property
    def cseq(self):
        return int(self.get("CSeq").split()[0])

    @property
    def contact_uri(self):
        return uri_of(self.get("Contact") or "")

    def text(self):
        return self.body.decode(errors="replace")

    # ---- Bytes

    def __bytes__(self):
        """As sent; Content-Length is added when the message names none."""
        headers = list(self.headers)
        if not self.fields("Content-Length"):
            headers.append(("Content-Length", str(len(self.body))))
        head = (
            self.start
            + "\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in headers)
            + "\r\n"
        )
        return head.encode("utf-8", "surrogateescape") + self.body

    def __str__(self):
        return bytes(self).decode(errors="replace")

    def __repr__(self):
        return f"<{self.start}; CSeq {self.get('CSeq')}>"


def parse_head(head):
    """A message from its bytes up to the empty line; folded lines are joined."""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    headers = []
    for line in lines[1:]:
        if line[:1] in (" ", "\t") and headers:
            headers[-1] = (headers[-1][0], headers[-1][1] + " " + line.strip())
        else:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
    return Message(lines[0], headers)


class Framer:
    """Bytes of a stream in, messages out (RFC 3261 18.3); keep-alives are counted."""

    def __init__(self):
        self.buffer = b""
        self.pings = 0  # CRLF CRLF (RFC 5626 3.5.1)
        self.pongs = 0  # CRLF

    def feed(self, data):
        self.buffer += data
        messages = []
        while True:
            while self.buffer.startswith(b"\r\n"):
                if self.buffer.startswith(b"\r\n\r\n"):
                    self.pings += 1
                    self.buffer = self.buffer[4:]
                else:
                    self.pongs += 1
                    self.buffer = self.buffer[2:]
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return messages
            message = parse_head(head)
            length = int((message.fields("Content-Length") or ["0"])[0])
            if len(rest) < length:
                return messages
            message.body, self.buffer = rest[:length], rest[length:]
            messages.append(message)
