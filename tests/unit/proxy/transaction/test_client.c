/* SPDX-License-Identifier: Apache-2.0 */
/* Client transactions: each state with each event, all timers, the ACK, matching, bounds, lack of
 * memory. */
#include "world.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum input {
    INPUT_100,
    INPUT_180,
    INPUT_200,
    INPUT_302,
    INPUT_486,
    INPUT_603,
    INPUT_REPEAT,   /* T1 passes */
    INPUT_DEADLINE, /* 64*T1 pass at once */
    INPUT_ERROR,
    INPUT_DETACH,
    INPUTS
};

struct cell {
    enum client_state next;
    const char *log;
};

#define STAYS(state) \
    {                \
        state, ""    \
    }
#define GONE CLIENT_TERMINATED

static struct client_transaction *make(struct world *w, const char *method, bool reliable)
{
    struct transaction_way way = world_way(reliable);
    struct client_transaction *t = NULL;

    assert_int_equal(
        client_transaction_new(&w->clients, slice_of(method), &way, &world_client_user, w, &t),
        ERROR_NONE);
    return t;
}

static struct client_transaction *begin(struct world *w, const char *method, bool reliable)
{
    struct client_transaction *t = make(w, method, reliable);

    assert_int_equal(
        client_transaction_start(t, world_request(method, client_transaction_branch(t))),
        ERROR_NONE);
    return t;
}

static void receive(struct client_transaction *t, unsigned status)
{
    struct message m;

    world_parse(&m, world_response(status));
    client_transaction_received(t, &m);
    message_free(&m);
}

static struct client_transaction *bring_to(struct world *w, const char *method, bool reliable,
                                           enum client_state state)
{
    struct client_transaction *t;

    if (state == CLIENT_NEW)
        return make(w, method, reliable);
    t = begin(w, method, reliable);
    switch (state) {
    case CLIENT_NONE:
    case CLIENT_NEW:
    case CLIENT_CALLING:
    case CLIENT_TRYING:
    case CLIENT_TERMINATED:
        break;
    case CLIENT_PROCEEDING:
        receive(t, 180);
        break;
    case CLIENT_COMPLETED:
        receive(t, 486);
        break;
    case CLIENT_ACCEPTED:
        receive(t, 200);
        break;
    }
    w->log[0] = '\0';
    return t;
}

static void apply(struct world *w, struct client_transaction *t, enum input input)
{
    static const unsigned statuses[INPUTS] = {
        [INPUT_100] = 100, [INPUT_180] = 180, [INPUT_200] = 200,
        [INPUT_302] = 302, [INPUT_486] = 486, [INPUT_603] = 603
    };

    switch (input) {
    case INPUT_100:
    case INPUT_180:
    case INPUT_200:
    case INPUT_302:
    case INPUT_486:
    case INPUT_603:
        receive(t, statuses[input]);
        break;
    case INPUT_REPEAT:
        world_advance(w, T1);
        break;
    case INPUT_DEADLINE:
        w->base.now_mono_ms += 64 * T1;
        timers_run(&w->base.timers, w->base.now_mono_ms);
        break;
    case INPUT_ERROR:
        client_transaction_transport_failed(t);
        break;
    case INPUT_DETACH:
        client_transaction_detach(t);
        break;
    case INPUTS:
        break;
    }
}

static void check_cell(const char *method, bool reliable, enum client_state state, enum input input,
                       const struct cell *cell)
{
    struct world w;
    struct client_transaction *t;
    enum client_state next;

    world_open(&w);
    t = bring_to(&w, method, reliable, state);
    assert_int_equal(client_transaction_state(t), state);
    apply(&w, t, input);
    /* An error is handled by the queue, which then frees what has ended. */
    if (input == INPUT_ERROR)
        world_drain(&w);
    next = w.clients.count ? client_transaction_state(t) : CLIENT_TERMINATED;
    if (next != cell->next)
        print_error("%s %s, input %d: %s\n", method, client_state_text(state), (int)input,
                    client_state_text(next));
    assert_int_equal(next, cell->next);
    world_drain(&w);
    world_expect(&w, cell->log);
    world_drop(&w);
}

static void check_cells(const char *method, bool reliable, const struct cell cells[][INPUTS],
                        const enum client_state *states, size_t count)
{
    for (size_t s = 0; s < count; s++)
        for (unsigned i = 0; i < INPUTS; i++) {
            /* Nothing has been sent: nothing can come. */
            if (states[s] == CLIENT_NEW && i <= INPUT_603)
                continue;
            check_cell(method, reliable, states[s], (enum input)i, &cells[states[s]][i]);
        }
}

