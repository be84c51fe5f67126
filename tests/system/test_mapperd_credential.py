# SPDX-License-Identifier: Apache-2.0
"""CREDENTIAL: digest hashes, for those alone who may have them; bindings that stand on a password."""
import hashlib
import os
import subprocess
import time

import psycopg2
import pytest

from tests.lab.resp import Resp
from tests.system.lib import resp, sql, unique, wait_until


def ha1(algorithm, user, realm, password):
    return hashlib.new(algorithm, f"{user}:{realm}:{password}".encode()).hexdigest()


def credential(lab, identity):
    """State, and a dictionary for each realm."""
    reply = resp(lab, "CREDENTIAL", identity)
    return reply[2], [dict(f.split("=", 1) for f in text.split(" ")) for text in reply[3:]]


def set_password(lab, user, password, realm=None, username=None):
    sql(
        lab,
        "SELECT set_credential(%s, %s, %s, %s)",
        f"{user}@example.org",
        realm,
        password,
        username,
    )


def test_F46_a_password_is_answered_as_its_hashes_and_gone_with_its_row(lab):
    user = unique()
    assert credential(lab, f"{user}@example.org") == ("unknown", [])
    set_password(lab, user, "secret")
    want = {
        "v": "1",
        "realm": "example.org",
        "username": user,
        "sha256": ha1("sha256", user, "example.org", "secret"),
        "md5": ha1("md5", user, "example.org", "secret"),
    }
    wait_until(lambda: credential(lab, f"{user}@example.org") == ("known", [want]))
    sql(lab, "DELETE FROM credential WHERE identity = %s", f"{user}@example.org")
    wait_until(lambda: credential(lab, f"{user}@example.org") == ("known", []))


def test_F46_each_realm_has_its_own_and_a_missing_hash_is_a_dash(lab):
    user, name = unique(), "Ann B%="
    set_password(lab, user, "one")
    set_password(lab, user, "two", "The Office, 2nd floor", name)
    sql(
        lab,
        "UPDATE credential SET ha1_md5 = NULL WHERE identity = %s AND realm = 'example.org'",
        f"{user}@example.org",
    )
    wait_until(lambda: len(credential(lab, f"{user}@example.org")[1]) == 2)
    wait_until(lambda: "-" in [c["md5"] for c in credential(lab, f"{user}@example.org")[1]])
    office, plain = credential(lab, f"{user}@example.org")[1]
    assert plain["md5"] == "-" and plain["sha256"] == ha1("sha256", user, "example.org", "one")
    assert office["realm"] == "The%20Office,%202nd%20floor" and office["username"] == "Ann%20B%25="
    assert office["md5"] == ha1("md5", name, "The Office, 2nd floor", "two")


@pytest.mark.lab(mapperd_conf={"name": "m-credential-state"})
def test_F46_disabled_and_foreign_users_have_no_credentials(fresh_lab):
    lab, user = fresh_lab, unique()
    identity = f"{user}@example.org"
    set_password(lab, user, "secret")
    wait_until(lambda: len(credential(lab, identity)[1]) == 1)
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", identity)
    wait_until(lambda: credential(lab, identity) == ("disabled", []))
    sql(lab, "UPDATE sip_user SET state = 'enabled' WHERE identity = %s", identity)
    wait_until(lambda: len(credential(lab, identity)[1]) == 1)
    sql(lab, "UPDATE domain SET state = 'disabled' WHERE name = 'example.org'")
    wait_until(lambda: credential(lab, identity) == ("disabled", []))
    for other in (f"{user}@elsewhere.example", "example.org", "*", "", "a b"):
        assert credential(lab, other)[1] == []


def test_F46_a_change_of_a_password_is_published_as_its_user(lab):
    user = unique()
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", f"{user}@example.org")
    wait_until(lambda: credential(lab, f"{user}@example.org")[0] == "known")
    with Resp(lab.mapperd_socket) as client:
        client.command("SUBSCRIBE", "changed")
        set_password(lab, user, "secret")
        while f" user {user}@example.org" not in client.receive()[2]:
            pass
        client.send("CREDENTIAL", f"{user}@example.org")
        while len(reply := client.receive()) != 4 or reply[0] == "message":
            pass
        assert f"username={user} " in reply[3]


