# SPDX-License-Identifier: Apache-2.0
"""CPU time of a mutual handshake over TLS 1.3, full with a phone's certificate verified, and resumed by
a ticket: Holdline's proxy and mapperd together, which also find out who the device is, beside nginx,
which does nothing but the handshake (of the terminators at hand the cheapest). Same certificates;
P-256 and RSA-2048 at both ends. Both give tickets with every handshake, as they come: ours one, nginx
two, and one when it resumes. The first is the client's proof that it was accepted."""
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
GOALS = {False: 1.1, True: 1.15}  # by whether sessions are resumed
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


def measure(server, target, ca, key, seconds, resume):
    """Of what is to be resumed the first seconds are not counted, nor many phones taken: each has its
    full handshake in them."""
    load = ["-n", 32, "-W", 3, "--resume"] if resume else ["-n", PHONES, "-W", 1]
    options = ["-c", 16, "-d", seconds, "--key", key, "--tls", "1.3", *load]
    figures = generator.run("handshake", target, ca, *options, pids=server.pids, timeout_s=120)
    wanted = 0.99 if resume else 0  # one or the other may not have had its ticket in time
    share = figures["resumed"] / max(figures["handshakes"], 1)
    if figures["failures"] or not figures["handshakes"] or share < wanted or share > wanted * 2:
        raise SystemExit(f"{server.name}: {figures}")
    return figures


def name_of(key, resume):
    return f"{NAME} {key}{' resumed' if resume else ''}"


def compare(context, ours, own_target, peer, key, repetition):
    for resume in GOALS:
        for server, target in ((ours, own_target), (peer, peer.target)):
            figures = measure(server, target, ours.ca, key, context.seconds, resume)
            context.results.add(name_of(key, resume), repetition, server.name, figures)


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
                compare(context, ours, targets[key], peers[key], key, repetition)
    finally:
        for peer in peers.values():
            peer.stop()
        ours.stop()
    return [row(context.results, key, resume) for resume in GOALS for key in KEYS]


def row(results, key, resume):
    bench = name_of(key, resume)
    own = results.all(bench, Ours.name, FIGURE)
    peer = results.all(bench, Nginx.name, FIGURE)
    ours_median = results.median(bench, Ours.name, FIGURE)
    peer_median = results.median(bench, Nginx.name, FIGURE)
    return Row(
        f"{'resumed' if resume else 'mutual'} handshake, {KEYS[key]}",
        "ms CPU",
        ours_median,
        Nginx.name,
        peer_median,
        ours_median / peer_median,
        GOALS[resume],
        [a / b for a, b in zip(own, peer)],
        len(own),
    )
