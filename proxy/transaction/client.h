/* SPDX-License-Identifier: Apache-2.0 */
/* Client transactions: RFC 3261 17.1 as corrected by RFC 6026. They repeat requests where the
 * transport may lose them, match responses, acknowledge a refused INVITE. One worker's thread.
 *
 *   INVITE      event           next        does
 *   New         start           Calling     B (64*T1); unreliable: A (T1)
 *   Calling     A               -           sends the request again; A = 2*A
 *               B               Terminated  timed_out()
 *               1xx             Proceeding  response()
 *               2xx             Accepted    response(); M (64*T1)
 *               3xx-6xx         Completed   sends ACK; response(); D (64*T1, reliable 0)
 *               transport error Terminated  transport_failed()
 *   Proceeding  1xx             -           response(); no timer: timer C is the owner's
 *               2xx, 3xx-6xx, transport error: as Calling
 *   Completed   3xx-6xx         -           sends the ACK again
 *               D               Terminated
 *               transport error Terminated  transport_failed(): the ACK could not be sent
 *   Accepted    2xx             -           response(): a further 2xx, or one repeated
 *               M               Terminated
 *
 *   others      event           next        does
 *   New         start           Trying      F (64*T1); unreliable: E (T1)
 *   Trying      E               -           sends the request again; E = min(2*E, T2)
 *               1xx             Proceeding  response()
 *               final           Completed   response(); K (T4, reliable 0)
 *               F               Terminated  timed_out()
 *               transport error Terminated  transport_failed()
 *   Proceeding  E               -           sends the request again; E = T2
 *               1xx             -           response()
 *               final, F, transport error: as Trying
 *   Completed   K               Terminated
 *
 *   New         transport error Terminated  transport_failed()
 *   any state   detach          Terminated  in New, and others' Trying and Proceeding. An INVITE
 *                                           in Calling or Proceeding lives on for at most 64*T1,
 *                                           so that a late refusal is still acknowledged; later
 *                                           states end with their timers
 *   A timer of 0 is over at once. What a state does not name is absorbed without an upcall.
 *   Whoever may still get a 2xx stays attached: a detached transaction drops it. */
#ifndef HOLDLINE_TRANSACTION_CLIENT_H
#define HOLDLINE_TRANSACTION_CLIENT_H

#include "proxy/transaction/transaction.h"

enum client_state {
    CLIENT_NONE = 0,
    CLIENT_NEW, /* made, has its branch, nothing sent: no timer, not found by responses */
    CLIENT_CALLING,
    CLIENT_TRYING,
    CLIENT_PROCEEDING,
    CLIENT_COMPLETED,
    CLIENT_ACCEPTED,
    CLIENT_TERMINATED,
};

struct client_transaction;

/* Upcalls; none may be NULL. All but ended() may call any function of this header. None is made
 * from inside client_transaction_start(), _transport_failed() or _detach(), and none after
 * _detach(). */
struct client_user {
    /* From _received(), which passes `message` through. */
    void (*response)(void *owner, struct client_transaction *t, const struct message *message);
    /* B or F, from timers_run(); ended() follows. */
    void (*timed_out)(void *owner, struct client_transaction *t);
    /* From the run queue; ended() follows. */
    void (*transport_failed)(void *owner, struct client_transaction *t);
    /* The last call, from the run queue; then it is freed. */
    void (*ended)(void *owner, struct client_transaction *t);
};

struct client_table {
    struct worker_base *base;
    struct transaction_timing timing;
    struct transaction_transport transport;
    struct client_transaction *all;    /* uthash by branch and method */
    struct client_transaction *ending; /* terminated, to be freed by the run queue */
    size_t count, limit;               /* the ending ones included */
};

void client_table_init(struct client_table *table, struct worker_base *base,
                       const struct transaction_timing *timing,
                       const struct transaction_transport *transport, size_t limit);
/* Frees all transactions without any upcall. */
void client_table_free(struct client_table *table);

/* Makes one for a request of `method` (ACK: ERROR_MALFORMED) and draws its branch; the owner then
 * serialises the request with that branch and calls _start(). ERROR_TOO_LARGE: table full, or
 * method over 32 octets; ERROR_MEMORY. */
enum error client_transaction_new(struct client_table *table, struct slice method,
                                  const struct transaction_way *way, const struct client_user *user,
                                  void *owner, struct client_transaction **out) MUST_CHECK;
/* For the CANCEL of an INVITE: same branch, same way (9.1). Only when
 * client_transaction_may_cancel(invite). ERROR_MALFORMED: it is not an INVITE, or its CANCEL
 * exists. */
enum error client_transaction_new_cancel(struct client_transaction *invite,
                                         const struct client_user *user, void *owner,
                                         struct client_transaction **out) MUST_CHECK;
/* NUL-terminated, with the cookie; at most TRANSACTION_BRANCH_MAX octets. */
const char *client_transaction_branch(const struct client_transaction *t);

/* The owner hands `request` (all of it, as sent) to the transport in this turn, after this call:
 * the first sending is the owner's, with what permits it; repeating is done here. Copied only where
 * it may be needed again (INVITE: for the ACK; unreliable: all). ERROR_MEMORY: still New, don't
 * send, detach. */
enum error client_transaction_start(struct client_transaction *t, struct slice request) MUST_CHECK;
/* What was started has not left, and leaves with this text instead, the branch the same. Nothing
 * but in Calling and Trying. ERROR_MEMORY: the old one is kept. */
enum error client_transaction_rewrite(struct client_transaction *t,
                                      struct slice request) MUST_CHECK;
/* An INVITE, as it was given last, until it is refused: what its CANCEL is made from (9.1). */
struct slice client_transaction_request(const struct client_transaction *t);
/* Where the ACK, and repeated requests, go from now on: when the first sending found another
 * connection of the same device. */
void client_transaction_set_way(struct client_transaction *t, const struct transaction_way *way);

/* The transaction that a response belongs to: topmost branch, CSeq's method, and the device that it
 * came from must all be equal (17.1.3; a response from anybody else matches nothing). NULL: none:
 * drop it. */
struct client_transaction *client_table_find(const struct client_table *table, struct slice branch,
                                             struct slice cseq_method, uint64_t device);
/* A response came for it. */
void client_transaction_received(struct client_transaction *t, const struct message *response);
/* The owner learned that the request, or what else it sends, can't get there. */
void client_transaction_transport_failed(struct client_transaction *t);
/* The owner loses its interest: no upcalls from here on, the pointer is not to be used again. */
void client_transaction_detach(struct client_transaction *t);

/* A CANCEL may go out: an INVITE that has had a provisional and no final response (9.1). */
bool client_transaction_may_cancel(const struct client_transaction *t);
enum client_state client_transaction_state(const struct client_transaction *t);
bool client_transaction_is_invite(const struct client_transaction *t);
const struct transaction_way *client_transaction_way(const struct client_transaction *t);
void *client_transaction_owner(const struct client_transaction *t); /* NULL once detached */
const char *client_state_text(enum client_state state);

#endif
