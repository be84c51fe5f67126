/* SPDX-License-Identifier: Apache-2.0 */
/* Server transactions: RFC 3261 17.2 as corrected by RFC 6026. They absorb retransmitted requests,
 * repeat the last response, wait for the ACK of a refused INVITE. One worker's thread.
 *
 * A transaction keeps its key and the last response that it may have to repeat, not the request:
 * that is its owner's.
 *
 *   INVITE      event           next        does
 *   Proceeding  INVITE again    -           sends the last 1xx again, if there was one
 *               respond 1xx     -           sends
 *               respond 2xx     Accepted    sends; L (64*T1)
 *               respond 3xx-6xx Completed   sends; H (64*T1) and, unreliable, G (T1)
 *               ACK             -           nothing
 *   Completed   INVITE again    -           sends the response again
 *               G               -           sends the response again; G = min(2*G, T2)
 *               ACK             Confirmed   acknowledged(); I (T4 unreliable, 0 reliable)
 *               H               Terminated  timed_out()
 *   Confirmed   INVITE, ACK     -           nothing
 *               I               Terminated
 *   Accepted    INVITE again    -           nothing: the callee repeats its 2xx, end to end
 *               respond 2xx     -           sends
 *               ACK             -           is the owner's: SERVER_ACK_PASS
 *               L               Terminated
 *
 *   others      event           next        does
 *   Trying      request again   -           nothing
 *               respond 1xx     Proceeding  sends
 *               respond final   Completed   sends; J (64*T1 unreliable, 0 reliable)
 *   Proceeding  request again   -           sends the last 1xx again
 *               respond 1xx     -           sends
 *               respond final   Completed   sends; J
 *   Completed   request again   -           sends the final response again
 *               J               Terminated
 *
 *   any state   transport error -           transport_failed(); the state stays, as RFC 6026
 *                                           changes 17.2.4; it may come just before ended()
 *               detach          Terminated  in Trying and Proceeding; else it lives on alone
 *   A timer of 0 is over at once. A response that the state does not take is not sent:
 *   ERROR_CLOSED.
 *
 * A CANCEL is a transaction of its own (of the others' kind); the one that it cancels is found by
 * server_table_find_cancelled(). An ACK never makes one. Nothing is sent unasked: 100 for an INVITE
 * is the owner's, and so is that a non-INVITE never gets 408 (RFC 4320). */
#ifndef HOLDLINE_TRANSACTION_SERVER_H
#define HOLDLINE_TRANSACTION_SERVER_H

#include "proxy/transaction/transaction.h"

enum server_state {
    SERVER_NONE = 0,
    SERVER_TRYING,
    SERVER_PROCEEDING,
    SERVER_COMPLETED,
    SERVER_CONFIRMED,
    SERVER_ACCEPTED,
    SERVER_TERMINATED,
};

enum server_ack {
    SERVER_ACK_ABSORBED = 0, /* of a 3xx-6xx, or of nothing: goes no further */
    SERVER_ACK_PASS,         /* of a 2xx: the owner forwards it like any ACK */
};

struct server_transaction;

/* Upcalls; none may be NULL. All but ended() may call any function of this header. None is made
 * from inside server_transaction_new(), _respond(), _retransmitted(), _transport_failed() or
 * _detach(), and none after _detach(). */
struct server_user {
    /* INVITE: the ACK of a 3xx-6xx, once, from _ack(). */
    void (*acknowledged)(void *owner, struct server_transaction *t);
    /* INVITE: no such ACK in 64*T1, from timers_run(); ended() follows. */
    void (*timed_out)(void *owner, struct server_transaction *t);
    /* From the run queue. */
    void (*transport_failed)(void *owner, struct server_transaction *t);
    /* The last call, from the run queue; then it is freed. */
    void (*ended)(void *owner, struct server_transaction *t);
};

struct server_group; /* transactions of one branch: an INVITE and its CANCEL */
struct server_table {
    struct worker_base *base;
    struct transaction_timing timing;
    struct transaction_transport transport;
    struct server_group *groups;       /* uthash */
    struct server_transaction *ending; /* terminated, to be freed by the run queue */
    size_t count, limit;               /* transactions, the ending ones included */
};

/* `base` and the transport's context must outlive the table. */
void server_table_init(struct server_table *table, struct worker_base *base,
                       const struct transaction_timing *timing,
                       const struct transaction_transport *transport, size_t limit);
/* Frees all transactions without any upcall: for the end of a worker, and of tests. */
void server_table_free(struct server_table *table);

/* Begins in Trying, an INVITE in Proceeding. The caller has looked with server_table_find() before.
 * `from` is where responses go. ERROR_TOO_LARGE: table full, key over TRANSACTION_KEY_MAX, or more
 * than four requests with one branch; ERROR_MEMORY; ERROR_MALFORMED: an ACK, no method, or a
 * transaction of that id exists. Nothing is kept of `id`. */
enum error server_transaction_new(struct server_table *table, const struct transaction_id *id,
                                  const struct transaction_way *from,
                                  const struct server_user *user, void *owner,
                                  struct server_transaction **out) MUST_CHECK;

/* Whether method, branch and tags are within the bounds above: if not, no memory will help. */
bool server_transaction_fits(const struct transaction_id *id);

/* The transaction that a request belongs to (17.2.3): of an ACK the INVITE's, of any other request
 * the one that it repeats (of a CANCEL the CANCEL's own). NULL: none. */
struct server_transaction *server_table_find(const struct server_table *table,
                                             const struct transaction_id *id);
/* The transaction that a CANCEL is meant for (9.2), INVITE or not. NULL: none: 481. */
struct server_transaction *server_table_find_cancelled(const struct server_table *table,
                                                       const struct transaction_id *cancel);

/* The request came again, perhaps on a newer connection of the same device, where answers go from
 * now on. */
void server_transaction_retransmitted(struct server_transaction *t,
                                      const struct transaction_way *from);
/* An ACK came for it. */
enum server_ack server_transaction_ack(struct server_transaction *t) MUST_CHECK;
/* Sends a response, 100..699, `bytes` being all of it; copies it if it may have to be repeated.
 * ERROR_CLOSED: see the table above; ERROR_MEMORY: nothing was sent and the state is as before: try
 * a shorter one, or detach. */
enum error server_transaction_respond(struct server_transaction *t, unsigned status,
                                      struct slice bytes) MUST_CHECK;
/* The owner learned that its messages can't get there (connection closed, no answer from the other
 * worker). */
void server_transaction_transport_failed(struct server_transaction *t);
/* The owner loses its interest: no upcalls from here on, the pointer is not to be used again. */
void server_transaction_detach(struct server_transaction *t);

enum server_state server_transaction_state(const struct server_transaction *t);
bool server_transaction_is_invite(const struct server_transaction *t);
const struct transaction_way *server_transaction_way(const struct server_transaction *t);
void *server_transaction_owner(const struct server_transaction *t); /* NULL once detached */
const char *server_state_text(enum server_state state);

#endif
