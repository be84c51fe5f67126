# SPDX-License-Identifier: Apache-2.0
"""F46: passwords. What an answer to a challenge is worth, when it ends, what it gives; the matrix is
in test_digest_matrix.py."""
import signal

import pytest

from tests.system.lib import Call, Phone, ready_phone, resp, sql, unique, wait_until
from tests.system.lib.digest import (
    Login, acknowledge, challenges, exchange, login, set_password,
)

PASSWORD = "correct horse"
LISTENERS = {
    "listener open": {
        "client_certificate": "ignored", "trust_stores": None, "digest": "fallback",
    },
    "listener office": {
        "client_certificate": "ignored", "trust_stores": None, "digest": "fallback",
        "realm": "The Office, 2nd floor", "digest_algorithms": ["MD5"],
    },
    "listener mixed": {"client_certificate": "optional", "digest": "fallback"},
    "listener both": {"client_certificate": "optional", "digest": "always"},
}
pytestmark = pytest.mark.lab(proxy_sections=LISTENERS)


class User(Phone):
    """A phone without certificate, of a user with a password."""

    def __init__(self, lab, listener="open", password=PASSWORD, **options):
        super().__init__(lab, certified=False, **options)
        self.password = password
        self.listener = listener
        self.login = None
        if password:
            set_password(lab, self.identity, password)

    def connect(self, listener=None, **options):
        self.login = None
        return super().connect(listener=listener or self.listener, **options)

    def get(self, request, **options):
        """Its response, with the password when it is asked for."""
        made, signed, response = exchange(self, request, self.password, **options)
        self.login = made
        return response

    def register(self, expect=200, **options):
        response = self.get(self.make_register(**options))
        assert response.status == expect, str(response)
        self.register_cseq += 1  # the answered one has the next
        return response


def warning(response):
    return response.get("Warning") or ""


def assert_challenged(response, reason, stale=False):
    assert response.status in (401, 407) and reason in warning(response), str(response)
    assert [c.get("stale") for c in challenges(response)] == ["true" if stale else None] * 2


@pytest.mark.tsan
@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_F46_a_password_is_proved_by_either_hash_and_qop(fresh_lab, algorithm, qop):
    callee = ready_phone(fresh_lab)
    with callee, User(fresh_lab).connect() as user:
        request = user.request("MESSAGE", callee.aor, body="hello")
        first = user.exchange(request)
        assert_challenged(first, "credentials-required")
        signed = login(first, user.user, PASSWORD, algorithm).sign(request, qop=qop)
        user.send(signed)
        got = callee.expect("MESSAGE")
        assert "Authorization" not in str(got), "an answer is for us alone"
        callee.reply(got, 200)
        assert user.response(signed).status == 200
        # With auth-int the body is part of it.
        again = login(first, user.user, PASSWORD, algorithm)
        again.nc = 1
        other = again.sign(request, qop=qop)
        other.body = b"jello"
        if qop == "auth-int":
            assert_challenged(user.exchange(other), "credentials-wrong")


def test_F46_what_is_not_the_answer_is_wrong(fresh_lab):
    with User(fresh_lab).connect() as user, ready_phone(fresh_lab) as callee:
        request = user.request("MESSAGE", callee.aor, body="hello")
        first = user.exchange(request)
        made = login(first, user.user, PASSWORD)
        for changed in (
            {"response": '"' + "0" * 64 + '"'},
            {"username": f'"{user.user}x"'},
            {"nc_text": "00000099"},
            {"cnonce": '"other"'},
        ):
            assert_challenged(user.exchange(made.sign(request, **changed)), "credentials-wrong")
        assert_challenged(
            user.exchange(Login(made.challenge, user.user, "guess").sign(request, nc=40)),
            "credentials-wrong",
        )
        # What can't be read, or is for another realm or algorithm, is not there.
        for changed in (
            {"nonce": None}, {"response": '"00"'}, {"cnonce": None}, {"userhash": "true"},
            {"realm": '"elsewhere"'}, {"algorithm": "SHA-512-256"}, {"algorithm": "MD5"},
        ):
            assert_challenged(user.exchange(made.sign(request, **changed)), "credentials-required")
        other = made.sign(request)
        other.start = "MESSAGE sip:other@example.org SIP/2.0"
        response = user.exchange(other)
        assert response.status == 400 and "malformed" in warning(response)
        assert not callee.seen("MESSAGE")


