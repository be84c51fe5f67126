# SPDX-License-Identifier: Apache-2.0
"""baresip, a real phone, run without sound card and steered over its control socket (module
ctrl_tcp).

It sends a tone and writes what it hears to a file (module sndfile). What it reports is kept in
`events`; expect() waits for one.
"""
import array
import json
import pathlib
import socket
import time

from tests.lab.process import Process
from tests.lab.stack import reserve_port

from .helpers import wait_until

TIMEOUT_S = 20


class Baresip:
    """One baresip with the certificate of a Phone's file (certificate and key) and one account."""

    def __init__(
        self, folder, user, domain, pem, ca, proxy, answers=True, host="127.0.0.11", password=None
    ):
        self.folder = pathlib.Path(folder)
        self.user = user
        self.aor = f"sip:{user}@{domain}"
        self.events = []
        self.buffer = b""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, holder = reserve_port()
        address = f"{proxy[0]}:{proxy[1]}"
        (self.folder / "config").write_text(
            f"""
poll_method epoll
sip_listen {host}:0
sip_certificate {pem}
sip_cafile {ca}
sip_verify_server yes
call_local_timeout 60
call_max_calls 4
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 2
statmode_default off
snd_path {self.folder}
rtp_timeout 0
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module sndfile.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:{self.port}
"""
        )
        (self.folder / "accounts").write_text(
            f'<{self.aor};transport=tls>;regint=600;outbound="sip:{address};transport=tls"'
            f";answermode={'auto' if answers else 'manual'}"
            + (f";auth_user={user};auth_pass={password}" if password else "")
            + "\n"
        )
        (self.folder / "contacts").write_text("")
        holder.close()
        self.process = Process.start(
            ["baresip", "-f", str(self.folder)], self.folder / "log", cwd=str(self.folder)
        )
        self.socket = self._connect()

    def _connect(self):
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
            except OSError:
                if not self.process.alive() or time.monotonic() > deadline:
                    raise AssertionError(f"baresip did not start:\n{self.log()}") from None
                time.sleep(0.02)

    def log(self):
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return "".join(line + "\n" for line in lines if line.strip())

    def close(self):
        self.socket.close()
        self.process.stop(timeout_s=10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def command(self, command, params=""):
        """Sends a command as typed at its prompt: dial, hangup, reginfo, …"""
        text = json.dumps({"command": command, "params": params, "token": command}).encode()
        self.socket.sendall(b"%d:%s," % (len(text), text))

    def _receive(self, left):
        """Adds what the control socket brings, netstrings of JSON, to the events."""
        self.socket.settimeout(max(left, 0.001))
        data = self.socket.recv(65536)
        if not data:
            raise AssertionError(f"baresip ended:\n{self.log()}")
        self.buffer += data
        while b":" in self.buffer:
            length, _, rest = self.buffer.partition(b":")
            if len(rest) <= int(length):
                return
            self.events.append(json.loads(rest[: int(length)].decode(errors="replace")))
            self.buffer = rest[int(length) + 1 :]

    def expect(self, kind, timeout=TIMEOUT_S):
        """Waits for an event (REGISTER_OK, REGISTER_FAIL, CALL_ESTABLISHED, CALL_CLOSED, …) and
        takes it."""
        deadline = time.monotonic() + timeout
        while True:
            for at, event in enumerate(self.events):
                if event.get("type") == kind:
                    del self.events[: at + 1]
                    return event
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self._receive(left)
            except TimeoutError:
                raise AssertionError(
                    f"{self.user}: no {kind} within {timeout} s; {self.events}\n{self.log()}"
                ) from None

    def ask(self, command, params=""):
        """Sends a command and gives what baresip prints for it."""
        self.command(command, params)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            for at, event in enumerate(self.events):
                if event.get("response") and event.get("token") == command:
                    return self.events.pop(at)["data"]
            self._receive(deadline - time.monotonic())

    def wait_registered(self, timeout=TIMEOUT_S):
        """Waits until it is registered; asked for, since it may have become so before the control
        socket was open."""
        wait_until(
            lambda: "OK" in self.ask("reginfo"), timeout, f"{self.user} registered\n{self.log()}"
        )

    def dial(self, uri):
        self.command("dial", uri)

    def hang_up(self):
        self.command("hangup")

    def heard_s(self):
        """Seconds of sound, silence not counted, that its calls have brought so far."""
        samples = 0
        for path in self.folder.glob("dump-*-dec.wav"):
            sound = path.read_bytes()[44:]
            samples += sum(1 for one in array.array("h", sound[: len(sound) & ~1]) if one)
        return samples / 8000
