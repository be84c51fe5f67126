/* SPDX-License-Identifier: Apache-2.0 */
/* Peers and decisions, with mapperd's answers given by the test. */
#include "proxy/authorization/enforce.h"

#include "common/mem.h"
#include "proxy/authorization/tag.h"
#include "tests/unit/proxy/authorization/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct stage stage;
static struct token_keys *keys;
static struct peers *peers;
static struct peer *peer;
static struct authorization a;
static unsigned done, evaluated, changed, lost;
static struct identity alice, bob, domain, elsewhere, carol;

static void on_evaluated(void *owner, struct peer *p)
{
    (void)owner;
    assert_true(p->key[0] && p->device);
    evaluated++;
}

static void on_changed(void *owner, struct peer *p)
{
    (void)owner, (void)p;
    changed++;
}

static void on_lost(void *owner, struct peer *p)
{
    (void)owner, (void)p;
    lost++;
}

static void hand_on(uint64_t tag)
{
    peers_changed(peers, tag);
}

static void on_done(struct authorization *authorization)
{
    assert_int_equal(authorization->state, AUTHORIZATION_DECIDED);
    done++;
}

/* A certificate as proxy/tls makes it, in one block; name NULL: no SIP name. */
static struct peer_identity *make_certificate(const char *store, const char *cn, const char *name)
{
    struct {
        struct peer_identity identity;
        struct identity names[1];
        char store[33], cn[65];
    } *block = mem_zero(1, sizeof *block);

    assert_non_null(block);
    snprintf(block->store, sizeof block->store, "%s", store);
    snprintf(block->cn, sizeof block->cn, "%s", cn);
    block->identity.takes_mappings = true;
    block->identity.store = block->store;
    block->identity.cn = block->cn;
    block->identity.cn_size = strlen(cn);
    block->identity.names = block->names;
    if (name) {
        assert_int_equal(identity_from_text(&block->names[0], slice_of(name)), ERROR_NONE);
        block->identity.name_count = 1;
    }
    return &block->identity;
}

static void name(struct identity *out, const char *text)
{
    assert_int_equal(identity_from_text(out, slice_of(text)), ERROR_NONE);
}

static int setup(void **state)
{
    static const struct peers_user user = { .evaluated = on_evaluated,
                                            .changed = on_changed,
                                            .lost = on_lost };
    char path[128];

    (void)state;
    stage_open(&stage);
    snprintf(path, sizeof path, "%s/keys", stage.folder);
    assert_int_equal(token_keys_load(path, &keys), ERROR_NONE);
    unlink(path);
    assert_int_equal(peers_new(&stage.base, stage.ask, keys, &user, &peers), ERROR_NONE);
    stage.on_changed = hand_on;
    peer = NULL;
    a = (struct authorization){ .done = on_done };
    done = evaluated = changed = lost = 0;
    name(&alice, "alice@example.org");
    name(&bob, "bob@example.org");
    name(&carol, "carol@elsewhere.net");
    name(&domain, "example.org");
    name(&elsewhere, "elsewhere.net");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    authorize_end(&a);
    if (peer)
        peer_close(peer);
    peers_free(peers);
    stage_close(&stage);
    token_keys_free(keys);
    return 0;
}

static void open_device(const char *sip_name)
{
    assert_int_equal(
        peer_open_device(peers, make_certificate("device", "aa", sip_name), NULL, &peer),
        ERROR_NONE);
    stage_turn(&stage);
}

/* UP, with the device evaluated: it holds `identity` (NULL: unknown). */
static void open_known(const char *identity)
{
    stage_up(&stage, 7, 10);
    open_device(NULL);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 10, identity ? "known" : "unknown", "AA", identity);
    assert_int_equal(evaluated, 1);
}

static enum authorization_state begin(const char *method, const struct identity *from,
                                      const struct identity *to, const struct identity *target,
                                      bool locate)
{
    struct authorize_facts facts = { .method = slice_of(method),
                                     .from = from,
                                     .to = to,
                                     .target = target,
                                     .want_locate = locate,
                                     .keys = keys,
                                     .call_id = SLICE("c1") };

    return authorize_begin(&a, &stage.base, stage.ask, peer, &facts);
}

static void assert_decided(enum effect effect, enum reason reason)
{
    assert_int_equal(a.state, AUTHORIZATION_DECIDED);
    assert_int_equal(a.decision.effect, effect);
    assert_string_equal(reason_name(a.decision.reason), reason_name(reason));
}

