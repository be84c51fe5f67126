/* SPDX-License-Identifier: Apache-2.0 */
/* The link and its lookups, rule by rule, against a scripted other end. */
#include "common/mem.h"
#include "proxy/authorization/ground.h"
#include "proxy/authorization/tag.h"
#include "tests/unit/proxy/authorization/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice text(const char *s)
{
    return slice_of(s);
}

static struct stage stage;
static struct stage_waiter w[8];

static int setup(void **state)
{
    (void)state;
    stage_open(&stage);
    for (int i = 0; i < 8; i++)
        stage_waiter_init(&w[i]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++)
        lookup_leave(&w[i].waiter);
    stage_close(&stage);
    return 0;
}

static void send_text(struct stage_end *end, const char *s)
{
    stage_send(&stage, end, s, strlen(s));
}

static enum lookup_outcome ask_peer(struct stage_waiter *waiter, const char *cn)
{
    return lookup_peer(stage.ask, &waiter->waiter, text("device"), SLICE(""), text(cn));
}

static enum lookup_outcome ask_rights(struct stage_waiter *waiter, const char *user)
{
    return lookup_rights(stage.ask, &waiter->waiter, text(user));
}

static enum lookup_outcome ask_locate(struct stage_waiter *waiter, const char *user)
{
    return lookup_locate(stage.ask, &waiter->waiter, text(user));
}

static void assert_answered(const struct stage_waiter *waiter, const char *entry)
{
    assert_int_equal(waiter->done, 1);
    assert_non_null(waiter->waiter.answer);
    assert_int_equal(waiter->waiter.answer->peer.entry_count, 1);
    assert_true(slice_equal(waiter->waiter.answer->peer.entries[0], text(entry)));
}

/* Leaves a known answer of "aa" (canonical AA) with alice@x in the cache, read at 10. */
static void fill_cache(void)
{
    stage_up(&stage, 7, 10);
    assert_int_equal(ask_peer(&w[7], "aa"), LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
    assert_answered(&w[7], "alice@x");
    lookup_leave(&w[7].waiter);
    stage_waiter_init(&w[7]);
}

static void test_nothing_is_asked_before_the_first_tick(void **state)
{
    (void)state;
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    stage_pass(&stage, 100);
    assert_int_equal(ask_state(stage.ask), ASK_SUBSCRIBING);
    stage_up(&stage, 7, 10); /* reads SUBSCRIBE as the first command */
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
    assert_answered(&w[0], "alice@x");
}

static void test_known_answer_comes_from_the_cache_by_the_raw_name(void **state)
{
    (void)state;
    fill_cache();
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_READY);
    assert_int_equal(w[0].done, 0);
    assert_int_equal(ask_peer(&w[1], "AA"), LOOKUP_WAITING); /* its own key */
}

/* mapperd says how old its data are and from which age on it answers nothing; between two ticks
 * they age on. */
static void test_F26_nothing_cached_is_used_beyond_mapperds_staleness_bound(void **state)
{
    struct ask_status status;

    (void)state;
    fill_cache();
    stage_message(&stage, "7 10 tick 900 1000");
    ask_get_status(stage.ask, &status);
    assert_true(status.age_known && status.age_ms == 900);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_READY);
    assert_true(lookup_holds(stage.ask, w[0].waiter.answer));
    stage_pass(&stage, 101);
    assert_false(lookup_holds(stage.ask, w[0].waiter.answer));
    lookup_leave(&w[0].waiter);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    lookup_leave(&w[0].waiter);
    stage_message(&stage, "7 10 tick 100 1000"); /* a proof has come back: nothing was lost */
    assert_int_equal(ask_peer(&w[1], "aa"), LOOKUP_READY);
    lookup_leave(&w[1].waiter);
    stage_message(&stage, "7 10 tick - 1000"); /* unknown is over any bound */
    assert_int_equal(ask_peer(&w[2], "aa"), LOOKUP_WAITING);
    lookup_leave(&w[2].waiter);
    stage_message(&stage, "7 10 tick -");
    assert_int_equal(ask_peer(&w[3], "aa"), LOOKUP_READY);
}

static void test_T53_message_drops_what_it_names_by_the_canonical_name(void **state)
{
    (void)state;
    fill_cache();
    stage_message(&stage, "7 11 peer device BB");
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_READY);
    lookup_leave(&w[0].waiter);
    stage_message(&stage, "7 12 peer device AA");
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
}

/* The chain is asked about with the device, and a message about one of its certificates in that
 * store is a change of the answer. */