static const struct cell invite_unreliable[][INPUTS] = {
    [CLIENT_NEW] = {
        [INPUT_REPEAT] = STAYS(CLIENT_NEW),
        [INPUT_DEADLINE] = STAYS(CLIENT_NEW),
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = { GONE, "" },
    },
    [CLIENT_CALLING] = {
        [INPUT_100] = { CLIENT_PROCEEDING, "response 100;" },
        [INPUT_180] = { CLIENT_PROCEEDING, "response 180;" },
        [INPUT_200] = { CLIENT_ACCEPTED, "response 200;" },
        [INPUT_302] = { CLIENT_COMPLETED, "send ACK;response 302;" },
        [INPUT_486] = { CLIENT_COMPLETED, "send ACK;response 486;" },
        [INPUT_603] = { CLIENT_COMPLETED, "send ACK;response 603;" },
        [INPUT_REPEAT] = { CLIENT_CALLING, "send INVITE;" },
        [INPUT_DEADLINE] = { GONE, "send INVITE;timeout;ended;" },
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = STAYS(CLIENT_CALLING),
    },
    [CLIENT_PROCEEDING] = {
        [INPUT_100] = { CLIENT_PROCEEDING, "response 100;" },
        [INPUT_180] = { CLIENT_PROCEEDING, "response 180;" },
        [INPUT_200] = { CLIENT_ACCEPTED, "response 200;" },
        [INPUT_302] = { CLIENT_COMPLETED, "send ACK;response 302;" },
        [INPUT_486] = { CLIENT_COMPLETED, "send ACK;response 486;" },
        [INPUT_603] = { CLIENT_COMPLETED, "send ACK;response 603;" },
        [INPUT_REPEAT] = STAYS(CLIENT_PROCEEDING),
        [INPUT_DEADLINE] = STAYS(CLIENT_PROCEEDING),
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = STAYS(CLIENT_PROCEEDING),
    },
    [CLIENT_COMPLETED] = {
        [INPUT_100] = STAYS(CLIENT_COMPLETED),
        [INPUT_180] = STAYS(CLIENT_COMPLETED),
        [INPUT_200] = STAYS(CLIENT_COMPLETED),
        [INPUT_302] = { CLIENT_COMPLETED, "send ACK;" },
        [INPUT_486] = { CLIENT_COMPLETED, "send ACK;" },
        [INPUT_603] = { CLIENT_COMPLETED, "send ACK;" },
        [INPUT_REPEAT] = STAYS(CLIENT_COMPLETED),
        [INPUT_DEADLINE] = { GONE, "ended;" },
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = STAYS(CLIENT_COMPLETED),
    },
    [CLIENT_ACCEPTED] = {
        [INPUT_100] = STAYS(CLIENT_ACCEPTED),
        [INPUT_180] = STAYS(CLIENT_ACCEPTED),
        [INPUT_200] = { CLIENT_ACCEPTED, "response 200;" },
        [INPUT_302] = STAYS(CLIENT_ACCEPTED),
        [INPUT_486] = STAYS(CLIENT_ACCEPTED),
        [INPUT_603] = STAYS(CLIENT_ACCEPTED),
        [INPUT_REPEAT] = STAYS(CLIENT_ACCEPTED),
        [INPUT_DEADLINE] = { GONE, "ended;" },
        [INPUT_ERROR] = STAYS(CLIENT_ACCEPTED),
        [INPUT_DETACH] = STAYS(CLIENT_ACCEPTED),
    },
};

static void test_invite_takes_every_event_in_every_state(void **state)
{
    static const enum client_state states[] = { CLIENT_NEW, CLIENT_CALLING, CLIENT_PROCEEDING,
                                                CLIENT_ACCEPTED, CLIENT_COMPLETED };
    struct cell reliable[CLIENT_ACCEPTED + 1][INPUTS];

    (void)state;
    check_cells("INVITE", false, invite_unreliable, states, 5);
    /* Over a reliable transport A never runs, and D is zero: a refusal ends it. */
    memcpy(reliable, invite_unreliable, sizeof(reliable));
    reliable[CLIENT_CALLING][INPUT_REPEAT] = (struct cell)STAYS(CLIENT_CALLING);
    reliable[CLIENT_CALLING][INPUT_DEADLINE] = (struct cell){ GONE, "timeout;ended;" };
    for (unsigned s = CLIENT_CALLING; s <= CLIENT_PROCEEDING; s++) {
        reliable[s][INPUT_302] = (struct cell){ GONE, "send ACK;response 302;ended;" };
        reliable[s][INPUT_486] = (struct cell){ GONE, "send ACK;response 486;ended;" };
        reliable[s][INPUT_603] = (struct cell){ GONE, "send ACK;response 603;ended;" };
    }
    check_cells("INVITE", true, reliable, states, 4);
}

