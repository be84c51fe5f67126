# SPDX-License-Identifier: Apache-2.0
"""The decision once more, from the contract: the tables of docs/operating.md as they stand there, the
order of common/policy.h, the text of rules of docs/protocol.md. Rules are chosen by asking which one
decides at a moment, so that the next change is found by looking at every moment to come."""
import re
from dataclasses import dataclass, field, replace

from tests.model import identity

NEVER = 2**64 - 1
STORE_MAX = 32

EFFECTS = {"allow": 1, "deny": 2, "challenge": 3}
ALLOW, DENY, CHALLENGE = 1, 2, 3
PEER_KNOWN, PEER_UNKNOWN, PEER_DISABLED, PEER_BLOCKED = 1, 2, 3, 4
FOREIGN, UNKNOWN, KNOWN, DISABLED = 1, 2, 3, 4
OURS = (UNKNOWN, KNOWN, DISABLED)
LOOKED_UP = (FOREIGN, *OURS)
ANY, OF_OURS, USER, DOMAIN, NUMBER, SERVICE = 1, 2, 3, 4, 5, 6
DIGESTS = {1: "off", 2: "fallback", 3: "always"}
THIRDS = {1: "challenge", 2: "accept"}
SHOWN = {1: "ignored", 2: "none", 3: "valid"}

# The numbers of enum admission.
NONE, BY_CERTIFICATE, BY_PASSWORD, BY_BOTH, STRANGER, ANONYMOUS, REFUSE_FROM, REFUSE_BARE = range(8)

# "Digest and certificate", line by line: digest, what is shown, does it permit From, whose domain
# From has, what happens. The first line that fits counts; "third" is what third_parties says.
MATRIX = [
    # off
    ("off", "ignored", "*", "own", REFUSE_BARE),
    ("off", "ignored", "*", "other", ANONYMOUS),
    ("off", "none", "*", "own", REFUSE_BARE),
    ("off", "none", "*", "other", "third, if accepted"),
    ("off", "valid", "yes", "*", BY_CERTIFICATE),
    ("off", "valid", "no", "*", REFUSE_FROM),
    # fallback, always: nobody is asked for a certificate
    ("fallback", "ignored", "*", "*", BY_PASSWORD),
    ("always", "ignored", "*", "*", BY_PASSWORD),
    # fallback
    ("fallback", "none", "*", "own", BY_PASSWORD),
    ("fallback", "none", "*", "other", "third"),
    ("fallback", "valid", "yes", "*", BY_CERTIFICATE),
    ("fallback", "valid", "no", "own", BY_PASSWORD),
    ("fallback", "valid", "no", "other", "third"),
    # always
    ("always", "none", "*", "*", REFUSE_BARE),
    ("always", "valid", "yes", "own", BY_BOTH),
    ("always", "valid", "yes", "other", BY_CERTIFICATE),
    ("always", "valid", "no", "*", REFUSE_FROM),
]

# What is said to who has to prove a password and has not, by enum password_outcome.
RIGHT = 1
UNPROVED = {
    0: (CHALLENGE, "credentials-required"),
    2: (CHALLENGE, "credentials-wrong"),
    3: (CHALLENGE, "credentials-stale"),
    4: (CHALLENGE, "credentials-replayed"),
    5: (DENY, "credentials-braked"),
}


@dataclass
class Rule:
    id: int
    effect: int
    store: bytes
    methods: bytes
    kind: int
    target: bytes
    start: int = 0
    end: int = NEVER
    per_minute: int = 0

    def __post_init__(self):
        self.list = self.methods.split(b",")


@dataclass
class Question:
    peer: int = PEER_KNOWN
    store: bytes = b"device"
    entries: tuple = (b"alice@x.org",)
    method: bytes = b"INVITE"
    sender: object = b"alice@x.org"  # None: missing; b"\0": an identity that is zero
    to: object = None
    to_state: int = KNOWN
    to_ourselves: bool = False
    target: object = b"bob@x.org"
    target_state: int = KNOWN
    international: bytes = b"00,011"
    national: bytes = b""
    country: bytes = b""
    local: dict = field(default_factory=dict)  # {digits: what stands before so many}
    now: int = 1000
    admission: object = None  # (digest, third parties, certificate, password)
    password_user: bytes = b""
    user: object = KNOWN  # None: no rights
    rules: tuple = (b"1 allow * * * - - -",)
    nobody: object = FOREIGN  # the state in RIGHTS of anonymous.invalid; None: not known
    nobody_rules: tuple = ()

    def fields(self):
        """As answers_policy.c reads it."""
        return (
            "decide", str(self.peer), self.store, b"\n".join(self.entries), self.method,
            self.sender or b"", self.to or b"", "01"[self.to_ourselves], self.target or b"",
            str(self.target_state), self.international, str(self.now),
            ",".join(map(str, self.admission)) if self.admission else "", self.password_user,
            "" if self.user is None else str(self.user), b"\n".join(self.rules),
            self.national, self.country,
            "" if self.nobody is None else str(self.nobody), b"\n".join(self.nobody_rules),
            b",".join(b"%d:%b" % item for item in self.local.items()),
            str(self.to_state),
        )  # fmt: skip


