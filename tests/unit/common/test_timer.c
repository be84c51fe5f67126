/* SPDX-License-Identifier: Apache-2.0 */
/* Timers fire in order, and may be started and stopped while they fire. */
#include "common/mem.h"
#include "common/random.h"
#include "common/timer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT 500

static struct timers timers;
static struct timer many[COUNT];
static uint64_t last_due;
static unsigned fired;

static void check_order(struct timer *timer)
{
    assert_false(timer_active(timer));
    assert_true(timer->due_mono_ms >= last_due);
    last_due = timer->due_mono_ms;
    fired++;
}

static void must_start(struct timer *timer, uint64_t due_mono_ms)
{
    assert_int_equal(timer_start(&timers, timer, due_mono_ms), ERROR_NONE);
    assert_true(timer_active(timer));
}

static int set_up(void **state)
{
    (void)state;
    timers_init(&timers);
    memset(many, 0, sizeof(many));
    for (size_t i = 0; i < COUNT; i++)
        many[i].fire = check_order;
    last_due = fired = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    timers_free(&timers);
    return 0;
}

/* Against a plain search of all timers, after random starts, re-starts and stops. */
static void test_the_earliest_is_known_after_any_change(void **state)
{
    (void)state;
    random_seed_for_tests(2);
    for (int step = 0; step < 20000; step++) {
        struct timer *timer = &many[random_u64() % COUNT];
        uint64_t least = UINT64_MAX;
        if (random_u64() % 3)
            must_start(timer, random_u64() % 1000);
        else
            timer_stop(&timers, timer);
        if (step % 50)
            continue;
        for (size_t i = 0; i < COUNT; i++) {
            if (timer_active(&many[i]) && many[i].due_mono_ms < least)
                least = many[i].due_mono_ms;
        }
        assert_true(timers_next_mono_ms(&timers) == least);
    }
    size_t active = timers.count;
    timers_run(&timers, 1000);
    assert_int_equal(fired, active);
    assert_true(timers_next_mono_ms(&timers) == UINT64_MAX);
}

static void test_only_what_is_due_fires(void **state)
{
    (void)state;
    must_start(&many[0], 10);
    must_start(&many[1], 11);
    must_start(&many[2], 9);
    timers_run(&timers, 8);
    assert_int_equal(fired, 0);
    timers_run(&timers, 10);
    assert_int_equal(fired, 2);
    assert_true(timer_active(&many[1]));
    assert_true(timers_next_mono_ms(&timers) == 11);
    timer_stop(&timers, &many[1]);
    timer_stop(&timers, &many[1]);
    timers_run(&timers, UINT64_MAX);
    assert_int_equal(fired, 2);
}

static void rearm_later(struct timer *timer)
{
    fired++;
    must_start(timer, timer->due_mono_ms + 100);
}

static void rearm_now(struct timer *timer)
{
    fired++;
    must_start(timer, timer->due_mono_ms);
}

static void stop_next(struct timer *timer)
{
    fired++;
    timer_stop(&timers, timer + 1);
    must_start(timer + 2, timer->due_mono_ms + 1);
}

static void test_restart_in_fire(void **state)
{
    (void)state;
    many[0].fire = rearm_later;
    must_start(&many[0], 100);
    timers_run(&timers, 350);
    assert_int_equal(fired, 3);
    assert_true(timers_next_mono_ms(&timers) == 400);
}

static void test_a_timer_that_rearms_for_now_does_not_hold_the_loop(void **state)
{
    (void)state;
    many[0].fire = rearm_now;
    must_start(&many[0], 5);
    timers_run(&timers, 5);
    assert_int_equal(fired, 1001);
    assert_true(timer_active(&many[0]));
}

static void test_a_handler_stops_one_and_starts_another(void **state)
{
    (void)state;
    many[0].fire = stop_next;
    must_start(&many[0], 5);
    must_start(&many[1], 6);
    timers_run(&timers, 10);
    assert_int_equal(fired, 2);
    assert_false(timer_active(&many[1]));
    assert_int_equal(timers.count, 0);
}

static void test_failed_allocations_leave_it_stopped(void **state)
{
    unsigned failures = 0;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        mem_fail_nth_for_tests(1);
        if (timer_start(&timers, &many[i], i) == ERROR_MEMORY) {
            assert_false(timer_active(&many[i]));
            failures++;
            mem_fail_nth_for_tests(0);
            must_start(&many[i], i);
        }
        assert_int_equal(timer_start(&timers, &many[i], i + 1), ERROR_NONE); /* never fails */
    }
    mem_fail_nth_for_tests(0);
    assert_int_equal(failures, 4); /* 64, 128, 256, 512 */
    timers_free(&timers);
    for (size_t i = 0; i < COUNT; i++)
        assert_false(timer_active(&many[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_earliest_is_known_after_any_change, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_only_what_is_due_fires, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restart_in_fire, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_timer_that_rearms_for_now_does_not_hold_the_loop,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_handler_stops_one_and_starts_another, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_failed_allocations_leave_it_stopped, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
