/* SPDX-License-Identifier: Apache-2.0 */
/* The slow comparison of store and tables: what went round the log (a disabled trigger, a
 * partition's own INSERT, a row changed by hand under session_replication_role) is found here. It
 * reads one short range after the other, on the connection that reads keys, so that a whole round
 * takes compare_round_s. It writes no record: it names keys, which go into the durable queue and
 * are read again like any other.
 *
 *   RESTING  → ASKING    the next range is due, and the feed is feeding
 *   ASKING   → RESTING   both sides are the same
 *            → POLLING   they differ, perhaps only since a change is on its way
 *   POLLING  → APPLYING  a poll that was sent after the range was read has come
 *   APPLYING → RESTING   all its keys are applied; what the store still has as it was is named
 *   any      → RESTING   the connection is gone, or a fill begins: the range is read again
 *
 * Feed thread. */
#ifndef HOLDLINE_MAPPERD_COMPARE_H
#define HOLDLINE_MAPPERD_COMPARE_H

#include "common/buffer.h"
#include "mapperd/difference.h"
#include "mapperd/record.h"
#include "mapperd/rows.h"

#include <ev.h>

struct feed;

enum compare_state { COMPARE_RESTING, COMPARE_ASKING, COMPARE_POLLING, COMPARE_APPLYING };

struct compare {
    enum compare_state state;
    ev_timer due;
    bool is_due, passed_over; /* once, for keys that wait */
    size_t table;             /* enum fill_table: whose range is next */
    struct buffer after[3];   /* the last key of the database's side, NUL-terminated words */
    struct buffer next[3];    /* the same behind the range under way */
    struct record_key from;   /* the same as a place in the store; empty: the start */
    struct difference_list theirs, found;
    struct difference_range range; /* under way; its slices lie in from and upto */
    struct record_key upto;
    bool cut;
    bool whole; /* read as a fill's, since one key fills all of the short one */
    struct rows_record record;
    uint64_t through; /* queue number that the poll after the range has come to */
    double pause_s;
    uint64_t sent_mono_ms, round_mono_ms;
    uint64_t named, done; /* in this round: keys, ranges */
};

void compare_init(struct feed *feed);
void compare_free(struct feed *feed);
/* Gives up what is under way; `anew`: the next round starts with the first range, since another
 * store is there. */
void compare_reset(struct feed *feed, bool anew);
/* Sends the next range when it is due; false: it is not, the connection is free. */
bool compare_send(struct feed *feed);
void compare_result(struct feed *feed, const PGresult *result);
/* A poll has come whose keys are all queued and that was sent in state POLLING. */
void compare_polled(struct feed *feed);
/* Something was applied. */
void compare_settle(struct feed *feed);

#endif
