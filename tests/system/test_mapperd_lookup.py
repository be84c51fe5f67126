# SPDX-License-Identifier: Apache-2.0
"""mapperd's answers: PEER, RIGHTS, LOCATE and EXPLAIN as Redis clients get them."""
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.lab.resp import Resp, RespError
from tests.system.lib import cn_of, resp, sql, unique, wait_until


def peer(lab, cn, store="device"):
    """State, canonical CN and identities."""
    reply = resp(lab, "PEER", store, cn)
    return reply[2], reply[3], reply[4:]


def rights(lab, identity):
    reply = resp(lab, "RIGHTS", identity)
    return reply[2], reply[3], reply[4:]


def new_mapping(lab, *identities, cn=None, store="device"):
    cn = cn or cn_of()
    for identity in identities:
        sql(
            lab,
            "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (%s, %s, %s)",
            store,
            cn,
            identity,
        )
    wait_until(lambda: len(peer(lab, cn, store)[2]) == len(identities))
    return cn


def test_a_row_is_known_and_unknown_again_after_its_delete(lab):
    cn, user = cn_of(), unique()
    assert peer(lab, cn) == ("unknown", cn, [])
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, f"{user}@example.org")
    wait_until(lambda: peer(lab, cn) == ("known", cn, [f"{user}@example.org"]))
    sql(lab, "SELECT retire_device(%s)", cn)
    wait_until(lambda: peer(lab, cn) == ("unknown", cn, []))


def test_every_spelling_of_a_mac_is_one_device_and_the_reply_names_the_canonical_one(lab):
    user = unique()
    cn = new_mapping(lab, f"{user}@example.org")
    pairs = [cn[i : i + 2] for i in range(0, 12, 2)]
    for spelling in (cn.lower(), ":".join(pairs), "-".join(pairs).lower()):
        assert peer(lab, spelling) == ("known", cn, [f"{user}@example.org"])
    for other in (cn[:-1], cn + "0", f"x{cn}", f"{cn[:-1]}G", "alice", "\u00e9" * 12):
        assert peer(lab, other) == ("unknown", "", [])


def test_a_cn_counts_in_its_store_alone(lab):
    user = unique()
    cn = new_mapping(lab, f"{user}@example.org")
    assert peer(lab, cn, "corp") == ("unknown", cn, [])
    assert peer(lab, cn, "nostore") == ("unknown", "", [])
    assert peer(lab, cn, "") == ("unknown", "", [])


def test_identities_of_a_device_come_in_order_users_and_domains(lab):
    users = sorted(f"{unique()}@example.org" for _ in range(3))
    domain = f"{unique('d')}.example.net"
    cn = new_mapping(lab, *users, domain)
    assert peer(lab, cn)[2] == sorted([*users, domain])


def test_T10_metacharacters_in_names_are_data(lab):
    user = unique()
    names = [
        f"'; DROP TABLE cn_mapping; -- {user}",
        f"$5 *3 {user}",
        f'"{user}" {{a,b}} \\ %s %n',
        f"{user} = () | & !",
    ]
    for name in names:
        new_mapping(lab, f"{user}@example.org", cn=name, store="corp")
        assert peer(lab, name, "corp") == ("known", name, [f"{user}@example.org"])
    for name in (b"a\0b", b"a\r\nb", b"\xff\xfe", b"", b"\x1b[2J", b"x" * 193, b"\xc3"):
        assert resp(lab, "PEER", "corp", name)[2:] == ["unknown", ""]
    assert resp(lab, "PEER", b"device\0", b"000000000000")[2] == "unknown"
    for identity in (b"\0", b"a@b@c", b"'@example.org", b"\xff@example.org", b" "):
        assert resp(lab, "RIGHTS", identity)[2] in ("foreign", "unknown")
        assert resp(lab, "LOCATE", identity)[3:] == []


@pytest.mark.lab(mapperd_conf={"name": "m-states"})
def test_disabled_stores_domains_and_users_say_so_and_give_nothing(fresh_lab):
    lab, user = fresh_lab, unique()
    cn = new_mapping(lab, f"{user}@example.org")
    sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    wait_until(lambda: peer(lab, cn) == ("disabled", cn, []))
    sql(lab, "UPDATE trust_store SET state = 'enabled' WHERE name = 'device'")
    wait_until(lambda: peer(lab, cn)[0] == "known")
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", f"{user}@example.org")
    wait_until(lambda: rights(lab, f"{user}@example.org") == ("disabled", [], []))
    assert rights(lab, f"other-{user}@example.org")[0] == "unknown"
    sql(lab, "UPDATE domain SET state = 'disabled' WHERE name = 'example.org'")
    wait_until(lambda: rights(lab, f"other-{user}@example.org") == ("disabled", [], []))
    assert rights(lab, "example.org") == ("disabled", [], [])


