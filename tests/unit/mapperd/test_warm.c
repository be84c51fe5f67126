/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked up in step is what mdb_get() finds, and no page, however damaged, leads out of the
 * map. */
#include "mapperd/warm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS      6000
#define PAGE_SIZE 4096

struct fixture {
    char path[64];
    MDB_env *env;
    MDB_dbi table;
    uint64_t random;
};

static unsigned draw(struct fixture *f, unsigned below)
{
    f->random = f->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(f->random >> 33) % below;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    MDB_txn *txn;
    f->random = 42;
    strcpy(f->path, "/tmp/holdline-warm-XXXXXX");
    if (mkdtemp(f->path) == NULL || mdb_env_create(&f->env) != 0 ||
        mdb_env_set_mapsize(f->env, (size_t)64 << 20) != 0 || mdb_env_set_maxdbs(f->env, 2) != 0 ||
        mdb_env_open(f->env, f->path, MDB_NOTLS | MDB_NOSYNC, 0600) != 0 ||
        mdb_txn_begin(f->env, NULL, 0, &txn) != 0 ||
        mdb_dbi_open(txn, "peer", MDB_CREATE, &f->table) != 0 || mdb_txn_commit(txn) != 0)
        return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    mdb_env_close(f->env);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f);
    return status;
}

/* Number n's key: most are MAC addresses, some are short, some long. */
static struct slice key_of(unsigned n, char out[512])
{
    int size;
    if (n % 7 == 0)
        size = snprintf(out, 512, "c%x", n);
    else if (n % 11 == 0)
        size = snprintf(out, 512, "corp:%0*x", (int)(n % 400) + 8, n);
    else
        size = snprintf(out, 512, "device:%012X", n * 2654435761u);
    if (n % 7 != 0 && n % 11 != 0)
        out[6] = '\0';
    return (struct slice){ out, (size_t)size };
}

/* Every thousandth value is too long for a leaf. */
static void put(MDB_txn *txn, MDB_dbi table, unsigned n)
{
    char key[512], value[6000];
    struct slice k = key_of(n, key);
    size_t size = n % 1000 == 0 ? sizeof(value) : n % 90;
    memset(value, (int)('a' + n % 26), sizeof(value));
    MDB_val kv = { k.size, key }, vv = { size, value };
    assert_int_equal(mdb_put(txn, table, &kv, &vv, 0), 0);
}

static size_t compare_all(struct fixture *f, unsigned from, unsigned to)
{
    MDB_txn *txn;
    struct warm_tree tree;
    size_t hits = 0;
    assert_int_equal(mdb_txn_begin(f->env, NULL, MDB_RDONLY, &txn), 0);
    warm_find(txn, "peer", &tree);
    assert_true(tree.map != NULL || from == to - 10); /* an empty tree has no root */
    for (unsigned round = 0; round < 400; round++) {
        char memory[WARM_KEYS_MAX][512];
        struct slice keys[WARM_KEYS_MAX];
        MDB_val found[WARM_KEYS_MAX];
        size_t count = 1 + draw(f, WARM_KEYS_MAX);
        for (size_t i = 0; i < count; i++)
            keys[i] = key_of(from + draw(f, to - from), memory[i]);
        warm_keys(&tree, keys, count, found);
        for (size_t i = 0; i < count; i++) {
            MDB_val key = { keys[i].size, (void *)(uintptr_t)keys[i].data }, value;
            int code = mdb_get(txn, f->table, &key, &value);
            if (found[i].mv_data == NULL) {
                /* It may say nothing only of what is absent or lies outside of its leaf. */
                assert_true(code == MDB_NOTFOUND || value.mv_size > 2000);
                continue;
            }
            assert_int_equal(code, 0);
            assert_ptr_equal(found[i].mv_data, value.mv_data);
            assert_int_equal(found[i].mv_size, value.mv_size);
            hits++;
        }
    }
    mdb_txn_abort(txn);
    return hits;
}

static void test_what_is_found_is_what_mdb_get_finds(void **state)
{
    struct fixture *f = *state;
    MDB_txn *txn;
    assert_int_equal(compare_all(f, 0, 10), 0); /* the empty tree */
    for (unsigned n = 0; n < KEYS;) {
        unsigned batch = n < 3 ? 1 : 1000;
        assert_int_equal(mdb_txn_begin(f->env, NULL, 0, &txn), 0);
        for (unsigned i = 0; i < batch && n < KEYS; i++)
            put(txn, f->table, n++);
        assert_int_equal(mdb_txn_commit(txn), 0);
        assert_true(compare_all(f, 0, n + n / 4 + 1) > 0 || n < 2);
    }
}

