/* SPDX-License-Identifier: Apache-2.0 */
/* From a permitted request to branches, and the bytes that leave (RFC 3261 16.5, 16.6). */
#include "proxy/request/request_internal.h"

#include "common/mem.h"
#include "proxy/net/outbound.h"
#include "proxy/registrar/binding.h"
#include "proxy/route/number.h"

#include <utlist.h>

bool dialog_is_formed_by(enum method method)
{
    return method == METHOD_INVITE || method == METHOD_SUBSCRIBE || method == METHOD_REFER;
}

static enum transport transport_of(const struct branch_target *target)
{
    return target->route ? target->route->transport : TRANSPORT_TLS;
}

/* Where who gets the branch reaches us. */
static const char *reached_by(const struct branch *branch)
{
    const struct config_route *route = branch->target.route;
    const struct net *net = branch->request->layer->net;

    return route ? net_advertised(net, route->transport, route->listener)
                 : net_advertised_to(net, branch->target.flow);
}

/* What Via names for answers that can't come back on the connection. */
static struct slice via_value(struct edit_list *edits, const struct branch *branch, const char *id)
{
    const char *advertised = reached_by(branch);

    if (!advertised)
        advertised = net_advertised(branch->request->layer->net, TRANSPORT_TLS, NULL);
    return edit_format(edits, "SIP/2.0/%s %s;branch=%s",
                       transport_text(transport_of(&branch->target)), advertised, id);
}

static void push_record_route(struct edit_list *edits, const struct request *request,
                              enum transport transport, const char *advertised, const char *token)
{
    struct slice value;

    if (!advertised)
        return;
    if (request->target.uri.scheme == URI_SIPS && transport == TRANSPORT_TLS)
        value = edit_format(edits, "<sips:%s;lr;" TARGET_TOKEN_PARAM "=%s>", advertised, token);
    else
        value = edit_format(edits, "<sip:%s;transport=%s;lr;" TARGET_TOKEN_PARAM "=%s>", advertised,
                            transport == TRANSPORT_TLS ? "tls" : "tcp", token);
    edit_push(edits, HEADER_RECORD_ROUTE, value);
}

/* Two of them where both sides reach us differently, the callee's side on top (RFC 5658); each side
 * finds its own way back by its own. */
static enum error add_record_route(struct edit_list *edits, struct branch *branch)
{
    const struct request *request = branch->request;
    enum transport in = request->incoming, out = transport_of(&branch->target);
    const char *reached = reached_by(branch);
    char token[DIALOG_TOKEN_SIZE + 1];
    enum error error = dialog_make_token(branch, token);

    if (error != ERROR_NONE)
        return error;
    push_record_route(edits, request, in, request->reached, token);
    if (in != out || !request->reached || !reached || strcmp(reached, request->reached) != 0)
        push_record_route(edits, request, out, reached, token);
    return ERROR_NONE;
}

static void edit_route(struct edit_list *edits, const struct request *request)
{
    if (request->target.strict)
        edit_remove(edits, HEADER_ROUTE);
    else if (request->target.own_routes &&
             edit_pop(edits, HEADER_ROUTE, request->target.own_routes) != ERROR_NONE)
        edits->failed = true;
}

/* The request as it leaves on this branch, into layer->out. */
static enum error write_branch(struct branch *branch, const char *branch_id)
{
    struct request *request = branch->request;
    struct buffer *out = &request->layer->out;
    struct edit_list edits;

    edit_init(&edits, &request->message);
    edit_via_source(&edits, slice_of(request->source), request->source_port);
    edit_push(&edits, HEADER_VIA, via_value(&edits, branch, branch_id));
    edit_max_forwards(&edits);
    edit_route(&edits, request);
    if (branch->target.contact.data)
        edit_request_uri(&edits, branch->target.contact);
    else if (request->target.strict)
        edit_request_uri(&edits, request->target.uri_text);
    privacy_edit(&edits, branch);
    password_strip(&edits, request);
    session_timer_edit_request(&edits, &request->message, &request->session);
    if (!request->in_dialog && dialog_is_formed_by(request->message.method)) {
        enum error error = add_record_route(&edits, branch);
        if (error != ERROR_NONE)
            return error;
    }
    buffer_reset(out);
    return edit_write(&edits, out);
}

