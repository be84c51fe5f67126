# SPDX-License-Identifier: Apache-2.0
"""CPU time of a full mutual handshake over TLS 1.3, a phone's certificate verified: Holdline's proxy
and mapperd together, which also find out who the device is, beside nginx, which does nothing but the
handshake (of the terminators at hand the cheapest). Same certificates; P-256 and RSA-2048 at both
ends. Neither gives tickets: a pong is the client's proof that it was accepted."""
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.lab import certificates

from . import generator
from .nginx import Nginx
from .results import Row
from .stack import Ours

NAME = "handshake"
GOAL = 1.1
PHONES = 200
FIGURE = "server_cpu_s_per_1000_connections"
KEYS = {"ec": "P-256", "rsa": "RSA-2048"}


def write_rsa_server(ours):
    """Beside the lab's own, which is P-256."""
    stack = ours.stack
    authority = certificates.Authority(*ours.ca, "Device root")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = authority.issue(
        stack.domain,
        key.public_key(),
        names=[x509.DNSName(stack.domain)],
        usages=(ExtendedKeyUsageOID.SERVER_AUTH,),
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    certificates.write_private(stack.path("rsa.pem"), pem)
    certificates.write_private(stack.path("rsa.key"), certificates.key_bytes(key))


def measure(server, target, ca, key, seconds):
    options = ["-c", 16, "-n", PHONES, "-d", seconds, "-W", 1, "--key", key, "--tls", "1.3", "--ping"]
    figures = generator.run("handshake", target, ca, *options, pids=server.pids, timeout_s=120)
    if figures["failures"] or not figures["handshakes"] or figures["resumed"]:
        raise SystemExit(f"{server.name}: {figures}")
    return figures


def run(context):
    listener = {"certificate": "FOLDER/rsa.pem", "key": "FOLDER/rsa.key"}
    ours = Ours(context.folder / "handshake", proxy_sections={"listener rsa": listener})
    peers = {}
    try:
        ours.stack.folder.mkdir(parents=True)
        write_rsa_server(ours)
        ours.start()
        ours.provision(1, PHONES)
        targets = {"ec": ours.target, "rsa": f"127.0.0.1:{ours.stack.ports['rsa']}"}
        for key, stem in {"ec": "server", "rsa": "rsa"}.items():
            path = ours.stack.path
            peers[key] = Nginx(path(f"{stem}.pem"), path(f"{stem}.key"), path("ca.pem"))
            peers[key].start()
        for repetition in range(context.repetitions):
            for key in KEYS:
                for server, target in ((ours, targets[key]), (peers[key], peers[key].target)):
                    figures = measure(server, target, ours.ca, key, context.seconds)
                    context.results.add(f"{NAME} {key}", repetition, server.name, figures)
    finally:
        for peer in peers.values():
            peer.stop()
        ours.stop()
    return [row(context.results, key) for key in KEYS]


def row(results, key):
    bench = f"{NAME} {key}"
    own = results.all(bench, Ours.name, FIGURE)
    peer = results.all(bench, Nginx.name, FIGURE)
    ours_median = results.median(bench, Ours.name, FIGURE)
    peer_median = results.median(bench, Nginx.name, FIGURE)
    return Row(
        f"mutual handshake, {KEYS[key]}",
        "ms CPU",
        ours_median,
        Nginx.name,
        peer_median,
        ours_median / peer_median,
        GOAL,
        [a / b for a, b in zip(own, peer)],
        len(own),
    )
