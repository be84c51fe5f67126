/* SPDX-License-Identifier: Apache-2.0 */
/* Server transactions: each state with each event, all timers, matching, bounds, lack of memory. */
#include "world.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum input {
    INPUT_AGAIN,
    INPUT_ACK,
    INPUT_100,
    INPUT_180,
    INPUT_200,
    INPUT_302,
    INPUT_486,
    INPUT_603,
    INPUT_G,        /* T1 passes */
    INPUT_DEADLINE, /* 64*T1 pass */
    INPUT_ERROR,
    INPUT_DETACH,
    INPUTS
};

struct cell {
    enum server_state next;
    const char *log;
    enum error refused; /* what respond() says */
};

#define STAYS(state)          \
    {                         \
        state, "", ERROR_NONE \
    }
#define REFUSED(state)          \
    {                           \
        state, "", ERROR_CLOSED \
    }
#define GONE SERVER_TERMINATED

static struct server_transaction *begin(struct world *w, const char *method, bool reliable)
{
    struct transaction_id id = world_id(method, "z9hG4bKa");
    struct transaction_way way = world_way(reliable);
    struct server_transaction *t = NULL;

    assert_int_equal(server_transaction_new(&w->servers, &id, &way, &world_server_user, w, &t),
                     ERROR_NONE);
    return t;
}

static void respond(struct server_transaction *t, unsigned status)
{
    assert_int_equal(server_transaction_respond(t, status, world_response(status)), ERROR_NONE);
}

static struct server_transaction *bring_to(struct world *w, const char *method, bool reliable,
                                           enum server_state state)
{
    struct server_transaction *t = begin(w, method, reliable);
    bool invite = server_transaction_is_invite(t);

    switch (state) {
    case SERVER_NONE:
    case SERVER_TRYING:
    case SERVER_TERMINATED:
        break;
    case SERVER_PROCEEDING:
        respond(t, 180);
        break;
    case SERVER_COMPLETED:
        respond(t, invite ? 486 : 200);
        break;
    case SERVER_CONFIRMED:
        respond(t, 486);
        assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
        break;
    case SERVER_ACCEPTED:
        respond(t, 200);
        break;
    }
    world_drain(w);
    w->log[0] = '\0';
    return t;
}

static enum error apply(struct world *w, struct server_transaction *t, enum input input)
{
    static const unsigned statuses[INPUTS] = {
        [INPUT_100] = 100, [INPUT_180] = 180, [INPUT_200] = 200,
        [INPUT_302] = 302, [INPUT_486] = 486, [INPUT_603] = 603
    };
    struct transaction_way from = world_way(server_transaction_way(t)->reliable);
    enum server_ack ack;

    switch (input) {
    case INPUT_AGAIN:
        server_transaction_retransmitted(t, &from);
        break;
    case INPUT_ACK:
        ack = server_transaction_ack(t);
        if (ack == SERVER_ACK_PASS)
            world_log(w, "pass;");
        break;
    case INPUT_100:
    case INPUT_180:
    case INPUT_200:
    case INPUT_302:
    case INPUT_486:
    case INPUT_603:
        return server_transaction_respond(t, statuses[input], world_response(statuses[input]));
    case INPUT_G:
        world_advance(w, T1);
        break;
    case INPUT_DEADLINE:
        w->base.now_mono_ms += 64 * T1;
        timers_run(&w->base.timers, w->base.now_mono_ms);
        break;
    case INPUT_ERROR:
        server_transaction_transport_failed(t);
        break;
    case INPUT_DETACH:
        server_transaction_detach(t);
        break;
    case INPUTS:
        break;
    }
    return ERROR_NONE;
}

