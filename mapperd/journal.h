/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: BIND and UNBIND that were answered without the primary's confirmation, until it has
 * confirmed them. An LMDB environment of its own beside the generations of the store, so that no
 * fill and no swap touches it.
 *
 * The store holds what the primary has confirmed and nothing else. LOCATE lays the journal over it:
 * of two versions of one binding the higher counts, wherever it lies. A binding is taken off the
 * journal only after it is in the store; so whoever reads the journal first and the store second
 * sees it in one of them.
 *
 * An entry is a BIND, an UNBIND of one binding, or an UNBIND of all that an AoR has (of a device);
 * a later one of the same key takes the place of the earlier, as it would in the table. Entries are
 * also kept in the order of their versions, in which they are replayed.
 *
 * Threads: one writes (journal_begin() to journal_commit()), any may read through a reader of its
 * own. journal_open() and journal_close() come before and after both. */
#ifndef HOLDLINE_MAPPERD_JOURNAL_H
#define HOLDLINE_MAPPERD_JOURNAL_H

#include "common/buffer.h"
#include "common/error.h"
#include "mapperd/message.h"
#include "mapperd/record.h"

#include <lmdb.h>
#include <stdatomic.h>
#include <stdbool.h>

#define JOURNAL_FORMAT 1

struct journal {
    MDB_env *env;
    MDB_dbi entries, order, meta;
    int descriptor;
    uint64_t bytes_max;
    /* As committed; written by the writing thread alone. */
    atomic_ullong entry_count, byte_count;
    atomic_bool damaged;
    uint64_t highest_unix_ms; /* of the versions found at the start */
};

/* Opens folder/journal, or makes it. One that is damaged, foreign or of another format is set aside
 * as folder/journal.damaged-N, which is logged, and a new one begun: what it held may be lost and
 * is never guessed. ERROR_SYSTEM, ERROR_LIBRARY, ERROR_MEMORY: logged. */
enum error journal_open(struct journal *journal, const char *folder, uint64_t bytes_max) MUST_CHECK;
void journal_close(struct journal *journal); /* also of a zeroed one */

/* What an entry is, as it goes to the writer and comes back for the replay. */
struct journal_entry {
    enum bind_kind kind;
    struct record_binding binding; /* version included */
};

/* Its key and its value, without the checksum. out->failed on lack of memory. */
void journal_entry_key(struct record_key *key, const struct journal_entry *entry);
void journal_entry_write(struct buffer *out, const struct journal_entry *entry);
enum error journal_entry_read(struct slice value, struct journal_entry *entry) MUST_CHECK;

/* ---- Writing: a group of changes, durable together ---- */

struct journal_writer {
    struct journal *journal;
    MDB_txn *txn;
    uint64_t entries, bytes;
    enum error error;
};
enum error journal_begin(struct journal *journal, struct journal_writer *writer) MUST_CHECK;
/* ERROR_TOO_LARGE: the bound is reached, this entry is not in and the others are not harmed. An
 * entry that is not newer than the one that stands is dropped, which is no error. */
enum error journal_put(struct journal_writer *writer, struct slice key, struct slice value,
                       struct record_version version) MUST_CHECK;
/* Only the entry of this very version; absent is fine. */
void journal_remove(struct journal_writer *writer, struct slice key, struct record_version version);
enum error journal_commit(struct journal_writer *writer) MUST_CHECK;

/* ---- Reading ---- */

struct journal_reader {
    struct journal *journal;
    MDB_txn *txn;
    bool held;
};
enum error journal_reader_open(struct journal *journal, struct journal_reader *reader) MUST_CHECK;
/* Takes a new snapshot. False: the journal is empty or can't be read, and holds nothing. Must come
 * before the store's snapshot is taken, see above. */
bool journal_reader_renew(struct journal_reader *reader);
void journal_reader_rest(struct journal_reader *reader);
void journal_reader_close(struct journal_reader *reader);

/* Whether the journal holds what removes or replaces this binding: an entry of its key, of its
 * device or of its AoR with a higher version. A journal that can't be read hides nothing. */
bool journal_hides(struct journal_reader *reader, const struct record_binding *binding);

/* Walks the BINDs of an AoR, not what removes; false at the end. Closed by journal_walk_end(). */
struct journal_walk {
    struct journal_reader *reader;
    MDB_cursor *cursor;
    struct record_key prefix;
    bool started;
};
void journal_walk_start(struct journal_reader *reader, struct slice aor, struct journal_walk *walk);
/* *value as record_binding_read() takes it; in the map, for as long as the snapshot is held. */
bool journal_walk_next(struct journal_walk *walk, struct slice *value);
void journal_walk_end(struct journal_walk *walk);

/* The first entry with a version above `after`: its value for journal_entry_read(), in the map.
 * False: there is none. */
bool journal_next(struct journal_reader *reader, struct record_version after, struct slice *value);

#endif
