/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation that fails on order, and arenas. */
#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_only_the_nth_allocation_fails(void **state)
{
    void *a, *b, *c;

    (void)state;
    mem_fail_nth_for_tests(2);
    a = mem_alloc(8);
    assert_false(mem_failed_for_tests());
    b = mem_zero(1, 8);
    assert_true(mem_failed_for_tests());
    c = mem_text(SLICE("text"));
    assert_non_null(a);
    assert_null(b);
    assert_string_equal(c, "text");
    mem_fail_nth_for_tests(1);
    assert_null(mem_grow(c, 100));
    assert_string_equal(c, "text");
    mem_fail_nth_for_tests(0);
    mem_free(a);
    mem_free(c);
    mem_free(NULL);
}

static void test_sizes_at_the_edge(void **state)
{
    void *empty = mem_alloc(0), *none = mem_zero(0, 0);
    char *text = mem_text((struct slice){ NULL, 0 });

    (void)state;
    assert_non_null(empty);
    assert_non_null(none);
    assert_string_equal(text, "");
    assert_null(mem_zero(SIZE_MAX / 2, 3));
    assert_null(mem_text((struct slice){ "", SIZE_MAX }));
    mem_free(empty);
    mem_free(none);
    mem_free(text);
}

static void test_arena_pieces_are_aligned_and_apart(void **state)
{
    struct arena arena;
    unsigned char *piece[300];

    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < 300; i++) {
        piece[i] = arena_alloc(&arena, i);
        assert_non_null(piece[i]);
        assert_int_equal((uintptr_t)piece[i] % 16, 0);
        memset(piece[i], (int)(i & 0xff), i);
    }
    for (size_t i = 0; i < 300; i++) {
        for (size_t j = 0; j < i; j++)
            assert_int_equal(piece[i][j], i & 0xff);
    }
    arena_free(&arena);
    assert_int_equal(arena.used, 0);
    assert_non_null(arena_alloc(&arena, 1));
    arena_free(&arena);
    arena_free(&arena);
}

static void test_a_large_piece_does_not_end_the_block_in_use(void **state)
{
    struct arena arena;
    char *small, *large;

    (void)state;
    arena_init(&arena, 0);
    small = arena_alloc(&arena, 100);
    large = arena_alloc(&arena, 100000);
    assert_non_null(small);
    assert_non_null(large);
    memset(large, 1, 100000);
    assert_non_null(arena_alloc(&arena, 100));
    arena_free(&arena);
}

static void test_arena_limit_and_overflow(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 64);
    assert_non_null(arena_alloc(&arena, 33)); /* 48 */
    assert_null(arena_alloc(&arena, 17));
    assert_non_null(arena_alloc(&arena, 16));
    assert_null(arena_alloc(&arena, 1));
    assert_null(arena_copy(&arena, SLICE("x")).data);
    assert_int_equal(arena.used, 64);
    arena_free(&arena);
    arena_init(&arena, 0);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX - 16));
    assert_null(arena_copy(&arena, (struct slice){ "", SIZE_MAX }).data);
    arena_free(&arena);
}

static void test_arena_copy_ends_in_nul(void **state)
{
    struct arena arena;
    struct slice copy;

    (void)state;
    arena_init(&arena, 0);
    copy = arena_copy(&arena, (struct slice){ "abcdef", 3 });
    assert_int_equal(copy.size, 3);
    assert_string_equal(copy.data, "abc");
    assert_string_equal(arena_copy(&arena, (struct slice){ NULL, 0 }).data, "");
    arena_free(&arena);
}

static void test_arena_survives_every_failed_allocation(void **state)
{
    struct arena arena;
    bool done = false;

    (void)state;
    for (unsigned n = 1; !done; n++) {
        arena_init(&arena, 0);
        mem_fail_nth_for_tests(n);
        for (size_t i = 0; i < 20; i++) {
            char *piece = arena_alloc(&arena, 500);
            if (piece)
                memset(piece, 1, 500);
        }
        done = !mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        arena_free(&arena);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_nth_allocation_fails),
        cmocka_unit_test(test_sizes_at_the_edge),
        cmocka_unit_test(test_arena_pieces_are_aligned_and_apart),
        cmocka_unit_test(test_a_large_piece_does_not_end_the_block_in_use),
        cmocka_unit_test(test_arena_limit_and_overflow),
        cmocka_unit_test(test_arena_copy_ends_in_nul),
        cmocka_unit_test(test_arena_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