/* The next state is read before the queue frees what has ended: the log has "ended;" then. */
static void check_cell(const char *method, bool reliable, enum server_state state, enum input input,
                       const struct cell *cell)
{
    struct world w;
    struct server_transaction *t;
    enum server_state next;

    world_open(&w);
    t = bring_to(&w, method, reliable, state);
    assert_int_equal(server_transaction_state(t), state);
    assert_int_equal(apply(&w, t, input), cell->refused);
    next = w.servers.count ? server_transaction_state(t) : SERVER_TERMINATED;
    if (next != cell->next)
        print_error("%s %s, input %d: %s\n", method, server_state_text(state), (int)input,
                    server_state_text(next));
    assert_int_equal(next, cell->next);
    world_drain(&w);
    world_expect(&w, cell->log);
    world_drop(&w);
}

static void check_cells(const char *method, bool reliable, const struct cell cells[][INPUTS],
                        const enum server_state *states, size_t count)
{
    for (size_t s = 0; s < count; s++)
        for (unsigned i = 0; i < INPUTS; i++)
            check_cell(method, reliable, states[s], (enum input)i, &cells[states[s]][i]);
}

static const struct cell invite_unreliable[][INPUTS] = {
    [SERVER_PROCEEDING] = {
        [INPUT_AGAIN] = { SERVER_PROCEEDING, "send 180;", 0 },
        [INPUT_ACK] = STAYS(SERVER_PROCEEDING),
        [INPUT_100] = { SERVER_PROCEEDING, "send 100;", 0 },
        [INPUT_180] = { SERVER_PROCEEDING, "send 180;", 0 },
        [INPUT_200] = { SERVER_ACCEPTED, "send 200;", 0 },
        [INPUT_302] = { SERVER_COMPLETED, "send 302;", 0 },
        [INPUT_486] = { SERVER_COMPLETED, "send 486;", 0 },
        [INPUT_603] = { SERVER_COMPLETED, "send 603;", 0 },
        [INPUT_G] = STAYS(SERVER_PROCEEDING),
        [INPUT_DEADLINE] = STAYS(SERVER_PROCEEDING),
        [INPUT_ERROR] = { SERVER_PROCEEDING, "failed;", 0 },
        [INPUT_DETACH] = { GONE, "", 0 },
    },
    [SERVER_COMPLETED] = {
        [INPUT_AGAIN] = { SERVER_COMPLETED, "send 486;", 0 },
        [INPUT_ACK] = { SERVER_CONFIRMED, "acknowledged;", 0 },
        [INPUT_100] = REFUSED(SERVER_COMPLETED),
        [INPUT_180] = REFUSED(SERVER_COMPLETED),
        [INPUT_200] = REFUSED(SERVER_COMPLETED),
        [INPUT_302] = REFUSED(SERVER_COMPLETED),
        [INPUT_486] = REFUSED(SERVER_COMPLETED),
        [INPUT_603] = REFUSED(SERVER_COMPLETED),
        [INPUT_G] = { SERVER_COMPLETED, "send 486;", 0 },
        [INPUT_DEADLINE] = { GONE, "send 486;timeout;ended;", 0 },
        [INPUT_ERROR] = { SERVER_COMPLETED, "failed;", 0 },
        [INPUT_DETACH] = STAYS(SERVER_COMPLETED),
    },
    [SERVER_CONFIRMED] = {
        [INPUT_AGAIN] = STAYS(SERVER_CONFIRMED),
        [INPUT_ACK] = STAYS(SERVER_CONFIRMED),
        [INPUT_100] = REFUSED(SERVER_CONFIRMED),
        [INPUT_180] = REFUSED(SERVER_CONFIRMED),
        [INPUT_200] = REFUSED(SERVER_CONFIRMED),
        [INPUT_302] = REFUSED(SERVER_CONFIRMED),
        [INPUT_486] = REFUSED(SERVER_CONFIRMED),
        [INPUT_603] = REFUSED(SERVER_CONFIRMED),
        [INPUT_G] = STAYS(SERVER_CONFIRMED),
        [INPUT_DEADLINE] = { GONE, "ended;", 0 },
        [INPUT_ERROR] = { SERVER_CONFIRMED, "failed;", 0 },
        [INPUT_DETACH] = STAYS(SERVER_CONFIRMED),
    },
    [SERVER_ACCEPTED] = {
        [INPUT_AGAIN] = STAYS(SERVER_ACCEPTED),
        [INPUT_ACK] = { SERVER_ACCEPTED, "pass;", 0 },
        [INPUT_100] = REFUSED(SERVER_ACCEPTED),
        [INPUT_180] = REFUSED(SERVER_ACCEPTED),
        [INPUT_200] = { SERVER_ACCEPTED, "send 200;", 0 },
        [INPUT_302] = REFUSED(SERVER_ACCEPTED),
        [INPUT_486] = REFUSED(SERVER_ACCEPTED),
        [INPUT_603] = REFUSED(SERVER_ACCEPTED),
        [INPUT_G] = STAYS(SERVER_ACCEPTED),
        [INPUT_DEADLINE] = { GONE, "ended;", 0 },
        [INPUT_ERROR] = { SERVER_ACCEPTED, "failed;", 0 },
        [INPUT_DETACH] = STAYS(SERVER_ACCEPTED),
    },
};

