# SPDX-License-Identifier: Apache-2.0
"""common/identity against the model in identity.py: every short user, and many random ones."""
import itertools
import random
import socket

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.lab.stack import ROOT
from tests.model import identity as model
from tests.model.answers import ask, text_of

set_hypothesis_home_dir(str(ROOT / "build" / "hypothesis"))
MANY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
HOSTS = [b"a", b"A.", b"", b"a..b", b"1.2.3.4", b"1.2.3", b"a1", b"1a", b"-a", b"a.1", b"a-.b"]
# What the grammar tells apart: letters, digits, a mark, separators, escapes whole and broken,
# what only tel: has, what must be escaped, what no user has.
PIECES = [b"a", b"Z", b"1", b"+", b"-", b"(", b";", b"*", b"#", b"%", b"%4", b"%41", b"%2b", b"%3A"]
PIECES += [b"%00", b"%1f", b"%7F", b"%fF", b"%23", b"@", b":", b" ", b"\0", b"\xc3\xa9", b"%25", b"."]


def compare(questions, expected):
    for question, answer, wanted in zip(questions, ask(questions), expected):
        assert text_of(answer) == wanted, f"{question}: {answer}, the model says {wanted}"


def compare_parts(cases):
    questions = [("parts", user, host, "1" if number else "0") for user, host, number in cases]
    compare(questions, [model.from_parts(*case) for case in cases])


def test_T07_every_short_user_has_the_canonical_form_of_the_model():
    users = [b"".join(p) for n in range(4) for p in itertools.product(PIECES, repeat=n)]
    cases = [(user, host, number) for user in users for host in (b"x.org", b"") for number in (0, 1)]
    compare_parts(cases)


def test_T07_every_short_host_has_the_canonical_form_of_the_model():
    pieces = [b"a", b"B", b"1", b"0", b"255", b"256", b".", b"-", b"_", b"%41", b"\xc3", b" "]
    hosts = HOSTS + [b"".join(p) for n in range(5) for p in itertools.product(pieces, repeat=n)]
    compare_parts([(user, host, 0) for user in (b"", b"u") for host in hosts])


