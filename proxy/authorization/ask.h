/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's link to mapperd: lookups with their cache, the subscription that keeps both true, and
 * the registrar's writes. Two connections to one unix socket: questions and messages on the first,
 * so that they come in one order; BIND and UNBIND on the second, so that a write that waits for
 * PostgreSQL never stands before a question. Nothing blocks. One thread: the worker's.
 *
 * The link (ask_become() alone writes its state):
 *
 *   DOWN         no connection; the next attempt comes after 50 ms, doubled up to 1 s, with jitter
 *   CONNECTING   connect() is under way
 *   SUBSCRIBING  SUBSCRIBE is sent, its first tick is not here: nothing is asked yet
 *   UP           ticks come
 *
 *   event        DOWN        CONNECTING   SUBSCRIBING  UP
 *   RETRY        CONNECTING  -            -            -
 *   CONNECTED    -           SUBSCRIBING  -            -
 *   FIRST_TICK   -           -            UP           -
 *   CLOSED       -           DOWN         DOWN         DOWN
 *   TICK_LOST    -           DOWN         DOWN         DOWN     2 s without a tick
 *   GARBAGE      -           DOWN         DOWN         DOWN     what came can't be understood
 *   STOPPED      DOWN        DOWN         DOWN         DOWN
 *
 * DOWN drops every cached answer and forgets the position, so that a mapperd that stands still
 * keeps no old yes alive. What waits goes on waiting and is asked again when the link is UP; ending
 * a wait is its owner's deadline.
 *
 * A lookup (lookup_become()):
 *
 *   QUEUED   to be sent at the end of this turn, or when the link is UP
 *   ASKED    sent, its reply is due in its turn
 *   HELD     its reply could not be used (older than a message, another epoch, -LOADING): asked
 *            again at the next tick, 100 ms later at the most
 *   DONE     answered or failed; freed
 *
 *   event        QUEUED   ASKED                  HELD
 *   SENT         ASKED    -                      -
 *   ANSWERED     -        DONE                   -
 *   OUTDATED     -        QUEUED once, then HELD -
 *   AGAIN        -        -                      QUEUED
 *   FAILED       -        DONE                   -
 *   LINK_LOST    QUEUED   QUEUED (no waiter: DONE) QUEUED
 *   ABANDONED    DONE     ASKED (kept for order) DONE
 *
 * Identical lookups of PEER, RIGHTS and CREDENTIAL are one, from QUEUED on until the reply. LOCATE
 * is joined only while it is QUEUED: a binding written meanwhile (on another connection) must be
 * seen, and bindings are never published. */
#ifndef HOLDLINE_AUTHORIZATION_ASK_H
#define HOLDLINE_AUTHORIZATION_ASK_H

#include "common/reason.h"
#include "common/run_queue.h"
#include "proxy/authorization/answer.h"
#include "proxy/worker_base.h"

/* A tick comes every 500 ms; so long without one is a lost subscription. */
#define ASK_TICK_LOST_MS 2000
/* Different lookups that wait at once. Requests are bounded before (park_total); this is the last
 * line, and bounds what is written to mapperd to some 20 MB. */
#define ASK_LOOKUPS_MAX 65536
/* Writes that wait at once. */
#define ASK_WRITES_MAX 65536
/* One reply. A device may have some 10,000 identities. */
#define ASK_REPLY_MAX       (4u << 20)
#define ASK_REPLY_ITEMS_MAX 65536

struct ask;

enum ask_state { ASK_DOWN = 0, ASK_CONNECTING, ASK_SUBSCRIBING, ASK_UP };

/* Upcalls, all on the worker's thread, never from inside a call into ask; NULL = not wanted. They
 * must not destroy the ask. */
struct ask_user {
    void *owner;
    /* A message was read: TAG_ALL for `*`, a new epoch or a new subscription. The cache and the
     * lookups have dealt with it already. Called while the socket is read: queue what follows. */
    void (*changed)(void *owner, uint64_t tag);
    void (*state_changed)(void *owner, enum ask_state state);
};

struct ask_options {
    const char *socket_path; /* mapperd's; copied; at most 107 octets */
    size_t cache_entries;
};

/* Connects at once when the loop turns. ERROR_MEMORY, ERROR_TOO_LARGE (path). */
enum error ask_new(struct worker_base *base, const struct ask_options *options,
                   const struct ask_user *user, struct ask **out) MUST_CHECK;
/* All waiters must have left. */
void ask_free(struct ask *ask);

enum ask_state ask_state(const struct ask *ask);
/* Why a wait that ran into its deadline did: REASON_MAPPERD_UNREACHABLE unless the link is UP, else
 * REASON_PARK_DEADLINE. */
enum reason ask_deadline_reason(const struct ask *ask);