static void test_invite_takes_every_event_in_every_state(void **state)
{
    static const enum server_state states[] = { SERVER_PROCEEDING, SERVER_COMPLETED,
                                                SERVER_CONFIRMED, SERVER_ACCEPTED };
    static const enum server_state reliable_states[] = { SERVER_PROCEEDING, SERVER_COMPLETED,
                                                         SERVER_ACCEPTED };
    struct cell reliable[SERVER_ACCEPTED + 1][INPUTS];

    (void)state;
    check_cells("INVITE", false, invite_unreliable, states, 4);
    memcpy(reliable, invite_unreliable, sizeof(reliable));
    /* Over a reliable transport G never runs and I is zero: an ACK ends it. */
    reliable[SERVER_COMPLETED][INPUT_G] = (struct cell)STAYS(SERVER_COMPLETED);
    reliable[SERVER_COMPLETED][INPUT_DEADLINE] = (struct cell){ GONE, "timeout;ended;", 0 };
    reliable[SERVER_COMPLETED][INPUT_ACK] = (struct cell){ GONE, "acknowledged;ended;", 0 };
    check_cells("INVITE", true, reliable, reliable_states, 3);
}

static const struct cell other_unreliable[][INPUTS] = {
    [SERVER_TRYING] = {
        [INPUT_AGAIN] = STAYS(SERVER_TRYING),
        [INPUT_ACK] = STAYS(SERVER_TRYING),
        [INPUT_100] = { SERVER_PROCEEDING, "send 100;", 0 },
        [INPUT_180] = { SERVER_PROCEEDING, "send 180;", 0 },
        [INPUT_200] = { SERVER_COMPLETED, "send 200;", 0 },
        [INPUT_302] = { SERVER_COMPLETED, "send 302;", 0 },
        [INPUT_486] = { SERVER_COMPLETED, "send 486;", 0 },
        [INPUT_603] = { SERVER_COMPLETED, "send 603;", 0 },
        [INPUT_G] = STAYS(SERVER_TRYING),
        [INPUT_DEADLINE] = STAYS(SERVER_TRYING),
        [INPUT_ERROR] = { SERVER_TRYING, "failed;", 0 },
        [INPUT_DETACH] = { GONE, "", 0 },
    },
    [SERVER_PROCEEDING] = {
        [INPUT_AGAIN] = { SERVER_PROCEEDING, "send 180;", 0 },
        [INPUT_ACK] = STAYS(SERVER_PROCEEDING),
        [INPUT_100] = { SERVER_PROCEEDING, "send 100;", 0 },
        [INPUT_180] = { SERVER_PROCEEDING, "send 180;", 0 },
        [INPUT_200] = { SERVER_COMPLETED, "send 200;", 0 },
        [INPUT_302] = { SERVER_COMPLETED, "send 302;", 0 },
        [INPUT_486] = { SERVER_COMPLETED, "send 486;", 0 },
        [INPUT_603] = { SERVER_COMPLETED, "send 603;", 0 },
        [INPUT_G] = STAYS(SERVER_PROCEEDING),
        [INPUT_DEADLINE] = STAYS(SERVER_PROCEEDING),
        [INPUT_ERROR] = { SERVER_PROCEEDING, "failed;", 0 },
        [INPUT_DETACH] = { GONE, "", 0 },
    },
    [SERVER_COMPLETED] = {
        [INPUT_AGAIN] = { SERVER_COMPLETED, "send 200;", 0 },
        [INPUT_ACK] = STAYS(SERVER_COMPLETED),
        [INPUT_100] = REFUSED(SERVER_COMPLETED),
        [INPUT_180] = REFUSED(SERVER_COMPLETED),
        [INPUT_200] = REFUSED(SERVER_COMPLETED),
        [INPUT_302] = REFUSED(SERVER_COMPLETED),
        [INPUT_486] = REFUSED(SERVER_COMPLETED),
        [INPUT_603] = REFUSED(SERVER_COMPLETED),
        [INPUT_G] = STAYS(SERVER_COMPLETED),
        [INPUT_DEADLINE] = { GONE, "ended;", 0 },
        [INPUT_ERROR] = { SERVER_COMPLETED, "failed;", 0 },
        [INPUT_DETACH] = STAYS(SERVER_COMPLETED),
    },
};

