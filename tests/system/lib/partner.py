# SPDX-License-Identifier: Apache-2.0
"""A SIP server of another domain, over TLS: the proxy connects to it by a route, and it connects to
the proxy by its certificate."""
import contextlib
import socket
import ssl

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import certificates

from .agent import Agent, Stream
from .helpers import sql

BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class Partner(Agent):
    """Listens with the certificate and key of `pem`; what comes in is in `streams`.

    ask      what it asks of the proxy's certificate (ssl.CERT_…), verified by `trust`
    holding  True: connections are taken, handshakes wait
    full     True: connections are not even taken, the kernel leaves SYNs without an answer; empty()
             ends that
    names    hosts that the proxy named (SNI), one a connection, None for none
    refused  why handshakes failed, in OpenSSL's words
    """

    def __init__(
        self, pem, domain, user="bob", trust=None, ask=ssl.CERT_NONE, holding=False, full=False
    ):
        super().__init__(user, domain)
        self.pem, self.trust, self.holding = pem, trust, holding
        self.names, self.refused, self.shaking = [], [], []
        self.accepted = 0
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.sni_callback = lambda _, name, __: self.names.append(name)
        self.server.load_cert_chain(pem)
        if trust:
            self.server.load_verify_locations(trust)
        self.server.verify_mode = ask
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0 if full else 128)
        self.listener.setblocking(False)
        self.fillers = [self._fill() for _ in range(8)] if full else []

    def _fill(self):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(self.listener.getsockname())
        return filler

    def empty(self):
        for filler in self.fillers:
            filler.close()
        self.fillers = []

    @property
    def address(self):
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    @property
    def local(self):
        return self.address

    def show(self, pem):
        """Another certificate, for connections from now on."""
        self.server.load_cert_chain(pem)

    def _accept(self):
        if self.fillers:
            return []
        with contextlib.suppress(BlockingIOError):
            while True:
                raw, _ = self.listener.accept()
                raw.setblocking(False)
                self.accepted += 1
                self.shaking.append(raw)
        if self.holding:
            return [self.listener]
        self.shaking = [s for s in map(self._shake, self.shaking) if s]
        return [self.listener, *self.shaking]

    def _shake(self, connection):
        """Goes on with a handshake; None when it is over."""
        if not isinstance(connection, ssl.SSLSocket):
            connection = self.server.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        try:
            connection.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return connection
        except OSError as error:
            self.refused.append(getattr(error, "reason", None) or str(error))
            connection.close()
            return None
        self.streams.append(Stream(connection))
        return None

    def shown(self, stream=None):
        """The certificate that the proxy has shown on a connection; None when it showed none."""
        der = (stream or self.stream).socket.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der) if der else None

    def turn(self):
        """Takes what there is, without waiting; for wait_until()."""
        self._accept()
        self._read()
        return self

    def connect(self, port, pem=None, timeout=15):
        """A connection of its own to a listener of the proxy, with its certificate or another."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.trust)
        context.load_cert_chain(pem or self.pem)
        raw = socket.create_connection(("127.0.0.1", port), timeout)
        self.streams.append(Stream(context.wrap_socket(raw)))
        return self

    def close(self):
        super().close()
        for one in self.shaking + self.fillers:
            one.close()
        self.shaking = []
        self.listener.close()


class Federation:
    """An authority that certifies domains, ours and others', with files in one folder."""

    def __init__(self, folder, name="Federation root"):
        self.folder = folder
        self.stem = stem = name.lower().replace(" ", "-")
        self.ca = certificates.Authority(folder / f"{stem}.pem", folder / f"{stem}.key", name)
        self.made = 0
        self.ours = self.pem("example.org")  # what our proxy shows

    @property
    def trust(self):
        return str(self.ca.certificate_path)

    def pem(self, *domains, cn=None, names=None, usages=BOTH, **options):
        """Certificate and key for these domains as DNS names, or for these x509.GeneralNames."""
        self.made += 1
        path = self.folder / f"{self.stem}-{self.made}.pem"
        names = [x509.DNSName(d) for d in domains] if names is None else names
        self.ca.write_pair(
            path, cn or (domains[0] if domains else "server"), names=names, usages=usages, **options
        )
        return str(path)

    def partner(self, *domains, user="bob", **options):
        """A server for the first of them."""
        return Partner(self.pem(*domains), domains[0], user, trust=self.trust, **options)

    def sections(self, partner, **route):
        """A lab's sections: store and listener `federation`, and a route `other` to the partner."""
        options = {
            "domain": partner.domain,
            "address": partner.address,
            "transport": "tls",
            "listener": "federation",
            "trust_stores": ["federation"],
            "certificate": self.ours,
            "key": self.ours,
            **route,
        }
        return {
            "trust_store federation": {"ca": self.trust},
            "listener federation": {
                "trust_stores": ["federation"],
                "certificate": self.ours,
                "key": self.ours,
            },
            "route other": options,
        }


def permit(lab, domain, who="everyone"):
    """Lets users of ours send to a domain, and names the store of its certificates."""
    sql(
        lab,
        "INSERT INTO trust_store (name, cn_form) VALUES ('federation', 'exact')"
        " ON CONFLICT DO NOTHING",
    )
    sql(
        lab,
        "INSERT INTO rights_rule (position, who_kind, target_kind, target, effect)"
        " VALUES (50, %s, 'domain', %s, 'allow')",
        who,
        domain,
    )
