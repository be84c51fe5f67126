# SPDX-License-Identifier: Apache-2.0
"""What somebody provisions without measure makes no answer that breaks the link to mapperd, and no
yes."""
import shutil

import pytest

from tests.system.lib import Phone, cn_of, ready_phone, resp, sql, unique, wait_until
from tests.system.test_compare import QUICK, a_round_passes, named
from tests.system.test_mapperd_feed import info, state

END = "0 deny * * * - - -"


def test_T55_a_user_with_too_many_rules_is_denied_behind_the_bound(fresh_lab):
    lab = fresh_lab
    alice, bob = ready_phone(lab), ready_phone(lab)
    sql(
        lab,
        """
        INSERT INTO user_group (name) SELECT 'g' || n FROM generate_series(1, 20) n;
        INSERT INTO user_group_member (group_name, identity) SELECT name, %s FROM user_group WHERE name LIKE 'g%%';
        INSERT INTO rights_rule (position, who_kind, who, target_kind, target, methods, effect)
        SELECT n, 'group', 'g' || g, 'number', '+49' || n, '{INVITE}', 'allow'
        FROM generate_series(1, 500) n, generate_series(1, 20) g;
        INSERT INTO rights_rule (position, effect) VALUES (4000, 'allow');
        """,
        alice.identity,
    )
    wait_until(lambda: resp(lab, "RIGHTS", alice.identity)[-1] == END, what="too many rules")
    rules = resp(lab, "RIGHTS", alice.identity)[4:]
    assert len(rules) == 8193
    assert all(f"number:+49{i // 20 + 1} " in rule for i, rule in enumerate(rules[:-1]))
    # The link stands: alice is denied, with the reason, and bob is not.
    wait_until(lambda: alice.message(bob.aor).status == 403, what="alice is denied")
    assert "rule-denies" in alice.message(bob.aor).get("Warning")
    assert bob.options().status == 200
    lines = resp(lab, "EXPLAIN", "device", alice.cn, alice.identity, "MESSAGE", bob.identity)[2:]
    assert lines[-2] == f"rule {END}"


def test_T55_a_device_with_too_many_identities_has_the_first_ones(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    bob = ready_phone(lab)
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT %s, lpad(n::text, 6, '0') || '@example.org'"
        " FROM generate_series(1, 5000) n",
        cn,
    )
    first, last = "000001@example.org", "005000@example.org"
    wait_until(lambda: resp(lab, "PEER", "device", cn)[2] == "known", what="the device is known")
    identities = resp(lab, "PEER", "device", cn)[4:]
    assert len(identities) == 4096 and identities[0] == first
    phone = Phone(lab, cn=cn, user=unique()).connect()
    assert phone.options(from_=f"<sip:{first}>").status == 200
    assert phone.options(from_=f"<sip:{last}>").status == 403
    assert bob.options().status == 200
    assert "row-skipped" in lab.log_of("mapperd").read_text()


def with_identities(lab, cn, count):
    sql(
        lab,
        "INSERT INTO cn_mapping (cn, identity) SELECT %s, lpad(n::text, 6, '0') || '@example.net'"
        " FROM generate_series(1, %s) n",
        cn,
        count,
    )


@pytest.mark.lab(mapperd_conf={"compare_round_s": 0})
def test_T55_a_disabled_device_whose_identities_fill_a_range_stays_disabled_through_a_fill(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    lab.stop_program("mapperd")
    sql(lab, "INSERT INTO device_info (cn, state) VALUES (%s, 'disabled')", cn)
    with_identities(lab, cn, 6000)
    shutil.rmtree(lab.path("lmdb"))
    lab.path("lmdb").mkdir()
    lab.start_program("mapperd")
    assert int(info(lab)["fills"]) == 1
    assert state(lab, cn) == "disabled"


@QUICK
def test_a_device_with_more_identities_than_a_compared_range_is_compared_as_a_whole(fresh_lab):
    lab, cn = fresh_lab, cn_of()
    with_identities(lab, cn, 1200)
    wait_until(lambda: state(lab, cn) == "known", what="the device is known")
    a_round_passes(lab)
    assert named(lab) == 0
