/* SPDX-License-Identifier: Apache-2.0 */
/* The mapping data in LMDB. A folder holds generations `gen-N`, each an environment, and a file
 * CURRENT that names the one to be served. A fill makes the next generation, syncs it, and replaces
 * CURRENT by rename; nothing is ever renamed over a living environment. One process at a time (lock
 * file).
 *
 * Every value carries a checksum over its key and itself, and an environment is measured against
 * its own page count before it is used, so that a damaged or truncated store is noticed and filled
 * afresh.
 *
 * Threads: struct folder and all writing belong to the feed thread; a reader belongs to the thread
 * that opened it. */
#ifndef HOLDLINE_MAPPERD_STORE_H
#define HOLDLINE_MAPPERD_STORE_H

#include "common/error.h"
#include "common/slice.h"
#include "mapperd/warm.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

enum store_table {
    STORE_META,       /* name → small records, below */
    STORE_TRUST,      /* trust store name */
    STORE_DOMAIN,     /* domain */
    STORE_RULES,      /* record_rules_key() */
    STORE_USER,       /* identity */
    STORE_PEER,       /* record_peer_key() */
    STORE_CREDENTIAL, /* identity */
    STORE_BLOCKED,    /* record_peer_key() of store and SHA-256, 64 hexadecimal digits */
    STORE_BINDING,    /* record_binding_key() */
    STORE_QUEUE,      /* class, number → a key to be read again */
    STORE_RECENT, /* xid, stamp of statements applied → when (CLOCK_MONOTONIC is gone after a boot:
                     wall ms) */
    STORE_TABLE_COUNT
};

#define STORE_FORMAT 7

struct store;

/* What a reply starts with. */
struct store_serial {
    uint64_t epoch, serial;
};

struct folder {
    int descriptor; /* of the folder, for fsync */
    int lock;       /* its flock() refuses a second mapperd */
    uint64_t last;  /* highest generation number seen */
    size_t map_size;
    char path[4096];
};

/* Makes the folder if needed and locks it. ERROR_CLOSED: another mapperd has it. ERROR_SYSTEM:
 * errno. */
enum error folder_open(struct folder *folder, const char *path, size_t map_size) MUST_CHECK;
void folder_close(struct folder *folder);

/* Opens what CURRENT names and removes every other generation. ERROR_NOT_FOUND: there is none.
 * ERROR_MALFORMED: it can't be trusted (damaged, truncated, of another format or never finished);
 * the reason is logged. ERROR_SYSTEM: the disk is full or fails, which says nothing against it. */
enum error folder_open_current(struct folder *folder, struct store **out) MUST_CHECK;
/* A new, empty generation; not yet CURRENT, not yet synced. */
enum error folder_create(struct folder *folder, struct store **out) MUST_CHECK;
/* Syncs `store` and makes it CURRENT. Afterwards each of its commits is durable. */
enum error folder_install(struct folder *folder, struct store *store) MUST_CHECK;
/* Closes; no reader or writer may be left. `remove` also deletes the generation. */
/* Makes the map of the store as large as folder->map_size, when that is larger. Nobody may have a
 * reader, a writer or a walk in it. ERROR_TOO_LARGE: there is no such room. */
enum error folder_grow_store(const struct folder *folder, struct store *store) MUST_CHECK;
/* For stores to come, and the next folder_grow_store(); false: at the bound. */
bool folder_grow(struct folder *folder);
void folder_close_store(struct folder *folder, struct store *store, bool remove);

uint64_t store_generation(const struct store *store);
struct store_usage {
    uint64_t map_bytes, used_bytes, entries[STORE_TABLE_COUNT];
    uint64_t longest_write_us; /* of the write transactions since it was opened, commit included */
    uint64_t writes;           /* how many of those were committed */
};
enum error store_usage(struct store *store, struct store_usage *usage) MUST_CHECK;

/* A snapshot that is renewed. No allocation once opened. */
struct store_reader {
    struct store *store;
    MDB_txn *txn;
    bool held; /* the snapshot is taken */
    struct store_serial serial;
    struct warm_tree peers; /* of the snapshot with this number */
    size_t peers_of;
    struct { /* devices looked up ahead, in the order in which they will be asked for */
        struct slice keys[WARM_KEYS_MAX];
        MDB_val found[WARM_KEYS_MAX];
        size_t count, at;
    } ahead;
};
enum error store_reader_open(struct store *store, struct store_reader *reader) MUST_CHECK;
/* Lets go of the snapshot, so that its pages can be used again. */
void store_reader_rest(struct store_reader *reader);
/* Takes a new snapshot and reads its epoch and serial. */
enum error store_reader_renew(struct store_reader *reader) MUST_CHECK;
void store_reader_close(struct store_reader *reader);

/* *value points into the map until the snapshot is let go. ERROR_NOT_FOUND; ERROR_LIBRARY: damage,
 * logged; the store must not be used any more. */
enum error store_get(struct store_reader *reader, enum store_table table, struct slice key,
                     struct slice *value) MUST_CHECK;

/* Looks these devices up, all at once; at most WARM_KEYS_MAX keys, which must stay until
 * store_forget_ahead() or the snapshot is let go; store_get() asks for them in this order. Changes
 * no answer. */
void store_look_ahead(struct store_reader *reader, const struct slice *keys, size_t count);
/* Before the keys go: some may not have been asked for. */
void store_forget_ahead(struct store_reader *reader);

/* One write transaction. An error inside makes store_commit() fail and nothing is kept. */
struct store_writer {
    struct store *store;
    MDB_txn *txn;
    enum error error;
    uint64_t begun_mono_us;
    MDB_cursor *end; /* of the table that was appended to last; NULL: of none */
    enum store_table end_of;
};
enum error store_begin(struct store *store, struct store_writer *writer) MUST_CHECK;
void store_put(struct store_writer *writer, enum store_table table, struct slice key,
               struct slice value);
/* Keys must come in byte order, each above the last of the table. */
void store_append(struct store_writer *writer, enum store_table table, struct slice key,
                  struct slice value);
void store_delete(struct store_writer *writer, enum store_table table,
                  struct slice key); /* absent is fine */
enum error store_writer_get(struct store_writer *writer, enum store_table table, struct slice key,
                            struct slice *value) MUST_CHECK;
enum error store_commit(struct store_writer *writer) MUST_CHECK;
void store_abort(struct store_writer *writer);

/* Walks keys from `from` on, in byte order, in a reader's or a writer's transaction. Closed by
 * store_walk_end(), before the transaction ends. The slices last until the next change. */
struct store_walk {
    struct store *store;
    MDB_cursor *cursor;
    enum store_table table;
    bool started;
    enum error error;
    struct slice from;
};
void store_walk_reader(const struct store_reader *reader, enum store_table table, struct slice from,
                       struct store_walk *walk);
void store_walk_writer(struct store_writer *writer, enum store_table table, struct slice from,
                       struct store_walk *walk);
bool store_walk_next(struct store_walk *walk, struct slice *key,
                     struct slice *value); /* false: end, or walk->error */
void store_walk_end(struct store_walk *walk);

#endif
