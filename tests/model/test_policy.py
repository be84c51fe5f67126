# SPDX-License-Identifier: Apache-2.0
"""common/policy and common/admission against the model in policy.py: everything there is over small
domains, and random requests against random rules. Zero, and what no enum knows, is among the values
everywhere, and never yes."""
import itertools
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.lab.stack import ROOT
from tests.model import policy as model
from tests.model.answers import ask
from tests.model.policy import Question

set_hypothesis_home_dir(str(ROOT / "build" / "hypothesis"))
SOME = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))

STRANGE = 9  # of no enum
PEERS = [1, 2, 0, 3, 4, STRANGE]
STATES = [0, 1, 2, 3, 4, STRANGE]
DIGESTS = THIRDS = SHOWN = [0, 1, 2, 3, STRANGE]
PASSWORDS = [0, 1, 2, 3, 4, 5, STRANGE]
ADMISSIONS = list(itertools.product(DIGESTS, THIRDS, SHOWN, PASSWORDS))
SANE = list(itertools.product((1, 2, 3), (1, 2, 3), (1, 2, 3), (0, 1)))
ANY = b"1 allow * * * - - -"
A, B, C = b"alice@x.org", b"bob@x.org", b"carol@y.org"
TARGETS = [B, C, b"y.org", b"bob@a.x.org", b"+4930123@y.org", b"tel:+4930123", b"004930-123@y.org"]
TARGETS += [b"+4930123;rn=1@y.org", b"tel:+4930123;ext=1", b"01149%2030@y.org", b"4930x@y.org"]
TARGETS += [b"urn:service:sos", b"urn:service:sos.fire", b"urn:service:sosfire", b"urn:service:so"]
DIALLED = [b"tel:" + n for n in (b"+49900", b"0900", b"00900", b"+490900", b"+4900900", b"004900", b"+49-(0)9001")]
DIALLED += [n + b"@x.org" for n in (b"1900", b"+1900", b"+11900", b"0111900", b"06900", b"+3606900", b"112", b"0", b"+49")]
UNPREFIXED = [n + b"@x.org" for n in (b"5551234", b"555-1234", b"2125551234", b"12125551234", b"+5551234", b"911", b"0115551", b"055512")]
LOCAL = [{}, {7: b"1212", 10: b"1"}, {7: b"490"}, {6: b"", 3: b"49", 248: b"49123456", 249: b"1", 250: b"1"}]
LOOSE = [b"+4930123" + rest for rest in (b",1", b"p1", b"w1", b";x=1", b"/1", b"%3Bx", b"%C2%A01", b"*1", b"+1", b"%231")]
LOOSE += [b",+4930,12", b"~+49%2F30", b"+49/30-1", b"+49%E2%80%9130", b"+,4930", b"++4930", b"+49a30", b"+a4930", b"00+4930"]
LOOSE += [b"0049,30x", b"030/12p9", b"_030", b"%2B4930,", b"x+4930", b"alice4930", b"%2C", b"+x", b"49,30", b"555,1234x9", b"5551234,,9"]
LOOSE = [user + b"@y.org" for user in LOOSE]
LOOSE += [b"+49,30" + b"1" * n + b"@b.c" for n in (57, 58, 59, 200)] + [b"0" + b"3" * 249 + b"@b.c", b"tel:+4930;ext=1", b"y.org"]
LONG = [b"0" + b"9" * n + b"@b.c" for n in (247, 248, 249)]  # the country makes it longer than an identity
WANTED = [b"*", b"ours", b"user:bob@x.org", b"user:carol@y.org", b"domain:x.org", b"domain:y.org"]
WANTED += [b"number:+4930", b"number:004930", b"number:0", b"number:4930", b"number:+49301234"]
WANTED += [b"service:sos", b"service:sos.fire"]


def certain(q, admission, third_party):
    """What must be known, by what stands in the question alone, before anything is allowed."""
    known = q.peer in (1, 2) and q.user in (1, 2, 3) and q.sender not in (None, b"", b"\0")
    if admission in (model.STRANGER, model.ANONYMOUS):
        known = q.peer in (1, 2) and q.user == 1 and q.to is None and (q.to_ourselves or q.nobody in (1, 2, 3, 4))
        known = known and (q.admission[1] == 2 if admission == model.STRANGER else not q.to_ourselves)
    if third_party:
        known = known and q.user in (2, 3) and q.to_state in (2, 3, 4) and q.to_ourselves
        known = known and any(r.effect in (1, 3) and b"REGISTER" in r.list for r in map(model.read_rule, q.rules))
    if not q.to_ourselves:
        known = known and q.target not in (None, b"", b"\0") and q.target_state in (1, 2, 3, 4)
    if q.admission:
        digest, _, shown, password = q.admission
        known = known and digest in (1, 2, 3) and shown in (1, 2, 3) and admission in (1, 2, 3, 4, 5)
        if admission in (model.BY_PASSWORD, model.BY_BOTH):
            known = known and digest in (2, 3) and password == 1 and q.password_user == q.sender
    return known


