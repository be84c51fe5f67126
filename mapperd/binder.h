/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the binder share: the part of the feed thread that writes bindings.
 *
 * A request goes one of two ways. Straight: WAITING, sent to the primary with all others that wait,
 * confirmed, put into the store, answered. Or through the journal: what the primary has not
 * confirmed when the oldest request has waited for bind_confirm_ms, or what was under way on a
 * connection that broke, is made durable there and answered, and is replayed to the primary in the
 * order of versions until it has confirmed.
 *
 * Once a second this mapperd's counter and a page of the purge go behind the batch that is sent
 * then, or alone: by themselves they would be two more round trips, and what is bound meanwhile
 * would wait for them.
 *
 * While the journal holds anything, every new request goes through it: what is later in one order
 * must not overtake on the other way (an UNBIND of all would miss the BIND before it). */
#ifndef HOLDLINE_MAPPERD_BINDER_H
#define HOLDLINE_MAPPERD_BINDER_H

#include "common/log.h"
#include "mapperd/database.h"
#include "mapperd/journal_thread.h"
#include "mapperd/message.h"
#include "mapperd/meta.h"
#include "mapperd/rows.h"

#include <ev.h>

#define BIND_BATCH       1024
#define BIND_GROUP       16 /* of a batch that was refused: what is still undone together */
#define BIND_WAITING_MAX 20000
#define BIND_TEXTS       13 /* columns of text, before those of numbers */
#define BIND_COLUMNS     (BIND_TEXTS + 5)
#define BIND_HELD_MAX    64
#define BIND_PURGE_ROWS  500  /* a second: some milliseconds */
#define COUNTERS         8192 /* counter rows written and not yet seen again: some two hours */

struct feed;

struct written_counter {
    uint64_t counter, unix_ms, boot_ms;
};

/* A BIND or UNBIND on its way. */
struct bind_request {
    struct bind_request *next;
    struct loop_message *message;
    struct record_version version;
    bool journalled; /* the journal has it, or is about to: its client is not this request's */
    bool failed;     /* not written; why is in the next three, or not known */
    bool refused;    /* by a constraint: trying again would not help */
    bool locked;     /* somebody's open transaction holds the row */
    bool superseded; /* a newer version stands there: nothing was written */
    char why[160];
};

struct bind_list {
    struct bind_request *first, **last;
    size_t count;
};

void bind_list_init(struct bind_list *list);
void bind_list_add(struct bind_list *list, struct bind_request *request);
struct bind_request *bind_list_take(struct bind_list *list);

/* A statement of a batch. */
enum bind_step_kind {
    BIND_STEP_PUTS,     /* many BINDs of different bindings */
    BIND_STEP_REMOVAL,  /* one UNBIND */
    BIND_STEP_READING,  /* what now stands there */
    BIND_STEP_POSITION, /* of the WAL, behind all of it */
    BIND_STEP_COUNTER,
    BIND_STEP_PURGE
};

/* A group ends with a sync and is done or undone as a whole. */
struct bind_step {
    enum bind_step_kind kind;
    struct bind_request *first; /* of `count`; NULL where there are none */
    size_t count;
    bool ends_group, failed;
};

/* How a batch is cut into groups: as one; when that is refused, into small ones; then each by
 * itself. */
enum bind_cut { BIND_CUT_NONE, BIND_CUT_SMALL, BIND_CUT_SINGLE };

struct bind_batch {
    enum bind_cut cut;
    bool replay;
    bool unread; /* the reading behind a replay has failed */
    struct bind_list sent;
    struct bind_step steps[BIND_BATCH + 4];
    size_t step_count, step, group; /* `group`: the step that began the one under way */
    struct buffer columns[BIND_COLUMNS];
    /* Rows for the store: sizes, version, key, value. Filled by groups that are done; what was
     * filled is kept while the next batch is on its way. */
    struct buffer records, keeping;
    uint64_t lsn, keeping_lsn; /* behind the commits of either; 0: it was not asked for */
    size_t records_mark;       /* bytes of it that groups before this one have left */
    struct rows_record record;
    struct buffer value;
    /* The bindings of the run of BINDs being put together. */
    struct {
        uint64_t hash;
        uint32_t run;
    } seen[BIND_BATCH * 4];
    uint32_t run;
    struct log_limit refusals;
};

