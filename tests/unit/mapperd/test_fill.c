/* SPDX-License-Identifier: Apache-2.0 */
/* What is read again while a new generation is filled: who writes it, whoever reads it or the range
 * that will come to it. Written by neither, a change is lost; written too early, the range that
 * appends it fails. */
#include "mapperd/feed_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct fill fill_at(enum fill_table table, struct slice frontier)
{
    static char a_store;
    struct fill fill = { .store = (struct store *)&a_store, .table = table };
    record_key_start(&fill.frontier);
    record_key_add(&fill.frontier, frontier);
    return fill;
}

static void test_a_key_up_to_the_frontier_is_covered_and_none_above(void **state)
{
    (void)state;
    struct fill fill = fill_at(FILL_USER, SLICE("m@example.org"));
    assert_true(fill_covers(&fill, STORE_USER, SLICE("a@example.org")));
    assert_true(fill_covers(&fill, STORE_USER, SLICE("m@example.org")));
    assert_true(fill_covers(&fill, STORE_USER, SLICE("m@example.or")));
    assert_false(fill_covers(&fill, STORE_USER, SLICE("m@example.orgs")));
    assert_false(fill_covers(&fill, STORE_USER, SLICE("n@example.org")));
}

static void test_tables_before_are_covered_whole_and_those_behind_not_at_all(void **state)
{
    static const enum store_table TABLES[] = { STORE_TRUST,   STORE_DOMAIN, STORE_RULES,
                                               STORE_USER,    STORE_PEER,   STORE_CREDENTIAL,
                                               STORE_BLOCKED, STORE_BINDING };
    (void)state;
    for (int at = FILL_TRUST; at <= FILL_DONE; at++) {
        struct fill none_yet = fill_at((enum fill_table)at, SLICE(""));
        for (int t = 0; t < FILL_DONE; t++)
            assert_int_equal(fill_covers(&none_yet, TABLES[t], SLICE("\1")), t < at);
    }
    struct fill none = { .store = NULL, .table = FILL_TRUST };
    assert_true(fill_covers(&none, STORE_BINDING, SLICE("z@example.org")));
}

/* The copy goes by whole addresses of record; in the store an order of hashes follows them. */
static void test_of_an_address_of_record_all_bindings_are_covered_or_none(void **state)
{
    (void)state;
    struct fill fill = fill_at(FILL_BINDING, SLICE("m@example.org\0"));
    assert_true(fill_covers(&fill, STORE_BINDING, SLICE("a@example.org\0hash")));
    assert_true(fill_covers(&fill, STORE_BINDING, SLICE("m@example.org\0\377\377")));
    assert_false(fill_covers(&fill, STORE_BINDING, SLICE("n@example.org\0\1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_up_to_the_frontier_is_covered_and_none_above),
        cmocka_unit_test(test_tables_before_are_covered_whole_and_those_behind_not_at_all),
        cmocka_unit_test(test_of_an_address_of_record_all_bindings_are_covered_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