@pytest.mark.lab(mapperd_conf={"name": "m-rights"})
def test_rights_are_merged_in_order_from_everyone_domain_groups_and_the_user(fresh_lab):
    lab, user = fresh_lab, f"{unique()}@example.org"
    new_mapping(lab, user)
    sql(
        lab,
        f"""
        DELETE FROM rights_rule;
        INSERT INTO user_group (name) VALUES ('sales'), ('staff'), ('other');
        INSERT INTO user_group_member (group_name, identity) VALUES ('staff', '{user}'), ('sales', '{user}');
        INSERT INTO rights_rule (position, who_kind, who, target_kind, target, effect, methods,
                                 trust_store, valid_until, calls_per_minute)
        VALUES (50, 'everyone', NULL, 'ours', NULL, 'allow', NULL, NULL, NULL, NULL),
               (40, 'domain', 'example.org', 'number', '+4930', 'allow', '{{INVITE}}', NULL, NULL, 10),
               (30, 'group', 'staff', 'domain', 'partner.example', 'allow', NULL, 'device', NULL, NULL),
               (45, 'group', 'sales', 'user', 'boss@example.org', 'deny', '{{MESSAGE,INVITE}}', NULL,
                '2033-05-18 03:33:20+00', NULL),
               (60, 'user', '{user}', 'any', NULL, 'allow', NULL, NULL, NULL, NULL),
               (10, 'group', 'other', 'any', NULL, 'deny', NULL, NULL, NULL, NULL),
               (40, 'everyone', NULL, 'any', NULL, 'deny', '{{REFER}}', NULL, NULL, NULL);
        """,
    )
    wait_until(lambda: len(rights(lab, user)[2]) == 6)
    state, groups, rules = rights(lab, user)
    assert (state, groups) == ("known", ["sales", "staff"])
    assert [rule.partition(" ")[2] for rule in rules] == [
        "allow device * domain:partner.example - - -",
        "allow * INVITE number:+4930 - - 10",
        "deny * REFER * - - -",
        "deny * INVITE,MESSAGE user:boss@example.org - 2000000000 -",
        "allow * * ours - - -",
        "allow * * * - - -",
    ]
    ids = [int(rule.split(" ")[0]) for rule in rules]
    assert ids[1] < ids[2]  # equal positions: numbers first, then by id
    assert len(rights(lab, "nobody@example.org")[2]) == 3
    assert rights(lab, "someone@elsewhere.example") == ("foreign", ["foreign"], [])
    assert rights(lab, "anonymous.invalid") == ("foreign", ["anonymous"], [])
    sql(lab, "DELETE FROM user_group_member WHERE group_name = 'staff'")
    wait_until(lambda: rights(lab, user)[1] == ["sales"])
    assert len(rights(lab, user)[2]) == 5


def test_explain_names_the_rows_that_bear_on_a_request(lab):
    user = f"{unique()}@example.org"
    cn = new_mapping(lab, user)
    lines = resp(lab, "EXPLAIN", "device", cn.lower(), user, "INVITE", "bob@elsewhere.example")[2:]
    assert f"peer state=known cn={cn}" in lines
    assert f"entry identity={user}" in lines
    assert "store state=enabled cn_form=mac" in lines
    assert "user state=known groups=" in lines
    assert "target state=foreign" in lines
    assert any(re.fullmatch(r"rule \d+ allow \* \* ours - - -", line) for line in lines)


def cli(lab, *arguments, text=None):
    done = subprocess.run(
        ["redis-cli", "-s", lab.mapperd_socket, *arguments],
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
    )
    return done.stdout


def test_redis_cli_works_as_it_is(lab):
    cn = new_mapping(lab, f"{unique()}@example.org")
    assert cli(lab, "PING") == "PONG\n"
    assert cli(lab, "peer", "device", cn).splitlines()[2:4] == ["known", cn]
    assert "ready:1" in cli(lab, "INFO").replace("\r", "").splitlines()
    assert "epoch:" in cli(lab, "INFO", "sync")
    assert int(cli(lab, "COMMAND", "COUNT")) > 10
    assert "PEER" in cli(lab, "COMMAND")
    assert "NOPROTO" in cli(lab, "HELLO", "3")
    assert cli(lab, "CONFIG", "GET", "save").strip() == ""
    assert "unknown command" in cli(lab, "FLUSHALL")
    typed = cli(lab, text=f"PING\nPEER device {cn}\n\nNONSENSE\nQUIT\n")
    assert "PONG" in typed and cn in typed and "ERR" in typed


