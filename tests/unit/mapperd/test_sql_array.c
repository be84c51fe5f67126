/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays in PostgreSQL's binary form, octet by octet. */
#include "mapperd/sql_array.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_bytes(const struct buffer *out, const char *bytes, size_t size)
{
    assert_false(out->failed);
    assert_int_equal(buffer_size(out), size);
    assert_memory_equal(buffer_slice(out).data, bytes, size);
}

static void test_texts_and_numbers_are_as_the_server_reads_them(void **state)
{
    struct buffer out;
    (void)state;
    buffer_init(&out, 0);
    sql_array_start(&out, SQL_ARRAY_TEXT);
    sql_array_add_text(&out, SLICE("ab"));
    sql_array_add_text(&out, SLICE(""));
    sql_array_end(&out, 2);
    assert_bytes(&out,
                 "\0\0\0\1\0\0\0\0\0\0\0\31\0\0\0\2\0\0\0\1"
                 "\0\0\0\2ab\0\0\0\0",
                 30);
    sql_array_start(&out, SQL_ARRAY_INT8);
    sql_array_add_int8(&out, 258);
    sql_array_end(&out, 1);
    assert_bytes(&out,
                 "\0\0\0\1\0\0\0\0\0\0\0\24\0\0\0\1\0\0\0\1"
                 "\0\0\0\10\0\0\0\0\0\0\1\2",
                 32);
    buffer_free(&out);
}

static void test_an_array_of_nothing_has_no_dimension(void **state)
{
    struct buffer out;
    (void)state;
    buffer_init(&out, 0);
    sql_array_start(&out, SQL_ARRAY_TEXT);
    sql_array_end(&out, 0);
    assert_bytes(&out, "\0\0\0\0\0\0\0\0\0\0\0\31", 12);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_and_numbers_are_as_the_server_reads_them),
        cmocka_unit_test(test_an_array_of_nothing_has_no_dimension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
