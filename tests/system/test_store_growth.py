# SPDX-License-Identifier: Apache-2.0
"""A map that is full grows by itself: in the store that is served, in one that is filled, and over a restart."""
import shutil

import pytest

from tests.system.lib import psycopg2_connect, sql, wait_until
from tests.system.test_mapperd_feed import info, known, new_mapping, start_without_waiting

ROWS = (
    "INSERT INTO cn_mapping (cn, identity) SELECT lpad(upper(to_hex(n)), 12, '0'),"
    " n || '@' || repeat('long.', {}) || 'example' FROM generate_series({}, {}) n"
)


def add(lab, first, last, labels=30):
    connection = psycopg2_connect(lab)
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(ROWS.format(labels, first, last))
    connection.commit()
    connection.close()


@pytest.mark.limit(300)
@pytest.mark.lab(mapperd_conf={"lmdb_map_size_mb": 16})
def test_T41_a_full_map_grows_by_itself_and_nothing_is_lost(fresh_lab):
    lab = fresh_lab
    kept, gone = new_mapping(lab), new_mapping(lab)
    assert info(lab)["map_bytes"] == str(16 << 20)
    add(lab, 1, 50000, labels=46)
    sql(lab, "SELECT retire_device(%s)", gone)
    wait_until(lambda: not known(lab, gone), timeout=90)
    wait_until(lambda: info(lab)["devices"] == "50001", timeout=90)
    assert int(info(lab)["map_bytes"]) > 16 << 20
    assert known(lab, kept) and known(lab, f"{50000:012X}")
    log = lab.log_of("mapperd").read_text()
    assert "event=store-grows" in log and log.count("event=fill-started") == 1
    # What had grown is opened as large as it is.
    lab.kill_program("mapperd")
    sql(lab, "SELECT retire_device(%s)", kept)
    start_without_waiting(lab)
    wait_until(lambda: info(lab)["ready"] == "1", timeout=60)
    assert not known(lab, kept) and known(lab, f"{1:012X}") and info(lab)["fills"] == "0"
    # And a fill that finds its new store too small is done again in a larger one.
    assert lab.stop_program("mapperd") == 0
    shutil.rmtree(lab.path("lmdb"))
    start_without_waiting(lab)
    wait_until(lambda: info(lab)["ready"] == "1" and info(lab)["devices"] == "50000", timeout=120)
    assert known(lab, f"{50000:012X}") and not known(lab, kept)
    another = new_mapping(lab)
    sql(lab, "SELECT retire_device(%s)", another)
    wait_until(lambda: not known(lab, another), timeout=60)
