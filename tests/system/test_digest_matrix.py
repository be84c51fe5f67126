# SPDX-License-Identifier: Apache-2.0
"""F46: every cell of "digest and certificate", for REGISTER, INVITE, MESSAGE and requests inside a
dialog, against a running proxy with a listener for each combination.

What is expected is written here from the requirement: REFUSED (a reason), ACCEPTED, or CHALLENGED,
and then what comes of the right password. ACK and CANCEL are in test_digest.py, the rules of
`anonymous` (here: none) in test_anonymous_rules.py.
"""
import itertools
import ssl

import pytest

from tests.system.lib import Phone, cn_of, provision, ready_phone, unique
from tests.system.lib.digest import acknowledge, login, set_password

MODES = ("off", "fallback", "always")
ASKED = ("ignored", "optional", "required")
THIRDS = ("challenge", "accept", "refuse")
SHOWN = ("none", "permitted", "other")
PASSWORD = "correct horse"

LISTENERS = {
    f"listener {mode}-{asked}-{thirds}": {
        "client_certificate": asked,
        "digest": mode,
        "third_parties": thirds,
        **({"trust_stores": None} if asked == "ignored" else {}),
    }
    for mode, asked, thirds in itertools.product(MODES, ASKED, THIRDS)
}


def expected(mode, asked, thirds, shown, domain):
    """ALERT, ACCEPTED, STRANGER (accepted, nobody vouches for From), CHALLENGED or a reason."""
    if asked == "ignored":
        return "certificate-required" if mode == "off" else "CHALLENGED"
    if shown == "none":
        if asked == "required":
            return "ALERT"
        if mode == "always":
            return "certificate-required"
        if domain == "other" and thirds == "accept":
            return "STRANGER"
        if mode == "fallback" and (domain == "own" or thirds == "challenge"):
            return "CHALLENGED"
        return "certificate-required"
    if shown == "permitted":
        return "CHALLENGED" if mode == "always" and domain == "own" else "ACCEPTED"
    if mode == "fallback" and (domain == "own" or thirds == "challenge"):
        return "CHALLENGED"
    if mode == "fallback" and thirds == "accept":
        return "STRANGER"
    return "from-not-permitted"


CELLS = [
    cell
    for cell in itertools.product(MODES, ASKED, THIRDS, SHOWN, ("own", "other"))
    if cell[1] != "ignored" or cell[3] == "none"
]


class World:
    """One user of ours with a password, one of another domain, a certificate for both and one for
    neither, and somebody to call."""

    def __init__(self, lab):
        self.lab = lab
        self.user = unique()
        self.own = f"{self.user}@{lab.domain}"
        self.other = f"{unique()}@elsewhere.example"
        self.certified = Phone(lab)
        self.uncertified = Phone(lab)
        provision(lab, self.certified.cn, self.own)
        provision(lab, self.certified.cn, self.other)
        provision(lab, self.uncertified.cn, f"{unique()}@{lab.domain}")
        set_password(lab, self.own, PASSWORD)
        self.callee = ready_phone(lab)

    def phone(self, cell):
        mode, asked, thirds, shown, domain = cell
        user, _, host = (self.own if domain == "own" else self.other).partition("@")
        pem = {
            "none": None, "permitted": self.certified.pem, "other": self.uncertified.pem,
        }[shown]
        phone = Phone(self.lab, user=user, domain=host, pem=pem, certified=pem is not None)
        return phone

    def connect(self, phone, cell):
        """The proxy's certificate names our domain, whatever the phone's is."""
        domain, phone.domain = phone.domain, self.lab.domain
        try:
            return phone.connect(listener="-".join(cell[:3]))
        finally:
            phone.domain = domain


@pytest.fixture
def world(fresh_lab):
    made = World(fresh_lab)
    with made.callee:
        yield made


def assert_refused(response, reason, cell):
    assert response.status == 403 and reason in response.get("Warning"), (cell, str(response))


def assert_challenged(response, method, cell):
    status, name = (401, "WWW") if method == "REGISTER" else (407, "Proxy")
    assert response.status == status, (cell, str(response))
    assert "credentials-required" in response.get("Warning"), cell
    found = response.fields(f"{name}-Authenticate")
    assert ["algorithm=SHA-256" in found[0], "algorithm=MD5" in found[1]] == [True, True], cell
    assert len(found) == 2 and "stale" not in "".join(found)


