/* SPDX-License-Identifier: Apache-2.0 */
/* What REPORT says, and the table of unknown devices: bounded, and whole without memory. */
#include "common/mem.h"
#include "mapperd/report_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static enum error read_words(const char *const words[], size_t count, struct report *report)
{
    struct resp_command command = { .count = count };
    const char *why;
    for (size_t i = 0; i < count; i++)
        command.args[i] = slice_of(words[i]);
    return report_read(&command, report, &why);
}

static void test_F32_a_report_is_read_in_each_of_its_lengths(void **state)
{
    static const char *const WORDS[] = { "REPORT", "device",         "0004F2000001",
                                         "a@b.c",  "device-unknown", "192.0.2.1",
                                         "7" };
    struct report report;
    (void)state;
    assert_int_equal(read_words(WORDS, 7, &report), ERROR_NONE);
    assert_int_equal(report.count, 7);
    assert_true(slice_equal(report.address, SLICE("192.0.2.1")));
    assert_true(report_is_unknown_device(&report));
    assert_int_equal(read_words(WORDS, 6, &report), ERROR_NONE);
    assert_int_equal(report.count, 1);
    assert_int_equal(read_words(WORDS, 5, &report), ERROR_NONE);
    assert_int_equal(report.address.size, 0);
    report.reason = SLICE("no-right");
    assert_false(report_is_unknown_device(&report));
}

static enum error add(struct reports *reports, unsigned number, uint64_t now_unix_ms)
{
    char cn[16];
    struct report report = { .store = SLICE("device"),
                             .from = SLICE("a@example.org"),
                             .reason = SLICE("device-unknown"),
                             .address = SLICE("192.0.2.1"),
                             .count = 2 };
    snprintf(cn, sizeof(cn), "%012X", number);
    return reports_add(reports, &report, slice_of(cn), now_unix_ms);
}

static void test_T35_a_million_devices_fill_the_table_and_no_more(void **state)
{
    struct reports *reports = reports_new();
    struct report_entry entry;
    void *cursor = NULL;
    size_t seen = 0;
    (void)state;
    assert_non_null(reports);
    for (unsigned i = 0; i < 1000000; i++)
        assert_int_equal(add(reports, i, 1000), i < REPORTS_MAX ? ERROR_NONE : ERROR_TOO_LARGE);
    assert_int_equal(reports_count(reports), REPORTS_MAX);
    /* Those that are there go on counting. */
    assert_int_equal(add(reports, 5, 3000), ERROR_NONE);
    assert_int_equal(add(reports, 5, 500), ERROR_NONE);
    while (reports_next(reports, &cursor, &entry)) {
        bool fifth = slice_equal(entry.report.cn, SLICE("000000000005"));
        seen++;
        assert_int_equal(entry.report.count, fifth ? 6 : 2);
        assert_int_equal(entry.first_unix_ms, 1000);
        assert_int_equal(entry.last_unix_ms, 1000); /* the clock went back at the last */
        assert_true(slice_equal(entry.report.store, SLICE("device")));
    }
    assert_int_equal(seen, REPORTS_MAX);
    reports_free(reports);
}

static void test_stores_and_cns_are_kept_apart_and_bounds_are_met(void **state)
{
    struct reports *reports = reports_new();
    char name[CN_MAX_OCTETS + 1];
    struct report report = { .store = SLICE("ab"), .reason = SLICE("device-unknown"), .count = 1 };
    (void)state;
    assert_non_null(reports);
    assert_int_equal(reports_add(reports, &report, SLICE("c"), 1), ERROR_NONE);
    report.store = SLICE("a");
    assert_int_equal(reports_add(reports, &report, SLICE("bc"), 1), ERROR_NONE);
    assert_int_equal(reports_count(reports), 2);
    assert_int_equal(reports_add(reports, &report, SLICE(""), 1), ERROR_TOO_LARGE);
    memset(name, 'x', sizeof(name));
    report.store = SLICE("sssssssssssssssssssssssssssssssss");
    assert_int_equal(reports_add(reports, &report, SLICE("c"), 1), ERROR_TOO_LARGE);
    report.store.size = STORE_NAME_MAX;
    assert_int_equal(reports_add(reports, &report, (struct slice){ name, CN_MAX_OCTETS }, 1),
                     ERROR_NONE);
    assert_int_equal(reports_add(reports, &report, (struct slice){ name, sizeof(name) }, 1),
                     ERROR_TOO_LARGE);
    reports_free(reports);
}

/* Each allocation in turn fails: an addition is whole or did not happen, and the columns for the
 * database say so. */
static void test_without_memory_an_addition_did_not_happen(void **state)
{
    bool failed = true;
    (void)state;
    for (unsigned nth = 1; failed; nth++) {
        struct buffer columns[REPORT_COLUMNS];
        bool whole = true;
        size_t added = 0;
        for (int i = 0; i < REPORT_COLUMNS; i++)
            buffer_init(&columns[i], 0);
        mem_fail_nth_for_tests(nth);
        struct reports *reports = reports_new();
        for (unsigned i = 0; reports != NULL && i < 40; i++)
            added += add(reports, i, i) == ERROR_NONE;
        if (reports != NULL) {
            assert_int_equal(reports_count(reports), added);
            report_writer_columns(reports, columns);
        }
        for (int i = 0; i < REPORT_COLUMNS; i++)
            whole &= !columns[i].failed && buffer_size(&columns[i]) > 0;
        failed = mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        if (!failed)
            assert_true(whole && added == 40);
        assert_true(added >= 39 || reports == NULL);
        for (int i = 0; i < REPORT_COLUMNS; i++)
            buffer_free(&columns[i]);
        reports_free(reports);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F32_a_report_is_read_in_each_of_its_lengths),
        cmocka_unit_test(test_T35_a_million_devices_fill_the_table_and_no_more),
        cmocka_unit_test(test_stores_and_cns_are_kept_apart_and_bounds_are_met),
        cmocka_unit_test(test_without_memory_an_addition_did_not_happen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
