/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of subcommands and options are whole, and what commands ask them. */
#include "mapctl/command.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OPTIONS_MAX 64 /* of one command with the common ones, as in command_line.c */

static size_t count_rows(const struct option_row *rows)
{
    size_t count = 0;

    while (rows != NULL && rows[count].name != NULL)
        count++;
    return count;
}

static void check_row(const struct option_row *rows, size_t at)
{
    const struct option_row *row = &rows[at];

    assert_true(row->id > 0);
    assert_true(row->help != NULL && *row->help);
    assert_int_equal(row->kind == VALUE_NONE, row->value == NULL);
    assert_true(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(row->name));
    for (size_t i = 0; i < at; i++) {
        assert_string_not_equal(rows[i].name, row->name);
        assert_int_not_equal(rows[i].id, row->id);
    }
    if (rows == COMMON_OPTIONS)
        return;
    for (size_t i = 0; i < count_rows(COMMON_OPTIONS); i++)
        assert_string_not_equal(COMMON_OPTIONS[i].name, row->name);
}

static void test_every_command_and_option_is_whole_and_of_its_own_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < count_rows(COMMON_OPTIONS); i++)
        check_row(COMMON_OPTIONS, i);
    for (size_t n = 0; COMMANDS[n] != NULL; n++) {
        const struct command *c = COMMANDS[n];
        assert_true(c->name != NULL && c->operands != NULL && c->brief != NULL && c->run != NULL);
        assert_ptr_equal(command_named(c->name), c); /* no other before it */
        assert_true(c->operands_min <= c->operands_max);
        assert_int_equal(c->operands_max == 0, *c->operands == '\0');
        assert_int_equal(c->operand_kind == VALUE_NONE, c->operands_max == 0);
        assert_true(count_rows(COMMON_OPTIONS) + count_rows(c->options) <= OPTIONS_MAX);
        for (size_t i = 0; i < count_rows(c->options); i++)
            check_row(c->options, i);
    }
    assert_null(command_named(""));
    assert_null(command_named("statu"));
}

static const struct option_row ROWS[] = {
    { 1, "rate", VALUE_TEXT, "N", "a number" },
    { 2, "name", VALUE_TEXT, "TEXT", "repeated" },
    { 3, "flag", VALUE_NONE, NULL, "a flag" },
    { 0 },
};

static void test_options_are_found_by_their_number(void **state)
{
    struct arguments a = { .options = ROWS, .given_count = 4 };
    size_t cursor = 0;

    (void)state;
    a.given[0].id = 2, a.given[0].value = "x";
    a.given[1].id = 3;
    a.given[2].id = 2, a.given[2].value = "y";
    a.given[3].id = 1, a.given[3].value = "7";
    assert_true(option_given(&a, 3));
    assert_false(option_given(&a, 4));
    assert_string_equal(option_text(&a, 2, "z"), "y");
    assert_string_equal(option_text(&a, 4, "z"), "z");
    assert_string_equal(option_next(&a, 2, &cursor), "x");
    assert_string_equal(option_next(&a, 2, &cursor), "y");
    assert_null(option_next(&a, 2, &cursor));
}

static void test_a_number_is_read_whole_and_within_its_bounds(void **state)
{
    static const char *const BAD[] = { "", "x", "-1", "4", "101", "18446744073709551616", "5 " };
    struct arguments a = { .options = ROWS };
    uint64_t value = 77;

    (void)state;
    assert_true(option_number(&a, 1, 5, 100, &value));
    assert_int_equal(value, 77); /* not given */
    a.given_count = 1;
    a.given[0].id = 1;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        a.given[0].value = BAD[i];
        assert_false(option_number(&a, 1, 5, 100, &value));
        assert_int_equal(value, 77);
    }
    a.given[0].value = "100";
    assert_true(option_number(&a, 1, 5, 100, &value));
    assert_int_equal(value, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_and_option_is_whole_and_of_its_own_name),
        cmocka_unit_test(test_options_are_found_by_their_number),
        cmocka_unit_test(test_a_number_is_read_whole_and_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
