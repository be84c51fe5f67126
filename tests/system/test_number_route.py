# SPDX-License-Identifier: Apache-2.0
"""Numbers that leave by a route (F65): which route, written how, and only by a rule about the number that
the route's dial plan makes of it, however it was spelled (T21)."""
import subprocess

import pytest

from tests.system.lib import Pbx, ready_phone, sql, wait_until
from tests.system.lib.mapctl import mapctl
from tests.system.test_emergency import dial
from tests.system.test_foreign_callers import reaches, rule
from tests.system.test_number_spelling import SPELLINGS, spelled

PLAN = {"number_prefixes": ["+", "0", "112"], "country_code": "49", "number_form": "e164"}
GERMAN = ("0{r}", "(0{a3}){b3}", "%30{r}", "+49(0){r}", "+49-0-{r}", "0049(0){r}", "+490{r}", "%2B490{r}")

pytestmark = pytest.mark.lab(workers=2, proxy_sections={"route pbx": PLAN})


def spellings(digits, domain):
    """Of +49…"""
    rest = digits[2:]
    for text in SPELLINGS:
        yield spelled(text, digits, domain)
    for text in GERMAN:
        yield f"sip:{text.format(r=rest, a3=rest[:2], b3=rest[2:])}@{domain}"
    yield f"tel:+{digits}"
    yield f"tel:+49-({rest[:2]}){rest[2:]}"


@pytest.fixture
def dialling(fresh_lab):
    """A phone and a PBX for numbers; those with +49 are allowed, but not +49900."""
    with Pbx(fresh_lab) as pbx:
        alice = ready_phone(fresh_lab)
        rule(fresh_lab, "everyone", "number", "0900", "deny", position=10)
        rule(fresh_lab, "everyone", "number", "+49", "allow", position=20)
        wait_until(lambda: reaches(alice, pbx, to="tel:+491")[0] == 200, what="the rules")
        yield fresh_lab, alice, pbx


def arrives(phone, pbx, uri):
    """The Request-URI that the PBX gets; None for a request that is refused."""
    request = phone.send(phone.request("MESSAGE", uri, body="hello"))
    wait_until(lambda: pbx.seen("MESSAGE") or phone.seen(403), what=f"MESSAGE or 403 of {uri}")
    got = pbx.expect("MESSAGE") if pbx.seen("MESSAGE") else None
    if got:
        pbx.reply(got, 200)
    assert phone.response(request).status == (200 if got else 403)
    return got.uri if got else None


def checked(lab, phone, target):
    """The first line of mapctl check."""
    words = ["--proxy-config", str(lab.path("proxy.conf")), "--listener", "tls", "--cert", str(phone.pem)]
    _, out, err = mapctl(lab, "check", *words, phone.identity, "MESSAGE", target)
    assert not err
    return out.splitlines()[0]


def test_T21_every_spelling_of_a_number_is_decided_as_one_and_leaves_as_one(dialling):
    lab, alice, pbx = dialling
    for uri in spellings("499001234", lab.domain):
        status, warning = dial(alice, uri)
        assert status == 403 and "rule-denies:" in warning, uri
    for uri in spellings("493012345", lab.domain):
        assert arrives(alice, pbx, uri) == f"sip:+493012345@{pbx.domain};user=phone", uri
    for uri in spellings("499001234", pbx.domain):
        assert dial(alice, uri)[0] == 403, uri
    for uri in spellings("493012345", pbx.domain):
        assert arrives(alice, pbx, uri) == f"sip:+493012345@{pbx.domain};user=phone", uri
    assert [checked(lab, alice, uri) for uri in ("tel:+493012345", f"0900123@{lab.domain}")] == ["allowed", "denied"]


LOOSE = (
    "+{c}{r},1", "+{c}{r}p1", "+{c}{r}w,1", "+{c}{r};x=1", "+{c}{r}%3Bx=1", "+{c}{r}*1", "+{c}{r}%231", "+{c}{r}x5",
    "+{c}/{r}", "+{c},{r}", "++{c}{r}", "+{c}+{r}", "%2B{c}%2F{r}", "+{c}%C2%A0{r}", "~+{c}{r}", "+{c}a{r}", "+{c}/({r})p1",
    "00{c}{r},1", "011{c}/{r}", "0{r},1", "0/{r}", "%30{r}p1", "+{c}(0)/{r}", "0{r}" + 9 * ",",
)  # fmt: skip


