/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings that the primary has confirmed and that the standby which is read may not have replayed
 * yet. The store has them; a store that is filled from such a standby would not. So they are kept
 * here, each with a WAL position behind its commit, until a poll has shown that the standby is past
 * it, and are put into a new store before that is served: never over a newer version, and nothing
 * when a primary is read, which lacks none.
 *
 * An environment of its own, `unreplayed` in lmdb_dir, so that damage of the store, its loss and
 * another format of it do not touch them. It is never synced and so costs no wait: what it holds
 * outlives the program, not the machine. The boot it was written in stands in a file beside it, and
 * of another boot nothing is believed: the standby has had that long to replay. Not believed either
 * is what is damaged, truncated or of another format. What can't be kept is logged, and the binding
 * stands all the same.
 *
 * Bounded: UNREPLAYED_MOST entries, the oldest go first. Feed thread alone. */
#ifndef HOLDLINE_MAPPERD_UNREPLAYED_H
#define HOLDLINE_MAPPERD_UNREPLAYED_H

#include "common/log.h"
#include "mapperd/record.h"
#include "mapperd/store.h"

#include <lmdb.h>

#define UNREPLAYED_MOST 65536

struct unreplayed {
    MDB_env *env; /* NULL: it can't be used, and nothing is kept */
    MDB_dbi entries;
    MDB_txn *txn;        /* between begin and end */
    uint64_t oldest_lsn; /* UINT64_MAX: there is none */
    uint64_t sequence;
    uint64_t system_id, lsn; /* of the transaction under way */
    char path[4200];
    char boot_id[37];
    struct log_limit failures;
};

/* `folder` is lmdb_dir; boot_id as of meta_boot_id(), empty: nothing is kept. */
void unreplayed_open(struct unreplayed *u, const char *folder, const char *boot_id);
void unreplayed_close(struct unreplayed *u);

/* Records that the primary of this system has confirmed at or before `lsn`: begin, put each, end.
 */
void unreplayed_begin(struct unreplayed *u, uint64_t system_id, uint64_t lsn);
void unreplayed_put(struct unreplayed *u, struct slice key, struct slice value);
void unreplayed_end(struct unreplayed *u);

/* The standby has replayed up to here, and what it has is in the store. */
void unreplayed_pass(struct unreplayed *u, uint64_t lsn);

/* Puts what is left, of this system, into the store where it is newer. *highest_unix_ms is raised
 * to the highest version. An error is the store's. */
enum error unreplayed_lay_over(struct unreplayed *u, uint64_t system_id,
                               struct store_writer *writer, uint64_t *highest_unix_ms) MUST_CHECK;

#endif