@pytest.mark.lab(mapperd_conf={"name": "m-credential-fill", "log_level": "debug"})
def test_F46_credentials_survive_a_restart_and_a_fill_and_no_log_has_one(fresh_lab):
    lab, users, seen = fresh_lab, [unique() for _ in range(40)], []
    for user in users:
        set_password(lab, user, f"password-of-{user}")
    for event in ("applied", "restarted", "filled"):
        if event == "restarted":
            lab.restart_program("mapperd")
        if event == "filled":
            fills = resp_info(lab)["fills"]
            sql(lab, "TRUNCATE credential")
            set_password(lab, users[0], f"password-of-{users[0]}-2")
            wait_until(lambda: resp_info(lab)["fills"] > fills)
            wait_until(lambda: resp_info(lab)["credentials"] == "1")
            assert credential(lab, f"{users[1]}@example.org") == ("known", [])
            users = users[:1]
        for user in users:
            wait_until(lambda: len(credential(lab, f"{user}@example.org")[1]) == 1)
            found = credential(lab, f"{user}@example.org")[1][0]
            seen += [found["sha256"], found["md5"]]
        assert resp_info(lab)["credentials"] == str(len(users))
    # A row that mapperd can't use is reported, without its hash.
    sql(
        lab,
        "SET session_replication_role = replica; ALTER TABLE credential DROP CONSTRAINT"
        " credential_ha1_md5_must_be_32_lower_case_hexadecimal_digits; INSERT INTO credential"
        " (identity, realm, username, ha1_md5) VALUES (%s, 'broken', 'x', 'feedfacefeedface');"
        " SET session_replication_role = origin; UPDATE credential SET username = 'y'"
        " WHERE realm = 'example.org'",
        f"{users[0]}@example.org",
    )
    log = lab.log_of("mapperd")
    wait_until(lambda: "event=row-skipped" in log.read_text())
    wait_until(lambda: credential(lab, f"{users[0]}@example.org")[1][0]["username"] == "y")
    lab.postgres.stop()  # what is said of it again and again is debug
    wait_until(lambda: "level=debug" in log.read_text(), timeout=60)
    lab.postgres.start(**lab.postgres_settings)
    text = log.read_text() + lab.log_of("proxy").read_text()
    assert "broken" in text
    for secret in (*seen, "feedface", "password-of-"):
        assert secret not in text


def resp_info(lab):
    with Resp(lab.mapperd_socket) as client:
        return client.info()


ASK_AS_ANOTHER = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
for command in sys.argv[2:]:
    peer.sendall(command.encode() + b"\\r\\n")
    print(peer.recv(4096).decode().split()[0])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.lab(mapperd_conf={"read_uids": "65534", "register_uids": "65534 65533",
                               "credential_uids": "65532"})
def test_T57_only_clients_with_the_credential_permission_get_hashes(fresh_lab):
    lab, user = fresh_lab, unique()
    path = str(lab.mapperd_socket)
    os.chmod(os.path.dirname(path), 0o755)
    os.chmod(path, 0o666)
    set_password(lab, user, "secret")
    wait_until(lambda: len(credential(lab, f"{user}@example.org")[1]) == 1)

    def ask(uid, *commands):
        return subprocess.run(
            ["/usr/bin/python3", "-c", ASK_AS_ANOTHER, path, *commands],
            user=uid, group=uid, extra_groups=[], cwd="/", capture_output=True, text=True,
        ).stdout.split()

    both = (f"RIGHTS {user}@example.org", f"CREDENTIAL {user}@example.org")
    assert ask(65534, *both) == ["*5", "-DENIED"]
    assert ask(65533, *both) == ["-DENIED", "-DENIED"]
    assert ask(65532, *both) == ["-DENIED", "*4"]


def bind_digest(lab, identity, entry=None):
    return resp(
        lab, "BIND", identity, f"digest:{identity}", "", "", "digest", entry or identity, "", 0,
        f"sip:{identity};transport=tls", int(time.time()) + 3600, 1000, "call", 1, "p/1/0/0/1", "",
    )


