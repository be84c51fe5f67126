/* SPDX-License-Identifier: Apache-2.0 */
/* The door to this folder: what the worker hands in and what it is asked to do. One a worker, its
 * thread only. */
#ifndef HOLDLINE_REQUEST_LAYER_H
#define HOLDLINE_REQUEST_LAYER_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/delivery/mail.h"
#include "proxy/sip/framing.h"
#include "proxy/worker_base.h"

struct ask;
struct connection;
struct delivery;
struct endpoint;
struct net;
struct registrar;
struct request_layer;
struct token_keys;

struct request_layer_parts {
    struct worker_base *base;
    struct net *net;
    struct delivery *delivery;
    struct ask *ask;
    struct registrar *registrar;
    const struct token_keys *keys;
    atomic_uint *parked_total; /* of all workers, for park_total */
};

/* Pointers in `parts` must outlive it. NULL without memory. */
struct request_layer *request_layer_new(const struct request_layer_parts *parts) MUST_CHECK;
/* Frees everything without a word to anybody: after request_layer_stop() and the drain. */
void request_layer_free(struct request_layer *layer);

/* From net. `c` has an endpoint. */
void request_layer_message(struct request_layer *layer, struct connection *c, struct slice bytes);
void request_layer_malformed(struct request_layer *layer, struct connection *c, struct slice bytes,
                             enum framing_fault fault);

/* The endpoint's connection has closed: what it has parked is dropped, what is forwarded goes on.
 */
void request_layer_endpoint_gone(struct request_layer *layer, struct endpoint *endpoint);
/* Its peer may be nobody any more: parked requests are refused, its ringing calls cancelled. The
 * connection still stands. */
void request_layer_endpoint_lost(struct request_layer *layer, struct endpoint *endpoint);

/* A connection to a next hop has opened, or will not open. */
void request_layer_connected(struct request_layer *layer, struct flow flow, bool opened);

/* A message of mapperd with this tag (authorization/tag.h): ringing calls that rest on it are
 * decided again. */
void request_layer_changed(struct request_layer *layer, uint64_t tag);

/* peers_trust_anew() was called: ringing calls of who was trusted are decided again. */
void request_layer_reloaded(struct request_layer *layer);

/* To be called every second or so: what rings beyond the edge of a validity window that bears on it
 * is decided again, as after a change. */
void request_layer_look_at_windows(struct request_layer *layer);

/* Keys of dialog tokens, of the same hashes as those before; both outlive the layer. */
void request_layer_use_keys(struct request_layer *layer, const struct token_keys *keys);

/* Letters. */
void request_layer_not_sent(struct request_layer *layer, const char *branch,
                            enum delivery_outcome outcome, struct flow flow);
void request_layer_response(struct request_layer *layer, struct slice bytes, uint64_t device);
void request_layer_cancel(struct request_layer *layer, struct letter *letter); /* takes it */

/* Stop order: parked requests end in 503; forwarded ones may finish. */
void request_layer_stop(struct request_layer *layer);
/* Nothing is under way any more. */
bool request_layer_is_idle(const struct request_layer *layer);

#endif