def test_T18_an_answer_counts_once_on_its_connection_for_its_time(fresh_lab):
    with User(fresh_lab).connect() as user, ready_phone(fresh_lab) as callee:
        request = user.request("OPTIONS", f"sip:{user.domain}")
        first = user.exchange(request)
        made = login(first, user.user, PASSWORD)
        assert user.exchange(made.sign(request)).status == 200
        assert user.exchange(made.sign(request)).status == 200
        # The same count again, then one of before, then further on.
        assert_challenged(user.exchange(made.sign(request, nc=2)), "credentials-replayed", True)
        assert_challenged(user.exchange(made.sign(request, nc=1)), "credentials-replayed", True)
        assert user.exchange(made.sign(request, nc=9)).status == 200
        assert user.exchange(made.sign(request, nc=8)).status == 200
        # Another connection, and a forged one.
        user.connect()
        assert_challenged(user.exchange(made.sign(request, nc=10)), "credentials-stale", True)
        forged = Login(made.challenge, user.user, PASSWORD, nonce=made.challenge["nonce"][::-1])
        forged.for_server = True
        assert_challenged(user.exchange(forged.sign(request)), "credentials-stale", True)
        assert not callee.seen("OPTIONS")


@pytest.mark.lab(proxy_conf={"digest_nonce_lifetime": 1000}, proxy_sections=LISTENERS)
def test_T18_a_challenge_ends_with_its_lifetime(fresh_lab):
    with User(fresh_lab).connect() as user:
        request = user.request("OPTIONS", f"sip:{user.domain}")
        made = login(user.exchange(request), user.user, PASSWORD)
        assert user.exchange(made.sign(request)).status == 200

        def is_over():
            response = user.exchange(made.sign(request))
            if response.status == 200:
                return False
            assert_challenged(response, "credentials-stale", True)
            return True

        wait_until(is_over)


def test_F46_a_realm_of_the_listener_and_one_algorithm(fresh_lab):
    user = User(fresh_lab, "office", password=None)
    set_password(fresh_lab, user.identity, "own", None)
    set_password(fresh_lab, user.identity, "desk", "The Office, 2nd floor", "Ann B")
    with user.connect():
        request = user.request("OPTIONS", f"sip:{user.domain}")
        first = user.exchange(request)
        assert [(c["realm"], c["algorithm"]) for c in challenges(first)] == [
            ("The Office, 2nd floor", "MD5")
        ]
        right = login(first, "Ann B", "desk", "MD5").sign(request)
        assert user.exchange(right).status == 200
        made = login(user.exchange(request), user.user, "own", "MD5")
        wrong = user.exchange(made.sign(request))
        assert wrong.status == 401 and "credentials-wrong" in warning(wrong)


def test_T01_a_right_password_gives_nobody_else_s_From_or_To(fresh_lab):
    lab = fresh_lab
    victim, callee = User(lab), ready_phone(lab)
    with callee, User(lab).connect() as user:
        for username in (user.user, user.identity):
            request = user.request(
                "MESSAGE", callee.aor, body="x", from_=f"<{victim.aor}>"
            )
            if username != user.user:
                set_password(lab, user.identity, PASSWORD, None, username)
                wait_until(
                    lambda: f"username={user.user} " not in resp(lab, "CREDENTIAL", user.identity)[3]
                )
                user.connect()  # another password: the old connection ends
            _, _, response = exchange(user, request, PASSWORD, username)
            assert response.status == 403 and "from-not-permitted" in warning(response)
        set_password(lab, user.identity, PASSWORD)
        wait_until(lambda: f"username={user.user} " in resp(lab, "CREDENTIAL", user.identity)[3])
        user.connect()
        _, _, response = exchange(user, user.make_register(to=f"<{victim.aor}>"), PASSWORD)
        assert response.status == 403 and "to-not-permitted" in warning(response)
        assert resp(lab, "LOCATE", victim.identity)[3:] == []
        assert not callee.seen("MESSAGE")