static void test_F11_a_certificate_of_the_chain_is_asked_about_and_followed(void **state)
{
#define LEAF  "1111111111111111111111111111111111111111111111111111111111111111"
#define ABOVE "2222222222222222222222222222222222222222222222222222222222222222"
    static const char *const others[] = { "7 11 certificate corp " ABOVE,
                                          "7 12 certificate device " LEAF "3" };

    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(
        lookup_peer(stage.ask, &w[0].waiter, text("device"), text("," LEAF "," ABOVE), text("a a")),
        LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device a a " LEAF " " ABOVE);
    stage_peer(&stage, 7, 10, "known", "a a", "alice@x");
    assert_answered(&w[0], "alice@x");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        stage_message(&stage, others[i]);
        assert_true(lookup_holds(stage.ask, w[0].waiter.answer));
    }
    stage_message(&stage, "7 13 certificate device " ABOVE);
    assert_false(lookup_holds(stage.ask, w[0].waiter.answer));
    assert_int_equal(
        lookup_peer(stage.ask, &w[1].waiter, text("device"), text("," LEAF "," ABOVE), text("a a")),
        LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device a a " LEAF " " ABOVE);
    stage_peer(&stage, 7, 13, "blocked", "a a", NULL);
    assert_int_equal(w[1].waiter.answer->peer.state, PEER_BLOCKED);
}

static void test_each_kind_of_message_drops_what_rests_on_it(void **state)
{
    static const char *const messages[] = { "7 %u user a@x", "7 %u group sales", "7 %u domain x",
                                            "7 %u rules",    "7 %u *",           "7 %u news" };
    static const char *const others[] = { "7 %u user b@x", "7 %u group other", "7 %u domain y",
                                          "7 %u store device" };
    unsigned serial = 10;
    char message[64];

    (void)state;
    stage_up(&stage, 7, serial);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        assert_int_equal(ask_rights(&w[0], "a@x"), LOOKUP_WAITING);
        stage_turn(&stage);
        stage_expect(&stage.questions, "RIGHTS a@x");
        stage_rights(&stage, 7, serial, "known", "sales", "1 allow * * ours - - -");
        assert_int_equal(w[0].done, 1);
        lookup_leave(&w[0].waiter);
        stage_waiter_init(&w[0]);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            snprintf(message, sizeof message, others[k], ++serial);
            stage_message(&stage, message);
        }
        assert_int_equal(ask_rights(&w[0], "a@x"), LOOKUP_READY);
        lookup_leave(&w[0].waiter);
        snprintf(message, sizeof message, messages[i], ++serial);
        stage_message(&stage, message);
    }
    assert_int_equal(ask_rights(&w[0], "a@x"), LOOKUP_WAITING);
}

static void test_T53_answer_in_flight_named_by_a_message_is_asked_again(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_message(&stage, "7 11 peer device AA");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x"); /* read before the change */
    assert_int_equal(w[0].done, 0);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 11, "unknown", "AA", NULL);
    assert_int_equal(w[0].done, 1);
    assert_int_equal(w[0].waiter.answer->peer.state, PEER_UNKNOWN);
}

static void test_T53_answer_outdated_in_the_run_queue_is_asked_again(void **state)
{
    static const char both[] = "*5\r\n:7\r\n:10\r\n$5\r\nknown\r\n$2\r\nAA\r\n$7\r\nalice@x\r\n"
                               "*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$19\r\n7 11 peer device AA"
                               "\r\n";

    (void)state;
    stage_up(&stage, 7, 10);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_send(&stage, &stage.questions, both, sizeof both - 1);
    assert_int_equal(w[0].done, 0);
    stage_expect(&stage.questions, "PEER device aa");
}

static void test_serial_beyond_the_position_is_used(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    stage_turn(&stage);
    stage_peer(&stage, 7, 15, "known", "AA", "alice@x");
    assert_answered(&w[0], "alice@x");
    stage_message(&stage, "7 15 peer device AA"); /* already in the answer; dropped all the same */
    assert_true(lookup_holds(stage.ask, w[0].waiter.answer));
}

static void test_answer_below_the_first_tick_is_asked_again(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 9, "known", "AA", "alice@x");
    assert_int_equal(w[0].done, 0);
    stage_expect(&stage.questions, "PEER device aa"); /* once at once */
    stage_peer(&stage, 7, 9, "known", "AA", "alice@x");
    stage_turn(&stage);
    stage_expect_nothing(&stage.questions); /* then not before the next tick */
    assert_int_equal(w[0].done, 0);
    stage_tick(&stage, 7, 10);
    stage_expect(&stage.questions, "PEER device aa");
}

static void test_answer_of_another_epoch_is_asked_again(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 8, 50, "known", "AA", "alice@x");
    assert_int_equal(w[0].done, 0);
    stage_expect(&stage.questions, "PEER device aa");
    stage_tick(&stage, 8, 50);
    stage_peer(&stage, 8, 50, "known", "AA", "alice@x");
    assert_answered(&w[0], "alice@x");
}

