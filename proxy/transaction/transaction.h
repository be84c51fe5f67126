/* SPDX-License-Identifier: Apache-2.0 */
/* What server and client transactions share (RFC 3261 17, RFC 6026): what of a message is compared,
 * where bytes go, the timing values, and the branches we make. One worker's thread each; no libev,
 * no connections, no clock of its own. */
#ifndef HOLDLINE_TRANSACTION_TRANSACTION_H
#define HOLDLINE_TRANSACTION_TRANSACTION_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/net/flow.h"
#include "proxy/worker_base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message;

/* Octets of a branch that we make: cookie (7), worker (at most 5), dot, 20 random characters = 100
 * bits: not to be guessed. */
#define TRANSACTION_BRANCH_MAX 40
/* Octets of what identifies a transaction. Branches of phones have 20 to 60; only the RFC 2543
 * rules compare whole header values. */
#define TRANSACTION_KEY_MAX 2048

/* What of a message the matching rules of 17.1.3 and 17.2.3 look at; slices lie in the message. */
struct transaction_id {
    uint64_t device;           /* who sent it, as in struct transaction_way: others never match */
    struct slice method;       /* of a request its own, of a response that of CSeq */
    struct slice branch;       /* of the topmost Via; empty: none */
    struct slice sent_by_host; /* of the topmost Via */
    unsigned sent_by_port;     /* the transport's default when none is written */
    /* From here on for RFC 2543, which knows no unique branches. */
    struct slice via;         /* the topmost one's whole value */
    struct slice request_uri; /* as written */
    struct slice from_tag, to_tag, call_id;
    uint32_t cseq;
};

/* Reads an id from a parsed message: nothing fails, what is missing stays empty. `device` is the
 * caller's. */
void transaction_id_of(struct transaction_id *id, const struct message *message, uint64_t device);

/* Where a transaction's messages go. Copied; a stale flow is a normal outcome of sending, never a
 * crash. */
struct transaction_way {
    struct flow flow;
    /* Keyed hash of the certificate's or route's identity, known once the connection is open; it
     * outlives the connection. 0: nobody, which equals only another 0. */
    uint64_t device;
    bool reliable; /* TCP, TLS: no retransmissions, timers D, I, J, K are zero */
};

/* How bytes leave. They are valid during the call only. Any error is entered into the transaction
 * as a transport error, after the call that led to it has returned. Must not call back into the
 * transaction that sends. */
struct transaction_transport {
    enum error (*send)(void *context, const struct transaction_way *way, struct slice bytes);
    void *context; /* must outlive the tables */
};

/* Milliseconds; RFC 3261 table 4 (500, 4000, 5000). All other timers derive from these. */
struct transaction_timing {
    unsigned t1_ms, t2_ms, t4_ms;
};

/* Writes "z9hG4bK" WORKER "." RANDOM, NUL-terminated, into out[TRANSACTION_BRANCH_MAX + 1]. */
void transaction_branch_make(char *out, unsigned worker);

/* The worker whose branch this is: true only for the form made above and a number < workers. */
bool transaction_branch_worker(struct slice branch, unsigned workers, unsigned *worker) MUST_CHECK;

#endif
