# SPDX-License-Identifier: Apache-2.0
"""What system tests are written with; see helpers.py, phone.py, peer.py and sip.py."""
from .helpers import cn_of, psycopg2_connect, resp, sql, unique, wait_until

__all__ = ["cn_of", "psycopg2_connect", "resp", "sql", "unique", "wait_until"]