static void test_others_take_every_event_in_every_state(void **state)
{
    static const enum server_state states[] = { SERVER_TRYING, SERVER_PROCEEDING,
                                                SERVER_COMPLETED };
    struct cell reliable[SERVER_COMPLETED + 1][INPUTS];

    (void)state;
    check_cells("MESSAGE", false, other_unreliable, states, 3);
    /* J is zero: a final response ends it. */
    memcpy(reliable, other_unreliable, sizeof(reliable));
    for (unsigned s = SERVER_TRYING; s <= SERVER_PROCEEDING; s++) {
        reliable[s][INPUT_200] = (struct cell){ GONE, "send 200;ended;", 0 };
        reliable[s][INPUT_302] = (struct cell){ GONE, "send 302;ended;", 0 };
        reliable[s][INPUT_486] = (struct cell){ GONE, "send 486;ended;", 0 };
        reliable[s][INPUT_603] = (struct cell){ GONE, "send 603;ended;", 0 };
    }
    check_cells("MESSAGE", true, reliable, states, 2);
}

/* Between its end and the end of the turn an owner may still hold the pointer. */
static void test_an_ended_transaction_takes_no_event(void **state)
{
    (void)state;
    for (unsigned input = 0; input < INPUTS; input++) {
        struct world w;
        struct server_transaction *t;
        enum error error;

        world_open(&w);
        t = begin(&w, "MESSAGE", true);
        respond(t, 200);
        world_expect(&w, "send 200;");
        assert_int_equal(server_transaction_state(t), SERVER_TERMINATED);
        if (input == INPUT_G || input == INPUT_DEADLINE)
            assert_int_equal(w.base.timers.count, 0);
        else {
            error = apply(&w, t, (enum input)input);
            assert_int_equal(error,
                             input >= INPUT_100 && input <= INPUT_603 ? ERROR_CLOSED : ERROR_NONE);
        }
        world_drain(&w);
        world_expect(&w, input == INPUT_DETACH  ? ""
                         : input == INPUT_ERROR ? "failed;ended;"
                                                : "ended;");
        world_close(&w);
    }
}

static void test_G_doubles_up_to_T2_and_H_ends_it(void **state)
{
    static const unsigned steps_ms[] = { 500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000 };
    struct world w;

    (void)state;
    world_open(&w);
    respond(begin(&w, "INVITE", false), 486);
    world_expect(&w, "send 486;");
    for (size_t i = 0; i < sizeof(steps_ms) / sizeof(*steps_ms); i++) {
        world_advance(&w, steps_ms[i] - 1);
        world_expect(&w, "");
        world_advance(&w, 1);
        world_expect(&w, "send 486;");
    }
    world_advance(&w, 32000 - 27500 - 1);
    world_expect(&w, "send 486;");
    world_advance(&w, 1);
    world_expect(&w, "timeout;ended;");
    world_close(&w);
}