@dataclass
class Answer:
    effect: int
    reason: str
    entry: bytes = b""
    admission: int = NONE
    rule: int = 0
    per_minute: int = 0
    edge: int = NEVER
    third_party: int = 0


def no(reason="none"):
    return Answer(DENY, reason)


# ---- Identities ----

parsed = {}


def read(text):
    """(text, size of its user part), None for one that is missing or zero."""
    if text not in parsed:
        if not text or text == b"\0":
            parsed[text] = None
        elif text.startswith(b"urn:service:"):
            parsed[text] = (text, len(text))
        elif text.startswith(b"tel:"):
            parsed[text] = identity.from_parts(text[4:], b"", True)
        else:
            parsed[text] = identity.from_text(text)
    return parsed[text]


SEPARATORS = rb"[\-.()]|%20"


def first_entry(q, who):
    return next((e for e in q.entries if who and identity.covered(who, e)), b"")


def digits(user, q, beginning=False):
    """However a number is spelled, one text; None for what is none, or too long."""
    text = re.sub(SEPARATORS, b"", user)
    return by_plan(text, q, beginning) if re.fullmatch(rb"\+?[0-9]+", text) else None


def likenesses(user, q):
    """What a gateway could make of a user part that begins as a number: it ends behind the number, at
    a letter, or never; what else stands in it counts nothing."""
    text = re.sub(rb"%..", b"~", re.sub(SEPARATORS, b"", user))
    begun = re.fullmatch(rb"[^0-9A-Za-z+]*(\+?)(.*)", text)
    plus, rest = begun.groups()
    if not plus and not re.match(rb"[0-9]", rest):
        return []
    ends = (re.split(end, rest)[0] for end in (rb"[^0-9]", rb"[A-Za-z]", rb"$"))
    found = [re.sub(rb"[^0-9]", b"", text) for text in ends]
    return [by_plan((plus + n)[:64], q) for n in found if n]


def by_plan(text, q, beginning=False):
    """The beginning of a number has no length yet."""
    fits = [p for p in q.international.split(b",") if p and text.startswith(p)]
    if fits:
        text = b"+" + text[len(max(fits, key=len)) :]
    if q.national and q.country:
        country = b"+" + q.country
        if text.startswith(q.national):
            text = country + text[len(q.national) :]
    if not beginning and not text.startswith(b"+") and len(text) in q.local:
        text = b"+" + q.local[len(text)] + text
    if q.national and q.country:
        country = b"+" + q.country
        if q.national == b"0" and text.startswith(country):
            text = country + text[len(country) :].lstrip(b"0")
    return text if len(text) <= identity.IDENTITY_MAX else None


# ---- Rules ----

NUMERIC = re.compile(rb"[0-9]+")
STORE = re.compile(rb"\*|[a-z0-9_\-]{1,%d}" % STORE_MAX)
METHOD = rb"[A-Z0-9\-.!%_+`'~]+"
METHODS = re.compile(rb"\*|" + METHOD + rb"(?:," + METHOD + rb")*")


def rule_target(text):
    if text in (b"*", b"ours"):
        return (ANY if text == b"*" else OF_OURS), b""
    kind, colon, value = text.partition(b":")
    if colon and kind in (b"user", b"domain"):
        found = identity.from_text(value)
        if found and found[0] == value and (found[1] > 0) == (kind == b"user"):
            return (USER if kind == b"user" else DOMAIN), value
    elif colon and kind == b"number" and re.fullmatch(rb"\+?[0-9]+", value):
        return NUMBER, value
    elif colon and kind == b"service" and identity.service(value) == b"urn:service:" + value:
        return SERVICE, value
    return None


def moment(text, usual):
    if text == b"-":
        return usual
    return int(text) if NUMERIC.fullmatch(text) and int(text) <= NEVER else None