static const struct cell other_unreliable[][INPUTS] = {
    [CLIENT_NEW] = {
        [INPUT_REPEAT] = STAYS(CLIENT_NEW),
        [INPUT_DEADLINE] = STAYS(CLIENT_NEW),
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = { GONE, "" },
    },
    [CLIENT_TRYING] = {
        [INPUT_100] = { CLIENT_PROCEEDING, "response 100;" },
        [INPUT_180] = { CLIENT_PROCEEDING, "response 180;" },
        [INPUT_200] = { CLIENT_COMPLETED, "response 200;" },
        [INPUT_302] = { CLIENT_COMPLETED, "response 302;" },
        [INPUT_486] = { CLIENT_COMPLETED, "response 486;" },
        [INPUT_603] = { CLIENT_COMPLETED, "response 603;" },
        [INPUT_REPEAT] = { CLIENT_TRYING, "send MESSAGE;" },
        [INPUT_DEADLINE] = { GONE, "send MESSAGE;timeout;ended;" },
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = { GONE, "" },
    },
    [CLIENT_PROCEEDING] = {
        [INPUT_100] = { CLIENT_PROCEEDING, "response 100;" },
        [INPUT_180] = { CLIENT_PROCEEDING, "response 180;" },
        [INPUT_200] = { CLIENT_COMPLETED, "response 200;" },
        [INPUT_302] = { CLIENT_COMPLETED, "response 302;" },
        [INPUT_486] = { CLIENT_COMPLETED, "response 486;" },
        [INPUT_603] = { CLIENT_COMPLETED, "response 603;" },
        [INPUT_REPEAT] = { CLIENT_PROCEEDING, "send MESSAGE;" },
        [INPUT_DEADLINE] = { GONE, "send MESSAGE;timeout;ended;" },
        [INPUT_ERROR] = { GONE, "failed;ended;" },
        [INPUT_DETACH] = { GONE, "" },
    },
    [CLIENT_COMPLETED] = {
        [INPUT_100] = STAYS(CLIENT_COMPLETED),
        [INPUT_180] = STAYS(CLIENT_COMPLETED),
        [INPUT_200] = STAYS(CLIENT_COMPLETED),
        [INPUT_302] = STAYS(CLIENT_COMPLETED),
        [INPUT_486] = STAYS(CLIENT_COMPLETED),
        [INPUT_603] = STAYS(CLIENT_COMPLETED),
        [INPUT_REPEAT] = STAYS(CLIENT_COMPLETED),
        [INPUT_DEADLINE] = { GONE, "ended;" },
        [INPUT_ERROR] = STAYS(CLIENT_COMPLETED),
        [INPUT_DETACH] = STAYS(CLIENT_COMPLETED),
    },
};

static void test_others_take_every_event_in_every_state(void **state)
{
    static const enum client_state states[] = { CLIENT_NEW, CLIENT_TRYING, CLIENT_PROCEEDING,
                                                CLIENT_COMPLETED };
    struct cell reliable[CLIENT_COMPLETED + 1][INPUTS];

    (void)state;
    check_cells("MESSAGE", false, other_unreliable, states, 4);
    /* E never runs, and K is zero. */
    memcpy(reliable, other_unreliable, sizeof(reliable));
    for (unsigned s = CLIENT_TRYING; s <= CLIENT_PROCEEDING; s++) {
        reliable[s][INPUT_REPEAT] = (struct cell)STAYS(s);
        reliable[s][INPUT_DEADLINE] = (struct cell){ GONE, "timeout;ended;" };
        reliable[s][INPUT_200] = (struct cell){ GONE, "response 200;ended;" };
        reliable[s][INPUT_302] = (struct cell){ GONE, "response 302;ended;" };
        reliable[s][INPUT_486] = (struct cell){ GONE, "response 486;ended;" };
        reliable[s][INPUT_603] = (struct cell){ GONE, "response 603;ended;" };
    }
    check_cells("MESSAGE", true, reliable, states, 3);
}