static void test_I_absorbs_ACKs_for_T4(void **state)
{
    struct world w;
    struct server_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", false);
    respond(t, 486);
    assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
    world_expect(&w, "send 486;acknowledged;");
    world_advance(&w, T4 - 1);
    assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
    world_expect(&w, "");
    world_advance(&w, 1);
    world_expect(&w, "ended;");
    world_close(&w);
}

static void test_J_answers_repeated_requests_for_64_T1(void **state)
{
    struct world w;
    struct server_transaction *t;
    struct transaction_way way = world_way(false);

    (void)state;
    world_open(&w);
    t = begin(&w, "REGISTER", false);
    respond(t, 200);
    world_advance(&w, 64 * T1 - 1);
    server_transaction_retransmitted(t, &way);
    world_expect(&w, "send 200;send 200;");
    world_advance(&w, 1);
    world_expect(&w, "ended;");
    world_close(&w);
}

static void test_L_runs_over_reliable_transports_too(void **state)
{
    struct world w;

    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        world_open(&w);
        respond(begin(&w, "INVITE", reliable), 200);
        world_advance(&w, 64 * T1 - 1);
        world_expect(&w, "send 200;");
        world_advance(&w, 1);
        world_expect(&w, "ended;");
        world_close(&w);
    }
}

static void test_detached_it_lives_on_and_still_repeats(void **state)
{
    struct world w;
    struct server_transaction *t;
    struct transaction_id ack = world_id("ACK", "z9hG4bKa");

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", false);
    respond(t, 486);
    server_transaction_detach(t);
    assert_null(server_transaction_owner(t));
    world_advance(&w, T1);
    world_expect(&w, "send 486;send 486;");
    t = server_table_find(&w.servers, &ack);
    assert_non_null(t);
    assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
    world_advance(&w, T4);
    world_expect(&w, "");
    world_close(&w);
}

static void test_a_failed_send_is_reported_after_the_call(void **state)
{
    struct world w;
    struct server_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    w.send_fails = true;
    respond(t, 180);
    world_expect(&w, "fail 180;");
    world_drain(&w);
    world_expect(&w, "failed;");
    assert_int_equal(server_transaction_state(t), SERVER_PROCEEDING);
    server_transaction_detach(t);
    t = begin(&w, "MESSAGE", true);
    respond(t, 200);
    world_drain(&w);
    world_expect(&w, "fail 200;failed;ended;");
    world_close(&w);
}

static void test_a_repeated_request_moves_the_answers_to_its_connection(void **state)
{
    struct world w;
    struct server_transaction *t;
    struct transaction_way newer = world_way(true);

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    respond(t, 180);
    assert_int_equal(w.sent_to.flow.slot, 7);
    newer.flow.slot = 8;
    server_transaction_retransmitted(t, &newer);
    assert_int_equal(w.sent_to.flow.slot, 8);
    respond(t, 200);
    assert_int_equal(w.sent_to.flow.slot, 8);
    world_drop(&w);
}

/* ---- Matching ---- */

static bool finds(struct world *w, struct transaction_id id)
{
    return server_table_find(&w->servers, &id) != NULL;
}