static struct delivery_order order_for(const struct branch *branch)
{
    struct request *request = branch->request;

    return (struct delivery_order){
        .flow = branch->target.flow,
        .device = branch->target.device,
        .listener = branch->target.flow.listener,
        .group = request->in_dialog ? 0 : request->group,
        .branch = branch->id[0] ? branch->id : NULL,
        .needed = branch->target.needed.size ? &branch->target.needed : NULL,
        .ground = &request->authorization.ground,
    };
}

/* The ACK of a refusal goes where the INVITE went: a route's connection is only known now. */
static void follow_flow(struct branch *branch)
{
    const struct transaction_way way = { branch->target.flow, branch->target.device, true };

    if (branch->client)
        client_transaction_set_way(branch->client, &way);
}

/* Open, and nothing speaks against who its server is. */
static bool is_ready(const struct connection *c)
{
    const struct endpoint *endpoint = connection_peer(c);

    return connection_state(c) == CONNECTION_OPEN && endpoint && endpoint->peer &&
           endpoint->peer->condition != PEER_ASKING;
}

/* A next hop's connection may have to be opened first; the bytes wait in the branch, and are judged
 * again when it is open. */
static enum delivery_outcome deliver(struct branch *branch, struct slice bytes)
{
    struct request_layer *layer = branch->request->layer;
    struct delivery_order order;
    struct connection *c;

    if (branch->target.route) {
        if (outbound_connection(layer->net, branch->target.route, branch->target.server, &c) !=
            ERROR_NONE)
            return DELIVERY_GONE;
        branch->target.flow = connection_flow(c);
        follow_flow(branch);
        if (!is_ready(c)) {
            branch->connecting = true;
            return DELIVERY_MAILED;
        }
    }
    branch->connecting = false;
    order = order_for(branch);
    return delivery_send(layer->delivery, &order, bytes);
}

/* Whether the device that has the request still has a connection: a write of nothing there. GONE,
 * now or by letter, if not. */
enum delivery_outcome forward_probe(const struct branch *branch)
{
    struct delivery_order order = order_for(branch);

    order.ground = NULL;
    order.group = 0;
    return delivery_send(branch->request->layer->delivery, &order, SLICE(""));
}

/* As long as the answer to it is repeated (13.3.1.4); later nobody waits for it. */
static enum error start_ack_deadline(struct request *request)
{
    struct worker_base *base = request->layer->base;

    return timer_start(&base->timers, &request->deadline,
                       base->now_mono_ms + 64 * base->config->timers.t1_ms);
}

/* An ACK has no transaction, and nobody is told what becomes of it (17.1.1.3; 16.11 does the same
 * without state). False: it is over. */
static bool send_ack(struct branch *branch)
{
    struct request_layer *layer = branch->request->layer;
    char id[TRANSACTION_BRANCH_MAX + 1];
    enum delivery_outcome outcome = DELIVERY_FULL;

    transaction_branch_make(id, layer->base->index);
    if (write_branch(branch, id) == ERROR_NONE)
        outcome = deliver(branch, buffer_slice(&layer->out));
    if (branch->connecting || outcome == DELIVERY_OUTDATED)
        return true;
    if (outcome != DELIVERY_WRITTEN && outcome != DELIVERY_MAILED)
        counter_add(&layer->base->counters->dropped);
    return false;
}

/* One that was kept. */
static void send_ack_again(struct branch *branch)
{
    struct request *request = branch->request;

    if (!send_ack(branch) || (branch->connecting && start_ack_deadline(request) != ERROR_NONE))
        request_end(request);
    else if (!branch->connecting)
        branch_become(branch, BRANCH_OUTDATED);
}

static void deliver_or_tell(struct branch *branch, struct slice bytes)
{
    enum delivery_outcome outcome = deliver(branch, bytes);

    if (outcome != DELIVERY_WRITTEN && outcome != DELIVERY_MAILED)
        branch_not_sent(branch, outcome);
    else
        counter_add(&branch->request->layer->base->counters->forwarded);
}

static enum reason reason_of(enum error error)
{
    return error == ERROR_TOO_LARGE ? REASON_QUEUE_FULL : REASON_OUT_OF_MEMORY;
}

