# SPDX-License-Identifier: Apache-2.0
"""A wire between proxy and mapperd that a test can slow down, cut, or speak into: mapperd's socket
by another name."""
import os
import select
import shutil
import socket
import tempfile
import threading
import time


class Relay:
    """Relay(lab) listens; use_relay(lab) lets the lab's proxy go through it.

    delay_s   what mapperd says arrives so much later, ticks too, in its order; when it becomes less,
              what waits comes sooner, all at once
    only      the connection (by its number) that is slowed; None: all
    answer    bytes that are sent instead of what mapperd says from now on (None: the truth)
    """

    def __init__(self, lab):
        self.lab = lab
        self.folder = tempfile.mkdtemp(prefix="holdline-relay-", dir="/tmp")
        self.path = os.path.join(self.folder, "mapperd.sock")
        self.delay_s = 0
        self.only = None
        self.answer = None
        self.connections = 0
        self.asked = b""  # all that the proxy has said
        self.asked_by = {}  # the same of each connection, by its number
        self.numbers = {}  # the proxy's end → its number
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.folder, 0o755)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        self.pairs = {}  # each end → its other end
        self.from_server = set()
        self.late = []  # (when it came, to whom, bytes)
        self.ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def number_of(self, asked):
        """The newest connection on which these bytes were asked."""
        return max(number for number, said in self.asked_by.items() if asked in said)

    def close(self):
        self.ending = True
        self.thread.join()
        for end in list(self.pairs):
            end.close()
        self.listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self):
        client, _ = self.listener.accept()
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.lab.mapperd_socket)
        except OSError:
            client.close()
            server.close()
            return
        self.connections += 1
        self.numbers[client] = self.connections
        self.asked_by[self.connections] = b""
        self.pairs[client], self.pairs[server] = server, client
        self.from_server.add(server)

    def _drop(self, end):
        other = self.pairs.pop(end, None)
        if other is not None:
            self.pairs.pop(other, None)
            self.from_server -= {end, other}
            end.close()
            other.close()

    def _pass(self, to, data):
        try:
            to.sendall(data)
        except OSError:
            self._drop(to)

    def _read(self, end):
        try:
            data = end.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._drop(end)
        elif end not in self.from_server:
            self.asked += data
            self.asked_by[self.numbers[end]] += data
            self._pass(self.pairs[end], data)
        elif self.answer is not None:
            self._pass(self.pairs[end], self.answer)
        elif self.only not in (None, self.numbers[self.pairs[end]]):
            self._pass(self.pairs[end], data)
        else:
            self.late.append((time.monotonic(), self.pairs[end], data))

    def _pass_late(self):
        """What is due, one piece for each connection."""
        until = time.monotonic() - self.delay_s
        due = {}
        while self.late and self.late[0][0] <= until:
            _, to, data = self.late.pop(0)
            due[to] = due.get(to, b"") + data
        for to, data in due.items():
            if to in self.pairs:
                self._pass(to, data)

    def _run(self):
        while not self.ending:
            readable, _, _ = select.select([self.listener, *self.pairs], [], [], 0.01)
            for end in readable:
                if end is self.listener:
                    self._accept()
                elif end in self.pairs:
                    self._read(end)
            self._pass_late()


def use_relay(lab):
    """Restarts the lab's proxy so that it reaches mapperd through a relay; gives the relay."""
    relay = Relay(lab)
    lab.stop_program("proxy")
    lab.proxy_settings["mapperd_socket"] = relay.path
    lab.start_program("proxy")
    return relay
