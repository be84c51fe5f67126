/* SPDX-License-Identifier: Apache-2.0 */
/* Routes for services (RFC 5031): emergency calls to urn:service:sos, and what is below it. Pure.
 */
#ifndef HOLDLINE_ROUTE_SERVICE_H
#define HOLDLINE_ROUTE_SERVICE_H

#include "proxy/config.h"

/* The route whose `services` has this name, such as sos.fire, or the nearest above it (sos); of
 * several the first in file order. NULL: none. */
const struct config_route *route_of_service(const struct config *config, struct slice name);

#endif