static void send_branch(struct branch *branch)
{
    struct buffer *out = &branch->request->layer->out;
    enum error error = branch_begin(branch);

    if (error == ERROR_NONE)
        error = write_branch(branch, branch->id);
    if (error == ERROR_NONE)
        error = branch_started(branch, buffer_slice(out));
    if (error != ERROR_NONE) {
        branch_fail(branch, reason_of(error));
        return;
    }
    deliver_or_tell(branch, buffer_slice(out));
}

/* Same branch, same transaction: it never left. */
static void send_again(struct branch *branch)
{
    struct buffer *out = &branch->request->layer->out;
    enum error error;

    if (branch->request->message.method == METHOD_ACK) {
        send_ack_again(branch);
        return;
    }
    error = write_branch(branch, branch->id);
    if (error == ERROR_NONE && branch->client)
        error = client_transaction_rewrite(branch->client, buffer_slice(out));
    if (error != ERROR_NONE) {
        branch_fail(branch, reason_of(error));
        return;
    }
    deliver_or_tell(branch, buffer_slice(out));
}

void forward_moved(struct branch *branch, struct flow flow)
{
    branch->target.flow = flow;
    follow_flow(branch);
    send_again(branch);
}

void forward_outdated(struct request *request)
{
    struct branch *branch, *next;

    DL_FOREACH_SAFE(request->branches, branch, next)
    {
        if (branch->state != BRANCH_OUTDATED)
            continue;
        branch_become(branch, BRANCH_TRYING);
        send_again(branch);
    }
    forward_recheck_if_outdated(request);
}

/* The connection to a next hop is open, or will not be, or is not any more. Of its own connections
 * a letter tells (delivery_endpoint_gone()), which knows a few branches only. */
void request_layer_connected(struct request_layer *layer, struct flow flow, bool opened)
{
    struct request *request, *next;
    struct branch *branch, *branch_next;

    DL_FOREACH_SAFE(layer->requests, request, next)
    {
        DL_FOREACH_SAFE(request->branches, branch, branch_next)
        {
            if (!flow_equal(branch->target.flow, flow))
                continue;
            if (!branch->connecting) {
                if (!opened && branch->target.route)
                    branch_not_sent(branch, DELIVERY_LOST);
                continue;
            }
            branch->connecting = false;
            if (!opened && failover_unreached(branch))
                continue;
            if (!opened || !request_is_open(request))
                branch_fail(branch, REASON_NEXT_HOP_UNREACHABLE);
            else if (branch->state == BRANCH_TRYING)
                send_again(branch);
        }
        forward_recheck_if_outdated(request);
    }
}

void forward_recheck_if_outdated(struct request *request)
{
    const struct branch *branch;

    DL_FOREACH(request->branches, branch)
    {
        if (branch->state == BRANCH_OUTDATED) {
            request_recheck(request);
            return;
        }
    }
}

void forward_new(struct request *request)
{
    struct branch *branch, *next;

    DL_FOREACH_SAFE(request->branches, branch, next)
    if (branch->state == BRANCH_NONE)
        send_branch(branch);
    forward_recheck_if_outdated(request);
}

/* All branches exist before the first is sent, so that an early failure does not end the request.
 */
static void send_all(struct request *request)
{
    if (!request->branches) {
        request_refuse(request, REASON_OUT_OF_MEMORY, NULL);
        return;
    }
    request_become(request, REQUEST_FORWARDED);
    forward_new(request);
    request_settle_soon(request);
}

static void add_branch(struct request *request, const struct branch_target *target)
{
    if (!branch_new(request, target))
        request->failure = REASON_OUT_OF_MEMORY;
}

static bool is_same_device_without_instance(const struct binding *a, const struct binding *b)
{
    return slice_equal(a->device, b->device) && slice_equal(a->flow, b->flow);
}

/* A contact may have headers, a Request-URI has none (16.6 step 2). */
static struct slice request_uri_of(struct slice contact)
{
    struct uri uri;

    return uri_parse(contact, &uri) == ERROR_NONE ? uri_without_headers(&uri) : contact;
}

