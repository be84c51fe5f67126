/* SPDX-License-Identifier: Apache-2.0 */
/* Commands a second, as INFO says them. */
#include "mapperd/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_nothing_is_claimed_before_there_is_time_to_count_over(void **state)
{
    struct rate rate = { 0 };

    (void)state;
    assert_int_equal(rate_per_s(&rate, 100, 1000), 0);
    rate_sample(&rate, 100, 1000);
    assert_int_equal(rate_per_s(&rate, 100, 1000), 0);
    assert_int_equal(rate_per_s(&rate, 150, 1500), 100);
}

static void test_it_counts_over_the_last_samples_alone(void **state)
{
    struct rate rate = { 0 };
    uint64_t count = 0, now = 5000;

    (void)state;
    for (int i = 0; i < 100; i++, count += 1000000, now += 500)
        rate_sample(&rate, count, now);
    assert_int_equal(rate_per_s(&rate, count, now), 2000000);
    for (int i = 0; i < RATE_SAMPLES; i++, count += 5, now += 500)
        rate_sample(&rate, count, now);
    assert_int_equal(rate_per_s(&rate, count, now), 10);
    for (int i = 0; i < RATE_SAMPLES; i++, now += 500)
        rate_sample(&rate, count, now);
    assert_int_equal(rate_per_s(&rate, count, now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_claimed_before_there_is_time_to_count_over),
        cmocka_unit_test(test_it_counts_over_the_last_samples_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