def test_T21_what_a_gateway_takes_for_a_denied_number_leaves_by_no_domain(dialling):
    lab, alice, pbx = dialling
    rule(lab, "everyone", "domain", pbx.domain, "allow", position=30)
    rule(lab, "everyone", "domain", lab.domain, "allow", position=30)
    wait_until(lambda: reaches(alice, pbx)[0] == 200, what="the rules")
    for text in LOOSE:
        user = text.format(c="49", r="900123")
        for params in ("", ";user=phone", ";transport=tls"):
            uri = f"sip:{user}@{pbx.domain}{params}"
            status, warning = dial(alice, uri)
            assert status == 403 and "rule-denies:" in warning, uri
        assert checked(lab, alice, f"sip:{user}@{pbx.domain}") == "denied", user
        assert dial(alice, f"sip:{user}@{lab.domain}")[0] in (403, 404), user  # a name there, which nobody has
        other = f"sip:{text.format(c='49', r='30123')}@{pbx.domain}"
        assert arrives(alice, pbx, other) == other
        assert checked(lab, alice, other) == "allowed", other
    for user in ("alice0900", "x+49900", "desk-0900"):
        assert arrives(alice, pbx, f"sip:{user}@{pbx.domain}"), user
    assert dial(alice, "tel:+49900123;ext=1")[0] == 403


def test_a_user_of_ours_may_have_a_name_that_begins_like_a_denied_number(dialling):
    lab, alice, _ = dialling
    bob = ready_phone(lab, user="0900F2000001")
    assert reaches(alice, bob)[0] == 200
    assert checked(lab, alice, bob.identity) == "allowed"


AMERICAN = {
    "number_prefixes": ["+1", "911"], "country_code": "1", "national_prefix": "1", "number_form": "e164",
    "local_numbers": ["10:+1", "7:+1212"],
}  # fmt: skip