def test_redis_benchmark_works_as_it_is(lab):
    done = subprocess.run(
        ["redis-benchmark", "-s", lab.mapperd_socket, "-n", "20000", "-P", "16", "-q"]
        + ["-r", "1000000", "PEER", "device", "__rand_int__"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "requests per second" in done.stdout


def test_pipelined_commands_are_answered_in_order(lab):
    cn = new_mapping(lab, f"{unique()}@example.org")
    with Resp(lab.mapperd_socket) as client:
        for i in range(5000):
            client.send("PING", str(i)) if i % 3 else client.send("PEER", "device", cn)
        for i in range(5000):
            reply = client.receive()
            assert reply == str(i) if i % 3 else reply[3] == cn


@pytest.mark.parametrize(
    "garbage",
    [
        b"*33\r\n" + b"$1\r\na\r\n" * 33,
        b"*1\r\n$5000\r\n" + b"x" * 5000 + b"\r\n",
        b"*-5\r\n",
        b"*2\r\n$4\r\nPEER\r\n$-1\r\n",
        b"*1000000000\r\n",
        b"*1\r\n$99999999999999999999\r\n",
        b"*1\r\n:5\r\n",
        b"x" * 20000,
        b"\0" * 100 + b"\r\n",
        b"*3\r\n$4\r\nPEERxx$6\r\n",
    ],
    ids=lambda garbage: repr(garbage[:16]),
)
def test_malformed_frames_get_an_error_or_the_close(lab, garbage):
    with Resp(lab.mapperd_socket, timeout_s=5) as client:
        try:
            client.send_bytes(garbage)
            client.socket.shutdown(socket.SHUT_WR)
            answer = client.file.read()
        except (BrokenPipeError, ConnectionResetError):
            answer = b""  # closed with more of ours unread
    assert answer == b"" or answer.startswith(b"-ERR")
    assert resp(lab, "PING") == "PONG"


def test_wrong_arguments_are_errors_and_the_connection_goes_on(lab):
    with Resp(lab.mapperd_socket) as client:
        for arguments in (
            ("PEER", "device"),
            ("PEER", "device", "a", "b"),
            ("SUBSCRIBE", "other"),
            ("SELECT", "1"),
            ("BIND", "a"),
            ("UNBIND", "not an aor", "d", "", "0", "*"),
            ("CREDENTIALS",),
            ("",),
        ):
            with pytest.raises(RespError):
                client.command(*arguments)
        assert client.command("PING") == "PONG"


@pytest.mark.lab(mapperd_conf={"output_max": 65536})
def test_a_client_that_never_reads_is_bounded_and_a_subscriber_that_never_reads_is_closed(
    fresh_lab,
):
    lab = fresh_lab
    slow = Resp(lab.mapperd_socket)
    assert slow.command("SUBSCRIBE", "changed")[0] == "subscribe"
    flood = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    flood.connect(lab.mapperd_socket)
    flood.setblocking(False)
    payload = b"x" * 1000
    request, sent = b"*2\r\n$4\r\nPING\r\n$1000\r\n" + payload + b"\r\n", 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            sent += flood.send(request * 20)
        except BlockingIOError:
            time.sleep(0.01)
    assert sent > 2 * 65536  # and then no more was taken
    assert resp(lab, "PING") == "PONG"
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT lpad(upper(to_hex(n)), 12, '0'),"
        " 'u' || n || '@example.org' FROM generate_series(1, 8000) n",
    )
    wait_until(lambda: int(info(lab)["subscribers_closed"]) >= 1, timeout=60)
    with pytest.raises((EOFError, ConnectionResetError)):
        while True:
            slow.receive()
    wait_until(lambda: peer(lab, f"{8000:012X}")[0] == "known", timeout=60)
    flood.setblocking(True)
    flood.settimeout(5)
    size, replies = sent // len(request) * (len(payload) + len("$1000\r\n\r\n")), 0
    while replies < size:
        replies += len(flood.recv(65536))
    slow.close()
    flood.close()


def info(lab):
    with Resp(lab.mapperd_socket) as client:
        return client.info()


def test_lookups_made_ahead_of_a_client_that_is_stopped_are_forgotten(lab):
    """A client with more answers than it may have waiting is stopped in the middle of what was looked
    up ahead for it; the next one's lookup must not meet what is left of that."""
    other, large = new_mapping(lab, f"{unique()}@example.org"), cn_of()
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity)"
        " SELECT %s, 'many' || i || repeat('x', 40) || '@example.org' FROM generate_series(1, 3000) AS i",
        large,
    )
    wait_until(lambda: len(peer(lab, large)[2]) == 3000)
    process = lab.processes["mapperd"]
    with Resp(lab.mapperd_socket, timeout_s=60) as many, Resp(lab.mapperd_socket, timeout_s=60) as one:
        for _ in range(20):
            # Stopped for a moment, so that it finds both at once; the last that came is answered first.
            process.send(signal.SIGSTOP)
            one.send("PEER", "device", other)
            many.send_bytes(b"*3\r\n$4\r\nPEER\r\n$6\r\ndevice\r\n$12\r\n%s\r\n" % large.encode() * 16)
            process.send(signal.SIGCONT)
            assert one.receive()[2:4] == ["known", other]
            for _ in range(16):
                assert len(many.receive()) == 4 + 3000
    assert process.alive()
