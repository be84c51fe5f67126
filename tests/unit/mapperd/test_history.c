/* SPDX-License-Identifier: Apache-2.0 */
/* Which server may be read, by what was applied before. */
#include "mapperd/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum history judge(struct history_facts facts)
{
    const char *why = NULL;
    enum history history = history_judge(&facts, &why);
    assert_true((history == HISTORY_HELD) == (why == NULL));
    return history;
}

static void test_zero_is_not_held(void **state)
{
    (void)state;
    assert_int_equal(HISTORY_BEHIND, 0);
    assert_int_not_equal(HISTORY_HELD, 0);
}

static void test_T51_a_primary_without_what_was_applied_is_filled_from(void **state)
{
    (void)state;
    struct history_facts good = { .server_lsn = 5, .applied_lsn = 100 };
    /* After a crash a primary may write at a lower position than before. */
    assert_int_equal(judge(good), HISTORY_HELD);
    struct history_facts facts = good;
    facts.missing = 1;
    assert_int_equal(judge(facts), HISTORY_LOST);
    facts = good;
    facts.below_floor = true;
    assert_int_equal(judge(facts), HISTORY_LOST);
    facts = good;
    facts.ahead = true;
    assert_int_equal(judge(facts), HISTORY_LOST);
    facts = good;
    facts.refill = true;
    assert_int_equal(judge(facts), HISTORY_LOST);
}

/* Whatever else is to be said of it: until it has replayed what was applied, nothing is read from
 * it, a fill neither. */
static void test_T51_a_standby_that_has_not_replayed_enough_is_waited_for(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 16; bits++) {
        struct history_facts facts = { .standby = true,
                                       .server_lsn = 99,
                                       .applied_lsn = 100,
                                       .below_floor = bits & 1,
                                       .ahead = bits & 2,
                                       .refill = bits & 4,
                                       .missing = bits & 8 ? 3 : 0 };
        assert_int_equal(judge(facts), HISTORY_BEHIND);
        facts.contradicted = 1; /* it will never be there */
        facts.missing = 1;
        assert_int_equal(judge(facts), HISTORY_LOST);
    }
}

static void test_T51_a_standby_past_the_position_that_lacks_a_statement_is_filled_from(void **state)
{
    (void)state;
    struct history_facts facts = { .standby = true, .server_lsn = 100, .applied_lsn = 100 };
    assert_int_equal(judge(facts), HISTORY_HELD);
    /* At the very position: the commit's record may be the next one. */
    facts.missing = 1;
    assert_int_equal(judge(facts), HISTORY_BEHIND);
    facts.missing = 0;
    facts.ahead = true;
    assert_int_equal(judge(facts), HISTORY_BEHIND);
    facts.server_lsn = 101;
    assert_int_equal(judge(facts), HISTORY_LOST);
    facts.ahead = false;
    facts.missing = 1;
    assert_int_equal(judge(facts), HISTORY_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_not_held),
        cmocka_unit_test(test_T51_a_primary_without_what_was_applied_is_filled_from),
        cmocka_unit_test(test_T51_a_standby_that_has_not_replayed_enough_is_waited_for),
        cmocka_unit_test(
            test_T51_a_standby_past_the_position_that_lacks_a_statement_is_filled_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