#define RULE "1 allow * * ours - - -"

static void give_rights_of_alice(const char *state, const char *rule)
{
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_rights(&stage, 7, 10, state, NULL, rule);
}

/* ---- Requests ---- */

static void test_request_waits_for_all_that_it_needs_at_once(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(peer_open_device(peers, make_certificate("device", "aa", NULL), NULL, &peer),
                     ERROR_NONE);
    assert_int_equal(begin("INVITE", &alice, NULL, &bob, true), AUTHORIZATION_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions,
                 "PEER device aa"); /* the connection's and the request's are one */
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_expect_nothing(&stage.questions);
    stage_peer(&stage, 7, 10, "known", "AA", "alice@example.org");
    stage_rights(&stage, 7, 10, "known", NULL, RULE);
    assert_int_equal(done, 0);
    stage_locate(&stage, 7, 10, "known", "v=1 store=device cn=BB contact=sip:b@h");
    assert_int_equal(done, 1);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_string_equal(a.entry, "alice@example.org");
    assert_int_equal(a.decision.rule_id, 1);
    assert_int_equal(a.locate->locate.binding_count, 1);
    assert_true(ground_holds(&a.ground, stage.ask));
}

static void test_known_peer_needs_no_question_for_options_and_register(void **state)
{
    (void)state;
    open_known("alice@example.org");
    assert_int_equal(begin("REGISTER", &alice, &alice, &domain, false), AUTHORIZATION_WAITING);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 10, "unknown", NULL, NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_true(a.to_ourselves);
    authorize_end(&a);
    assert_int_equal(begin("OPTIONS", &alice, NULL, &domain, false), AUTHORIZATION_DECIDED);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_int_equal(done, 1);
    stage_turn(&stage);
    stage_expect_nothing(&stage.questions);
}

static void test_T01_forged_from_of_a_known_device_is_refused_without_a_question(void **state)
{
    (void)state;
    open_known("alice@example.org");
    assert_int_equal(begin("INVITE", &bob, NULL, &alice, true), AUTHORIZATION_DECIDED);
    assert_decided(EFFECT_DENY, REASON_FROM_NOT_PERMITTED);
    stage_turn(&stage);
    stage_expect_nothing(&stage.questions);
}

/* Alice's rights are asked before another's To is refused, and bob's state shows to who has one. */
static void register_for_bob(const char *rule, const char *state_of_bob)
{
    begin("REGISTER", &alice, &bob, &domain, true);
    stage_turn(&stage);
    give_rights_of_alice("known", rule);
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 10, "unknown", NULL, NULL);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, state_of_bob, NULL);
}

static void test_F41_registering_for_another_is_a_right(void **state)
{
    (void)state;
    open_known("alice@example.org");
    register_for_bob(RULE, "known");
    assert_decided(EFFECT_DENY, REASON_TO_NOT_PERMITTED);
    assert_false(a.decision.third_party);
    authorize_end(&a);
    begin("REGISTER", &alice, &bob, &domain, true);
    stage_turn(&stage);
    stage_expect(&stage.questions, "LOCATE bob@example.org"); /* the rest is in the cache */
    stage_locate(&stage, 7, 10, "disabled", NULL);
    assert_decided(EFFECT_DENY, REASON_TO_NOT_PERMITTED);
}

static void test_F41_a_rule_that_names_REGISTER_permits_it(void **state)
{
    (void)state;
    open_known("alice@example.org");
    register_for_bob("3 allow * REGISTER user:bob@example.org - - -", "known");
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_true(a.decision.third_party);
    assert_int_equal(a.decision.rule_id, 3);
    assert_string_equal(a.entry, "alice@example.org");
    authorize_end(&a);
    begin("REGISTER", &alice, &bob, &domain, true);
    stage_turn(&stage);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, "disabled", NULL);
    assert_decided(EFFECT_DENY, REASON_USER_DISABLED);
}

static void test_unknown_and_disabled_devices_are_refused(void **state)
{
    (void)state;
    open_known(NULL);
    assert_int_equal(peer->condition, PEER_STRANGER);
    begin("INVITE", &alice, NULL, &bob, true);
    assert_decided(EFFECT_DENY, REASON_DEVICE_UNKNOWN);
    authorize_end(&a);
    stage_message(&stage, "7 11 peer device AA");
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "disabled", "AA", NULL);
    begin("INVITE", &alice, NULL, &bob, true);
    assert_decided(EFFECT_DENY, REASON_DEVICE_DISABLED);
    assert_int_equal(lost, 0);
}

