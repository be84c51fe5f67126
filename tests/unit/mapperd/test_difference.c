/* SPDX-License-Identifier: Apache-2.0 */
/* Two sides of a range: what is named is what differs, all of it and nothing else, wherever ranges
 * end. */
#include "common/mem.h"
#include "mapperd/difference.h"
#include "mapperd/range.h"
#include "mapperd/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 200
#define MOST 1000

struct fixture {
    char path[64];
    struct folder folder;
    struct store *store;
    struct difference_list theirs, found;
    struct store_writer writer;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/holdline-store-XXXXXX");
    if (mkdtemp(f->path) == NULL ||
        folder_open(&f->folder, f->path, (size_t)16 << 20) != ERROR_NONE ||
        folder_create(&f->folder, &f->store) != ERROR_NONE ||
        store_begin(f->store, &f->writer) != ERROR_NONE)
        return -1;
    difference_list_init(&f->theirs);
    difference_list_init(&f->found);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    difference_list_free(&f->theirs);
    difference_list_free(&f->found);
    store_abort(&f->writer);
    folder_close_store(&f->folder, f->store, false);
    folder_close(&f->folder);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f);
    return status;
}

static struct slice key_of(unsigned n, struct record_key *key)
{
    char cn[16];
    snprintf(cn, sizeof(cn), "%05u", n);
    record_peer_key(key, SLICE("device"), slice_of(cn));
    return record_key_slice(key);
}

static struct slice value_of(unsigned n)
{
    static const char *const VALUES[] = { "", "one", "two" };
    return slice_of(VALUES[n]);
}

/* 0: no record; else which value. */
static void fill_sides(struct fixture *f, uint8_t ours[KEYS], uint8_t theirs[KEYS])
{
    struct record_key key;
    for (unsigned n = 0; n < KEYS; n++) {
        ours[n] = (uint8_t)(rand() % 3);
        theirs[n] = ours[n];
        if (rand() % 4 == 0)
            theirs[n] = (uint8_t)(rand() % 3);
        if (ours[n] > 0)
            store_put(&f->writer, STORE_PEER, key_of(n, &key), value_of(ours[n]));
        else
            store_delete(&f->writer, STORE_PEER, key_of(n, &key));
    }
}

/* Keys from..to, both included, added in any order. */
static void list_theirs(struct fixture *f, const uint8_t theirs[KEYS], unsigned from, unsigned to)
{
    struct record_key key;
    difference_list_reset(&f->theirs);
    for (unsigned n = to + 1; n-- > from;)
        if (theirs[n] > 0)
            difference_list_add(&f->theirs, STORE_PEER, key_of(n, &key), value_of(theirs[n]));
    difference_list_sort(&f->theirs);
}

static void test_every_key_that_differs_is_found_and_no_other_whatever_the_ranges(void **state)
{
    struct fixture *f = *state;
    uint8_t ours[KEYS], theirs[KEYS];
    srand(4);
    for (int round = 0; round < 200; round++) {
        struct record_key after = { .size = 0 }, upto, key;
        fill_sides(f, ours, theirs);
        unsigned from = 0;
        size_t named = 0, expected = 0;
        while (from < KEYS) {
            unsigned to = from + (unsigned)(rand() % 40);
            bool cut, end = to >= KEYS - 1;
            to = end ? KEYS - 1 : to;
            list_theirs(f, theirs, from, to);
            struct difference_range range = { STORE_PEER, record_key_slice(&after),
                                              key_of(to, &upto), end };
            size_t most = rand() % 2 ? MOST : (size_t)(rand() % 5) + 1;
            assert_int_equal(difference_find(&f->writer, &range, &f->theirs, most, &f->found, &cut),
                             ERROR_NONE);
            assert_int_equal(cut, difference_list_count(&f->found) == most);
            for (size_t i = 0; i < difference_list_count(&f->found); i++) {
                struct difference_record r = difference_list_at(&f->found, i);
                bool stands;
                unsigned n = (unsigned)strtoul(r.key.data + 7, NULL, 10);
                assert_true(ours[n] != theirs[n] && n >= from && n <= to);
                assert_int_equal(r.present, ours[n] > 0);
                assert_int_equal(difference_stands(&f->writer, STORE_PEER, &r, &stands),
                                 ERROR_NONE);
                assert_true(stands);
                if (cut && i + 1 == most)
                    to = n; /* what lies behind it is left to the next range */
            }
            for (unsigned n = from; n <= to; n++)
                expected += ours[n] != theirs[n];
            named += difference_list_count(&f->found);
            assert_int_equal(named, expected);
            from = to + 1;
            key_of(to, &key);
            after = key;
        }
    }
}

