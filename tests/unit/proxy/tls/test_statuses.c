/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's table of certificates' statuses against a desk that hears, or has no room. */
#include "proxy/tls/statuses.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW 2000000000u

struct world {
    struct statuses *statuses;
    bool full; /* the desk */
    unsigned holds, releases, questions, told;
};

static bool on_wish(void *owner, struct status_wish *wish)
{
    struct world *w = owner;
    if (w->full)
        return false;
    w->holds += wish->held;
    w->releases += !wish->held;
    w->questions += wish->question != NULL;
    assert_int_equal(wish->worker, 3);
    status_wish_free(wish);
    return true;
}

static void on_told(void *owner, struct status_holder *holder)
{
    ((struct world *)owner)->told++;
    assert_non_null(holder->entry);
}

static struct world w;
static struct status_key key, other;

static int set_up(void **state)
{
    (void)state;
    const struct statuses_user user = { &w, on_wish, on_told };
    w = (struct world){ .full = false };
    status_key_of(&key, "device", (const unsigned char *)"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    status_key_of(&other, "corp", (const unsigned char *)"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    return statuses_new(3, &user, &w.statuses) != ERROR_NONE;
}

static int tear_down(void **state)
{
    (void)state;
    statuses_free(w.statuses);
    return 0;
}

static struct ocsp_question *question(void)
{
    return mem_zero(1, sizeof(struct ocsp_question) + 1);
}

static void hold(struct status_holder *holder, const struct status_key *of)
{
    assert_int_equal(statuses_hold(w.statuses, of, question(), holder), ERROR_NONE);
}

static void say(const struct status_key *of, enum ocsp_status said)
{
    const struct status_word word = { *of, { said, NOW - 10, NOW + 10 } };
    statuses_told(w.statuses, &word);
}

static bool is_over(const struct status_holder *holder)
{
    bool over;
    (void)status_known(holder, &over);
    return over;
}

static enum ocsp_status said(const struct status_holder *holder)
{
    bool over;
    return status_known(holder, &over)->said;
}

static void test_a_certificate_is_asked_about_once_and_all_that_hold_it_hear(void **state)
{
    (void)state;
    struct status_holder a = { 0 }, b = { 0 }, c = { 0 };
    hold(&a, &key);
    assert_int_equal(w.holds, 1);
    assert_int_equal(w.questions, 1);
    assert_false(is_over(&a));
    assert_int_equal(statuses_hold(w.statuses, &key, NULL, &b), ERROR_NONE);
    assert_int_equal(w.holds, 1);
    hold(&c, &other);
    say(&key, OCSP_STATUS_GOOD);
    assert_int_equal(w.told, 2);
    assert_int_equal(said(&a), OCSP_STATUS_GOOD);
    assert_true(is_over(&b));
    assert_false(is_over(&c));
    statuses_release(w.statuses, &a);
    assert_int_equal(w.releases, 0);
    say(&key, OCSP_STATUS_REVOKED);
    assert_int_equal(w.told, 3);
    statuses_release(w.statuses, &b);
    assert_int_equal(w.releases, 1);
    statuses_release(w.statuses, &b); /* it holds nothing */
    statuses_release(w.statuses, &c);
    assert_int_equal(w.releases, 2);
}

static void test_what_nobody_holds_is_kept_for_tickets_as_long_as_it_lasts(void **state)
{
    (void)state;
    struct status_holder a = { 0 };
    assert_false(statuses_good(NULL, &key, NOW));
    assert_false(statuses_good(w.statuses, &key, NOW));
    hold(&a, &key);
    assert_false(statuses_good(w.statuses, &key, NOW));
    say(&key, OCSP_STATUS_GOOD);
    assert_true(statuses_good(w.statuses, &key, NOW));
    assert_false(statuses_good(w.statuses, &other, NOW));
    statuses_release(w.statuses, &a);
    assert_true(statuses_good(w.statuses, &key, NOW + 9));
    assert_false(statuses_good(w.statuses, &key, NOW + 10));
    say(&key, OCSP_STATUS_REVOKED); /* is told to all workers */
    assert_false(statuses_good(w.statuses, &key, NOW));
    assert_int_equal(w.told, 1);
    hold(&a, &key);
    assert_int_equal(said(&a), OCSP_STATUS_REVOKED);
    assert_false(is_over(&a)); /* it is asked about anew */
    assert_int_equal(w.questions, 2);
    statuses_release(w.statuses, &a);
}

static void test_a_desk_without_room_is_no_answer_and_hears_later(void **state)
{
    (void)state;
    struct status_holder a = { 0 };
    w.full = true;
    hold(&a, &key);
    assert_true(is_over(&a));
    assert_int_equal(said(&a), OCSP_STATUS_NONE);
    statuses_retry(w.statuses);
    assert_int_equal(w.holds, 0);
    w.full = false;
    statuses_retry(w.statuses);
    assert_int_equal(w.holds, 1);
    assert_int_equal(w.questions, 1);
    statuses_retry(w.statuses);
    assert_int_equal(w.holds, 1);
    w.full = true;
    statuses_release(w.statuses, &a);
    w.full = false;
    statuses_retry(w.statuses);
    assert_int_equal(w.releases, 1);
}

/* Held again before the desk could be told that it was not. */
static void test_a_holder_that_comes_back_has_the_desk_asked(void **state)
{
    (void)state;
    struct status_holder a = { 0 };
    hold(&a, &key);
    w.full = true;
    statuses_release(w.statuses, &a);
    w.full = false;
    hold(&a, &key);
    assert_int_equal(w.holds, 2);
    assert_int_equal(w.questions, 2);
    assert_false(is_over(&a));
    statuses_retry(w.statuses);
    assert_int_equal(w.releases, 0);
    statuses_release(w.statuses, &a);
}

static void test_a_desk_that_was_not_told_of_an_end_is_told_when_it_speaks(void **state)
{
    (void)state;
    say(&key, OCSP_STATUS_GOOD);
    assert_int_equal(w.releases, 1);
    assert_int_equal(w.told, 0);
}

static void test_a_question_that_comes_later_is_asked(void **state)
{
    (void)state;
    struct status_holder a = { 0 }, b = { 0 };
    assert_int_equal(statuses_hold(w.statuses, &key, NULL, &a), ERROR_NONE);
    say(&key, OCSP_STATUS_NONE); /* the desk had no question */
    assert_true(is_over(&a));
    hold(&b, &key);
    assert_int_equal(w.questions, 1);
    assert_false(is_over(&b));
    statuses_release(w.statuses, &a);
    statuses_release(w.statuses, &b);
}

static void test_what_is_kept_is_bounded(void **state)
{
    (void)state;
    struct status_holder a = { 0 };
    struct status_key some = key;
    for (unsigned i = 0; i < STATUSES_KEPT_MAX + 2; i++) {
        memcpy(some.certificate, &i, sizeof(i));
        hold(&a, &some);
        say(&some, OCSP_STATUS_GOOD);
        statuses_release(w.statuses, &a);
    }
    assert_true(statuses_good(w.statuses, &some, NOW));
    for (unsigned i = 0; i < 3; i++) {
        memcpy(some.certificate, &i, sizeof(i));
        assert_int_equal(statuses_good(w.statuses, &some, NOW), i == 2);
    }
}

static void test_without_memory_nothing_is_held(void **state)
{
    (void)state;
    struct status_holder a = { 0 };
    unsigned failures = 0;
    for (unsigned n = 1;; n++) {
        struct ocsp_question *q = question();
        mem_fail_nth_for_tests(n);
        enum error e = statuses_hold(w.statuses, &key, q, &a);
        bool failed = mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        if (e != ERROR_NONE)
            assert_null(a.entry);
        statuses_release(w.statuses, &a);
        if (!failed)
            break;
        failures++;
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_certificate_is_asked_about_once_and_all_that_hold_it_hear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_what_nobody_holds_is_kept_for_tickets_as_long_as_it_lasts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_desk_without_room_is_no_answer_and_hears_later,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_holder_that_comes_back_has_the_desk_asked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_desk_that_was_not_told_of_an_end_is_told_when_it_speaks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_question_that_comes_later_is_asked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_kept_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory_nothing_is_held, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