def expected(q):
    answer = model.decide(q)
    entry = (answer.entry.hex() or "-") if answer.effect == model.ALLOW else "*"
    return [str(answer.effect), answer.reason, entry, *map(str, (
        answer.admission, answer.rule, answer.per_minute, answer.edge, answer.third_party))]  # fmt: skip


def compare(questions):
    """How many are allowed; who is not doesn't care for the entry."""
    allowed = 0
    for q, answer in zip(questions, ask([q.fields() for q in questions])):
        got = answer.split(" ")
        if got[0] == "1":
            allowed += 1
            assert certain(q, int(got[3]), got[7] == "1"), f"{q}: {answer}"
        else:
            got[2] = "*"
        wanted = expected(q)
        assert got == wanted, f"{q}: {got}, the model says {wanted}"
    return allowed


def test_F46_every_cell_of_the_matrix_admits_as_the_model():
    facts = list(itertools.product(DIGESTS, SHOWN, (0, 1), (0, 1), THIRDS))
    questions = [("admission", *map(str, (d, t, c, p, o))) for d, c, p, o, t in facts]
    for fact, answer in zip(facts, ask(questions)):
        assert int(answer) == model.cell(*fact), fact


def test_F46_every_line_of_the_matrix_is_reached():
    """Else one would stand in the model for nothing."""
    own = {1: "own", 0: "other"}
    facts = itertools.product(model.DIGESTS.values(), model.SHOWN.values(), ("yes", "no"), own.values())
    first = [next(i for i, line in enumerate(model.MATRIX)
                  if all(w in ("*", n) for w, n in zip(line, fact))) for fact in facts]  # fmt: skip
    assert set(first) == set(range(len(model.MATRIX)))


def test_F46_every_state_admission_and_password_is_decided_as_by_the_model():
    holds = [(A,), (B,), ()]
    questions = [
        Question(peer=peer, entries=entries, admission=admission, user=user, password_user=A)
        for peer, entries, admission in itertools.product(PEERS[:2], holds, [None, *ADMISSIONS])
        for user in (None, *STATES)
    ]
    questions += [
        Question(peer=peer, entries=(A,), admission=admission, password_user=A)
        for peer in PEERS[2:] for admission in [None, *SANE]
    ]  # fmt: skip
    assert compare(questions) > 500


def test_F46_every_From_and_target_is_decided_as_by_the_model():
    questions = [
        Question(entries=(A, C), sender=sender, admission=admission, password_user=proved, user=user,
                 to_ourselves=not target, target=target, target_state=state)
        for sender in (A, C, B, b"\0", None) for admission in [None, *SANE] for proved in (A, C)
        for user in (1, 3) for target, state in [(None, 0), (B, 3), (B, 0), (B, 9), (C, 1), (b"\0", 3)]
    ]  # fmt: skip
    questions += [Question(target=None, admission=admission) for admission in [None, *SANE]]
    assert compare(questions) > 100


def test_F46_the_rules_of_anonymous_decide_for_who_has_proved_nothing_as_by_the_model():
    rules = [(), (ANY,), (b"7 deny * * ours - - -",), (b"7 allow * INVITE service:sos - 2000 5",)]
    rules += [(b"7 challenge * * * - - -",), (b"7 deny corp * * - - -", b"8 allow device * number:+49 - - -")]
    questions = [
        Question(sender=sender, admission=admission, user=user, nobody=nobody, nobody_rules=chosen, method=method,
                 to_ourselves=not target, target=target, target_state=state, password_user=C, entries=entries, to=to)
        for sender in (C, A) for admission in SANE for user in (1, 3) for nobody in (1, None, 0, STRANGE)
        for chosen in rules for method, to in ((b"INVITE", None), (b"REGISTER", None), (b"INVITE", C))
        for target, state in [(None, 0), (B, 3), (b"tel:+4930", 1), (b"urn:service:sos.fire", 1), (B, 0)]
        for entries in [(), (C,)]
    ]  # fmt: skip
    assert compare(random.Random(46).sample(questions, 40000)) > 1000


