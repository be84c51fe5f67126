/* SPDX-License-Identifier: Apache-2.0 */
/* What a store knows of itself: where in the log it stands, whose data it holds, how old its last
 * proof of being current is. All of it is written in the transaction that changes the data, so that
 * no crash can part them. Feed thread. */
#ifndef HOLDLINE_MAPPERD_META_H
#define HOLDLINE_MAPPERD_META_H

#include "common/buffer.h"
#include "mapperd/store.h"

#define META_POSITION_MAX \
    65536 /* text of a pg_snapshot; xip has at most one entry a backend or prepared transaction */

/* Whose data it is. */
struct meta_origin {
    uint64_t system_id;
    uint32_t database_oid;
    uint32_t mapperd_id; /* 0: not yet given */
};

/* The newest counter row that came back, with every clock needed to tell its age after a restart.
 */
struct meta_proof {
    bool present;
    uint64_t counter;
    uint64_t written_unix_ms, written_boot_ms;
    char boot_id[37];
};

struct meta {
    struct store_serial serial;
    struct meta_origin origin;
    struct meta_proof proof;
    uint64_t queue_next;      /* number of the next queue entry */
    uint64_t version_seen_ms; /* highest binding version seen */
    bool refill;              /* the data may lack changes: a fill must replace them */
    uint64_t lsn;             /* WAL position behind all that was applied; 0: none */
    char structure[33]; /* of the tables that the data came from, see structure.h; empty: unknown */
    char *position;     /* the snapshot up to which the log has been queued; owned; NULL: none */
};

void meta_init(struct meta *meta);
void meta_free(struct meta *meta);
/* ERROR_MALFORMED: the records are missing or damaged. */
enum error meta_read(struct store_writer *writer, struct meta *meta) MUST_CHECK;
/* Everything but the structure, which seldom changes, and the position, which may be long. */
void meta_write(struct store_writer *writer, const struct meta *meta);
void meta_write_structure(struct store_writer *writer, const struct meta *meta);
void meta_write_position(struct store_writer *writer, const struct meta *meta);
enum error meta_set_position(struct meta *meta, struct slice text)
    MUST_CHECK; /* checks that it reads as a pg_snapshot */
/* The text of the position as it was when `xmax` was the next transaction, or as it is if that was
 * before: what is read from it on misses nothing from `xmax` on. */
enum error meta_rewound_position(const struct meta *meta, uint64_t xmax,
                                 struct buffer *out) MUST_CHECK;
uint64_t meta_position_xmax(struct slice text); /* 0: it does not read as a position */

/* Age in ms of the proof at this moment; UINT64_MAX = unknown: another boot, a clock gone back, or
 * no proof. */
uint64_t meta_proof_age_ms(const struct meta_proof *proof, const char *boot_id,
                           uint64_t now_unix_ms, uint64_t now_boot_ms);
/* The kernel's boot id; 36 characters. Empty when it can't be read: then no age is known after a
 * restart. */
void meta_boot_id(char out[37]);

#endif