static void test_disabled_user_is_refused(void **state)
{
    (void)state;
    open_known("example.org");
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    give_rights_of_alice("disabled", NULL);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, "known", NULL);
    assert_decided(EFFECT_DENY, REASON_USER_DISABLED);
    authorize_end(&a);
    /* also when the disabled one is only in To of a REGISTER */
    begin("REGISTER", &bob, &alice, &domain, false);
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS bob@example.org");
    stage_rights(&stage, 7, 10, "known", NULL, NULL);
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 10, "unknown", NULL, NULL);
    assert_decided(EFFECT_DENY, REASON_USER_DISABLED);
}

static void test_target_elsewhere_needs_a_rule(void **state)
{
    (void)state;
    open_known("alice@example.org");
    begin("INVITE", &alice, NULL, &carol, false);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "RIGHTS elsewhere.net");
    stage_rights(&stage, 7, 10, "foreign", NULL, NULL);
    assert_decided(EFFECT_DENY, REASON_NO_RIGHT);
    authorize_end(&a);
    /* a domain that is not ours is not ourselves */
    begin("OPTIONS", &alice, NULL, &elsewhere, false);
    assert_decided(EFFECT_DENY, REASON_NO_RIGHT);
    assert_false(a.to_ourselves);
}

static void test_name_in_the_certificate_admits_an_unmapped_device(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    open_device("alice@example.org");
    stage_peer(&stage, 7, 10, "unknown", "AA", NULL);
    assert_int_equal(peer->condition, PEER_HELD);
    assert_true(peer_covers(peer, &alice));
    assert_false(peer_covers(peer, &bob));
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    give_rights_of_alice("unknown", RULE);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, "known", NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_string_equal(a.entry, "alice@example.org");
    authorize_end(&a);
    /* but not when its store is disabled */
    stage_message(&stage, "7 11 store device");
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "disabled", "AA", NULL);
    assert_decided(EFFECT_DENY, REASON_DEVICE_DISABLED);
}

static void test_mapperd_that_never_answers_keeps_it_waiting_until_its_owner_ends_it(void **state)
{
    struct ask_status status;

    (void)state;
    stage_up(&stage, 7, 10);
    open_device(NULL);
    assert_int_equal(begin("INVITE", &alice, NULL, &bob, true), AUTHORIZATION_WAITING);
    stage_pass(&stage, 30000);
    assert_int_equal(a.state, AUTHORIZATION_WAITING);
    assert_int_equal(done, 0);
    authorize_end(&a);
    authorize_end(&a);
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.lookups, 1); /* the connection's own */
}

static void test_refusals_of_mapperd_are_the_reason(void **state)
{
    static const char stale[] = "-STALE old\r\n";

    (void)state;
    open_known("alice@example.org");
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    stage_send(&stage, &stage.questions, stale, sizeof stale - 1);
    stage_locate(&stage, 7, 10, "known", NULL);
    assert_int_equal(done, 1);
    assert_decided(EFFECT_DENY, REASON_MAPPERD_STALE);
}

static void test_T53_answer_outdated_while_another_is_awaited_is_asked_again(void **state)
{
    (void)state;
    open_known("alice@example.org");
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_message(&stage, "7 11 peer device AA"); /* PEER came from the cache before */
    stage_expect(&stage.questions, "PEER device aa");
    stage_locate(&stage, 7, 11, "known", NULL);
    assert_int_equal(done, 0);
    stage_peer(&stage, 7, 11, "unknown", "AA", NULL);
    assert_int_equal(done, 1);
    assert_decided(EFFECT_DENY, REASON_DEVICE_UNKNOWN);
    assert_int_equal(lost, 1);
}

static void allow_call(void)
{
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, "known", "v=1 store=device cn=B%42 contact=sip:b@h");
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
}

