# SPDX-License-Identifier: Apache-2.0
"""Who calls, told and not told: an anonymous From with P-Preferred-Identity, Privacy, what trusted
next hops learn, Referred-By, Diversion and History-Info (RFC 3323, 3325, F42, F43, T5)."""
import pytest

from tests.system.lib import Pbx, Phone, establish, provision, ready_phone, sql, uri_of, wait_until

pytestmark = pytest.mark.tsan

NOBODY = '"Anonymous" <sip:anonymous@anonymous.invalid>'


def arrives(sender, receiver, **options):
    """A MESSAGE as the receiver gets it."""
    sent = sender.send(sender.request("MESSAGE", receiver.aor, body="x", **options))
    got = receiver.expect("MESSAGE")
    receiver.reply(got, 200)
    assert sender.response(sent).status == 200
    return got


def asserted(message):
    return [uri_of(v) for v in message.all("P-Asserted-Identity")]


def test_an_anonymous_from_is_admitted_as_the_identity_that_is_preferred(lab):
    alice, bob, mallory = (ready_phone(lab) for _ in range(3))
    prefer = {"from_": NOBODY, "P_Preferred_Identity": f"<{alice.aor}>"}
    got = arrives(alice, bob, **prefer)
    assert "anonymous.invalid" in got.get("From") and alice.user not in str(got.all("From"))
    assert not asserted(got) and not got.fields("P-Preferred-Identity")
    assert asserted(arrives(alice, bob, Privacy="none", **prefer)) == [alice.aor]
    for options in (prefer, {"from_": NOBODY}, {"from_": NOBODY, "P_Preferred_Identity": "<sip:x@>"}):
        refused = mallory.message(bob.aor, **options)
        assert refused.status == 403 and "from-not-permitted:" in refused.get("Warning")
    assert not bob.seen("MESSAGE")


