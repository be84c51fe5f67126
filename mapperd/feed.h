/* SPDX-License-Identifier: Apache-2.0 */
/* The feed thread: the only writer of LMDB. It follows the change log of a PostgreSQL
 * server, reads changed keys again, fills new generations, writes bindings. The rules are those of
 * docs/feed.md; its states are in feed_state.h.
 *
 * Everything here runs on the feed thread but feed_start(), feed_send(), feed_take() and
 * feed_stop(), which the loop thread calls. */
#ifndef HOLDLINE_MAPPERD_FEED_H
#define HOLDLINE_MAPPERD_FEED_H

#include "common/error.h"
#include "common/queue.h"
#include "mapperd/message.h"

#include <stdatomic.h>

struct journal;
struct options;

/* For INFO: written by the feed thread, read by the loop. */
struct feed_statistics {
    atomic_int state; /* enum feed_state */
    atomic_bool database,
        bindings; /* log and keys connected; the connection that writes bindings */
    atomic_bool refilling;
    atomic_bool standby; /* the server that is read is one */
    atomic_bool behind;  /* it does not hold yet what was applied: waiting */
    atomic_ullong polls, rows, keys_read, keys_waiting, rows_skipped, fills, fill_rows, commits,
        bound, unconfirmed, log_pruned, journalled, journal_replayed, journal_dropped,
        bindings_purged, compare_rounds, compare_ranges, compare_named, tables_unfollowed,
        compare_round_mono_ms;                     /* end of the last whole round; 0: none yet */
    atomic_ullong reports_written, reports_failed; /* unknown devices */
    atomic_uint mapperd_id;
};

struct feed;

/* Starts the thread. `wake` is called, on the feed thread, when the queue to the loop got its first
 * message. */
enum error feed_start(const struct options *options, void (*wake)(void *context), void *context,
                      struct feed **out) MUST_CHECK;
/* Hands over a message; ERROR_TOO_LARGE: the queue is full, the message stays the caller's. */
enum error feed_send(struct feed *feed, struct loop_message *message) MUST_CHECK;
void feed_take(struct feed *feed, struct queue_batch *batch);
const struct feed_statistics *feed_statistics(const struct feed *feed);
/* For a reader of the loop thread's own, closed before feed_stop(). */
struct journal *feed_journal(struct feed *feed);
/* Asks the thread to end and waits for it; the loop must hold no reader any more. Frees. */
void feed_stop(struct feed *feed);

#endif
