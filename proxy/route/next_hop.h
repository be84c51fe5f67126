/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of a route is asked: the first in the order of the file that has not failed a moment
 * ago (RFC 3263 4.3, RFC 3261 21.5.4). What has failed is not asked before its time is over, unless
 * all have; then the one whose time is over first. One that answers is well again. Each worker
 * finds out for itself: one thread. */
#ifndef HOLDLINE_ROUTE_NEXT_HOP_H
#define HOLDLINE_ROUTE_NEXT_HOP_H

#include "proxy/config.h"

struct next_hops;

/* For the routes of this configuration, which outlives it. NULL: no memory. */
struct next_hops *next_hops_new(const struct config *config) MUST_CHECK;
void next_hops_free(struct next_hops *hops);

/* Of the servers that are not in `tried`, a bit for each. False: none is left. */
bool next_hop_choose(const struct next_hops *hops, const struct config_route *route, unsigned tried,
                     uint64_t now_mono_ms, unsigned *server) MUST_CHECK;

/* Of all of them: a route has one at least. */
unsigned next_hop_best(const struct next_hops *hops, const struct config_route *route,
                       uint64_t now_mono_ms);

void next_hop_failed(struct next_hops *hops, const struct config_route *route, unsigned server,
                     uint64_t until_mono_ms);
void next_hop_answered(struct next_hops *hops, const struct config_route *route, unsigned server);

#endif