def test_T07_texts_at_the_bounds_are_taken_or_refused_never_cut():
    cases = []
    for size in (62, 63, 64, 250, 252, 253, 254, 255, 300):
        cases += [(b"u" * size, b"x.org", 0), (b"1" * size, b"", 1), (b"%fa" * (size // 3), b"a", 0)]
        cases += [(b"", b"h" * size, 0), (b"", b".".join([b"h" * 63] * 4)[:size], 0)]
        cases += [(b"u", b".".join([b"h" * 61] * 4)[:size], 0), (b"#" * (size // 3), b"", 1)]
    for size in range(248, 256):
        for last in (b"", b"%41", b"%fa", b"1"):
            cases += [(b"1" * size + last, b"a", 0), (b"1" * size + last, b"", 1)]
        cases += [(b"1" * size + b"#", b"", 1), (b"1" * (size - 12) + b"-.()", b"a.example.org", 1)]
    compare_parts(cases)


@MANY
@given(st.lists(st.tuples(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join),
                          st.one_of(st.sampled_from(HOSTS), st.binary(max_size=12)),
                          st.booleans()), min_size=50, max_size=50))
def test_T07_random_parts_have_the_canonical_form_of_the_model(cases):
    compare_parts(cases)


@MANY
@given(st.lists(st.one_of(
    st.binary(max_size=24),
    st.tuples(st.sampled_from([b"", b" ", b"sip:", b"SIPS: ", b"tel:"]),
              st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join),
              st.sampled_from([b"", b"@", b"@@"]),
              st.sampled_from(HOSTS), st.sampled_from([b"", b"  ", b":5060", b";x"])).map(b"".join),
), min_size=50, max_size=50))
def test_T07_random_texts_have_the_canonical_form_of_the_model(texts):
    compare([("text", text) for text in texts], [model.from_text(text) for text in texts])


def test_T07_what_is_canonical_is_its_own_canonical_form():
    chosen = random.Random(7)
    users = [b"".join(chosen.choices(PIECES, k=chosen.randint(0, 8))) for _ in range(20000)]
    first = [model.from_parts(user, b"Host.Example.", False) for user in users]
    texts = [found[0] for found in first if found]
    assert len(texts) > 1000
    compare([("text", text) for text in texts], [found for found in first if found])


def test_T07_spellings_of_one_ipv6_address_are_one_and_of_two_are_two():
    chosen = random.Random(6)
    questions, packed = [], []
    for _ in range(500):
        words = [chosen.choice([0, 0, 0, 1, 0xFFFF, 0x0DB8, chosen.randrange(65536)]) for _ in "12345678"]
        address = b"".join(word.to_bytes(2, "big") for word in words)
        full = ":".join(chosen.choice(["%04X", "%x"]) % word for word in words)
        for text in (full, socket.inet_ntop(socket.AF_INET6, address)):
            questions.append(("parts", "u", f"[{text}]", "0"))
            packed.append(address)
    canonical = {}
    for answer, address in zip(ask(questions), packed):
        text, user_size = text_of(answer)
        assert user_size == 1 and text.startswith(b"u@[") and text.lower() == text
        assert socket.inet_pton(socket.AF_INET6, text[3:-1].decode()) == address
        assert canonical.setdefault(address, text) == text
    for broken in ("[", "[]", "[::1", "::1", "[::1]x", "[::1%eth0]", "[1::2::3]", "[:::1]", "[" + "1:" * 40 + "]", "[::1\0]"):
        assert ask([("parts", "u", broken, "0")]) == ["!"], broken
    sizes = [text_of(answer) for answer in ask([("parts", "u" * n, "[::1]", "0") for n in range(246, 251)])]
    assert [found is None for found in sizes] == [False] * 3 + [True] * 2


def test_T01_an_entry_covers_itself_and_its_domain_and_nothing_else():
    users = [b"".join(p) for n in range(4) for p in itertools.product([b"a", b"1", b"+", b"B"], repeat=n)]
    entries = [b"", b"a", b"b.a", b"b", b"1", b"11", b"+1", b"aB", b"+a", b"a@a", b"1@a", b"a@", b"@a"]
    entries += [b"1@b.a", b"a@b.a", b"B@a"]
    questions, expected = [], []
    for user, host, number in itertools.product(users, (b"a", b"b.a", b""), (0, 1)):
        identity = model.from_parts(user, host, number)
        parts = (user, host, str(number))
        questions += [("covers", *parts, entry) for entry in entries] + [("number", *parts)]
        if identity is None:
            expected += ["!"] * (len(entries) + 1)
        else:
            truths = [model.covered(identity, entry) for entry in entries]
            expected += ["yes" if truth else "no" for truth in [*truths, model.is_number(identity)]]
    for question, answer, wanted in zip(questions, ask(questions), expected):
        assert answer == wanted, question


def test_T21_every_short_service_has_the_canonical_form_of_the_model():
    pieces = [b"a", b"B", b"1", b"-", b".", b"_", b":", b"@", b"\0", b"\xc3", b"urn:service:", b"URN:Service:"]
    names = [b"".join(p) for n in range(5) for p in itertools.product(pieces, repeat=n)]
    labels = b".".join([b"s" * 48] * 5)
    names += [b"s" * n for n in (62, 63, 64)] + [labels[:n] for n in (240, 241, 242, 243)]
    names += [b"urn:service:" + labels[:n] for n in (241, 242, 243)] + [b"s" * 300]
    for name, answer in zip(names, ask([("service", name) for name in names])):
        wanted = model.service(name)
        assert text_of(answer) == (None if wanted is None else (wanted, len(wanted))), name


@MANY
@given(st.lists(st.tuples(st.sampled_from(["mac", "exact"]),
                          st.one_of(st.binary(max_size=20), st.text(max_size=8).map(str.encode),
                                    st.lists(st.sampled_from([b"00", b"aF", b"0g", b":", b"-", b".", b" ", b"0",
                                                              b"MAC", b"mac:"]),
                                             min_size=5, max_size=14).map(b"".join),
                                    st.sampled_from([b"x" * 192, b"x" * 193, b"\xc3\xa9" * 96, b""]))),
                min_size=100, max_size=100))
def test_T09_a_cn_has_the_form_of_its_store_or_is_none(cases):
    prefixes = [b"mac", b"", b"00", b"MAC:"]
    questions = [("cn", form, given_cn, *prefixes) for form, given_cn in cases]
    for question, answer in zip(questions, ask(questions)):
        wanted = model.cn(question[1], question[2], prefixes)
        assert text_of(answer) == (None if wanted is None else (wanted,)), question


def test_T09_clean_utf8_is_what_python_decodes_without_controls():
    firsts = list(range(256))
    strings = [bytes([a, b]) for a in firsts for b in firsts]
    edges = [0x00, 0x1F, 0x20, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    strings += [bytes([a, *rest]) for a in range(0xE0, 0x100) for rest in itertools.product(edges, repeat=2)]
    strings += [bytes([a, *rest]) for a in range(0xF0, 0x100) for rest in itertools.product(edges, repeat=3)]
    for data, answer in zip(strings, ask([("utf8", data) for data in strings])):
        assert answer == ("yes" if model.clean_utf8(data) else "no"), data
