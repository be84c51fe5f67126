/* SPDX-License-Identifier: Apache-2.0 */
/* Mail: the only thing that passes between worker threads. A letter owns its bytes; whoever takes
 * it frees it. Each worker has one box, bounded; a full box is the sender's problem now, never a
 * wait. */
#ifndef HOLDLINE_DELIVERY_MAIL_H
#define HOLDLINE_DELIVERY_MAIL_H

#include "common/error.h"
#include "common/identity.h"
#include "common/queue.h"
#include "common/slice.h"
#include "proxy/authorization/ground.h"
#include "proxy/net/flow.h"

#include <stdint.h>

#define MAIL_BOX_MAX    65536 /* letters that wait for one worker: some 100 MB at the worst */
#define MAIL_BRANCH_MAX 64    /* octets of a branch of ours */

enum mail_kind {
    MAIL_NONE = 0,
    MAIL_SEND,        /* write bytes to a flow of this worker (or find the device's newest) */
    MAIL_NOT_SENT,    /* answer to MAIL_SEND: outcome says why */
    MAIL_RESPONSE,    /* a SIP response that arrived elsewhere and whose branch is this worker's */
    MAIL_CANCEL,      /* a CANCEL whose INVITE was not found where it arrived */
    MAIL_FLOW_OPENED, /* to a device's home: it has this connection now */
    MAIL_FLOW_CLOSED,
    MAIL_REMOVED, /* bindings of an AoR were taken away; `device` is its tag */
    MAIL_CLOSE,   /* close this flow (control socket) */
};

enum delivery_outcome {
    DELIVERY_NONE = 0,
    DELIVERY_WRITTEN,  /* in the connection's output */
    DELIVERY_MAILED,   /* on its way to another worker; a failure comes as a letter later */
    DELIVERY_GONE,     /* no connection of that device holds what is needed */
    DELIVERY_OUTDATED, /* the permission it rests on has changed: decide again */
    DELIVERY_MERGED,   /* that connection has had this request by another branch */
    DELIVERY_FULL,     /* a worker's box or the connection's output is full */
    DELIVERY_MOVED,    /* the device is on a connection of another listener than its bytes name */
    DELIVERY_LOST,     /* it was written, and the connection has closed before an answer */
};

struct letter {
    enum mail_kind kind;
    enum delivery_outcome outcome; /* MAIL_NOT_SENT */
    unsigned sender;               /* worker that wrote it first: failures go there */
    unsigned hops;                 /* MAIL_SEND, MAIL_CANCEL: how often it was handed on */
    struct flow flow;              /* the flow it is for, or is about; of MOVED: where it is */
    uint32_t listener;             /* MAIL_SEND: that of struct delivery_order */
    uint64_t device;               /* keyed hash of the device key; 0 = none */
    uint64_t group;                /* MAIL_SEND: one request's number; 0 = none */
    char branch[MAIL_BRANCH_MAX +
                1];         /* MAIL_SEND, MAIL_NOT_SENT: the client transaction; "" = nobody */
    struct identity needed; /* MAIL_SEND: identity that another flow must hold; size 0 = none */
    struct ground ground;   /* MAIL_SEND: what permits it */
    bool has_ground;
    struct slice bytes; /* owned: follows the struct in memory */
};

/* A letter with a copy of `bytes` (may be empty), all else zero. NULL without memory. */
struct letter *letter_new(enum mail_kind kind, unsigned sender, struct slice bytes) MUST_CHECK;
void letter_free(struct letter *letter);

/* The boxes of all workers; made before the threads, freed after them. `wake` is called by the
 * sender's thread when a box was empty and must be thread-safe (ev_async_send). */
struct post_office;

struct post_office *post_office_new(unsigned workers) MUST_CHECK;
void post_office_free(struct post_office *office);
/* Nobody can send any more: before the first worker is freed. */
void post_office_close(struct post_office *office);
void post_office_listen(struct post_office *office, unsigned worker, void (*wake)(void *owner),
                        void *owner);

/* Posts; the letter is gone in any case: on ERROR_TOO_LARGE (box full) or ERROR_CLOSED it has been
 * freed. */
enum error post_office_send(struct post_office *office, unsigned worker,
                            struct letter *letter) MUST_CHECK;

/* Takes all that waits for `worker`, by its thread only. */
void post_office_take(struct post_office *office, unsigned worker, struct queue_batch *batch);

#endif
