/* SPDX-License-Identifier: Apache-2.0 */
/* F46: every cell of "Digest and certificate", for every outcome of the credentials, through
 * admission_of() and through decide(). The table here is written from the requirement, not from the
 * code: a row with wildcards for each of its lines. */
#include "common/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ALICE "alice@example.org"
#define BOB   "bob@example.org"
#define THIRD "carol@elsewhere.example"

/* Digest: - off, fallback f, always a. Certificate: ignored i, missing (optional) m, valid v. From
 * permitted y/n. Domain own o, third t. Third parties: challenge c, accept a, refuse r. '*' = any.
 */
static const struct row {
    const char *digest, *certificate, *permitted, *domain, *thirds;
    enum admission admission;
} ROWS[] = {
    { "-", "i", "*", "o", "*", REFUSE_WITHOUT_CERTIFICATE },
    { "-", "i", "*", "t", "*", ADMIT_AS_ANONYMOUS },
    { "-", "m", "*", "o", "*", REFUSE_WITHOUT_CERTIFICATE },
    { "-", "m", "*", "t", "a", ADMIT_AS_STRANGER },
    { "-", "m", "*", "t", "cr", REFUSE_WITHOUT_CERTIFICATE },
    { "-", "v", "y", "*", "*", ADMIT_BY_CERTIFICATE },
    { "-", "v", "n", "*", "*", REFUSE_FROM },
    { "fa", "i", "*", "*", "*", ADMIT_BY_PASSWORD },
    { "f", "m", "*", "o", "*", ADMIT_BY_PASSWORD },
    { "f", "m", "*", "t", "c", ADMIT_BY_PASSWORD },
    { "f", "m", "*", "t", "a", ADMIT_AS_STRANGER },
    { "f", "m", "*", "t", "r", REFUSE_WITHOUT_CERTIFICATE },
    { "f", "v", "y", "*", "*", ADMIT_BY_CERTIFICATE },
    { "f", "v", "n", "o", "*", ADMIT_BY_PASSWORD },
    { "f", "v", "n", "t", "c", ADMIT_BY_PASSWORD },
    { "f", "v", "n", "t", "a", ADMIT_AS_STRANGER },
    { "f", "v", "n", "t", "r", REFUSE_FROM },
    { "a", "m", "*", "*", "*", REFUSE_WITHOUT_CERTIFICATE },
    { "a", "v", "y", "o", "*", ADMIT_BY_BOTH },
    { "a", "v", "y", "t", "*", ADMIT_BY_CERTIFICATE },
    { "a", "v", "n", "*", "*", REFUSE_FROM },
};

struct cell {
    char digest, certificate, permitted, domain, thirds;
};

static bool is_in(const char *set, char one)
{
    return *set == '*' || strchr(set, one);
}

/* Exactly one line of the requirement is about it. */
static enum admission required(const struct cell *cell)
{
    enum admission admission = ADMISSION_NONE;
    unsigned found = 0;

    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct row *row = &ROWS[i];

        if (!is_in(row->digest, cell->digest) || !is_in(row->certificate, cell->certificate) ||
            !is_in(row->permitted, cell->permitted) || !is_in(row->domain, cell->domain) ||
            !is_in(row->thirds, cell->thirds))
            continue;
        admission = row->admission;
        found++;
    }
    if (found != 1)
        fail_msg("%u lines about %c%c%c%c%c", found, cell->digest, cell->certificate,
                 cell->permitted, cell->domain, cell->thirds);
    return admission;
}

static enum digest_mode mode_of(char c)
{
    return c == '-' ? DIGEST_OFF : c == 'f' ? DIGEST_FALLBACK : DIGEST_ALWAYS;
}

static enum certificate_shown shown_of(char c)
{
    return c == 'i' ? CERTIFICATE_IGNORED : c == 'm' ? CERTIFICATE_MISSING : CERTIFICATE_VALID;
}