static void test_an_ended_transaction_takes_no_event(void **state)
{
    (void)state;
    for (unsigned input = 0; input < INPUTS; input++) {
        struct world w;
        struct client_transaction *t;

        world_open(&w);
        t = begin(&w, "MESSAGE", true);
        receive(t, 200);
        world_expect(&w, "response 200;");
        assert_int_equal(client_transaction_state(t), CLIENT_TERMINATED);
        if (input == INPUT_REPEAT || input == INPUT_DEADLINE)
            assert_int_equal(w.base.timers.count, 0);
        else
            apply(&w, t, (enum input)input);
        world_drain(&w);
        world_expect(&w, input == INPUT_DETACH ? "" : "ended;");
        world_close(&w);
    }
}

/* ---- Timers ---- */

static void test_A_doubles_until_B_ends_it(void **state)
{
    struct world w;
    uint64_t step_ms = T1;

    (void)state;
    world_open(&w);
    begin(&w, "INVITE", false);
    world_expect(&w, "");
    for (unsigned i = 0; i < 6; i++, step_ms *= 2) { /* at 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s */
        world_advance(&w, step_ms - 1);
        world_expect(&w, "");
        world_advance(&w, 1);
        world_expect(&w, "send INVITE;");
    }
    world_advance(&w, 499);
    world_expect(&w, "");
    world_advance(&w, 1);
    world_expect(&w, "timeout;ended;");
    world_close(&w);
}

static void test_E_doubles_up_to_T2_and_F_ends_it(void **state)
{
    static const unsigned steps_ms[] = { 500, 1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000 };
    struct world w;

    (void)state;
    world_open(&w);
    begin(&w, "MESSAGE", false);
    for (size_t i = 0; i < sizeof(steps_ms) / sizeof(*steps_ms); i++) {
        world_advance(&w, steps_ms[i] - 1);
        world_expect(&w, "");
        world_advance(&w, 1);
        world_expect(&w, "send MESSAGE;");
    }
    world_advance(&w, 32000 - 27500);
    world_expect(&w, "send MESSAGE;timeout;ended;");
    world_close(&w);
}

static void test_E_is_T2_once_a_1xx_has_come(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "MESSAGE", false);
    receive(t, 100);
    world_advance(&w, T1);
    world_expect(&w, "response 100;send MESSAGE;");
    world_advance(&w, T2 - 1);
    world_expect(&w, "");
    world_advance(&w, 1);
    world_expect(&w, "send MESSAGE;");
    world_advance(&w, 32000 - T1 - T2);
    world_expect(&w, "send MESSAGE;send MESSAGE;send MESSAGE;send MESSAGE;send MESSAGE;send "
                     "MESSAGE;timeout;ended;");
    world_close(&w);
}

static void test_B_and_F_run_over_reliable_transports_too(void **state)
{
    static const char *const methods[] = { "INVITE", "MESSAGE" };
    struct world w;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        world_open(&w);
        begin(&w, methods[i], true);
        world_advance(&w, 64 * T1 - 1);
        world_expect(&w, "");
        world_advance(&w, 1);
        world_expect(&w, "timeout;ended;");
        world_close(&w);
    }
}

static void test_D_K_and_M_keep_it_for_repeated_responses(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", false);
    receive(t, 486);
    world_advance(&w, 64 * T1 - 1);
    receive(t, 486);
    world_expect(&w, "send ACK;response 486;send ACK;");
    world_advance(&w, 1);
    world_expect(&w, "ended;");

    t = begin(&w, "MESSAGE", false);
    receive(t, 200);
    world_advance(&w, T4 - 1);
    receive(t, 200);
    world_expect(&w, "response 200;");
    world_advance(&w, 1);
    world_expect(&w, "ended;");

    for (int reliable = 0; reliable < 2; reliable++) {
        t = begin(&w, "INVITE", reliable);
        receive(t, 200);
        world_advance(&w, 64 * T1 - 1);
        receive(t, 200);
        world_expect(&w, "response 200;response 200;");
        world_advance(&w, 1);
        world_expect(&w, "ended;");
    }
    world_close(&w);
}

static void test_a_ringing_invite_has_no_timer(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", false);
    receive(t, 180);
    world_advance(&w, 3600000);
    world_expect(&w, "response 180;");
    assert_int_equal(client_transaction_state(t), CLIENT_PROCEEDING);
    world_drop(&w);
}