static void test_what_was_changed_since_stands_no_more(void **state)
{
    struct fixture *f = *state;
    struct record_key key;
    bool cut, stands;
    struct difference_range range = { STORE_PEER, SLICE(""), SLICE(""), true };
    store_put(&f->writer, STORE_PEER, key_of(1, &key), SLICE("old"));
    difference_list_reset(&f->theirs);
    difference_list_add(&f->theirs, STORE_PEER, key_of(2, &key), SLICE("new"));
    assert_int_equal(difference_find(&f->writer, &range, &f->theirs, MOST, &f->found, &cut),
                     ERROR_NONE);
    assert_int_equal(difference_list_count(&f->found), 2);
    struct difference_record extra = difference_list_at(&f->found, 0);
    struct difference_record missing = difference_list_at(&f->found, 1);
    assert_true(extra.present && !missing.present);
    store_put(&f->writer, STORE_PEER, key_of(1, &key), SLICE("newer"));
    store_put(&f->writer, STORE_PEER, key_of(2, &key), SLICE("new"));
    assert_int_equal(difference_stands(&f->writer, STORE_PEER, &extra, &stands), ERROR_NONE);
    assert_false(stands);
    assert_int_equal(difference_stands(&f->writer, STORE_PEER, &missing, &stands), ERROR_NONE);
    assert_false(stands);
    store_delete(&f->writer, STORE_PEER, key_of(1, &key));
    assert_int_equal(difference_stands(&f->writer, STORE_PEER, &extra, &stands), ERROR_NONE);
    assert_false(stands);
}

static struct slice binding_of(struct buffer *out, uint64_t unix_ms, uint32_t by)
{
    struct record_binding b = { .aor = SLICE("b@x"),
                                .device_key = SLICE("d"),
                                .instance_key = SLICE("i"),
                                .store = SLICE("device"),
                                .cn = SLICE("1"),
                                .entry = SLICE("b@x"),
                                .contact = SLICE("sip:b"),
                                .ground = GROUND_NAME,
                                .version = { unix_ms, by } };
    buffer_reset(out);
    record_binding_write(out, &b);
    return buffer_slice(out);
}

static void test_of_bindings_only_a_newer_row_is_a_difference(void **state)
{
    struct fixture *f = *state;
    struct record_key key, after, upto;
    struct buffer value;
    bool cut;
    static const struct {
        const char *aor;
        uint64_t ours_ms, theirs_ms; /* 0: no record */
        uint32_t ours_by, theirs_by;
        bool differs;
    } ROWS[] = {
        { "a@x", 5, 9, 1, 1, false }, /* before the range */
        { "b@x", 5, 5, 1, 1, false }, { "b@x", 5, 6, 1, 1, true },  { "b@x", 6, 5, 1, 1, false },
        { "b@x", 5, 5, 1, 2, true },  { "b@x", 5, 0, 1, 0, false }, { "b@x", 0, 5, 0, 1, true },
        { "c@x", 5, 9, 1, 1, false }, /* behind it */
    };
    size_t expected = 0;
    buffer_init(&value, 0);
    difference_list_reset(&f->theirs);
    for (unsigned i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        char instance[2] = { (char)('0' + i), '\0' };
        record_binding_key(&key, slice_of(ROWS[i].aor), SLICE("device"), slice_of(instance));
        if (ROWS[i].ours_ms > 0)
            store_put(&f->writer, STORE_BINDING, record_key_slice(&key),
                      binding_of(&value, ROWS[i].ours_ms, ROWS[i].ours_by));
        if (ROWS[i].theirs_ms > 0 && ROWS[i].aor[0] == 'b')
            difference_list_add(&f->theirs, STORE_BINDING, record_key_slice(&key),
                                binding_of(&value, ROWS[i].theirs_ms, ROWS[i].theirs_by));
        expected += ROWS[i].differs;
    }
    difference_list_sort(&f->theirs);
    record_binding_prefix(&after, SLICE("a@x"));
    record_binding_prefix(&upto, SLICE("b@x"));
    struct difference_range range = { STORE_BINDING, record_key_slice(&after),
                                      record_key_slice(&upto), false };
    assert_int_equal(difference_find(&f->writer, &range, &f->theirs, MOST, &f->found, &cut),
                     ERROR_NONE);
    assert_int_equal(difference_list_count(&f->found), expected);
    for (size_t i = 0; i < expected; i++)
        assert_memory_equal(difference_list_at(&f->found, i).key.data, "b@x", 4);
    buffer_free(&value);
}

