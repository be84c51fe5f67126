/* SPDX-License-Identifier: Apache-2.0 */
/* Nonces: every state of nonce.h's table, and the window of counts against a plain model. */
#include "proxy/authorization/nonce.h"

#include "common/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIFETIME_MS 1000

static struct nonce_key key;

static int set_up(void **state)
{
    (void)state;
    random_seed_for_tests(7);
    nonce_key_draw(&key);
    return 0;
}

static struct slice make(struct nonces *nonces, uint64_t now, char out[NONCE_SIZE + 1])
{
    assert_int_equal(nonce_make(&key, nonces, now, out), ERROR_NONE);
    assert_int_equal(strlen(out), NONCE_SIZE);
    return slice_of(out);
}

static enum nonce_verdict look_at(const struct nonces *nonces, struct slice nonce, uint32_t count,
                                  uint64_t now)
{
    uint32_t number;

    return nonce_look(&key, nonces, nonce, count, now, LIFETIME_MS, &number);
}

/* A request whose password is right. */
static enum nonce_verdict use(struct nonces *nonces, struct slice nonce, uint32_t count,
                              uint64_t now)
{
    uint32_t number;
    enum nonce_verdict verdict = nonce_look(&key, nonces, nonce, count, now, LIFETIME_MS, &number);

    if (verdict == NONCE_GOOD)
        assert_true(nonce_spend(nonces, number, count));
    return verdict;
}

static void test_T18_a_count_is_good_once(void **state)
{
    struct nonces nonces = { .connection = 1 };
    char text[NONCE_SIZE + 1];
    struct slice nonce = make(&nonces, 5, text);
    uint32_t number;

    (void)state;
    assert_int_equal(look_at(&nonces, nonce, 1, 5), NONCE_GOOD);
    assert_int_equal(look_at(&nonces, nonce, 1, 5), NONCE_GOOD); /* looking spends nothing */
    assert_int_equal(use(&nonces, nonce, 1, 5), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, 1, 5), NONCE_REPLAYED);
    assert_int_equal(use(&nonces, nonce, 3, 5), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, 2, 5), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, 2, 5), NONCE_REPLAYED);
    assert_int_equal(use(&nonces, nonce, 3, 5), NONCE_REPLAYED);
    assert_int_equal(use(&nonces, nonce, 0, 5), NONCE_REPLAYED);
    /* Two requests with one count, both looked at before one is proved. */
    assert_int_equal(nonce_look(&key, &nonces, nonce, 9, 5, LIFETIME_MS, &number), NONCE_GOOD);
    assert_true(nonce_spend(&nonces, number, 9));
    assert_false(nonce_spend(&nonces, number, 9));
}

static void test_a_nonce_ends_with_its_lifetime(void **state)
{
    struct nonces nonces = { .connection = 1 };
    char text[NONCE_SIZE + 1];
    struct slice nonce = make(&nonces, 100, text);

    (void)state;
    assert_int_equal(look_at(&nonces, nonce, 1, 100 + LIFETIME_MS - 1), NONCE_GOOD);
    assert_int_equal(look_at(&nonces, nonce, 1, 100 + LIFETIME_MS), NONCE_STALE);
    assert_int_equal(look_at(&nonces, nonce, 1, 99), NONCE_STALE); /* made in the future */
    assert_int_equal(use(&nonces, nonce, 1, 100), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, 1, 100 + LIFETIME_MS), NONCE_STALE);
}

static void test_T18_a_nonce_of_another_connection_or_run_is_stale(void **state)
{
    struct nonces one = { .connection = 1 }, two = { .connection = 2 };
    struct nonce_key other;
    char text[NONCE_SIZE + 1];
    struct slice nonce = make(&one, 5, text);
    uint32_t number;

    (void)state;
    (void)make(&two, 5, (char[NONCE_SIZE + 1]){ "" });
    assert_int_equal(look_at(&two, nonce, 1, 5), NONCE_STALE);
    nonce_key_draw(&other);
    assert_int_equal(nonce_look(&other, &one, nonce, 1, 5, LIFETIME_MS, &number), NONCE_STALE);
    assert_int_equal(look_at(&one, nonce, 1, 5), NONCE_GOOD);
}

