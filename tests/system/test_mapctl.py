# SPDX-License-Identifier: Apache-2.0
"""mapctl against real programs: what it says, and its exit statuses."""
import socket
import subprocess
import threading

import pytest

from tests.system.lib import (
    cn_of,
    mapctl,
    mapctl_json,
    provision,
    ready_phone,
    resp,
    sql,
    unique,
    wait_until,
)
from tests.system.lib.mapctl import BAD, GOOD, UNREACHABLE, USAGE


@pytest.fixture
def phone(lab):
    """A mapped CN and its user, known to mapperd."""
    cn, user = cn_of(), f"{unique()}@example.org"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, user)
    wait_until(
        lambda: user.encode() in resp(lab, "PEER", "device", cn)
        or user in resp(lab, "PEER", "device", cn)
    )
    return cn, user


def rows(output):
    """The rows that decided and the others."""
    lines = output.split("rows (* decided):\n")[1].splitlines()
    return [line[2:] for line in lines if line[0] == "*"], [
        line[2:] for line in lines if line[0] == " "
    ]


def test_check_allows_what_the_shipped_rule_allows_and_names_it(lab, phone):
    cn, user = phone
    spelled = ":".join(cn[i : i + 2].lower() for i in range(0, 12, 2))
    status, out, err = mapctl(
        lab, "check", "device", spelled, f"sip:{user}", "INVITE", "bob@Example.ORG."
    )
    assert (status, err) == (GOOD, "")
    assert out.startswith("allowed\nreason: allowed: ")
    decided, others = rows(out)
    assert f"entry identity={user}" in decided
    assert any(row.startswith("rule ") and " allow * * ours " in row for row in decided)
    assert f"peer state=known cn={cn}" in others


@pytest.mark.parametrize(
    "identity, method, target, reason",
    [
        ("boss@example.org", "INVITE", "bob@example.org", "from-not-permitted"),
        ("USER", "REGISTER", "boss@example.org", "to-not-permitted"),
        ("USER", "INVITE", "bob@foreign.example", "no-right"),
        ("USER", "INVITE", "tel:+49-30-1", "no-right"),
        ("USER", "OPTIONS", "foreign.example", "no-right"),
    ],
)
def test_check_denies_with_the_reason_and_what_to_do(lab, phone, identity, method, target, reason):
    cn, user = phone
    status, out, err = mapctl(
        lab, "check", "device", cn, identity.replace("USER", user), method, target
    )
    assert (status, err) == (BAD, "")
    assert out.startswith(f"denied\nreason: {reason}: ") and "\nwhat to do: " in out


@pytest.mark.parametrize(
    "method, target", [("REGISTER", "USER"), ("register", "sip:USER"), ("OPTIONS", "example.org")]
)
def test_check_needs_no_rule_for_what_the_proxy_answers_itself(lab, phone, method, target):
    cn, user = phone
    status, out, _ = mapctl(lab, "check", "device", cn, user, method, target.replace("USER", user))
    assert status == GOOD and "\nrule: " not in out


def test_check_names_the_rule_that_denies(lab, phone):
    cn, user = phone
    [(rule,)] = sql(
        lab,
        "INSERT INTO rights_rule (who_kind, who, methods, effect) "
        "VALUES ('user', %s, '{MESSAGE}', 'deny') RETURNING id",
        user,
    )
    wait_until(
        lambda: mapctl(lab, "check", "device", cn, user, "MESSAGE", "bob@example.org")[0] == BAD
    )
    _, out, _ = mapctl(lab, "check", "device", cn, user, "MESSAGE", "bob@example.org")
    assert out.startswith("denied\nreason: rule-denies: ") and f"\nrule: {rule}\n" in out
    assert f"rule {rule} deny * MESSAGE * - - -" in rows(out)[0]
    assert mapctl(lab, "check", "device", cn, user, "INVITE", "bob@example.org")[0] == GOOD


@pytest.mark.parametrize(
    "other_from, method, target",
    [
        (False, "MESSAGE", "bob@example.org"),
        (True, "MESSAGE", "bob@example.org"),
        (False, "MESSAGE", "bob@foreign.example"),
        (True, "REGISTER", None),
        (False, "REGISTER", "boss@example.org"),
        (False, "OPTIONS", "example.org"),
    ],
)
def test_check_says_what_the_phone_is_told(lab, other_from, method, target):
    phone = ready_phone(lab)
    sender = "boss@example.org" if other_from else phone.identity
    target = target or sender
    headers = {"from_": f"<sip:{sender}>"}
    if method == "REGISTER":
        request = phone.make_register(to=f"<sip:{target}>", **headers)
    else:
        request = phone.request(method, f"sip:{target}", **headers)
    response = phone.exchange(request)
    status, out, _ = mapctl(lab, "check", "device", phone.cn, sender, method, target)
    reason = out.split("reason: ")[1].split(":")[0]
    if status == GOOD:
        assert reason == "allowed" and response.status != 403
    else:
        assert response.status == 403 and reason in response.get("Warning")