def play(world, phone, request, method, wanted, cell):
    """Sends it; where it is to get through, the callee answers. Gives the response."""
    phone.send(request)
    if wanted in ("ACCEPTED", "STRANGER") and method == "MESSAGE":
        world.callee.reply(world.callee.expect("MESSAGE", call_id=request.call_id), 200)
    response = phone.response(request)
    if method == "INVITE" and response.status >= 300:
        acknowledge(phone, request, response)
    return response


def make(world, phone, method):
    if method == "REGISTER":
        request = phone.make_register()
        request.start = f"REGISTER sip:{world.lab.domain} SIP/2.0"
        return request
    return phone.request(method, world.callee.aor, body="hello" if method == "MESSAGE" else b"")


def assert_accepted(world, phone, request, response, method, wanted, cell):
    """Of another domain's user the registrar knows nothing; who is a stranger may not even ask."""
    own = cell[4] == "own"
    if method == "REGISTER" and not own:
        status = 403 if wanted == "STRANGER" else 404
        reason = "to-not-permitted" if wanted == "STRANGER" else "target-unknown"
        assert (response.status, reason in response.get("Warning")) == (status, True), cell
        return
    assert response.status == 200, (cell, str(response))


def talk(world, phone, request, method, wanted, cell):
    """An INVITE that gets through, as far as a dialog."""
    from tests.system.lib import Call

    phone.send(request)
    call = Call(phone, request, outgoing=True)
    into = Call(world.callee, world.callee.expect("INVITE", call_id=request.call_id), False)
    assert "Authorization" not in str(into.invite), cell
    into.reply(200)
    response = call.answer()
    into.expect_ack()
    return call, into, response


@pytest.mark.lab(proxy_sections=LISTENERS)
@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "INVITE"])
def test_F46_every_cell_of_the_matrix(world, method):
    seen = 0
    for cell in CELLS:
        wanted = expected(*cell)
        phone = world.phone(cell)
        if wanted == "ALERT":
            continue  # below
        with world.connect(phone, cell):
            request = make(world, phone, method)
            if method == "INVITE" and wanted in ("ACCEPTED", "STRANGER"):
                call, into, response = talk(world, phone, request, method, wanted, cell)
                assert response.status == 200, cell
                into.bye()
                call.expect_bye()
            else:
                response = play(world, phone, request, method, wanted, cell)
                if wanted == "CHALLENGED":
                    assert_challenged(response, method, cell)
                    answer_challenge(world, phone, request, response, method, cell)
                elif wanted in ("ACCEPTED", "STRANGER"):
                    assert_accepted(world, phone, request, response, method, wanted, cell)
                else:
                    assert_refused(response, wanted, cell)
        seen += 1
    assert seen == len(CELLS) - 18


# Without mappings, and trusted with what may_assert says.
TRUSTED = """trusted_peer gw {
    trust_store = "corp"
    cn = "Gateway"
    may_assert = {"elsewhere.example"}
}
"""


def gateway(world, cell, user, domain):
    phone = Phone(world.lab, store="corp", cn="Gateway", user=user, domain=domain)
    world.connect(phone, cell)
    return phone


@pytest.mark.lab(proxy_sections=LISTENERS)
def test_F13_F46_a_trusted_peer_is_never_challenged_for_whom_it_may_assert(world):
    """The cell of the trusted peer, where a certificate is asked for: From of a domain that it may
    assert is accepted; any other From is anyone's with such a certificate."""
    world.lab.extra["proxy"] += TRUSTED
    world.lab.restart_program("proxy")
    world.callee.close()
    world.callee = ready_phone(world.lab)
    for mode, asked, thirds in itertools.product(MODES, ("optional", "required"), THIRDS):
        cell = (mode, asked, thirds, "permitted", "other")
        with gateway(world, cell, unique(), "elsewhere.example") as peer:
            for method in ("MESSAGE", "REGISTER"):
                request = make(world, peer, method)
                response = play(world, peer, request, method, "ACCEPTED", cell)
                assert_accepted(world, peer, request, response, method, "ACCEPTED", cell)
            call, _, _ = talk(world, peer, make(world, peer, "INVITE"), "INVITE", "ACCEPTED", cell)
            pass_on(world, peer, call, "INFO")
            world.connect(peer, cell)
            pass_on(world, peer, call, "INFO")
        for user, domain in ((world.user, world.lab.domain), (unique(), "third.example")):
            own = "own" if domain == world.lab.domain else "other"
            wanted = expected(mode, asked, thirds, "other", own)
            with gateway(world, cell, user, domain) as peer:
                request = make(world, peer, "MESSAGE")
                through = wanted if wanted == "STRANGER" else ""
                response = play(world, peer, request, "MESSAGE", through, cell)
                if wanted == "CHALLENGED":
                    assert_challenged(response, "MESSAGE", cell)
                elif wanted == "STRANGER":
                    assert response.status == 200, cell
                else:
                    assert_refused(response, wanted, cell)