static void test_new_epoch_drops_every_answer(void **state)
{
    (void)state;
    fill_cache();
    stage.changed_count = 0;
    stage_tick(&stage, 8, 10);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    assert_int_equal(stage.changed_count, 1);
    assert_true(stage.changed[0] == TAG_ALL);
}

static void test_messages_below_the_floor_are_forgotten_after_a_minute(void **state)
{
    char message[64];
    struct ask_status status;

    (void)state;
    stage_up(&stage, 7, 10);
    for (unsigned i = 0; i < 1200; i++) {
        snprintf(message, sizeof message, "7 %u user u%u@x", 11 + i, i);
        stage_message(&stage, message);
    }
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.floor, 10);
    for (int i = 0; i < 61; i++) {
        stage_pass(&stage, 1000);
        stage_tick(&stage, 7, 1210);
    }
    stage_message(&stage, "7 1211 user last@x");
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.floor, 1211 - 1024);
    ask_rights(&w[0], "a@x");
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS a@x");
    stage_rights(&stage, 7, 186, "known", NULL, NULL); /* below the floor, though nobody names it */
    assert_int_equal(w[0].done, 0);
    stage_expect(&stage.questions, "RIGHTS a@x");
    stage_rights(&stage, 7, 187, "known", NULL, NULL);
    assert_int_equal(w[0].done, 1);
}

static void test_T36_two_seconds_without_a_tick_drop_every_answer(void **state)
{
    (void)state;
    fill_cache();
    stage_pass(&stage, 1950);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_READY);
    lookup_leave(&w[0].waiter);
    stage_pass(&stage, 100);
    assert_int_not_equal(ask_state(stage.ask), ASK_UP);
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
    assert_int_equal(ask_deadline_reason(stage.ask), REASON_MAPPERD_UNREACHABLE);
}

static void test_T36_worker_that_stood_still_uses_no_old_answer(void **state)
{
    struct ground ground;

    (void)state;
    fill_cache();
    ground_begin(&ground, stage.ask);
    assert_true(ground_holds(&ground, stage.ask));
    stage.base.now_mono_ms += 2001; /* no turn: neither timers nor sockets were looked at */
    assert_false(ground_holds(&ground, stage.ask));
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
}

static void test_T36_waiting_lookups_survive_a_restart_in_order(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    ask_peer(&w[1], "bb");
    stage_turn(&stage);
    ask_peer(&w[2], "cc");
    stage_hang_up(&stage.questions);
    stage_turn(&stage);
    assert_int_equal(ask_state(stage.ask), ASK_DOWN);
    stage_up(&stage, 9, 3);
    stage_expect(&stage.questions, "PEER device aa");
    stage_expect(&stage.questions, "PEER device bb");
    stage_expect(&stage.questions, "PEER device cc");
    stage_peer(&stage, 9, 3, "known", "AA", "alice@x");
    stage_peer(&stage, 9, 3, "known", "BB", "bob@x");
    assert_answered(&w[0], "alice@x");
    assert_answered(&w[1], "bob@x");
    assert_int_equal(w[2].done, 0);
}

static void test_identical_lookups_are_one_and_wake_in_order_of_arrival(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    ask_peer(&w[1], "aa");
    stage_turn(&stage);
    ask_peer(&w[2], "aa"); /* joins one in flight */
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_expect_nothing(&stage.questions);
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
    for (unsigned i = 0; i < 3; i++) {
        assert_answered(&w[i], "alice@x");
        assert_int_equal(w[i].order, i + 1);
    }
}

static void test_locate_is_never_cached_and_joined_only_before_it_is_sent(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_locate(&w[0], "a@x");
    ask_locate(&w[1], "a@x");
    stage_turn(&stage);
    stage_expect(&stage.questions, "LOCATE a@x");
    stage_expect_nothing(&stage.questions);
    ask_locate(&w[2], "a@x");
    stage_turn(&stage);
    stage_expect(&stage.questions, "LOCATE a@x");
    stage_locate(&stage, 7, 10, "known", NULL);
    stage_locate(&stage, 7, 10, "known", "v=1 store=device cn=AA contact=sip:a@h");
    assert_int_equal(w[0].waiter.answer->locate.binding_count, 0);
    assert_int_equal(w[1].waiter.answer->locate.binding_count, 0);
    assert_int_equal(w[2].waiter.answer->locate.binding_count, 1);
    assert_int_equal(ask_locate(&w[3], "a@x"), LOOKUP_WAITING);
}