/* And ends when the rules could. */
static void test_T19_a_third_partys_binding_rests_on_its_rights_too(void **state)
{
    static const char *const tags[] = { "peer device BB",      "user desk@desk.example",
                                        "domain desk.example", "group day",
                                        "group night",         "rules" };

    (void)state;
    open_known("alice@example.org");
    begin("INVITE", &alice, NULL, &bob, true);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_locate(&stage, 7, 10, "known",
                 "v=1 store=device cn=BB registered_by=desk@desk.example groups=day,night "
                 "until=5000000000 contact=sip:b@h groups=x");
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        assert_true(ground_named_by(&a.ground, tag_of_message(slice_of(tags[i]))));
    assert_false(ground_named_by(&a.ground, tag_of_message(slice_of("group x"))));
    assert_int_equal(a.ground.edge_unix_s, UINT64_C(5000000000));
}

static void test_T19_ground_is_named_by_all_that_the_decision_rests_on(void **state)
{
    static const char *const tags[] = {
        "peer device AA", "store device",         "user alice@example.org", "domain example.org",
        "rules",          "user bob@example.org", "peer device BB"
    };

    (void)state;
    open_known("alice@example.org");
    allow_call();
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        assert_true(ground_named_by(&a.ground, tag_of_message(slice_of(tags[i]))));
    assert_false(ground_named_by(&a.ground, tag_of_message(slice_of("user carol@example.org"))));
    assert_true(ground_named_by(&a.ground, tag_of_message(slice_of("something new"))));
}

static void test_T19_deciding_again_sees_what_changed(void **state)
{
    (void)state;
    open_known("alice@example.org");
    allow_call();
    stage_message(&stage, "7 11 user alice@example.org");
    assert_false(ground_holds(&a.ground, stage.ask));
    assert_int_equal(authorize_again(&a), AUTHORIZATION_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_expect(&stage.questions, "LOCATE bob@example.org");
    stage_rights(&stage, 7, 11, "disabled", NULL, NULL);
    stage_locate(&stage, 7, 11, "known", NULL);
    assert_decided(EFFECT_DENY, REASON_USER_DISABLED);
    assert_null(a.locate);
    assert_false(ground_holds(&a.ground, stage.ask)); /* a denial permits nothing */
}

/* ---- In dialogs ---- */

static struct dialog_side side_of(const char *device_key, const char *entry)
{
    return (struct dialog_side){ .device = token_keys_device_hash(keys, slice_of(device_key)),
                                 .entry = token_keys_entry_hash(keys, slice_of(entry)) };
}

static enum authorization_state begin_in_dialog(const struct dialog_side *side)
{
    struct authorize_facts facts = { .method = SLICE("BYE"),
                                     .from = &alice,
                                     .target = &bob,
                                     .side = side,
                                     .keys = keys,
                                     .call_id = SLICE("c1") };

    return authorize_begin(&a, &stage.base, stage.ask, peer, &facts);
}

#define NUMBER_RULE "2 allow * * number:030 - - -"

/* 030@example.org, which a route takes as +4930. */
static enum authorization_state begin_number(struct identity *number)
{
    static struct identity user;
    struct authorize_facts facts = { .method = SLICE("INVITE"),
                                     .from = &alice,
                                     .target = &user,
                                     .want_locate = true,
                                     .number = number,
                                     .number_plan = { .international = SLICE("00"),
                                                      .national = SLICE("0"),
                                                      .country = SLICE("49") },
                                     .keys = keys,
                                     .call_id = SLICE("c1") };

    name(&user, "030@example.org");
    assert_int_equal(identity_from_parts(number, SLICE("+4930"), SLICE(""), true), ERROR_NONE);
    return authorize_begin(&a, &stage.base, stage.ask, peer, &facts);
}

static void locate_number(unsigned serial, const char *state, const char *binding)
{
    stage_expect(&stage.questions, "LOCATE 030@example.org");
    stage_locate(&stage, 7, serial, state, binding);
}

static void test_T21_a_number_of_nobody_needs_a_rule_about_numbers(void **state)
{
    static const struct {
        const char *state, *binding, *rule;
        enum reason reason;
        bool leaves;
    } rows[] = {
        { "unknown", NULL, RULE, REASON_NO_RIGHT, true },
        { "unknown", NULL, NUMBER_RULE, REASON_ALLOWED, true },
        { "unknown", "v=1 store=device cn=BB contact=sip:b@h", RULE, REASON_ALLOWED, false },
        { "known", NULL, RULE, REASON_ALLOWED, false },
        { "known", NULL, NUMBER_RULE, REASON_ALLOWED, false },
        { "disabled", NULL, RULE, REASON_ALLOWED, false },
        { "foreign", NULL, RULE, REASON_NO_RIGHT, false },
        { "foreign", NULL, NUMBER_RULE, REASON_ALLOWED, false },
    };
    struct identity number;

    (void)state;
    open_known("alice@example.org");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        stage_message(&stage, i % 2 ? "7 11 user alice@example.org" : "7 11 rules");
        assert_int_equal(begin_number(&number), AUTHORIZATION_WAITING);
        stage_turn(&stage);
        stage_expect(&stage.questions, "RIGHTS alice@example.org");
        stage_rights(&stage, 7, 11, "known", NULL, rows[i].rule);
        locate_number(11, rows[i].state, rows[i].binding);
        assert_string_equal(reason_name(a.decision.reason), reason_name(rows[i].reason));
        assert_int_equal(a.leaves_as_number, rows[i].leaves);
        if (rows[i].leaves)
            assert_null(a.locate);
        authorize_end(&a);
    }
}

