/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that we open: to the literal addresses of a route's servers, over TCP or TLS. One a
 * server and worker, used again while it is open.
 *
 * One over TLS is used again only where it leads to the same address and port, its server was
 * verified as the domain that the route requires (RFC 5922 7.3), in stores with the same anchors
 * and rules as the route's now, and we have shown it the same certificate (T20). Two routes share
 * none, even if all of that is the same for both: a connection is one peer, `route:NAME`. */
#ifndef HOLDLINE_NET_OUTBOUND_H
#define HOLDLINE_NET_OUTBOUND_H

#include "proxy/net/connection.h"

/* The connection to that server of the route, opened if there is none; it may still be CONNECTING
 * or HANDSHAKING: output waits in it, until `opened` and the bytes go, or `failed`. Never blocks.
 * ERROR_SYSTEM (no socket), ERROR_MEMORY, ERROR_TOO_LARGE (max_connections). */
enum error outbound_connection(struct net *net, const struct config_route *route, size_t server,
                               struct connection **out) MUST_CHECK;

#endif