/* ---- ACK ---- */

static bool sent_has(const struct world *w, const char *text)
{
    return strstr(w->sent, text) != NULL;
}

static void test_the_ACK_is_made_from_the_INVITE_and_the_response(void **state)
{
    struct world w;
    struct client_transaction *t;
    char via[128];

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    receive(t, 486);
    snprintf(via, sizeof(via), "\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=%s\r\n",
             client_transaction_branch(t));
    assert_true(strncmp(w.sent, "ACK sip:bob@192.0.2.9:5061;transport=tls SIP/2.0\r\n", 50) == 0);
    assert_true(sent_has(&w, via));
    assert_false(sent_has(&w, "z9hG4bK1")); /* the Via of the hop before is not ours to answer */
    assert_true(sent_has(&w, "To: <sip:bob@example.org>;tag=t486\r\n"));
    assert_true(sent_has(&w, "Route: <sip:edge.example.org;lr>\r\n"));
    assert_true(sent_has(&w, "CSeq: 17 ACK\r\n"));
    assert_false(sent_has(&w, "text/plain"));
    world_drop(&w);
}

static void test_the_ACK_goes_where_the_INVITE_was_sent_at_last(void **state)
{
    struct world w;
    struct client_transaction *t;
    struct transaction_way way = world_way(true);

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    way.flow.slot = 9;
    client_transaction_set_way(t, &way);
    receive(t, 486);
    assert_int_equal(w.sent_to.flow.slot, 9);
    world_drop(&w);
}

static void test_the_ACK_names_us_as_the_INVITE_did_that_was_written_anew(void **state)
{
    static const char anew[] =
        "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TLS anew.example.org;branch=%s\r\n"
        "From: <sip:a@example.org>;tag=a\r\nTo: <sip:bob@example.org>\r\nCall-ID: c\r\n"
        "CSeq: 17 INVITE\r\nContent-Length: 0\r\n\r\n";
    struct client_transaction *t;
    struct world w;
    char text[512];

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    snprintf(text, sizeof(text), anew, client_transaction_branch(t));
    assert_int_equal(client_transaction_rewrite(t, slice_of(text)), ERROR_NONE);
    assert_true(slice_equal(client_transaction_request(t), slice_of(text)));
    receive(t, 180);
    assert_int_equal(client_transaction_rewrite(t, SLICE("too late")), ERROR_NONE);
    receive(t, 486);
    assert_true(sent_has(&w, "Via: SIP/2.0/TLS anew.example.org;branch="));
    world_drop(&w);
}

static void test_without_memory_for_the_ACK_the_next_refusal_gets_it(void **state)
{
    struct world w;
    struct client_transaction *t;
    struct message m;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", false);
    world_parse(&m, world_response(486));
    mem_fail_nth_for_tests(1);
    client_transaction_received(t, &m);
    mem_fail_nth_for_tests(0);
    world_expect(&w, "response 486;");
    client_transaction_received(t, &m);
    client_transaction_received(t, &m);
    world_expect(&w, "send ACK;send ACK;");
    message_free(&m);
    world_drop(&w);
}

/* ---- Detached ---- */

static void test_a_detached_INVITE_still_acknowledges_a_late_refusal(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    receive(t, 180);
    client_transaction_detach(t);
    world_advance(&w, 64 * T1 - 1);
    receive(t, 487);
    world_drain(&w);
    world_expect(&w, "response 180;send ACK;");
    world_close(&w);
}

static void test_a_detached_INVITE_is_not_kept_for_ever(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    for (int first = 0; first < 2; first++) {
        world_open(&w);
        t = begin(&w, "INVITE", true);
        if (first)
            client_transaction_detach(t);
        receive(t, 180);
        if (!first)
            client_transaction_detach(t);
        world_advance(&w, 64 * T1 - 1);
        receive(t, 180);
        assert_int_equal(w.clients.count, 1);
        world_advance(&w, 1);
        world_expect(&w, first ? "" : "response 180;");
        world_close(&w);
    }
}

/* ---- Matching ---- */