static enum third_parties thirds_of(char c)
{
    return c == 'c'   ? THIRD_PARTIES_CHALLENGE
           : c == 'a' ? THIRD_PARTIES_ACCEPT
                      : THIRD_PARTIES_REFUSE;
}

typedef void visitor(const struct cell *cell);

static void visit_all(visitor *visit)
{
    for (const char *d = "-fa"; *d; d++)
        for (const char *c = "imv"; *c; c++)
            for (const char *p = "yn"; *p; p++)
                for (const char *o = "ot"; *o; o++)
                    for (const char *t = "car"; *t; t++)
                        visit(&(struct cell){ *d, *c, *p, *o, *t });
}

static void check_admission(const struct cell *cell)
{
    struct admission_facts facts = { mode_of(cell->digest), thirds_of(cell->thirds),
                                     shown_of(cell->certificate), cell->permitted == 'y',
                                     cell->domain == 'o' };

    if (admission_of(&facts) != required(cell))
        fail_msg("%c%c%c%c%c: %d", cell->digest, cell->certificate, cell->permitted, cell->domain,
                 cell->thirds, admission_of(&facts));
}

static void test_F46_every_cell_is_admitted_as_required(void **state)
{
    (void)state;
    visit_all(check_admission);
}

static void test_F46_zero_admits_nobody(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode <= DIGEST_ALWAYS; mode++) {
        for (unsigned shown = 0; shown <= CERTIFICATE_VALID; shown++) {
            for (unsigned bits = 0; bits < 4; bits++) {
                struct admission_facts facts = { (enum digest_mode)mode, THIRD_PARTIES_NONE,
                                                 (enum certificate_shown)shown, bits & 1,
                                                 (bits & 2) != 0 };
                enum admission admission = admission_of(&facts);

                assert_int_not_equal(admission, ADMIT_AS_STRANGER);
                if (mode == DIGEST_MODE_NONE || shown == CERTIFICATE_UNKNOWN)
                    assert_int_equal(admission, ADMISSION_NONE);
            }
        }
    }
}

/* ---- decide() ---- */

struct play {
    struct policy_peer peer;
    struct policy_admission admission;
    struct policy_request request;
    struct policy_rights rights, anonymous;
    struct identity from, to, target;
    struct policy_rule rule;
    struct slice entry;
};

static void name(struct identity *out, const char *text)
{
    assert_int_equal(identity_from_text(out, slice_of(text)), ERROR_NONE);
}

/* An INVITE to a user of ours by From's own kind, with a rule that allows all. */
static void set_up_play(struct play *p, const struct cell *cell)
{
    const char *from = cell->domain == 'o' ? ALICE : THIRD;

    memset(p, 0, sizeof(*p));
    name(&p->from, from);
    name(&p->to, from);
    name(&p->target, BOB);
    assert_int_equal(policy_rule_parse(SLICE("1 allow * * * - - -"), &p->rule), ERROR_NONE);
    p->entry = slice_of(cell->permitted == 'y' ? from : "other@example.org");
    p->peer = (struct policy_peer){ PEER_UNKNOWN, SLICE(""), NULL, 0 };
    if (cell->certificate == 'v')
        p->peer = (struct policy_peer){ PEER_KNOWN, SLICE("device"), &p->entry, 1 };
    p->admission =
        (struct policy_admission){ mode_of(cell->digest), thirds_of(cell->thirds),
                                   shown_of(cell->certificate), PASSWORD_NONE, SLICE("") };
    p->request = (struct policy_request){ .method = SLICE("INVITE"),
                                          .from = &p->from,
                                          .target = &p->target,
                                          .target_state = USER_KNOWN,
                                          .anonymous = &p->anonymous,
                                          .admission = &p->admission };
    p->anonymous = (struct policy_rights){ USER_FOREIGN, NULL, 0 };
    p->rights =
        (struct policy_rights){ cell->domain == 'o' ? USER_KNOWN : USER_FOREIGN, &p->rule, 1 };
}

