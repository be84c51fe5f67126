# SPDX-License-Identifier: Apache-2.0
"""An OCSP responder on loopback for clients' certificates. The answers are those of `openssl ocsp`, by
the index file of the authority; HTTP is ours, so that it listens on loopback alone, counts what it is
asked, and can hang or lie."""
import datetime
import http.server
import subprocess
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp



class Responder:
    def __init__(self, folder, authority, minutes=60):
        self.folder, self.authority, self.minutes = folder, authority, minutes
        self.signer = (authority.certificate_path, authority.key_path)
        self.status = {}  # letter of the index by serial number
        self.answer = self.by_openssl  # request → response; None: nothing, for ever
        self.http_status, self.headers = 200, {}
        self.asked = []  # serial numbers
        self.faults = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.waiting = []  # an Event for each request that is not answered
        self.server = self.listen()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def listen(self, port=0):
        server = Server(("127.0.0.1", port), Handler)
        server.responder = self
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def stop(self):
        """It is away: connections are refused."""
        self.server.shutdown()
        self.server.server_close()

    def resume(self):
        self.server = self.listen(self.port)

    def close(self):
        self.ended.set()
        self.release()
        self.stop()
        assert not self.faults, self.faults

    # ---- What it knows

    def set(self, phone, letter):
        """V: good; R: revoked; None: it does not know it."""
        with self.lock:
            self.status[serial_of(phone)] = letter

    def count(self, phone):
        return self.asked.count(serial_of(phone))

    def index(self):
        lines = ["V\t401231235959Z\t\t01\tunknown\t/CN=first\n"]  # openssl wants one at least
        with self.lock:
            for serial, letter in self.status.items():
                number = f"{serial:X}"
                number = number if len(number) % 2 == 0 else "0" + number
                since = "250101000000Z" if letter == "R" else ""
                if letter:
                    lines.append(f"{letter}\t401231235959Z\t{since}\t{number}\tunknown\t/CN={number}\n")
        return "".join(lines)

    # ---- What it answers

    def by_openssl(self, request):
        with self.lock:
            self.number = getattr(self, "number", 0) + 1
            stem = self.folder / f"ocsp-{self.number}"
        index, asked, made = (stem.with_suffix(end) for end in (".txt", ".req", ".resp"))
        index.write_text(self.index())
        asked.write_bytes(request)
        certificate, key = self.signer
        subprocess.run(
            [
                *("openssl", "ocsp", "-index", index, "-CA", self.authority.certificate_path),
                *("-rsigner", certificate, "-rkey", key, "-reqin", asked, "-respout", made),
                *(("-nmin", str(self.minutes)) if self.minutes else ()),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return made.read_bytes()

    def made(self, seconds=3600, age=0, status=None, signer=None, key=None, about=None, has_end=True):
        """An answer for each request that is made here, with what openssl would not say."""

        def answer(request):
            now = datetime.datetime.utcnow()
            status_now = status
            serial = ocsp.load_der_ocsp_request(request).serial_number
            if status_now is None:
                letter = self.status.get(serial)
                status_now = {"V": ocsp.OCSPCertStatus.GOOD, "R": ocsp.OCSPCertStatus.REVOKED}.get(
                    letter, ocsp.OCSPCertStatus.UNKNOWN
                )
            revoked = status_now == ocsp.OCSPCertStatus.REVOKED
            builder = ocsp.OCSPResponseBuilder().add_response(
                cert=about or self.certificate(serial),
                issuer=self.authority.certificate,
                algorithm=hashes.SHA1(),
                cert_status=status_now,
                this_update=now - datetime.timedelta(seconds=age),
                next_update=now + datetime.timedelta(seconds=seconds) if has_end else None,
                revocation_time=now if revoked else None,
                revocation_reason=None,
            )
            builder = builder.responder_id(
                ocsp.OCSPResponderEncoding.HASH, signer or self.authority.certificate
            )
            if signer:
                builder = builder.certificates([signer])
            response = builder.sign(key or self.authority.key, hashes.SHA256())
            return response.public_bytes(serialization.Encoding.DER)

        return answer

    def certificate(self, serial):
        """One with this number: the number is all that an answer says of the certificate itself."""
        now = datetime.datetime.utcnow()
        return (
            x509.CertificateBuilder()
            .subject_name(self.authority.certificate.subject)
            .issuer_name(self.authority.certificate.subject)
            .public_key(self.authority.key.public_key())
            .serial_number(serial)
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self.authority.key, hashes.SHA256())
        )

    def hang(self, request):
        """Nothing, until release() or the end."""
        event = threading.Event()
        self.waiting.append(event)
        event.wait(120)
        return None if self.ended.is_set() else self.by_openssl(request)

    def release(self):
        self.answer = self.by_openssl
        while self.waiting:
            self.waiting.pop().set()


def serial_of(phone):
    return x509.load_pem_x509_certificate(phone.pem.read_bytes()).serial_number


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        responder = self.server.responder
        request = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/ocsp-request"
        responder.asked.append(ocsp.load_der_ocsp_request(request).serial_number)
        try:
            body = responder.answer(request)
        except Exception as error:
            responder.faults.append(error)
            raise
        if body is None:
            return
        self.send_response(responder.http_status)
        for name, value in {
            "Content-Type": "application/ocsp-response",
            "Content-Length": str(len(body)),
            **responder.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # who asked waits no more

    def log_message(self, *arguments):
        pass


__all__ = ["Responder", "serial_of"]
