# SPDX-License-Identifier: Apache-2.0
"""mapctl export, and the way out and back in."""
import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.lab.stack import ROOT
from tests.system.lib import sql
from tests.system.lib.import_list import BAD, GOOD, UNREACHABLE, USAGE, make_store, mappings, run

set_hypothesis_home_dir(str(ROOT / "build" / "hypothesis"))

# ---- Out and back

USER = st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1, max_size=12) | st.sampled_from(
    ["a%22b", "%25", "=1+1", "+49", "-x", "'=", "a,b", ","]
)
IDENTITY = st.builds(
    lambda user, domain: f"{user}@{domain}" if user else domain,
    st.none() | USER,
    st.sampled_from(["example.org", "example.net", "sub.example.org"]),
)
MAC = st.integers(0, 2**48 - 1).map("{:012X}".format)
# Whatever a certificate may have: a store of form `exact` refuses control characters alone.
NAME = st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Cn"], max_codepoint=0x1F9FF)
    | st.sampled_from("=+-@'\"#,;\\ \ufeff"),
    min_size=1,
    max_size=20,
)


# A label or a site, which a spreadsheet might run.
PLACE = st.none() | st.text(
    st.characters(blacklist_categories=["Cs", "Cc", "Cn", "Zs", "Zl", "Zp"], max_codepoint=0x2FFF)
    | st.sampled_from("=+-@'\"#,;\\"),
    min_size=1,
    max_size=20,
)


def mapping_sets(cn):
    return st.sets(st.tuples(cn, IDENTITY), min_size=1, max_size=12)


def places(lab, store):
    return set(
        sql(lab, "SELECT cn, label, site FROM device_info WHERE trust_store = %s", store)
    )


def fill_places(lab, store, values):
    """Gives the devices of the store labels and sites, as many as there are values."""
    cns = sorted({cn for cn, _ in mappings(lab, store)})
    for cn, (label, site) in zip(cns, values):
        if label is None and site is None:
            continue
        sql(
            lab,
            "INSERT INTO device_info (trust_store, cn, label, site) VALUES (%s, %s, %s, %s)",
            store,
            cn,
            label,
            site,
        )


def fill(lab, store, rows):
    sql(lab, "DELETE FROM device_info WHERE trust_store = %s", store)
    sql(lab, "DELETE FROM cn_mapping WHERE trust_store = %s", store)
    sql(
        lab,
        "INSERT INTO cn_mapping (trust_store, cn, identity) "
        "SELECT %s, * FROM unnest(%s, %s) ON CONFLICT DO NOTHING",
        store,
        [cn for cn, _ in rows],
        [identity for _, identity in rows],
    )


def round_trip(lab, store, rows, labelled, path, formats):
    fill(lab, store, rows)
    fill_places(lab, store, labelled)
    have, stand = mappings(lab, store), places(lab, store)
    assert {cn for cn, _ in have} == {cn for cn, _ in rows}
    for options in formats:
        done = run(lab, "export", "--store", store, "--output", path, *options)
        if done.status == BAD:  # repro's lines can't hold every name
            assert options == ["--format", "repro"] and "write --format csv" in done.err
            continue
        assert (done.status, done.out, done.err) == (GOOD, "", "")
        bare = [o for o in options if o != "--bare"]
        again = run(lab, "--json", "import", "--store", store, "--replace", "--yes", *bare, path)
        assert again.status == GOOD and not again.document["written"], (options, again.err)
        assert mappings(lab, store) == have and places(lab, store) == stand
        # And into a store that has lost it all.
        sql(lab, "DELETE FROM cn_mapping WHERE trust_store = %s", store)
        if "repro" not in options:
            sql(lab, "DELETE FROM device_info WHERE trust_store = %s", store)
        assert run(lab, "import", "--store", store, *bare, path).status == GOOD
        assert mappings(lab, store) == have
        assert places(lab, store) == stand
        assert run(lab, "export", "--store", store, *options).out.encode() == path.read_bytes()


@pytest.mark.limit(600)
@pytest.mark.parametrize("form, cn", [("mac", MAC), ("exact", NAME)])
def test_F31_export_then_import_changes_nothing(lab, tmp_path, form, cn):
    store = make_store(lab, form)
    formats = [
        ["--format", "repro"],
        ["--format", "csv"],
        ["--format", "tsv"],
        ["--format", "csv", "--delimiter", ";"],
    ]

    @settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(mapping_sets(cn), st.lists(st.tuples(PLACE, PLACE), max_size=12))
    def check(rows, labelled):
        round_trip(lab, store, rows, labelled, tmp_path / "list", formats)

    check()


