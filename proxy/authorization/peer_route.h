/* SPDX-License-Identifier: Apache-2.0 */
/* Who connects to us by a certificate that a TLS route would accept of its server is that route
 * inside dialogs: the same domain (the route's tls_name is among the certificate's names), verified
 * by a trust store of the same name (RFC 5922), whichever side has opened the connection. So a
 * dialog with another domain does not hang on one connection: it goes to the domain by the route,
 * and the domain's requests and answers come by the connection that we have opened or by its own.
 * A certificate of another name or store is another device, as ever.
 *
 * It is no more than that: a new request of it is judged by its certificate, not as the route's.
 * One thread: the worker's. */
#ifndef HOLDLINE_AUTHORIZATION_PEER_ROUTE_H
#define HOLDLINE_AUTHORIZATION_PEER_ROUTE_H

#include "proxy/authorization/peer.h"

struct config;

struct peer_route {
    const struct config_route *route;
    uint64_t device; /* of `route:NAME` */
};

/* For a device, when its connection opens: looks for the routes of `config`, which outlives
 * the peer. `newest` has the trust stores that they have since the last reload. ERROR_MEMORY. */
enum error peer_count_as_routes(struct peer *peer, const struct config *config,
                                const struct config *newest) MUST_CHECK;

/* After a reload: the same for all that are open. One that there is no memory for is no route. */
void peers_count_as_routes_anew(struct peers *peers, const struct config *config,
                                const struct config *newest);

/* The route with this device hash that it is; NULL: none. */
const struct config_route *peer_route_of_device(const struct peer *peer, uint64_t device);

/* The device hash of the route that leads to this domain, if it is that route; else 0. */
uint64_t peer_route_to_domain(const struct peer *peer, struct slice domain);

#endif
