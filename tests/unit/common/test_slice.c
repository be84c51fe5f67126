/* SPDX-License-Identifier: Apache-2.0 */
/* Slices, error names and clocks. */
#include "common/clock.h"
#include "common/error.h"
#include "common/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_equal_and_nocase(void **state)
{
    (void)state;
    assert_true(slice_equal(SLICE("ab"), SLICE("ab")));
    assert_false(slice_equal(SLICE("ab"), SLICE("aB")));
    assert_true(slice_equal((struct slice){ NULL, 0 }, SLICE("")));
    assert_true(slice_equal_nocase(SLICE("Via-9"), SLICE("vIA-9")));
    assert_false(slice_equal_nocase(SLICE("a"), SLICE("ab")));
    /* 0x20 apart, but no letters. */
    assert_false(slice_equal_nocase(SLICE("@"), SLICE("`")));
    assert_false(slice_equal_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_equal_nocase(SLICE("\xc4"), SLICE("\xe4")));
}

static void test_compare_is_by_octet(void **state)
{
    (void)state;
    assert_int_equal(slice_compare(SLICE(""), SLICE("")), 0);
    assert_true(slice_compare(SLICE("a"), SLICE("ab")) < 0);
    assert_true(slice_compare(SLICE("b"), SLICE("ab")) > 0);
    assert_true(slice_compare(SLICE("a"), SLICE("\xc3")) < 0);
    assert_true(slice_compare(SLICE("Z"), SLICE("a")) < 0);
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_trim(SLICE(" \t\r\n a b \n")), SLICE("a b")));
    assert_int_equal(slice_trim(SLICE(" \t ")).size, 0);
    assert_int_equal(slice_trim((struct slice){ NULL, 0 }).size, 0);
}

static void test_numbers_are_digits_alone_and_bounded(void **state)
{
    static const char *const bad[] = { "",    "-1",  "+1",
                                       " 1",  "1 ",  "1x",
                                       "0x1", "256", "18446744073709551616" };
    unsigned long long value = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(slice_to_u64(slice_of(bad[i]), 255, &value));
    assert_false(slice_to_u64(SLICE("18446744073709551616"), UINT64_MAX, &value));
    assert_false(slice_to_u64(SLICE("99999999999999999999"), UINT64_MAX, &value));
    assert_false(slice_to_u64(SLICE("5"), 4, &value));
    assert_int_equal(value, 77);
    assert_true(slice_to_u64(SLICE("18446744073709551615"), UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
    assert_true(slice_to_u64(SLICE("0255"), 255, &value));
    assert_int_equal(value, 255);
    assert_true(slice_to_u64(SLICE("0"), 0, &value));
    assert_int_equal(value, 0);
}

static void test_every_error_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = ERROR_NONE; a <= ERROR_CONFIG; a++) {
        for (int b = ERROR_NONE; b < a; b++)
            assert_string_not_equal(error_text((enum error)a), error_text((enum error)b));
    }
    assert_string_equal(error_text((enum error)99), "unknown error");
}

static void test_clocks_go_forward(void **state)
{
    uint64_t mono = clock_mono_ms(), boot = clock_boot_ms();

    (void)state;
    assert_true(clock_mono_ms() >= mono);
    assert_true(boot + 1 >= mono); /* it includes what the other slept through */
    assert_true(clock_unix_s() > 1700000000 && clock_unix_ms() / 1000 - clock_unix_s() <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_and_nocase),
        cmocka_unit_test(test_compare_is_by_octet),
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_numbers_are_digits_alone_and_bounded),
        cmocka_unit_test(test_every_error_has_a_name_of_its_own),
        cmocka_unit_test(test_clocks_go_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