def answer_challenge(world, phone, request, challenge, method, cell):
    """The right password of our user: he may be himself, and nobody of another domain."""
    signed = login(challenge, world.user, PASSWORD).sign(request) if cell[4] == "own" else None
    if signed is None:
        made = [c for c in challenge.fields("Proxy-Authenticate" if challenge.status == 407 else
                                            "WWW-Authenticate")]
        assert made and 'realm="elsewhere.example"' in made[0]
        return
    if method == "INVITE":
        call, into, response = talk(world, phone, signed, method, "ACCEPTED", cell)
        assert response.status == 200, cell
        into.bye()
        call.expect_bye()
        return
    response = play(world, phone, signed, method, "ACCEPTED", cell)
    assert response.status == 200, (cell, str(response))


@pytest.mark.lab(proxy_sections=LISTENERS)
def test_F46_every_cell_inside_a_dialog(world):
    """What was admitted goes on, on its connection without further ado; on another one it has to
    show again what admitted it. What was not admitted has no dialog to be in."""
    for cell in CELLS:
        wanted = expected(*cell)
        if wanted == "ALERT":
            continue
        phone = world.phone(cell)
        with world.connect(phone, cell):
            invite = make(world, phone, "INVITE")
            if wanted == "CHALLENGED" and cell[4] == "own":
                first = phone.exchange(invite)
                acknowledge(phone, invite, first)
                invite = login(first, world.user, PASSWORD).sign(invite)
            elif wanted not in ("ACCEPTED", "STRANGER"):
                info = make(world, phone, "INFO")
                info.set("To", f"{info.get('To')};tag=invented")
                response = phone.exchange(info)
                if wanted == "CHALLENGED":
                    assert response.status == 407, cell
                else:
                    assert_refused(response, wanted, cell)
                continue
            call, into, _ = talk(world, phone, invite, "INVITE", wanted, cell)
            pass_on(world, phone, call, "INFO")
            into.send("INFO")
            phone.reply(phone.expect("INFO", call_id=call.call_id), 200)
            world.connect(phone, cell)
            inside = call.make_request("INFO")
            if wanted == "ACCEPTED":
                pass_on(world, phone, call, "INFO", inside)
            elif wanted == "CHALLENGED":
                response = phone.exchange(inside)
                assert response.status == 407, (cell, str(response))
                signed = login(response, world.user, PASSWORD).sign(inside)
                pass_on(world, phone, call, "INFO", signed)
                call.cseq += 1
                pass_on(world, phone, call, "INFO")
            elif cell[3] == "none":  # a stranger without a certificate is his connection
                response = phone.exchange(inside)
                assert response.status == (403 if cell[0] == "off" else 407), cell
            else:  # his device is there, but From was never its own
                pass_on(world, phone, call, "INFO", inside)


def pass_on(world, phone, call, method, request=None):
    request = phone.send(request or call.make_request(method))
    got = world.callee.expect(method, call_id=call.call_id)
    assert "Authorization" not in str(got)
    world.callee.reply(got, 200)
    response = phone.response(request)
    assert response.status == 200, str(response)


@pytest.mark.lab(proxy_sections=LISTENERS)
def test_F46_where_a_certificate_is_required_none_is_no_handshake(world):
    for cell in CELLS:
        if expected(*cell) != "ALERT" or cell[4] == "other":
            continue
        phone = world.phone(cell)
        try:
            with world.connect(phone, cell):
                assert "CERTIFICATE_REQUIRED" in phone.expect_closed().upper(), cell
        except ssl.SSLError:
            pass
