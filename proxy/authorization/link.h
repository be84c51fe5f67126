/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to mapperd's unix socket that opens itself again: connect, frame replies, write.
 * What is asked and answered is its owner's. The only place in this folder that knows libev. One
 * thread.
 *
 *   CLOSED → (retry timer) CONNECTING → OPEN → CLOSED; STOPPED at the end
 *
 * The time to the next attempt doubles from 50 ms to 1 s, with jitter; link_proved() sets it back,
 * so that a server that accepts and then talks nonsense is not tried 20 times a second. */
#ifndef HOLDLINE_AUTHORIZATION_LINK_H
#define HOLDLINE_AUTHORIZATION_LINK_H

#include "common/buffer.h"
#include "common/resp.h"
#include "proxy/worker_base.h"

#include <ev.h>
#include <sys/un.h>

#define LINK_RETRY_MIN_MS 50
#define LINK_RETRY_MAX_MS 1000

enum link_state { LINK_STOPPED = 0, LINK_CLOSED, LINK_CONNECTING, LINK_OPEN };

/* Upcalls come from the loop, never from inside a call into link. */
struct link_user {
    void *owner;
    void (*connecting)(void *owner);
    void (*opened)(void *owner);
    /* One whole reply; valid during the call. May call link_close(). */
    void (*value)(void *owner, const struct resp_value *value);
    /* The connection is gone; not called by link_close(), whose caller knows. `garbage`: what came
     * broke the protocol or its limits. */
    void (*lost)(void *owner, bool garbage);
};

struct link {
    enum link_state state;
    struct worker_base *base;
    struct link_user user;
    struct resp_limits limits;
    struct sockaddr_un address;
    int fd;
    ev_io reading, writing;
    struct buffer input, output;
    struct timer retry;
    uint64_t retry_ms;
    unsigned connects;
};

/* ERROR_TOO_LARGE: the path doesn't fit a socket address. STOPPED; link_start() begins. */
enum error link_init(struct link *link, struct worker_base *base, const char *path,
                     const struct resp_limits *limits, const struct link_user *user) MUST_CHECK;
enum error link_start(struct link *link) MUST_CHECK; /* ERROR_MEMORY: no timer */
void link_stop(struct link *link);                   /* for good; frees its buffers */

/* Closes now and tries again later. Harmless when CLOSED. */
void link_close(struct link *link);
void link_proved(struct link *link);

/* While OPEN: append here, then link_flush(), which never closes: a failure to write shows as
 * lost() from the loop. */
struct buffer *link_output(struct link *link);
void link_flush(struct link *link);

#endif
