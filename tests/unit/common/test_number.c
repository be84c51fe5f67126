/* SPDX-License-Identifier: Apache-2.0 */
/* T21: one number, whatever its spelling; what is no plain number is none. */
#include "common/number.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *read(const char *user, const char *international)
{
    static struct number number;
    struct number_plan plan = { .international = slice_of(international) };

    return number_read(slice_of(user), &plan, &number) ? number.text : "none";
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

static const char *dial(const char *user, const char *national, const char *country)
{
    static struct number number;
    struct number_plan plan = { SLICE(NUMBER_INTERNATIONAL), slice_of(national),
                                slice_of(country) };

    return number_read(slice_of(user), &plan, &number) ? number.text : "none";
}

static void test_T21_a_dial_plan_gives_each_number_one_text(void **state)
{
    static const char *const same[] = { "030-1234",     "(030)1234",     "+49(0)30.1234",
                                        "0049301234",   "0049(0)301234", "+490301234",
                                        "+49301234",    "+4900301234",   "01149301234",
                                        "%20030%201234" };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_string_equal(dial(same[i], "0", "49"), "+49301234");
    assert_string_equal(dial("112", "0", "49"), "112");
    assert_string_equal(dial("0", "0", "49"), "+49");
    assert_string_equal(dial("+430662", "0", "49"), "+430662");
    assert_string_equal(dial("1-303", "1", "1"), "+1303");
    assert_string_equal(dial("+", "0", "49"), "none");
    assert_string_equal(dial("00", "0", "49"), "+");
    assert_string_equal(dial("+11303", "1", "1"), "+11303");
    assert_string_equal(dial("88121", "8", "7"), "+78121");
    assert_string_equal(dial("+78121", "8", "7"), "+78121"); /* 8 begins numbers there */
    assert_string_equal(dial("0301234", "", "49"), "0301234");
    assert_string_equal(dial("0301234", "0", ""), "0301234");
}

static void test_T32_a_number_that_its_plan_makes_too_long_is_none(void **state)
{
    static const struct number_plan none = { .international = { "", 0 } };
    char text[IDENTITY_MAX + 2];
    struct number number;

    (void)state;
    memset(text, '2', IDENTITY_MAX + 1);
    assert_false(number_read((struct slice){ text, IDENTITY_MAX + 1 }, &none, &number));
    assert_int_equal(number.size, 0);
    assert_false(number_read((struct slice){ "1\0002", 3 }, &none, &number));
    text[IDENTITY_MAX] = '\0';
    assert_string_equal(dial(text, "0", "49"), text);
    text[0] = '0';
    assert_string_equal(dial(text, "0", "49"), "none");
    text[IDENTITY_MAX - 1] = '\0';
    assert_string_equal(dial(text, "0", "49"), "none");
    text[IDENTITY_MAX - 2] = '\0';
    assert_int_equal(strlen(dial(text, "0", "49")), IDENTITY_MAX);
    text[0] = text[1] = '0';
    assert_int_equal(strlen(dial(text, "0", "49")), IDENTITY_MAX - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T21_spellings_of_one_number_are_one),
        cmocka_unit_test(test_T21_what_carries_more_is_no_number),
        cmocka_unit_test(test_T21_a_dial_plan_gives_each_number_one_text),
        cmocka_unit_test(test_T32_a_number_that_its_plan_makes_too_long_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
