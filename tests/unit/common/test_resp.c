/* SPDX-License-Identifier: Apache-2.0 */
/* The wire codec: round trips, limits, and input that arrives byte by byte. */
#include "common/mem.h"
#include "common/random.h"
#include "common/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct resp_limits limits = { 65536, 1000 };

static enum error read_command(const char *text, struct resp_command *command, size_t *used)
{
    return resp_read_command(slice_of(text), command, used);
}

static void assert_command(const char *text, size_t count, const char *const *args)
{
    struct resp_command command;
    size_t used;

    if (read_command(text, &command, &used) != ERROR_NONE)
        fail_msg("refused: %s", text);
    assert_int_equal(used, strlen(text));
    assert_int_equal(command.count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(slice_equal(command.args[i], slice_of(args[i])));
}

static void test_commands_of_both_kinds(void **state)
{
    static const char *const peer[] = { "PEER", "device", "00:04 f2" };
    static const char *const words[] = { "PEER", "device", "x" };
    static const char *const empty[] = { "", "a\r\nb" };

    (void)state;
    assert_command("*3\r\n$4\r\nPEER\r\n$6\r\ndevice\r\n$8\r\n00:04 f2\r\n", 3, peer);
    assert_command("*2\r\n$0\r\n\r\n$4\r\na\r\nb\r\n", 2, empty);
    assert_command("PEER device x\r\n", 3, words);
    assert_command("  PEER \t device   x \n", 3, words);
    assert_command("\r\n", 0, NULL);
    assert_command("\n", 0, NULL);
    assert_command("   \r\n", 0, NULL);
    assert_command("*0\r\n", 0, NULL);
    assert_command("*-1\r\n", 0, NULL);
}

static void test_pipelined_commands_are_read_one_by_one(void **state)
{
    struct slice rest = SLICE("*1\r\n$4\r\nPING\r\nPING x\r\n*1\r\n$4\r\nQUIT\r\n*1\r\n");
    struct resp_command command;
    size_t used, counts[3] = { 1, 2, 1 };

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(resp_read_command(rest, &command, &used), ERROR_NONE);
        assert_int_equal(command.count, counts[i]);
        rest.data += used;
        rest.size -= used;
    }
    assert_int_equal(resp_read_command(rest, &command, &used), ERROR_INCOMPLETE);
    assert_int_equal(used, 0);
}

static void test_malformed_commands_are_refused_at_once(void **state)
{
    static const char *const bad[] = { "*x\r\n",
                                       "*\r\n",
                                       "*-2\r\n",
                                       "*1x\r\n",
                                       "*+1\r\n",
                                       "* 1\r\n",
                                       "*01\r\n",
                                       "*-0\r\n",
                                       "*1\n",
                                       "*1\rx",
                                       "*99999999999999999999999",
                                       "*1\r\n:1\r\n",
                                       "*1\r\n+a\r\n",
                                       "*1\r\n*1\r\n",
                                       "*1\r\n$-1\r\n",
                                       "*1\r\n$-5\r\n",
                                       "*1\r\n$x\r\n",
                                       "*1\r\n$\r\n",
                                       "*1\r\n$1\r\nabc",
                                       "*1\r\n$1\r\na\n",
                                       "*1\r\n$1\r\na\rb",
                                       "\x16\x03\x01",
                                       "$3\r\nfoo\r\n",
                                       ":1\r\n",
                                       "{\"a\"",
                                       "PING\rx\n",
                                       "*1\r\n$99999999999999999999\r\n",
                                       "*1\r\n$9223372036854775808\r\n" };
    struct resp_command command;
    size_t used = 9;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (read_command(bad[i], &command, &used) != ERROR_MALFORMED)
            fail_msg("not refused: %s", bad[i]);
        assert_int_equal(used, 0);
        assert_int_equal(command.count, 0);
    }
    assert_int_equal(resp_read_command((struct slice){ "PI\0NG\r\n", 7 }, &command, &used),
                     ERROR_MALFORMED);
    assert_int_equal(resp_read_command((struct slice){ NULL, 0 }, &command, &used),
                     ERROR_INCOMPLETE);
}

