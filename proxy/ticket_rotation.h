/* SPDX-License-Identifier: Apache-2.0 */
/* When the keys of session tickets change: at start, then each time ticket_key_rotation is over.
 * Main's thread. */
#ifndef HOLDLINE_PROXY_TICKET_ROTATION_H
#define HOLDLINE_PROXY_TICKET_ROTATION_H

#include "common/error.h"

struct config_resumption;
struct ev_loop;
struct ticket_keys;
struct ticket_rotation;

struct ticket_rotation_user {
    void *owner;
    /* The keys from here on; the callee takes its own references. */
    void (*changed)(void *owner, struct ticket_keys *keys);
};

enum error ticket_rotation_new(struct ev_loop *loop, const struct ticket_rotation_user *user,
                               struct ticket_rotation **out) MUST_CHECK;
/* Makes a new key at once, and then by these times. Read during the call only. */
void ticket_rotation_use(struct ticket_rotation *rotation,
                         const struct config_resumption *resumption);
void ticket_rotation_free(struct ticket_rotation *rotation); /* NULL is harmless */

#endif