/* A branch goes to the route, or to a user: what is decided later is decided about the same. */
static void test_T19_what_leaves_as_a_number_stays_one_when_somebody_registers(void **state)
{
    struct identity number;

    (void)state;
    open_known("alice@example.org");
    begin_number(&number);
    stage_turn(&stage);
    give_rights_of_alice("known", NUMBER_RULE);
    locate_number(10, "unknown", NULL);
    assert_true(a.leaves_as_number);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    stage_message(&stage, "7 11 user 030@example.org");
    assert_false(ground_holds(&a.ground, stage.ask));
    stage_message(&stage, "7 12 user alice@example.org");
    authorize_again(&a);
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_expect_nothing(&stage.questions);
    stage_rights(&stage, 7, 12, "known", NULL, RULE);
    assert_decided(EFFECT_DENY, REASON_NO_RIGHT);
    authorize_end(&a);
    /* and what goes to a user never becomes a number */
    begin_number(&number);
    stage_turn(&stage);
    locate_number(12, "known", NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    authorize_again(&a);
    stage_turn(&stage);
    locate_number(12, "unknown", NULL);
    assert_false(a.leaves_as_number);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
}

static void test_dialog_needs_the_device_its_entry_and_a_user_who_is_not_disabled(void **state)
{
    struct dialog_side side = side_of("device:AA", "alice@example.org");

    (void)state;
    open_known("alice@example.org");
    assert_string_equal(peer->key, "device:AA");
    assert_int_equal(begin_in_dialog(&side), AUTHORIZATION_WAITING);
    stage_turn(&stage);
    give_rights_of_alice("known", NULL); /* no rule is needed in a dialog */
    stage_expect_nothing(&stage.questions);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    authorize_end(&a);
    stage_message(&stage, "7 11 user alice@example.org");
    begin_in_dialog(&side);
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_rights(&stage, 7, 11, "disabled", NULL, NULL);
    assert_decided(EFFECT_DENY, REASON_USER_DISABLED);
}

static void test_T18_token_of_another_device_is_refused_without_a_question(void **state)
{
    struct dialog_side side = side_of("device:CC", "alice@example.org"), none = { 0 };

    (void)state;
    open_known("alice@example.org");
    assert_int_equal(begin_in_dialog(&side), AUTHORIZATION_DECIDED);
    assert_decided(EFFECT_DENY, REASON_TOKEN_OTHER_DEVICE);
    authorize_end(&a);
    assert_int_equal(begin_in_dialog(&none), AUTHORIZATION_DECIDED);
    assert_decided(EFFECT_DENY, REASON_TOKEN_OTHER_DEVICE);
}

static void test_dialog_by_a_lost_entry_is_decided_as_new(void **state)
{
    struct dialog_side side = side_of("device:AA", "example.org");

    (void)state;
    open_known("alice@example.org"); /* holds From, but by another entry than then */
    begin_in_dialog(&side);
    stage_turn(&stage);
    give_rights_of_alice("known", RULE);
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 10, "unknown", NULL, NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    authorize_end(&a);
    stage_message(&stage, "7 11 peer device AA");
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "known", "AA", "carol@example.org");
    begin_in_dialog(&side);
    assert_decided(EFFECT_DENY, REASON_FROM_NOT_PERMITTED);
    assert_int_equal(changed, 1);
}

