/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the feed thread share. Nothing here is seen by another thread but through
 * feed.h. */
#ifndef HOLDLINE_MAPPERD_FEED_INTERNAL_H
#define HOLDLINE_MAPPERD_FEED_INTERNAL_H

#include "common/log.h"
#include "common/queue.h"
#include "mapperd/binder.h"
#include "mapperd/compare.h"
#include "mapperd/database.h"
#include "mapperd/feed.h"
#include "mapperd/feed_state.h"
#include "mapperd/history.h"
#include "mapperd/key_queue.h"
#include "mapperd/meta.h"
#include "mapperd/options.h"
#include "mapperd/report_writer.h"
#include "mapperd/rows.h"
#include "mapperd/statements.h"
#include "mapperd/structure.h"
#include "mapperd/unreplayed.h"

#include <ev.h>

#define FEED_CONNECT_S   3.0
#define FEED_STATEMENT_S 5.0 /* a poll, the check: small answers */
#define FEED_READ_S      30.0 /* keys or a range: longer than any of them takes, shorter than a hang */
#define FEED_RETRY_S     0.25
#define FEED_QUEUE_LIMIT (1u << 20)
#define FEED_CHANGES_MAX \
    65536u                /* messages the loop has not taken; beyond, changes become one `*` */
#define POLL_ROWS    1000 /* log rows in one write transaction */
#define RECENT_LEAST 100
#define RECENT_MOST  65536
#define RECENT_MS    60000

/* Ranges of a fill come in this order: stores and domains are few, users are needed by every
 * lookup. */
enum fill_table {
    FILL_TRUST,
    FILL_DOMAIN,
    FILL_RULES,
    FILL_USER,
    FILL_PEER,
    FILL_CREDENTIAL,
    FILL_BLOCKED,
    FILL_BINDING,
    FILL_DONE
};

struct fill {
    struct store
        *store; /* the new generation; feed.store itself when nothing is served meanwhile */
    enum fill_table table;
    struct buffer after[3];     /* the last key read of `table`, NUL-terminated words */
    struct record_key frontier; /* its record key: at or below it the copy is complete */
    bool running;               /* a range is under way */
    bool lsn_next;              /* of that: its rows are here, the WAL position comes */
    unsigned ahead;             /* … and so many behind it as well */
    bool discard;               /* … for an attempt given up */
    uint64_t rows, started_mono_ms;
};

/* A standby does not say in its snapshot what is in progress: that is asked first. */
enum poll_stage { POLL_READING = 0, POLL_LISTENING, POLL_PENDING, POLL_APPLYING };

struct poll {
    enum poll_stage stage;
    bool running, everything, answered;
    bool known;         /* the position it leads to is, before its rows: on a standby */
    bool cut;           /* that lies below what is visible: the rest is for the next poll */
    bool large;         /* more rows than one write takes: others must not wait for its end */
    uint64_t gate;      /* of LOOP_GATE that this poll was sent after; 0 = none */
    bool after_fill;    /* sent after the last range */
    bool after_compare; /* sent after a range was compared and differed */
    struct key keys[POLL_ROWS];
    struct buffer memory;
    size_t offsets[POLL_ROWS][2];
    size_t count;
    struct buffer snapshot;
    uint64_t replayed; /* WAL position of the poll before: its rows hold all up to there */
    uint64_t counter, xid, stamp, of_xid;
    bool has_counter, has_statement;
    struct {
        uint64_t xid, stamp;
    } statements[POLL_ROWS];
    size_t statement_count;
};

/* A poll whose keys are not all applied yet. */
struct mark {
    bool set;
    uint64_t through; /* queue numbers up to this one */
    uint64_t gate, counter, replayed;
    bool has_counter, after_fill;
};

struct reread {
    bool running;
    bool of_poll; /* the batch is the poll's: it was never queued, its words lie in the poll */
    struct key_batch batch;
    enum key_kind steps[8]; /* statements of the batch under way, in order */
    size_t step_count, step;
    struct rows_record record;
    struct buffer puts; /* what the results say: table, key, value, one behind the other */
    struct buffer changes;
};