static void test_a_damaged_record_is_an_error_and_no_difference(void **state)
{
    struct fixture *f = *state;
    struct record_key key;
    struct difference_range range = { STORE_PEER, SLICE(""), SLICE(""), true };
    bool cut;
    MDB_dbi table;
    store_put(&f->writer, STORE_PEER, key_of(1, &key), SLICE("old"));
    assert_int_equal(mdb_dbi_open(f->writer.txn, "peer", 0, &table), 0);
    MDB_val k = { key.size, key.bytes }, v = { 5, "wrong" };
    assert_int_equal(mdb_put(f->writer.txn, table, &k, &v, 0), 0);
    assert_int_equal(difference_find(&f->writer, &range, &f->theirs, MOST, &f->found, &cut),
                     ERROR_LIBRARY);
}

static void test_the_nth_allocation_fails(void **state)
{
    struct fixture *f = *state;
    struct record_key key;
    struct difference_range range = { STORE_PEER, SLICE(""), SLICE(""), true };
    bool cut;
    for (unsigned n = 0; n < 100; n++)
        store_put(&f->writer, STORE_PEER, key_of(n, &key), SLICE("old"));
    for (unsigned n = 1; n < 100; n++) {
        difference_list_free(&f->theirs);
        difference_list_free(&f->found);
        difference_list_init(&f->theirs);
        difference_list_init(&f->found);
        mem_fail_nth_for_tests(n);
        for (unsigned i = 0; i < 100; i++)
            difference_list_add(&f->theirs, STORE_PEER, key_of(i, &key), SLICE("new"));
        difference_list_sort(&f->theirs);
        enum error e = difference_list_failed(&f->theirs)
                           ? ERROR_MEMORY
                           : difference_find(&f->writer, &range, &f->theirs, MOST, &f->found, &cut);
        mem_fail_nth_for_tests(0);
        if (e == ERROR_NONE) {
            assert_int_equal(difference_list_count(&f->found), 100);
            assert_true(n > 2);
            return;
        }
        assert_int_equal(e, ERROR_MEMORY);
    }
    fail();
}

static void test_each_record_key_leads_to_its_words_and_to_what_is_read_again(void **state)
{
    struct slice words[3];
    struct record_key k;
    struct key key;
    (void)state;
    record_peer_key(&k, SLICE("corp"), SLICE("a b"));
    assert_int_equal(range_words(STORE_PEER, record_key_slice(&k), words), 2);
    assert_true(slice_equal(words[0], SLICE("corp")) && slice_equal(words[1], SLICE("a b")));
    assert_true(range_key(STORE_PEER, record_key_slice(&k), &key));
    assert_int_equal(key.kind, KEY_PEER);
    assert_true(slice_equal(key.words[1], SLICE("a b")));
    static const struct {
        enum record_rules rules;
        const char *who, *word;
        enum key_kind kind;
    } RULES[] = { { RECORD_RULES_EVERYONE, "", "everyone", KEY_RULES },
                  { RECORD_RULES_DOMAIN, "example.org", "domain", KEY_DOMAIN },
                  { RECORD_RULES_GROUP, "staff", "group", KEY_GROUP } };
    for (size_t i = 0; i < 3; i++) {
        record_rules_key(&k, RULES[i].rules, slice_of(RULES[i].who));
        assert_int_equal(range_words(STORE_RULES, record_key_slice(&k), words), 2);
        assert_true(slice_equal(words[0], slice_of(RULES[i].word)));
        assert_true(range_key(STORE_RULES, record_key_slice(&k), &key));
        assert_int_equal(key.kind, RULES[i].kind);
        assert_true(slice_equal(key.words[0], slice_of(RULES[i].who)));
    }
    record_binding_key(&k, SLICE("a@x"), SLICE("d"), SLICE("i"));
    assert_true(range_key(STORE_BINDING, record_key_slice(&k), &key));
    assert_int_equal(key.kind, KEY_BINDING);
    assert_true(slice_equal(key.words[0], SLICE("a@x")));
    static const enum store_table PLAIN[] = { STORE_TRUST, STORE_DOMAIN, STORE_USER };
    static const enum key_kind KINDS[] = { KEY_STORE, KEY_DOMAIN, KEY_USER };
    for (size_t i = 0; i < 3; i++) {
        assert_true(range_key(PLAIN[i], SLICE("name"), &key));
        assert_int_equal(key.kind, KINDS[i]);
        assert_true(slice_equal(key.words[0], SLICE("name")));
    }
    assert_false(range_key(STORE_PEER, SLICE("no separator"), &key));
    assert_false(range_key(STORE_RULES, SLICE("x"), &key));
    assert_false(range_key(STORE_META, SLICE("serial"), &key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_every_key_that_differs_is_found_and_no_other_whatever_the_ranges, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_changed_since_stands_no_more, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_of_bindings_only_a_newer_row_is_a_difference, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_record_is_an_error_and_no_difference, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_nth_allocation_fails, set_up, tear_down),
        cmocka_unit_test(test_each_record_key_leads_to_its_words_and_to_what_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
