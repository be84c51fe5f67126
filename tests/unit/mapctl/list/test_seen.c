/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a value came before: never a wrong no, seldom a wrong yes. */
#include "common/mem.h"
#include "mapctl/list/seen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MANY 1000000

static struct slice value(char out[24], int i)
{
    int size = snprintf(out, 24, "%012X", i);

    return (struct slice){ out, (size_t)size };
}

static void test_what_came_before_is_never_missed(void **state)
{
    struct list_seen seen;
    char text[24];
    int wrong = 0;

    (void)state;
    assert_int_equal(list_seen_init(&seen), ERROR_NONE);
    for (int i = 0; i < MANY; i++)
        wrong += list_seen_add(&seen, value(text, i));
    assert_true(wrong <= 1); /* expected: once in five hundred runs */
    for (int i = 0; i < MANY; i++)
        assert_true(list_seen_add(&seen, value(text, i)));
    list_seen_free(&seen);
}

static void test_without_memory_it_says_so(void **state)
{
    struct list_seen seen;

    (void)state;
    mem_fail_nth_for_tests(1);
    assert_int_equal(list_seen_init(&seen), ERROR_MEMORY);
    mem_fail_nth_for_tests(0);
    list_seen_free(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_came_before_is_never_missed),
        cmocka_unit_test(test_without_memory_it_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
