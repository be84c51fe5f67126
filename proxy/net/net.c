/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's table of connections and the end of its turn. */
#include "proxy/net/net_internal.h"

#include "common/mem.h"
#include "proxy/tls/ocsp.h"
#include "proxy/tls/ticket_keys.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

const char *connection_end_text(enum connection_end end)
{
    static const char *const texts[] = {
        [END_NONE] = "none",
        [END_BY_PEER] = "by-peer",
        [END_BY_US] = "by-us",
        [END_CONNECT] = "connect-failed",
        [END_HANDSHAKE] = "handshake-failed",
        [END_TLS] = "tls-failed",
        [END_MALFORMED] = "malformed",
        [END_MESSAGE_TIMEOUT] = "message-timeout",
        [END_IDLE] = "idle",
        [END_OUTPUT_FULL] = "output-full",
        [END_OUTPUT_STALLED] = "output-stalled",
        [END_EXPIRED] = "certificate-expired",
        [END_REVOKED] = "certificate-revoked",
        [END_STATUS] = "certificate-status-not-known",
        [END_UNTRUSTED] = "trust-withdrawn",
        [END_FLOOD] = "flood",
        [END_MEMORY] = "out-of-memory",
    };
    return texts[end];
}

static size_t share(size_t of_all, unsigned workers)
{
    return (of_all + workers - 1) / workers;
}

enum error net_create(struct worker_base *base, const struct net_user *user, struct net **out)
{
    *out = NULL;
    struct net *net = mem_zero(1, sizeof(*net));
    if (!net)
        return ERROR_MEMORY;
    net->base = base;
    net->user = *user;
    net->slot_max = share(base->config->bounds.max_connections, base->workers);
    net->handshake_max = share(base->config->bounds.max_handshakes, base->workers);
    net->accept_timer.fire = listener_timer_fired;
    net->revoked = revocation_set_hold(base->config->revocations);
    net->newest = config_hold(base->config);
    net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    buffer_init(&net->nowhere, 1);
    net->stream_method = stream_method_create();
    if (!net->stream_method || status_create(net) != ERROR_NONE) {
        net_destroy(net);
        return ERROR_MEMORY;
    }
    *out = net;
    return ERROR_NONE;
}

/* ---- Slots ---- */

static bool grow_slots(struct net *net)
{
    size_t count = net->slot_count ? net->slot_count * 2 : 64;
    if (count > net->slot_max)
        count = net->slot_max;
    if (count == net->slot_count)
        return false;
    struct slot *slots = mem_grow(net->slots, count * sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = count; i > net->slot_count; i--) {
        slots[i - 1] = (struct slot){ .generation = 1, .next_free = net->first_free };
        net->first_free = (uint32_t)i;
    }
    net->slots = slots;
    net->slot_count = count;
    return true;
}

struct connection *net_add(struct net *net, const struct config *config)
{
    if (net->first_free == 0 && !grow_slots(net))
        return NULL;
    struct connection *c = mem_zero(1, sizeof(*c));
    if (!c)
        return NULL;
    uint32_t at = net->first_free - 1;
    struct slot *slot = &net->slots[at];
    net->first_free = slot->next_free;
    slot->connection = c;
    net->connections++;
    c->net = net;
    c->config = config_hold(config);
    c->flow =
        (struct flow){ .worker = net->base->index, .slot = at, .generation = slot->generation };
    c->stream.fd = -1;
    return c;
}

static void net_remove(struct net *net, struct connection *c)
{
    struct slot *slot = &net->slots[c->flow.slot];
    assert(slot->connection == c);
    slot->connection = NULL;
    if (++slot->generation == 0)
        slot->generation = 1;
    slot->next_free = net->first_free;
    net->first_free = c->flow.slot + 1;
    net->connections--;
    connection_free(c);
}

struct connection *net_find(struct net *net, struct flow flow)
{
    if (flow.worker != net->base->index || flow.slot >= net->slot_count || flow.generation == 0)
        return NULL;
    struct slot *slot = &net->slots[flow.slot];
    if (slot->generation != flow.generation || !slot->connection ||
        slot->connection->state != CONNECTION_OPEN)
        return NULL;
    return slot->connection;
}

/* ---- The end of a turn ---- */

void net_mark_dirty(struct net *net, struct connection *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = net->dirty;
    net->dirty = c;
}

void net_mark_dead(struct net *net, struct connection *c)
{
    c->next_dead = net->dead;
    net->dead = c;
}

/* Frees those whose user has had its last call. */
static void bury(struct net *net)
{
    struct connection *c, *keep = NULL;
    while ((c = net->dead)) {
        net->dead = c->next_dead;
        if (task_queued(&c->task)) {
            c->next_dead = keep;
            keep = c;
        } else {
            net_remove(net, c);
        }
    }
    net->dead = keep;
}

bool net_flush(struct net *net)
{
    struct connection *c;
    while ((c = net->dirty)) {
        net->dirty = c->next_dirty;
        c->dirty = false;
        connection_write(c);
    }
    bury(net);
    return net->base->run_queue.first != NULL;
}

const char *net_advertised(const struct net *net, enum transport transport, const char *listener)
{
    for (const struct listener *l = net->listeners; l; l = l->next)
        if (l->options->transport == transport &&
            (!listener || strcmp(l->options->name, listener) == 0))
            return l->advertised;
    return NULL;
}

const char *net_advertised_to(const struct net *net, struct flow flow)
{
    for (const struct listener *l = net->listeners; l; l = l->next)
        if (l->number == flow.listener)
            return l->advertised;
    return net_advertised(net, TRANSPORT_TLS, NULL);
}

void net_set_ticket_keys(struct net *net, struct ticket_keys *keys)
{
    struct ticket_keys *old = net->ticket_keys;
    net->ticket_keys = ticket_keys_hold(keys);
    ticket_keys_drop(old);
}

void net_set_staples(struct net *net, struct staples *set)
{
    struct staples *old = net->staples;
    net->staples = staples_hold(set);
    staples_drop(old);
}

void net_stop_listening(struct net *net)
{
    struct listener *l;
    timer_stop(&net->base->timers, &net->accept_timer);
    LL_FOREACH(net->listeners, l)
    listener_close(l);
}

void net_destroy(struct net *net)
{
    struct listener *l;
    if (!net)
        return;
    net_stop_listening(net);
    for (size_t i = 0; i < net->slot_count; i++) {
        struct connection *c = net->slots[i].connection;
        if (!c)
            continue;
        if (c->state == CONNECTION_OPEN)
            stream_end(&c->stream);
        connection_close(c, END_BY_US);
        run_queue_remove(&net->base->run_queue, &c->task);
        connection_tell(c);
    }
    for (struct connection *c; (c = net->dirty);) {
        net->dirty = c->next_dirty;
        c->dirty = false;
    }
    bury(net);
    assert(net->connections == 0);
    if (net->spare_fd >= 0)
        close(net->spare_fd);
    BIO_meth_free(net->stream_method);
    revocation_set_drop(net->revoked);
    config_drop(net->newest);
    ticket_keys_drop(net->ticket_keys);
    staples_drop(net->staples);
    statuses_free(net->statuses);
    buffer_free(&net->nowhere);
    while ((l = net->listeners)) {
        LL_DELETE(net->listeners, l);
        listener_free(l);
    }
    mem_free(net->slots);
    mem_free(net);
}
