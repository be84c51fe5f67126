/* SPDX-License-Identifier: Apache-2.0 */
/* T21: one number, whatever its spelling; what is no plain number is none. */
#include "common/number.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *read(const char *user, const char *international)
{
    static struct number number;

    return number_read(slice_of(user), slice_of(international), &number) ? number.text : "none";
}

static void test_T21_spellings_of_one_number_are_one(void **state)
{
    static const char *const same[] = { "+49301234",      "0049301234",      "01149301234",
                                        "+49-30-1234",    "+49(30)12.34",    "00-49-30-1234",
                                        "0-0.4930(1)234", "+49%2030%201234", "(011)49301234" };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_string_equal(read(same[i], NUMBER_INTERNATIONAL), "+49301234");
    assert_string_equal(read("0301234", NUMBER_INTERNATIONAL), "0301234");
    assert_string_equal(read("112", NUMBER_INTERNATIONAL), "112");
    assert_string_equal(read("0049", ""), "0049");
    assert_string_equal(read("00", NUMBER_INTERNATIONAL), "+");
    assert_string_equal(read("0011", "00,0011"), "+");
}

static void test_T21_what_carries_more_is_no_number(void **state)
{
    static const char *const none[] = { "",          "+",    "-",        "alice", "+49a",
                                        "++49",      "4+9",  "+49;rn=1", "%2B49", "49%3Bx",
                                        "49;tgrp=a", "49p1", "*21",      "%20",   "49@" };

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_string_equal(read(none[i], NUMBER_INTERNATIONAL), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T21_spellings_of_one_number_are_one),
        cmocka_unit_test(test_T21_what_carries_more_is_no_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