def test_F46_a_phone_without_certificate_registers_calls_and_is_called(fresh_lab):
    lab = fresh_lab
    with User(lab).connect() as one, User(lab).connect() as two:
        one.register()
        two.register()
        binding = resp(lab, "LOCATE", one.identity)[3]
        assert f"device=digest:{one.identity}" in binding
        assert " ground=digest " in binding and f" entry={one.identity} " in binding
        invite = one.request("INVITE", two.aor, body="v=0\r\n")
        first = one.exchange(invite)
        acknowledge(one, invite, first)
        signed = login(first, one.user, PASSWORD).sign(invite)
        one.send(signed)
        into = two.expect_call()
        assert into.invite.from_uri == one.aor
        assert into.invite.get("P-Asserted-Identity") == f"<{one.aor}>"
        call = Call(one, signed, outgoing=True)
        into.reply(180)
        call.expect(180)
        into.reply(200)
        assert call.answer().status == 200
        into.expect_ack()
        # The callee's side, which proved its password at its REGISTER.
        bye = into.bye()
        call.expect_bye()
        assert two.response(bye).status == 200


def test_F41_a_user_with_a_password_registers_for_another_by_his_right(fresh_lab):
    """The credentials are those of From's user (RFC 3261 22.1), and of nobody else."""
    lab, caller = fresh_lab, ready_phone(fresh_lab)
    guest = User(lab)
    with caller, User(lab).connect() as desk:
        for_guest = dict(to=f"<{guest.aor}>", call_id="for-guest")
        assert desk.get(desk.make_register(**for_guest)).status == 403
        sql(
            lab,
            "INSERT INTO rights_rule (position, who_kind, who, methods, target_kind, effect)"
            " VALUES (50, 'user', %s, '{REGISTER}', 'ours', 'allow')",
            desk.identity,
        )
        wait_until(lambda: any("REGISTER" in r for r in resp(lab, "RIGHTS", desk.identity)[4:]))
        request = desk.make_register(**for_guest)
        _, _, response = exchange(desk, request, PASSWORD, guest.user)
        assert response.status == 403 and "from-not-permitted" in warning(response)
        desk.register(**for_guest)
        binding = resp(lab, "LOCATE", guest.identity)[3]
        assert f"device=digest:{desk.identity} " in binding and " ground=digest " in binding
        assert f" entry={desk.identity} " in binding and f" registered_by={desk.identity} " in binding
        out = caller.invite(guest.aor)
        into = desk.expect_call()
        into.reply(200)
        assert out.answer().status == 200
        into.expect_ack()
        bye = into.bye()
        out.expect_bye()
        assert desk.response(bye).status == 200
        sql(lab, "DELETE FROM credential WHERE identity = %s", guest.identity)
        wait_until(lambda: len(resp(lab, "CREDENTIAL", guest.identity)) == 3)
        assert len(resp(lab, "LOCATE", guest.identity)[3:]) == 1
        sql(lab, "DELETE FROM credential WHERE identity = %s", desk.identity)
        wait_until(lambda: resp(lab, "LOCATE", guest.identity)[3:] == [])
        assert caller.message(guest.aor).status == 480


def test_F46_several_users_share_one_connection(fresh_lab):
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    with callee, User(lab).connect() as one:
        two = User(lab)
        two.streams, two.inbox = one.streams, one.inbox
        one.register()
        two.register()
        for user in (one, two):
            callee.send(callee.request("MESSAGE", user.aor, body="hello"))
            got = one.expect("MESSAGE")
            assert got.uri.startswith(f"sip:{user.user}@")
            one.reply(got, 200)
            assert callee.expect(200)
        # One of the passwords goes: that user alone is gone.
        sql(lab, "DELETE FROM credential WHERE identity = %s", two.identity)
        wait_until(lambda: resp(lab, "LOCATE", two.identity)[3:] == [])
        assert callee.message(two.aor).status == 480
        assert one.get(one.request("OPTIONS", f"sip:{one.domain}")).status == 200


@pytest.mark.parametrize("change", ["gone", "another"])
def test_F46_a_password_that_changes_ends_what_stands_on_it(fresh_lab, change):
    """An idle connection, a registration, a ringing call, and a call."""
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    with callee, User(lab).connect() as user:
        user.register()
        invite = user.request("INVITE", callee.aor, body="v=0\r\n")
        first = user.exchange(invite)
        acknowledge(user, invite, first)
        signed = login(first, user.user, PASSWORD).sign(invite)
        user.send(signed)
        rings = callee.expect_call()
        rings.reply(180)
        user.expect(180)
        if change == "gone":
            sql(lab, "DELETE FROM credential WHERE identity = %s", user.identity)
        else:
            sql(lab, "SELECT set_credential(%s, NULL, 'another')", user.identity)
        cancel = callee.expect("CANCEL")
        callee.reply(cancel, 200)
        rings.reply(487)
        refused = user.response(signed)
        assert refused.status == 403 and "permission-lost" in warning(refused)
        user.expect_closed()
        wait_until(lambda: resp(lab, "LOCATE", user.identity)[3:] == [])
        user.connect()
        response = user.get(user.make_register())
        assert_challenged(response, "credentials-wrong")