static const struct outcome {
    enum password_outcome password;
    const char *user;
    enum effect effect;
    enum reason reason; /* of what needs the password */
} OUTCOMES[] = {
    { PASSWORD_NONE, "", EFFECT_CHALLENGE, REASON_CREDENTIALS_REQUIRED },
    { PASSWORD_WRONG, ALICE, EFFECT_CHALLENGE, REASON_CREDENTIALS_WRONG },
    { PASSWORD_STALE, ALICE, EFFECT_CHALLENGE, REASON_CREDENTIALS_STALE },
    { PASSWORD_REPLAYED, ALICE, EFFECT_CHALLENGE, REASON_CREDENTIALS_REPLAYED },
    { PASSWORD_BRAKED, ALICE, EFFECT_DENY, REASON_CREDENTIALS_BRAKED },
    { PASSWORD_RIGHT, "", EFFECT_DENY, REASON_FROM_NOT_PERMITTED },
    { PASSWORD_RIGHT, BOB, EFFECT_DENY, REASON_FROM_NOT_PERMITTED },
    { PASSWORD_RIGHT, ALICE, EFFECT_ALLOW, REASON_ALLOWED },
    { (enum password_outcome)99, ALICE, EFFECT_DENY, REASON_NONE },
};

static struct decision expected(const struct cell *cell, const struct outcome *outcome)
{
    struct decision d = { .effect = EFFECT_DENY };

    switch (required(cell)) {
    case ADMIT_BY_PASSWORD:
    case ADMIT_BY_BOTH:
        d.effect = outcome->effect;
        d.reason = outcome->reason;
        if (d.effect == EFFECT_ALLOW && cell->domain == 't') { /* alice is not carol */
            d.effect = EFFECT_DENY;
            d.reason = REASON_FROM_NOT_PERMITTED;
        }
        break;
    case ADMIT_BY_CERTIFICATE:
    case ADMIT_AS_STRANGER:
        d.effect = EFFECT_ALLOW;
        d.reason = REASON_ALLOWED;
        break;
    case REFUSE_FROM:
        d.reason = REASON_FROM_NOT_PERMITTED;
        break;
    case REFUSE_WITHOUT_CERTIFICATE:
    case ADMIT_AS_ANONYMOUS: /* his rules are none */
        d.reason = REASON_CERTIFICATE_REQUIRED;
        break;
    case ADMISSION_NONE:
        fail();
    }
    return d;
}

static void check_decision(const struct cell *cell)
{
    struct play p;

    for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++) {
        struct decision want = expected(cell, &OUTCOMES[i]), got;

        set_up_play(&p, cell);
        p.admission.password = OUTCOMES[i].password;
        p.admission.user = slice_of(OUTCOMES[i].user);
        got = decide(&p.peer, &p.request, &p.rights);
        if (got.effect != want.effect || got.reason != want.reason ||
            got.admission != required(cell))
            fail_msg("%c%c%c%c%c, outcome %zu: %d %s", cell->digest, cell->certificate,
                     cell->permitted, cell->domain, cell->thirds, i, got.effect,
                     reason_name(got.reason));
        if (got.effect == EFFECT_ALLOW)
            assert_true(slice_equal(got.entry, identity_text(&p.from)));
        /* Before it is known whose domain it is, only what is the same for both is said. */
        got = decide(&p.peer, &p.request, NULL);
        if (got.effect == EFFECT_ALLOW ||
            (got.reason != REASON_NONE && got.reason != want.reason && want.effect != EFFECT_ALLOW))
            fail_msg("early %c%c%c%c%c, outcome %zu: %s", cell->digest, cell->certificate,
                     cell->permitted, cell->domain, cell->thirds, i, reason_name(got.reason));
    }
}

static void test_F46_every_cell_and_outcome_is_decided_as_required(void **state)
{
    (void)state;
    visit_all(check_decision);
}

