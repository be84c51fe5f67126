/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a route is asked. */
#include "proxy/route/next_hop.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NONE 99

static struct config_route routes[] = { { .name = "one", .index = 0, .server_count = 1 },
                                        { .name = "three", .index = 1, .server_count = 3 } };
static const struct config config = { .routes = routes, .route_count = 2 };
static struct next_hops *hops;

static int begin(void **state)
{
    (void)state;
    hops = next_hops_new(&config);
    return hops ? 0 : 1;
}

static int end(void **state)
{
    (void)state;
    next_hops_free(hops);
    return 0;
}

static unsigned chosen(unsigned route, unsigned tried, uint64_t now_mono_ms)
{
    unsigned server = NONE;

    return next_hop_choose(hops, &routes[route], tried, now_mono_ms, &server) ? server : NONE;
}

static void test_the_order_of_the_file_counts_and_what_was_tried_is_not_asked_again(void **state)
{
    (void)state;
    assert_int_equal(chosen(1, 0, 5), 0);
    assert_int_equal(chosen(1, 1, 5), 1);
    assert_int_equal(chosen(1, 1 | 4, 5), 1);
    assert_int_equal(chosen(1, 1 | 2, 5), 2);
    assert_int_equal(chosen(1, 1 | 2 | 4, 5), NONE);
    assert_int_equal(chosen(0, 1, 5), NONE);
}

static void test_who_has_failed_comes_after_the_others_until_its_time_is_over(void **state)
{
    (void)state;
    next_hop_failed(hops, &routes[1], 0, 100);
    assert_int_equal(chosen(1, 0, 99), 1);
    assert_int_equal(chosen(1, 2, 99), 2);
    assert_int_equal(chosen(1, 2 | 4, 99), 0); /* the last one that is left */
    assert_int_equal(chosen(1, 0, 100), 0);
    assert_int_equal(chosen(0, 0, 99), 0); /* of another route */
}

static void test_where_all_have_failed_the_first_to_come_back_is_asked(void **state)
{
    (void)state;
    next_hop_failed(hops, &routes[1], 0, 300);
    next_hop_failed(hops, &routes[1], 1, 200);
    next_hop_failed(hops, &routes[1], 2, 250);
    assert_int_equal(chosen(1, 0, 10), 1);
    assert_int_equal(chosen(1, 2, 10), 2);
    assert_int_equal(chosen(1, 0, 260), 1);
    next_hop_failed(hops, &routes[1], 1, UINT64_MAX - 1);
    assert_int_equal(chosen(1, 0, 10), 2);
}

static void test_who_answers_is_well_again(void **state)
{
    (void)state;
    next_hop_failed(hops, &routes[1], 0, 100);
    next_hop_answered(hops, &routes[1], 0);
    assert_int_equal(chosen(1, 0, 10), 0);
}

static void test_without_memory_there_is_none(void **state)
{
    (void)state;
    mem_fail_nth_for_tests(1);
    assert_null(next_hops_new(&config));
    mem_fail_nth_for_tests(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_the_order_of_the_file_counts_and_what_was_tried_is_not_asked_again, begin, end),
        cmocka_unit_test_setup_teardown(
            test_who_has_failed_comes_after_the_others_until_its_time_is_over, begin, end),
        cmocka_unit_test_setup_teardown(test_where_all_have_failed_the_first_to_come_back_is_asked,
                                        begin, end),
        cmocka_unit_test_setup_teardown(test_who_answers_is_well_again, begin, end),
        cmocka_unit_test(test_without_memory_there_is_none),
    };

    return cmocka_run_group_tests_name("next_hop", tests, NULL, NULL);
}