/* The binder's side of the journal. */
struct bind_journal {
    struct journal_thread *thread; /* NULL: it could not be started */
    struct journal_reader reader;
    size_t under_way;              /* messages sent to the thread and not yet taken back */
    struct record_version through; /* replayed up to this version, in this round */
    bool round_ended;              /* what is left waits for `again` */
    uint64_t held[BIND_HELD_MAX];  /* AoRs that a lock keeps from being written, in this round */
    size_t held_count;
    ev_async done;
    ev_timer again, due;
    struct queue_batch taken;
    struct log_limit full; /* that it is full, once a second */
};

/* Where the rounds through table and store stand that end what is over. */
struct bind_purge {
    struct buffer behind[3];  /* key of the last row looked at, NUL-terminated words */
    struct record_key stored; /* of the last record looked at */
    struct record_key doomed[BIND_PURGE_ROWS];
};

enum binder_state {
    BINDER_AWAY,
    BINDER_CONNECTING,
    BINDER_ENROLLING,
    BINDER_PREPARING,
    BINDER_READY
};

struct binder {
    struct database db;
    enum binder_state state;
    ev_timer retry, second;
    struct bind_list waiting;
    struct bind_batch batch;
    struct bind_journal journal;
    bool complained; /* of an enrolment that failed: once, not at each attempt */
    struct written_counter counters[COUNTERS];
    size_t counter_at;
    uint64_t last_counter;
    struct bind_purge purge;
    unsigned turn;             /* which of several hosts it begins with */
    struct meta_origin origin; /* of its server, and when that started */
    uint64_t started;
};

/* binding.c */
void binder_init(struct feed *feed);
void binder_free(struct feed *feed);
void binder_take(struct feed *feed, struct loop_message *message);
void binder_work(struct feed *feed); /* sends what waits, if the connection is free */
/* The log's server is known, or was promoted: a connection to another primary ends. */
void binder_verify(struct feed *feed);
enum error binder_add_counter(struct feed *feed) MUST_CHECK;
bool binder_counter_written(const struct feed *feed, uint64_t counter, struct written_counter *out);
void binder_go_away(struct feed *feed, const char *why);
struct record_version binder_next_version(struct feed *feed);
/* Answers the client and frees the request. */
void binder_answer(struct feed *feed, struct bind_request *request, enum bind_outcome outcome);
void binder_tell(struct feed *feed, struct client_reference client, uint64_t number,
                 enum bind_outcome outcome, const char *why);

/* bind_batch.c */
void bind_batch_init(struct bind_batch *batch);
void bind_batch_free(struct bind_batch *batch);
/* Sends `sent`, which may be empty `each_second`: then the counter and a page of the purge go
 * behind it. */
enum error bind_batch_send(struct feed *feed, enum bind_cut cut, bool each_second) MUST_CHECK;
void bind_batch_result(struct feed *feed, const PGresult *result);

/* bind_journal.c */
void bind_journal_init(struct feed *feed);
void bind_journal_free(struct feed *feed);
/* Whether requests go through the journal now. */
bool bind_journal_in_use(const struct feed *feed);
/* Hands a copy to the journal, whose answer is the client's from then on. */
void bind_journal_put(struct feed *feed, struct bind_request *request);
/* Everything that waits or is under way, since the primary has not confirmed in time. */
void bind_journal_put_all(struct feed *feed);
void bind_journal_remove(struct feed *feed, const struct bind_request *request);
/* Puts the next entries into the batch; false: there are none now. */
bool bind_journal_fill_batch(struct feed *feed);
void bind_journal_restart(struct feed *feed); /* replay from the oldest on */
/* The entry could not be written now: later, and nothing of its AoR before it. */
void bind_journal_hold(struct feed *feed, const struct bind_request *request);
void bind_journal_watch_due(struct feed *feed); /* arms the timer for the oldest request */

/* bind_purge.c */
void bind_purge_init(struct bind_purge *purge);
void bind_purge_free(struct bind_purge *purge);
enum error bind_purge_add(struct feed *feed) MUST_CHECK;
void bind_purge_result(struct feed *feed, const PGresult *result);
/* Some records of the store: what is over goes. */
void bind_purge_store(struct feed *feed);

#endif