static void test_a_request_is_matched_by_branch_sent_by_and_method(void **state)
{
    struct world w;
    struct transaction_id id;

    (void)state;
    world_open(&w);
    begin(&w, "INVITE", true);
    assert_true(finds(&w, world_id("INVITE", "z9hG4bKa")));
    assert_true(finds(&w, world_id("ACK", "z9hG4bKa")));
    assert_true(finds(&w, world_id("INVITE", "Z9HG4BKA"))); /* tokens are without case */
    assert_false(finds(&w, world_id("INVITE", "z9hG4bKb")));
    assert_false(finds(&w, world_id("MESSAGE", "z9hG4bKa")));
    assert_false(finds(&w, world_id("CANCEL", "z9hG4bKa")));
    id = world_id("INVITE", "z9hG4bKa");
    id.sent_by_port = 5062;
    assert_false(finds(&w, id));
    id = world_id("INVITE", "z9hG4bKa");
    id.sent_by_host = SLICE("192.0.2.8");
    assert_false(finds(&w, id));
    /* With a branch that is unique, nothing else counts. */
    id = world_id("INVITE", "z9hG4bKa");
    id.call_id = SLICE("c2");
    id.to_tag = SLICE("t2");
    assert_true(finds(&w, id));
    world_drop(&w);
}

static void test_T03_another_device_matches_nothing(void **state)
{
    struct world w;
    struct transaction_id id;

    (void)state;
    world_open(&w);
    begin(&w, "INVITE", true);
    id = world_id("INVITE", "z9hG4bKa");
    id.device = 43;
    assert_false(finds(&w, id));
    id.method = SLICE("ACK");
    assert_false(finds(&w, id));
    id.method = SLICE("CANCEL");
    assert_null(server_table_find_cancelled(&w.servers, &id));
    id.device = 42;
    assert_non_null(server_table_find_cancelled(&w.servers, &id));
    world_drop(&w);
}

static void test_a_CANCEL_is_its_own_transaction_and_finds_the_other(void **state)
{
    struct world w;
    struct server_transaction *invite, *cancel;
    struct transaction_id id = world_id("CANCEL", "z9hG4bKa");

    (void)state;
    world_open(&w);
    invite = begin(&w, "INVITE", false);
    assert_ptr_equal(server_table_find_cancelled(&w.servers, &id), invite);
    assert_null(server_table_find(&w.servers, &id));
    cancel = begin(&w, "CANCEL", false);
    assert_ptr_equal(server_table_find(&w.servers, &id), cancel);
    assert_ptr_equal(server_table_find_cancelled(&w.servers, &id), invite);
    respond(cancel, 200);
    respond(invite, 487);
    id.method = SLICE("ACK");
    assert_ptr_equal(server_table_find(&w.servers, &id), invite);
    world_drop(&w);

    world_open(&w);
    id = world_id("CANCEL", "z9hG4bKa");
    assert_null(server_table_find_cancelled(&w.servers, &id));
    begin(&w, "CANCEL", false);
    assert_null(server_table_find_cancelled(&w.servers, &id)); /* never itself */
    invite = begin(&w, "MESSAGE", false);
    assert_ptr_equal(server_table_find_cancelled(&w.servers, &id), invite);
    world_drop(&w);
}

static void test_without_cookie_the_rules_of_RFC_2543_hold(void **state)
{
    static const char *const branches[] = { "", "1", "z9hG4bK" };
    struct world w;
    struct server_transaction *t;
    struct transaction_way way = world_way(false);
    struct transaction_id id, ack;

    (void)state;
    for (size_t i = 0; i < sizeof(branches) / sizeof(*branches); i++) {
        world_open(&w);
        id = world_id("INVITE", branches[i]);
        assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                         ERROR_NONE);
        assert_true(finds(&w, id));
#define DIFFERS(field, value)             \
    id = world_id("INVITE", branches[i]); \
    id.field = value;                     \
    assert_false(finds(&w, id))
        DIFFERS(request_uri, SLICE("sip:carol@example.org"));
        DIFFERS(to_tag, SLICE("t"));
        DIFFERS(from_tag, SLICE("f2"));
        DIFFERS(call_id, SLICE("c2"));
        DIFFERS(cseq, 2);
        DIFFERS(via, SLICE("SIP/2.0/TLS 192.0.2.8;branch=1"));
        DIFFERS(method, SLICE("MESSAGE"));
#undef DIFFERS
        /* The To tag of an ACK is that of the response. */
        ack = world_id("ACK", branches[i]);
        assert_false(finds(&w, ack));
        respond(t, 486);
        assert_false(finds(&w, ack));
        ack.to_tag = SLICE("t486");
        assert_true(finds(&w, ack));
        assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
        assert_true(finds(&w, ack));
        id = world_id("CANCEL", branches[i]);
        assert_ptr_equal(server_table_find_cancelled(&w.servers, &id), t);
        world_drop(&w);

        world_open(&w);
        id = world_id("INVITE", branches[i]);
        assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                         ERROR_NONE);
        respond(t, 200);
        ack.to_tag = SLICE("t200");
        assert_ptr_equal(server_table_find(&w.servers, &ack), t);
        assert_int_equal(server_transaction_ack(t), SERVER_ACK_PASS);
        world_drop(&w);
    }
}

