# SPDX-License-Identifier: Apache-2.0
"""blocked_certificate: SQL cuts a certificate off, or an authority's with all that it has certified, at
once and whatever else speaks for it; without the row it works again (F11)."""
import hashlib
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.lab import certificates
from tests.lab.resp import Resp
from tests.system.lib import Phone, cn_of, mapctl, mapctl_json, ready_phone, resp, sql, unique, wait_until
from tests.system.test_foreign_callers import reaches
from tests.system.test_mapctl_check_proxy import check
from tests.system.test_tls_certificates import signed, write_chain
from tests.system.test_trusted_peer import gateway, trusting


def sha256(pem):
    return x509.load_pem_x509_certificate(pem.read_bytes()).fingerprint(hashes.SHA256()).hex()


def block(lab, fingerprint, store="device"):
    sql(lab, "INSERT INTO blocked_certificate (trust_store, sha256) VALUES (%s, %s)", store, fingerprint)


def unblock(lab, fingerprint):
    sql(lab, "DELETE FROM blocked_certificate WHERE sha256 = %s", fingerprint)


def is_blocked(lab, fingerprint, cn="", store="device"):
    return resp(lab, "PEER", store, cn, fingerprint)[2] == "blocked"


def warning(response):
    return response.status, "certificate-blocked" in (response.get("Warning") or "")


def again(phone):
    """The same device with the same certificate, on a new connection."""
    return Phone(phone.lab, cn=phone.cn, store=phone.store, user=phone.user, pem=phone.pem).connect()


def test_F11_peer_says_blocked_for_any_certificate_of_the_chain_in_that_store(lab):
    cn, user = cn_of(), f"{unique()}@example.org"
    leaf, authority, other = (hashlib.sha256(unique().encode()).hexdigest() for _ in range(3))
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2:] == ["known", cn, user])
    with Resp(lab.mapperd_socket) as client:
        client.command("SUBSCRIBE", "changed")
        block(lab, authority.upper())
        while f" certificate device {authority}" not in client.receive()[2]:
            pass
    assert resp(lab, "PEER", "device", cn, leaf, authority)[2:] == ["blocked", cn]
    assert resp(lab, "PEER", "device", cn, authority)[2:] == ["blocked", cn]
    assert resp(lab, "PEER", "device", cn, leaf, other)[2:] == ["known", cn, user]
    assert resp(lab, "PEER", "device", cn)[2:] == ["known", cn, user]
    assert resp(lab, "PEER", "corp", "x", authority)[2] == "unknown", "the block is in another store"
    for bad in ("", authority[:63], authority + "0", authority.upper(), "g" * 64):
        with Resp(lab.mapperd_socket) as client:
            with pytest.raises(Exception, match="ERR"):
                client.command("PEER", "device", cn, bad)
    unblock(lab, authority)
    wait_until(lambda: resp(lab, "PEER", "device", cn, leaf, authority)[2:] == ["known", cn, user])


@pytest.mark.lab(mapperd_conf={"name": "m-blocked"})
def test_F11_blocked_certificates_survive_a_restart_and_a_fill_and_are_compared(fresh_lab):
    lab, first, second = fresh_lab, "1" * 64, "2" * 64
    block(lab, first)
    wait_until(lambda: is_blocked(lab, first))
    lab.restart_program("mapperd")
    wait_until(lambda: is_blocked(lab, first))
    with Resp(lab.mapperd_socket) as client:
        fills = client.info()["fills"]
    sql(lab, "TRUNCATE blocked_certificate")
    block(lab, second, "corp")

    def filled():
        with Resp(lab.mapperd_socket) as client:
            return client.info()["fills"] > fills

    wait_until(filled)
    wait_until(lambda: is_blocked(lab, second, store="corp") and not is_blocked(lab, first))
    # Behind every trigger: found by comparison alone.
    sql(lab, "SET session_replication_role = replica; ALTER TABLE blocked_certificate DISABLE TRIGGER log_replicated;"
        f" INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', '{first}')")
    wait_until(lambda: is_blocked(lab, first), timeout=60)