def test_T04_every_To_is_decided_as_by_the_model():
    questions = [
        Question(method=method, entries=entries, sender=sender, to=to, admission=admission,
                 password_user=proved, to_ourselves=True, target=None, user=user)
        for method in (b"REGISTER", b"INVITE") for entries in [(A,), (A, B), (b"x.org",), (B,), ()]
        for sender, proved in [(A, A), (A, B), (A, b""), (b"x.org", b"x.org")]
        for to in (None, b"\0", A, B, b"x.org") for admission in [None, *SANE] for user in (1, 3)
    ]  # fmt: skip
    assert compare(questions) > 100


THIRD = [(), (ANY,), (b"7 allow * REGISTER * - - -",), (b"7 allow * MESSAGE,REGISTER ours - - 5",)]
THIRD += [(b"7 allow * REGISTER user:bob@x.org - - -",), (b"7 allow * REGISTER user:carol@y.org - - -",)]
THIRD += [(b"7 allow device REGISTER domain:x.org - 2000 -",), (b"7 allow corp REGISTER domain:x.org - - -",)]
THIRD += [(b"7 deny * * * - - -", b"8 allow * REGISTER * - - -"), (b"7 allow * REGISTER * 2000 - -", ANY)]
THIRD += [(b"7 deny * REGISTER * - 2000 -", b"8 allow * REGISTER * - - -"), (b"7 challenge * REGISTER ours - - -",)]
THIRD += [(b"7 challenge * * * - - -", b"8 allow * REGISTER * - - -"), (b"7 allow * INVITE * - - -",)]
THIRD += [(b"7 deny * * number:+49 - - -", b"8 allow * REGISTER * - - -")]
THIRD += [(b"=9,1 7 allow * * * - - -", b"8 allow * REGISTER * - - -"), (b"7 allow * REGISTER number:+49 - - -",)]


def test_F41_who_may_register_for_another_is_decided_as_by_the_model():
    questions = [
        Question(method=method, entries=entries, sender=sender, to=to, to_state=state, rules=rules, user=user,
                 admission=admission, password_user=proved, to_ourselves=ourselves, target=None if ourselves else C)
        for method in (b"REGISTER", b"INVITE") for entries in [(A,), (A, B), (b"x.org",), ()]
        for sender, proved in [(A, A), (A, B), (b"x.org", b"x.org")] for to in (B, C, A, b"x.org", b"0049301@x.org", None)
        for state in STATES for rules in THIRD for user in (None, *STATES) for ourselves in (True, False)
        for admission in (None, (1, 3, 3, 0), (2, 3, 3, 0), (2, 3, 3, 1), (3, 3, 3, 1), (2, 3, 2, 1))
    ]  # fmt: skip
    assert compare(random.Random(41).sample(questions, 40000)) > 200


def test_F45_every_rule_decides_as_by_the_model():
    texts = [b"=%d,%b 5 allow * * %b - - 7" % (effect, kind, wanted)
             for effect in (0, 1, 2, 3, STRANGE)
             for kind, wanted in [*((b"", w) for w in WANTED), (b"0", b"*"), (b"9", b"*"), (b"5", b"domain:x.org")]]  # fmt: skip
    admissions = [None, (1, 3, 3, 0), (2, 3, 3, 1), (3, 1, 3, 1), (2, 1, 3, 0), (2, 2, 3, 5)]
    questions = [
        Question(target=target, target_state=state, rules=rules, admission=admission, password_user=A)
        for text in texts for rules in [(text,), (text, b"6 allow * * * - 2000 -")] for target in TARGETS
        for state, admission in zip(STATES, admissions)
    ]  # fmt: skip
    # Spellings of a proxy's own international prefixes, and none.
    questions += [
        Question(target=b"004930@y.org", international=prefixes, rules=(b"5 allow * * %b - - -" % wanted,))
        for prefixes in (b"", b"0", b"0,00", b"00,0049", b",", b"00,") for wanted in WANTED
    ]  # fmt: skip
    # Dial plans.
    questions += [
        Question(target=target, target_state=1, international=prefixes, national=national, country=country,
                 rules=(b"5 allow * * number:%b - - -" % wanted,))
        for target in (*DIALLED, *LONG) for prefixes in (b"", b"00,011") for national in (b"", b"0", b"1", b"06")
        for country in (b"", b"49", b"1", b"36") for wanted in (b"0900", b"+49900", b"+490900", b"1900", b"+1900", b"0", b"00", b"+", b"112")
        if wanted != b"+"
    ]  # fmt: skip
    # What might be taken for a number.
    questions += [
        Question(target=target, target_state=state, national=national, country=country, local=local,
                 admission=(2, 3, 3, password), password_user=A, rules=(b"5 %b * * number:%b - - -" % (effect, wanted), *more))
        for target in LOOSE for state in (1, 2, 3, 4) for national, country in ((b"", b""), (b"0", b"49"))
        for local in ({}, {7: b"4930"}) for effect, password in ((b"allow", 0), (b"deny", 0), (b"challenge", 0), (b"challenge", 1))
        for wanted in (b"+4930", b"030", b"+493", b"+4930123", b"4", b"+491") for more in ((), (ANY,))
    ]  # fmt: skip
    # Numbers by their length.
    questions += [
        Question(target=target, target_state=1, national=national, country=country, local=local,
                 rules=(b"5 allow * * number:%b - - -" % wanted,))
        for target in (*UNPREFIXED, *LONG) for national, country in ((b"", b""), (b"0", b"49"), (b"1", b"1")) for local in LOCAL
        for wanted in (b"5551234", b"+1212555", b"+1", b"555", b"2125551234", b"+4955", b"911", b"+49055")
    ]  # fmt: skip
    assert compare(questions) > 1000


