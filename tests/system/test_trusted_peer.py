# SPDX-License-Identifier: Apache-2.0
"""Trusted peers (F13, F14): they name users of the domains that are listed for them, ours are checked
as for anyone, rules bound them, and a further Route is followed for them alone."""
import pytest

from tests.lab.stack import quoted
from tests.system.lib import Pbx, Phone, provision, ready_phone, sql, wait_until
from tests.system.test_foreign_callers import reaches, rule

pytestmark = pytest.mark.tsan


def trusting(**sections):
    """proxy.conf with sections trusted_peer; options by name."""
    text = ""
    for name, options in sections.items():
        lines = "".join(
            f"    {key} = " + ("{" + ", ".join(quoted(v) for v in value) + "}" if isinstance(value, list)
                              else str(value) if value in ("yes", "no") else quoted(value)) + "\n"
            for key, value in options.items()
        )
        text += f"trusted_peer {name} {{\n{lines}}}\n"
    return text


@pytest.fixture
def trust(make_lab):
    """Starts a lab with sections trusted_peer."""

    def start(listeners=None, **sections):
        lab = make_lab(workers=2, proxy_sections=listeners or {})
        lab.extra["proxy"] += trusting(**sections)
        lab.restart_program("proxy")
        return lab

    return start


def gateway(lab, cn="Gateway 1", store="corp", san=()):
    return Phone(lab, cn=cn, store=store, san=san, user="carol").connect()


def test_F13_a_trusted_peer_names_users_of_other_domains_only(trust):
    lab = trust(gw={"trust_store": "corp", "cn": "Gateway 1"})
    alice = ready_phone(lab)
    peer, stranger = gateway(lab), gateway(lab, cn="Gateway 2")
    for user in ("carol@far.example", "dora@near.example"):
        assert reaches(peer, alice, from_=f"<sip:{user}>")[0] == 200
        assert reaches(stranger, alice, from_=f"<sip:{user}>")[0] == 403
    status, warning = reaches(peer, alice, from_=f"<sip:boss@{lab.domain}>")
    assert status == 403 and "from-not-permitted:" in warning
    assert reaches(peer, alice, from_=f"<{alice.aor}>")[0] == 403
    provision(lab, peer.cn, f"desk@{lab.domain}", store="corp")
    wait_until(
        lambda: reaches(peer, alice, from_=f"<sip:desk@{lab.domain}>")[0] == 200,
        what="ours are checked as for anyone",
    )
    log = lab.log_of("proxy").read_text()
    assert [x for x in log.splitlines() if "trusted=gw" in x and "carol@far.example" in x]


def test_F13_domains_that_are_listed_and_a_whole_store(trust):
    lab = trust(all={"trust_store": "corp", "may_assert": ["far.example", "one@near.example"]})
    alice = ready_phone(lab)
    peer = gateway(lab, cn="Any Gateway")
    provision(lab, peer.cn, f"desk@{lab.domain}", store="corp")
    for user, status in (
        ("carol@far.example", 200),
        ("one@near.example", 200),
        ("two@near.example", 403),
        ("carol@sub.far.example", 403),
        (f"desk@{lab.domain}", 403),  # a whole store takes no mappings
    ):
        assert reaches(peer, alice, from_=f"<sip:{user}>")[0] == status, user


def test_F13_our_own_domains_only_if_the_entry_says_so(trust):
    lab = trust(gw={"trust_store": "corp", "san": "gw.example", "may_assert": ["example.org"], "own_domains": "yes"})
    alice = ready_phone(lab)
    peer, other = gateway(lab, cn="A", san=("gw.example",)), gateway(lab, cn="A2", san=("gw2.example",))
    assert reaches(peer, alice, from_=f"<sip:anyone@{lab.domain}>")[0] == 200
    assert reaches(other, alice, from_=f"<sip:anyone@{lab.domain}>")[0] == 403
    bob = Phone(lab).provision()
    wait_until(lambda: reaches(peer, alice, from_=f"<{bob.aor}>")[0] == 200, what="bob")
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", bob.identity)
    wait_until(lambda: "user-disabled" in reaches(peer, alice, from_=f"<{bob.aor}>")[1], what="disabled")


