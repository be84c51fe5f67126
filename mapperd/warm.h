/* SPDX-License-Identifier: Apache-2.0 */
/* Several lookups in one LMDB tree at once.
 *
 * A lookup in a large tree is a chain of cache misses: each step of the search of a page waits for
 * memory before the next address is known. Many chains side by side wait together. So the tree is
 * walked here for several keys in step, each step asking for what the next will touch.
 *
 * It knows the page format of LMDB 0.9 (MDB_DATA_VERSION 1), which the library does not export.
 * Where a page does not look as it should, or a key is not found, or its value does not lie in its
 * leaf, that walk gives nothing, and mdb_get() is to be asked: an absence is never decided here.
 * What is found is the caller's to check, as what mdb_get() gives. Any thread, inside of a read
 * transaction: its pages do not change under it. */
#ifndef HOLDLINE_MAPPERD_WARM_H
#define HOLDLINE_MAPPERD_WARM_H

#include "common/slice.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WARM_KEYS_MAX 16

/* Where a table's tree begins in one snapshot. */
struct warm_tree {
    const char *map; /* the first page; NULL: unknown, nothing is found */
    size_t page_size;
    uint64_t root, page_count;
};

/* Finds the tree of a named table in a transaction's snapshot; on any doubt tree->map is NULL. */
void warm_find(MDB_txn *txn, const char *table, struct warm_tree *tree);
/* At most WARM_KEYS_MAX keys, ordered as memcmp() does and then by length. found[i] is the value of
 * keys[i], in the map; its mv_data is NULL when nothing can be said. */
void warm_keys(const struct warm_tree *tree, const struct slice *keys, size_t count,
               MDB_val *found);

#endif