static void test_T16_a_response_matches_by_branch_method_and_device(void **state)
{
    struct world w;
    struct client_transaction *t, *other;
    struct slice branch;
    char upper[TRANSACTION_BRANCH_MAX + 1];

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    other = begin(&w, "INVITE", true);
    branch = slice_of(client_transaction_branch(t));
    assert_ptr_equal(client_table_find(&w.clients, branch, SLICE("INVITE"), 42), t);
    assert_ptr_not_equal(t, other);
    assert_null(client_table_find(&w.clients, branch, SLICE("CANCEL"), 42));
    assert_null(client_table_find(&w.clients, branch, SLICE("INVITE"), 43));
    assert_null(client_table_find(&w.clients, branch, SLICE("INVITE"), 0));
    assert_null(
        client_table_find(&w.clients, SLICE("z9hG4bK3.aaaaaaaaaaaaaaaaaaaa"), SLICE("INVITE"), 42));
    assert_null(client_table_find(&w.clients, SLICE(""), SLICE("INVITE"), 42));
    for (size_t i = 0; i <= branch.size; i++)
        upper[i] = (char)(branch.data[i] >= 'a' && branch.data[i] <= 'z' ? branch.data[i] - 32
                                                                         : branch.data[i]);
    assert_ptr_equal(client_table_find(&w.clients, slice_of(upper), SLICE("INVITE"), 42), t);
    world_drop(&w);
}

static void test_nothing_matches_what_was_not_sent(void **state)
{
    struct world w;
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    t = make(&w, "INVITE", true);
    assert_null(
        client_table_find(&w.clients, slice_of(client_transaction_branch(t)), SLICE("INVITE"), 42));
    world_drop(&w);
}

static void test_a_CANCEL_has_the_branch_of_its_INVITE(void **state)
{
    struct world w;
    struct client_transaction *t, *cancel, *third;

    (void)state;
    world_open(&w);
    t = begin(&w, "INVITE", true);
    assert_false(client_transaction_may_cancel(t));
    receive(t, 100);
    assert_true(client_transaction_may_cancel(t));
    assert_int_equal(client_transaction_new_cancel(t, &world_client_user, &w, &cancel), ERROR_NONE);
    assert_string_equal(client_transaction_branch(cancel), client_transaction_branch(t));
    assert_int_equal(client_transaction_new_cancel(t, &world_client_user, &w, &third),
                     ERROR_MALFORMED);
    assert_int_equal(client_transaction_new_cancel(cancel, &world_client_user, &w, &third),
                     ERROR_MALFORMED);
    assert_int_equal(
        client_transaction_start(cancel, world_request("CANCEL", client_transaction_branch(t))),
        ERROR_NONE);
    assert_ptr_equal(
        client_table_find(&w.clients, slice_of(client_transaction_branch(t)), SLICE("CANCEL"), 42),
        cancel);
    receive(cancel, 200);
    receive(t, 487);
    assert_false(client_transaction_may_cancel(t));
    world_drain(&w);
    world_expect(&w, "response 100;response 200;send ACK;response 487;ended;ended;");
    world_close(&w);
}

/* ---- Bounds and memory ---- */