def test_F13_rules_and_the_devices_state_bound_a_trusted_peer(trust):
    lab = trust(gw={"trust_store": "corp", "cn": "Gateway 1"})
    with Pbx(lab) as pbx:
        alice, peer = ready_phone(lab), gateway(lab)
        as_carol = {"from_": "<sip:carol@far.example>"}
        assert reaches(peer, pbx, **as_carol)[0] == 403
        rule(lab, "foreign", "any", None, "deny", trust_store="corp", methods=["MESSAGE"])
        wait_until(lambda: "rule-denies:" in reaches(peer, alice, **as_carol)[1], what="the rule")
        out = peer.invite(alice.aor, **as_carol)
        into = alice.expect_call()
        into.reply(200)
        assert out.answer().status == 200
        into.expect_ack()
        bye = out.bye()
        into.expect_bye()
        assert peer.response(bye).status == 200
        sql(lab, "INSERT INTO device_info (trust_store, cn, state) VALUES ('corp', 'Gateway 1', 'disabled')")
        peer.expect_closed()
        assert "device-disabled" in gateway(lab).message(alice.aor, from_="<sip:c@far.example>").get("Warning")


def test_F14_T15_a_further_route_is_followed_for_trusted_peers_by_rules_alone(trust):
    lab = trust(gw={"trust_store": "corp", "cn": "Gateway 1"})
    with Pbx(lab) as pbx:
        alice, peer = ready_phone(lab), gateway(lab)
        as_carol = {"from_": "<sip:carol@far.example>"}
        route = f"<sip:pbx.{lab.domain};lr>"
        for to in (alice.aor, "sip:x@elsewhere.example"):
            status, warning = reaches(peer, pbx, to=to, Route=route, **as_carol)
            assert status == 403 and "no-right:" in warning
        rule(lab, "foreign", "domain", f"pbx.{lab.domain}", "allow")
        wait_until(
            lambda: reaches(peer, pbx, to="sip:x@elsewhere.example", Route=route, **as_carol)[0] == 200,
            what="the rule for what it reaches",
        )
        rule(lab, "everyone", "domain", f"pbx.{lab.domain}", "allow")
        wait_until(lambda: reaches(alice, pbx)[0] == 200, what="alice may reach it")
        status, warning = reaches(alice, pbx, to="sip:x@elsewhere.example", Route=route)
        assert status == 403 and "route-not-permitted:" in warning
        status, warning = reaches(peer, pbx, Route="<sip:198.51.100.1;lr>", **as_carol)
        assert status == 403 and "route-not-permitted:" in warning
        peer.send(peer.request("MESSAGE", "sip:x@elsewhere.example", body="x", Route=route, **as_carol))
        got = pbx.expect("MESSAGE")
        assert got.uri == "sip:x@elsewhere.example" and got.fields("Route") == [route]
        pbx.reply(got, 200)


def test_a_trusted_peer_that_is_not_well_said_is_named_with_its_line(make_lab):
    lab = make_lab(workers=1)
    for options, complaint in (
        ({"trust_store": "other"}, "there is no section trust_store other"),
        ({"trust_store": "corp", "own_domains": "yes"}, "name the domains in may_assert"),
        ({"trust_store": "corp", "may_assert": ["a b"]}, "is no identity"),
        ({"trust_store": "corp", "san": "a b"}, "is no name"),
    ):
        path = lab.path("bad.conf")
        path.write_text(lab.path("proxy.conf").read_text() + trusting(gw=options))
        done = run_check(lab, path)
        assert done.returncode != 0 and complaint in done.stderr and "bad.conf:" in done.stderr


def run_check(lab, path):
    import subprocess

    return subprocess.run(
        [str(lab.binary("holdline-proxy")), "--check-config", "--config", str(path)],
        capture_output=True,
        text=True,
    )


def told(sender, receiver, **options):
    """What a MESSAGE says of its sender when it arrives."""
    sent = sender.send(sender.request("MESSAGE", receiver.aor, body="x", **options))
    got = receiver.expect("MESSAGE")
    receiver.reply(got, 200)
    assert sender.response(sent).status == 200
    return got.all("P-Asserted-Identity")


def test_F42_a_trusted_peer_asserts_what_it_may_and_nothing_else(trust):
    lab = trust(gw={"trust_store": "corp", "cn": "Gateway 1"})
    alice, peer, other = ready_phone(lab), gateway(lab), gateway(lab, cn="Gateway 2")
    provision(lab, other.cn, "carol@far.example", store="corp")
    carol = {"from_": "<sip:carol@far.example>"}
    desk, tel = '"Desk" <sip:desk@far.example>', "<tel:+49-30-1>"
    for said, wanted in (
        (None, ["<sip:carol@far.example>"]),
        (desk, [desk]),
        ([desk, tel], [desk, tel]),
        (f"{tel}, {desk}", [tel, desk]),
        ([desk, "<sip:dora@far.example>", tel, "<tel:+1>"], [desk, tel]),
        (f"<sip:boss@{lab.domain}>", ["<sip:carol@far.example>"]),
        ([f"<{alice.aor}>", tel], [tel]),
        ("<sip:dora@near.example>", ["<sip:carol@far.example>"]),  # whose domain that is was not asked
        ("<urn:service:sos>", ["<sip:carol@far.example>"]),
        ("<sip:far.example>", ["<sip:carol@far.example>"]),
        ("nonsense", ["<sip:carol@far.example>"]),
        ("<sip:anonymous@anonymous.invalid>", ["<sip:carol@far.example>"]),
    ):
        assert told(peer, alice, P_Asserted_Identity=said, **carol) == wanted, said
    wait_until(lambda: reaches(other, alice, **carol)[0] == 200, what="the mapping")
    assert told(other, alice, P_Asserted_Identity=desk, **carol) == ["<sip:carol@far.example>"]
    assert told(peer, alice, P_Asserted_Identity=desk, Privacy="id", **carol) == []