static void test_device_key_is_known_before_the_first_evaluation_ends(void **state)
{
    struct dialog_side side = side_of("device:AA", "alice@example.org");

    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(peer_open_device(peers, make_certificate("device", "aa", NULL), NULL, &peer),
                     ERROR_NONE);
    assert_int_equal(begin_in_dialog(&side), AUTHORIZATION_WAITING); /* its waiter stands first */
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@example.org");
    stage_rights(&stage, 7, 10, "known", NULL, NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
}

/* ---- Routes ---- */

static void open_route(bool inbound)
{
    stage_up(&stage, 7, 10);
    assert_int_equal(peer_open_route(peers, "pbx", inbound, &elsewhere, 1, NULL, &peer),
                     ERROR_NONE);
    assert_string_equal(peer->key, "route:pbx");
}

static void give_route_answers(const char *target_state)
{
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS carol@elsewhere.net");
    stage_expect(&stage.questions, "LOCATE alice@example.org");
    stage_rights(&stage, 7, 10, "foreign", "foreign", "2 allow * * ours - - -");
    stage_locate(&stage, 7, 10, target_state, NULL);
}

static void test_route_may_call_our_users_from_what_it_may_assert(void **state)
{
    (void)state;
    open_route(true);
    begin("INVITE", &carol, NULL, &alice, true);
    give_route_answers("known");
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    assert_string_equal(a.entry, "elsewhere.net");
    authorize_end(&a);
    begin("INVITE", &carol, NULL, &alice, true);
    stage_turn(&stage);
    stage_expect(&stage.questions, "LOCATE alice@example.org");
    stage_locate(&stage, 7, 10, "foreign", NULL); /* no relay to others */
    assert_decided(EFFECT_DENY, REASON_NO_RIGHT);
    authorize_end(&a);
    begin("INVITE", &bob, NULL, &alice, true);
    assert_decided(EFFECT_DENY, REASON_FROM_NOT_PERMITTED);
}

static void test_route_without_inbound_may_only_use_dialogs(void **state)
{
    struct dialog_side side = side_of("route:pbx", "route:pbx");
    struct authorize_facts facts = {
        .method = SLICE("BYE"), .from = &carol, .target = &alice, .side = &side, .keys = keys
    };

    (void)state;
    open_route(false);
    begin("INVITE", &carol, NULL, &alice, true);
    assert_decided(EFFECT_DENY, REASON_ROUTE_INBOUND_OFF);
    authorize_end(&a);
    assert_int_equal(authorize_begin(&a, &stage.base, stage.ask, peer, &facts),
                     AUTHORIZATION_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS carol@elsewhere.net");
    stage_rights(&stage, 7, 10, "foreign", NULL, NULL);
    assert_decided(EFFECT_ALLOW, REASON_ALLOWED);
    authorize_end(&a);
    side = side_of("route:other", "route:other");
    authorize_begin(&a, &stage.base, stage.ask, peer, &facts);
    assert_decided(EFFECT_DENY, REASON_TOKEN_OTHER_DEVICE);
}

/* ---- Peers ---- */

static void test_removed_mapping_loses_the_peer_at_once(void **state)
{
    (void)state;
    open_known("alice@example.org");
    stage_message(&stage, "7 11 peer device AA");
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "unknown", "AA", NULL);
    assert_int_equal(lost, 1);
    assert_int_equal(peer->condition, PEER_LOST);
    assert_false(peer_covers(peer, &alice));
    stage_message(&stage, "7 12 peer device AA"); /* nothing more about it */
    stage_expect_nothing(&stage.questions);
}

static void test_stranger_becomes_held_without_reconnecting(void **state)
{
    (void)state;
    open_known(NULL);
    stage_message(&stage, "7 11 peer device AA");
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "known", "AA", "alice@example.org");
    assert_int_equal(peer->condition, PEER_HELD);
    assert_int_equal(changed, 1);
}

static void test_store_and_resync_are_evaluated_within_ten_seconds(void **state)
{
    static const char *const messages[] = { "7 %u store device", "7 %u *" };
    char message[64];
    unsigned serial = 10;

    (void)state;
    open_known("alice@example.org");
    for (int i = 0; i < 2; i++) {
        snprintf(message, sizeof message, messages[i], ++serial);
        stage_message(&stage, message);
        for (int second = 0; second < 10; second++) {
            stage_pass(&stage, 1000);
            stage_tick(&stage, 7, serial);
        }
        stage_expect(&stage.questions, "PEER device aa");
        stage_peer(&stage, 7, serial, "known", "AA", "alice@example.org");
        if (i == 1) { /* its user may have been disabled unheard */
            stage_expect(&stage.questions, "RIGHTS alice@example.org");
            stage_rights(&stage, 7, serial, "known", NULL, NULL);
        }
        assert_int_equal(changed + lost, 0);
        stage_expect_nothing(&stage.questions);
    }
}