def test_F45_stores_methods_and_effects_decide_as_by_the_model():
    lists = [b"*", b"INVITE", b"MESSAGE", b"BYE,INVITE", b"INVITE,BYE", b"INV,INVITES"]
    questions = [
        Question(store=store, method=method, admission=(digest, third, 3, password), password_user=proved,
                 rules=(b"2 %b %b %b * - - 3" % (effect, wanted, methods), *more))
        for store in (b"device", b"corp", b"") for method in (b"INVITE", b"invite", b"", b"FROB")
        for digest, third in ((1, 1), (2, 2), (3, 3)) for password in (0, 1, STRANGE)
        for proved in (A, B) for effect in (b"allow", b"deny", b"challenge")
        for wanted in (b"*", b"device") for methods in lists for more in ((), (ANY,))
    ]  # fmt: skip
    assert compare(questions) > 1000


def test_F45_every_window_and_order_decides_as_by_the_model():
    edges = [b"-", b"1", b"2", b"3"]
    windows = [b"%b %b" % pair for pair in itertools.product(edges, repeat=2)]
    questions = [
        Question(now=now, rules=(b"1 %b * * * %b -" % (effect, first), b"2 allow * * * %b 9" % second))
        for now in range(4) for effect in (b"allow", b"deny") for first in windows for second in windows
    ]  # fmt: skip
    few = [b"- 2", b"2 -", b"2 3", b"3 1"]
    questions += [
        Question(now=now, rules=tuple(b"%d allow * * * %b -" % (i, w) for i, w in enumerate(three)))
        for now in (1, 2, 3) for three in itertools.product(few, repeat=3)
    ]  # fmt: skip
    assert compare(questions) > 500
    moments = [(q.now, q.rules) for q in questions]
    asked = [("edge", str(now), b"\n".join(rules)) for now, rules in moments]
    for (now, rules), answer in zip(moments, ask(asked)):
        assert int(answer) == model.rights_edge([model.read_rule(r) for r in rules], now), (now, rules)


# ---- The text of rules ----


def compare_rules(texts):
    read = 0
    for text, answer in zip(texts, ask([("rule", text) for text in texts])):
        rule = model.rule(text)
        wanted = "!"
        if rule:
            read += 1
            wanted = (f"{rule.id} {rule.effect} {rule.store.hex()} {rule.methods.hex()} {rule.kind} "
                      f"{rule.target.hex() or '-'} {rule.start} {rule.end} {rule.per_minute}")  # fmt: skip
        assert answer == wanted, f"{text}: {answer}, the model says {wanted}"
    return read


GOOD = [[b"1"], [b"allow"], [b"*"], [b"*"], [b"*"], [b"-"], [b"-"], [b"-"]]
NUMBERS = [b"0", b"7", b"007", b"-", b"", b"x", b"-1", b"+1", b"1x", b"18446744073709551615"]
NUMBERS += [b"18446744073709551616", b"4294967294", b"4294967295", b"4294967296"]
EVERY_BYTE = [bytes([c]) for c in range(256)]
FIELDS = [
    NUMBERS,
    [b"allow", b"deny", b"challenge", b"ALLOW", b"allo", b"allows", b"", b"*"],
    [*EVERY_BYTE, b"", b"a" * 32, b"a" * 33, b"**", b"corp-2", b"a.b", b"a_b", b"aB"],
    [*EVERY_BYTE, b"", b"INVITE", b"BYE,A", b",A", b"A,", b"A,,B", b"*,A", b"A,*", b"iNVITE", b"A,\0"],
    [*WANTED, b"", b"any", b"our", b"oursx", b"user:", b"user:b", b"user:a@B", b"user:%61@b", b"user:a@b"]
    + [b"user", b"userx:a@b", b"domain:", b"domain:a@b", b"domain:B", b"domain:b", b"domain:b.", b"number"]
    + [b"number:", b"number:+", b"number:+4", b"number:4+", b"number:4-9", b"Number:1", b"service:", b"*x"]
    + [b"service:SOS", b"service:urn:service:sos", b"service:a..b", b"service:-a", b"service:a-.b"]
    + [kind + b":" + c for kind in (b"number", b"domain", b"service") for c in EVERY_BYTE]
    + [b"user:a" + c + b"@b" for c in EVERY_BYTE],
    NUMBERS,
    NUMBERS,
    NUMBERS,
]