/* A password is its user's To and From; a certificate that permits more adds nothing to it. */
static void check_register(const struct cell *cell)
{
    static const char *const registered[] = { ALICE, BOB, "other@example.org", "example.org" };
    struct play p;

    for (size_t i = 0; i < sizeof(registered) / sizeof(registered[0]); i++) {
        enum admission admission = required(cell);
        struct decision got;
        bool by_certificate;

        set_up_play(&p, cell);
        name(&p.to, registered[i]);
        p.admission.password = PASSWORD_RIGHT;
        p.admission.user = SLICE(ALICE);
        p.request.method = SLICE("REGISTER");
        p.request.to = &p.to;
        p.request.to_ourselves = true;
        got = decide(&p.peer, &p.request, &p.rights);
        by_certificate = slice_equal(p.entry, identity_text(&p.to));
        switch (admission) {
        case ADMIT_BY_CERTIFICATE:
            assert_int_equal(got.effect == EFFECT_ALLOW, by_certificate);
            break;
        case ADMIT_BY_PASSWORD:
            assert_int_equal(got.effect == EFFECT_ALLOW, cell->domain == 'o' && i == 0);
            break;
        case ADMIT_BY_BOTH:
            assert_int_equal(got.effect == EFFECT_ALLOW, by_certificate && i == 0);
            break;
        case ADMIT_AS_STRANGER:
            assert_int_equal(got.reason, REASON_TO_NOT_PERMITTED);
            break;
        case REFUSE_FROM:
        case REFUSE_WITHOUT_CERTIFICATE:
        case ADMIT_AS_ANONYMOUS:
        case ADMISSION_NONE:
            assert_int_equal(got.effect, EFFECT_DENY);
            break;
        }
    }
}

static void test_F46_REGISTER_needs_To_from_what_admits_it(void **state)
{
    (void)state;
    visit_all(check_register);
}

static void check_disabled(const struct cell *cell)
{
    struct play p;

    set_up_play(&p, cell);
    p.admission.password = PASSWORD_RIGHT;
    p.admission.user = SLICE(ALICE);
    p.peer.state = PEER_DISABLED;
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).reason, REASON_DEVICE_DISABLED);
    p.peer.state = PEER_NONE;
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_DENY);
    p.peer.state = PEER_KNOWN;
    p.rights.state = USER_NONE;
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_DENY);
    p.rights.state = USER_DISABLED;
    assert_int_not_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_ALLOW);
    p.admission.password = PASSWORD_NONE; /* who proves nothing doesn't learn that it is disabled */
    if (required(cell) == ADMIT_BY_PASSWORD)
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).reason,
                         REASON_CREDENTIALS_REQUIRED);
}

static void test_F46_no_password_helps_what_is_disabled(void **state)
{
    (void)state;
    visit_all(check_disabled);
}

static void reach(const struct cell *cell)
{
    struct play p;

    set_up_play(&p, cell);
    assert_int_equal(policy_rule_parse(SLICE("1 allow * * ours - - -"), &p.rule), ERROR_NONE);
    for (unsigned target = USER_NONE; target <= USER_DISABLED; target++) {
        p.request.target_state = (enum user_state)target;
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect == EFFECT_ALLOW,
                         target == USER_UNKNOWN || target == USER_KNOWN || target == USER_DISABLED);
    }
    p.request.to_ourselves = true;
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_ALLOW);
}

static void test_F46_others_reach_our_users_and_nobody_else(void **state)
{
    (void)state;
    reach(&(struct cell){ 'f', 'm', 'n', 't', 'a' });
    reach(&(struct cell){ 'f', 'v', 'y', 't', 'r' });
    reach(&(struct cell){ '-', 'v', 'y', 't', 'r' });
}

