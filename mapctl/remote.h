/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking RESP2 client on a unix socket, for mapperd and for the proxy's control socket. Every
 * wait has an end. */
#ifndef HOLDLINE_MAPCTL_REMOTE_H
#define HOLDLINE_MAPCTL_REMOTE_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/resp.h"

#define REMOTE_TIMEOUT_MS 5000

struct remote {
    const char *program; /* for messages */
    const char *path;
    int descriptor;
    unsigned timeout_ms; /* of connecting, and of each command with its reply */
    bool quiet;          /* says nothing on standard error */
};

/* A reply and the bytes that its value points into. */
struct reply {
    struct buffer bytes;
    struct resp_value value;
};

/* ERROR_UNREACHABLE: already said on standard error, with what to look at. */
enum error remote_open(struct remote *remote, const char *program, const char *path) MUST_CHECK;

/* The same, quietly, and without waiting longer than `timeout_ms` for anything. */
enum error remote_open_quietly(struct remote *remote, const char *program, const char *path,
                               unsigned timeout_ms) MUST_CHECK;
void remote_close(struct remote *remote);

/* Sends one command and reads its reply, which is freed with reply_free() whatever the outcome.
 * ERROR_UNREACHABLE: no reply, or a failure such as -LOADING; already said on standard error. */
enum error remote_ask(struct remote *remote, struct reply *reply, const struct slice *words,
                      size_t count) MUST_CHECK;
void reply_free(struct reply *reply);

#endif