def test_check_of_unknown_and_disabled(lab, phone):
    cn, user = phone
    status, out, _ = mapctl(lab, "check", "device", "0004F2FFFFFF", user, "INVITE", "b@example.org")
    assert status == BAD and "reason: device-unknown: " in out
    assert "what to do: INSERT INTO cn_mapping " in out
    status, out, _ = mapctl(lab, "check", "device", "Desk 4", user, "INVITE", "b@example.org")
    assert status == BAD and "what to do: This CN is no MAC address" in out
    status, out, _ = mapctl(lab, "check", "nostore", cn, user, "INVITE", "b@example.org")
    assert status == BAD and "reason: device-unknown: " in out
    assert "what to do: The database has no such trust store" in out
    away = f"{unique()}@nowhere.example"
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", cn, away)
    wait_until(
        lambda: "what to do: We register for domains of ours alone: INSERT INTO domain"
        in mapctl(lab, "check", "device", cn, away, "REGISTER", away)[1]
    )
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", user)
    wait_until(
        lambda: "reason: user-disabled: "
        in mapctl(lab, "check", "device", cn, user, "INVITE", "b@example.org")[1]
    )
    assert (
        "user state=disabled groups="
        in rows(mapctl(lab, "check", "device", cn, user, "INVITE", "b@example.org")[1])[0]
    )


def test_check_as_json_has_the_same_answer(lab, phone):
    cn, user = phone
    status, answer = mapctl_json(
        lab, "check", "device", cn, user, "INVITE", "bob@foreign.example", "--name", "x@example.org"
    )
    assert status == BAD
    assert answer["allowed"] is False and answer["reason"] == "no-right"
    assert answer["rule"] is None and answer["what_to_do"] and answer["text"]
    assert {"decided": False, "text": f"peer state=known cn={cn}"} in answer["rows"]
    assert {"decided": False, "text": "name identity=x@example.org"} in answer["rows"]
    status, answer = mapctl_json(lab, "check", "device", cn, user, "INVITE", "bob@example.org")
    assert status == GOOD and answer["allowed"] is True and answer["what_to_do"] is None
    assert {"decided": True, "text": f"entry identity={user}"} in answer["rows"]
    assert isinstance(answer["rule"], int)
    assert answer["not_looked_at"] == ["blocked_certificate"]
    assert "\nnot looked at: blocked_certificate: " in mapctl(lab, "check", "device", cn, user, "INVITE", user)[1]
    hostile = "a\"\x01\x7f\u00e9"
    status, answer = mapctl_json(lab, "check", "corp", hostile, user, "INVITE", "b@example.org")
    assert status == BAD and answer["reason"] == "device-unknown"


def test_check_of_a_disabled_device_and_of_a_disabled_store(fresh_lab):
    lab, cn, user = fresh_lab, cn_of(), f"{unique()}@example.org"
    provision(lab, cn, user)
    question = ["check", "--name", f"sip:{user}", "device", cn, user, "INVITE", "b@example.org"]

    def starred():
        status, out, _ = mapctl(lab, *question)
        assert status == BAD and "reason: device-disabled: " in out
        return rows(out)[0]

    sql(lab, "UPDATE device SET state = 'disabled' WHERE cn = %s", cn)
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "disabled")
    assert starred() == [f"peer state=disabled cn={cn}"]
    sql(lab, "UPDATE device SET state = 'known' WHERE cn = %s", cn)
    sql(lab, "UPDATE trust_store SET state = 'disabled' WHERE name = 'device'")
    provision(lab, "a", user, store="corp")
    assert "store state=disabled cn_form=mac" in starred()


def test_check_takes_the_names_of_the_certificate(lab):
    name = f"{unique()}@example.org"
    question = ["device", cn_of(), name, "INVITE", "bob@example.org"]
    assert mapctl(lab, "check", *question)[0] == BAD
    status, out, _ = mapctl(lab, "check", "--name", f"sip:{name}", *question)
    assert status == GOOD and f"name identity={name}" in rows(out)[0]


