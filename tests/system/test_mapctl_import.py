# SPDX-License-Identifier: Apache-2.0
"""mapctl import: lists into the database, whole or not at all."""
import os
import pty
import signal
import subprocess

import pytest

from tests.system.lib import Phone, psycopg2_connect, resp, sql, unique, wait_until
from tests.system.lib.import_list import (
    BAD,
    GOOD,
    UNREACHABLE,
    USAGE,
    Done,
    make_store,
    mappings,
    run,
    start,
)


@pytest.fixture
def store(lab):
    return make_store(lab)


@pytest.fixture
def exact(lab):
    return make_store(lab, "exact")


def write(folder, data, name="list"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


# ---- Formats


def test_F29_repro_file_is_loaded_and_a_live_phone_is_known_right_after(lab, tmp_path):
    phone = Phone(lab)
    other = f"{unique()}@example.org"
    path = write(tmp_path, f"# from repro\r\n\r\n{phone.cn}\t{phone.identity},{other}\r\n")
    done = run(lab, "import", path)
    assert (done.status, done.err) == (GOOD, "") and done.out.endswith("\nwritten\n")
    assert "  added: 1 devices\n" in done.out and "  mappings: 2 added, 0 removed\n" in done.out
    wait_until(lambda: other in str(resp(lab, "PEER", "device", phone.cn)))
    assert phone.connect().register(expect=200)


def test_F29_each_wrong_line_is_named_and_then_nothing_is_written(lab, store, tmp_path):
    path = write(
        tmp_path,
        "0004F2000001\talice@example.org\n"
        "0004F2000002 bob@example.org\n"
        "0004F2000003\t\n"
        "0004F200000\tbob@example.org\n"
        "0004F2000005\tbob\n"
        "0004F2000006\tbob@example.org:5060\n",
    )
    done = run(lab, "import", "--store", store, path)
    assert done.status == BAD and done.out == ""
    named = [line.split(": ")[0] for line in done.wrong[:-1]]
    assert sorted(named) == [f"{path}:{line}" for line in (2, 3, 4, 5, 6)]
    assert "a space instead of a TAB" in done.err and "write bob@example.org" not in done.err
    assert "such as bob@example.org" in done.err
    assert done.wrong[-1].startswith("mapctl: 5 lines are wrong; nothing was written.")
    assert mappings(lab, store) == set()


def test_F30_bad_lines_are_passed_over_when_that_is_wanted(lab, store, tmp_path):
    path = write(
        tmp_path,
        "0004F2000001\talice@example.org\nhello\n0004F2000003\tbob@example.org,word\n",
    )
    done = run(lab, "import", "--store", store, "--skip-bad", path)
    assert done.status == GOOD and "  wrong lines passed over: 2\n" in done.out
    assert f"{path}:2: " in done.err and f"{path}:3: " in done.err
    # A line is taken whole or not at all.
    assert mappings(lab, store) == {("0004F2000001", "alice@example.org")}


def test_F30_mac_list_in_any_spelling_with_template_or_sequence(lab, store, tmp_path):
    path = write(tmp_path, "00:04:f2:00:00:01\n0004.f200.0002\n00-04-F2-00-00-03\n")
    done = run(lab, "import", "--store", store, "--identity", "{mac}@example.org", path)
    assert done.status == GOOD, done.err
    assert mappings(lab, store) == {
        (f"0004F200000{i}", f"0004F200000{i}@example.org") for i in (1, 2, 3)
    }
    done = run(lab, "import", "--store", store, "--from-sequence", "2000@example.org", path)
    assert done.status == GOOD
    assert ("0004F2000003", "2002@example.org") in mappings(lab, store)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_F30_spreadsheet_of_a_device_list_with_columns_by_name(lab, store, encoding):
    table = (
        "Model,Serial,MAC Address,Ext,Note\r\n"
        'VVX 450,64167F000001,00:04:F2:00:00:01,2001@example.org,"a ""b"", c"\r\n'
        'VVX 250,64167F000002,0004F2000002,"2002@example.org,2003@example.org","two\r\nlines"\r\n'
        ",,,,\r\n"
    )
    done = run(
        lab,
        "import",
        *("--store", store, "--columns", "cn=MAC Address,identity=Ext", "-"),
        given=table.encode(encoding),
    )
    assert (done.status, done.wrong) == (GOOD, [])
    assert mappings(lab, store) == {
        ("0004F2000001", "2001@example.org"),
        ("0004F2000002", "2002@example.org"),
        ("0004F2000002", "2003@example.org"),
    }


def test_F30_extension_column_becomes_an_identity_by_template(lab, store):
    done = run(
        lab,
        "import",
        *("--store", store, "--format", "csv", "--columns", "cn=MAC,identity=Ext"),
        *("--identity", "{identity}@example.org", "-"),
        given=b"MAC;Ext\n0004F2000001;2001\n",
    )
    assert (done.status, done.wrong) == (GOOD, [])
    assert mappings(lab, store) == {("0004F2000001", "2001@example.org")}


def test_T10_metacharacters_in_cn_and_identity_are_data(lab, exact):
    cns = ["'; DROP TABLE cn_mapping; --", "\\.", "\\N", "a\\tb", "$1", '"x"', "{}", "%s", "*"]
    identities = ["a'b@example.org", "a%22b@example.org", "$1@example.org", "a*;b=c@example.org"]
    rows = {(cn, identity) for cn in cns for identity in identities}
    text = "".join(f"{cn}\t{','.join(identities)}\n" for cn in cns)
    done = run(lab, "import", "--store", exact, "-", given=text.encode())
    assert (done.status, mappings(lab, exact)) == (GOOD, rows), done.err
    store = "'; DROP TABLE cn_mapping; --"
    done = run(lab, "import", "--store", store, "-", given=text.encode())
    assert done.status == USAGE and "there is no trust store" in done.err
    assert run(lab, "export", "--store", store).status == USAGE
    assert mappings(lab, exact) == rows


# ---- Again, in part, instead


def test_import_again_changes_nothing_and_says_so(lab, store, tmp_path):
    path = write(tmp_path, "0004F2000001\talice@example.org\n0004f2000001\tALICE@example.org\n")
    assert run(lab, "import", "--store", store, path).status == GOOD
    written = sql(lab, "SELECT cn, identity, created_at FROM cn_mapping ORDER BY 1, 2")
    logged = sql(lab, "SELECT count(*) FROM audit")
    done = run(lab, "--json", "import", "--store", store, path)
    assert done.status == GOOD and not done.document["written"]
    assert done.document["devices"] == {
        "listed": 1,
        "added": 0,
        "changed": 0,
        "removed": 0,
        "unchanged": 1,
    }
    assert sql(lab, "SELECT cn, identity, created_at FROM cn_mapping ORDER BY 1, 2") == written
    assert sql(lab, "SELECT count(*) FROM audit") == logged


def test_dry_run_says_what_would_change_and_changes_nothing(lab, store, tmp_path):
    user = f"{unique()}@example.org"
    path = write(tmp_path, f"0004F2000001\t{user}\n")
    done = run(lab, "--json", "import", "--store", store, "--dry-run", path)
    assert done.status == GOOD and done.document["devices"]["added"] == 1
    assert done.document["dry_run"] and not done.document["written"]
    assert mappings(lab, store) == set()
    assert sql(lab, "SELECT count(*) FROM sip_user WHERE identity = %s", user) == [(0,)]
    done = run(lab, "import", "--store", store, "--dry-run", path)
    assert done.out.endswith("dry run: nothing was written\n")


def test_replace_makes_the_store_equal_to_the_list(lab, store, exact, tmp_path):
    before = (
        "0004F2000001\ta@example.org\n0004F2000002\tb@example.org,c@example.org\n"
        "0004F2000003\td@example.org\n0004F2000004\te@example.org\n"
    )
    after = (
        "0004F2000001\ta@example.org\n0004F2000002\tb@example.org\n"
        "0004F2000003\tx@example.org\n0004F2000005\ty@example.org\n"
    )
    assert run(lab, "import", "--store", store, "-", given=before.encode()).status == GOOD
    assert run(lab, "import", "--store", exact, "-", given=before.encode()).status == GOOD
    done = run(
        lab, "--json", "import", "--store", store, "--replace", "--yes", write(tmp_path, after)
    )
    assert done.status == GOOD and done.document["written"], done.err
    assert done.document["devices"] == {
        "listed": 4,
        "added": 1,
        "changed": 2,
        "removed": 1,
        "unchanged": 1,
    }
    assert done.document["mappings"] == {"listed": 4, "added": 2, "removed": 3, "unchanged": 2}
    assert mappings(lab, store) == {
        ("0004F2000001", "a@example.org"),
        ("0004F2000002", "b@example.org"),
        ("0004F2000003", "x@example.org"),
        ("0004F2000005", "y@example.org"),
    }
    assert len(mappings(lab, exact)) == 5, "another store is not touched"


def test_replace_wants_yes_without_a_terminal_and_never_empties_a_store(lab, store, tmp_path):
    path = write(tmp_path, "0004F2000001\ta@example.org\n")
    assert run(lab, "import", "--store", store, path).status == GOOD
    other = write(tmp_path, "0004F2000002\ta@example.org\n", "other")
    done = run(lab, "import", "--store", store, "--replace", other)
    assert done.status == USAGE and "write --yes" in done.err
    done = run(lab, "import", "--store", store, "--replace", "--yes", write(tmp_path, "# none\n"))
    assert done.status == BAD and "the list has no device" in done.err
    done = run(lab, "import", "--store", store, "--replace", "--yes", "--skip-bad", other)
    assert done.status == USAGE and "do not go together" in done.err
    assert mappings(lab, store) == {("0004F2000001", "a@example.org")}


def on_terminal(lab, answer, *arguments):
    """Runs mapctl on a terminal of its own and answers its question; what was on the screen."""
    main, side = pty.openpty()
    process = start(lab, *arguments, stdin=side, stdout=side, stderr=side)
    os.close(side)
    screen = b""
    try:
        while True:
            try:
                got = os.read(main, 4096)
            except OSError:
                break
            if not got:
                break
            screen += got
            if screen.endswith(b"[y/N] "):
                os.write(main, answer)
        return process.wait(60), screen.decode()
    finally:
        process.kill()
        os.close(main)


def test_replace_shows_a_summary_and_asks_on_a_terminal(lab, store, tmp_path):
    path = write(tmp_path, "0004F2000001\ta@example.org\n")
    assert run(lab, "import", "--store", store, path).status == GOOD
    path = write(tmp_path, "0004F2000002\ta@example.org\n")
    arguments = ["import", "--store", store, "--replace", path]
    for answer in [b"n\n", b"\n", b"\x04"]:
        status, screen = on_terminal(lab, answer, *arguments)
        assert status == BAD and "nothing was written" in screen
        assert screen.index("added: 1 devices") < screen.index("Write this? [y/N]")
        assert "removed: 1 devices" in screen
        assert mappings(lab, store) == {("0004F2000001", "a@example.org")}
    status, screen = on_terminal(lab, b"y\n", *arguments)
    assert status == GOOD and "written" in screen
    assert "\rreading" in screen and "\rwriting" in screen, "a progress bar is drawn"
    assert mappings(lab, store) == {("0004F2000002", "a@example.org")}


def test_conflicts_are_reported_and_refused_when_that_is_wanted(lab, store, tmp_path):
    user, shared, b, x, z, other = (f"{unique()}@example.org" for _ in range(6))
    first = f"0004F2000001\t{user},example.net\n0004F2000002\t{b}\n"
    assert run(lab, "import", "--store", store, "-", given=first.encode()).status == GOOD
    text = (
        f"0004F2000002\t{other}\n"  # has something else
        f"0004F2000003\t{user},example.net\n"  # somebody else has it; a domain may be shared
        f"0004F2000004\t{shared}\n"
        f"0004F2000005\t{shared}\n"  # twice in the list
        f"0004F2000006\t{x}\n"
        f"00:04:f2:00:00:06\t{x}\n"  # the same once more
        f"0004F2000006\t{z}\n"  # the CN once more
    )
    path = write(tmp_path, text)
    before = mappings(lab, store)
    done = run(lab, "--json", "import", "--store", store, "--refuse-conflicts", path)
    assert done.status == BAD and "5 conflicts; nothing was written" in done.err
    assert done.document["conflicts"] == {
        "cn_has_others": 1,
        "identity_of_another": 1,
        "mapping_repeated": 1,
        "cn_repeated": 1,
        "identity_repeated": 1,
    }
    assert mappings(lab, store) == before
    done = run(lab, "import", "--store", store, path)
    assert done.status == GOOD and "  conflicts: 5\n" in done.out
    for line, text in [
        (1, f"0004F2000002 is mapped to {b} already"),
        (2, f"{user} is an identity of 0004F2000001 in store {store} already"),
        (4, f"{shared} is given to 0004F2000004 and to 0004F2000005"),
        (6, f"0004F2000006 with {x} is on line 5 as well"),
        (7, "0004F2000006 is on line 5 as well"),
    ]:
        assert f"{path}:{line}: conflict: {text}" in done.err
    assert len(mappings(lab, store)) == 10


def test_labels_and_sites_are_written_and_an_empty_cell_takes_away_with_replace_alone(lab, store):
    def stand():
        return set(
            sql(lab, "SELECT cn, label, site FROM device_info WHERE trust_store = %s", store)
        )

    def load(text, *options):
        done = run(lab, "--json", "import", "--store", store, *options, "-", given=text.encode())
        assert done.status == GOOD, done.err
        return done.document

    columns = ["--columns", "cn=MAC,identity=Ext,label=Name,site=Place"]
    first = (
        "MAC,Ext,Name,Place\n0004F2000001,a@example.org, Desk 1 ,Berlin\n"
        "0004F2000002,b@example.org,,\n0004F2000003,c@example.org,Door,\n"
    )
    assert load(first, *columns)["labels_and_sites"] == 2
    assert stand() == {
        ("0004F2000001", "Desk 1", "Berlin"),
        ("0004F2000003", "Door", None),
    }
    assert not load(first, *columns)["written"]
    sql(lab, "UPDATE device_info SET state = 'disabled' WHERE cn = '0004F2000003'")
    second = "MAC,Ext,Name,Place\n0004F2000001,a@example.org,,Rome\n"
    assert load(second, *columns)["labels_and_sites"] == 1
    assert ("0004F2000001", "Desk 1", "Rome") in stand()
    assert load(second, *columns, "--replace", "--yes")["devices"]["removed"] == 2
    assert stand() == {
        ("0004F2000001", None, "Rome"),
        ("0004F2000003", "Door", None),  # disabled: that is never forgotten
    }


@pytest.mark.parametrize(
    "value, text",
    [
        ('"a\nb"', 'the label "a\\x0ab" has a line break'),
        ("x" * 129, "is longer than 128 characters"),
    ],
)
def test_wrong_label_is_named(lab, store, value, text):
    given = f"cn,identity,label\n0004F2000001,a@example.org,{value}\n".encode()
    done = run(lab, "import", "--store", store, "--format", "csv", "-", given=given)
    assert done.status == BAD and "-:2: the label " in done.err and text in done.err


# ---- All or nothing


def blocked_import(lab, store, path):
    """An import that waits in mid-write for a row that another transaction has; and that one."""
    other = psycopg2_connect(lab, "postgres")
    with other.cursor() as cursor:
        cursor.execute(
            "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (%s, %s, %s)",
            (store, "0004F2000003", "c@example.org"),
        )
    process = start(lab, "import", "--store", store, path)
    wait_until(lambda: backends(lab, "wait_event_type = 'Lock'"), what="the import waits")
    return process, other


def backends(lab, condition):
    return sql(
        lab,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'mapctl' "
        f"AND query LIKE 'INSERT INTO public.cn_mapping%%' AND {condition}",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_import_leaves_nothing(lab, store, tmp_path, number):
    path = write(tmp_path, "".join(f"0004F200000{i}\tc@example.org\n" for i in range(1, 6)))
    process, other = blocked_import(lab, store, path)
    try:
        process.send_signal(number)
        done = Done(process, *process.communicate(timeout=60))
    finally:
        process.kill()
        other.rollback()
        other.close()
    if number != signal.SIGKILL:
        assert done.status == BAD
        assert done.wrong == ["mapctl: interrupted; nothing was written"]
        assert "\nwritten" not in done.out
    wait_until(lambda: not backends(lab, "true"), what="its backend is gone")
    assert mappings(lab, store) == set()
    assert run(lab, "import", "--store", store, path).status == GOOD
    assert len(mappings(lab, store)) == 5


def test_lost_connection_ends_with_3_and_leaves_nothing(lab, store, tmp_path):
    path = write(tmp_path, "".join(f"0004F200000{i}\tc@example.org\n" for i in range(1, 6)))
    process, other = blocked_import(lab, store, path)
    try:
        sql(lab, "SELECT pg_terminate_backend(%s)", backends(lab, "true")[0][0])
        done = Done(process, *process.communicate(timeout=60))
    finally:
        process.kill()
        other.rollback()
        other.close()
    assert done.status == UNREACHABLE and "the connection to the database is gone" in done.err
    assert mappings(lab, store) == set()


def test_what_another_writes_meanwhile_stands_once_and_the_import_goes_on(lab, store, tmp_path):
    path = write(tmp_path, "".join(f"0004F200000{i}\tc@example.org\n" for i in range(1, 6)))
    process, other = blocked_import(lab, store, path)
    try:
        other.commit()
        done = Done(process, *process.communicate(timeout=60))
    finally:
        process.kill()
        other.close()
    assert done.status == GOOD and done.wrong == []
    assert mappings(lab, store) == {(f"0004F200000{i}", "c@example.org") for i in range(1, 6)}
    audited = "SELECT cn, application FROM audit WHERE trust_store = %s AND table_name = 'cn_mapping' ORDER BY cn"
    assert sql(lab, audited, store) == [
        (f"0004F200000{i}", "mapctl" if i != 3 else "") for i in range(1, 6)
    ]


def test_list_that_comes_slowly_can_be_interrupted(lab, store):
    process = start(lab, "import", "--store", store, "-", stdin=subprocess.PIPE)
    process.stdin.write(b"0004F2000001\ta@example.org\n")
    process.stdin.flush()
    try:
        wait_until(
            lambda: sql(
                lab,
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'mapctl' "
                "AND query LIKE 'COPY pg_temp.import_list%%'",
            )
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == BAD
        assert process.stderr.read() == b"mapctl: interrupted; nothing was written\n"
    finally:
        process.kill()
        process.communicate()
    assert mappings(lab, store) == set()


@pytest.mark.parametrize("again", [False, True], ids=["one mapping each", "several"])
def test_mappings_are_written_by_identity_and_a_device_at_once(lab, store, tmp_path, again):
    """Three indexes are filled in order then, and the log has each device once."""
    word = unique()
    lines = [f"0004F200000{9 - n}\t{word}{n}@example.org\n" for n in range(5)]
    if again:
        lines.insert(0, f"0004F2000007\t{word}9@example.org\n")
    path = write(tmp_path, "".join(lines))
    assert run(lab, "import", "--store", store, path).status == GOOD
    wanted = [(f"0004F200000{9 - n}", f"{word}{n}@example.org") for n in range(5)]
    if again:
        wanted.insert(3, ("0004F2000007", f"{word}9@example.org"))
    written = "SELECT cn, identity FROM audit WHERE trust_store = %s AND cn <> '' ORDER BY id"
    assert sql(lab, written, store) == wanted


@pytest.mark.limit(300)
def test_F30_large_list_is_loaded_whole(lab, store, tmp_path):
    count = 30_000
    name = unique("n")
    path = write(
        tmp_path, "".join(f"{i:012X}\t{name}-{i % 15000}@example.org\n" for i in range(count))
    )
    done = run(lab, "--json", "import", "--store", store, path, timeout=280)
    assert done.status == GOOD and done.document["mappings"]["added"] == count, done.err[-500:]
    assert done.document["conflicts"]["identity_repeated"] == 15000
    assert sql(lab, "SELECT count(*) FROM cn_mapping WHERE trust_store = %s", store) == [(count,)]


# ---- What else can be wrong


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["import"], USAGE, "import takes FILE"),
        (["import", "/nonexistent/list"], USAGE, "/nonexistent/list: No such file"),
        (["import", "--store", "nostore", "FILE"], USAGE, "write one of: corp, device"),
        (["import", "--format", "mac", "FILE"], USAGE, "--identity '{mac}@example.org'"),
        (["import", "--format", "xml", "FILE"], USAGE, "repro|mac|csv|tsv"),
        (["import", "--identity", "{mac@x", "FILE"], USAGE, "brace"),
        (["import", "--columns", "x", "FILE"], USAGE, "KEY=NAME"),
        (["import", "--delimiter", "ab", "FILE"], USAGE, "write one character"),
        (["import", "--encoding", "none", "FILE"], USAGE, "no such encoding"),
        (["import", "--columns", "cn=MAC", "FILE"], BAD, 'there is no column "MAC"'),
        (["import", "/"], BAD, "/: Is a directory"),
        (["--database", "host=/nonexistent", "import", "FILE"], UNREACHABLE, "does not answer"),
    ],
)
def test_wrong_use_says_what_and_writes_nothing(lab, tmp_path, arguments, status, text):
    path = write(tmp_path, "cn,identity\n0004F2FFFFFF,a@example.org\n")
    done = run(lab, *[str(path) if a == "FILE" else a for a in arguments])
    assert (done.status, done.out) == (status, ""), done.err
    assert text in done.err
    assert sql(lab, "SELECT count(*) FROM cn_mapping WHERE cn = '0004F2FFFFFF'") == [(0,)]


def test_what_the_database_refuses_is_said_and_nothing_is_written(lab, store, tmp_path):
    path = write(tmp_path, "0004F2000001\ta@example.org\n0004F2000002\tb@example.org\n")
    sql(
        lab,
        "CREATE FUNCTION refuse_for_test() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''not on sundays'' USING HINT = ''come tomorrow''; END';"
        "CREATE TRIGGER refuse_for_test BEFORE INSERT ON cn_mapping FOR EACH ROW "
        f"WHEN (NEW.trust_store = '{store}' AND NEW.cn = '0004F2000002') "
        "EXECUTE FUNCTION refuse_for_test()",
    )
    try:
        done = run(lab, "import", "--store", store, path)
    finally:
        sql(lab, "DROP TRIGGER refuse_for_test ON cn_mapping; DROP FUNCTION refuse_for_test()")
    assert done.status == BAD
    assert "the database refuses: not on sundays; come tomorrow" in done.err
    assert mappings(lab, store) == set()