static void test_waiter_that_leaves_takes_nobody_with_it(void **state)
{
    struct ask_status status;

    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    ask_peer(&w[1], "aa");
    ask_peer(&w[2], "bb"); /* leaves before it is sent: not sent at all */
    lookup_leave(&w[2].waiter);
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    stage_expect_nothing(&stage.questions);
    lookup_leave(&w[0].waiter);
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
    assert_int_equal(w[0].done, 0);
    assert_answered(&w[1], "alice@x");
    ask_peer(&w[3], "cc"); /* leaves after it is sent: its reply goes to nobody else */
    ask_peer(&w[4], "dd");
    stage_turn(&stage);
    lookup_leave(&w[3].waiter);
    stage_peer(&stage, 7, 10, "known", "CC", "carol@x");
    assert_int_equal(w[4].done, 0);
    stage_peer(&stage, 7, 10, "known", "DD", "dora@x");
    assert_answered(&w[4], "dora@x");
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.lookups, 0);
}

static void test_waiter_may_leave_between_answer_and_wake_up(void **state)
{
    (void)state;
    fill_cache();
    ask_peer(&w[0], "bb");
    stage_turn(&stage);
    stage_peer(&stage, 7, 10, "known", "BB", "bob@x");
    assert_int_equal(w[0].done, 1);
    lookup_leave(&w[0].waiter);
    lookup_leave(&w[0].waiter); /* harmless */
    assert_null(w[0].waiter.answer);
}

static void test_T35_lookups_are_bounded(void **state)
{
    struct stage_waiter *many = calloc(ASK_LOOKUPS_MAX + 1, sizeof *many);
    char cn[32];

    (void)state;
    for (unsigned i = 0; i <= ASK_LOOKUPS_MAX; i++) {
        stage_waiter_init(&many[i]);
        snprintf(cn, sizeof cn, "%u", i);
        assert_int_equal(ask_peer(&many[i], cn),
                         i < ASK_LOOKUPS_MAX ? LOOKUP_WAITING : LOOKUP_FULL);
    }
    for (unsigned i = 0; i <= ASK_LOOKUPS_MAX; i++)
        lookup_leave(&many[i].waiter);
    free(many);
}

static void test_F45_answer_ends_at_its_validity_edge(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_rights(&w[0], "a@x");
    stage_turn(&stage);
    stage_rights(&stage, 7, 10, "known", NULL, "1 allow * * ours - 1700000100 -");
    assert_int_equal(w[0].done, 1);
    stage.base.now_unix_s = 1700000099;
    assert_int_equal(ask_rights(&w[1], "a@x"), LOOKUP_READY);
    stage.base.now_unix_s = 1700000100;
    assert_int_equal(ask_rights(&w[2], "a@x"), LOOKUP_WAITING);
}

static void test_answer_from_a_later_wall_time_is_dropped(void **state)
{
    (void)state;
    fill_cache();
    stage.base.now_unix_s -= 1;
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
}

static void test_loading_is_asked_again_soon(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device aa");
    send_text(&stage.questions, "-LOADING wait\r\n");
    stage_expect_nothing(&stage.questions);
    assert_int_equal(w[0].done, 0);
    stage_pass(&stage, 100);
    stage_expect(&stage.questions, "PEER device aa");
    stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
    assert_answered(&w[0], "alice@x");
}

static void test_refusals_end_the_wait_with_a_reason(void **state)
{
    static const struct {
        const char *reply;
        enum reason reason;
    } cases[] = { { "-STALE too old\r\n", REASON_MAPPERD_STALE },
                  { "-DENIED no\r\n", REASON_MAPPERD_UNREACHABLE },
                  { "-ERR what\r\n", REASON_INTERNAL } };

    (void)state;
    stage_up(&stage, 7, 10);
    for (unsigned i = 0; i < 3; i++) {
        ask_peer(&w[i], "aa");
        stage_turn(&stage);
        stage_send(&stage, &stage.questions, cases[i].reply, strlen(cases[i].reply));
        assert_int_equal(w[i].done, 1);
        assert_null(w[i].waiter.answer);
        assert_int_equal(w[i].waiter.reason, cases[i].reason);
    }
    assert_int_equal(ask_state(stage.ask), ASK_UP);
}

static void test_state_of_a_later_version_is_disabled(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    ask_rights(&w[1], "a@x");
    stage_turn(&stage);
    stage_peer(&stage, 7, 10, "quarantined", "AA", NULL);
    stage_rights(&stage, 7, 10, "suspended", NULL, NULL);
    assert_int_equal(w[0].waiter.answer->peer.state, PEER_DISABLED);
    assert_int_equal(w[1].waiter.answer->rights.rights.state, USER_DISABLED);
}