@pytest.mark.lab(workers=1, proxy_sections={"route pbx": AMERICAN})
def test_T21_numbers_dialled_without_prefix_are_decided_as_with_it(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        rule(lab, "everyone", "number", "+1212555", "allow", position=10)
        rule(lab, "everyone", "number", "911", "allow", position=10)
        wait_until(lambda: reaches(alice, pbx, to="tel:+12125550")[0] == 200, what="the rules")
        same = ("5551234", "555-1234", "2125551234", "(212)555.1234", "12125551234", "%2B12125551234", "01112125551234")
        for number in same:
            assert arrives(alice, pbx, f"sip:{number}@{lab.domain}") == f"sip:+12125551234@{pbx.domain};user=phone", number
            assert arrives(alice, pbx, f"sip:{number}@{pbx.domain}") == f"sip:+12125551234@{pbx.domain};user=phone", number
            other = number.replace("555", "556", 1)
            assert dial(alice, f"sip:{other}@{lab.domain}")[0] == 403, other
            assert dial(alice, f"sip:{other}@{pbx.domain}")[0] == 403, other
            assert [checked(lab, alice, f"sip:{n}@{lab.domain}") for n in (number, other)] == ["allowed", "denied"], number
        assert arrives(alice, pbx, f"sip:911@{lab.domain}") == f"sip:911@{pbx.domain};user=phone"
        for nobody in ("555123", "55512345", "212555123"):  # of no length that is known: no number of the route
            assert dial(alice, f"sip:{nobody}@{lab.domain}")[0] == 404, nobody


def test_T21_routing_parameters_leave_by_no_number_route(dialling):
    lab, alice, pbx = dialling
    rule(lab, "everyone", "any", None, "allow", position=1)
    wait_until(lambda: arrives(alice, pbx, "tel:+43662"), what="the rule")
    for parameter in ("rn=+49900", "tgrp=x;trunk-context=y", "cic=+12", "postd=pp9", "npdi", "%72n=+49900"):
        for uri in (
            f"sip:+4930;{parameter}@{lab.domain}",
            f"sip:+4930@{lab.domain};{parameter}",
            f"sip:030;{parameter}@{lab.domain};user=phone",
            f"tel:+4930;{parameter}",
        ):
            assert dial(alice, uri)[0] == 403, uri
    for user in ("+4930;x=y", "+4930x", "+49*30", "++4930", "%23030", "+", "+4930%3Bx"):
        assert dial(alice, f"sip:{user}@{lab.domain}")[0] == 404, user
    for uri in ("tel:+4930;ext=5", "tel:+4930;isub=1", f"sip:+4930@other.{lab.domain}", "sip:030@192.0.2.7"):
        status, warning = dial(alice, uri)
        assert status == 403 and "target-no-route:" in warning, uri
    assert not pbx.seen("MESSAGE")


def test_a_user_of_ours_is_reached_before_the_number_route(dialling):
    lab, alice, pbx = dialling
    number = "+49301"
    uri = f"sip:{number}@{lab.domain}"
    assert arrives(alice, pbx, uri)
    bob = ready_phone(lab, user=number)
    assert reaches(alice, bob, to=uri)[0] == 200
    assert bob.exchange(bob.make_register(expires=0)).status == 200
    assert dial(alice, uri)[0] == 480
    sql(lab, "DELETE FROM cn_mapping WHERE identity = %s", bob.identity)
    sql(lab, "DELETE FROM sip_user WHERE identity = %s", bob.identity)
    wait_until(lambda: dial_or_arrive(alice, pbx, uri) == 200, what="nobody has the number")


def dial_or_arrive(phone, pbx, uri):
    request = phone.send(phone.request("MESSAGE", uri, body="x"))
    wait_until(lambda: pbx.seen("MESSAGE") or phone.seen(480) or phone.seen(404), what="an answer")
    if pbx.seen("MESSAGE"):
        pbx.reply(pbx.expect("MESSAGE"), 200)
    return phone.response(request).status


def test_who_holds_a_whole_domain_is_reached_before_the_number_route(dialling):
    lab, alice, pbx = dialling
    gateway = ready_phone(lab)
    sql(lab, "INSERT INTO cn_mapping (cn, identity) VALUES (%s, %s)", gateway.cn, lab.domain)
    number = f"sip:+49302@{lab.domain}"
    wait_until(
        lambda: gateway.exchange(gateway.make_register(to=f"<{number}>", from_=f"<{number}>")).status == 200,
        what="the mapping",
    )
    assert reaches(alice, gateway, to=number)[0] == 200
    assert arrives(alice, pbx, f"sip:+49303@{lab.domain}")


def test_no_number_leaves_without_a_rule_about_numbers(fresh_lab):
    lab = fresh_lab
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        rule(lab, "everyone", "domain", pbx.domain, "allow")
        rule(lab, "everyone", "domain", lab.domain, "allow")
        wait_until(lambda: reaches(alice, pbx)[0] == 200, what="the rules")
        for uri in (f"sip:+4930@{lab.domain}", f"sip:030@{lab.domain}", "tel:+4930", f"sip:112@{lab.domain}"):
            status, warning = dial(alice, uri)
            assert status == 403 and "no-right:" in warning, uri
        assert dial(alice, f"sip:113@{lab.domain}")[0] == 404
        rule(lab, "everyone", "number", "112", "allow", position=1)
        wait_until(lambda: arrives(alice, pbx, f"sip:112@{lab.domain}"), what="emergency calls for everyone")
        assert dial(alice, f"sip:030@{lab.domain}")[0] == 403


def test_a_call_to_a_number_and_no_way_back_to_where_it_comes_from(dialling):
    lab, alice, pbx = dialling
    out = alice.invite(f"sip:030-77@{lab.domain}")
    into = pbx.expect_call()
    assert into.invite.uri == f"sip:+493077@{pbx.domain};user=phone"
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    bye = into.bye()
    out.expect_bye()
    assert pbx.response(bye).status == 200
    rule(lab, "foreign", "any", None, "allow", position=1)
    pbx.connect()
    wait_until(lambda: "target-no-route:" in dial(pbx, "tel:+493012")[1], what="the rule of who is not ours")
    assert dial(pbx, f"sip:+493012@{lab.domain}")[0] == 404
    assert dial(alice, f"sips:+493012@{lab.domain}")[0] == 416


def route(name, pbx, **options):
    lines = {"domain": f"{name}.example.net", "address": pbx.local, **options}
    text = "".join(
        f"    {key} = " + ("{" + ", ".join(f'"{v}"' for v in value) + "}" if isinstance(value, list) else f'"{value}"') + "\n"
        for key, value in lines.items()
    )
    return f"route {name} {{\n{text}}}\n"


def test_F65_the_longest_prefix_chooses_the_route_and_each_writes_it_as_it_wants(make_lab):
    lab = make_lab(workers=1)
    places = [("127.0.0.2", 0), ("127.0.0.3", 0), ("127.0.0.4", 0)]
    home, world, city = (Pbx(lab, domain=f"{d}.example.net", address=a) for d, a in zip(("home", "world", "city"), places))
    german = {"country_code": "49"}
    lab.extra["proxy"] += route(
        "home", home, number_prefixes=["+49", "112", "0"], number_form="national", outside_line="9", **german
    )
    lab.extra["proxy"] += route("world", world, number_prefixes=["+", "0", "112"], services=["sos"], service_number="911")
    lab.extra["proxy"] += route("city", city, number_prefixes=["+4930", "0041"], number_form="national", **german)
    lab.restart_program("proxy")
    alice = ready_phone(lab)
    rule(lab, "everyone", "any", None, "allow")
    wait_until(lambda: dial(alice, "urn:service:counseling")[0] == 404, what="the rule")
    for pbx, dialled, written in (
        (home, "+49-89-1", "90891"),
        (home, "0049891", "90891"),
        (home, "0891", "90891"),
        (home, "112", "9112"),
        (world, "00-43-1", "00431"),
        (world, "+431", "+431"),
        (city, "030-1", "0301"),
        (city, "+49(0)301", "0301"),
        (city, "01141-44", "004144"),
    ):
        assert arrives(alice, pbx, f"sip:{dialled}@{lab.domain}") == f"sip:{written}@{pbx.domain};user=phone", dialled
    assert arrives(alice, world, "urn:service:sos.fire") == f"sip:911@{world.domain};user=phone"
    assert arrives(alice, home, f"sip:+49891@{home.domain}") == f"sip:90891@{home.domain};user=phone"
    assert arrives(alice, world, f"sip:00-43-1@{world.domain}") == f"sip:00-43-1@{world.domain}"
    assert arrives(alice, home, f"sip:desk@{home.domain}") == f"sip:desk@{home.domain}"
    for pbx in (home, world, city):
        pbx.close()


def test_a_dial_plan_that_is_none_is_named_with_its_line(make_lab):
    lab = make_lab(workers=1)
    text = lab.path("proxy.conf").read_text()
    for options, complaint in (
        ('number_prefixes = {"+", "4x"}', '"4x" begins no number'),
        ('country_code = "+49"', '"+49": write digits'),
        ('national_prefix = "a"', '"a": write digits'),
        ('outside_line = "9,"', '"9,": write digits'),
        ('number_form = "E164"', "write as_dialled, e164 or national"),
        ('number_form = "national"', "national needs country_code"),
        ('local_numbers = {"10+1"}', '"10+1": write DIGITS:+PREFIX'),
        ('local_numbers = {"3:+49"}', '"3:+49": write DIGITS:+PREFIX'),
        ('local_numbers = {"14:+49"}', '"14:+49": write DIGITS:+PREFIX'),
        ('local_numbers = {"7:+1212", "7:+1213"}', "7 digits stand twice"),
        ('service_number = "1-1"', '"1-1": write a number'),
    ):
        path = lab.path("bad.conf")
        path.write_text(f'{text}route bad {{\n    domain = "a.b"\n    address = "127.0.0.1:1"\n    {options}\n}}\n')
        done = subprocess.run(
            [str(lab.binary("holdline-proxy")), "--check-config", "--config", str(path)], capture_output=True, text=True
        )
        assert done.returncode != 0 and complaint in done.stderr and "bad.conf:" in done.stderr, done.stderr


def test_T19_a_number_that_rings_stays_a_number_and_ends_with_its_rule(dialling):
    lab, alice, pbx = dialling
    out = alice.invite(f"sip:+4930@{lab.domain}")
    into = pbx.expect_call()
    into.reply(180)
    assert out.expect(180)
    bob = ready_phone(lab, user="+4930")  # too late: it rings elsewhere
    rule(lab, "everyone", "user", bob.identity, "allow", position=1)
    wait_until(lambda: reaches(alice, bob, to=f"sip:+4930@{lab.domain}")[0] == 200, what="the rule for bob")
    assert not bob.seen("INVITE") and not pbx.seen("CANCEL")
    sql(lab, "DELETE FROM rights_rule WHERE target_kind = 'number' AND target = '+49'")
    pbx.reply(pbx.expect("CANCEL"), 200)
    into.reply(487)
    answer = out.answer()
    assert answer.status == 403 and "no-right:" in answer.get("Warning")
    assert not bob.seen("INVITE")