def rule(text):
    """A Rule, or None: the whole answer is unusable then."""
    fields = text.split(b" ")
    if len(fields) != 8:
        return None
    number, effect, store, methods, target, start, end, bound = fields
    target = rule_target(target)
    start, end = moment(start, 0), moment(end, NEVER)
    if None in (target, start, end, EFFECTS.get(effect.decode("latin-1"))):
        return None
    if not (NUMERIC.fullmatch(number) and int(number) <= NEVER):
        return None
    if not (STORE.fullmatch(store) and METHODS.fullmatch(methods)):
        return None
    if bound != b"-" and not (NUMERIC.fullmatch(bound) and 1 <= int(bound) <= 2**32 - 2):
        return None
    return Rule(int(number), EFFECTS[effect.decode()], store, methods, *target, start, end,
                0 if bound == b"-" else int(bound))  # fmt: skip


rules_read = {}


def read_rule(text):
    """Of a question: it may say another effect and kind first."""
    if text not in rules_read:
        effect, kind, plain = re.fullmatch(rb"(?:=([0-9]*),([0-9]*) )?(.*)", text).groups()
        found = rule(plain)
        if effect:
            found = replace(found, effect=int(effect))
        if kind:
            found = replace(found, kind=int(kind))
        rules_read[text] = found
    return rules_read[text]


def numbers(r, q, user, explicit):
    """What permits sees plain numbers alone; what does not, all that might be taken for one, but in the
    name of a user who exists, and where somebody registers for another."""
    loosely = r.effect != ALLOW and q.target_state not in (KNOWN, DISABLED) and not explicit
    return [digits(user, q), *(likenesses(user, q) if loosely else ())]


def reaches(r, q, target, explicit):
    text, user_size = target
    is_service = text.startswith(b"urn:service:")
    if r.kind == ANY:
        return True
    if r.kind == OF_OURS:
        return q.target_state in OURS
    if r.kind == USER:
        return text == r.target
    if r.kind == DOMAIN:
        return text[user_size + 1 if user_size else 0 :] == r.target
    if r.kind == NUMBER:
        wanted = digits(r.target, q, beginning=True)
        return wanted is not None and any(n and n.startswith(wanted) for n in numbers(r, q, text[:user_size], explicit))
    if r.kind == SERVICE:
        return is_service and (text[12:] + b".").startswith(r.target + b".")
    return False


def fits(r, q, target, explicit):
    store = r.store in (b"*", q.store)
    method = q.method != b"" if r.methods == b"*" else q.method in r.list
    return store and method and reaches(r, q, target, explicit)


def in_force(rules, now):
    return next((i for i, r in enumerate(rules) if r.start <= now < r.end), None)


def by_rules(q, target, texts, explicit=False):
    """explicit: only a rule that names the method permits; one of all methods can but forbid."""
    rules = [r for r in map(read_rule, texts) if fits(r, q, target, explicit)]
    vague = [explicit and r.methods == b"*" for r in rules]
    rules = [r for r, v in zip(rules, vague) if not (v and r.effect == ALLOW)]
    chosen = in_force(rules, q.now)
    moments = sorted({m for r in rules for m in (r.start, r.end) if q.now < m < NEVER})
    edge = next((m for m in moments if in_force(rules, m) != chosen), NEVER)
    if chosen is None:
        return replace(no("no-right"), edge=edge)
    r = rules[chosen]
    answer = no("rule-denies")
    if r.effect == ALLOW:
        answer = Answer(ALLOW, "allowed")
    elif explicit and r.methods == b"*" or r.kind == NUMBER and digits(target[0][: target[1]], q) is None:
        pass
    elif r.effect == CHALLENGE and q.admission and DIGESTS.get(q.admission[0]) in ("fallback", "always"):
        answer = proves(q) or Answer(ALLOW, "allowed")
    return replace(answer, rule=r.id, per_minute=r.per_minute, edge=edge)


def rights_edge(rules, now):
    """When a rule begins or ceases to be in force."""
    return min((m for r in rules for m in (r.start, r.end) if m > now), default=NEVER)


# ---- Who may use From ----


def proves(q):
    """None: the password of From is proved. Else what is said."""
    if q.admission[3] != RIGHT:
        return Answer(*UNPROVED.get(q.admission[3], (DENY, "none")))
    return None if q.password_user and read(q.sender)[0] == q.password_user else no("from-not-permitted")


def cell(digest, shown, permitted, own, thirds):
    """What the matrix says, by the numbers of the enums."""
    names = DIGESTS.get(digest), SHOWN.get(shown), "yes" if permitted else "no", "own" if own else "other"
    for *line, happens in MATRIX:
        if all(want in ("*", name) for want, name in zip(line, names)):
            break
    else:
        return NONE
    if happens == "third, if accepted":
        return STRANGER if THIRDS.get(thirds) == "accept" else REFUSE_BARE
    if happens != "third":
        return happens
    refuse = REFUSE_FROM if SHOWN[shown] == "valid" else REFUSE_BARE
    return {"challenge": BY_PASSWORD, "accept": STRANGER}.get(THIRDS.get(thirds), refuse)


