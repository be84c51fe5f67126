/* SPDX-License-Identifier: Apache-2.0 */
/* The request layer as a whole: its making and end, and what changes from outside do to requests
 * under way. */
#include "proxy/request/request_internal.h"

#include "common/mem.h"
#include "common/random.h"

#include <utlist.h>

/* Transactions of one worker: each some hundred bytes; over it new requests get 503. */
#define TRANSACTIONS_MAX 200000

/* Responses and what transactions repeat: only to the flow that is named; others may not get it. */
static enum error send_for_server(void *context, const struct transaction_way *way,
                                  struct slice bytes)
{
    struct request_layer *layer = context;
    struct delivery_order order = { .flow = way->flow };
    enum delivery_outcome outcome = delivery_send(layer->delivery, &order, bytes);

    return outcome == DELIVERY_WRITTEN || outcome == DELIVERY_MAILED ? ERROR_NONE : ERROR_CLOSED;
}

/* ACK of a refused INVITE: to the device that refused it. */
static enum error send_for_client(void *context, const struct transaction_way *way,
                                  struct slice bytes)
{
    struct request_layer *layer = context;
    struct delivery_order order = { .flow = way->flow, .device = way->device };
    enum delivery_outcome outcome = delivery_send(layer->delivery, &order, bytes);

    return outcome == DELIVERY_WRITTEN || outcome == DELIVERY_MAILED ? ERROR_NONE : ERROR_CLOSED;
}

/* What leaves names the listener that its receiver reaches us by; a phone may have been told of
 * another of its addresses. */
static void name_ourselves(struct request_layer *layer)
{
    const struct config *config = layer->base->config;
    char text[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];

        own_names_add(&layer->names,
                      net_advertised(layer->net, listener->transport, listener->name));
        if (address_port(&listener->address))
            own_names_add(&layer->names, address_text(&listener->address, text));
        own_names_add(&layer->names, listener->advertise);
    }
    layer->names.aliases = config->aliases;
    layer->names.alias_count = config->alias_count;
}

struct request_layer *request_layer_new(const struct request_layer_parts *parts)
{
    struct request_layer *layer = mem_zero(1, sizeof(*layer));
    const struct config_timers *timers = &parts->base->config->timers;
    struct transaction_timing timing = { (unsigned)timers->t1_ms, (unsigned)timers->t2_ms,
                                         (unsigned)timers->t4_ms };
    struct transaction_transport up = { send_for_server, layer }, down = { send_for_client, layer };

    if (!layer)
        return NULL;
    layer->base = parts->base;
    layer->net = parts->net;
    layer->delivery = parts->delivery;
    layer->ask = parts->ask;
    layer->registrar = parts->registrar;
    layer->keys = parts->keys;
    layer->edge_unix_s = UINT64_MAX;
    layer->next_hops = next_hops_new(parts->base->config);
    if (!layer->next_hops) {
        mem_free(layer);
        return NULL;
    }
    layer->parked_total = parts->parked_total;
    server_table_init(&layer->servers, parts->base, &timing, &up, TRANSACTIONS_MAX);
    client_table_init(&layer->clients, parts->base, &timing, &down, TRANSACTIONS_MAX);
    message_init(&layer->incoming, REQUEST_ARENA_MAX);
    buffer_init(&layer->out, 0);
    name_ourselves(layer);
    random_token(layer->to_tag, sizeof(layer->to_tag) - 1);
    return layer;
}

void request_layer_free(struct request_layer *layer)
{
    struct request *request, *next;

    if (!layer)
        return;
    DL_FOREACH_SAFE(layer->requests, request, next)
    request_free(request);
    client_table_free(&layer->clients);
    next_hops_free(layer->next_hops);
    server_table_free(&layer->servers);
    message_free(&layer->incoming);
    buffer_free(&layer->out);
    mem_free(layer);
}

void request_layer_endpoint_gone(struct request_layer *layer, struct endpoint *endpoint)
{
    struct request *request, *next;

    (void)layer;
    DL_FOREACH_SAFE2(endpoint->requests, request, next, endpoint_next)
    request_peer_gone(request);
}

/* Delivered while it was permitted: the answer is the callee's. What comes back unsent from another
 * worker's box stays unsent (branch_not_sent()). */
static bool has_left(const struct request *request)
{
    const struct branch *branch;

    if (request->state != REQUEST_FORWARDED || request_is_invite(request))
        return false;
    DL_FOREACH(request->branches, branch)
    if (branch->connecting || branch->state == BRANCH_OUTDATED || branch->state == BRANCH_NONE)
        return false;
    return true;
}

void request_layer_endpoint_lost(struct request_layer *layer, struct endpoint *endpoint)
{
    struct request *request, *next;

    (void)layer;
    DL_FOREACH_SAFE2(endpoint->requests, request, next, endpoint_next)
    {
        request->sender_lost = true;
        if (request->message.method == METHOD_ACK)
            request_end(request);
        else if (!has_left(request))
            request_refuse(request, REASON_PERMISSION_LOST, NULL);
    }
}

/* Parked requests have their lookups, which mind changes themselves; what is written is past.
 * Between the two stand ringing calls and what waits in another worker's box or for a connection.
 */
void request_layer_changed(struct request_layer *layer, uint64_t tag)
{
    struct request *request, *next;

    DL_FOREACH_SAFE(layer->requests, request, next)
    {
        if (request->state != REQUEST_FORWARDED || !request_is_invite(request))
            continue;
        if (ground_named_by(&request->authorization.ground, tag))
            request_recheck(request);
    }
}

void request_layer_reloaded(struct request_layer *layer)
{
    struct request *request, *next;

    DL_FOREACH_SAFE(layer->requests, request, next)
    {
        if (request->state == REQUEST_FORWARDED && request_is_invite(request) &&
            request->of_trusted)
            request_recheck(request);
    }
}

/* What is being decided again notes its edge when it is permitted. */
void request_layer_look_at_windows(struct request_layer *layer)
{
    uint64_t now_unix_s = layer->base->now_unix_s;
    struct request *request, *next;

    if (now_unix_s < layer->edge_unix_s)
        return;
    layer->edge_unix_s = UINT64_MAX;
    DL_FOREACH_SAFE(layer->requests, request, next)
    {
        uint64_t edge_unix_s = request->authorization.ground.edge_unix_s;

        if (request->state != REQUEST_FORWARDED || !request_is_invite(request))
            continue;
        if (edge_unix_s <= now_unix_s)
            request_recheck(request);
        else if (edge_unix_s < layer->edge_unix_s)
            layer->edge_unix_s = edge_unix_s;
    }
}

void request_layer_use_keys(struct request_layer *layer, const struct token_keys *keys)
{
    layer->keys = keys;
}

void request_layer_not_sent(struct request_layer *layer, const char *branch_id,
                            enum delivery_outcome outcome, struct flow flow)
{
    struct branch *branch = branch_find(layer, branch_id);

    if (!branch)
        return;
    if (outcome == DELIVERY_MOVED)
        branch_moved(branch, flow);
    else
        branch_not_sent(branch, outcome);
    forward_recheck_if_outdated(branch->request);
}

void request_layer_stop(struct request_layer *layer)
{
    struct request *request, *next;

    layer->stopping = true;
    DL_FOREACH_SAFE(layer->requests, request, next)
    {
        if (request->state == REQUEST_PARKED || request->state == REQUEST_STORING ||
            request->state == REQUEST_RECHECKING)
            request_refuse(request, REASON_PARK_BOUND_TOTAL, "stopping");
    }
}

bool request_layer_is_idle(const struct request_layer *layer)
{
    return layer->requests == NULL;
}
