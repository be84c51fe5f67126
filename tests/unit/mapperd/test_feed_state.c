/* SPDX-License-Identifier: Apache-2.0 */
/* Every state of the feed with every event. */
#include "mapperd/feed_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_every_pair_leads_where_the_table_allows(void **test)
{
    (void)test;
    for (int state = 0; state < FEED_STATE_COUNT; state++) {
        for (int event = 0; event < FEED_EVENT_COUNT; event++) {
            struct feed_step step = feed_state_step((enum feed_state)state, (enum feed_event)event);
            assert_true(step.to < FEED_STATE_COUNT);
            bool stays = (int)step.to == state && step.action == FEED_ACTION_NONE;
            assert_true(stays || feed_state_allowed((enum feed_state)state, step.to));
            /* Whoever moves, does something: a move without an action would wait for ever. */
            assert_true((int)step.to == state || step.action != FEED_ACTION_NONE);
        }
    }
}

static void test_the_loss_of_the_database_leads_away_from_wherever_it_was_used(void **test)
{
    (void)test;
    const enum feed_state users[] = { FEED_STATE_CONNECTING, FEED_STATE_CHECKING,
                                      FEED_STATE_FILLING, FEED_STATE_FEEDING };
    for (size_t i = 0; i < 4; i++) {
        struct feed_step step = feed_state_step(users[i], FEED_EVENT_LOST);
        assert_int_equal(step.to, FEED_STATE_AWAY);
        assert_int_equal(step.action, FEED_ACTION_DISCONNECT);
    }
    assert_int_equal(feed_state_step(FEED_STATE_AWAY, FEED_EVENT_LOST).action, FEED_ACTION_NONE);
}

static void test_nothing_is_read_before_the_history_was_checked(void **test)
{
    (void)test;
    for (int state = 0; state < FEED_STATE_COUNT; state++) {
        for (int event = 0; event < FEED_EVENT_COUNT; event++) {
            struct feed_step step = feed_state_step((enum feed_state)state, (enum feed_event)event);
            if (step.action == FEED_ACTION_FOLLOW) {
                assert_int_equal(state, FEED_STATE_CHECKING);
                assert_int_equal(event, FEED_EVENT_HISTORY_HELD);
            }
        }
    }
}

static void test_a_lost_history_and_a_change_of_everything_fill_afresh(void **test)
{
    (void)test;
    struct feed_step step = feed_state_step(FEED_STATE_CHECKING, FEED_EVENT_HISTORY_LOST);
    assert_int_equal(step.to, FEED_STATE_FILLING);
    assert_int_equal(step.action, FEED_ACTION_FILL);
    step = feed_state_step(FEED_STATE_FEEDING, FEED_EVENT_EVERYTHING);
    assert_int_equal(step.action, FEED_ACTION_FILL);
    step = feed_state_step(FEED_STATE_FILLING, FEED_EVENT_EVERYTHING);
    assert_int_equal(step.to, FEED_STATE_FILLING);
    assert_int_equal(step.action, FEED_ACTION_FILL);
    step = feed_state_step(FEED_STATE_FILLING, FEED_EVENT_FILLED);
    assert_int_equal(step.to, FEED_STATE_FEEDING);
    assert_int_equal(step.action, FEED_ACTION_INSTALL);
}

static void test_stop_ends_from_every_state_once_and_nothing_leaves_the_end(void **test)
{
    (void)test;
    for (int state = 0; state < FEED_STATE_COUNT; state++) {
        struct feed_step step = feed_state_step((enum feed_state)state, FEED_EVENT_STOP);
        assert_int_equal(step.to, FEED_STATE_STOPPED);
        assert_int_equal(step.action,
                         state == FEED_STATE_STOPPED ? FEED_ACTION_NONE : FEED_ACTION_END);
        assert_string_not_equal(feed_state_text((enum feed_state)state), "");
    }
    for (int event = 0; event < FEED_EVENT_COUNT; event++)
        assert_int_equal(feed_state_step(FEED_STATE_STOPPED, (enum feed_event)event).action,
                         FEED_ACTION_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_leads_where_the_table_allows),
        cmocka_unit_test(test_the_loss_of_the_database_leads_away_from_wherever_it_was_used),
        cmocka_unit_test(test_nothing_is_read_before_the_history_was_checked),
        cmocka_unit_test(test_a_lost_history_and_a_change_of_everything_fill_afresh),
        cmocka_unit_test(test_stop_ends_from_every_state_once_and_nothing_leaves_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
