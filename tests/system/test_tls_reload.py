# SPDX-License-Identifier: Apache-2.0
"""SIGHUP and RELOAD: what may change live does; connections that stand go on if they would still be
let in; a bad file changes nothing."""
import signal

import pytest

from tests.lab import certificates
from tests.lab.resp import RespError
from tests.system.lib import Phone, ready_phone, resp, wait_until


def log_of(lab):
    return lab.log_of("proxy").read_text()


def is_accepted(phone):
    """Whether the phone gets through the handshake and is answered."""
    try:
        with phone:
            return phone.connect().options().status == 200
    except (OSError, AssertionError):
        return False


def replace_in(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.tsan
def test_a_trust_store_is_exchanged_while_phones_are_connected(fresh_lab):
    """The file of store device gets another authority: its phones come in; what the old authority
    signed is refused from then on, and what was open by it ends."""
    old = ready_phone(fresh_lab)
    same = Phone(fresh_lab, cn=old.cn, user=old.user)
    other = certificates.Authority(
        fresh_lab.path("other.pem"), fresh_lab.path("other.key"), "Other authority"
    )
    pem = other.write_pair(fresh_lab.path("other-phone.pem"), old.cn)
    new = Phone(fresh_lab, cn=old.cn, user=old.user, pem=pem)
    assert is_accepted(same) and not is_accepted(new)
    replace_in(
        fresh_lab.path("proxy.conf"), str(fresh_lab.path("ca.pem")), str(other.certificate_path)
    )
    assert resp(fresh_lab, "RELOAD", program="proxy") == "OK"
    wait_until(lambda: is_accepted(new), what="the new authority's phone is accepted")
    assert not is_accepted(same)
    with old:
        old.expect_closed()
    assert "event=trust-withdrawn" in log_of(fresh_lab)


def test_what_gets_looser_or_does_not_concern_a_connection_leaves_it_open(fresh_lab):
    lab = fresh_lab
    other = certificates.Authority(lab.path("other.pem"), lab.path("other.key"), "Other authority")
    both = lab.path("ca.pem").read_bytes() + other.certificate_path.read_bytes()
    with ready_phone(lab) as phone:
        certificates.write_private(lab.path("both.pem"), both)
        replace_in(lab.path("proxy.conf"), str(lab.path("ca.pem")), str(lab.path("both.pem")))
        replace_in(lab.path("proxy.conf"), "{\"device\", \"corp\"}", "{\"device\"}")
        assert resp(lab, "RELOAD", program="proxy") == "OK"
        pem = other.write_pair(lab.path("other-phone.pem"), phone.cn)
        wait_until(lambda: is_accepted(Phone(lab, cn=phone.cn, user=phone.user, pem=pem)))
        assert phone.options().status == 200 and not phone.stream.closed


def test_a_bad_file_changes_nothing_and_is_named(fresh_lab):
    with ready_phone(fresh_lab) as phone:
        path = fresh_lab.path("proxy.conf")
        good = path.read_text()
        path.write_text(good + "\nworkers = many\n")
        with pytest.raises(RespError):
            resp(fresh_lab, "RELOAD", program="proxy")
        assert "reload-failed" in log_of(fresh_lab) and "proxy.conf:" in log_of(fresh_lab)
        path.write_text(good.replace(str(fresh_lab.path("ca.pem")), "/nonexistent.pem"))
        with pytest.raises(RespError):
            resp(fresh_lab, "RELOAD", program="proxy")
        assert "/nonexistent.pem" in log_of(fresh_lab)
        assert phone.options().status == 200
        with ready_phone(fresh_lab) as late:
            assert late.options().status == 200


def test_sighup_reloads_and_names_what_needs_a_restart(fresh_lab):
    with ready_phone(fresh_lab) as phone:
        path = fresh_lab.path("proxy.conf")
        replace_in(path, 'name = "proxy1"', 'name = "proxy9"')
        for _ in range(3):
            fresh_lab.processes["proxy"].send(signal.SIGHUP)
        wait_until(lambda: "event=reloaded" in log_of(fresh_lab))
        assert "name" in log_of(fresh_lab).split("event=reloaded")[0].rsplit("event=config", 1)[-1]
        assert phone.options().status == 200
        info = resp(fresh_lab, "INFO", program="proxy")
        assert "name:proxy1" in info and "connections:1\r\n" in info


def test_what_a_listener_asks_for_is_asked_of_open_connections_from_the_next_request_on(fresh_lab):
    lab = fresh_lab
    with ready_phone(lab) as phone:
        path = lab.path("proxy.conf")
        replace_in(path, "listener tls {\n", 'listener tls {\n    digest = "always"\n')
        assert resp(lab, "RELOAD", program="proxy") == "OK"
        wait_until(lambda: phone.options().status == 401, what="a password is asked for")
        assert not phone.stream.closed
        replace_in(path, '    digest = "always"\n', "")
        assert resp(lab, "RELOAD", program="proxy") == "OK"
        wait_until(lambda: phone.options().status == 200, what="and not any more")