static void test_a_deleted_key_is_not_found(void **state)
{
    struct fixture *f = *state;
    MDB_txn *txn;
    char memory[512];
    assert_int_equal(mdb_txn_begin(f->env, NULL, 0, &txn), 0);
    for (unsigned n = 0; n < KEYS; n++)
        put(txn, f->table, n);
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_int_equal(mdb_txn_begin(f->env, NULL, 0, &txn), 0);
    for (unsigned n = 0; n < KEYS; n += 2) {
        struct slice k = key_of(n, memory);
        MDB_val key = { k.size, memory };
        assert_int_equal(mdb_del(txn, f->table, &key, NULL), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_true(compare_all(f, 0, KEYS) > 0);
}

/* Under AddressSanitizer: a read outside of the pages ends the test. */
static void test_T52_damaged_pages_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    enum { PAGES = 4 };
    char *pages = malloc(PAGES * PAGE_SIZE);
    char memory[WARM_KEYS_MAX][512];
    struct slice keys[WARM_KEYS_MAX];
    MDB_val found[WARM_KEYS_MAX];
    for (unsigned i = 0; i < WARM_KEYS_MAX; i++)
        keys[i] = key_of(i * 37 + 1, memory[i]);
    for (unsigned round = 0; round < 20000; round++) {
        struct warm_tree tree = { pages, PAGE_SIZE, draw(f, PAGES + 1), PAGES };
        for (size_t at = 0; at < PAGES * PAGE_SIZE; at += sizeof(uint16_t)) {
            uint16_t word = (uint16_t)draw(f, PAGE_SIZE + 8);
            memcpy(pages + at, &word, sizeof(word));
            if (at > 600 && round % 16 != 0)
                at += 64;
        }
        for (unsigned p = 0; p < PAGES; p++) {
            uint16_t head[4] = { 0, (uint16_t)(1 + draw(f, 2)), (uint16_t)(18 + 2 * draw(f, 200)),
                                 (uint16_t)(500 + draw(f, 4000)) };
            if (draw(f, 8) != 0)
                memcpy(pages + p * PAGE_SIZE + 8, head, sizeof(head));
        }
        warm_keys(&tree, keys, WARM_KEYS_MAX, found);
    }
    free(pages);
}

/* One leaf with one node whose key is asked for, at the end of all memory. */
static MDB_val found_in(uint16_t low, uint16_t high, uint16_t flags, uint16_t lower)
{
    enum { NODE = PAGE_SIZE - 40 };
    char *page = malloc(PAGE_SIZE);
    struct slice key = SLICE("corp:somebody");
    const uint16_t head[] = { 0, 2, lower, NODE, NODE };
    const uint16_t node[] = { low, high, flags, (uint16_t)key.size };
    struct warm_tree tree = { page, PAGE_SIZE, 0, 1 };
    MDB_val found;
    memset(page, 0, PAGE_SIZE);
    memcpy(page + 8, head, sizeof(head));
    memcpy(page + NODE, node, sizeof(node));
    memcpy(page + NODE + sizeof(node), key.data, key.size);
    warm_keys(&tree, &key, 1, &found);
    free(page);
    return found;
}

static void test_T52_a_value_that_would_leave_its_page_is_not_found(void **state)
{
    const uint16_t room = 40 - 8 - 13;
    (void)state;
    assert_int_equal(found_in(room, 0, 0, 18).mv_size, room);
    assert_null(found_in(room + 1, 0, 0, 18).mv_data);
    assert_null(found_in(room, 1, 0, 18).mv_data);
    assert_null(found_in(room, 0, 1, 18).mv_data);    /* it lies on pages of its own */
    assert_null(found_in(room, 0, 0, 60000).mv_data); /* more nodes than a page has room for */
    assert_null(found_in(room, 0, 0, 16).mv_data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_found_is_what_mdb_get_finds, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_deleted_key_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_T52_damaged_pages_lead_nowhere, set_up, tear_down),
        cmocka_unit_test(test_T52_a_value_that_would_leave_its_page_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
