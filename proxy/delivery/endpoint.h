/* SPDX-License-Identifier: Apache-2.0 */
/* What the layers above net keep for one open connection: who is at its end, and what is going on
 * for it. It is the connection's peer object (connection_peer()); the worker makes it when the
 * connection opens and frees it when it has closed. */
#ifndef HOLDLINE_DELIVERY_ENDPOINT_H
#define HOLDLINE_DELIVERY_ENDPOINT_H

#include "proxy/net/flow.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct peer;
struct registration;
struct request;
struct unanswered;

struct endpoint {
    struct connection *connection;
    struct flow flow;
    struct peer *peer;
    /* Keyed hash of what the handshake showed: known from the first byte on, so that transactions
     * can be told apart by who sent them. The device key needs mapperd's answer and comes later. */
    uint64_t certificate;
    /* Keyed hash of the device key; 0 = not known yet, or that of each user who has proved a
     * password here: peer_is_device(). */
    uint64_t device;
    uint64_t last_group;           /* delivery: the last group of orders that was written here */
    struct unanswered *unanswered; /* delivery: what was written here and waits for an answer */
    struct request *requests;      /* arrived here and not finished; owned by the request layer */
    struct registration
        *registrations; /* what this connection has registered; owned by the registrar */
    bool closed;        /* its peer has lost everything: nothing of it is served any more */
};

#endif