static void test_disabled_user_loses_the_peer_that_has_no_other(void **state)
{
    (void)state;
    open_known("alice@example.org");
    stage_message(&stage, "7 11 user bob@example.org");
    stage_expect_nothing(&stage.questions);
    stage_message(&stage, "7 12 user alice@example.org");
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_rights(&stage, 7, 12, "known", NULL, NULL);
    assert_int_equal(peer->condition, PEER_HELD);
    stage_message(&stage, "7 13 user alice@example.org");
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_rights(&stage, 7, 13, "disabled", NULL, NULL);
    assert_int_equal(lost, 1);
    assert_int_equal(peer->condition, PEER_LOST);
    stage_message(&stage, "7 14 user alice@example.org");
    stage_expect_nothing(&stage.questions);
}

static void test_disabled_user_of_two_leaves_the_other(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    open_device("bob@example.org");
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@example.org");
    stage_message(&stage, "7 11 user alice@example.org");
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    stage_rights(&stage, 7, 11, "disabled", NULL, NULL);
    stage_expect(&stage.questions, "RIGHTS bob@example.org");
    stage_rights(&stage, 7, 11, "unknown", NULL, NULL);
    assert_int_equal(peer->condition, PEER_HELD);
    stage_message(&stage, "7 12 user bob@example.org");
    stage_expect(&stage.questions, "RIGHTS bob@example.org"); /* alice's answer is cached */
    stage_rights(&stage, 7, 12, "disabled", NULL, NULL);
    assert_int_equal(peer->condition, PEER_LOST);
}

static void test_disabled_domain_loses_its_peers_within_ten_seconds(void **state)
{
    (void)state;
    open_known("example.org");
    stage_message(&stage, "7 11 domain example.org");
    for (int second = 0; second < 10; second++) {
        stage_pass(&stage, 1000);
        stage_tick(&stage, 7, 11);
    }
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 11, "disabled", NULL, NULL);
    assert_int_equal(peer->condition, PEER_LOST);
    assert_int_equal(lost, 1);
}

static void test_peer_that_closes_while_its_users_are_looked_at(void **state)
{
    (void)state;
    open_known("alice@example.org");
    stage_message(&stage, "7 11 user alice@example.org");
    stage_expect(&stage.questions, "RIGHTS alice@example.org");
    peer_close(peer);
    peer = NULL;
    stage_rights(&stage, 7, 11, "disabled", NULL, NULL);
    assert_int_equal(lost + changed, 0);
}

static void test_closed_peer_is_told_nothing_and_lives_on_for_its_requests(void **state)
{
    (void)state;
    open_known("alice@example.org");
    allow_call();
    stage_message(&stage, "7 11 peer device AA");
    peer_close(peer);
    peer = NULL;
    stage_peer(&stage, 7, 11, "unknown", "AA", NULL);
    assert_int_equal(lost + changed, 0);
    assert_int_equal(a.peer->condition, PEER_GONE);
    authorize_again(&a); /* the answer came into the cache all the same */
    assert_decided(EFFECT_DENY, REASON_DEVICE_UNKNOWN);
}

static void test_device_keys(void **state)
{
    char key[DEVICE_KEY_MAX + 1], other[DEVICE_KEY_MAX + 1];
    struct peer_identity *certificate = make_certificate("corp", "host", "alice@example.org");
    struct peer_identity *odd = make_certificate("corp", "odd", NULL);

    (void)state;
    peer_device_key(certificate, SLICE("host"), key);
    assert_int_equal(strncmp(key, "corp:host:", 10), 0);
    assert_int_equal(strlen(key), 10 + 16);
    peer_device_key(odd, SLICE(""), key);
    assert_int_equal(strncmp(key, "corp!", 5), 0);
    peer_device_key(certificate, SLICE(""), other);
    assert_string_not_equal(key, other);
    mem_free(certificate);
    mem_free(odd);
}

