/* SPDX-License-Identifier: Apache-2.0 */
/* When the loop may answer: every order of what the feed says, and of time. */
#include "mapperd/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_it_opens_when_the_poll_after_start_is_applied(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 1000);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1001);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_ANSWERED, 1, 1010);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_TIME, 0, 5000); /* it answers, so that its application counts */
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 5001);
    assert_true(gate_open(&gate));
}

static void test_it_opens_after_a_second_without_the_database(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 1000);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1001);
    gate_event(&gate, GATE_EVENT_TIME, 0, 1999);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_TIME, 0, 2000);
    assert_true(gate_open(&gate));
}

static void test_without_a_store_it_never_opens(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_TIME, 0, 100000);
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 100001);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_STORE, 0, 100002);
    assert_true(gate_open(&gate));
}

static void test_a_store_of_another_history_is_not_served_before_the_next(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_DISTRUST, 0, 10);
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 20);
    gate_event(&gate, GATE_EVENT_TIME, 0, 60000);
    gate_event(&gate, GATE_EVENT_LOST, 0, 60001);
    gate_event(&gate, GATE_EVENT_TIME, 0, 120000);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_STORE, 0, 120001);
    assert_true(gate_open(&gate));
}

static void test_an_open_gate_serves_on_while_a_fill_runs(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_TIME, 0, 1000);
    gate_event(&gate, GATE_EVENT_DISTRUST, 0, 1001);
    assert_true(gate_open(&gate));
}

static void test_a_database_that_answered_and_went_away_is_not_waited_for(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_ANSWERED, 1, 500);
    gate_event(&gate, GATE_EVENT_TIME, 0, 3000);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_LOST, 0, 3001);
    assert_true(gate_open(&gate));
}

static void test_after_a_standstill_only_a_later_poll_opens_and_clients_wait_a_second(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 2);
    assert_true(gate_open(&gate) && !gate_waits(&gate, 2));
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 9000);
    assert_false(gate_open(&gate));
    assert_true(gate_waits(&gate, 9000) && gate_waits(&gate, 9999) && !gate_waits(&gate, 10000));
    gate_event(&gate, GATE_EVENT_ANSWERED, 1, 9001); /* of the poll before */
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 9002);
    assert_false(gate_open(&gate));
    uint64_t second = gate.number;
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 9100);
    gate_event(&gate, GATE_EVENT_APPLIED, second, 9101);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_APPLIED, gate.number, 9102);
    assert_true(gate_open(&gate));
}

/* Whether clients wait or are told LOADING is settled by the first of several standstills. */
static void
test_a_standstill_during_a_start_makes_nobody_wait_and_a_second_one_does_not_end_it(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 500);
    assert_false(gate_waits(&gate, 500));
    gate_event(&gate, GATE_EVENT_STORE, 0, 501);
    gate_event(&gate, GATE_EVENT_APPLIED, gate.number, 502);
    assert_true(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 1000);
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 1300);
    assert_true(gate_waits(&gate, 2299) && !gate_waits(&gate, 2300));
    gate_event(&gate, GATE_EVENT_DAMAGED, 0, 1301);
    assert_false(gate_waits(&gate, 1301)); /* a fill takes longer than anybody waits */
}

/* Of the two ways out, patience and an answer, only the poll that was asked for counts. */
static void test_an_answer_of_before_the_standstill_does_not_end_the_patience(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_ANSWERED, 1, 2);
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 3);
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 9000);
    gate_event(&gate, GATE_EVENT_ANSWERED, 1, 9001);
    gate_event(&gate, GATE_EVENT_TIME, 0, 9999);
    assert_false(gate_open(&gate));
    gate_event(&gate, GATE_EVENT_TIME, 0, 10000);
    assert_true(gate_open(&gate));
}

/* The store that serves beside a fill was not distrusted when that began. */
static void test_after_a_standstill_during_a_fill_the_older_store_serves_on(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_APPLIED, 1, 2);
    gate_event(&gate, GATE_EVENT_DISTRUST, 0, 3);
    gate_event(&gate, GATE_EVENT_STANDSTILL, 0, 9000);
    gate_event(&gate, GATE_EVENT_APPLIED, gate.number, 9001);
    assert_true(gate_open(&gate));
}

static void test_damage_shuts_until_there_is_another_store(void **state)
{
    struct gate gate;
    (void)state;
    gate_init(&gate, 0);
    gate_event(&gate, GATE_EVENT_STORE, 0, 1);
    gate_event(&gate, GATE_EVENT_TIME, 0, 1000);
    gate_event(&gate, GATE_EVENT_DAMAGED, 0, 1001);
    gate_event(&gate, GATE_EVENT_TIME, 0, 90000);
    assert_false(gate_open(&gate));
    assert_false(gate_waits(&gate, 90000));
    gate_event(&gate, GATE_EVENT_STORE, 0, 90001);
    assert_true(gate_open(&gate));
}

/* From every reachable state, whatever event comes: it never opens without a store or with one that
 * is distrusted. */
static void test_no_event_in_any_state_opens_it_without_a_store_to_trust(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        for (int event = 0; event < GATE_EVENT_COUNT; event++) {
            struct gate gate = { .state = GATE_SHUT,
                                 .number = 5,
                                 .answered = bits & 1,
                                 .applied = bits & 2,
                                 .store = bits & 4,
                                 .distrusted = bits & 8,
                                 .brief = bits & 16 };
            uint64_t now = bits & 32 ? 10000 : 10;
            gate_event(&gate, (enum gate_event)event, 5, now);
            if (gate_open(&gate)) {
                assert_true(gate.store && !gate.distrusted);
                assert_true(gate.applied || (!gate.answered && now >= GATE_PATIENCE_MS));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_opens_when_the_poll_after_start_is_applied),
        cmocka_unit_test(test_it_opens_after_a_second_without_the_database),
        cmocka_unit_test(test_without_a_store_it_never_opens),
        cmocka_unit_test(test_a_store_of_another_history_is_not_served_before_the_next),
        cmocka_unit_test(test_an_open_gate_serves_on_while_a_fill_runs),
        cmocka_unit_test(test_a_database_that_answered_and_went_away_is_not_waited_for),
        cmocka_unit_test(test_after_a_standstill_only_a_later_poll_opens_and_clients_wait_a_second),
        cmocka_unit_test(
            test_a_standstill_during_a_start_makes_nobody_wait_and_a_second_one_does_not_end_it),
        cmocka_unit_test(test_an_answer_of_before_the_standstill_does_not_end_the_patience),
        cmocka_unit_test(test_after_a_standstill_during_a_fill_the_older_store_serves_on),
        cmocka_unit_test(test_damage_shuts_until_there_is_another_store),
        cmocka_unit_test(test_no_event_in_any_state_opens_it_without_a_store_to_trust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