def refusal(q):
    return no("device-unknown" if q.peer == PEER_UNKNOWN and not q.entries else "from-not-permitted")


def may(q):
    """From is permitted: the user's state and rules."""
    if q.user not in LOOKED_UP:
        return no()
    if q.user == DISABLED:
        return no("user-disabled")
    if q.to_ourselves:
        return Answer(ALLOW, "allowed")
    if read(q.target) is None or q.target_state not in LOOKED_UP:
        return no()
    return by_rules(q, read(q.target), q.rules)


def registers(q):
    return q.method == b"REGISTER" or q.to is not None


def for_another(q):
    """A third party registers: of our users one for another, by a rule that names REGISTER."""
    to, sender = read(q.to), read(q.sender)
    refused = no("to-not-permitted")
    if not (to and to[1] and sender[1]):
        return refused
    if q.user not in LOOKED_UP:
        return no()
    if q.user == DISABLED:
        return no("user-disabled")
    if q.user == FOREIGN or not q.to_ourselves:
        return refused
    if q.to_state not in LOOKED_UP:
        return no()
    if q.to_state == FOREIGN:
        return refused
    asked = replace(q, method=b"REGISTER", target=q.to, target_state=q.to_state, international=b"00,011",
                    national=b"", country=b"", local={})  # fmt: skip
    answer = by_rules(asked, to, q.rules, explicit=True)
    if answer.effect == ALLOW:
        return replace(answer, third_party=1)
    if answer.reason in ("no-right", "rule-denies"):
        return replace(answer, reason="to-not-permitted")
    return answer


def by_entries(q):
    if registers(q) and not first_entry(q, read(q.to)):
        return replace(for_another(q), entry=first_entry(q, read(q.sender)))
    return replace(may(q), entry=first_entry(q, read(q.sender)))


def by_password(q, besides):
    said = proves(q)
    if said:
        return said
    if registers(q):
        to = read(q.to)
        if not to or to[0] != q.password_user or (besides and not first_entry(q, to)):
            answer = for_another(q)
            return replace(answer, entry=first_entry(q, read(q.sender)) if besides else q.password_user)
    return replace(may(q), entry=first_entry(q, read(q.sender)) if besides else q.password_user)


def as_nobody(q, stranger):
    """The rules of `anonymous`; a stranger may call our users besides."""
    if registers(q):
        return no("to-not-permitted" if stranger else "certificate-required")
    if q.to_ourselves:
        return Answer(ALLOW, "allowed", read(q.sender)[0]) if stranger else no("certificate-required")
    if read(q.target) is None or q.target_state not in LOOKED_UP or q.nobody not in LOOKED_UP:
        return no()
    answer = replace(by_rules(q, read(q.target), q.nobody_rules), entry=read(q.sender)[0])
    if answer.reason != "no-right":
        return answer
    if not stranger:
        return replace(answer, reason="certificate-required")
    return replace(answer, effect=ALLOW, reason="allowed") if q.target_state in OURS else answer


def by_admission(q):
    digest, thirds, shown, _ = q.admission
    permitted = SHOWN.get(shown) == "valid" and first_entry(q, read(q.sender)) != b""
    cells = [cell(digest, shown, permitted, own, thirds) for own in (True, False)]
    if q.user is None:
        if cells[0] != cells[1]:
            return no()  # whose domain it is must be known first
        admission = cells[0]
    elif q.user not in LOOKED_UP:
        return no()
    else:
        admission = cells[0 if q.user in OURS else 1]
    answer = {
        NONE: no,
        BY_CERTIFICATE: lambda: by_entries(q),
        BY_PASSWORD: lambda: by_password(q, False),
        BY_BOTH: lambda: by_password(q, True),
        STRANGER: lambda: as_nobody(q, True),
        ANONYMOUS: lambda: as_nobody(q, False),
        REFUSE_FROM: lambda: refusal(q),
        REFUSE_BARE: lambda: no("certificate-required"),
    }[admission]()
    return replace(answer, admission=admission)


def decide(q):
    if q.peer == PEER_DISABLED:
        return no("device-disabled")
    if q.peer == PEER_BLOCKED:
        return no("certificate-blocked")
    if q.peer not in (PEER_KNOWN, PEER_UNKNOWN) or read(q.sender) is None:
        return no()
    if q.admission:
        return by_admission(q)
    return by_entries(q) if first_entry(q, read(q.sender)) else refusal(q)