static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        struct peer_identity *certificate = make_certificate("device", "aa", "alice@example.org");
        static const char reply[] =
            "*5\r\n:7\r\n:10\r\n$5\r\nknown\r\n$2\r\nAA\r\n$17\r\nalice@example.org\r\n";

        stage_up(&stage, 7, 10);
        mem_fail_nth_for_tests(n);
        if (peer_open_device(peers, certificate, NULL, &peer) == ERROR_NONE) {
            begin("INVITE", &alice, NULL, &bob, true);
            stage_turn(&stage);
            stage_send(&stage, &stage.questions, reply, sizeof reply - 1);
            assert_true(a.decision.effect != EFFECT_ALLOW);
            authorize_end(&a);
            peer_close(peer);
        }
        mem_fail_nth_for_tests(0);
        peer = NULL;
        stage_hang_up(&stage.questions);
        stage_turn(&stage);
        stage_pass(&stage, 50);
    }
}

static void test_F01_a_peer_without_certificate_holds_nothing_and_asks_nothing(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(peer_open_without_certificate(peers, NULL, &peer), ERROR_NONE);
    assert_int_equal(peer->condition, PEER_STRANGER);
    assert_int_equal(peer->device, 0);
    assert_false(peer_covers(peer, &alice));
    peers_changed(peers, TAG_ALL);
    stage_pass(&stage, 400);
    struct dialog_side side = { .device = 0, .entry = 0 };
    for (unsigned in_dialog = 0; in_dialog < 2; in_dialog++) {
        struct authorize_facts facts = { .method = SLICE("MESSAGE"),
                                         .from = &alice,
                                         .target = &bob,
                                         .side = in_dialog ? &side : NULL,
                                         .keys = keys,
                                         .call_id = SLICE("1") };
        assert_int_equal(authorize_begin(&a, &stage.base, stage.ask, peer, &facts),
                         AUTHORIZATION_DECIDED);
        assert_int_equal(a.decision.effect, EFFECT_DENY);
        assert_int_equal(a.decision.reason, REASON_CERTIFICATE_REQUIRED);
        authorize_end(&a);
    }
    stage_expect_nothing(&stage.questions);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_request_waits_for_all_that_it_needs_at_once),
        TEST(test_known_peer_needs_no_question_for_options_and_register),
        TEST(test_F41_registering_for_another_is_a_right),
        TEST(test_F41_a_rule_that_names_REGISTER_permits_it),
        TEST(test_T01_forged_from_of_a_known_device_is_refused_without_a_question),
        TEST(test_unknown_and_disabled_devices_are_refused),
        TEST(test_disabled_user_is_refused),
        TEST(test_target_elsewhere_needs_a_rule),
        TEST(test_name_in_the_certificate_admits_an_unmapped_device),
        TEST(test_mapperd_that_never_answers_keeps_it_waiting_until_its_owner_ends_it),
        TEST(test_refusals_of_mapperd_are_the_reason),
        TEST(test_T53_answer_outdated_while_another_is_awaited_is_asked_again),
        TEST(test_T19_a_third_partys_binding_rests_on_its_rights_too),
        TEST(test_T19_ground_is_named_by_all_that_the_decision_rests_on),
        TEST(test_T19_deciding_again_sees_what_changed),
        TEST(test_T21_a_number_of_nobody_needs_a_rule_about_numbers),
        TEST(test_T19_what_leaves_as_a_number_stays_one_when_somebody_registers),
        TEST(test_dialog_needs_the_device_its_entry_and_a_user_who_is_not_disabled),
        TEST(test_T18_token_of_another_device_is_refused_without_a_question),
        TEST(test_dialog_by_a_lost_entry_is_decided_as_new),
        TEST(test_device_key_is_known_before_the_first_evaluation_ends),
        TEST(test_route_may_call_our_users_from_what_it_may_assert),
        TEST(test_route_without_inbound_may_only_use_dialogs),
        TEST(test_F01_a_peer_without_certificate_holds_nothing_and_asks_nothing),
        TEST(test_removed_mapping_loses_the_peer_at_once),
        TEST(test_stranger_becomes_held_without_reconnecting),
        TEST(test_store_and_resync_are_evaluated_within_ten_seconds),
        TEST(test_disabled_user_loses_the_peer_that_has_no_other),
        TEST(test_disabled_user_of_two_leaves_the_other),
        TEST(test_disabled_domain_loses_its_peers_within_ten_seconds),
        TEST(test_peer_that_closes_while_its_users_are_looked_at),
        TEST(test_closed_peer_is_told_nothing_and_lives_on_for_its_requests),
        TEST(test_device_keys),
        TEST(test_each_allocation_may_fail),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
