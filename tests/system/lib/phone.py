# SPDX-License-Identifier: Apache-2.0
"""A phone: a user agent with a client certificate on one TLS connection to the proxy."""
import hashlib
import socket
import ssl

from cryptography import x509

from tests.lab import certificates

from .agent import Agent, Stream
from .helpers import cn_of, resp, sql, unique, wait_until


def certificate(lab, cn, store="device", san=(), **options):
    """A file with certificate and key for cn from the authority of a store, made once for each lab.

    san: SIP URIs ("sip:alice@example.org") and DNS names. Further options go to Authority.issue().
    """
    authority = {"device": lab.ca, "corp": lab.ca2}[store]
    names = [
        x509.UniformResourceIdentifier(n) if n.startswith(("sip:", "sips:")) else x509.DNSName(n)
        for n in san
    ]
    key = hashlib.sha256(
        repr((store, cn, tuple(san), sorted(map(repr, options.items())))).encode()
    ).hexdigest()[:24]
    path = lab.path("phones", key + ".pem")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        authority.write_pair(path, certificates.name(cn), names=names, **options)
    return path


def knows(lab, store, cn, identity):
    """Whether mapperd already says that the device may use the identity."""
    reply = resp(lab, "PEER", store, cn)
    return reply[2] == "known" and identity in reply[4:]


def provision(lab, cn, identity, store="device"):
    """Inserts a mapping and waits until mapperd serves it."""
    sql(
        lab,
        "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (%s, %s, %s)",
        store,
        cn,
        identity,
    )
    wait_until(lambda: knows(lab, store, cn, identity), what=f"{store} {cn} known as {identity}")


class Phone(Agent):
    """Phone(lab) has a CN and a user of its own; provision() makes it known, connect() connects
    it."""

    def __init__(
        self,
        lab,
        cn=None,
        store="device",
        user=None,
        domain=None,
        san=(),
        pem=None,
        certified=True,
    ):
        super().__init__(user or unique(), domain or lab.domain)
        self.lab = lab
        self.cn = cn or cn_of()
        self.store = store
        self.pem = (pem or certificate(lab, self.cn, store, san)) if certified else None
        self.call_id = f"{self.user}-registration"
        self.register_cseq = 0
        self.instance = None

    @property
    def identity(self):
        return f"{self.user}@{self.domain}"

    def provision(self):
        provision(self.lab, self.cn, self.identity, self.store)
        return self

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.lab.path("ca.pem"))
        if self.pem:
            context.load_cert_chain(self.pem)
        return context

    def connect(self, timeout=15, context=None, listener="tls", session=None, host=None):
        """Opens a connection, beside those that there are; the newest is the one used. session: one
        to resume, with its context; host: named instead of the domain.

        With TLS 1.3 a refused certificate shows only at the first read: see expect_closed().
        """
        raw = socket.create_connection(("127.0.0.1", self.lab.ports[listener]), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            secured = (context or self.context()).wrap_socket(
                raw, server_hostname=host or self.domain, session=session
            )
        except BaseException:
            raw.close()
            raise
        self.streams.append(Stream(secured))
        return self

    def make_register(self, contact=None, expires=None, **options):
        """A REGISTER of this phone: same Call-ID, next CSeq."""
        self.register_cseq += 1
        contact = contact or self.contact + (
            f';+sip.instance="{self.instance}";reg-id=1' if self.instance else ""
        )
        options.setdefault("to", f"<{self.aor}>")
        options.setdefault("call_id", self.call_id)
        if expires is not None:
            options.setdefault("Expires", expires)
        return self.request(
            "REGISTER", f"sip:{self.domain}", cseq=self.register_cseq, contact=contact, **options
        )

    def register(self, expect=200, **options):
        """Registers and gives the response, which must have the status expect (None: any)."""
        response = self.exchange(self.make_register(**options))
        assert (
            expect is None or response.status == expect
        ), f"REGISTER: {response.start}, wanted {expect}\n{response}"
        return response

    def unregister(self):
        return self.register(expires=0)


def ready_phone(lab, **options):
    """A phone that is provisioned, connected and registered."""
    phone = Phone(lab, **options).provision().connect()
    phone.register()
    return phone