static void test_T18_a_forged_nonce_is_stale(void **state)
{
    struct nonces nonces = { .connection = 1 };
    char text[NONCE_SIZE + 2];
    struct slice nonce = make(&nonces, 5, text);

    (void)state;
    for (size_t i = 0; i < NONCE_SIZE; i++) {
        char kept = text[i];

        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            if (text[i] != kept)
                assert_int_equal(look_at(&nonces, nonce, 1, 5), NONCE_STALE);
        }
        text[i] = kept;
    }
    assert_int_equal(look_at(&nonces, (struct slice){ text, NONCE_SIZE - 1 }, 1, 5), NONCE_STALE);
    text[NONCE_SIZE] = 'A';
    assert_int_equal(look_at(&nonces, (struct slice){ text, NONCE_SIZE + 1 }, 1, 5), NONCE_STALE);
    assert_int_equal(look_at(&nonces, SLICE(""), 1, 5), NONCE_STALE);
    assert_int_equal(look_at(&nonces, nonce, 1, 5), NONCE_GOOD);
}

static void test_what_is_pushed_out_never_comes_back(void **state)
{
    struct nonces nonces = { .connection = 1 };
    char text[NONCE_WINDOWS + 3][NONCE_SIZE + 1];
    struct slice nonce[NONCE_WINDOWS + 3];

    (void)state;
    for (size_t i = 0; i < NONCE_WINDOWS + 3; i++)
        nonce[i] = make(&nonces, 5, text[i]);
    for (size_t i = 2; i < NONCE_WINDOWS + 2; i++)
        assert_int_equal(use(&nonces, nonce[i], 1, 5), NONCE_GOOD);
    /* All windows are taken by newer ones: an older nonce finds none. */
    {
        uint32_t number;

        assert_int_equal(nonce_look(&key, &nonces, nonce[1], 1, 5, LIFETIME_MS, &number),
                         NONCE_GOOD);
        assert_false(nonce_spend(&nonces, number, 1));
    }
    assert_int_equal(use(&nonces, nonce[NONCE_WINDOWS + 2], 1, 5), NONCE_GOOD);
    for (size_t i = 0; i <= 2; i++)
        assert_int_equal(look_at(&nonces, nonce[i], 7, 5), NONCE_STALE);
    for (size_t i = 3; i < NONCE_WINDOWS + 3; i++) {
        assert_int_equal(look_at(&nonces, nonce[i], 1, 5), NONCE_REPLAYED);
        assert_int_equal(look_at(&nonces, nonce[i], 2, 5), NONCE_GOOD);
    }
}

/* Against a table of all counts. */
static void test_the_window_spends_each_count_once_and_none_that_fell_out_of_it(void **state)
{
    enum { COUNTS = 400 };
    struct nonces nonces = { .connection = 1 };
    bool spent[COUNTS] = { false };
    char text[NONCE_SIZE + 1];
    struct slice nonce = make(&nonces, 5, text);
    uint32_t top = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t span = i / 60 + 1, count = 1 + (uint32_t)(random_u64() % span);
        bool fresh = !spent[count] && (count > top || top - count < NONCE_WINDOW_BITS);

        assert_int_equal(use(&nonces, nonce, count, 5), fresh ? NONCE_GOOD : NONCE_REPLAYED);
        spent[count] = true;
        if (count > top)
            top = count;
    }
    assert_int_equal(use(&nonces, nonce, UINT32_MAX, 5), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, UINT32_MAX, 5), NONCE_REPLAYED);
    assert_int_equal(use(&nonces, nonce, UINT32_MAX - 63, 5), NONCE_GOOD);
    assert_int_equal(use(&nonces, nonce, UINT32_MAX - 64, 5), NONCE_REPLAYED);
}

static void test_the_numbers_of_a_connection_end(void **state)
{
    struct nonces nonces = { .connection = 1, .last = UINT32_MAX - 1 };
    char text[NONCE_SIZE + 1];

    (void)state;
    assert_int_equal(use(&nonces, make(&nonces, 5, text), 1, 5), NONCE_GOOD);
    assert_int_equal(nonce_make(&key, &nonces, 5, text), ERROR_TOO_LARGE);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T18_a_count_is_good_once),
        cmocka_unit_test(test_a_nonce_ends_with_its_lifetime),
        cmocka_unit_test(test_T18_a_nonce_of_another_connection_or_run_is_stale),
        cmocka_unit_test(test_T18_a_forged_nonce_is_stale),
        cmocka_unit_test(test_what_is_pushed_out_never_comes_back),
        cmocka_unit_test(test_the_window_spends_each_count_once_and_none_that_fell_out_of_it),
        cmocka_unit_test(test_the_numbers_of_a_connection_end),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
