/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop thread and the feed thread say to each other. A message owns its bytes; who takes
 * it, frees it. */
#ifndef HOLDLINE_MAPPERD_MESSAGE_H
#define HOLDLINE_MAPPERD_MESSAGE_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"
#include "mapperd/record.h"
#include "mapperd/report.h"
#include "mapperd/store.h"

#include <stdint.h>

/* A client's place, valid only while its generation is the same. */
struct client_reference {
    uint32_t slot, generation;
};

enum bind_outcome { BIND_NONE = 0, BIND_DONE, BIND_UNCONFIRMED, BIND_REFUSED };

/* Feed → loop. */
enum feed_message_kind {
    FEED_STORE = 1, /* serve this store from now on; the one before goes back with LOOP_RELEASE */
    FEED_ANSWERED,  /* the database has answered a poll sent after gate `gate` was shut */
    FEED_APPLIED,   /* … and all of it is in the store */
    FEED_DISTRUST, /* the store is of another history or below the floor: not to be served by a gate
                      still shut */
    FEED_LOST,     /* the database went away */
    FEED_CHANGED,  /* text: one payload of SUBSCRIBE a line, all committed; serial is the last one's
                    */
    FEED_PROOF,    /* written_boot_ms of the newest counter that came back; UINT64_MAX = unknown */
    FEED_BOUND,    /* answer to LOOP_BIND */
    FEED_DAMAGED,  /* the store is damaged: answer nothing */
    FEED_REPORTED, /* the reports of LOOP_REPORTS are done with */
};

struct feed_message {
    enum feed_message_kind kind;
    struct store *store;
    struct store_serial serial;
    bool ask_first; /* before the store is answered from */
    uint64_t gate, written_boot_ms;
    struct client_reference client;
    uint64_t request;
    enum bind_outcome outcome;
    struct buffer text; /* changes; or why a BIND was refused */
};

/* Loop → feed. */
enum loop_message_kind {
    LOOP_GATE = 1, /* poll once more, from now, and say FEED_ANSWERED and FEED_APPLIED for `gate` */
    LOOP_BIND,
    LOOP_RELEASE, /* no reader is left in `store` */
    LOOP_REPORTS, /* unknown devices, for the database */
    LOOP_DAMAGED, /* a lookup found `store` damaged */
    LOOP_STOP,
};

enum bind_kind { BIND_PUT = 1, BIND_REMOVE_ONE, BIND_REMOVE_DEVICE, BIND_REMOVE_ALL };

struct loop_message {
    enum loop_message_kind kind;
    struct store *store;
    struct reports *reports; /* owned */
    uint64_t gate;
    struct client_reference client;
    uint64_t request, due_mono_ms;
    enum bind_kind bind;
    struct record_binding binding; /* slices into `text` */
    struct buffer text;
};

struct feed_message *feed_message_new(enum feed_message_kind kind) MUST_CHECK;
void feed_message_free(struct feed_message *m);
struct loop_message *loop_message_new(enum loop_message_kind kind) MUST_CHECK;
void loop_message_free(struct loop_message *m);

#endif
