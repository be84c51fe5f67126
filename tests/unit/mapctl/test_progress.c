/* SPDX-License-Identifier: Apache-2.0 */
/* The line that says how far a command is. */
#include "mapctl/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void must_be(const char *expected, uint64_t rows, uint64_t done, uint64_t total,
                    uint64_t took_ms)
{
    char out[PROGRESS_WIDTH + 1];

    progress_text(out, "reading", rows, done, total, took_ms);
    assert_string_equal(out, expected);
}

static void test_rows_rate_share_and_time_left(void **state)
{
    (void)state;
    must_be("reading", 0, 0, 0, 0);
    must_be("reading  5000 rows  2500/s", 5000, 0, 0, 2000);
    must_be("reading [#####...............]  25 %  1000 rows  500/s  6 s left", 1000, 25, 100,
            2000);
    must_be("reading [####################] 100 %  1000 rows  500/s", 1000, 100, 100, 2000);
    must_be("reading [####################] 100 %  9 rows  9000/s", 9, 200, 100, 0);
    must_be("reading [....................]   0 %", 0, 0, 100, 2000);
}

static void test_the_line_never_wraps(void **state)
{
    char out[PROGRESS_WIDTH + 1];

    (void)state;
    progress_text(out, "reading", UINT64_MAX / 2000, 1, UINT64_MAX / 100, UINT64_MAX / 2);
    assert_true(strlen(out) <= PROGRESS_WIDTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_rate_share_and_time_left),
        cmocka_unit_test(test_the_line_never_wraps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
