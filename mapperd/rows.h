/* SPDX-License-Identifier: Apache-2.0 */
/* From rows of PostgreSQL to records of the store: the one place where what the schema's
 * constraints promise is checked again. A row that breaks them is skipped and reported; where
 * leaving it out would give more than it takes, something that denies stands in its place. Feed
 * thread. */
#ifndef HOLDLINE_MAPPERD_ROWS_H
#define HOLDLINE_MAPPERD_ROWS_H

#include "mapperd/database.h"
#include "mapperd/record.h"
#include "mapperd/store.h"

/* What a row says of its key. */
enum rows_outcome {
    ROWS_SKIP = 0, /* not a key that the store could hold */
    ROWS_ABSENT,   /* nothing stands under the key: delete what is there */
    ROWS_PRESENT,
};

struct rows_record {
    struct record_key key;
    struct buffer value, scratch;
    uint64_t skipped; /* rows and parts left out so far */
    bool quiet;       /* neither counted nor reported */
    int rows;         /* that it was made of: 1, or more of a device in a range */
    struct slice
        words[3]; /* the key as the database has it, in the result's memory: where a fill goes on */
    struct record_binding binding;
};

void rows_init(struct rows_record *r);
void rows_free(struct rows_record *r);

/* Each takes one row of the READ or FILL statement of its table. value.failed is to be checked. */
enum rows_outcome rows_trust(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_domain(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_rules(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_user(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_peer(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_blocked(const PGresult *result, int row, struct rows_record *r);
enum rows_outcome rows_credential(const PGresult *result, int row, struct rows_record *r);
/* One device of a range's rows, from `row` on. */
enum rows_outcome rows_peer_range(const PGresult *result, int row, struct rows_record *r);
bool rows_peer_same(const PGresult *result, int row, int other); /* of one device */
enum rows_outcome rows_binding(const PGresult *result, int row, struct rows_record *r);

/* Puts a binding where it is newer than what stands there. *newer tells; the highest version seen
 * is raised. */
enum error rows_put_binding(struct store_writer *writer, struct slice key, struct slice value,
                            struct record_version version, bool *newer) MUST_CHECK;

#endif