static void test_parts_of_a_key_can_not_run_into_each_other(void **state)
{
    struct world w;
    struct transaction_id id = world_id("INVITE", "z9hG4bKa");
    struct transaction_way way = world_way(true);
    struct server_transaction *t;

    (void)state;
    world_open(&w);
    id.branch = SLICE("z9hG4bKa192.");
    id.sent_by_host = SLICE("0.2.7");
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_NONE);
    assert_false(finds(&w, world_id("INVITE", "z9hG4bKa")));
    world_drop(&w);
}

/* ---- Bounds ---- */

static void test_what_is_no_request_makes_no_transaction(void **state)
{
    struct world w;
    struct transaction_way way = world_way(true);
    struct transaction_id id = world_id("ACK", "z9hG4bKa");
    struct server_transaction *t;

    (void)state;
    world_open(&w);
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_MALFORMED);
    id.method = SLICE("");
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_MALFORMED);
    begin(&w, "INVITE", true);
    id.method = SLICE("INVITE");
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_MALFORMED);
    world_drop(&w);
}

static void test_T37_the_table_is_bounded(void **state)
{
    struct world w;
    struct transaction_way way = world_way(true);
    struct transaction_id id;
    struct server_transaction *t = NULL;
    char branch[32];

    (void)state;
    world_open(&w);
    for (unsigned i = 0; i < LIMIT; i++) {
        snprintf(branch, sizeof(branch), "z9hG4bK%u", i);
        id = world_id("MESSAGE", branch);
        assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                         ERROR_NONE);
    }
    assert_int_equal(atomic_load(&w.counters.transactions), LIMIT);
    id = world_id("MESSAGE", "z9hG4bKx");
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_TOO_LARGE);
    server_transaction_detach(t);
    world_drain(&w);
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_NONE);
    world_drop(&w);
}

static void test_keys_methods_and_shared_branches_are_bounded(void **state)
{
    static char large[TRANSACTION_KEY_MAX + 1];
    static const char *const methods[] = { "INVITE", "CANCEL", "A", "B" };
    struct world w;
    struct transaction_way way = world_way(true);
    struct transaction_id id;
    struct server_transaction *t;

    (void)state;
    memset(large, 'x', sizeof(large));
    world_open(&w);
    id = world_id("INVITE", "");
    id.call_id = (struct slice){ large, sizeof(large) };
    assert_false(finds(&w, id));
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_TOO_LARGE);
    id = world_id("INVITE", "z9hG4bKa");
    id.to_tag = (struct slice){ large, sizeof(large) };
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_TOO_LARGE);
    id = world_id("INVITE", "z9hG4bKa");
    id.method = (struct slice){ large, 65 };
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_TOO_LARGE);
    for (size_t i = 0; i < 4; i++)
        begin(&w, methods[i], true);
    id = world_id("C", "z9hG4bKa");
    assert_int_equal(server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t),
                     ERROR_TOO_LARGE);
    assert_int_equal(w.servers.count, 4);
    world_drop(&w);
}

