/* SPDX-License-Identifier: Apache-2.0 */
/* The alarm of old data, and the bound. */
#include "mapperd/staleness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_F26_the_alarm_is_given_once_and_taken_back_once(void **state)
{
    struct staleness s = { 0 };
    (void)state;
    assert_int_equal(staleness_look(&s, 30000, 30000, 1), STALENESS_SAME);
    assert_int_equal(staleness_look(&s, 30001, 30000, 2), STALENESS_ALARM);
    assert_int_equal(staleness_look(&s, 40000, 30000, 3), STALENESS_SAME);
    assert_true(s.alarmed);
    assert_int_equal(staleness_look(&s, 500, 30000, 4), STALENESS_OVER);
    assert_int_equal(staleness_look(&s, 500, 30000, 5), STALENESS_SAME);
    assert_int_equal(staleness_look(&s, 40000, 0, 6), STALENESS_SAME); /* never */
}

static void test_F26_an_unknown_age_counts_from_when_it_was_first_seen(void **state)
{
    struct staleness s = { 0 };
    (void)state;
    assert_int_equal(staleness_look(&s, UINT64_MAX, 30000, 1000), STALENESS_SAME);
    assert_int_equal(staleness_look(&s, UINT64_MAX, 30000, 31000), STALENESS_SAME);
    assert_int_equal(staleness_look(&s, UINT64_MAX, 30000, 31001), STALENESS_ALARM);
    assert_int_equal(staleness_look(&s, 100, 30000, 31002), STALENESS_OVER);
    assert_int_equal(staleness_look(&s, UINT64_MAX, 30000, 40000), STALENESS_SAME);
    /* What was an alarm stays one. */
    assert_int_equal(staleness_look(&s, 30001, 30000, 40001), STALENESS_ALARM);
    assert_int_equal(staleness_look(&s, UINT64_MAX, 30000, 40002), STALENESS_SAME);
}

static void test_an_unknown_age_is_beyond_any_bound(void **state)
{
    (void)state;
    assert_true(staleness_beyond(UINT64_MAX, 86400000));
    assert_false(staleness_beyond(UINT64_MAX, 0));
    assert_false(staleness_beyond(5, 5));
    assert_true(staleness_beyond(6, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F26_the_alarm_is_given_once_and_taken_back_once),
        cmocka_unit_test(test_F26_an_unknown_age_counts_from_when_it_was_first_seen),
        cmocka_unit_test(test_an_unknown_age_is_beyond_any_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
