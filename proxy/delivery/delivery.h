/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a message to a flow, whichever worker owns it. This is the moment when a decision counts:
 * the worker that writes looks once more whether the ground of the decision still holds (design:
 * "When a decision counts"), and sends it back if not. A flow that is gone is replaced by the same
 * device's newest connection, found through the device's home worker; when that has come by another
 * listener, the request has to be written anew, since it names itself by the one it was for. */
#ifndef HOLDLINE_DELIVERY_DELIVERY_H
#define HOLDLINE_DELIVERY_DELIVERY_H

#include "proxy/delivery/device_home.h"
#include "proxy/delivery/mail.h"
#include "proxy/worker_base.h"

struct ask;
struct connection;
struct endpoint;
struct net;
struct peer;

struct delivery_order {
    struct flow flow;   /* generation 0 = only the device is known */
    uint64_t device;    /* whose flow it must be; another device's is as good as gone */
    uint32_t listener;  /* of struct flow: that the bytes name in Via and Record-Route. Heeded for
                           what  has a ground and a branch, who can write it anew */
    uint64_t group;     /* nonzero: a connection takes one order of this group, others are MERGED */
    const char *branch; /* client transaction to be told of a failure, also a later one (LOST);
                           NULL = nobody */
    const struct identity
        *needed; /* what a replacing connection's peer must hold; NULL = nothing */
    const struct ground
        *ground; /* what permits it; NULL = needs no permission (responses, CANCEL) */
};

/* What the layers above do with letters that are not delivery's own. */
struct delivery_user {
    void *owner;
    /* flow: of MOVED where the device is, else without meaning. */
    void (*not_sent)(void *owner, const char *branch, enum delivery_outcome outcome,
                     struct flow flow);
    void (*response)(void *owner, struct slice bytes, uint64_t device);
    void (*cancel)(void *owner, struct letter *letter); /* takes the letter */
    void (*removed)(void *owner, uint64_t tag);
};

struct delivery;

struct delivery *delivery_new(struct worker_base *base, struct net *net, struct ask *ask,
                              struct post_office *office,
                              const struct delivery_user *user) MUST_CHECK;
void delivery_free(struct delivery *delivery);

/* Never calls back from inside: MAILED failures come later through user->not_sent, MOVED always. */
enum delivery_outcome delivery_send(struct delivery *delivery, const struct delivery_order *order,
                                    struct slice bytes) MUST_CHECK;

/* For things that nobody waits for: failures are counted and forgotten. */
void delivery_try(struct delivery *delivery, const struct delivery_order *order,
                  struct slice bytes);

/* Hands a response, or a CANCEL, to another worker. False: box full, dropped and counted. */
bool delivery_hand_on(struct delivery *delivery, unsigned worker, struct letter *letter);

/* The peer of a connection is known by its device key now, or is gone: tells the device's home. */
void delivery_flow_opened(struct delivery *delivery, uint64_t device, struct flow flow);
void delivery_flow_closed(struct delivery *delivery, uint64_t device, struct flow flow);

/* A final response for the branch came over this connection. */
void delivery_answered(struct endpoint *endpoint, struct slice branch);
/* The connection has closed: who waits for an answer from it is told, by letter. */
void delivery_endpoint_gone(struct delivery *delivery, struct endpoint *endpoint);

/* Tells all other workers that bindings of an AoR were taken away. */
void delivery_tell_removed(struct delivery *delivery, uint64_t tag);

/* Reads the worker's box; from the loop. */
void delivery_read_box(struct delivery *delivery);

#endif
