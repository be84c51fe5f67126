# SPDX-License-Identifier: Apache-2.0
"""docs/security.md from the names of tests: `python3 tests/docs/security.py` writes it anew.

A test carries the ids of what it proves: test_T02_invented_to_tag_is_refused. T is an attack or a
fault, F a feature. A .sql file names them in its first lines.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"

THREATS = {
    "Identity": {
        1: "a From that is not the device's",
        2: "the same with an invented To tag",
        3: "ACK or CANCEL of another device",
        4: "registering for somebody else; a Contact that is another's phone",
        5: "claimed identities in P-Asserted-Identity and its kin, also from callees",
        6: "display names, quotes and a second From as disguise",
        7: "another spelling of an identity",
        8: "the same CN from another authority",
        9: "strange CNs: control characters, several, too long, none",
        10: "names that mean something to SQL, LMDB or RESP",
        11: "one name of a certificate used for another user",
        12: "wildcards and addresses as names",
        13: "certificates that are expired, for another use, weak or of nobody",
        14: "an old TLS session after its permission has gone",
        15: "a Route that leads round the policy",
        16: "responses from who was not asked",
        17: "Contacts and Paths that lead inside",
        18: "dialog tokens that are forged, stolen, or used elsewhere",
        19: "permission that goes while a request waits",
        20: "a connection to a next hop used for another",
        21: "numbers spelled round their rules",
    },
    "Load": {
        30: "handshakes and messages that never end",
        31: "TLS made expensive: renegotiation, key updates, huge chains and keys",
        32: "messages without end",
        33: "wrong lengths; a message hidden in a body",
        34: "floods of pings, and garbage",
        35: "lookups for names that nobody has",
        36: "mapperd slow, hung, gone, or talking nonsense",
        37: "one device that fills the parking",
        38: "a peer that does not read",
        39: "loops and amplification by forking",
        40: "registrations without end",
        41: "no descriptors, no memory, no disk",
    },
    "Data": {
        50: "transactions that commit in another order, or stay open",
        51: "PostgreSQL killed, restored, failed over",
        52: "mapperd killed anywhere; its store damaged",
        53: "a change between an answer and its use",
        54: "clocks that jump",
        55: "rows that break what the schema promises",
        56: "a role for one domain that reaches for another",
        57: "a socket opened by who must not",
        58: "listeners on the database that hang",
    },
}
TEST = re.compile(r"\btest_((?:[TF]\d+_)+)[A-Za-z0-9_]+")
HEAD = """# Attacks and faults, and the tests that try them

Made from the names of tests by `tests/docs/security.py`; do not edit. `make test T=name` runs one. An
attack without a test is not shown to be survived.
"""


def names_of(path):
    """(ids, name) of each test in a file."""
    text = path.read_text()
    if path.suffix == ".sql":
        head = " ".join(line for line in text.splitlines()[:4] if line.startswith("--"))
        yield re.findall(r"\b[TF]\d+\b", head), path.relative_to(ROOT).as_posix()
        return
    for match in re.finditer(TEST, text):
        yield match[1].rstrip("_").split("_"), match[0]


def collect():
    found = {}
    for pattern in ("unit/**/test_*.c", "system/test_*.py", "sql/*.sql"):
        for path in sorted((ROOT / "tests").glob(pattern)):
            for ids, name in names_of(path):
                for one in ids:
                    found.setdefault((one[0], int(one[1:])), set()).add(name)
    return found


def shown(names):
    return "<br>".join(f"`{name}`" for name in sorted(names)) or "none yet"


def page():
    found, lines = collect(), [HEAD]
    known = {("T", number) for part in THREATS.values() for number in part}
    unknown = sorted(one for one in found if one[0] == "T" and one not in known)
    if unknown:
        raise SystemExit(f"tests/docs/security.py has no words for {unknown}")
    for part, threats in THREATS.items():
        lines += [f"## {part}\n", "| id | what | tests |", "| --- | --- | --- |"]
        for number, words in threats.items():
            lines.append(f"| T{number} | {words} | {shown(found.get(('T', number), ()))} |")
        lines.append("")
    lines += ["## Features that tests are named for\n", "| id | tests |", "| --- | --- |"]
    for one in sorted(one for one in found if one[0] == "F"):
        lines.append(f"| F{one[1]} | {shown(found[one])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.exit(0)
