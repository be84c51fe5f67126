/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, one a worker and listener, spread by the kernel (SO_REUSEPORT). Accepts a
 * bounded number in a turn. Without descriptors it refuses new connections with a log line and
 * pauses, while those that stand are served (T41). */
#ifndef HOLDLINE_NET_LISTENER_H
#define HOLDLINE_NET_LISTENER_H

#include "proxy/net/address.h"

#include <stdbool.h>

/* A socket bound to `address`, not listening yet. Port 0: the kernel chooses, *bound has the port,
 * and further workers bind to *bound. The caller closes *fd or gives it to net_listen().
 * ERROR_SYSTEM: errno says why. Main's thread, at start. */
enum error listener_bind(const struct address *address, struct address *bound, int *fd) MUST_CHECK;

/* Whether somebody listens there already. listener_bind() would not notice: the kernel gives one
 * user's programs a share each, and half of the phones would be another proxy's. */
bool listener_is_taken(const struct address *address);

#endif