static void test_F46_the_rules_of_anonymous_are_for_who_has_proved_nothing(void **state)
{
    static const struct cell stranger = { 'f', 'm', 'n', 't', 'a' };
    static const struct cell anonymous = { '-', 'i', 'n', 't', 'r' };
    struct play p;
    struct decision d;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        set_up_play(&p, i ? &anonymous : &stranger);
        p.anonymous = (struct policy_rights){ USER_FOREIGN, &p.rule, 1 };
        assert_int_equal(policy_rule_parse(SLICE("7 deny * * ours - - -"), &p.rule), ERROR_NONE);
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).reason, REASON_RULE_DENIES);
        p.request.target_state = USER_FOREIGN;
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).reason,
                         i ? REASON_CERTIFICATE_REQUIRED : REASON_NO_RIGHT);
        assert_int_equal(policy_rule_parse(SLICE("7 allow * INVITE * - - 3"), &p.rule), ERROR_NONE);
        d = decide(&p.peer, &p.request, &p.rights);
        assert_int_equal(d.reason, REASON_ALLOWED);
        assert_int_equal(d.rule_id, 7);
        assert_int_equal(d.per_minute, 3);
        assert_true(slice_equal(d.entry, SLICE(THIRD)));
        p.anonymous.state = USER_NONE;
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_DENY);
        p.request.anonymous = NULL;
        assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_DENY);
    }
    set_up_play(&p,
                &(struct cell){ '-', 'i', 'n', 'o', 'r' }); /* From of ours is proved, or refused */
    p.anonymous = (struct policy_rights){ USER_FOREIGN, &p.rule, 1 };
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).reason, REASON_CERTIFICATE_REQUIRED);
}

static void test_F46_a_proved_password_needs_no_other_answer(void **state)
{
    (void)state;
    assert_int_equal(policy_without_password(PASSWORD_RIGHT).effect, EFFECT_DENY);
    assert_int_equal(policy_without_password(PASSWORD_RIGHT).reason, REASON_NONE);
}

/* ---- Rules that challenge ---- */

static void check_rule(const struct cell *cell)
{
    enum admission admission = required(cell);
    struct play p;

    if (cell->domain != 'o' || admission == REFUSE_FROM || admission == REFUSE_WITHOUT_CERTIFICATE)
        return;
    for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++) {
        struct decision got;

        set_up_play(&p, cell);
        assert_int_equal(policy_rule_parse(SLICE("7 challenge * * * - - -"), &p.rule), ERROR_NONE);
        p.admission.password = OUTCOMES[i].password;
        p.admission.user = slice_of(OUTCOMES[i].user);
        got = decide(&p.peer, &p.request, &p.rights);
        if (cell->digest == '-') {
            assert_int_equal(got.reason, REASON_RULE_DENIES);
            continue;
        }
        assert_int_equal(got.effect, OUTCOMES[i].effect);
        assert_int_equal(got.reason, OUTCOMES[i].reason);
        if (got.effect == EFFECT_ALLOW)
            assert_int_equal(got.rule_id, 7);
    }
    set_up_play(&p, cell);
    assert_int_equal(policy_rule_parse(SLICE("7 challenge * * * - - -"), &p.rule), ERROR_NONE);
    p.request.admission = NULL; /* as mapctl check asks */
    assert_int_equal(decide(&p.peer, &p.request, &p.rights).effect, EFFECT_DENY);
}

static void test_F45_a_rule_may_ask_for_the_password(void **state)
{
    (void)state;
    visit_all(check_rule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F46_every_cell_is_admitted_as_required),
        cmocka_unit_test(test_F46_zero_admits_nobody),
        cmocka_unit_test(test_F46_every_cell_and_outcome_is_decided_as_required),
        cmocka_unit_test(test_F46_REGISTER_needs_To_from_what_admits_it),
        cmocka_unit_test(test_F46_no_password_helps_what_is_disabled),
        cmocka_unit_test(test_F46_others_reach_our_users_and_nobody_else),
        cmocka_unit_test(test_F46_the_rules_of_anonymous_are_for_who_has_proved_nothing),
        cmocka_unit_test(test_F46_a_proved_password_needs_no_other_answer),
        cmocka_unit_test(test_F45_a_rule_may_ask_for_the_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