static struct branch_target target_of_binding(struct request *request,
                                              const struct binding *binding)
{
    const struct flow_origin origin = { request->layer->base->config->name,
                                        request->layer->base->proxy_epoch };

    struct identity needed = request->target.identity;

    /* Of a third party's: what holds for its device is the right of who registered it. */
    if (binding->registered_by.size &&
        identity_from_text(&needed, binding->registered_by) != ERROR_NONE)
        return (struct branch_target){ .contact = { NULL, 0 } };
    return (struct branch_target){
        .flow = flow_read(&origin, binding->flow),
        .device = token_keys_device_hash(request->layer->keys, binding->device),
        .contact = arena_copy(&request->message.arena,
                              request_uri_of(binding->contact)), /* outlives the answer */
        .needed = needed,
        .entry_hash = token_keys_entry_hash(request->layer->keys, binding->entry),
    };
}

static bool is_located_still(struct request *request, const struct branch *branch)
{
    const struct answer *located = request->authorization.locate;
    struct binding binding;

    for (size_t i = 0; located && i < located->locate.binding_count; i++)
        if (binding_parse(located->locate.bindings[i], &request->message.arena, &binding) ==
                ERROR_NONE &&
            token_keys_device_hash(request->layer->keys, binding.device) == branch->target.device)
            return true;
    return false;
}

/* Whose binding holds no more may still be connected: as somebody else, or as a third party whom
 * the loss does not touch. So nothing else would end what waits or rings there. A route, and the
 * other side of a dialog, are no bindings. */
void forward_end_lost(struct request *request)
{
    enum reason reason = target_reason_of_nobody(request->authorization.target_state);
    struct branch *branch, *next;
    bool lost = false, others = false;

    DL_FOREACH_SAFE(request->branches, branch, next)
    {
        if (!branch_is_pending(branch))
            continue;
        if (request->in_dialog || branch->target.route || is_located_still(request, branch) ||
            (branch->state != BRANCH_OUTDATED && !request_is_invite(request))) {
            others = true;
            continue;
        }
        lost = true;
        if (branch->state == BRANCH_OUTDATED)
            branch_fail(branch, reason);
        else
            branch_cancel(branch);
    }
    if (!lost || others || request->cancelled)
        return;
    request->failure = reason; /* unless another phone has said something */
    respond_best(request);
    request_cancel(request, reason);
}

/* Bindings of one connection are one branch, the newest (feed.md); mapperd gives the newest first.
 */
static void add_bindings(struct request *request, const struct slice *texts, size_t count)
{
    struct binding bindings[BRANCHES_MAX];
    size_t kept = 0;

    for (size_t i = 0; i < count && kept < BRANCHES_MAX; i++) {
        struct branch_target target;
        bool doubled = false;

        if (binding_parse(texts[i], &request->message.arena, &bindings[kept]) != ERROR_NONE ||
            bindings[kept].expires_unix_s <= request->layer->base->now_unix_s)
            continue;
        for (size_t j = 0; j < kept && !doubled; j++)
            doubled = is_same_device_without_instance(&bindings[j], &bindings[kept]);
        if (doubled)
            continue;
        target = target_of_binding(request, &bindings[kept++]);
        if (target.contact.data)
            add_branch(request, &target);
    }
}

static void forward_to_user(struct request *request)
{
    const struct answer *located = request->authorization.locate;
    enum user_state state = request->authorization.target_state;

    if (located)
        add_bindings(request, located->locate.bindings, located->locate.binding_count);
    if (request->branches)
        send_all(request);
    else
        request_refuse(request, target_reason_of_nobody(state), NULL);
}

static struct branch_target target_of_route(const struct request_layer *layer,
                                            const struct config_route *route, unsigned server)
{
    char key[STORE_NAME_MAX + 64];

    snprintf(key, sizeof(key), "route:%s", route->name);
    return (struct branch_target){
        .route = route,
        .server = server,
        .device = token_keys_device_hash(layer->keys, slice_of(key)),
        .entry_hash = token_keys_entry_hash(layer->keys, slice_of(key)),
    };
}

/* uri.data == NULL: with the Request-URI that it has. */
static void forward_to_route(struct request *request, const struct config_route *route,
                             struct slice uri)
{
    const struct request_layer *layer = request->layer;
    unsigned server = next_hop_best(layer->next_hops, route, layer->base->now_mono_ms);
    struct branch_target target = target_of_route(layer, route, server);

    target.contact = uri;
    add_branch(request, &target);
    send_all(request);
}

