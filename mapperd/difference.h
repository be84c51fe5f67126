/* SPDX-License-Identifier: Apache-2.0 */
/* Two lists of records of one table compared: what the database has of a range, and what the store
 * has. Values are compared by a digest: a hash, so that any change is a difference; for bindings
 * their version, of which only a higher one on the database's side is, since nothing else would be
 * taken when it is read again, and a row that is missing there removes nothing. */
#ifndef HOLDLINE_MAPPERD_DIFFERENCE_H
#define HOLDLINE_MAPPERD_DIFFERENCE_H

#include "common/buffer.h"
#include "mapperd/store.h"

/* A record, or that there is none under this key. */
struct difference_record {
    struct slice key;
    uint64_t digest; /* of the value */
    bool present;
};

struct difference_list {
    struct buffer bytes, entries; /* `failed` of either: the list is not to be used */
};

void difference_list_init(struct difference_list *list);
void difference_list_free(struct difference_list *list);
void difference_list_reset(struct difference_list *list);
bool difference_list_failed(const struct difference_list *list);
size_t difference_list_count(const struct difference_list *list);
struct difference_record difference_list_at(const struct difference_list *list, size_t i);
void difference_list_add(struct difference_list *list, enum store_table table, struct slice key,
                         struct slice value);
/* Into the order of the store's keys. */
void difference_list_sort(struct difference_list *list);

/* Behind `after` (empty: from the start) and up to `upto`; both are places, see range.h. */
struct difference_range {
    enum store_table table;
    struct slice after, upto;
    bool to_end; /* to the end of the table: upto says nothing */
};

/* Adds to `found` each key that differs on both sides, with what the store has under
 * it. Ends behind the `most`th: then *cut is true, and what lies behind the last one found was not
 * looked at. `theirs` is sorted and lies in the range. */
enum error difference_find(struct store_writer *writer, const struct difference_range *range,
                           const struct difference_list *theirs, size_t most,
                           struct difference_list *found, bool *cut) MUST_CHECK;

/* Whether the store still has under this key what the record says. */
enum error difference_stands(struct store_writer *writer, enum store_table table,
                             const struct difference_record *record, bool *stands) MUST_CHECK;

#endif