def test_T10_hostile_arguments_are_data(lab):
    for cn in ["'; DROP TABLE cn_mapping; --", "a\r\n+OK\r\n", "$5\r\nalice", "x" * 5000, "", "*"]:
        status, out, _ = mapctl(
            lab, "check", "corp", cn, "a@example.org", "INVITE", "b@example.org"
        )
        assert status == (UNREACHABLE if len(cn) > 4096 else BAD), cn[:20]
        assert len(cn) > 4096 or "reason: device-unknown" in out
    assert sql(lab, "SELECT count(*) > 0 FROM trust_store") == [(True,)]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ([], "no command"),
        (["dance"], "no command dance"),
        (["--nonsense", "status"], ""),
        (["status", "now"], "no operand"),
        (["migrate", "now"], "no operand"),
        (["check"], "[STORE CN] IDENTITY METHOD TARGET"),
        (["check", "device", "1", "alice", "INVITE", "b@example.org"], "not an identity"),
        (
            ["check", "device", "1", "a@example.org:5060", "INVITE", "b@example.org"],
            "not an identity",
        ),
        (["check", "device", "1", "a@example.org", "", "b@example.org"], "not a method"),
        (["check", "device", "1", "a@example.org", "REGISTER", "example.org"], "not a target"),
        (["check", "device", "1", "a@example.org", "INVITE", "b@exam ple.org"], "not a target"),
        (
            ["check", "--name", "x y", "device", "1", "a@example.org", "INVITE", "b@example.org"],
            "not an identity",
        ),
        (["--config", "/nonexistent", "status"], "/nonexistent: No such file"),
        (["migrate", "--migrations", "/nonexistent"], "no sqitch.plan in /nonexistent"),
        (["--migrations", "/nonexistent", "migrate"], "no option --migrations here"),
        (["status", "--name", "a@example.org"], "no option --name here"),
        (["status", "-x"], "no option -x"),
        (["--json=yes", "status"], "--json takes no value"),
        (["migrate", "--migrations"], "--migrations needs a value: --migrations DIR"),
        (["--config"], "--config needs a value: --config FILE"),
        (["status"] + ["--config", "/dev/null"] * 5, "--config may be given 4 times"),
        (["check"] + ["--name", "a@example.org"] * 65, "at most 64 options"),
        (["help", "dance"], "no command dance"),
        (["help", "status", "check"], "help takes [COMMAND]"),
        (["--database", "x y z", "migrate"], "--database"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what(lab, arguments, text):
    status, out, err = mapctl(lab, *arguments)
    assert status == USAGE and out == "" and text in err


def test_wrong_usage_names_the_help_of_its_command(lab):
    assert "\nmapctl help check says how " in mapctl(lab, "check", "x")[2]
    assert "\nmapctl help, and mapctl help COMMAND, say how " in mapctl(lab, "nothing")[2]


def test_the_wrong_database_or_role_is_told_what_to_do(lab):
    for line in [["history", "0004F2000001"], ["unmapped"], ["export"]]:
        status, _, err = mapctl(lab, *line, PGDATABASE="postgres")
        assert status == BAD and "; is it the right database? If so: mapctl migrate\n" in err
    status, _, err = mapctl(lab, "history", "0004F2000001", PGUSER="holdline_mapperd")
    assert status == BAD and "; it takes a role that has holdline_admin\n" in err


def test_help_lists_every_command_and_the_exit_statuses(lab):
    status, out, err = mapctl(lab, "--help")
    assert (status, err) == (GOOD, "")
    for word in ["migrate", "status", "check [STORE CN] IDENTITY METHOD TARGET", "Exit status:"]:
        assert word in out
    assert mapctl(lab, "help") == mapctl(lab, "-h") == (GOOD, out, "")


def test_help_of_a_command_has_its_options_and_the_common_ones(lab):
    status, out, err = mapctl(lab, "help", "check")
    assert (status, err) == (GOOD, "")
    assert out.startswith("Usage: mapctl check [OPTIONS] [STORE CN] IDENTITY METHOD TARGET\n")
    assert "  --name IDENTITY " in out and "  --config FILE " in out and "--verify" not in out
    assert max(len(line) for line in out.splitlines()) <= 80
    # --help wherever it stands, and whatever else is missing
    for line in [["check", "--help"], ["--help", "check"], ["check", "a", "-h", "b"]]:
        assert mapctl(lab, *line) == (GOOD, out, "")


def test_common_options_stand_before_and_behind_the_command(lab):
    for line in [["--mapperd-socket", "/nonexistent/m", "status"],
                 ["status", "--mapperd-socket", "/nonexistent/m"],
                 ["--mapperd-socket=/other", "status", "--mapperd-socket", "/nonexistent/m"]]:
        assert "/nonexistent/m" in mapctl(lab, *line)[2]


def test_output_that_cannot_be_written_is_a_failure(lab):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            [str(lab.binary("mapctl")), "help"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == BAD and "No space left" in done.stderr


def test_check_without_mapperd_decides_nothing(lab, tmp_path):
    for path in [str(tmp_path / "none"), "/" + "x" * 200]:
        status, out, err = mapctl(
            lab,
            "--mapperd-socket",
            path,
            "check",
            "device",
            "1",
            "a@example.org",
            "INVITE",
            "b@example.org",
        )
        assert (status, out) == (UNREACHABLE, "") and path in err


def test_a_socket_that_answers_something_else_ends_with_3(lab, tmp_path):
    def serve(path, answer):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def work():
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(answer)
            connection.close()
            listener.close()

        threading.Thread(target=work, daemon=True).start()

    answers = [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"*100000000\r\n",
        b"",
        b"*2\r\n:1\r\n",
        b"$-5\r\n",
        b"-LOADING not yet\r\n",
        b"*0\r\n" * 4,
        b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
    ]
    for number, answer in enumerate(answers):
        path = tmp_path / f"s{number}"
        serve(path, answer)
        status, out, err = mapctl(
            lab,
            "--mapperd-socket",
            str(path),
            "check",
            "device",
            "1",
            "a@example.org",
            "INVITE",
            "b@example.org",
        )
        assert (status, out) == (UNREACHABLE, ""), answer
        assert err.startswith("mapctl: ")