@pytest.mark.tsan
def test_F11_a_blocked_certificate_is_cut_off_at_once_and_works_again_without_its_row(lab):
    good, bad = ready_phone(lab), ready_phone(lab)
    fingerprint = sha256(bad.pem)
    with good, bad:
        block(lab, ":".join(fingerprint[i : i + 2] for i in range(0, 64, 2)).upper())
        assert bad.expect_closed()
        assert good.options().status == 200
    with again(bad) as refused:  # TLS has nothing against it: it is told why
        assert warning(refused.register(expect=403)) == (403, True)
        assert warning(refused.exchange(refused.request("MESSAGE", good.aor))) == (403, True)
    assert "reason=certificate-blocked" in lab.log_of("proxy").read_text()
    unblock(lab, fingerprint)
    wait_until(lambda: not is_blocked(lab, fingerprint, bad.cn))
    with again(bad) as back:
        back.register()


@pytest.mark.lab(mapperd_conf={"name": "m-blocked-restarts"})
def test_F11_a_blocked_certificate_stays_blocked_when_mapperd_and_proxy_start_anew(fresh_lab):
    lab = fresh_lab
    phone = ready_phone(lab)
    with phone:
        block(lab, sha256(phone.pem))
        assert phone.expect_closed()
    for program in ("mapperd", "proxy"):
        lab.restart_program(program)
        with again(phone) as refused:
            assert warning(refused.register(expect=403)) == (403, True)


def test_F11_a_call_that_rings_ends_when_the_callers_certificate_is_blocked(lab):
    caller, callee = ready_phone(lab), ready_phone(lab)
    with caller, callee:
        caller.invite(callee.aor)
        ringing = callee.expect_call()
        ringing.reply(180)
        caller.expect(180)
        block(lab, sha256(caller.pem))
        assert callee.expect("CANCEL")
        assert caller.expect_closed()


def test_F11_a_blocked_certificate_cuts_the_names_in_it(lab):
    user = unique()
    phone = Phone(lab, store="corp", cn=unique("host"), user=user, san=[f"sip:{user}@example.org"])
    fingerprint = sha256(phone.pem)
    with phone.connect():
        phone.register()
        block(lab, fingerprint, "corp")
        assert phone.expect_closed()
    with again(phone) as refused:
        assert warning(refused.register(expect=403)) == (403, True)
    unblock(lab, fingerprint)


def test_F11_F13_a_trusted_peer_is_cut_off_like_anyone(make_lab):
    lab = make_lab(mapperd_conf={"name": "m-blocked-trusted"})
    lab.extra["proxy"] += trusting(gw={"trust_store": "corp", "cn": "Gateway 1"})
    lab.restart_program("proxy")
    alice, peer = ready_phone(lab), gateway(lab)
    assert reaches(peer, alice, from_="<sip:carol@far.example>")[0] == 200
    block(lab, sha256(peer.pem), "corp")
    assert peer.expect_closed()
    status, why = reaches(gateway(lab), alice, from_="<sip:carol@far.example>")
    assert status == 403 and "certificate-blocked:" in why


@pytest.mark.parametrize("which", ["issuing", "root"])
def test_F11_a_blocked_authority_cuts_all_that_it_has_certified(make_lab, which):
    lab = make_lab(mapperd_conf={"name": f"m-blocked-{which}"})
    key, issuing_key, cn = certificates.new_key(), certificates.new_key(), cn_of()
    issuing = signed(lab, issuing_key, unique("CA"), lab.ca.certificate.subject, lab.ca.key, ca=True)
    leaf = signed(lab, key, cn, issuing.subject, issuing_key, ca=False)
    below = ready_phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing))
    beside = ready_phone(lab)
    authority = issuing if which == "issuing" else lab.ca.certificate
    with below, beside:
        block(lab, authority.fingerprint(hashes.SHA256()).hex())
        assert below.expect_closed()
        if which == "issuing":
            assert beside.options().status == 200
        else:
            assert beside.expect_closed()
    with again(below) as refused:
        assert warning(refused.register(expect=403)) == (403, True)


def block_named(lab, issuer, serial, store="device"):
    """By the words of a log line."""
    sql(
        lab,
        "INSERT INTO blocked_certificate (trust_store, issuer, serial) VALUES (%s, %s, %s)",
        *(store, issuer, serial),
    )