static void test_limits_of_commands(void **state)
{
    struct resp_command command;
    struct buffer b;
    size_t used;

    (void)state;
    assert_int_equal(read_command("*33\r\n", &command, &used), ERROR_TOO_LARGE);
    assert_int_equal(read_command("*9223372036854775807\r\n", &command, &used), ERROR_TOO_LARGE);
    assert_int_equal(read_command("*1\r\n$4097\r\n", &command, &used), ERROR_TOO_LARGE);
    assert_int_equal(read_command("*1\r\n$9223372036854775807\r\n", &command, &used),
                     ERROR_TOO_LARGE);
    assert_int_equal(read_command("*1\r\n$4096\r\n", &command, &used), ERROR_INCOMPLETE);
    /* 33 words on a line. */
    buffer_init(&b, 0);
    for (int i = 0; i < 33; i++)
        buffer_add_text(&b, "a ");
    buffer_add_text(&b, "\n");
    assert_int_equal(resp_read_command(buffer_slice(&b), &command, &used), ERROR_TOO_LARGE);
    buffer_reset(&b);
    /* A line without an end. */
    for (int i = 0; i < RESP_INLINE_MAX - 1; i++)
        buffer_add_char(&b, 'a');
    assert_int_equal(resp_read_command(buffer_slice(&b), &command, &used), ERROR_INCOMPLETE);
    buffer_add_char(&b, 'a');
    assert_int_equal(resp_read_command(buffer_slice(&b), &command, &used), ERROR_TOO_LARGE);
    buffer_reset(&b);
    /* Each argument is allowed, together they are not. */
    resp_add_array(&b, 5);
    for (int i = 0; i < 4; i++) {
        buffer_add_text(&b, "$4096\r\n");
        for (int j = 0; j < 4096; j++)
            buffer_add_char(&b, 'x');
        buffer_add_text(&b, "\r\n");
    }
    assert_int_equal(resp_read_command(buffer_slice(&b), &command, &used), ERROR_TOO_LARGE);
    buffer_free(&b);
}

/* The largest command, byte by byte: incomplete until its last byte, and soon done. */
static void test_byte_by_byte(void **state)
{
    struct resp_command command;
    struct resp_value value;
    struct buffer b;
    size_t used;

    (void)state;
    buffer_init(&b, 0);
    resp_add_array(&b, 32);
    for (int i = 0; i < 32; i++) {
        char text[500];
        memset(text, 'a' + i % 26, sizeof(text));
        resp_add_bulk(&b, (struct slice){ text, sizeof(text) });
    }
    for (size_t size = 0; size < buffer_size(&b); size++) {
        char *exact = malloc(size + 1); /* ASan sees a byte read too far */
        memcpy(exact, buffer_slice(&b).data, size);
        char *input = realloc(exact, size ? size : 1);
        if (size % 13 == 0) {
            struct slice s = { input, size };
            assert_int_equal(resp_read_command(s, &command, &used), ERROR_INCOMPLETE);
            assert_int_equal(resp_read_value(s, &limits, &value, &used), ERROR_INCOMPLETE);
        }
        free(input);
    }
    assert_int_equal(resp_read_command(buffer_slice(&b), &command, &used), ERROR_NONE);
    assert_int_equal(command.count, 32);
    assert_int_equal(used, buffer_size(&b));
    buffer_free(&b);
}

static struct resp_value read_good(const char *text)
{
    struct resp_value value;
    size_t used;

    if (resp_read_value(slice_of(text), &limits, &value, &used) != ERROR_NONE)
        fail_msg("refused: %s", text);
    assert_int_equal(used, strlen(text));
    return value;
}

