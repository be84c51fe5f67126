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
    struct number_plan plan = { .international = SLICE(NUMBER_INTERNATIONAL),
                                .national = slice_of(national),
                                .country = slice_of(country) };

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

static const struct number_local american[] = { { 7, { "1212", 4 } }, { 10, { "1", 1 } } };

static const char *dial_local(const char *user, bool whole)
{
    static const struct number_plan plan = { .international = { NUMBER_INTERNATIONAL, 6 },
                                             .national = { "1", 1 },
                                             .country = { "1", 1 },
                                             .local = american,
                                             .local_count = 2 };
    static struct number number;

    return (whole ? number_read : number_read_beginning)(slice_of(user), &plan, &number)
               ? number.text
               : "none";
}

static void test_T21_numbers_without_prefix_are_read_by_their_length(void **state)
{
    static const char *const same[] = { "5551234",         "555-1234",
                                        "212-555-1234",    "(212)%20555.1234",
                                        "1-212-555-1234",  "+12125551234",
                                        "0012125551234",   "011%201%202125551234",
                                        "%20212%205551234" };
    static const char *const as_it_is[] = { "911", "555123", "55512345", "212555123", "+5551234" };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_string_equal(dial_local(same[i], true), "+12125551234");
    for (size_t i = 0; i < sizeof(as_it_is) / sizeof(as_it_is[0]); i++)
        assert_string_equal(dial_local(as_it_is[i], true), as_it_is[i]);
    assert_string_equal(dial_local("0115551", true), "+5551"); /* seven digits, but a prefix */
    assert_string_equal(dial_local("1234567", true), "+1234567");
    assert_string_equal(dial_local("5551234", false), "5551234");
    assert_string_equal(dial_local("12125551234", false), "+12125551234");
}

static void test_T21_what_a_length_puts_before_a_number_is_read_on(void **state)
{
    static const struct number_local local[] = { { 3, { "490", 3 } } };
    const struct number_plan plan = {
        .national = SLICE("0"), .country = SLICE("49"), .local = local, .local_count = 1
    };
    struct number number;

    (void)state;
    assert_true(number_read(SLICE("301"), &plan, &number));
    assert_string_equal(number.text, "+49301");
}

static bool may_begin(const char *user, const struct number_plan *plan, const char *wanted)
{
    struct number beginning;

    assert_true(number_read_beginning(slice_of(wanted), plan, &beginning));
    return number_may_begin(slice_of(user), plan, &beginning);
}

static void test_T21_what_might_be_taken_for_a_number_may_begin_as_it(void **state)
{
    static const char *const like[] = {
        "+49900",      "+49900,1", "+49900p1", "+49900;x=1", "+49/900",      "+49%C2%A0900",
        "+49a900",     "+,49900",  "++49900",  "0900/12",    "0049900%2312", "%20+49900",
        "_+49900%2C1", "+49A900",  "+49900%2", "00+499001",  "00+49900p",
    };
    static const char *const other[] = { "",    "x+49900", "alice900", "+49",  "+49p90",
                                         "%2C", "%2",      "X+49900",  "9900", "+4990,1" };
    const struct number_plan plan = { .international = SLICE(NUMBER_INTERNATIONAL),
                                      .national = SLICE("0"),
                                      .country = SLICE("49") };

    (void)state;
    for (size_t i = 0; i < sizeof(like) / sizeof(like[0]); i++)
        assert_true(may_begin(like[i], &plan, "0900"));
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        assert_false(may_begin(other[i], &plan, "0900"));
    assert_true(number_is_begun(SLICE("%20(0")));
    assert_true(number_is_begun(SLICE("-+")));
    assert_false(number_is_begun(SLICE("")));
    assert_false(number_is_begun(SLICE("-a1")));
}

static void test_T21_what_is_longer_than_any_number_may_begin_as_one(void **state)
{
    char far[IDENTITY_MAX + 1];
    const struct number_local local[] = { { 4, { far, IDENTITY_MAX } } };
    const struct number_plan plan = { .national = SLICE("0"), .country = SLICE("49") },
                             too_long = { .local = local, .local_count = 1 };
    char text[IDENTITY_MAX + 1] = "0900";

    (void)state;
    memset(text + 4, '1', IDENTITY_MAX - 4);
    text[IDENTITY_MAX] = '\0';
    assert_true(may_begin(text, &plan, "0900"));
    memset(far, '1', sizeof far);
    assert_false(may_begin("5551", &too_long, "555"));
    assert_true(may_begin("55512", &too_long, "555"));
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
        cmocka_unit_test(test_T21_numbers_without_prefix_are_read_by_their_length),
        cmocka_unit_test(test_T21_what_a_length_puts_before_a_number_is_read_on),
        cmocka_unit_test(test_T21_what_might_be_taken_for_a_number_may_begin_as_it),
        cmocka_unit_test(test_T21_what_is_longer_than_any_number_may_begin_as_one),
        cmocka_unit_test(test_T32_a_number_that_its_plan_makes_too_long_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