def test_F46_with_both_a_stolen_certificate_or_a_password_alone_is_nothing(fresh_lab):
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    mallory = User(lab)
    phone = Phone(lab).provision()
    set_password(lab, phone.identity, PASSWORD)
    with callee, phone.connect(listener="both"):
        # His own password does not help whoever has the certificate; nor does it later in a dialog.
        request = phone.request("MESSAGE", callee.aor, body="x")
        _, _, response = exchange(phone, request, mallory.password, mallory.user)
        assert response.status == 403 and "from-not-permitted" in warning(response)
        invite = phone.request("INVITE", callee.aor, body="v=0\r\n")
        first = phone.exchange(invite)
        acknowledge(phone, invite, first)
        signed = login(first, phone.user, PASSWORD).sign(invite)
        phone.send(signed)
        into, call = callee.expect_call(), Call(phone, signed, outgoing=True)
        into.reply(200)
        assert call.answer().status == 200
        into.expect_ack()
        phone.connect(listener="both")
        inside = phone.exchange(call.make_request("INFO"))
        assert_challenged(inside, "credentials-required")


def test_T03_ACK_and_CANCEL_are_never_challenged(fresh_lab):
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    with callee, User(lab).connect() as user:
        invite = user.request("INVITE", callee.aor, body="v=0\r\n")
        first = user.exchange(invite)
        acknowledge(user, invite, first)
        signed = login(first, user.user, PASSWORD).sign(invite)
        user.send(signed)
        call, rings = Call(user, signed, outgoing=True), callee.expect_call()
        rings.reply(180)
        call.expect(180)
        assert call.cancel().status == 200
        callee.reply(callee.expect("CANCEL"), 200)
        rings.reply(487)
        assert call.answer().status == 487
        # An ACK out of the blue gets nothing at all, and a CANCEL finds nothing.
        user.send(user.request("ACK", callee.aor))
        stray = user.request("CANCEL", callee.aor)
        assert user.exchange(stray).status == 481
        assert user.get(user.request("OPTIONS", f"sip:{user.domain}")).status == 200
        assert not user.seen(407) and not callee.seen("ACK")[1:]


@pytest.mark.lab(
    proxy_sections=LISTENERS, workers=1,
    proxy_conf={"digest_failures": 3, "digest_failures_per_minute": 1},
)
def test_T31_guessing_is_braked_for_its_user_and_address(fresh_lab):
    lab = fresh_lab
    victim, other = User(lab), User(lab)
    with victim.connect(), other.connect():
        request = victim.request("OPTIONS", f"sip:{victim.domain}")
        for _ in range(3):
            _, _, response = exchange(victim, request, "guess")
            assert_challenged(response, "credentials-wrong")
        # From now on right or wrong is not told any more, on another connection either.
        for password in ("guess", PASSWORD):
            victim.connect()
            _, _, response = exchange(victim, request, password)
            assert response.status == 403 and "credentials-braked" in warning(response)
        assert other.get(other.request("OPTIONS", f"sip:{other.domain}")).status == 200
    info = resp(lab, "INFO", program="proxy")
    assert "reason.credentials-braked:2\r\n" in info and "reason.credentials-wrong:3\r\n" in info


def test_T36_without_mapperd_nobody_is_let_in(fresh_lab):
    lab = fresh_lab
    with User(lab).connect() as user:
        request = user.request("OPTIONS", f"sip:{user.domain}")
        made = login(user.exchange(request), user.user, PASSWORD)
        assert user.exchange(made.sign(request)).status == 200
        lab.processes["mapperd"].send(signal.SIGSTOP)
        try:
            response = user.exchange(made.sign(request))
            while response.status == 200:  # for 2 s what was known may still be used
                response = user.exchange(made.sign(request))
            assert response.status == 503 and response.get("Retry-After")
        finally:
            lab.processes["mapperd"].send(signal.SIGCONT)
        wait_until(lambda: user.get(request).status == 200)


