/* SPDX-License-Identifier: Apache-2.0 */
/* Routes for telephone numbers: which one a number takes, and how the next hop wants it written.
 * Pure. Whether it may go there is the rules' matter, about the number that route_of_number()
 * gives. */
#ifndef HOLDLINE_ROUTE_NUMBER_H
#define HOLDLINE_ROUTE_NUMBER_H

#include "common/number.h"
#include "proxy/config.h"
#include "proxy/sip/uri.h"

/* The route whose number_prefixes has the longest beginning of the number, read by that route's own
 * dial plan; of several the first in file order. *out is the number, so read. NULL: none, or what
 * stands in the URI is no plain number: alice, one with a routing parameter, or with any that its
 * user part has. */
const struct config_route *route_of_number(const struct config *config, const struct uri *uri,
                                           const struct identity *identity, struct number *out);

/* The Request-URI for a number that takes the route, and for a service with the number that the
 * route has for it: of its domain, by its number_form, behind its outside_line; of the arena.
 * data == NULL: no memory. */
struct slice route_number_uri(struct arena *arena, const struct config_route *route,
                              struct slice user, bool sips);
struct slice route_service_uri(struct arena *arena, const struct config_route *route);

/* Whether a number that goes to the route's domain is written anew. */
bool route_rewrites(const struct config_route *route, const struct uri *uri,
                    const struct identity *identity);

#endif
