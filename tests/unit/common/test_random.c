/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, tokens, and the repeatable stream of tests. */
#include "common/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void test_nothing_repeats(void **state)
{
    unsigned char seen[64][16], large[3][1000];

    (void)state;
    for (int i = 0; i < 64; i++) { /* across several pools */
        random_bytes(seen[i], sizeof(seen[i]));
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(seen[i], seen[j], sizeof(seen[i]));
    }
    for (int i = 0; i < 3; i++)
        random_bytes(large[i], sizeof(large[i]));
    assert_memory_not_equal(large[0], large[1], 1000);
    assert_memory_not_equal(large[1], large[2], 1000);
    random_bytes(seen, 0);
    assert_true(random_u64() != random_u64());
}

static void test_tokens_are_of_their_alphabet(void **state)
{
    char token[201];
    bool seen[256] = { false };

    (void)state;
    for (int i = 0; i < 50; i++) {
        random_token(token, 200);
        assert_int_equal(strlen(token), 200);
        assert_int_equal(strspn(token, "abcdefghijklmnopqrstuvwxyz234567"), 200);
        for (int j = 0; j < 200; j++)
            seen[(unsigned char)token[j]] = true;
    }
    for (const char *c = "abcdefghijklmnopqrstuvwxyz234567"; *c; c++)
        assert_true(seen[(unsigned char)*c]);
    random_token(token, 0);
    assert_string_equal(token, "");
}

static void test_a_seed_repeats(void **state)
{
    uint64_t first[4], other;

    (void)state;
    random_seed_for_tests(7);
    for (int i = 0; i < 4; i++)
        first[i] = random_u64();
    random_seed_for_tests(7);
    for (int i = 0; i < 4; i++)
        assert_true(random_u64() == first[i]);
    random_seed_for_tests(8);
    other = random_u64();
    assert_true(other != first[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_repeats),
        cmocka_unit_test(test_tokens_are_of_their_alphabet),
        cmocka_unit_test(test_a_seed_repeats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