@pytest.mark.lab(
    proxy_sections=LISTENERS,
    mapperd_conf={"credential_uids": "65533", "name": "m-digest-permission"},
)
def test_F46_no_log_has_a_hash_or_an_answer(fresh_lab):
    """root may ask all the same; what is logged at debug is no secret."""
    lab = fresh_lab
    with User(lab).connect() as user:
        user.register()
        hashes = [f for f in resp(lab, "CREDENTIAL", user.identity)[3].split(" ")]
        text = lab.log_of("proxy").read_text() + lab.log_of("mapperd").read_text()
        for secret in (
            *(f.split("=")[1] for f in hashes if f.startswith(("sha256=", "md5="))), PASSWORD,
        ):
            assert secret not in text
        assert f'password_of="{user.identity}"' in text
        assert "effect=challenge reason=credentials-required" in text


def test_F46_a_shared_phone_registers_a_user_by_password(fresh_lab):
    """Its certificate is another's: the binding stands on the password and goes to this phone."""
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    phone, guest = Phone(lab).provision(), unique()
    set_password(lab, f"{guest}@{lab.domain}", PASSWORD)
    with callee, phone.connect(listener="mixed"):
        assert phone.register().status == 200
        phone.user, kept = guest, phone.user
        request = phone.make_register()
        _, _, response = exchange(phone, request, PASSWORD, guest)
        assert response.status == 200
        binding = resp(lab, "LOCATE", f"{guest}@{lab.domain}")[3]
        assert " ground=digest " in binding and f"device=device:{phone.cn}" in binding
        callee.send(callee.request("MESSAGE", f"sip:{guest}@{lab.domain}", body="hello"))
        got = phone.expect("MESSAGE")
        phone.reply(got, 200)
        assert callee.expect(200)
        sql(lab, "DELETE FROM credential WHERE identity = %s", f"{guest}@{lab.domain}")
        wait_until(lambda: resp(lab, "LOCATE", f"{guest}@{lab.domain}")[3:] == [])
        phone.user = kept
        assert phone.options().status == 200, "the phone itself stays what it was"


def test_F45_a_rule_asks_for_the_password_besides_the_certificate(fresh_lab):
    lab, callee = fresh_lab, ready_phone(fresh_lab)
    phone = Phone(lab).provision()
    set_password(lab, phone.identity, PASSWORD)
    sql(
        lab,
        "INSERT INTO rights_rule (position, who_kind, who, methods, effect)"
        " VALUES (10, 'user', %s, '{MESSAGE}', 'challenge')",
        phone.identity,
    )
    wait_until(lambda: " challenge " in str(resp(lab, "RIGHTS", phone.identity)))
    with callee, phone.connect(listener="mixed"):
        request = phone.request("MESSAGE", callee.aor, body="hello")
        first = phone.exchange(request)
        assert_challenged(first, "credentials-required")
        _, _, wrong = exchange(phone, request, "guess")
        assert_challenged(wrong, "credentials-wrong")
        signed = login(first, phone.user, PASSWORD).sign(request)
        phone.send(signed)
        callee.reply(callee.expect("MESSAGE"), 200)
        assert phone.response(signed).status == 200
        assert phone.options().status == 200, "nothing else needs it"
        sql(lab, "UPDATE rights_rule SET methods = '{INVITE}' WHERE who = %s", phone.identity)
        refer = phone.request("REFER", callee.aor, Refer_To=f"<{callee.aor}>")
        wait_until(lambda: " INVITE " in str(resp(lab, "RIGHTS", phone.identity)))
        wait_until(lambda: phone.exchange(phone.request("MESSAGE", f"sip:nobody@{lab.domain}")).status == 404)
        first = phone.exchange(refer)
        assert_challenged(first, "credentials-required")
        signed = login(first, phone.user, PASSWORD).sign(refer)
        phone.send(signed)
        callee.reply(callee.expect("REFER"), 202)
        assert phone.response(signed).status == 202, "to have others called needs what a call needs"
        sql(lab, "UPDATE rights_rule SET methods = '{MESSAGE}' WHERE who = %s", phone.identity)
        wait_until(lambda: " MESSAGE " in str(resp(lab, "RIGHTS", phone.identity)))
        wait_until(lambda: phone.exchange(phone.request("MESSAGE", callee.aor)).status == 407)
        phone.connect(listener="tls")  # which takes no passwords
        denied = phone.exchange(phone.request("MESSAGE", callee.aor, body="x"))
        assert denied.status == 403 and "rule-denies" in warning(denied)
