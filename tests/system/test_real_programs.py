# SPDX-License-Identifier: Apache-2.0
"""Programs that are not ours against the whole: openssl s_client, sipp through stunnel, baresip."""
import pathlib
import subprocess

import pytest

from tests.lab.process import Process
from tests.lab.stack import reserve_port
from tests.system.lib import (
    Baresip,
    certificate,
    cn_of,
    provision,
    ready_phone,
    sql,
    unique,
    wait_until,
)

SIPP = pathlib.Path(__file__).parent / "sipp"


@pytest.fixture
def known(lab):
    """A device with a mapping: CN, user and the file with its certificate and key."""
    cn, user = cn_of(), unique()
    provision(lab, cn, f"{user}@{lab.domain}")
    return cn, user, certificate(lab, cn)


# ---- openssl s_client, with requests pasted by hand


def pasted(lab, pem, text):
    """What comes back for text pasted into s_client, as `make run` tells a person to call it."""
    argv = ["openssl", "s_client", "-quiet", "-nocommands", "-crlf"]
    argv += ["-connect", "%s:%d" % lab.sip_tls, "-servername", lab.domain, "-verify_return_error"]
    argv += ["-CAfile", str(lab.path("ca.pem")), "-cert", str(pem), "-key", str(pem)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        client.stdin.write(text)
        client.stdin.flush()
        lines = []
        for line in client.stdout:
            lines.append(line.rstrip("\r\n"))
            if not lines[-1]:
                break
        client.kill()
        return lines


def options(lab, user):
    return (
        f"OPTIONS sip:{lab.domain} SIP/2.0\n"
        "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK1\n"
        f"From: <sip:{user}@{lab.domain}>;tag=1\n"
        f"To: <sip:{lab.domain}>\n"
        f"Call-ID: {unique('pasted')}\n"
        "CSeq: 1 OPTIONS\n"
        "Max-Forwards: 70\n"
        "Content-Length: 0\n\n"
    )


def test_request_pasted_into_s_client_is_answered(lab, known):
    _, user, pem = known
    assert pasted(lab, pem, options(lab, user))[0] == "SIP/2.0 200 OK"


def test_T01_forged_from_pasted_into_s_client_is_403_with_its_reason(lab, known):
    answer = pasted(lab, known[2], options(lab, "somebody-else"))
    assert answer[0].startswith("SIP/2.0 403 ")
    assert any(line.startswith("Warning: 399 ") for line in answer)


# ---- sipp, which has no TLS, through stunnel, which has


@pytest.fixture
def tunnel(lab, known, tmp_path):
    """A port where plain TCP becomes TLS with the certificate of `known`."""
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
connect = {lab.sip_tls[0]}:{lab.sip_tls[1]}
cert = {known[2]}
CAfile = {lab.path("ca.pem")}
verifyChain = yes
checkHost = {lab.domain}
sni = {lab.domain}
"""
    )
    holder.close()
    log = tmp_path / "stunnel.log"
    process = Process.start(["stunnel4", str(conf)], log, cwd=str(tmp_path))
    wait_until(lambda: "Configuration successful" in log.read_text() or not process.alive())
    assert process.alive(), log.read_text()
    yield port
    process.stop()


def sipp(scenario, port, folder, *arguments):
    argv = [
        "sipp",
        "-sf",
        str(SIPP / scenario),
        "-t",
        "t1",
        "-nostdin",
        "-timeout",
        "30",
        "-m",
        "1",
    ]
    argv += ["-timeout_error", "-trace_err", *map(str, arguments), f"127.0.0.1:{port}"]
    with open(folder / "sipp.out", "wb") as output:
        return subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


def said(folder):
    """sipp's screen and its error files, for the reader of a failure."""
    files = [folder / "sipp.out", *folder.glob("*_errors.log")]
    return "\n".join(file.read_text(errors="replace")[-3000:] for file in files)


def test_sipp_registers_and_refreshes_through_stunnel(lab, known, tunnel, tmp_path):
    client = sipp("register.xml", tunnel, tmp_path, "-s", known[1])
    assert client.wait(60) == 0, said(tmp_path)
    rows = sql(lab, "SELECT cseq FROM binding WHERE aor = %s", f"{known[1]}@{lab.domain}")
    assert len(rows) == 1


def test_sipp_calls_a_phone_through_stunnel(lab, known, tunnel, tmp_path):
    with ready_phone(lab) as callee:
        client = sipp("call.xml", tunnel, tmp_path, "-s", known[1], "-key", "callee", callee.user)
        call = callee.expect_call()
        assert call.invite.from_uri == f"sip:{known[1]}@{lab.domain}"
        call.reply(180)
        call.reply(200)
        call.expect_ack()
        call.expect_bye()
        assert client.wait(60) == 0, said(tmp_path)


# ---- baresip


def start_baresip(lab, folder, **options):
    cn, user = cn_of(), unique()
    provision(lab, cn, f"{user}@{lab.domain}")
    pem, ca = certificate(lab, cn), lab.path("ca.pem")
    phone = Baresip(folder / user, user, lab.domain, pem, ca, lab.sip_tls, **options)
    phone.cn = cn
    return phone


def test_baresip_phones_register_and_call_each_other(lab, tmp_path):
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


def test_baresip_whose_mapping_is_removed_is_not_called_any_more(lab, tmp_path):
    with start_baresip(lab, tmp_path) as victim, ready_phone(lab) as caller:
        victim.wait_registered()
        sql(lab, "SELECT retire_device(%s)", victim.cn)
        wait_until(lambda: caller.options(victim.aor).status in (404, 480))
        assert not any(event.get("type") == "CALL_INCOMING" for event in victim.events)
