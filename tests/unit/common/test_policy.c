/* SPDX-License-Identifier: Apache-2.0 */
/* decide() as a table: every state, every kind of rule, validity windows; and the text of rules. */
#include "common/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define RULES_MAX   6
#define ENTRIES_MAX 4

/* One case: what is not said is a phone that may use alice and whose rules allow all. */
struct scene {
    const char *name;
    enum peer_state peer;
    const char *store;
    const char *entries[ENTRIES_MAX];
    const char *method, *from, *to, *target;
    bool to_ourselves;
    enum user_state user, target_state, to_state;
    const char *rules[RULES_MAX];
    /* expected */
    enum reason reason;
    uint64_t rule_id, edge_unix_s; /* 0 stands for never */
};

#define ALICE "alice@example.org"
#define BOB   "bob@example.org"
#define ANY   "1 allow * * * - - -"

static const struct scene scenes[] = {
    { .name = "all is well", .rules = { ANY }, .reason = REASON_ALLOWED, .rule_id = 1 },

    /* The device. */
    { .name = "no state of the device",
      .peer = PEER_NONE + 100,
      .rules = { ANY },
      .reason = REASON_NONE },
    { .name = "device disabled",
      .peer = PEER_DISABLED,
      .rules = { ANY },
      .reason = REASON_DEVICE_DISABLED },
    { .name = "device unknown",
      .peer = PEER_UNKNOWN,
      .entries = { "" },
      .rules = { ANY },
      .reason = REASON_DEVICE_UNKNOWN },
    { .name = "device unknown, names in its certificate",
      .peer = PEER_UNKNOWN,
      .entries = { ALICE },
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "device unknown, another name in its certificate",
      .peer = PEER_UNKNOWN,
      .entries = { BOB },
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },
    { .name = "disabled takes the certificate's names too",
      .peer = PEER_DISABLED,
      .entries = { ALICE },
      .rules = { ANY },
      .reason = REASON_DEVICE_DISABLED },
    { .name = "a blocked certificate takes its names too",
      .peer = PEER_BLOCKED,
      .entries = { ALICE },
      .rules = { ANY },
      .reason = REASON_CERTIFICATE_BLOCKED },

    /* From. */
    { .name = "T1 forged From",
      .from = "boss@example.org",
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },
    { .name = "T11 a name's other user",
      .entries = { ALICE },
      .from = BOB,
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },
    { .name = "no From", .from = "", .rules = { ANY }, .reason = REASON_NONE },
    { .name = "no entries",
      .entries = { "" },
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },
    { .name = "a whole domain",
      .entries = { "example.org" },
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "the domain above is another",
      .entries = { "org" },
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },
    { .name = "second entry",
      .entries = { BOB, ALICE },
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "user's case counts",
      .from = "Alice@example.org",
      .rules = { ANY },
      .reason = REASON_FROM_NOT_PERMITTED },

    /* REGISTER. */
    { .name = "REGISTER",
      .method = "REGISTER",
      .to = ALICE,
      .to_ourselves = true,
      .reason = REASON_ALLOWED },
    { .name = "T4 REGISTER of another's address",
      .method = "REGISTER",
      .to = BOB,
      .to_ourselves = true,
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "REGISTER without To",
      .method = "REGISTER",
      .to_ourselves = true,
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "REGISTER of one's other address",
      .method = "REGISTER",
      .entries = { ALICE, BOB },
      .to = BOB,
      .to_ourselves = true,
      .reason = REASON_ALLOWED },
    { .name = "REGISTER by a disabled user",
      .method = "REGISTER",
      .to = ALICE,
      .to_ourselves = true,
      .user = USER_DISABLED,
      .reason = REASON_USER_DISABLED },
    { .name = "To is checked whenever it is given",
      .to = BOB,
      .rules = { ANY },
      .reason = REASON_TO_NOT_PERMITTED },

    /* A third party. */
    { .name = "T4 neither the shipped rule nor one for all methods lets register for another",
      .method = "REGISTER",
      .to = BOB,
      .to_ourselves = true,
      .rules = { "1 allow * * ours - - -", ANY },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "F41 a rule that names REGISTER does",
      .method = "REGISTER",
      .to = BOB,
      .to_ourselves = true,
      .rules = { ANY, "7 allow * INVITE,REGISTER user:" BOB " - 2000 -" },
      .reason = REASON_ALLOWED,
      .rule_id = 7,
      .edge_unix_s = 2000 },
    { .name = "for nobody else",
      .method = "REGISTER",
      .to = "carol@example.org",
      .to_ourselves = true,
      .rules = { "7 allow * REGISTER user:" BOB " - - -" },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "a rule that denies everything is met first",
      .method = "REGISTER",
      .to = BOB,
      .to_ourselves = true,
      .rules = { "6 deny * * * - - -", "7 allow * REGISTER ours - - -" },
      .reason = REASON_TO_NOT_PERMITTED,
      .rule_id = 6 },
    { .name = "nor does one that asks for a password for everything permit it",
      .method = "REGISTER",
      .to = BOB,
      .to_ourselves = true,
      .rules = { "6 challenge * * * - - -", "7 allow * REGISTER ours - - -" },
      .reason = REASON_TO_NOT_PERMITTED,
      .rule_id = 6 },
    { .name = "a disabled address is refused no otherwise than any",
      .method = "REGISTER",
      .to = BOB,
      .to_state = USER_DISABLED,
      .to_ourselves = true,
      .rules = { ANY },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "nobody registers for who is not ours",
      .method = "REGISTER",
      .to = "bob@example.net",
      .to_state = USER_FOREIGN,
      .to_ourselves = true,
      .rules = { "7 allow * REGISTER * - - -" },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "nor who is not ours for anybody",
      .method = "REGISTER",
      .to = BOB,
      .user = USER_FOREIGN,
      .to_ourselves = true,
      .rules = { "7 allow * REGISTER * - - -" },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "nor elsewhere than here",
      .method = "REGISTER",
      .to = BOB,
      .rules = { "7 allow * REGISTER * - - -" },
      .reason = REASON_TO_NOT_PERMITTED },
    { .name = "what is not known of To denies",
      .method = "REGISTER",
      .to = BOB,
      .to_state = USER_NONE + 100,
      .to_ourselves = true,
      .rules = { "7 allow * REGISTER * - - -" },
      .reason = REASON_NONE },
    { .name = "a disabled user registers for nobody",
      .method = "REGISTER",
      .to = BOB,
      .user = USER_DISABLED,
      .to_ourselves = true,
      .rules = { "7 allow * REGISTER * - - -" },
      .reason = REASON_USER_DISABLED },

    /* The user. */
    { .name = "no state of the user",
      .user = USER_NONE + 100,
      .rules = { ANY },
      .reason = REASON_NONE },
    { .name = "no state of the user, to ourselves",
      .user = USER_NONE + 100,
      .to_ourselves = true,
      .reason = REASON_NONE },
    { .name = "user disabled",
      .user = USER_DISABLED,
      .rules = { ANY },
      .reason = REASON_USER_DISABLED },
    { .name = "user disabled, to ourselves",
      .user = USER_DISABLED,
      .to_ourselves = true,
      .reason = REASON_USER_DISABLED },
    { .name = "user without a row has its rules",
      .user = USER_UNKNOWN,
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "foreign user has the rules of who is not ours",
      .user = USER_FOREIGN,
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "foreign user without rules", .user = USER_FOREIGN, .reason = REASON_NO_RIGHT },
    { .name = "foreign user reaches ours and nobody else",
      .user = USER_FOREIGN,
      .target = "x@other.example",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "foreign user, to ourselves",
      .user = USER_FOREIGN,
      .to_ourselves = true,
      .reason = REASON_ALLOWED },

    /* Rules: order, methods, stores. */
    { .name = "no rules", .reason = REASON_NO_RIGHT },
    { .name = "no rules, to ourselves", .to_ourselves = true, .reason = REASON_ALLOWED },
    { .name = "no target", .target = "", .rules = { ANY }, .reason = REASON_NONE },
    { .name = "deny",
      .rules = { "7 deny * * * - - -", ANY },
      .reason = REASON_RULE_DENIES,
      .rule_id = 7 },
    { .name = "first match decides",
      .rules = { "5 allow * INVITE * - - -", "7 deny * * * - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "another method",
      .rules = { "5 allow * MESSAGE,OPTIONS * - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "method in a list",
      .rules = { "5 allow * MESSAGE,INVITE,BYE * - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "part of a method",
      .rules = { "5 allow * INVITES,INV * - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "methods have case",
      .method = "invite",
      .rules = { "5 allow * INVITE * - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "an unknown method falls under any",
      .method = "FROB",
      .rules = { ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "store",
      .rules = { "5 allow device * * - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "another store",
      .store = "corp",
      .rules = { "5 allow device * * - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "stores carry different rights",
      .store = "corp",
      .rules = { "5 deny device * * - - -", "6 allow corp * * - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 6 },
    { .name = "no store",
      .store = "",
      .rules = { "5 allow device * * - - -" },
      .reason = REASON_NO_RIGHT },

    /* Targets. */
    { .name = "ours, known",
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "ours, unknown",
      .target_state = USER_UNKNOWN,
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "ours, disabled",
      .target_state = USER_DISABLED,
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "foreign is not ours",
      .target = "x@other.example",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "whether the target is ours was not looked up",
      .target_state = USER_NONE + 100,
      .rules = { "4 deny * * ours - - -", "5 allow * * * - - -" },
      .reason = REASON_NONE },
    { .name = "user",
      .rules = { "5 allow * * user:bob@example.org - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "another user",
      .rules = { "5 allow * * user:carol@example.org - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "domain",
      .rules = { "5 allow * * domain:example.org - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "domain itself",
      .target = "example.org",
      .rules = { "5 allow * * domain:example.org - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "subdomain is another",
      .target = "bob@a.example.org",
      .rules = { "5 allow * * domain:example.org - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "service",
      .target = "urn:service:sos",
      .target_state = USER_FOREIGN,
      .rules = { "4 deny * * number:1 - - -", "5 allow * * service:sos - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "below a service",
      .target = "urn:service:sos.fire",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * service:sos - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "above a service",
      .target = "urn:service:sos",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * service:sos.fire - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "a service that only begins so",
      .target = "urn:service:sosfire",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * service:sos - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "a service is none of ours",
      .target = "urn:service:sos",
      .target_state = USER_FOREIGN,
      .rules = { "5 allow * * ours - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "number",
      .target = "+4930123@pbx.example.org",
      .rules = { "5 allow * * number:+4930 - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "the number itself",
      .target = "+4930@pbx.example.org",
      .rules = { "5 allow * * number:+4930 - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5 },
    { .name = "shorter number",
      .target = "+493@pbx.example.org",
      .rules = { "5 allow * * number:+4930 - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "T21 escaped plus",
      .target = "%2B4930123@pbx.example.org",
      .rules = { "5 deny * * number:+49 - - -", ANY },
      .reason = REASON_RULE_DENIES,
      .rule_id = 5 },
    { .name = "national number",
      .target = "0301@pbx.example.org",
      .rules = { "5 allow * * number:+4930 - - -", "6 allow * * number:030 - - -" },
      .reason = REASON_ALLOWED,
      .rule_id = 6 },
    { .name = "routing parameter is no number",
      .target = "+4930123;rn=1@pbx.example.org",
      .rules = { "5 allow * * number:+4930 - - -" },
      .reason = REASON_NO_RIGHT },
    { .name = "T21 separators change nothing",
      .target = "+4930-123@pbx.example.org",
      .rules = { "5 deny * * number:+49301 - - -", ANY },
      .reason = REASON_RULE_DENIES,
      .rule_id = 5 },
    { .name = "a name is no number",
      .target = "4930x@pbx.example.org",
      .rules = { "5 allow * * number:4930 - - -" },
      .reason = REASON_NO_RIGHT },

    /* Validity windows; now is 1000. */
    { .name = "in its window",
      .rules = { "5 allow * * * 1000 1001 -" },
      .reason = REASON_ALLOWED,
      .rule_id = 5,
      .edge_unix_s = 1001 },
    { .name = "over", .rules = { "5 allow * * * 900 1000 -" }, .reason = REASON_NO_RIGHT },
    { .name = "not yet",
      .rules = { "5 allow * * * 1001 2000 -" },
      .reason = REASON_NO_RIGHT,
      .edge_unix_s = 1001 },
    { .name = "a denial to come",
      .rules = { "5 deny * * * 1500 - -", ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1,
      .edge_unix_s = 1500 },
    { .name = "the nearer of two edges",
      .rules = { "5 deny * * * 1500 - -", "6 allow * * * - 1200 -" },
      .reason = REASON_ALLOWED,
      .rule_id = 6,
      .edge_unix_s = 1200 },
    { .name = "the nearer of two beginnings",
      .rules = { "5 deny * * * 1500 - -", "6 deny * * * 1400 - -", ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1,
      .edge_unix_s = 1400 },
    { .name = "what comes after the decision has no edge",
      .rules = { ANY, "6 deny * * * 1500 1600 -" },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "what does not match has no edge",
      .rules = { "6 deny * MESSAGE * 1500 1600 -", ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "a window that never opens",
      .rules = { "6 deny * * * 1500 1400 -", ANY },
      .reason = REASON_ALLOWED,
      .rule_id = 1 },
    { .name = "a denial that ends",
      .rules = { "6 deny * * * - 1400 -", ANY },
      .reason = REASON_RULE_DENIES,
      .rule_id = 6,
      .edge_unix_s = 1400 },
};

/* The table writes 100 for zero where zero must be tested, since it says zero for "usual". */
static unsigned value_or(unsigned value, unsigned usual)
{
    return value >= 100 ? value - 100 : value ? value : usual;
}

static const struct identity *identity_or(const char *text, const char *usual, struct identity *out)
{
    if (!text)
        text = usual;
    if (!text || !*text)
        return NULL;
    if (strncmp(text, "urn:", 4) == 0)
        assert_int_equal(identity_from_service(out, slice_of(text)), ERROR_NONE);
    else
        assert_int_equal(identity_from_text(out, slice_of(text)), ERROR_NONE);
    return out;
}

static size_t gather_entries(const struct scene *s, struct slice *entries)
{
    size_t count = 0;

    if (!s->entries[0]) {
        entries[0] = SLICE(ALICE);
        return 1;
    }
    while (count < ENTRIES_MAX && s->entries[count] && *s->entries[count]) {
        entries[count] = slice_of(s->entries[count]);
        count++;
    }
    return count;
}

static struct decision play(const struct scene *s)
{
    struct slice entries[ENTRIES_MAX];
    struct policy_rule rules[RULES_MAX];
    struct identity from, to, target;
    struct policy_peer peer = { (enum peer_state)value_or(s->peer, PEER_KNOWN),
                                slice_of(s->store ? s->store : "device"), entries, 0 };
    struct policy_request request = {
        .method = slice_of(s->method ? s->method : "INVITE"),
        .from = identity_or(s->from, ALICE, &from),
        .to = identity_or(s->to, NULL, &to),
        .to_ourselves = s->to_ourselves,
        .target = s->to_ourselves ? NULL : identity_or(s->target, BOB, &target),
        .target_state = (enum user_state)value_or(s->target_state, USER_KNOWN),
        .to_state = (enum user_state)value_or(s->to_state, USER_KNOWN),
        .now_unix_s = 1000
    };
    struct policy_rights rights = { (enum user_state)value_or(s->user, USER_KNOWN), rules, 0 };

    peer.entry_count = gather_entries(s, entries);
    for (; rights.rule_count < RULES_MAX && s->rules[rights.rule_count]; rights.rule_count++)
        assert_int_equal(
            policy_rule_parse(slice_of(s->rules[rights.rule_count]), &rules[rights.rule_count]),
            ERROR_NONE);
    return decide(&peer, &request, &rights);
}

static void test_every_scene(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++) {
        const struct scene *s = &scenes[i];
        struct decision d = play(s);
        uint64_t edge = s->edge_unix_s ? s->edge_unix_s : UINT64_MAX;
        enum effect effect = s->reason == REASON_ALLOWED ? EFFECT_ALLOW : EFFECT_DENY;
        if (d.effect != effect || d.reason != s->reason || d.rule_id != s->rule_id ||
            d.edge_unix_s != edge)
            fail_msg("%s: %s, rule %llu, edge %llu", s->name, reason_name(d.reason),
                     (unsigned long long)d.rule_id, (unsigned long long)d.edge_unix_s);
    }
}

static void test_the_entry_is_the_first_that_covers_from(void **state)
{
    struct scene s = { .entries = { BOB, "example.org", ALICE }, .rules = { ANY } };

    (void)state;
    assert_true(slice_equal(play(&s).entry, SLICE("example.org")));
    s = (struct scene){ .entries = { BOB, ALICE, "example.org" }, .rules = { ANY } };
    assert_true(slice_equal(play(&s).entry, SLICE(ALICE)));
    s.from = "carol@other.example";
    assert_int_equal(play(&s).entry.size, 0);
}

/* Without anything at all, and with a zeroed everything. */
static void test_zero_is_never_yes(void **state)
{
    struct policy_peer peer = { .state = PEER_NONE };
    struct policy_request request = { .to_ourselves = false };
    struct policy_rights rights = { .state = USER_NONE };
    struct policy_rule rule = { .effect = EFFECT_NONE };
    struct slice entry = SLICE(ALICE);
    struct identity alice;

    (void)state;
    assert_int_equal(decide(&peer, &request, &rights).effect, EFFECT_DENY);
    assert_int_equal(decide(&peer, &request, NULL).effect, EFFECT_DENY);
    peer = (struct policy_peer){ PEER_KNOWN, SLICE("device"), &entry, 1 };
    assert_int_equal(decide(&peer, &request, &rights).reason, REASON_NONE);
    assert_int_equal(identity_from_text(&alice, entry), ERROR_NONE);
    request = (struct policy_request){
        .method = SLICE("INVITE"), .from = &alice, .target = &alice, .target_state = USER_KNOWN
    };
    assert_int_equal(decide(&peer, &request, NULL).reason, REASON_NONE);
    request.to_ourselves = true;
    assert_int_equal(decide(&peer, &request, NULL).reason, REASON_NONE);
    request.to_ourselves = false;
    /* A zeroed rule matches nothing; one without effect that matches denies. */
    rights = (struct policy_rights){ USER_KNOWN, &rule, 1 };
    assert_int_equal(decide(&peer, &request, &rights).effect, EFFECT_DENY);
    assert_int_equal(policy_rule_parse(SLICE(ANY), &rule), ERROR_NONE);
    rule.effect = EFFECT_NONE;
    assert_int_equal(decide(&peer, &request, &rights).reason, REASON_RULE_DENIES);
    rule.effect = EFFECT_CHALLENGE;
    assert_int_equal(decide(&peer, &request, &rights).effect, EFFECT_DENY);
    /* An empty method falls under no rule, not even any. */
    rule.effect = EFFECT_ALLOW;
    request.method = SLICE("");
    assert_int_equal(decide(&peer, &request, &rights).reason, REASON_NO_RIGHT);
}

static void test_a_peer_holds_what_an_entry_covers(void **state)
{
    struct slice entries[] = { SLICE(BOB), SLICE("example.net") };
    struct policy_peer peer = { PEER_KNOWN, SLICE("device"), entries, 2 };
    struct identity alice, bob, carol;

    (void)state;
    assert_int_equal(identity_from_text(&alice, SLICE(ALICE)), ERROR_NONE);
    assert_int_equal(identity_from_text(&bob, SLICE(BOB)), ERROR_NONE);
    assert_int_equal(identity_from_text(&carol, SLICE("carol@example.net")), ERROR_NONE);
    assert_false(policy_holds(&peer, &alice));
    assert_true(policy_holds(&peer, &bob));
    assert_true(policy_holds(&peer, &carol));
    assert_false(policy_holds(&peer, NULL));
    peer.entry_count = 0;
    assert_false(policy_holds(&peer, &bob));
}

static void test_all_states_allow_only_where_they_should(void **state)
{
    (void)state;
    for (unsigned peer = PEER_NONE; peer <= PEER_BLOCKED; peer++) {
        for (unsigned user = USER_NONE; user <= USER_DISABLED; user++) {
            for (int ourselves = 0; ourselves < 2; ourselves++) {
                struct scene s = { .peer = (enum peer_state)(peer + 100),
                                   .user = (enum user_state)(user + 100),
                                   .to_ourselves = ourselves,
                                   .rules = { ANY } };
                bool peer_may =
                    peer == PEER_KNOWN || peer == PEER_UNKNOWN; /* it has a certificate name */
                bool user_may = user == USER_KNOWN || user == USER_UNKNOWN || user == USER_FOREIGN;
                assert_int_equal(play(&s).effect,
                                 peer_may && user_may ? EFFECT_ALLOW : EFFECT_DENY);
            }
        }
    }
}

static void test_rule_text(void **state)
{
    struct policy_rule rule;

    (void)state;
    assert_int_equal(
        policy_rule_parse(SLICE("18446744073709551615 deny corp-2 INVITE,X-A.B user:a@b 10 20 30"),
                          &rule),
        ERROR_NONE);
    assert_true(rule.id == UINT64_MAX);
    assert_int_equal(rule.effect, EFFECT_DENY);
    assert_true(slice_equal(rule.store, SLICE("corp-2")));
    assert_true(slice_equal(rule.methods, SLICE("INVITE,X-A.B")));
    assert_int_equal(rule.target_kind, TARGET_USER);
    assert_true(slice_equal(rule.target, SLICE("a@b")));
    assert_int_equal(rule.from_unix_s, 10);
    assert_int_equal(rule.until_unix_s, 20);
    assert_int_equal(rule.per_minute, 30);
    assert_int_equal(policy_rule_parse(SLICE(ANY), &rule), ERROR_NONE);
    assert_true(rule.from_unix_s == 0 && rule.until_unix_s == UINT64_MAX && rule.per_minute == 0);
}

static void test_malformed_rules_make_the_answer_unusable(void **state)
{
    static const char *const bad[] = { "",
                                       " ",
                                       "1",
                                       "1 allow * * * - -",
                                       "1 allow * * * - - - -",
                                       "1 allow * * * - - - ",
                                       " 1 allow * * * - - -",
                                       "1  allow * * * - - -",
                                       "x allow * * * - - -",
                                       "-1 allow * * * - - -",
                                       "1 ALLOW * * * - - -",
                                       "1 maybe * * * - - -",
                                       "1 allow DEVICE * * - - -",
                                       "1 allow a.b * * - - -",
                                       "1 allow aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa * * - - -",
                                       "1 allow * invite * - - -",
                                       "1 allow * INVITE, * - - -",
                                       "1 allow * ,INVITE * - - -",
                                       "1 allow * INVITE,,BYE * - - -",
                                       "1 allow * *,INVITE * - - -",
                                       "1 allow * INV@ * - - -",
                                       "1 allow * * any - - -",
                                       "1 allow * * user: - - -",
                                       "1 allow * * user:b - - -",
                                       "1 allow * * user:a@B - - -",
                                       "1 allow * * user:%61@b - - -",
                                       "1 allow * * domain: - - -",
                                       "1 allow * * domain:a@b - - -",
                                       "1 allow * * domain:B - - -",
                                       "1 allow * * number: - - -",
                                       "1 allow * * number:+ - - -",
                                       "1 allow * * number:+49-30 - - -",
                                       "1 allow * * number:4+9 - - -",
                                       "1 allow * * number:x - - -",
                                       "1 allow * * Number:1 - - -",
                                       "1 allow * * * x - -",
                                       "1 allow * * * -1 - -",
                                       "1 allow * * * - 1x -",
                                       "1 allow * * * - 99999999999999999999 -",
                                       "1 allow * * * - - 0",
                                       "1 allow * * * - - 4294967296",
                                       "1 allow * * * - - x",
                                       "1 allow * * *\n- - -" };
    struct policy_rule rule;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (policy_rule_parse(slice_of(bad[i]), &rule) != ERROR_MALFORMED)
            fail_msg("not refused: %s", bad[i]);
        assert_int_equal(rule.effect, EFFECT_NONE);
    }
}

static void test_edge_of_cached_rights(void **state)
{
    struct policy_rule rules[3];
    struct policy_rights rights = { USER_KNOWN, rules, 3 };

    (void)state;
    assert_int_equal(policy_rule_parse(SLICE("1 allow * * * 100 200 -"), &rules[0]), ERROR_NONE);
    assert_int_equal(policy_rule_parse(SLICE("2 allow * * * 150 - -"), &rules[1]), ERROR_NONE);
    assert_int_equal(policy_rule_parse(SLICE(ANY), &rules[2]), ERROR_NONE);
    assert_true(policy_rights_edge_unix_s(&rights, 0) == 100);
    assert_true(policy_rights_edge_unix_s(&rights, 100) == 150);
    assert_true(policy_rights_edge_unix_s(&rights, 150) == 200);
    assert_true(policy_rights_edge_unix_s(&rights, 200) == UINT64_MAX);
    rights.rule_count = 0;
    assert_true(policy_rights_edge_unix_s(&rights, 0) == UINT64_MAX);
}

static void test_who_was_let_in_is_decided_by_his_own_rules(void **state)
{
    struct policy_rule rules[] = {
        { .id = 7, .effect = EFFECT_ALLOW, .target_kind = TARGET_DOMAIN }
    };
    const struct policy_rights rights = { USER_KNOWN, rules, 1 }, none = { USER_KNOWN, NULL, 0 };
    const struct policy_peer peer = { .store = SLICE("device") };
    struct identity bob, carol;
    struct policy_request request = { .method = SLICE("INVITE"), .target = &carol };

    (void)state;
    rules[0].store = rules[0].methods = SLICE("*");
    rules[0].target = SLICE("y.org");
    rules[0].until_unix_s = UINT64_MAX;
    assert_int_equal(identity_from_text(&bob, SLICE(BOB)), ERROR_NONE);
    assert_int_equal(identity_from_text(&carol, SLICE("carol@y.org")), ERROR_NONE);
    request.target_state = USER_FOREIGN;
    for (enum admission a = ADMISSION_NONE; a <= REFUSE_WITHOUT_CERTIFICATE; a++) {
        bool nobody = a == ADMIT_AS_STRANGER || a == ADMIT_AS_ANONYMOUS;

        request.anonymous = nobody ? &rights : &none;
        assert_int_equal(decide_admitted(&peer, &request, nobody ? &none : &rights, a).effect,
                         EFFECT_ALLOW);
        request.anonymous = nobody ? &none : &rights;
        assert_int_equal(decide_admitted(&peer, &request, nobody ? &rights : &none, a).effect,
                         EFFECT_DENY);
        request.anonymous = NULL;
        assert_int_equal(decide_admitted(&peer, &request, NULL, a).reason, REASON_NONE);
    }
    request.target = &bob;
    request.target_state = USER_KNOWN;
    request.anonymous = &none;
    assert_int_equal(decide_admitted(&peer, &request, NULL, ADMIT_AS_STRANGER).effect,
                     EFFECT_ALLOW);
    assert_int_equal(decide_admitted(&peer, &request, NULL, ADMIT_AS_ANONYMOUS).effect,
                     EFFECT_DENY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_scene),
        cmocka_unit_test(test_the_entry_is_the_first_that_covers_from),
        cmocka_unit_test(test_zero_is_never_yes),
        cmocka_unit_test(test_a_peer_holds_what_an_entry_covers),
        cmocka_unit_test(test_all_states_allow_only_where_they_should),
        cmocka_unit_test(test_rule_text),
        cmocka_unit_test(test_malformed_rules_make_the_answer_unusable),
        cmocka_unit_test(test_edge_of_cached_rights),
        cmocka_unit_test(test_who_was_let_in_is_decided_by_his_own_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