static void test_rule_that_cannot_be_read_makes_that_answer_useless_alone(void **state)
{
    (void)state;
    stage_up(&stage, 7, 10);
    ask_rights(&w[0], "a@x");
    stage_turn(&stage);
    stage_rights(&stage, 7, 10, "known", NULL, "1 perhaps * * ours - - -");
    assert_int_equal(w[0].done, 1);
    assert_null(w[0].waiter.answer);
    assert_int_equal(ask_state(stage.ask), ASK_UP);
}

static void test_T36_garbage_closes_the_link_and_it_comes_back(void **state)
{
    static const char *const garbage[] = {
        "HTTP/1.0 400 Bad Request\r\n\r\n",
        "*1\r\n:7\r\n",                                   /* too short for an answer */
        "*4\r\n:0\r\n:10\r\n$5\r\nknown\r\n$2\r\nAA\r\n", /* epoch 0 */
        "*4\r\n:7\r\n:-1\r\n$5\r\nknown\r\n$2\r\nAA\r\n",
        "*5\r\n:7\r\n:10\r\n$7\r\nforeign\r\n$2\r\nAA\r\n$1\r\nx\r\n",
        "*5\r\n:7\r\n:10\r\n$7\r\nunknown\r\n$2\r\nAA\r\n$7\r\nalice@x\r\n",
        "*4\r\n:7\r\n:10\r\n$5\r\nknown\r\n$0\r\n\r\n",
        "$5\r\nknown\r\n",
        "*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$6\r\n7 9 ab\r\n", /* back in time */
        "*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$5\r\nx y z\r\n",
        "*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$10\r\n0 1 tick 0\r\n",
        "*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$11\r\n7 10 tick 0\r\n",
        "*9000000000\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        stage_up(&stage, 7, 10);
        stage_waiter_init(&w[0]);
        assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_WAITING);
        stage_turn(&stage);
        stage_expect(&stage.questions, "PEER device aa");
        stage_send(&stage, &stage.questions, garbage[i], strlen(garbage[i]));
        assert_int_not_equal(ask_state(stage.ask), ASK_UP);
        assert_int_equal(w[0].done, 0);
        stage_up(&stage, 7, 10);
        stage_expect(&stage.questions, "PEER device aa");
        stage_peer(&stage, 7, 10, "known", "AA", "alice@x");
        assert_answered(&w[0], "alice@x");
        lookup_leave(&w[0].waiter);
        stage_hang_up(&stage.questions);
        stage_turn(&stage);
    }
}

static void test_T36_huge_answer_fails_its_own_lookup_in_the_end(void **state)
{
    size_t size = ASK_REPLY_MAX + (1u << 20);
    char *huge = malloc(size);

    (void)state;
    memset(huge, 'x', size);
    snprintf(huge, size, "*5\r\n:7\r\n:10\r\n$5\r\nknown\r\n$2\r\nAA\r\n$%u\r\n", 5000000u);
    for (unsigned i = 0; i < 2; i++) {
        stage_up(&stage, 7, 10);
        if (i == 0)
            ask_peer(&w[0], "aa");
        if (i == 0)
            ask_peer(&w[1], "bb");
        stage_turn(&stage);
        stage_expect(&stage.questions, "PEER device aa");
        stage_expect(&stage.questions, "PEER device bb");
        stage_send(&stage, &stage.questions, huge, size);
        assert_int_not_equal(ask_state(stage.ask), ASK_UP);
        assert_int_equal(w[0].done, i);
    }
    assert_int_equal(w[0].waiter.reason, REASON_MAPPERD_UNREACHABLE);
    assert_int_equal(w[1].done, 0);
    stage_up(&stage, 7, 10);
    stage_expect(&stage.questions, "PEER device bb");
    free(huge);
}

static void test_reply_that_comes_in_single_bytes_is_read(void **state)
{
    static const char reply[] = "*5\r\n:7\r\n:10\r\n$5\r\nknown\r\n$2\r\nAA\r\n$7\r\nalice@x\r\n";

    (void)state;
    stage_up(&stage, 7, 10);
    ask_peer(&w[0], "aa");
    stage_turn(&stage);
    for (size_t i = 0; i < sizeof reply - 1; i++) {
        assert_int_equal(w[0].done, 0);
        stage_send(&stage, &stage.questions, reply + i, 1);
    }
    assert_answered(&w[0], "alice@x");
}

static void test_server_that_is_away_is_tried_again_ever_more_slowly(void **state)
{
    struct ask_status status;

    (void)state;
    stage_up(&stage, 7, 10);
    stage_stop_listening(&stage);
    stage_hang_up(&stage.questions);
    stage_pass(&stage, 10000);
    assert_int_equal(ask_state(stage.ask), ASK_DOWN);
    stage_listen(&stage);
    stage_pass(&stage, 1050);
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.connects, 2);
    stage_up(&stage, 7, 10);
}

