# SPDX-License-Identifier: Apache-2.0
"""The phone's end of digest authentication, written from RFC 7616 and 8760."""
import hashlib
import re
import secrets

from .helpers import resp, sql, wait_until
from .sip import Message, new_branch

HASHES = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}


def parse_challenge(value):
    """{name: value} of one WWW-Authenticate or Proxy-Authenticate."""
    scheme, _, rest = value.partition(" ")
    assert scheme == "Digest"
    found = re.findall(r'([a-z]+)=(?:"([^"]*)"|([^\s,]+))', rest)
    return {name: quoted or token for name, quoted, token in found}


def challenges(response):
    name = {401: "WWW-Authenticate", 407: "Proxy-Authenticate"}[response.status]
    return [parse_challenge(value) for value in response.fields(name)]


def set_password(lab, identity, password, realm=None, username=None, wait=True):
    sql(lab, "SELECT set_credential(%s, %s, %s, %s)", identity, realm, password, username)
    if wait:
        wait_until(lambda: len(resp(lab, "CREDENTIAL", identity)) > 3)


def copy_of(message):
    return Message(message.start, message.headers, message.body)


class Login:
    """Answers one challenge, again and again with a higher count."""

    def __init__(self, challenge, username, password, **changed):
        self.challenge = {**challenge, **changed}
        self.username = username
        self.password = password
        self.nc = 0

    def answer(self, method, uri, body=b"", qop="auth", nc=None, nc_text=None, **changed):
        """The value of Authorization or Proxy-Authorization; `changed` parameters are what they are
        said to be, whatever was hashed; None leaves one out."""
        self.nc += 1
        c = self.challenge
        digest = HASHES[c.get("algorithm", "MD5")]

        def h(text):
            data = text if isinstance(text, bytes) else text.encode()
            return digest(data).hexdigest()

        count, cnonce = f"{self.nc if nc is None else nc:08x}", secrets.token_hex(8)
        ha1 = h(f"{self.username}:{c['realm']}:{self.password}")
        ha2 = h(f"{method}:{uri}" + (f":{h(body)}" if qop == "auth-int" else ""))
        parameters = {
            "username": f'"{self.username}"',
            "realm": f'"{c["realm"]}"',
            "nonce": f'"{c["nonce"]}"',
            "uri": f'"{uri}"',
            "algorithm": c.get("algorithm"),
            "cnonce": f'"{cnonce}"',
            "nc": nc_text or count,
            "qop": qop,
            "response": f'"{h(":".join((ha1, c["nonce"], count, cnonce, qop, ha2)))}"',
            **changed,
        }
        return "Digest " + ", ".join(f"{k}={v}" for k, v in parameters.items() if v is not None)

    def sign(self, request, **options):
        """A new attempt of the request, as a phone sends it after a challenge (RFC 3261 22.2): same
        Call-ID and From tag, another branch, the next CSeq, with the answer."""
        again = copy_of(request)
        again.set("Via", re.sub(r"branch=[^;]+", f"branch={new_branch()}", request.get("Via"), 1))
        number, method = request.get("CSeq").split()
        again.set("CSeq", f"{int(number) + 1} {method}")
        for name in ("Authorization", "Proxy-Authorization"):
            again.remove(name)
        again.set(
            "Authorization" if self.for_server else "Proxy-Authorization",
            self.answer(request.method, request.uri, request.body, **options),
        )
        return again

    for_server = False


def login(response, username, password, algorithm="SHA-256"):
    """A Login for the challenge of a 401 or 407."""
    chosen = [c for c in challenges(response) if c.get("algorithm", "MD5") == algorithm]
    made = Login(chosen[0], username, password)
    made.for_server = response.status == 401
    return made


def exchange(phone, request, password, username=None, algorithm="SHA-256", **options):
    """Sends it, answers the challenge; gives the Login, the request that was answered and its
    response. An INVITE's 401 or 407 is acknowledged."""
    first = phone.exchange(request)
    assert first.status in (401, 407), first
    if request.method == "INVITE":
        acknowledge(phone, request, first)
    made = login(first, username or phone.user, password, algorithm)
    signed = made.sign(request, **options)
    return made, signed, phone.exchange(signed)


def acknowledge(phone, invite, response):
    """ACK of a refusal."""
    ack = copy_of(invite)
    ack.start = ack.start.replace("INVITE", "ACK", 1)
    for name in ("Contact", "Content-Type", "Authorization", "Proxy-Authorization"):
        ack.remove(name)
    ack.body = b""
    ack.set("To", response.get("To"))
    ack.set("CSeq", invite.get("CSeq").replace("INVITE", "ACK"))
    phone.send(ack)