static void forward_to_number(struct request *request, const struct config_route *route)
{
    bool sips = request->target.uri.scheme == URI_SIPS;
    struct slice uri = route_number_uri(&request->message.arena, route,
                                        identity_user(&request->target.identity), sips);

    if (sips && route->transport != TRANSPORT_TLS)
        request_refuse(request, REASON_SCHEME_UNSUPPORTED, NULL);
    else if (!uri.data)
        request_refuse(request, REASON_OUT_OF_MEMORY, NULL);
    else
        forward_to_route(request, route, uri);
}

static void forward_to_domain(struct request *request)
{
    const struct request_target *target = &request->target;

    if (route_rewrites(target->route, &target->uri, &target->identity))
        forward_to_number(request, target->route);
    else
        forward_to_route(request, target->route, (struct slice){ NULL, 0 });
}

static void forward_to_service(struct request *request)
{
    const struct config_route *route = request->target.route;
    struct slice uri = { NULL, 0 };

    if (route && route->service_number.size)
        uri = route_service_uri(&request->message.arena, route);
    if (!route)
        request_refuse(request, REASON_SERVICE_NO_ROUTE, NULL);
    else if (route->service_number.size && !uri.data)
        request_refuse(request, REASON_OUT_OF_MEMORY, NULL);
    else
        forward_to_route(request, route, uri);
}

const struct config_route *forward_route_of_device(const struct request_layer *layer,
                                                   uint64_t device)
{
    const struct config *config = layer->base->config;

    for (size_t i = 0; i < config->route_count; i++)
        if (target_of_route(layer, &config->routes[i], 0).device == device)
            return &config->routes[i];
    return NULL;
}

static const struct dialog_side *other_side(const struct request *request)
{
    return request->sender == DIALOG_CALLER ? &request->token.callee : &request->token.caller;
}

const struct config_route *forward_dialog_route(const struct request *request)
{
    return forward_route_of_device(request->layer, other_side(request)->device);
}

/* Inside a dialog: the other side's flow or route, and nowhere else, whatever the Request-URI says.
 */
static struct branch_target target_of_dialog(const struct request *request)
{
    const struct dialog_side *other = other_side(request);
    const struct config_route *route = forward_dialog_route(request);

    if (route)
        return target_of_route(request->layer, route, dialog_server(request->layer, route, other));
    return (struct branch_target){ .flow = other->flow, .device = other->device };
}

/* It waits for the connection to the next hop, within the bounds of what is parked, while who sent
 * it is connected. */
static bool keep_ack(struct request *request, const struct branch_target *target)
{
    struct branch *branch = branch_new(request, target);

    if (!branch)
        return false;
    branch->connecting = true;
    request_become(request, REQUEST_FORWARDED);
    branch_become(branch, BRANCH_TRYING);
    return start_ack_deadline(request) == ERROR_NONE;
}

static void forward_ack(struct request *request, const struct branch_target *target)
{
    struct branch branch = { .request = request, .target = *target };

    if (!send_ack(&branch) || !branch.connecting || !keep_ack(request, &branch.target))
        request_end(request);
}

static void forward_in_dialog(struct request *request)
{
    struct branch_target target = target_of_dialog(request);

    if (request->message.method == METHOD_ACK) {
        forward_ack(request, &target);
        return;
    }
    add_branch(request, &target);
    send_all(request);
}

void request_forward(struct request *request)
{
    if (request->in_dialog) {
        forward_in_dialog(request);
        return;
    }
    if (!privacy_can_be_given(request)) {
        request_refuse(request, REASON_PRIVACY_CRITICAL, NULL);
        return;
    }
    switch (request->target.kind) {
    case REQUEST_TARGET_DOMAIN:
    case REQUEST_TARGET_PROXY:
        request_answer_ourselves(request);
        break;
    case REQUEST_TARGET_USER:
        if (request->authorization.leaves_as_number)
            forward_to_number(request, request->target.number_route);
        else
            forward_to_user(request);
        break;
    case REQUEST_TARGET_ROUTE:
        forward_to_domain(request);
        break;
    case REQUEST_TARGET_NUMBER:
        forward_to_number(request, request->target.number_route);
        break;
    case REQUEST_TARGET_SERVICE:
        forward_to_service(request);
        break;
    case REQUEST_TARGET_NONE:
        request_refuse(request, REASON_INTERNAL, "no target");
        break;
    }
}
