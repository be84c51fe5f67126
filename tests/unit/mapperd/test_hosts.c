/* SPDX-License-Identifier: Apache-2.0 */
/* Which host of several an attempt begins with. */
#include "mapperd/hosts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_each_turn_begins_with_the_next_and_leaves_none_out(void **state)
{
    static const struct {
        const char *list;
        unsigned turn;
        const char *rotated;
    } CASES[] = {
        { "a", 0, "a" },         { "a", 7, "a" },         { "", 3, "" },
        { "a,b,c", 0, "a,b,c" }, { "a,b,c", 1, "b,c,a" }, { "a,b,c", 2, "c,a,b" },
        { "a,b,c", 3, "a,b,c" }, { "a,,c", 1, ",c,a" },   { ",b", 1, "b," },
        { "5432,", 1, ",5432" },
    };
    struct buffer out;
    (void)state;
    buffer_init(&out, 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        buffer_reset(&out);
        hosts_rotate(&out, slice_of(CASES[i].list), CASES[i].turn);
        assert_string_equal(buffer_slice(&out).data, CASES[i].rotated);
    }
    buffer_free(&out);
}

/* Nothing answers at these: only what libpq has read is looked at. */
static void test_hosts_addresses_and_ports_turn_together(void **state)
{
    (void)state;
    PGconn *c = hosts_connect("host=/nowhere/a,/nowhere/b port=1,2 dbname=x user=y", 1);
    assert_non_null(c);
    assert_string_equal(PQdb(c), "x");
    assert_string_equal(PQuser(c), "y");
    /* All have failed at once; the last that was tried is the first of the text. */
    assert_non_null(strstr(PQerrorMessage(c), "/nowhere/b/.s.PGSQL.2"));
    assert_non_null(strstr(PQerrorMessage(c), "/nowhere/a/.s.PGSQL.1"));
    assert_true(strstr(PQerrorMessage(c), "/nowhere/b") < strstr(PQerrorMessage(c), "/nowhere/a"));
    PQfinish(c);
    c = hosts_connect("host=/nowhere/a application_name=mine", 0);
    PQconninfoOption *options = PQconninfo(c);
    for (PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (strcmp(o->keyword, "application_name") == 0)
            assert_string_equal(o->val, "mine");
        else if (strcmp(o->keyword, "fallback_application_name") == 0)
            assert_string_equal(o->val, "holdline-mapperd");
    PQconninfoFree(options);
    PQfinish(c);
    c = hosts_connect("no such = option", 1);
    assert_int_equal(PQstatus(c), CONNECTION_BAD);
    PQfinish(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_turn_begins_with_the_next_and_leaves_none_out),
        cmocka_unit_test(test_hosts_addresses_and_ports_turn_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