static void test_values_of_all_types(void **state)
{
    struct resp_value value;

    (void)state;
    value = read_good("+PONG\r\n");
    assert_int_equal(value.type, RESP_STATUS);
    assert_true(slice_equal(value.text, SLICE("PONG")));
    value = read_good("-ERR no\r\n");
    assert_int_equal(value.type, RESP_FAILURE);
    assert_true(slice_equal(value.text, SLICE("ERR no")));
    value = read_good(":-9223372036854775808\r\n");
    assert_int_equal(value.type, RESP_INTEGER);
    assert_true(value.integer == INT64_MIN);
    assert_true(read_good(":9223372036854775807\r\n").integer == INT64_MAX);
    value = read_good("$3\r\na\r\n\r\n");
    assert_int_equal(value.type, RESP_BULK);
    assert_true(slice_equal(value.text, SLICE("a\r\n")));
    assert_int_equal(read_good("$0\r\n\r\n").type, RESP_BULK);
    assert_int_equal(read_good("$-1\r\n").type, RESP_NIL);
    assert_int_equal(read_good("*-1\r\n").type, RESP_NIL);
    value = read_good("*0\r\n");
    assert_int_equal(value.type, RESP_ARRAY);
    assert_int_equal(value.count, 0);
    assert_false(resp_item(&value.text, &value));
}

static void test_nested_arrays_are_walked(void **state)
{
    struct resp_value value = read_good("*4\r\n:7\r\n*2\r\n$1\r\na\r\n*0\r\n$-1\r\n+x\r\n"), item,
                      inner;
    struct slice rest = value.text, inside;

    (void)state;
    assert_int_equal(value.count, 4);
    assert_true(resp_item(&rest, &item));
    assert_int_equal(item.integer, 7);
    assert_true(resp_item(&rest, &item));
    assert_int_equal(item.type, RESP_ARRAY);
    assert_int_equal(item.count, 2);
    inside = item.text;
    assert_true(resp_item(&inside, &inner));
    assert_true(slice_equal(inner.text, SLICE("a")));
    assert_true(resp_item(&inside, &inner));
    assert_int_equal(inner.type, RESP_ARRAY);
    assert_false(resp_item(&inside, &inner));
    assert_true(resp_item(&rest, &item));
    assert_int_equal(item.type, RESP_NIL);
    assert_true(resp_item(&rest, &item));
    assert_int_equal(item.type, RESP_STATUS);
    assert_false(resp_item(&rest, &item));
}

static void test_malformed_values(void **state)
{
    static const char *const bad[] = { "x",
                                       "\r\n",
                                       ":\r\n",
                                       ":1 \r\n",
                                       ":--1\r\n",
                                       ":9223372036854775808\r\n",
                                       ":-9223372036854775809\r\n",
                                       ":1\n",
                                       "+a\nb\r\n",
                                       "+a\rb\r\n",
                                       "$-2\r\n",
                                       "*-2\r\n",
                                       "$1\r\nab\r\n",
                                       "*1\r\nx",
                                       "*2\r\n:1\r\n!\r\n",
                                       ":00\r\n",
                                       "$1\r\na\rx" };
    struct resp_value value;
    size_t used = 5;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (resp_read_value(slice_of(bad[i]), &limits, &value, &used) != ERROR_MALFORMED)
            fail_msg("not refused: %s", bad[i]);
        assert_int_equal(used, 0);
        assert_int_equal(value.type, RESP_NONE);
    }
}

static enum error read_limited(const char *text, size_t value_max, size_t items_max)
{
    struct resp_limits own = { value_max, items_max };
    struct resp_value value;
    size_t used;

    return resp_read_value(slice_of(text), &own, &value, &used);
}

