/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: what goes in comes out, bounds hold, failure is sticky. */
#include "common/buffer.h"
#include "common/mem.h"
#include "common/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_bytes_come_out_as_they_went_in(void **state)
{
    struct buffer b;
    unsigned char next_in = 0, next_out = 0;

    (void)state;
    random_seed_for_tests(1);
    buffer_init(&b, 0);
    for (int i = 0; i < 20000; i++) {
        size_t in = random_u64() % 50, out = random_u64() % 52;
        char *room = buffer_reserve(&b, in);
        assert_non_null(room);
        for (size_t j = 0; j < in; j++)
            room[j] = (char)next_in++;
        buffer_commit(&b, in);
        if (out > buffer_size(&b))
            out = buffer_size(&b);
        for (size_t j = 0; j < out; j++)
            assert_int_equal((unsigned char)buffer_slice(&b).data[j], next_out++);
        buffer_consume(&b, out);
    }
    assert_true(b.capacity < 8192);
    buffer_free(&b);
}

static void test_limit_is_of_what_waits(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b, 10);
    for (int i = 0; i < 100; i++) {
        buffer_add(&b, SLICE("0123456789"));
        assert_false(b.failed);
        buffer_consume(&b, 10);
    }
    buffer_add(&b, SLICE("0123456789"));
    buffer_add_format(&b, "%s", "");
    assert_false(b.failed);
    buffer_add_char(&b, 'x');
    assert_true(b.failed);
    assert_null(buffer_reserve(&b, 0));
    buffer_consume(&b, 10);
    buffer_add_char(&b, 'x'); /* nothing after a failure */
    assert_int_equal(buffer_size(&b), 0);
    buffer_reset(&b);
    buffer_add_format(&b, "%s", "0123456789"); /* its NUL needs a byte beyond the limit */
    assert_false(b.failed);
    assert_true(slice_equal(buffer_slice(&b), SLICE("0123456789")));
    buffer_add_format(&b, "%d", 1);
    assert_true(b.failed);
    buffer_free(&b);
}

static void test_numbers_and_text(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b, 0);
    assert_int_equal(buffer_slice(&b).size, 0);
    assert_non_null(buffer_slice(&b).data);
    buffer_add_u64(&b, 0);
    buffer_add_char(&b, ' ');
    buffer_add_u64(&b, UINT64_MAX);
    buffer_add_text(&b, " a");
    buffer_add_format(&b, "%03d%s", 7, "x");
    buffer_add(&b, (struct slice){ NULL, 0 });
    assert_true(slice_equal(buffer_slice(&b), SLICE("0 18446744073709551615 a007x")));
    buffer_release(&b); /* not empty: kept */
    assert_int_equal(buffer_size(&b), 28);
    buffer_consume(&b, 28);
    buffer_release(&b);
    assert_int_equal(b.capacity, 0);
    buffer_add_text(&b, "again");
    assert_int_equal(buffer_size(&b), 5);
    buffer_free(&b);
}

static void test_hostile_sizes(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b, 0);
    assert_null(buffer_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    buffer_reset(&b);
    buffer_add_text(&b, "x");
    assert_null(buffer_reserve(&b, SIZE_MAX - 1));
    buffer_free(&b);
    buffer_init(&b, 100);
    buffer_add_text(&b, "x");
    assert_null(buffer_reserve(&b, SIZE_MAX));
    buffer_free(&b);
}

static void test_every_failed_allocation_is_sticky(void **state)
{
    bool done = false;

    (void)state;
    for (unsigned n = 1; !done; n++) {
        struct buffer b;
        buffer_init(&b, 0);
        mem_fail_nth_for_tests(n);
        for (int i = 0; i < 100; i++)
            buffer_add_format(&b, "%030d", i);
        done = !mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        assert_int_equal(b.failed, !done);
        assert_true(done ? buffer_size(&b) == 3000 : buffer_size(&b) < 3000);
        buffer_free(&b);
        assert_true(n < 100);
    }
}

/* An empty piece first: adding to no memory at all is undefined, and UBSan says so. */
static void test_nothing_may_be_added_to_an_empty_buffer(void **state)
{
    struct buffer b;

    (void)state;
    buffer_init(&b, 0);
    buffer_add(&b, SLICE(""));
    assert_non_null(buffer_reserve(&b, 0));
    assert_false(b.failed);
    assert_int_equal(buffer_size(&b), 0);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_out_as_they_went_in),
        cmocka_unit_test(test_limit_is_of_what_waits),
        cmocka_unit_test(test_numbers_and_text),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_every_failed_allocation_is_sticky),
        cmocka_unit_test(test_nothing_may_be_added_to_an_empty_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
