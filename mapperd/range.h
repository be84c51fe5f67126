/* SPDX-License-Identifier: Apache-2.0 */
/* Where the records of a table lie, for those who go through it range by range: what the database
 * orders by, found again in a key of the store. Pure. */
#ifndef HOLDLINE_MAPPERD_RANGE_H
#define HOLDLINE_MAPPERD_RANGE_H

#include "mapperd/key_queue.h"
#include "mapperd/store.h"

/* The part of a record's key that is in the database's order: all of it, but for bindings, whose
 * keys end in a hash, the address of record with its NUL. */
struct slice range_place(enum store_table table, struct slice key);

/* The words of the key as the database has them, in the order of its ranges; they point into `key`
 * or are constant. Returns how many; 0: not a key of such a table. */
size_t range_words(enum store_table table, struct slice key, struct slice words[3]);

/* What has to be read again so that this record is right; false: no key of such a table. */
bool range_key(enum store_table table, struct slice key, struct key *out);

#endif
