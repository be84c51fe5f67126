/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 against its authors' vectors, and tables that lack memory. */
#include "common/hash.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Key 00..0f, message 00..(n-1): appendix A of the paper (n = 15) and vectors.h of the reference
 * implementation, read as little-endian numbers. */
static const struct {
    size_t size;
    uint64_t hash;
} vectors[] = {
    { 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd },  { 2, 0x0d6c8009d9a94f5a },
    { 3, 0x85676696d7fb7e2d }, { 4, 0xcf2794e0277187b7 },  { 5, 0x18765564cd99a68d },
    { 6, 0xcbc9466e58fee3ce }, { 7, 0xab0200f58b01d137 },  { 8, 0x93f5f5799a932462 },
    { 9, 0x9e0082df0ba9e4b0 }, { 15, 0xa129ca6149be45e5 }, { 63, 0x958a324ceb064572 },
};

static void test_published_vectors(void **state)
{
    uint8_t key[16], message[64];

    (void)state;
    for (size_t i = 0; i < 16; i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < 64; i++)
        message[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++)
        assert_true(hash_siphash(key, message, vectors[i].size) == vectors[i].hash);
}

static void test_process_key_is_stable_and_not_zero(void **state)
{
    static const uint8_t zero[16];

    (void)state;
    assert_true(hash_bytes("abc", 3) == hash_bytes("abc", 3));
    assert_true(hash_bytes("abc", 3) != hash_bytes("abd", 3));
    assert_true(hash_bytes("abc", 3) != hash_siphash(zero, "abc", 3));
    (void)hash_bytes(NULL, 0);
}

struct entry {
    int key;
    UT_hash_handle hh;
};

static void test_tables_survive_every_failed_allocation(void **state)
{
    static struct entry entries[2000];
    struct entry *table = NULL, *entry, *next, *found;
    size_t failures = 0;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        entry = &entries[i];
        entry->key = i;
        mem_fail_nth_for_tests(1 + (unsigned)i % 3);
        HASH_ADD_INT(table, key, entry);
        if (!entry->hh.tbl) {
            failures++;
            mem_fail_nth_for_tests(0);
            HASH_ADD_INT(table, key, entry);
            assert_non_null(entry->hh.tbl);
        }
        mem_fail_nth_for_tests(0);
    }
    assert_true(failures > 0);
    assert_int_equal(HASH_COUNT(table), 2000);
    for (int i = 0; i < 2000; i++) {
        HASH_FIND_INT(table, &i, found);
        assert_ptr_equal(found, &entries[i]);
    }
    HASH_ITER(hh, table, entry, next)
    HASH_DEL(table, entry);
    assert_null(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vectors),
        cmocka_unit_test(test_process_key_is_stable_and_not_zero),
        cmocka_unit_test(test_tables_survive_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