static void test_T36_server_that_accepts_and_says_nothing_is_left(void **state)
{
    (void)state;
    stage_pass(&stage, 50);
    assert_int_equal(ask_state(stage.ask), ASK_SUBSCRIBING);
    stage_pass(&stage, 1900);
    assert_int_equal(ask_state(stage.ask), ASK_SUBSCRIBING);
    stage_pass(&stage, 150);
    stage_up(&stage, 7, 10); /* the next connection */
}

/* ---- Grounds ---- */

static void test_T19_ground_ends_when_a_message_names_it(void **state)
{
    struct ground ground, zero = { 0 };

    (void)state;
    fill_cache();
    assert_int_equal(ask_peer(&w[0], "aa"), LOOKUP_READY);
    ground_begin(&ground, stage.ask);
    ground_add(&ground, w[0].waiter.answer);
    assert_true(ground_holds(&ground, stage.ask));
    assert_false(ground_holds(&zero, stage.ask));
    stage_message(&stage, "7 11 peer device BB");
    assert_true(ground_holds(&ground, stage.ask));
    assert_true(ground_named_by(&ground, tag_peer(text("device"), text("AA"))));
    assert_false(ground_named_by(&ground, tag_peer(text("device"), text("BB"))));
    assert_true(ground_named_by(&ground, TAG_ALL));
    stage_message(&stage, "7 12 store device");
    assert_false(ground_holds(&ground, stage.ask));
}

static void test_T19_ground_of_before_a_reload_ends(void **state)
{
    struct ground ground;

    (void)state;
    stage_up(&stage, 7, 10);
    stage.base.edition = 3;
    ground_begin(&ground, stage.ask);
    assert_true(ground_holds(&ground, stage.ask));
    stage.base.edition = 2; /* the writing worker has not heard of it yet: the decision is newer */
    assert_true(ground_holds(&ground, stage.ask));
    stage.base.edition = 4;
    assert_false(ground_holds(&ground, stage.ask));
}

static void test_T19_ground_below_the_floor_or_of_another_epoch_ends(void **state)
{
    struct ground ground;

    (void)state;
    stage_up(&stage, 7, 10);
    ground_begin(&ground, stage.ask);
    ground.serial = 9;
    assert_false(ground_holds(&ground, stage.ask));
    ground.serial = 10;
    assert_true(ground_holds(&ground, stage.ask));
    stage_message(&stage, "7 11 *");
    assert_false(ground_holds(&ground, stage.ask));
    ground_begin(&ground, stage.ask);
    assert_true(ground_holds(&ground, stage.ask));
    stage_tick(&stage, 8, 11);
    assert_false(ground_holds(&ground, stage.ask));
}

static void test_T19_ground_of_a_worker_that_is_ahead_or_behind(void **state)
{
    struct ground ground = { .epoch = 7, .edge_unix_s = UINT64_MAX, .count = 1 };

    (void)state;
    ground.tags[0] = tag_user(text("a@x"));
    stage_up(&stage, 7, 10);
    stage_message(&stage, "7 15 user a@x");
    ground.serial = 14; /* decided before the change, written after it */
    assert_false(ground_holds(&ground, stage.ask));
    ground.serial = 15;
    assert_true(ground_holds(&ground, stage.ask));
    ground.serial = 20; /* the deciding worker has read more than we have */
    assert_true(ground_holds(&ground, stage.ask));
}

static void test_ground_ends_at_its_edge_and_without_a_link(void **state)
{
    struct ground ground;

    (void)state;
    stage_up(&stage, 7, 10);
    ground_begin(&ground, stage.ask);
    ground.edge_unix_s = stage.base.now_unix_s + 1;
    assert_true(ground_holds(&ground, stage.ask));
    stage.base.now_unix_s++;
    assert_false(ground_holds(&ground, stage.ask));
    ground.edge_unix_s = UINT64_MAX;
    stage_hang_up(&stage.questions);
    stage_turn(&stage);
    assert_false(ground_holds(&ground, stage.ask));
    ground_begin(&ground, stage.ask); /* taken without a link: never holds */
    stage_up(&stage, 7, 10);
    assert_false(ground_holds(&ground, stage.ask));
}

