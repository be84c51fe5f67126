/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons: names are unique, statuses are SIP's, nothing unknown is allowed. */
#include "common/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names_are_unique_words(void **state)
{
    (void)state;
    for (int a = 0; a < REASON_COUNT; a++) {
        const char *name = reason_name((enum reason)a);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(name));
        assert_true(strlen(name) > 0);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(name, reason_name((enum reason)b));
    }
}

static void test_statuses_and_texts(void **state)
{
    (void)state;
    for (int i = 0; i < REASON_COUNT; i++) {
        int status = reason_status((enum reason)i);
        if (i == REASON_ALLOWED)
            assert_int_equal(status, 0);
        else
            assert_in_range(status, 400, 699);
        /* Goes into a quoted string of a Warning header as it is. */
        assert_null(strpbrk(reason_text((enum reason)i), "\"\\\r\n"));
        assert_true(strlen(reason_text((enum reason)i)) > 0);
        assert_true(strlen(reason_remedy((enum reason)i)) > 0);
    }
}

static void test_zero_and_the_unknown_are_no_yes(void **state)
{
    (void)state;
    assert_int_equal(REASON_NONE, 0);
    assert_int_equal(reason_status(REASON_NONE), 403);
    assert_int_equal(reason_status((enum reason) - 1), 403);
    assert_int_equal(reason_status((enum reason)REASON_COUNT), 403);
    assert_string_equal(reason_name((enum reason)1000), "none");
}

/* HOLDLINE_WRITE=1 writes it anew. */
static void test_docs_reasons_is_made_from_the_table(void **state)
{
    const char *root = getenv("HOLDLINE_ROOT");
    char path[4096], *wanted = NULL, got[65536];
    size_t wanted_size, got_size;
    FILE *file = open_memstream(&wanted, &wanted_size);

    (void)state;
    snprintf(path, sizeof(path), "%s/docs/reasons.md", root ? root : ".");
    reason_print_all(file);
    fclose(file);
    if (getenv("HOLDLINE_WRITE")) {
        assert_non_null(file = fopen(path, "w"));
        fwrite(wanted, 1, wanted_size, file);
        fclose(file);
    }
    assert_non_null(file = fopen(path, "r"));
    got_size = fread(got, 1, sizeof(got), file);
    fclose(file);
    if (got_size != wanted_size || memcmp(got, wanted, got_size) != 0)
        fail_msg("docs/reasons.md is not what common/reason.def says: HOLDLINE_WRITE=1 "
                 "build/asan/tests/unit/common/test_reason writes it");
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique_words),
        cmocka_unit_test(test_statuses_and_texts),
        cmocka_unit_test(test_docs_reasons_is_made_from_the_table),
        cmocka_unit_test(test_zero_and_the_unknown_are_no_yes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
