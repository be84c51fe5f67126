# SPDX-License-Identifier: Apache-2.0
"""A RESP2 client as small as the protocol: for the lab's readiness checks and for tests."""
import socket


class RespError(Exception):
    """An error reply; its text starts with the code, as in `LOADING not ready`."""


class Resp:
    """One connection to the unix socket of mapperd or of the proxy."""

    def __init__(self, path, timeout_s=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *arguments):
        """Sends one command; several may be under way, replies come in their order."""
        parts = [b"*%d\r\n" % len(arguments)]
        for argument in arguments:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))

    def send_bytes(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next reply: int, str, list or None; an error reply is returned, not raised, only
        inside a list."""
        reply = self._read()
        if isinstance(reply, RespError):
            raise reply
        return reply

    def command(self, *arguments):
        self.send(*arguments)
        return self.receive()

    def info(self):
        """INFO as a dictionary."""
        lines = self.command("INFO").splitlines()
        return dict(
            line.split(":", 1) for line in lines if ":" in line and not line.startswith("#")
        )

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection was closed")
        return line[:-2]

    def _read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RespError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            if length < 0:
                return None
            data = self.file.read(length + 2)
            if len(data) != length + 2:
                raise EOFError("the connection was closed")
            return data[:-2].decode("utf-8", "surrogateescape")
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self._read() for _ in range(count)]
        raise ValueError(f"not RESP: {line!r}")