def test_F46_a_binding_by_password_is_located_only_while_the_password_is_there(lab):
    user, other = unique(), unique()
    identity = f"{user}@example.org"
    sql(lab, "INSERT INTO sip_user (identity) VALUES (%s)", identity)
    set_password(lab, other, "secret")
    wait_until(lambda: credential(lab, identity)[0] == "known")
    wait_until(lambda: len(credential(lab, f"{other}@example.org")[1]) == 1)
    assert bind_digest(lab, identity)[2] == "OK"
    assert resp(lab, "LOCATE", identity)[3:] == [], "there is no password yet"
    set_password(lab, user, "secret")
    wait_until(lambda: len(resp(lab, "LOCATE", identity)) == 4)
    # Neither another user's password nor a domain grounds it.
    assert bind_digest(lab, identity, f"{other}@example.org")[2] == "OK"
    assert resp(lab, "LOCATE", identity)[3:] == []
    assert bind_digest(lab, identity, "example.org")[2] == "OK"
    assert resp(lab, "LOCATE", identity)[3:] == []
    assert bind_digest(lab, identity)[2] == "OK"
    assert len(resp(lab, "LOCATE", identity)) == 4
    sql(lab, "DELETE FROM credential WHERE identity = %s", identity)
    wait_until(lambda: resp(lab, "LOCATE", identity)[3:] == [])
    assert sql(lab, "SELECT removed FROM binding WHERE aor = %s", identity) == [(True,)]
    # It does not come back with a new password: the phone has to show that it knows it.
    set_password(lab, user, "secret")
    wait_until(lambda: len(credential(lab, identity)[1]) == 1)
    assert resp(lab, "LOCATE", identity)[3:] == []


@pytest.mark.lab(mapperd_conf={"name": "m-credential-ground"})
def test_F46_a_binding_whose_password_is_gone_behind_every_trigger_is_not_located(fresh_lab):
    lab, user = fresh_lab, unique()
    identity = f"{user}@example.org"
    set_password(lab, user, "secret")
    wait_until(lambda: len(credential(lab, identity)[1]) == 1)
    bind_digest(lab, identity)
    assert len(resp(lab, "LOCATE", identity)) == 4
    # mapperd's own look at the ground: the binding stands in the table.
    sql(lab, "ALTER TABLE credential DISABLE TRIGGER end_bindings; DELETE FROM credential")
    wait_until(lambda: resp(lab, "LOCATE", identity)[3:] == [])
    assert sql(lab, "SELECT removed FROM binding WHERE aor = %s", identity) == [(False,)]


def test_no_hash_of_a_credential_that_is_refused_stands_in_the_servers_log(lab):
    """Statements are logged with what they say, so they are kept out here: what remains is what the server adds."""
    user, sha256, md5 = unique(), os.urandom(32).hex(), os.urandom(16).hex()
    set_password(lab, user, "secret")
    good = {"identity": f"{user}@example.org", "realm": "r", "username": user, "ha1_sha256": sha256, "ha1_md5": md5}
    bad = [{"identity": None}, {"realm": 'a"b'}, {"realm": "a\n"}, {"realm": "x" * 129}, {"realm": ""}]
    bad += [{"username": "a:b"}, {"username": "x" * 129}, {"ha1_sha256": sha256 + "x"}, {"ha1_md5": sha256}]
    quiet = "SET log_min_error_statement = panic; "
    before = lab.log_of("postgresql").stat().st_size
    for change in bad:
        row = {**good, **change}
        with pytest.raises(psycopg2.IntegrityError) as refused:
            sql(lab, f"{quiet}INSERT INTO credential ({', '.join(row)}) VALUES (%s, %s, %s, %s, %s)", *row.values())
        assert sha256 not in str(refused.value) and md5 not in str(refused.value), change
        if "identity" not in change:
            row = {"ha1_sha256": sha256, "ha1_md5": md5, **change}
            with pytest.raises(psycopg2.IntegrityError):
                sql(
                    lab,
                    f"{quiet}UPDATE credential SET {', '.join(f'{c} = %s' for c in row)} WHERE identity = %s",
                    *row.values(),
                    good["identity"],
                )
    with open(lab.log_of("postgresql"), errors="replace") as log:
        log.seek(before)
        text = log.read()
    assert text.count("ERROR:") >= 2 * len(bad) - 1
    assert sha256 not in text and md5 not in text
