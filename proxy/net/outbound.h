/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that we open: to a route's literal address, over TCP. One a route and worker, used
 * again while it is open. */
#ifndef HOLDLINE_NET_OUTBOUND_H
#define HOLDLINE_NET_OUTBOUND_H

#include "proxy/net/connection.h"

/* The connection to the route, opened if there is none; it may still be CONNECTING: output waits in
 * it, until `opened` and the bytes go, or `failed`. Never blocks. ERROR_SYSTEM (no socket),
 * ERROR_MEMORY, ERROR_TOO_LARGE (max_connections). */
enum error outbound_connection(struct net *net, const struct config_route *route,
                               struct connection **out) MUST_CHECK;

#endif