def denied(phone, other):
    """Issuer and serial number of the phone's certificate, as they stand in the line of a denial."""
    call_id = unique()
    request = phone.request("MESSAGE", other.aor, from_=f"<sip:{other.identity}>", call_id=call_id)
    assert phone.exchange(request).status == 403
    line = re.compile(r"event=decision effect=deny .* (certificate_serial=\S+) (issuer=\"(?:[^\"\\]|\\.)*\") .*" + call_id)

    def found():
        return line.search(phone.lab.log_of("proxy").read_text())

    wait_until(found)
    return found().group(2), found().group(1)


@pytest.mark.tsan
def test_F11_a_certificate_is_blocked_by_issuer_and_serial_number_as_a_log_line_has_them(lab):
    good, bad = ready_phone(lab), ready_phone(lab)
    with good, bad:
        issuer, serial = denied(bad, good)
        block_named(lab, issuer, serial)
        assert bad.expect_closed()
        assert good.options().status == 200, "of the same authority"
    with again(bad) as refused:
        assert warning(refused.register(expect=403)) == (403, True)
    serial = serial.partition("=")[2]
    sql(lab, "DELETE FROM blocked_certificate WHERE serial = certificate_serial(%s)", serial)
    wait_until(lambda: admitted(bad))


def admitted(phone):
    with again(phone) as back:
        return back.exchange(back.request("REGISTER", f"sip:{phone.lab.domain}", to=phone.aor)).status == 200


def test_F11_an_authority_with_a_name_that_must_be_escaped_is_blocked_by_it(make_lab):
    lab = make_lab(mapperd_conf={"name": "m-blocked-escaped"})
    subject = 'Acme, "Ünit" + \\ #' + unique()
    keys = [certificates.new_key() for _ in range(3)]
    issuing = signed(lab, keys[0], subject, lab.ca.certificate.subject, lab.ca.key, ca=True)
    cns = [cn_of() for _ in range(2)]
    leaves = [signed(lab, k, cn, issuing.subject, keys[0], ca=False) for k, cn in zip(keys[1:], cns)]
    first, second = (
        ready_phone(lab, cn=cn, pem=write_chain(lab, key, leaf, issuing))
        for cn, key, leaf in zip(cns, keys[1:], leaves)
    )
    beside = ready_phone(lab)
    with first, second, beside:
        issuer, serial = denied(first, beside)
        assert "\\\\" in issuer, "the log doubles what OpenSSL escapes with"
        block_named(lab, issuer, serial)
        assert first.expect_closed()
        assert second.options().status == 200
        # As OpenSSL prints it, of the authority above.
        block_named(lab, *openssl_names(write_chain(lab, keys[0], issuing)))
        assert second.expect_closed()
        assert beside.options().status == 200
    with again(second) as refused:
        assert warning(refused.register(expect=403)) == (403, True)


def openssl_names(pem):
    return subprocess.run(
        ["openssl", "x509", "-noout", "-issuer", "-serial", "-nameopt", "RFC2253", "-in", pem],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()


@pytest.mark.lab(mapperd_conf={"name": "m-blocked-check"})
def test_F48_check_says_that_a_certificate_is_blocked_by_issuer_and_serial_number(fresh_lab):
    lab = fresh_lab
    phone = ready_phone(lab)
    block_named(lab, *openssl_names(phone.pem))
    assert phone.expect_closed()
    asked = (phone.identity, "OPTIONS", phone.identity)
    status, out = check(lab, phone, "tls", *asked)[:2]
    assert status == 1 and "reason: certificate-blocked" in out and "not looked at" not in out
    assert check(lab, phone, "tls", *asked, run=mapctl_json)[1]["not_looked_at"] == []
    # Who does not show it is told that nobody has looked.
    configured = ["--proxy-config", str(lab.path("proxy.conf")), "--listener", "tls"]
    for words in (configured, []):
        status, out, _ = mapctl(lab, "check", *words, "device", phone.cn, *asked)
        assert status == 0 and "\nnot looked at: blocked_certificate: " in out
