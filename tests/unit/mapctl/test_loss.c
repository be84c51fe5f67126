/* SPDX-License-Identifier: Apache-2.0 */
/* What a revert script takes away is named, whatever stands around it. */
#include "mapctl/loss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct found {
    char text[2048];
    size_t size;
};

static void add(void *owner, const struct loss *loss)
{
    struct found *f = owner;

    f->size +=
        (size_t)snprintf(f->text + f->size, sizeof(f->text) - f->size, "%d:%s%s%s;",
                         (int)loss->kind, loss->table, *loss->column ? "." : "", loss->column);
}

static void expect(struct slice script, const char *losses)
{
    struct found found = { .size = 0 };

    loss_read(script, add, &found);
    assert_string_equal(found.text, losses);
}

static void test_each_way_to_destroy_is_seen(void **state)
{
    (void)state;
    expect(SLICE("DROP TABLE a;"), "1:a;");
    expect(SLICE("drop table if exists public.A , \"B c\", b.c.d cascade"), "1:a;1:B c;1:d;");
    expect(SLICE("ALTER TABLE ONLY t DROP COLUMN x, DROP COLUMN IF EXISTS \"Y\" CASCADE;"),
           "2:t.x;2:t.Y;");
    expect(SLICE("ALTER TABLE IF EXISTS s.t DROP CONSTRAINT c, DROP COLUMN x;"), "2:t.x;");
    expect(SLICE("DELETE FROM t WHERE a IN (SELECT 1);TRUNCATE TABLE u, v;truncate w"),
           "3:t;3:u;3:v;3:w;");
}

static void test_what_only_looks_like_it_is_not(void **state)
{
    (void)state;
    expect(SLICE(""), "");
    expect(SLICE("-- DROP TABLE a;\n/* DROP TABLE b; */ SELECT 'x; DROP TABLE c;';"), "");
    expect(SLICE("CREATE FUNCTION f() AS $$ DROP TABLE a; $$; DO $x$ DROP TABLE $$ b; $x$;"), "");
    expect(SLICE("DROP INDEX a; DROP TRIGGER t ON table_x; ALTER TABLE t DROP CONSTRAINT c;"), "");
    expect(SLICE("\"drop\" table a; SELECT 1 AS \"DROP TABLE x\";"), "");
    expect(SLICE("/* never ends; DROP TABLE a;"), "");
    expect(SLICE("DROP TABLE"), "");
    expect(SLICE("$1 DROP TABLE a"), "");
}

static void test_long_statements_and_names_stay_within_bounds(void **state)
{
    char script[8192];
    size_t size = 0;

    (void)state;
    size += (size_t)snprintf(script, sizeof(script), "DROP TABLE ");
    while (size < 6000)
        size += (size_t)snprintf(script + size, sizeof(script) - size, "t, ");
    size += (size_t)snprintf(script + size, sizeof(script) - size, "u; DROP TABLE ");
    memset(script + size, 'n', 100);
    size += 100;
    {
        struct found found = { .size = 0 };
        loss_read((struct slice){ script, size }, add, &found);
        assert_non_null(strstr(found.text, "1:t;"));
        found.text[found.size - 1] = '\0';
        /* cut as PostgreSQL cuts it, and the end of the long statement was found */
        assert_int_equal(strlen(strrchr(found.text, ':') + 1), LOSS_NAME_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_way_to_destroy_is_seen),
        cmocka_unit_test(test_what_only_looks_like_it_is_not),
        cmocka_unit_test(test_long_statements_and_names_stay_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
