/* SPDX-License-Identifier: Apache-2.0 */
/* No window of 60 s holds more calls than its rule says, whoever counts them, on however many
 * threads; and the table has a bound. */
#include "common/mem.h"
#include "common/random.h"
#include "proxy/authorization/call_rates.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MINUTE_MS 60000

static struct call_rates *rates;

static int set_up(void **state)
{
    (void)state;
    rates = call_rates_new(4);
    return rates ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    call_rates_free(rates);
    return 0;
}

static enum call_rate take(const char *who, uint32_t per_minute, uint64_t now_mono_ms)
{
    return call_rates_take(rates, 1, slice_of(who), per_minute, now_mono_ms);
}

static void test_the_bound_is_reached_and_a_place_is_free_after_a_minute(void **state)
{
    uint64_t now = 1000 * MINUTE_MS + 999;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(take("alice", 3, now), CALL_RATE_COUNTED);
    assert_int_equal(take("alice", 3, now), CALL_RATE_OVER);
    assert_int_equal(take("alice", 3, now + MINUTE_MS - 1), CALL_RATE_OVER);
    assert_int_equal(take("alice", 3, now + MINUTE_MS + 1001), CALL_RATE_COUNTED);
}

static void test_what_was_refused_does_not_count(void **state)
{
    (void)state;
    assert_int_equal(take("alice", 1, 0), CALL_RATE_COUNTED);
    for (uint64_t now = 0; now < MINUTE_MS; now += 1000)
        assert_int_equal(take("alice", 1, now), CALL_RATE_OVER);
    assert_int_equal(take("alice", 1, MINUTE_MS + 1000), CALL_RATE_COUNTED);
}

static void test_rules_and_callers_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(take("alice", 1, 0), CALL_RATE_COUNTED);
    assert_int_equal(take("bob", 1, 0), CALL_RATE_COUNTED);
    assert_int_equal(call_rates_take(rates, 2, SLICE("alice"), 1, 0), CALL_RATE_COUNTED);
    assert_int_equal(take("alice", 1, 0), CALL_RATE_OVER);
    assert_int_equal(take("alice", 2, 0), CALL_RATE_COUNTED); /* the bound of now counts */
}

static void test_without_room_or_table_nothing_is_permitted(void **state)
{
    char who[8];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(who, sizeof who, "user%u", i);
        assert_int_equal(take(who, 9, 0), CALL_RATE_COUNTED);
    }
    assert_int_equal(take("user4", 9, 0), CALL_RATE_NONE);
    assert_int_equal(take("user3", 9, 0), CALL_RATE_COUNTED);
    assert_int_equal(take("user4", 9, MINUTE_MS + 1000), CALL_RATE_COUNTED); /* others have gone */
    assert_int_equal(call_rates_take(NULL, 1, SLICE("alice"), 9, 0), CALL_RATE_NONE);
}

static void test_without_memory_nothing_is_permitted(void **state)
{
    unsigned n = 0;

    (void)state;
    do {
        call_rates_free(rates);
        assert_non_null(rates = call_rates_new(4));
        mem_fail_nth_for_tests(++n);
        enum call_rate rate = take("alice", 1, 0);
        assert_int_equal(rate, mem_failed_for_tests() ? CALL_RATE_NONE : CALL_RATE_COUNTED);
    } while (mem_failed_for_tests());
    mem_fail_nth_for_tests(0);
    assert_true(n > 1);
}

static void test_a_clock_that_is_behind_gives_no_place(void **state)
{
    (void)state;
    assert_int_equal(take("alice", 2, 5 * MINUTE_MS), CALL_RATE_COUNTED);
    assert_int_equal(take("alice", 2, 3 * MINUTE_MS), CALL_RATE_COUNTED);
    assert_int_equal(take("alice", 2, 3 * MINUTE_MS), CALL_RATE_OVER);
    assert_int_equal(take("alice", 2, 5 * MINUTE_MS + 1000), CALL_RATE_OVER);
}

/* Against a plain list of all calls that were let through. */
static void test_no_minute_wherever_it_begins_holds_more(void **state)
{
    static uint64_t taken[20000];
    size_t count = 0, first = 0;
    uint64_t now = 0;

    (void)state;
    random_seed_for_tests(3);
    for (unsigned step = 0; step < 20000; step++) {
        enum call_rate rate;

        now += random_u64() % (step / 2000 % 2 ? 3000 : 100);
        while (first < count && taken[first] + MINUTE_MS <= now)
            first++;
        rate = take("alice", 50, now);
        if (rate == CALL_RATE_COUNTED) {
            assert_true(count - first < 50);
            taken[count++] = now;
        } else { /* and no call is refused that a window of 61 s has room for */
            size_t within = 0;
            for (size_t i = 0; i < count; i++)
                within += taken[i] + MINUTE_MS + 1000 > now;
            assert_int_equal(rate, CALL_RATE_OVER);
            assert_true(within >= 50);
        }
    }
    assert_true(count > 1000);
}

#define THREADS 4

static void *call_often(void *counted)
{
    for (unsigned i = 0; i < 1000; i++)
        if (take("alice", 1500, i) == CALL_RATE_COUNTED)
            ++*(unsigned *)counted;
    return NULL;
}

static void test_F45_threads_together_get_what_the_rule_says(void **state)
{
    pthread_t threads[THREADS];
    unsigned counted[THREADS] = { 0 }, all = 0;

    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &counted[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += counted[i];
    }
    assert_int_equal(all, 1500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_bound_is_reached_and_a_place_is_free_after_a_minute),
        TEST(test_what_was_refused_does_not_count),
        TEST(test_rules_and_callers_are_told_apart),
        TEST(test_without_room_or_table_nothing_is_permitted),
        TEST(test_without_memory_nothing_is_permitted),
        TEST(test_a_clock_that_is_behind_gives_no_place),
        TEST(test_no_minute_wherever_it_begins_holds_more),
        TEST(test_F45_threads_together_get_what_the_rule_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