static void test_without_memory_nothing_has_happened(void **state)
{
    struct world w;
    struct transaction_way way = world_way(false);
    struct transaction_id id = world_id("INVITE", "z9hG4bKa");
    struct server_transaction *t;
    unsigned n = 0;
    enum error error;

    (void)state;
    do {
        world_open(&w);
        mem_fail_nth_for_tests(++n);
        error = server_transaction_new(&w.servers, &id, &way, &world_server_user, &w, &t);
        mem_fail_nth_for_tests(0);
        if (error != ERROR_NONE) {
            assert_int_equal(error, ERROR_MEMORY);
            assert_false(finds(&w, id));
        }
        world_drop(&w);
    } while (error != ERROR_NONE);
    assert_true(n > 3);

    world_open(&w);
    t = begin(&w, "INVITE", false);
    mem_fail_nth_for_tests(1);
    assert_int_equal(server_transaction_respond(t, 486, world_response(486)), ERROR_MEMORY);
    mem_fail_nth_for_tests(0);
    assert_int_equal(server_transaction_state(t), SERVER_PROCEEDING);
    world_expect(&w, "");
    respond(t, 486);
    /* All its timers have their places: nothing after this asks for memory. */
    mem_fail_nth_for_tests(1);
    world_advance(&w, T1);
    assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
    world_advance(&w, T4);
    mem_fail_nth_for_tests(0);
    world_expect(&w, "send 486;send 486;acknowledged;ended;");
    world_close(&w);
}

/* ---- Owners that do much in an upcall ---- */

static void detach_in_upcall(void *owner, struct server_transaction *t)
{
    world_log(owner, "upcall;");
    server_transaction_detach(t);
}

static void test_an_owner_may_detach_in_any_upcall(void **state)
{
    static const struct server_user user = { detach_in_upcall, detach_in_upcall, detach_in_upcall,
                                             detach_in_upcall };
    struct world w;
    struct transaction_way way = world_way(true);
    struct transaction_id id = world_id("INVITE", "z9hG4bKa");
    struct server_transaction *t;

    (void)state;
    for (int which = 0; which < 3; which++) {
        world_open(&w);
        assert_int_equal(server_transaction_new(&w.servers, &id, &way, &user, &w, &t), ERROR_NONE);
        if (which == 2)
            server_transaction_transport_failed(t);
        else
            respond(t, 486);
        if (which == 0)
            assert_int_equal(server_transaction_ack(t), SERVER_ACK_ABSORBED);
        world_drain(&w);
        world_advance(&w, 64 * T1);
        world_expect(&w, which == 2 ? "upcall;" : "send 486;upcall;");
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invite_takes_every_event_in_every_state),
        cmocka_unit_test(test_others_take_every_event_in_every_state),
        cmocka_unit_test(test_an_ended_transaction_takes_no_event),
        cmocka_unit_test(test_G_doubles_up_to_T2_and_H_ends_it),
        cmocka_unit_test(test_I_absorbs_ACKs_for_T4),
        cmocka_unit_test(test_J_answers_repeated_requests_for_64_T1),
        cmocka_unit_test(test_L_runs_over_reliable_transports_too),
        cmocka_unit_test(test_detached_it_lives_on_and_still_repeats),
        cmocka_unit_test(test_a_failed_send_is_reported_after_the_call),
        cmocka_unit_test(test_a_repeated_request_moves_the_answers_to_its_connection),
        cmocka_unit_test(test_a_request_is_matched_by_branch_sent_by_and_method),
        cmocka_unit_test(test_T03_another_device_matches_nothing),
        cmocka_unit_test(test_a_CANCEL_is_its_own_transaction_and_finds_the_other),
        cmocka_unit_test(test_without_cookie_the_rules_of_RFC_2543_hold),
        cmocka_unit_test(test_parts_of_a_key_can_not_run_into_each_other),
        cmocka_unit_test(test_what_is_no_request_makes_no_transaction),
        cmocka_unit_test(test_T37_the_table_is_bounded),
        cmocka_unit_test(test_keys_methods_and_shared_branches_are_bounded),
        cmocka_unit_test(test_without_memory_nothing_has_happened),
        cmocka_unit_test(test_an_owner_may_detach_in_any_upcall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
