/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/ticket_rotation.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "proxy/config.h"
#include "proxy/tls/ticket_keys.h"

#include <ev.h>

struct ticket_rotation {
    struct ev_loop *loop;
    ev_timer timer;
    struct ticket_rotation_user user;
    uint64_t keep_ms;
    struct ticket_keys *keys; /* a reference; NULL: none yet */
};

/* Without memory the old key goes on until the next time. */
static void rotate(struct ticket_rotation *rotation)
{
    struct ticket_keys *next;
    if (ticket_keys_rotate(rotation->keys, clock_mono_ms(), rotation->keep_ms, &next) !=
        ERROR_NONE) {
        log_write(LOG_ERROR, "ticket-keys", "out of memory: no new key");
        return;
    }
    ticket_keys_drop(rotation->keys);
    rotation->keys = next;
    rotation->user.changed(rotation->user.owner, next);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)events;
    rotate(timer->data);
}

enum error ticket_rotation_new(struct ev_loop *loop, const struct ticket_rotation_user *user,
                               struct ticket_rotation **out)
{
    struct ticket_rotation *rotation = mem_zero(1, sizeof(*rotation));
    *out = rotation;
    if (!rotation)
        return ERROR_MEMORY;
    rotation->loop = loop;
    rotation->user = *user;
    ev_timer_init(&rotation->timer, on_timer, 0.0, 0.0);
    rotation->timer.data = rotation;
    return ERROR_NONE;
}

void ticket_rotation_use(struct ticket_rotation *rotation,
                         const struct config_resumption *resumption)
{
    rotation->keep_ms = resumption->max_ms;
    rotation->timer.repeat = (double)resumption->rotation_ms / 1000.0;
    ev_timer_again(rotation->loop, &rotation->timer);
    rotate(rotation);
}

void ticket_rotation_free(struct ticket_rotation *rotation)
{
    if (!rotation)
        return;
    ev_timer_stop(rotation->loop, &rotation->timer);
    ticket_keys_drop(rotation->keys);
    mem_free(rotation);
}