static void test_ground_with_more_tags_than_fit_ends_with_any_message(void **state)
{
    uint64_t tags[GROUND_TAGS_MAX + 1];
    struct answer answer = { .tags = tags, .tag_count = GROUND_TAGS_MAX + 1 };
    struct ground ground;

    (void)state;
    for (unsigned i = 0; i <= GROUND_TAGS_MAX; i++)
        tags[i] = 1000 + i;
    stage_up(&stage, 7, 10);
    ground_begin(&ground, stage.ask);
    ground_add(&ground, &answer);
    assert_true(ground_holds(&ground, stage.ask));
    stage_message(&stage, "7 11 user nobody@x");
    assert_false(ground_holds(&ground, stage.ask));
}

/* ---- Writes ---- */

static unsigned writes_done;

static void on_written(struct write_waiter *waiter)
{
    (void)waiter;
    writes_done++;
}

static const struct unbind_arguments unbind_all = { .aor = { "a@x", 3 },
                                                    .device_key = { "*", 1 },
                                                    .contact = { "*", 1 } };
#define UNBIND_ALL "UNBIND a@x *  0 *"

static void test_writes_go_on_their_own_connection_in_order(void **state)
{
    struct bind_arguments bind = { .aor = { "a@x", 3 },
                                   .device_key = { "device:AA", 9 },
                                   .store = { "device", 6 },
                                   .cn = { "AA", 2 },
                                   .ground = { "mapping", 7 },
                                   .entry = { "a@x", 3 },
                                   .contact = { "sip:a@h", 7 },
                                   .expires_unix_s = 1700003600,
                                   .q = 1000,
                                   .call_id = { "c1", 2 },
                                   .cseq = 4,
                                   .flow = { "p/1/0/1/1", 9 } };
    struct write_waiter a = { .done = on_written }, b = { .done = on_written };
    struct ask_status status;

    (void)state;
    writes_done = 0;
    stage_up(&stage, 7, 10);
    assert_int_equal(ask_bind(stage.ask, &bind, &a), WRITE_WAITING);
    assert_int_equal(ask_unbind(stage.ask, &unbind_all, &b), WRITE_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.writes,
                 "BIND a@x device:AA device AA mapping a@x  0 sip:a@h 1700003600 1000 "
                 "c1 4 p/1/0/1/1 ");
    stage_expect(&stage.writes, UNBIND_ALL);
    stage_expect_nothing(&stage.questions);
    send_text(&stage.writes, "*3\r\n:7\r\n:11\r\n$2\r\nOK\r\n");
    send_text(&stage.writes, "-UNCONFIRMED late\r\n");
    assert_int_equal(writes_done, 2);
    assert_int_equal(a.outcome, WRITE_STORED);
    assert_int_equal(a.serial, 11);
    assert_int_equal(b.outcome, WRITE_UNCONFIRMED);
    ask_get_status(stage.ask, &status);
    assert_int_equal(status.writes, 0);
    write_leave(&a);
    write_leave(&b);
}

static void test_T36_write_is_sent_again_after_a_restart_while_somebody_waits(void **state)
{
    struct write_waiter a = { .done = on_written }, b = { .done = on_written };

    (void)state;
    writes_done = 0;
    stage_up(&stage, 7, 10);
    assert_int_equal(ask_unbind(stage.ask, &unbind_all, &a), WRITE_WAITING);
    assert_int_equal(ask_unbind(stage.ask, &unbind_all, &b), WRITE_WAITING);
    stage_turn(&stage);
    stage_expect(&stage.writes, UNBIND_ALL);
    stage_expect(&stage.writes, UNBIND_ALL);
    write_leave(&b);
    stage_hang_up(&stage.writes);
    stage_hang_up(&stage.questions);
    stage_turn(&stage);
    stage_up(&stage, 8, 10);
    stage_pass(&stage, 100);
    stage_expect(&stage.writes, UNBIND_ALL);
    stage_expect_nothing(&stage.writes);
    send_text(&stage.writes, "*3\r\n:8\r\n:11\r\n$2\r\nOK\r\n");
    assert_int_equal(a.outcome, WRITE_STORED);
    assert_int_equal(writes_done, 1);
    write_leave(&a);
}

static void test_writes_wait_until_mapperd_answers(void **state)
{
    struct write_waiter a = { .done = on_written };

    (void)state;
    writes_done = 0;
    assert_int_equal(ask_unbind(stage.ask, &unbind_all, &a), WRITE_WAITING);
    stage_pass(&stage, 100);
    stage_expect_nothing(&stage.writes); /* connected, but not UP */
    stage_up(&stage, 7, 10);
    stage_expect(&stage.writes, UNBIND_ALL);
    send_text(&stage.writes, "-LOADING again\r\n");
    stage_pass(&stage, 200);
    stage_expect(&stage.writes, UNBIND_ALL);
    send_text(&stage.writes, "-ERR no\r\n");
    assert_int_equal(a.outcome, WRITE_REFUSED);
    write_leave(&a);
    send_text(&stage.writes, "+OK\r\n"); /* a reply to nothing */
    stage_pass(&stage, 100);
    assert_int_equal(ask_state(stage.ask), ASK_UP); /* the other link is not concerned */
}

