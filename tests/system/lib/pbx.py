# SPDX-License-Identifier: Apache-2.0
"""A plain TCP SIP server, as the next hop of a route: takes connections of the proxy and can open
its own."""
import socket

from .agent import Agent, Stream


class Pbx(Agent):
    """Listens where the lab's route `pbx` leads; user and domain are those of its own requests."""

    transport = "TCP"

    def __init__(self, lab, user="operator", domain=None, address=None):
        super().__init__(user, domain or f"pbx.{lab.domain}")
        self.lab = lab
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address or lab.route_pbx)
        self.listener.listen()
        self.listener.setblocking(False)

    @property
    def local(self):
        host, port = self.listener.getsockname()
        return f"{host}:{port}"

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return [self.listener]
            self.streams.append(Stream(connection))

    def connect(self, timeout=15):
        """A connection of its own to the proxy's TCP listener."""
        self.streams.append(Stream(socket.create_connection(self.lab.sip_tcp, timeout)))
        return self

    def close(self):
        super().close()
        self.listener.close()