def test_T21_every_field_of_a_rule_is_read_as_by_the_model():
    texts = []
    for at, values in enumerate(FIELDS):
        texts += [b" ".join([*(g[0] for g in GOOD[:at]), v, *(g[0] for g in GOOD[at + 1 :])]) for v in values]
    for count in range(11):
        texts += [b" ".join([b"1"] * count), b" ".join([*(g[0] for g in GOOD), b"-", b"-"][:count])]
    texts += [b" " + ANY, ANY + b" ", ANY + b"\n", ANY + b"\0", ANY.replace(b" ", b"  ", 1), ANY.replace(b" ", b"\t")]
    assert compare_rules(texts) > 100


@SOME
@given(st.lists(st.tuples(*(st.sampled_from(g + f[:12]) if i != 4 else st.sampled_from(WANTED)
                            for i, (g, f) in enumerate(zip(GOOD, FIELDS)))),
                min_size=50, max_size=50))  # fmt: skip
def test_T21_random_rules_are_read_as_by_the_model(rules):
    compare_rules([b" ".join(fields) for fields in rules])


# ---- Anything with anything ----

EDGES = [b"-", b"-", b"999", b"1000", b"1001", b"1002", b"1500"]
RULE = [
    [b"1", b"2", b"3"],
    [b"allow", b"allow", b"deny", b"challenge"],
    [b"*", b"*", b"device", b"corp"],
    [b"*", b"*", b"INVITE", b"MESSAGE,INVITE", b"BYE", b"REGISTER", b"BYE,REGISTER"],
    WANTED,
    EDGES,
    EDGES,
    [b"-", b"1", b"60"],
]
NAMES = [A, A, A, B, C, b"x.org", b"tel:+491", b"\0", None]
# What is usual stands oftener than once, so that many requests come as far as their rules.
REQUEST = {
    "peer": [1, 1, 1, 1, 2, 2, *PEERS],
    "store": [b"device", b"corp", b""],
    "entries": [(A,), (A,), (A, B), (b"x.org", A), (B, C), (C,), (b"+491", b"y.org"), ()],
    "method": [b"INVITE", b"INVITE", b"MESSAGE", b"REGISTER", b"BYE", b""],
    "sender": NAMES,
    "to": [None] * 6 + NAMES,
    "to_state": [3, 3, 3, *STATES],
    "to_ourselves": [False, False, True],
    "target": [*TARGETS, None, b"\0"],
    "target_state": [3, 3, *STATES],
    "international": [b"00,011", b"", b"00,0"],
    "national": [b"0", b"", b"1"],
    "country": [b"49", b"", b"1"],
    "local": [{}, {3: b"49"}, {4: b"1", 2: b"49"}],
    "now": [998, 999, 1000, 1001, 1002],
    "admission": [*SANE, *[None] * 30, *ADMISSIONS[::29]],
    "password_user": [A, A, B, C, b""],
    "user": [3, 3, 1, 1, 2, None, *STATES],
    "nobody": [1, 1, 1, None, *STATES],
}


def test_F45_random_requests_are_decided_as_by_the_model():
    chosen = random.Random(45)
    rules = [b" ".join(map(chosen.choice, RULE)) for _ in range(1000)]
    questions = [
        Question(**{name: chosen.choice(values) for name, values in REQUEST.items()},
                 rules=tuple(chosen.choices(rules, k=chosen.randrange(7))),
                 nobody_rules=tuple(chosen.choices(rules, k=chosen.randrange(4))))
        for _ in range(20000)
    ]  # fmt: skip
    assert compare(questions) > 200


@SOME
@given(st.lists(st.builds(
    Question,
    **{name: st.sampled_from(values) for name, values in REQUEST.items()},
    rules=st.lists(st.tuples(*map(st.sampled_from, RULE)).map(b" ".join), max_size=4).map(tuple),
), min_size=20, max_size=20))  # fmt: skip
def test_F45_requests_that_shrink_are_decided_as_by_the_model(questions):
    compare(questions)