struct ask_status {
    enum ask_state state;
    bool writes_open;       /* the second connection stands */
    uint64_t epoch, serial; /* position; 0 unless UP */
    uint64_t floor;
    bool age_known;
    uint64_t age_ms;        /* of mapperd's last proof of being current, as the last tick said */
    size_t lookups, writes; /* that wait now */
    size_t cached, cached_unknown;
    uint64_t hits, misses, outdated, connects, garbage;
};
void ask_get_status(const struct ask *ask, struct ask_status *status);

/* ---- Lookups ---- */

struct lookup;

/* Embedded in its user; all zero is idle. */
struct lookup_waiter {
    struct answer *answer; /* a reference, until lookup_leave() or the next start; NULL: failed */
    enum reason reason;    /* why there is no answer; REASON_NONE while it waits or has one */
    void (*done)(struct lookup_waiter *waiter); /* from the run queue, in order of arrival */
    void *owner;                                /* the user's */
    /* ask's own: */
    struct ask *ask;
    struct lookup *lookup;
    struct lookup_waiter *prev, *next;
    struct task task;
};

enum lookup_outcome {
    LOOKUP_FULL = 0, /* beyond ASK_LOOKUPS_MAX, or no memory: not started */
    LOOKUP_READY,    /* waiter->answer is there, from the cache; done() will not be called */
    LOOKUP_WAITING,  /* done() will be called once, unless lookup_leave() comes first */
};

/* Begin with an idle waiter (`done` and `owner` set). store and cn as the certificate has them,
 * chain as peer_identity has it (empty: no certificate of it is asked about); identities in
 * canonical form. What done() gives holds at that moment: an answer that a message outdated on its
 * way through the run queue is asked again first. */
enum lookup_outcome lookup_peer(struct ask *ask, struct lookup_waiter *waiter, struct slice store,
                                struct slice chain, struct slice cn) MUST_CHECK;
enum lookup_outcome lookup_rights(struct ask *ask, struct lookup_waiter *waiter,
                                  struct slice identity) MUST_CHECK;
enum lookup_outcome lookup_locate(struct ask *ask, struct lookup_waiter *waiter,
                                  struct slice identity) MUST_CHECK;
/* HA1s of a user's passwords: mapperd gives them to who has its permission `credential` alone;
 * without it the answer is missing with REASON_MAPPERD_UNREACHABLE. Never logged; what came is
 * wiped from the link's input. */
enum lookup_outcome lookup_credential(struct ask *ask, struct lookup_waiter *waiter,
                                      struct slice identity) MUST_CHECK;

/* Ends the wait, gives the answer back, makes the waiter idle. Harmless when idle. Only this waiter
 * leaves; others of the same lookup go on. */
void lookup_leave(struct lookup_waiter *waiter);

static inline bool lookup_waiting(const struct lookup_waiter *waiter)
{
    return waiter->lookup != NULL || task_queued(&waiter->task);
}

/* Whether an answer may be used at this moment. */
bool lookup_holds(const struct ask *ask, const struct answer *answer);

/* ---- The registrar's writes ---- */

struct bind_arguments { /* texts as in docs/protocol.md, BIND; bounded there */
    struct slice aor, device_key, store, cn, ground, entry, instance;
    uint64_t reg_id;
    struct slice contact;
    uint64_t expires_unix_s;
    uint64_t q;
    struct slice call_id;
    uint64_t cseq;
    struct slice flow, path, registered_by;
};

struct unbind_arguments {
    struct slice aor, device_key, instance;
    uint64_t reg_id;
    struct slice contact;
};

enum write_outcome {
    WRITE_NONE = 0,
    WRITE_STORED,      /* durable */
    WRITE_UNCONFIRMED, /* the primary did not confirm in time: outcome unknown */
    WRITE_REFUSED,     /* mapperd: malformed, or not permitted; logged */
    WRITE_FULL,        /* not started: bound or memory */
    WRITE_WAITING,     /* not known yet */
};

struct write;

/* Embedded in its user; all zero is idle. */
struct write_waiter {
    enum write_outcome outcome;
    uint64_t epoch, serial;                    /* of a STORED reply */
    void (*done)(struct write_waiter *waiter); /* from the run queue */
    void *owner;
    /* ask's own: */
    struct ask *ask;
    struct write *write;
    struct task task;
};

/* WRITE_WAITING: done() will be called once, unless write_leave() comes first. Else WRITE_FULL.
 * Writes are answered in order. A connection lost on the way: the write is sent again (writing a
 * binding twice is writing it once) as long as somebody waits for it. While there is no connection
 * it waits; its owner's deadline ends it. */
enum write_outcome ask_bind(struct ask *ask, const struct bind_arguments *arguments,
                            struct write_waiter *waiter) MUST_CHECK;
enum write_outcome ask_unbind(struct ask *ask, const struct unbind_arguments *arguments,
                              struct write_waiter *waiter) MUST_CHECK;
/* Stops waiting; a write not yet sent is not sent any more, one that is sent takes its course.
 * Harmless when idle. */
void write_leave(struct write_waiter *waiter);

#endif
