# SPDX-License-Identifier: Apache-2.0
"""F46: programs that are not ours prove passwords: baresip with its certificate, sipp through
stunnel4 without one. Both know MD5 alone."""
import pytest

from tests.lab.process import Process
from tests.lab.stack import reserve_port
from tests.system.lib import Baresip, certificate, cn_of, provision, resp, unique, wait_until
from tests.system.lib.digest import set_password
from tests.system.test_real_programs import said, sipp

PASSWORD = "correct-horse"
LISTENERS = {
    "listener both": {
        "client_certificate": "required", "digest": "always", "digest_algorithms": ["MD5"],
    },
    "listener open": {
        "client_certificate": "ignored", "trust_stores": None, "digest": "fallback",
        "digest_algorithms": ["MD5"],
    },
}
pytestmark = pytest.mark.lab(proxy_sections=LISTENERS)


def start_baresip(lab, folder, password=PASSWORD):
    cn, user = cn_of(), unique()
    provision(lab, cn, f"{user}@{lab.domain}")
    set_password(lab, f"{user}@{lab.domain}", PASSWORD)
    return Baresip(
        folder / user, user, lab.domain, certificate(lab, cn), lab.path("ca.pem"),
        ("127.0.0.1", lab.ports["both"]), password=password,
    )


def test_F46_baresip_with_certificate_and_password_registers_and_calls(fresh_lab, tmp_path):
    lab = fresh_lab
    with start_baresip(lab, tmp_path) as alice, start_baresip(lab, tmp_path) as bob:
        alice.wait_registered()
        bob.wait_registered()
        for caller, callee in ((alice, bob), (bob, alice)):
            caller.dial(callee.aor)
            callee.expect("CALL_ESTABLISHED")
            caller.expect("CALL_ESTABLISHED")
            caller.hang_up()
            callee.expect("CALL_CLOSED")
            caller.expect("CALL_CLOSED")


def test_F46_baresip_with_certificate_and_a_wrong_password_gets_nowhere(fresh_lab, tmp_path):
    with start_baresip(fresh_lab, tmp_path, password="wrong") as phone:
        log = fresh_lab.log_of("proxy")
        wait_until(lambda: "reason=credentials-wrong" in log.read_text())
        assert resp(fresh_lab, "LOCATE", phone.aor[4:])[3:] == []


@pytest.fixture
def tunnel(fresh_lab, tmp_path):
    """A port where plain TCP becomes TLS without a certificate."""
    port, holder = reserve_port()
    conf = tmp_path / "stunnel.conf"
    conf.write_text(
        f"""foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[sip]
client = yes
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{fresh_lab.ports["open"]}
CAfile = {fresh_lab.path("ca.pem")}
verifyChain = yes
checkHost = {fresh_lab.domain}
sni = {fresh_lab.domain}
"""
    )
    holder.close()
    log = tmp_path / "stunnel.log"
    process = Process.start(["stunnel4", str(conf)], log, cwd=str(tmp_path))
    wait_until(lambda: "Configuration successful" in log.read_text() or not process.alive())
    assert process.alive(), log.read_text()
    yield port
    process.stop()


@pytest.mark.parametrize("password, status", [(PASSWORD, 0), ("wrong", 1)])
def test_F46_sipp_registers_by_password_through_stunnel(
    fresh_lab, tunnel, tmp_path, password, status
):
    user = unique()
    set_password(fresh_lab, f"{user}@{fresh_lab.domain}", PASSWORD)
    client = sipp(
        "register_password.xml", tunnel, tmp_path, "-s", user, "-au", user, "-ap", password,
        "-auth_uri", fresh_lab.domain,
    )
    assert client.wait(60) == status, said(tmp_path)
    found = resp(fresh_lab, "LOCATE", f"{user}@{fresh_lab.domain}")[3:]
    assert [f" device=digest:{user}@" in binding for binding in found] == [True] * (1 - status)
