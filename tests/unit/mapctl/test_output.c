/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of whatever a peer sent. */
#include "mapctl/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_json(json_t *value, const char *text)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    assert_string_equal(dumped, text);
    free(dumped);
    json_decref(value);
}

static void test_text_of_any_bytes_is_json(void **state)
{
    (void)state;
    expect_json(output_text(SLICE("")), "\"\"");
    expect_json(output_text((struct slice){ NULL, 0 }), "\"\"");
    expect_json(output_text(SLICE("a\"\n\\")), "\"a\\\"\\n\\\\\"");
    expect_json(output_text(SLICE("\xc3\xa9")), "\"\xc3\xa9\"");
    expect_json(output_text(SLICE("a\0b")), "\"a\\u0000b\"");
    /* Broken, overlong, a surrogate, cut off: each byte that is none becomes U+FFFD. */
    expect_json(output_text(SLICE("a\xff"
                                  "b\xc3\xa9")),
                "\"a\xef\xbf\xbd"
                "b\xc3\xa9\"");
    expect_json(output_text(SLICE("\xc0\x80")), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_json(output_text(SLICE("\xed\xa0\x80")), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    expect_json(output_text(SLICE("x\xe2\x82")), "\"x\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_a_value_is_a_number_when_it_is_one(void **state)
{
    (void)state;
    expect_json(output_value(SLICE("0")), "0");
    expect_json(output_value(SLICE("1234567890123")), "1234567890123");
    expect_json(output_value(SLICE("9223372036854775807")), "9223372036854775807");
    /* A CN of digits, or more than an integer of JSON holds, would come back as another. */
    expect_json(output_value(SLICE("0004")), "\"0004\"");
    expect_json(output_value(SLICE("9223372036854775808")), "\"9223372036854775808\"");
    expect_json(output_value(SLICE("-1")), "\"-1\"");
    expect_json(output_value(SLICE("unknown")), "\"unknown\"");
    expect_json(output_value(SLICE("")), "null");
}

static void test_objects_and_arrays_take_their_values(void **state)
{
    json_t *object = output_object(), *array = output_array();

    (void)state;
    output_append(array, json_true());
    output_append(array, output_text(SLICE("x")));
    output_set(object, "list", array);
    output_set(object, "none", json_null());
    expect_json(object, "{\"list\":[true,\"x\"],\"none\":null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_any_bytes_is_json),
        cmocka_unit_test(test_a_value_is_a_number_when_it_is_one),
        cmocka_unit_test(test_objects_and_arrays_take_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
