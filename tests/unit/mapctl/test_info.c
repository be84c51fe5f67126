/* SPDX-License-Identifier: Apache-2.0 */
/* The text of INFO, also when it is broken. */
#include "mapctl/info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(struct slice *rest, const char *key, const char *value)
{
    struct slice found_key, found_value;

    assert_true(info_next(rest, &found_key, &found_value));
    assert_true(slice_equal(found_key, slice_of(key)));
    assert_true(slice_equal(found_value, slice_of(value)));
}

static void test_lines_are_key_and_value(void **state)
{
    struct slice rest = SLICE("# Server\r\nname:a:b\r\n\r\nready:1\r\nempty:\r\nno colon\r\n"
                              ":no key\r\n#x:1\r\n age_ms : 5 \nlast:z");
    struct slice key, value;

    (void)state;
    expect(&rest, "name", "a:b");
    expect(&rest, "ready", "1");
    expect(&rest, "empty", "");
    expect(&rest, "age_ms ", "5");
    expect(&rest, "last", "z");
    assert_false(info_next(&rest, &key, &value));
}

static void test_a_value_is_found_by_its_whole_key(void **state)
{
    struct slice info = SLICE("a_age_ms:1\r\nage_ms_b:2\r\nage_ms:3\r\nage_ms:4\r\n");

    (void)state;
    assert_true(slice_equal(info_value(info, "age_ms"), SLICE("3")));
    assert_int_equal(info_value(info, "age").size, 0);
    assert_int_equal(info_value(SLICE(""), "age").size, 0);
    assert_int_equal(info_value((struct slice){ NULL, 0 }, "age").size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_key_and_value),
        cmocka_unit_test(test_a_value_is_found_by_its_whole_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