def test_F42_an_anonymous_caller_of_a_trusted_peer_is_who_it_asserts(trust):
    lab = trust(gw={"trust_store": "corp", "cn": "Gateway 1", "may_assert": ["far.example"]})
    alice, peer, other = ready_phone(lab), gateway(lab), gateway(lab, cn="Gateway 2")
    nobody = {"from_": "<sip:anonymous@anonymous.invalid>"}
    carol = {"P_Asserted_Identity": "<sip:carol@far.example>"}
    assert told(peer, alice, **nobody, **carol) == []
    assert told(peer, alice, Privacy="none", **nobody, **carol) == ["<sip:carol@far.example>"]
    assert reaches(other, alice, **nobody, **carol)[0] == 403
    for said in (f"<{alice.aor}>", "<sip:dora@near.example>", "<tel:+49>"):
        assert reaches(peer, alice, P_Asserted_Identity=said, **nobody)[0] == 403, said
    assert told(peer, alice, from_="<sip:c@far.example>", P_Asserted_Identity="<tel:+49>") == ["<sip:c@far.example>"]


def test_F42_who_answers_is_asserted_by_a_trusted_next_hop_alone(trust):
    """RFC 3325 5, 7: within its may_assert; what asks for privacy goes on to who is trusted."""
    lab = trust({"route pbx": {"trusted": True}}, gw={"trust_store": "corp", "cn": "Gateway 1"})
    as_carol = {"from_": "<sip:carol@far.example>"}
    with Pbx(lab) as pbx:
        alice, peer = ready_phone(lab), gateway(lab)
        for who in ("everyone", "foreign"):
            rule(lab, who, "domain", pbx.domain, "allow")
        wait_until(lambda: reaches(alice, pbx)[0] == 200 and reaches(peer, pbx, **as_carol)[0] == 200, what="the rules")

        def told(caller, status=200, options=None, **headers):
            """What the caller is told of who answers."""
            sent = caller.send(caller.request("MESSAGE", pbx.aor, body="x", **(options or {})))
            pbx.reply(pbx.expect("MESSAGE"), status, **headers)
            response = caller.response(sent)
            assert response.status == status
            assert not response.fields("P-Preferred-Identity") and not response.fields("Remote-Party-ID")
            return response.all("P-Asserted-Identity")

        desk, boss = f'"Desk" <sip:desk@{pbx.domain}>', f"<sip:boss@{lab.domain}>"
        for said, wanted in (
            (desk, [desk]),
            (f"{boss}, {desk}, <sip:other@{pbx.domain}>", [desk]),
            (boss, []),
            (f"<{alice.aor}>", []),
            ("<sip:desk@far.example>", []),
            ("<tel:+4930>", []),
            ("<sip:anonymous@anonymous.invalid>", []),
            ("nonsense", []),
        ):
            assert told(alice, P_Asserted_Identity=said, Remote_Party_ID=desk, P_Preferred_Identity=desk) == wanted, said
        assert told(alice, 486, P_Asserted_Identity=desk) == [desk]
        for value, for_alice in (("none", [desk]), ("header", [desk]), ("id", []), ("header; ID", []), ("user", [])):
            hidden = {"P_Asserted_Identity": desk, "Privacy": value}
            assert told(alice, **hidden) == for_alice, value
            assert told(peer, options=as_carol, **hidden) == [desk], value
        out = alice.invite(pbx.aor)
        into = pbx.expect_call()
        into.reply(180, P_Asserted_Identity=desk)
        assert out.expect(180).all("P-Asserted-Identity") == [desk]
        into.reply(200, P_Asserted_Identity=desk)
        assert out.answer().all("P-Asserted-Identity") == [desk]
        into.expect_ack()
        lab.proxy_sections["route pbx"]["trusted"] = False
        lab.restart_program("proxy")
        alice.connect()
        assert told(alice, P_Asserted_Identity=desk) == []