enum pruner_state { PRUNER_RESTING, PRUNER_CONNECTING, PRUNER_ASKING };

struct pruner {
    struct database db;
    enum pruner_state state;
    ev_timer due;
    int64_t gone; /* rows that the call under way has deleted; -1: no answer yet */
};

struct feed {
    const struct options *options;
    pthread_t thread;
    struct ev_loop *loop;
    ev_async woken;
    ev_timer retry, poll_timer, second;
    struct queue to_feed, to_loop;
    atomic_uint untaken; /* messages in to_loop */
    void (*wake)(void *context);
    void *wake_context;
    struct feed_statistics statistics;

    enum feed_state state;
    struct folder folder;
    struct store *store;      /* written by the feed; served, unless fill.store is the same */
    bool served;              /* the loop has it */
    bool unopened;            /* it is there, but could not be written: tried at each connect */
    struct meta meta;         /* of `store` */
    struct store *retired[8]; /* waiting for LOOP_RELEASE */
    struct store *growing;    /* the served one, until the loop has let go of it */
    char boot_id[37];

    struct database log, keys;
    unsigned connected;        /* of the two */
    unsigned turn;             /* which of several hosts they begin with; the same for both */
    struct meta_origin server; /* of the connection that reads */
    struct buffer server_snapshot;
    enum feed_check {
        CHECK_HELLO,
        CHECK_KEYS_HELLO,
        CHECK_PREPARE,
        CHECK_PREPARE_KEYS,
        CHECK_HISTORY,
        CHECK_RECENT,
        CHECK_PENDING
    } check;
    enum history history;
    bool standby;         /* the server that is read is one; promotion ends it */
    bool listening;       /* for hints; not on a standby */
    bool pending_cut;     /* ask on */
    uint64_t server_lsn;  /* at the hello */
    uint64_t polled_lsn;  /* of the last poll that was answered on this connection; 0: none */
    struct buffer recent; /* xid, stamp pairs of the server, for a fill */
    uint64_t newest_xid;  /* of the statements that the check has asked for; 0: none */

    struct poll poll;
    /* While a large poll streams, what was committed behind its snapshot is looked for as well, on
     * the connection of the keys. It moves no position: the next poll finds it again. */
    struct poll peek;
    struct buffer peek_position; /* with its NUL; empty: the large poll's snapshot */
    uint64_t peeked_mono_ms;
    bool peek_ended; /* something large came behind the large one: both wait their turn */
    struct mark mark;
    struct reread reread;
    struct fill fill;
    bool queue_may_hold; /* the queue is not known to be empty */
    bool fill_turn;
    bool position_moved;
    bool overflowed; /* the loop missed changes: it is owed a `*` */
    uint64_t gate;   /* newest LOOP_GATE not yet carried by a poll; 0 = none */
    size_t recent_count;
    struct binder binder;
    struct report_writer report_writer;
    struct pruner pruner;
    struct journal journal; /* open for as long as the feed */
    struct unreplayed unreplayed;
    struct compare compare;
    struct structure structure;
    struct queue_batch taken;
    bool unreachable;        /* and said so */
    bool hinted;             /* a NOTIFY came while a poll was under way */
    unsigned failures;       /* in a row, behind a connection that stood */
    uint64_t server_started; /* of the server process; no two servers share it */
    bool stopping;
};

/* The log is read. */
static inline bool feed_follows(const struct feed *feed)
{
    return feed->state == FEED_STATE_FILLING || feed->state == FEED_STATE_FEEDING;
}

/* feed.c */
void feed_raise(struct feed *feed, enum feed_event event);
void feed_tell(struct feed *feed, struct feed_message *message);
void feed_tell_plain(struct feed *feed, enum feed_message_kind kind, uint64_t gate);
void feed_tell_changes(struct feed *feed, struct buffer *changes);
void feed_tell_proof(struct feed *feed);
_Noreturn void feed_end(
    const char *why); /* what can't be survived: no memory for a message that must not be lost */
void feed_work(struct feed *feed);             /* keys connection is free: next batch or range */
void feed_settle(struct feed *feed);           /* something was applied: does the mark hold now? */
uint64_t feed_number(const struct feed *feed); /* of the newest queue entry */

