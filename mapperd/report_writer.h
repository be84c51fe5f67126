/* SPDX-License-Identifier: Apache-2.0 */
/* Writes unknown devices to the primary, on a connection of its own, so that neither a binding nor
 * the feed ever waits for it. It is opened by the first table. Feed thread.
 *
 *   AWAY        no connection; with a table in hand the retry timer runs
 *   CONNECTING
 *   PREPARING   its settings are under way
 *   READY       nothing is under way
 *   WRITING     a table, or once a minute the tidying, is under way
 *
 *   event      AWAY        CONNECTING  PREPARING  READY    WRITING
 *   TAKEN      CONNECTING  -           -          WRITING  -
 *   RETRY      CONNECTING  -           -          -        -
 *   CONNECTED  -           PREPARING   -          -        -
 *   ENDED      -           -           READY      -        READY     then WRITING with a table
 *   TIDY       -           -           -          WRITING  -
 *   LOST       -           AWAY        AWAY       AWAY     AWAY
 *
 * One table is in hand at most; what the loop gathers meanwhile is bounded there. A table goes back
 * with FEED_REPORTED when it is written, or when the server refuses it; while the server is away it
 * is kept. Whether what was under way on a broken connection counted is not known: counts are
 * about.
 */
#ifndef HOLDLINE_MAPPERD_REPORT_WRITER_H
#define HOLDLINE_MAPPERD_REPORT_WRITER_H

#include "common/log.h"
#include "mapperd/database.h"
#include "mapperd/report.h"

struct feed;

enum report_writer_state {
    REPORT_WRITER_AWAY,
    REPORT_WRITER_CONNECTING,
    REPORT_WRITER_PREPARING,
    REPORT_WRITER_READY,
    REPORT_WRITER_WRITING
};

enum report_writer_event {
    REPORT_WRITER_TAKEN,
    REPORT_WRITER_RETRY,
    REPORT_WRITER_CONNECTED,
    REPORT_WRITER_ENDED,
    REPORT_WRITER_TIDY,
    REPORT_WRITER_LOST
};

struct report_writer {
    enum report_writer_state state;
    struct database db;
    ev_timer retry, minute;
    struct reports *reports; /* in hand; owned */
    bool tidying;            /* what is under way is no table */
    bool refused, keep;      /* of what is under way; keep: try again later */
    struct log_limit limit;
};

void report_writer_init(struct feed *feed);
void report_writer_free(struct feed *feed);
/* Takes the table over. */
void report_writer_take(struct feed *feed, struct reports *reports);

/* The columns of STATEMENT_REPORT; each is to be initialised, `failed` to be checked. Pure. */
#define REPORT_COLUMNS 8
void report_writer_columns(const struct reports *reports, struct buffer columns[REPORT_COLUMNS]);

#endif