/* ---- Memory ---- */

/* Whatever allocation fails: nothing leaks (ASan), nothing is granted, the next attempt works. */
static void test_each_allocation_may_fail(void **state)
{
    static const char reply[] = "*5\r\n:7\r\n:10\r\n$5\r\nknown\r\n*1\r\n$1\r\ng\r\n"
                                "$22\r\n1 allow * * ours - - -\r\n";
    static const char message[] = "*3\r\n$7\r\nmessage\r\n$7\r\nchanged\r\n$13\r\n"
                                  "7 11 user b@x\r\n";

    (void)state;
    for (unsigned n = 1; n < 60; n++) {
        stage_up(&stage, 7, 10);
        stage_waiter_init(&w[0]);
        mem_fail_nth_for_tests(n);
        if (ask_rights(&w[0], "a@x") == LOOKUP_WAITING) {
            stage_turn(&stage);
            stage_send(&stage, &stage.questions, reply, sizeof reply - 1);
            stage_send(&stage, &stage.questions, message, sizeof message - 1);
        }
        mem_fail_nth_for_tests(0);
        assert_true(!w[0].waiter.answer || w[0].waiter.answer->rights.rights.rule_count == 1);
        lookup_leave(&w[0].waiter);
        stage_hang_up(&stage.questions);
        stage_turn(&stage);
        stage_pass(&stage, 50);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_asked_before_the_first_tick),
        TEST(test_known_answer_comes_from_the_cache_by_the_raw_name),
        TEST(test_F26_nothing_cached_is_used_beyond_mapperds_staleness_bound),
        TEST(test_T53_message_drops_what_it_names_by_the_canonical_name),
        TEST(test_F11_a_certificate_of_the_chain_is_asked_about_and_followed),
        TEST(test_each_kind_of_message_drops_what_rests_on_it),
        TEST(test_T53_answer_in_flight_named_by_a_message_is_asked_again),
        TEST(test_T53_answer_outdated_in_the_run_queue_is_asked_again),
        TEST(test_serial_beyond_the_position_is_used),
        TEST(test_answer_below_the_first_tick_is_asked_again),
        TEST(test_answer_of_another_epoch_is_asked_again),
        TEST(test_new_epoch_drops_every_answer),
        TEST(test_messages_below_the_floor_are_forgotten_after_a_minute),
        TEST(test_T36_two_seconds_without_a_tick_drop_every_answer),
        TEST(test_T36_worker_that_stood_still_uses_no_old_answer),
        TEST(test_T36_waiting_lookups_survive_a_restart_in_order),
        TEST(test_identical_lookups_are_one_and_wake_in_order_of_arrival),
        TEST(test_locate_is_never_cached_and_joined_only_before_it_is_sent),
        TEST(test_waiter_that_leaves_takes_nobody_with_it),
        TEST(test_waiter_may_leave_between_answer_and_wake_up),
        TEST(test_T35_lookups_are_bounded),
        TEST(test_F45_answer_ends_at_its_validity_edge),
        TEST(test_answer_from_a_later_wall_time_is_dropped),
        TEST(test_loading_is_asked_again_soon),
        TEST(test_refusals_end_the_wait_with_a_reason),
        TEST(test_state_of_a_later_version_is_disabled),
        TEST(test_rule_that_cannot_be_read_makes_that_answer_useless_alone),
        TEST(test_T36_garbage_closes_the_link_and_it_comes_back),
        TEST(test_T36_huge_answer_fails_its_own_lookup_in_the_end),
        TEST(test_reply_that_comes_in_single_bytes_is_read),
        TEST(test_server_that_is_away_is_tried_again_ever_more_slowly),
        TEST(test_T36_server_that_accepts_and_says_nothing_is_left),
        TEST(test_T19_ground_ends_when_a_message_names_it),
        TEST(test_T19_ground_of_before_a_reload_ends),
        TEST(test_T19_ground_below_the_floor_or_of_another_epoch_ends),
        TEST(test_T19_ground_of_a_worker_that_is_ahead_or_behind),
        TEST(test_ground_ends_at_its_edge_and_without_a_link),
        TEST(test_ground_with_more_tags_than_fit_ends_with_any_message),
        TEST(test_writes_go_on_their_own_connection_in_order),
        TEST(test_T36_write_is_sent_again_after_a_restart_while_somebody_waits),
        TEST(test_writes_wait_until_mapperd_answers),
        TEST(test_each_allocation_may_fail),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