void feed_raise_lsn(struct feed *feed, uint64_t lsn); /* of something read, before it is applied */

/* feed_store.c */
/* At the start; and again at each connect while the disk keeps it from being written: a store that
 * is opened without writing would show an age that nobody can keep. */
void feed_store_open(struct feed *feed);
/* Says what is wrong with the store or disk and takes the way back: damage → fill, anything else →
 * retry. */
void feed_store_failed(struct feed *feed, enum error e, const char *doing);
/* The loop has it from now on, and asks first whether it is current if `ask_first`. */
void feed_store_serve(struct feed *feed, bool ask_first);
/* The loop has let go of it: a retired one is thrown away, one whose map is full grows. */
void feed_store_release(struct feed *feed, struct store *store);

/* check.c */
void check_start(struct feed *feed);
void check_result(struct feed *feed, const PGresult *result);

/* poll.c */
void poll_send(struct feed *feed);
void poll_result(struct feed *feed, const PGresult *result);
void poll_reset(struct poll *poll);
bool poll_peek(
    struct feed *feed); /* on the idle connection of the keys; false: nothing to look for */
void poll_peek_result(struct feed *feed, const PGresult *result);
void poll_remember(struct store_writer *writer, uint64_t xid, uint64_t stamp, uint64_t now_unix_ms);
void poll_trim_recent(struct feed *feed);
/* Into the transaction that has its keys, or what they say: its statements; with `last` its
 * position. */
enum error poll_write(struct feed *feed, struct store_writer *writer, struct poll *poll,
                      bool last) MUST_CHECK;
void poll_applied(struct feed *feed); /* what reread_poll() has begun is committed */
void poll_rest(struct feed *feed);    /* the next one after poll_ms, or now when one is owed */

/* reread.c */
bool reread_send(struct feed *feed); /* false: nothing waits */
/* Reads the keys of the poll at once: no queue, one write for what they say and for the position.
 * False: keys wait, or the connection is not free, or they are too many: they must be queued. */
bool reread_poll(struct feed *feed, struct poll *poll);
void reread_result(struct feed *feed, const PGresult *result);
void reread_reset(struct reread *reread);

/* fill.c */
/* How a table is gone through: by the fill, and by the comparison in shorter steps. */
typedef enum rows_outcome (*row_reader)(const PGresult *result, int row,
                                        struct rows_record *record);
struct fill_range {
    const struct database_statement *statement, *compare;
    row_reader read;
    /* Whether two rows are of one key. A range that was cut by its limit then ends before its last
     * key. NULL: one row a key. */
    bool (*same)(const PGresult *result, int row, int other);
    enum store_table table;
    int words;         /* of its key */
    int compare_words; /* of those, the parameters of `compare` */
    bool append;       /* the range comes in the byte order of the record keys */
};
const struct fill_range *fill_range(size_t table);
/* Rows of the result whose keys are whole; `limit` is the statement's. A key that fills all of it
 * is taken as far as it goes. */
int fill_range_rows(const struct fill_range *range, const PGresult *result, int limit);
/* Whether one does: what lies behind is then unknown, that the device is disabled for one. */
bool fill_range_cuts(const struct fill_range *range, const PGresult *result, int limit);
/* The record of the rows from `row` on; record->rows of them. */
static inline enum rows_outcome fill_range_read(const struct fill_range *range,
                                                const PGresult *result, int row,
                                                struct rows_record *record)
{
    record->rows = 1;
    return range->read(result, row, record);
}
void fill_start(struct feed *feed);
bool fill_send(struct feed *feed); /* false: no range is left */
void fill_result(struct feed *feed, const PGresult *result);
void fill_drop(struct feed *feed);
void fill_install(struct feed *feed);
/* Whether a record that was read again belongs into the new generation now; what lies beyond the
 * frontier is copied later. */
bool fill_covers(const struct fill *fill, enum store_table table, struct slice key);

/* prune.c */
void prune_init(struct feed *feed);
void prune_free(struct feed *feed);

#endif