def test_F31_mac_list_comes_back_by_the_same_template(lab, tmp_path):
    store = make_store(lab)
    path = tmp_path / "list"
    text = "0004F2000001\n0004F2000002\n"
    template = ["--store", store, "--identity", "{mac-lower}@example.org"]
    assert run(lab, "import", *template, "-", given=text.encode()).status == GOOD
    assert run(lab, "export", "--store", store, "--format", "mac", "--output", path).status == GOOD
    assert path.read_text() == text
    again = run(lab, "--json", "import", *template, "--replace", "--yes", path)
    assert again.status == GOOD and not again.document["written"]


def test_F31_list_is_ordered_by_cn_and_identity(lab):
    store = make_store(lab)
    fill(lab, store, [("0004F2000002", "b@example.org"), ("0004F2000001", "z@example.org")])
    fill_more = [("0004F2000001", "a@example.org")]
    sql(lab, "INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (%s, %s, %s)", store, *fill_more[0])
    expected = "0004F2000001\ta@example.org,z@example.org\n0004F2000002\tb@example.org\n"
    assert run(lab, "export", "--store", store).out == expected
    lines = [json.loads(line) for line in run(lab, "--json", "export", "--store", store).out.splitlines()]
    assert [(one["cn"], one["identities"]) for one in lines] == [
        ("0004F2000001", ["a@example.org", "z@example.org"]),
        ("0004F2000002", ["b@example.org"]),
    ]


# ---- Files


def test_a_device_with_thousands_of_identities_takes_several_lines(lab, tmp_path):
    store = make_store(lab)
    rows = {("0004F2000001", f"user{i}@example.org") for i in range(2500)}
    fill(lab, store, rows)
    path = tmp_path / "list"
    assert run(lab, "export", "--store", store, "--output", path).status == GOOD
    assert len(path.read_text().splitlines()) == 3
    sql(lab, "DELETE FROM cn_mapping WHERE trust_store = %s", store)
    assert run(lab, "import", "--store", store, path).status == GOOD
    assert mappings(lab, store) == rows


def test_a_spreadsheet_runs_no_value_as_a_formula(lab):
    store = make_store(lab, "exact")
    rows = [("=cmd|' /C calc'!A0", "=1+1@example.org"), ("@SUM(1)", "+49@example.org")]
    fill(lab, store, rows)
    fill_places(lab, store, [("=2", None)])
    out = run(lab, "export", "--store", store, "--format", "csv").out
    assert "\"'=cmd|' /C calc'!A0\",\"'=1+1@example.org\",\"'=2\",\"\"\n" in out
    assert "\"'@SUM(1)\",\"'+49@example.org\",\"\",\"\"\n" in out
    bare = run(lab, "export", "--store", store, "--format", "csv", "--bare").out
    assert '"@SUM(1)","+49@example.org","",""\n' in bare


def test_file_appears_whole_or_not_at_all(lab, tmp_path):
    store = make_store(lab, "exact")
    fill(lab, store, [("#1", "a@example.org"), ("A", "a@example.org")])
    path = tmp_path / "list"
    path.write_text("as it was\n")
    done = run(lab, "export", "--store", store, "--output", path)
    assert done.status == BAD and '"#1" can\'t stand at the beginning of a line' in done.err
    assert path.read_text() == "as it was\n" and os.listdir(tmp_path) == ["list"]
    old = os.umask(0o027)
    try:
        assert run(lab, "export", "--store", store, "--format", "csv", "--output", path).status == GOOD
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and os.listdir(tmp_path) == ["list"]
    assert path.read_text() == (
        'cn,identity,label,site\n"#1","a@example.org","",""\n"A","a@example.org","",""\n'
    )
    done = run(lab, "export", "--store", store, "--output", "/dev/full", "--format", "csv")
    assert done.status == BAD and "/dev/full: No space left" in done.err


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["export", "--store", "nostore"], USAGE, "there is no trust store"),
        (["export", "--store", "corp", "--format", "mac"], USAGE, "no MAC addresses"),
        (["export", "list"], USAGE, "takes no operand"),
        (["--json", "export", "--format", "csv"], USAGE, "--json is a format of its own"),
        (["export", "--output", "/nonexistent/list"], BAD, "/nonexistent/list: No such file"),
        (["--database", "host=/nonexistent", "export"], UNREACHABLE, "does not answer"),
    ],
)
def test_wrong_use_says_what(lab, arguments, status, text):
    done = run(lab, *arguments)
    assert (done.status, done.out) == (status, "") and text in done.err