def test_an_anonymous_call_works_and_ends_with_the_right_of_who_is_behind_it(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    provision(lab, alice.cn, f"keep-{alice.user}@{lab.domain}")
    out = alice.invite(bob.aor, from_=NOBODY, P_Preferred_Identity=f"<{alice.aor}>")
    into = bob.expect_call()
    into.reply(200)
    assert out.answer().status == 200
    into.expect_ack()
    for call, other in ((out, bob), (into, alice)):
        sent = call.send("INFO")
        other.reply(other.expect("INFO"), 200)
        assert call.agent.response(sent).status == 200
    sql(lab, "UPDATE sip_user SET state = 'disabled' WHERE identity = %s", alice.identity)

    def refused():
        sent = out.send("INFO")
        wait_until(lambda: bob.seen("INFO") or alice.seen(403), what="INFO or 403")
        if bob.seen("INFO"):
            bob.reply(bob.expect("INFO"), 200)
        return "user-disabled:" in (alice.response(sent).get("Warning") or "")

    wait_until(refused, what="the user behind it is disabled")


@pytest.mark.parametrize("value", ["id", "user", "header;ID", "critical; id"])
def test_privacy_id_hides_the_asserted_identity(lab, value):
    alice, bob = ready_phone(lab), ready_phone(lab)
    assert not asserted(arrives(alice, bob, Privacy=value))
    assert not asserted(arrives(alice, bob, Privacy=["none", value]))
    assert asserted(arrives(alice, bob, Privacy="header")) == [alice.aor]


def routed(lab, pbx, alice):
    sql(
        lab,
        "INSERT INTO rights_rule (position, target_kind, target, effect)"
        " VALUES (50, 'domain', %s, 'allow')",
        pbx.domain,
    )

    def passes():
        sent = alice.send(alice.request("MESSAGE", pbx.aor, body="x"))
        wait_until(lambda: pbx.seen("MESSAGE") or alice.seen(403), what="MESSAGE or 403")
        if pbx.seen("MESSAGE"):
            pbx.reply(pbx.expect("MESSAGE"), 200)
        return alice.response(sent).status == 200

    wait_until(passes, what="the rule")


@pytest.mark.parametrize("trusted", [False, True])
def test_a_next_hop_of_the_trust_domain_learns_who_hides(make_lab, trusted):
    lab = make_lab(workers=1, proxy_conf={})
    if trusted:
        text = lab.write_proxy_conf().read_text()
        lab.write_proxy_conf = lambda: write(lab, text.replace("inbound = yes", "inbound = yes\n    trusted = yes"))
        lab.restart_program("proxy")
    with Pbx(lab) as pbx:
        alice = ready_phone(lab)
        routed(lab, pbx, alice)
        want = [alice.aor] if trusted else []
        got = arrives(alice, pbx, Privacy="id")
        assert asserted(got) == want and got.get("Privacy") == "id"
        anonymous = {"from_": NOBODY, "P_Preferred_Identity": f"<{alice.aor}>"}
        assert asserted(arrives(alice, pbx, **anonymous)) == want
        assert asserted(arrives(alice, pbx)) == [alice.aor]
        assert not arrives(alice, pbx, Diversion="<sip:boss@x>").fields("Diversion")


def write(lab, text):
    path = lab.path("proxy.conf")
    path.write_text(text)
    return path


def test_F43_referred_by_is_checked_with_refer(lab):
    alice, bob, carol = (ready_phone(lab) for _ in range(3))
    second = f"second-{alice.user}@{lab.domain}"
    provision(lab, alice.cn, second)
    out, into = establish(alice, bob)

    def refer(call, **options):
        sent = call.send("REFER", Refer_To=f"<{carol.aor}>", **options)
        sender, other = call.agent, bob if call is out else alice
        wait_until(lambda: other.seen("REFER") or sender.seen(403) or sender.seen(400), what="REFER or refusal")
        if other.seen("REFER"):
            other.reply(other.expect("REFER"), 202)
        response = sender.response(sent)
        return response.status, response.get("Warning") or ""

    assert refer(out, Referred_By=f"<{alice.aor}>")[0] == 202
    assert refer(out, Referred_By=f"<sip:{second}>")[0] == 202
    assert refer(out)[0] == 202
    assert refer(into, Referred_By=f"<{bob.aor}>")[0] == 202
    for call in (out, into):
        status, warning = refer(call, Referred_By=f'"{alice.aor}" <{carol.aor}>')
        assert status == 403 and "referred-by-not-permitted:" in warning
    assert refer(out, Referred_By="<sip:>")[0] == 400
    outside = alice.request("REFER", bob.aor, Refer_To=f"<{carol.aor}>", b=f"<{carol.aor}>")
    refused = alice.exchange(outside)
    assert refused.status == 403 and "referred-by-not-permitted:" in refused.get("Warning")


def test_T05_diversion_and_history_info_of_phones_are_removed(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    got = arrives(alice, bob, Diversion=["<sip:boss@x>;reason=busy", "<sip:a@x>"], History_Info="<sip:b@x>;index=1")
    assert not got.fields("Diversion") and not got.fields("History-Info")


@pytest.mark.lab(workers=1, proxy_conf={"diversion": "pass"})
def test_diversion_and_history_info_pass_where_the_configuration_says_so(fresh_lab):
    alice, bob = ready_phone(fresh_lab), ready_phone(fresh_lab)
    got = arrives(alice, bob, Diversion="<sip:boss@x>", History_Info="<sip:b@x>;index=1")
    assert got.get("Diversion") == "<sip:boss@x>" and got.fields("History-Info")


@pytest.mark.parametrize("value", ["history", "header", "session;id"])
def test_history_that_is_private_leaves_to_the_trust_domain_alone(make_lab, value):
    for trusted in (False, True):
        lab = make_lab(workers=1, proxy_conf={"diversion": "pass"})
        if trusted:
            text = lab.write_proxy_conf().read_text()
            lab.write_proxy_conf = lambda: write(lab, text.replace("inbound = yes", "inbound = yes\n    trusted = yes"))
            lab.restart_program("proxy")
        with Pbx(lab) as pbx:
            alice = ready_phone(lab)
            routed(lab, pbx, alice)
            told = {"History_Info": ["<sip:b@x>;index=1", "<sip:c@x>;index=1.1"], "Diversion": "<sip:boss@x>"}
            assert len(arrives(alice, pbx, **told).fields("History-Info")) == 2
            assert bool(arrives(alice, pbx, Privacy=value, **told).fields("History-Info")) == trusted
            for entry in ("<sip:b@x?Privacy=history>;index=1", "<sip:b@x?a=b&%50rivacy=none>;index=1", "what"):
                told["History_Info"] = ["<sip:c@x>;index=1", entry]
                got = arrives(alice, pbx, **told)
                assert bool(got.fields("History-Info")) == trusted and got.fields("Diversion")
            for entry, passes in (
                ("<sip:boss@x>;privacy=off", True),
                ("<sip:boss@x>;reason=busy;Privacy=full", trusted),
                ("<sip:boss@x>;privacy", trusted),
                ("boss @x", trusted),
            ):
                got = arrives(alice, pbx, Diversion=["<sip:a@x>;reason=busy", entry])
                assert bool(got.fields("Diversion")) == passes, entry


def test_privacy_that_is_critical_and_more_than_we_do_is_500(lab):
    alice, bob = ready_phone(lab), ready_phone(lab)
    for value in ("critical", "critical;id", "Critical; none", "history;critical;id", "user", "header;session"):
        assert arrives(alice, bob, Privacy=value)
    for value in (["user;critical"], ["critical", "header"], ["id;session ; CRITICAL"], ["critical;new-one"]):
        refused = alice.message(bob.aor, Privacy=value)
        assert refused.status == 500 and "privacy-critical:" in refused.get("Warning"), value
        assert not refused.get("Retry-After")
    out, into = establish(alice, bob)
    bye = out.send("BYE", Privacy="user;critical")
    bob.reply(bob.expect("BYE"), 200)
    assert alice.response(bye).status == 200


def test_a_stranger_is_asserted_as_nobody(make_lab):
    lab = make_lab(workers=1, proxy_sections={
        "listener accepting": {"client_certificate": "optional", "third_parties": "accept"},
    })
    bob, caller = ready_phone(lab), Phone(lab, user="x", certified=False).connect(listener="accepting")
    caller.domain = "elsewhere.example"
    assert not asserted(arrives(caller, bob, P_Asserted_Identity="<sip:x@elsewhere.example>"))
    out, _ = establish(caller, bob)
    info = out.send("INFO")
    got = bob.expect("INFO")
    assert not asserted(got)
    bob.reply(got, 200)
    assert caller.response(info).status == 200
