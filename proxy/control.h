/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's own local socket, RESP2 as mapperd's: redis-cli and mapctl speak to it. On main's
 * loop and thread; it reads counters and nothing else of the workers. */
#ifndef HOLDLINE_PROXY_CONTROL_H
#define HOLDLINE_PROXY_CONTROL_H

#include "common/error.h"
#include "proxy/net/address.h"

struct config;
struct control;
struct counters;
struct crl_watch;
struct ev_loop;
struct ocsp_desk;
struct staple_watch;

/* Clients at once; a further one is closed. */
#define CONTROL_CLIENTS_MAX 32

struct control_view {
    const struct config *config;
    const struct address *bound;            /* one a listener, in the configuration's order */
    const struct counters *const *counters; /* one a worker */
    const struct crl_watch *crls;
    const struct staple_watch *staples;
    const struct ocsp_desk *desk;
    /* RELOAD: ERROR_NONE, or the running configuration stays and the log says why. */
    enum error (*reload)(void *owner);
    void *owner;
};

/* Binds config->control_socket, mode 0660; a dead socket file of an earlier run is replaced, a
 * living one is ERROR_SYSTEM (EADDRINUSE). `view` outlives it. */
enum error control_new(struct ev_loop *loop, const struct control_view *view,
                       struct control **out) MUST_CHECK;
void control_free(struct control *control); /* NULL is harmless */

#endif
