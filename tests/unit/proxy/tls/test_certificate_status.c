/* SPDX-License-Identifier: Apache-2.0 */
/* The table of what is known against what the store asks for, each cell; which word takes the place
 * of which; what can be a responder's URL. */
#include "proxy/tls/certificate_status.h"
#include "proxy/tls/ocsp_question.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW    2000000000u
#define FUTURE (NOW + 100)

static enum status_verdict judged(enum ocsp_rule rule, int said, bool in_force, bool over)
{
    const struct certificate_status known = { (enum ocsp_status)said, NOW - 50,
                                              in_force ? NOW + 1 : NOW };
    return status_judge(rule, &known, over, NOW);
}

static void test_every_cell_of_the_table(void **state)
{
    (void)state;
    for (int said = OCSP_STATUS_NONE; said <= OCSP_STATUS_UNKNOWN; said++)
        for (int in_force = 0; in_force <= 1; in_force++)
            for (int over = 0; over <= 1; over++) {
                enum status_verdict open = STATUS_PASSES_UNANSWERED, closed = STATUS_REFUSED;
                if (in_force && said == OCSP_STATUS_GOOD)
                    open = closed = STATUS_PASSES;
                else if (in_force && said == OCSP_STATUS_REVOKED)
                    open = closed = STATUS_REFUSED;
                else if (!over)
                    open = closed = STATUS_WAITS;
                else if (said == OCSP_STATUS_REVOKED)
                    open = STATUS_REFUSED;
                assert_int_equal(judged(OCSP_IF_ANSWERED, said, in_force, over), open);
                assert_int_equal(judged(OCSP_REQUIRED, said, in_force, over), closed);
                assert_int_equal(judged(OCSP_OFF, said, in_force, over), STATUS_PASSES);
            }
}

static void test_what_is_zero_lets_nobody_in(void **state)
{
    (void)state;
    const struct certificate_status nothing = { 0 };
    assert_int_equal(status_judge((enum ocsp_rule)0, &nothing, true, NOW), 0);
    assert_int_equal(STATUS_REFUSED, 0);
    assert_int_equal(OCSP_STATUS_NONE, 0);
}

static bool takes(enum ocsp_status kept, uint64_t kept_from, enum ocsp_status found,
                  uint64_t found_from)
{
    struct certificate_status known = { kept, kept_from, FUTURE };
    const struct ocsp_answer answer = { found, found_from, FUTURE };
    bool took = status_take(&known, &answer, NOW);
    assert_int_equal(known.said, took ? found : kept);
    return took;
}

static void test_a_word_takes_the_place_of_an_older_one(void **state)
{
    (void)state;
    assert_true(takes(OCSP_STATUS_NONE, 0, OCSP_STATUS_GOOD, 1));
    assert_true(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_GOOD, NOW - 9));
    assert_false(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_GOOD, NOW - 10));
    assert_true(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_UNKNOWN, NOW - 9));
    assert_false(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_UNKNOWN, NOW - 10));
    assert_false(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_NONE, NOW));
}

/* Who stands between us and the responder has its answers of before. */
static void test_a_revocation_is_lifted_by_a_later_good_alone(void **state)
{
    (void)state;
    assert_true(takes(OCSP_STATUS_GOOD, NOW - 9, OCSP_STATUS_REVOKED, NOW - 20));
    assert_false(takes(OCSP_STATUS_REVOKED, NOW - 9, OCSP_STATUS_GOOD, NOW - 9));
    assert_false(takes(OCSP_STATUS_REVOKED, NOW - 9, OCSP_STATUS_GOOD, NOW - 10));
    assert_false(takes(OCSP_STATUS_REVOKED, NOW - 9, OCSP_STATUS_UNKNOWN, NOW));
    assert_true(takes(OCSP_STATUS_REVOKED, NOW - 9, OCSP_STATUS_GOOD, NOW - 8));
}

static void test_an_answer_counts_from_its_beginning_to_its_end(void **state)
{
    (void)state;
    uint64_t until;
    struct ocsp_answer answer = { OCSP_STATUS_GOOD, NOW - 10, NOW + 10 };
    assert_true(ocsp_in_force(&answer, NOW, &until));
    assert_int_equal(until, NOW + 10);
    assert_true(ocsp_in_force(&answer, NOW + 9, &until));
    assert_false(ocsp_in_force(&answer, NOW + 10, &until));
    assert_true(ocsp_in_force(&answer, NOW - 10 - OCSP_EARLY_MAX_S, &until));
    assert_false(ocsp_in_force(&answer, NOW - 11 - OCSP_EARLY_MAX_S, &until));
    answer.next_update_unix_s = 0; /* newer words can be had at any time: RFC 6960 4.2.2.1 */
    assert_true(ocsp_in_force(&answer, NOW, &until));
    assert_int_equal(until, NOW - 10 + OCSP_ENDLESS_S);
    assert_false(ocsp_in_force(&answer, NOW - 10 + OCSP_ENDLESS_S, &until));
    answer.status = OCSP_STATUS_NONE;
    assert_false(ocsp_in_force(&answer, NOW, &until));
}

static void test_unknown_does_not_last(void **state)
{
    (void)state;
    struct certificate_status known = { 0 };
    const struct ocsp_answer answer = { OCSP_STATUS_UNKNOWN, NOW - 1, NOW + 86400 };
    assert_true(status_take(&known, &answer, NOW));
    assert_int_equal(known.until_unix_s, NOW + STATUS_UNKNOWN_S);
}

static void test_what_can_be_a_responders_url(void **state)
{
    (void)state;
    char longest[OCSP_URL_MAX + 2] = "http://a/";
    static const char *const good[] = { "http://ocsp.example.org", "http://127.0.0.1:2560/a/b?c=d",
                                        "HTTP://[2001:db8::1]:80/", "http://a" };
    static const char *const bad[] = { "",
                                       "https://a",
                                       "ldap://a",
                                       "a",
                                       "http://",
                                       "http:///path",
                                       "http://user@a/",
                                       "http://a/#b",
                                       "http://a/b c",
                                       "http://a/\r\nX: y",
                                       "http://a:99999999/",
                                       "http://a/\x7f",
                                       "file:///etc/passwd" };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!ocsp_url_fits(good[i]))
            fail_msg("%s is none", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (ocsp_url_fits(bad[i]))
            fail_msg("%s is one", bad[i]);
    memset(longest + 9, 'x', OCSP_URL_MAX - 9);
    assert_true(ocsp_url_fits(longest));
    longest[OCSP_URL_MAX] = 'x';
    assert_false(ocsp_url_fits(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cell_of_the_table),
        cmocka_unit_test(test_what_is_zero_lets_nobody_in),
        cmocka_unit_test(test_a_word_takes_the_place_of_an_older_one),
        cmocka_unit_test(test_a_revocation_is_lifted_by_a_later_good_alone),
        cmocka_unit_test(test_an_answer_counts_from_its_beginning_to_its_end),
        cmocka_unit_test(test_unknown_does_not_last),
        cmocka_unit_test(test_what_can_be_a_responders_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