static void test_the_table_and_methods_are_bounded(void **state)
{
    static const char large[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN"
                                "OPQRSTUVWXYZABCDEFGHIJKLM";
    struct world w;
    struct transaction_way way = world_way(true);
    struct client_transaction *t;

    (void)state;
    world_open(&w);
    assert_int_equal(
        client_transaction_new(&w.clients, SLICE("ACK"), &way, &world_client_user, &w, &t),
        ERROR_MALFORMED);
    assert_int_equal(
        client_transaction_new(&w.clients, slice_of(large), &way, &world_client_user, &w, &t),
        ERROR_TOO_LARGE);
    for (unsigned i = 0; i < LIMIT; i++)
        begin(&w, i % 2 ? "MESSAGE" : large + 1, true);
    assert_int_equal(
        client_transaction_new(&w.clients, SLICE("MESSAGE"), &way, &world_client_user, &w, &t),
        ERROR_TOO_LARGE);
    world_drop(&w);
}

static void test_without_memory_nothing_has_happened(void **state)
{
    struct world w;
    struct transaction_way way = world_way(false);
    struct client_transaction *t;
    unsigned n = 0;
    enum error error;

    (void)state;
    do {
        world_open(&w);
        mem_fail_nth_for_tests(++n);
        error =
            client_transaction_new(&w.clients, SLICE("INVITE"), &way, &world_client_user, &w, &t);
        mem_fail_nth_for_tests(0);
        if (error != ERROR_NONE)
            assert_int_equal(error, ERROR_MEMORY);
        world_drop(&w);
    } while (error != ERROR_NONE);
    assert_true(n > 3);

    world_open(&w);
    t = make(&w, "INVITE", false);
    mem_fail_nth_for_tests(1);
    assert_int_equal(client_transaction_start(t, world_request("INVITE", "x")), ERROR_MEMORY);
    assert_int_equal(client_transaction_state(t), CLIENT_NEW);
    assert_int_equal(client_transaction_start(t, world_request("INVITE", "x")), ERROR_NONE);
    mem_fail_nth_for_tests(1);
    world_advance(&w, 64 * T1);
    mem_fail_nth_for_tests(0);
    world_expect(&w, "send INVITE;send INVITE;send INVITE;send INVITE;send INVITE;send INVITE;"
                     "timeout;ended;");
    world_close(&w);
}

/* ---- Owners that do much in an upcall ---- */

static void detach_on_response(void *owner, struct client_transaction *t,
                               const struct message *message)
{
    world_log(owner, "upcall %u;", (unsigned)message->status);
    client_transaction_detach(t);
}

static void detach_in_upcall(void *owner, struct client_transaction *t)
{
    world_log(owner, "upcall;");
    client_transaction_detach(t);
}

static void test_an_owner_may_detach_in_any_upcall(void **state)
{
    static const struct client_user user = { detach_on_response, detach_in_upcall, detach_in_upcall,
                                             detach_in_upcall };
    static const unsigned statuses[] = { 180, 200, 486 };
    static const char *const methods[] = { "INVITE", "MESSAGE" };
    struct world w;
    struct transaction_way way = world_way(false);
    struct client_transaction *t;

    (void)state;
    for (unsigned m = 0; m < 2; m++)
        for (unsigned s = 0; s < 5; s++) {
            world_open(&w);
            assert_int_equal(
                client_transaction_new(&w.clients, slice_of(methods[m]), &way, &user, &w, &t),
                ERROR_NONE);
            assert_int_equal(client_transaction_start(t, world_request(methods[m], "x")),
                             ERROR_NONE);
            if (s < 3)
                receive(t, statuses[s]);
            else if (s == 3)
                client_transaction_transport_failed(t);
            world_drain(&w);
            world_advance(&w, 64 * T1);
            assert_non_null(strstr(w.log, "upcall"));
            world_close(&w);
        }
}

static void test_a_failed_send_ends_it_after_the_call(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    begin(&w, "INVITE", false);
    w.send_fails = true;
    world_advance(&w, T1);
    world_expect(&w, "fail INVITE;failed;ended;");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invite_takes_every_event_in_every_state),
        cmocka_unit_test(test_others_take_every_event_in_every_state),
        cmocka_unit_test(test_an_ended_transaction_takes_no_event),
        cmocka_unit_test(test_A_doubles_until_B_ends_it),
        cmocka_unit_test(test_E_doubles_up_to_T2_and_F_ends_it),
        cmocka_unit_test(test_E_is_T2_once_a_1xx_has_come),
        cmocka_unit_test(test_B_and_F_run_over_reliable_transports_too),
        cmocka_unit_test(test_D_K_and_M_keep_it_for_repeated_responses),
        cmocka_unit_test(test_a_ringing_invite_has_no_timer),
        cmocka_unit_test(test_the_ACK_is_made_from_the_INVITE_and_the_response),
        cmocka_unit_test(test_the_ACK_goes_where_the_INVITE_was_sent_at_last),
        cmocka_unit_test(test_the_ACK_names_us_as_the_INVITE_did_that_was_written_anew),
        cmocka_unit_test(test_without_memory_for_the_ACK_the_next_refusal_gets_it),
        cmocka_unit_test(test_a_detached_INVITE_still_acknowledges_a_late_refusal),
        cmocka_unit_test(test_a_detached_INVITE_is_not_kept_for_ever),
        cmocka_unit_test(test_T16_a_response_matches_by_branch_method_and_device),
        cmocka_unit_test(test_nothing_matches_what_was_not_sent),
        cmocka_unit_test(test_a_CANCEL_has_the_branch_of_its_INVITE),
        cmocka_unit_test(test_the_table_and_methods_are_bounded),
        cmocka_unit_test(test_without_memory_nothing_has_happened),
        cmocka_unit_test(test_an_owner_may_detach_in_any_upcall),
        cmocka_unit_test(test_a_failed_send_ends_it_after_the_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
