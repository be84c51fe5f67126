/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/cache.h"

#include "common/mem.h"
#include "proxy/authorization/tag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct cache cache;

/* A PEER answer for "device CN". */
static struct answer *make_answer(const char *cn, bool known)
{
    struct buffer out;
    struct resp_value value;
    struct answer *answer = NULL;
    char key[64];
    size_t used;

    buffer_init(&out, 0);
    resp_add_array(&out, known ? 5 : 4);
    resp_add_integer(&out, 1);
    resp_add_integer(&out, 1);
    resp_add_bulk_text(&out, known ? "known" : "unknown");
    resp_add_bulk_text(&out, cn);
    if (known)
        resp_add_bulk_text(&out, "a@x");
    assert_int_equal(
        resp_read_value(buffer_slice(&out), &(struct resp_limits){ 65536, 64 }, &value, &used),
        ERROR_NONE);
    snprintf(key, sizeof key, "device %s", cn);
    if (answer_read(LOOKUP_PEER, slice_of(key), &value, 0, &answer) != ERROR_NONE)
        answer = NULL;
    buffer_free(&out);
    return answer;
}

static void put(const char *cn, bool known)
{
    struct answer *answer = make_answer(cn, known);

    cache_put(&cache, answer, 100);
    answer_release(answer);
}

static bool has(const char *cn)
{
    char key[64];
    struct answer *answer;

    snprintf(key, sizeof key, "device %s", cn);
    answer = cache_get(&cache, LOOKUP_PEER, slice_of(key), 100);
    answer_release(answer);
    return answer != NULL;
}

static int setup(void **state)
{
    (void)state;
    cache_init(&cache, 100);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cache_free(&cache);
    return 0;
}

static void test_oldest_use_goes_first(void **state)
{
    char cn[16];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(cn, sizeof cn, "%d", i);
        put(cn, true);
    }
    assert_true(has("0"));
    put("new", true);
    assert_true(has("0"));
    assert_false(has("1"));
    assert_int_equal(cache.known.count, 100);
}

static void test_T35_unknown_names_push_no_known_one_out(void **state)
{
    char cn[16];

    (void)state;
    put("known", true);
    for (int i = 0; i < 100000; i++) {
        snprintf(cn, sizeof cn, "u%d", i);
        put(cn, false);
    }
    assert_true(has("known"));
    assert_int_equal(cache.unknown.count, CACHE_UNKNOWN_MIN);
    assert_true(has("u99999"));
    assert_false(has("u1"));
}

static void test_unknown_that_becomes_known_changes_its_list(void **state)
{
    (void)state;
    put("a", false);
    put("a", true);
    assert_int_equal(cache.unknown.count, 0);
    assert_int_equal(cache.known.count, 1);
    put("a", false);
    assert_int_equal(cache.known.count, 0);
    assert_int_equal(cache.known.bytes, 0);
}

static void test_tag_drops_what_rests_on_it(void **state)
{
    (void)state;
    put("a", true);
    put("b", true);
    put("c", false);
    cache_drop_tag(&cache, tag_peer(SLICE("device"), SLICE("a")));
    assert_false(has("a"));
    assert_true(has("b"));
    cache_drop_tag(&cache, tag_peer(SLICE("corp"), SLICE("b")));
    assert_true(has("b"));
    cache_drop_tag(&cache, tag_store(SLICE("device")));
    assert_false(has("b"));
    assert_false(has("c"));
    put("a", true);
    cache_drop_tag(&cache, TAG_ALL);
    assert_false(has("a"));
}

static void test_bytes_are_bounded_too(void **state)
{
    (void)state;
    put("a", true);
    cache.known.bytes_limit = cache.known.bytes + 10;
    put("b", true);
    assert_true(has("b"));
    assert_false(has("a"));
    cache.known.bytes_limit = 10;
    put("c", true);
    assert_false(has("c"));
    assert_true(has("b")); /* what is too large itself pushes nobody out */
}

static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 20; n++) {
        struct answer *answer = make_answer("a", true);

        mem_fail_nth_for_tests(n);
        cache_put(&cache, answer, 100);
        mem_fail_nth_for_tests(0);
        answer_release(answer);
        cache_drop_all(&cache);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_oldest_use_goes_first),
        TEST(test_T35_unknown_names_push_no_known_one_out),
        TEST(test_unknown_that_becomes_known_changes_its_list),
        TEST(test_tag_drops_what_rests_on_it),
        TEST(test_bytes_are_bounded_too),
        TEST(test_each_allocation_may_fail),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