static void test_limits_of_values(void **state)
{
    (void)state;
    assert_int_equal(read_limited("$100\r\n", 99, 10), ERROR_TOO_LARGE);
    assert_int_equal(read_limited("$90\r\n", 99, 10), ERROR_INCOMPLETE);
    assert_int_equal(read_limited("*100000000\r\n", 65536, 1000), ERROR_TOO_LARGE);
    assert_int_equal(read_limited("*9223372036854775807\r\n", 65536, 1000), ERROR_TOO_LARGE);
    assert_int_equal(read_limited("$9223372036854775807\r\n", SIZE_MAX, 10), ERROR_INCOMPLETE);
    /* All arrays together. */
    assert_int_equal(read_limited("*2\r\n*2\r\n:1\r\n:1\r\n*2\r\n", 1000, 5), ERROR_TOO_LARGE);
    assert_int_equal(read_limited("*2\r\n*2\r\n:1\r\n:1\r\n*1\r\n:1\r\n", 1000, 5), ERROR_NONE);
    /* Depth. */
    assert_int_equal(read_limited("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 1000, 10), ERROR_NONE);
    assert_int_equal(read_limited("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", 1000, 10),
                     ERROR_TOO_LARGE);
    /* The whole reply: exactly as large as allowed, and one byte more. */
    assert_int_equal(read_limited("*2\r\n:1\r\n:2\r\n", 12, 10), ERROR_NONE);
    assert_int_equal(read_limited("*2\r\n:1\r\n:2\r\n", 11, 10), ERROR_TOO_LARGE);
    assert_int_equal(read_limited("", 0, 0), ERROR_TOO_LARGE);
}

static void test_a_status_has_a_bounded_line(void **state)
{
    struct resp_value value;
    struct buffer b;
    size_t used;

    (void)state;
    buffer_init(&b, 0);
    buffer_add_char(&b, '-');
    while (buffer_size(&b) < RESP_LINE_MAX - 2)
        buffer_add_char(&b, 'x');
    assert_int_equal(resp_read_value(buffer_slice(&b), &limits, &value, &used), ERROR_INCOMPLETE);
    buffer_add_text(&b, "\r\n");
    assert_int_equal(resp_read_value(buffer_slice(&b), &limits, &value, &used), ERROR_NONE);
    b.to -= 2;
    buffer_add_text(&b, "yyyy");
    assert_int_equal(resp_read_value(buffer_slice(&b), &limits, &value, &used), ERROR_TOO_LARGE);
    buffer_free(&b);
}

static void test_what_is_written_is_read_back(void **state)
{
    struct resp_value value, item;
    struct slice rest;
    struct buffer b;
    size_t used;

    (void)state;
    buffer_init(&b, 0);
    resp_add_array(&b, 7);
    resp_add_integer(&b, INT64_MIN);
    resp_add_integer(&b, INT64_MAX);
    resp_add_bulk(&b, (struct slice){ "a\0\r\n", 4 });
    resp_add_bulk_text(&b, "");
    resp_add_nil(&b);
    resp_add_status(&b, "OK\r\n+forged");
    resp_add_failure(&b, "ERR x\ny");
    assert_false(b.failed);
    assert_int_equal(resp_read_value(buffer_slice(&b), &limits, &value, &used), ERROR_NONE);
    assert_int_equal(used, buffer_size(&b));
    assert_int_equal(value.count, 7);
    rest = value.text;
    assert_true(resp_item(&rest, &item) && item.integer == INT64_MIN);
    assert_true(resp_item(&rest, &item) && item.integer == INT64_MAX);
    assert_true(resp_item(&rest, &item) && slice_equal(item.text, (struct slice){ "a\0\r\n", 4 }));
    assert_true(resp_item(&rest, &item) && item.type == RESP_BULK && item.text.size == 0);
    assert_true(resp_item(&rest, &item) && item.type == RESP_NIL);
    assert_true(resp_item(&rest, &item) && slice_equal(item.text, SLICE("OK  +forged")));
    assert_true(resp_item(&rest, &item) && slice_equal(item.text, SLICE("ERR x y")));
    assert_false(resp_item(&rest, &item));
    buffer_free(&b);
}

static void test_writing_without_memory_shows_in_the_buffer(void **state)
{
    bool done = false;

    (void)state;
    for (unsigned n = 1; !done; n++) {
        struct buffer b;
        buffer_init(&b, 0);
        mem_fail_nth_for_tests(n);
        for (int i = 0; i < 100; i++)
            resp_add_bulk_text(&b, "some text");
        done = !mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        assert_int_equal(b.failed, !done);
        buffer_free(&b);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_of_both_kinds),
        cmocka_unit_test(test_pipelined_commands_are_read_one_by_one),
        cmocka_unit_test(test_malformed_commands_are_refused_at_once),
        cmocka_unit_test(test_limits_of_commands),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_values_of_all_types),
        cmocka_unit_test(test_nested_arrays_are_walked),
        cmocka_unit_test(test_malformed_values),
        cmocka_unit_test(test_limits_of_values),
        cmocka_unit_test(test_a_status_has_a_bounded_line),
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_writing_without_memory_shows_in_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
