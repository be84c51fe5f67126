/* SPDX-License-Identifier: Apache-2.0 */
/* Dialogs: which requests belong to one, proved by the token in our Record-Route URI, and the
 * making of that token. A To tag alone proves nothing. */
#include "proxy/request/request_internal.h"

#include "proxy/authorization/peer_route.h"

/* ALLOWED: the request is in a dialog of ours, sent by the side `sender` (whether by its device is
 * enforce's business), or it has no token at all. */
enum reason dialog_open_token(struct request *request)
{
    const struct message *m = &request->message;
    struct dialog_request names = {
        .call_id = message_slice(m, m->call_id),
        .from_tag = message_slice(m, m->from_tag),
        .to_tag = message_slice(m, m->to_tag),
        .from = &request->from,
        .to = &request->to,
    };

    if (!request->target.token.data)
        return REASON_ALLOWED;
    if (m->to_tag.len == 0)
        return REASON_TOKEN_WITHOUT_TO_TAG;
    if (dialog_token_open_request(request->layer->keys, request->target.token, &names,
                                  &request->token, &request->sender) != ERROR_NONE)
        return REASON_TOKEN_INVALID;
    request->in_dialog = true;
    return REASON_ALLOWED;
}

/* Another domain that has a route is that route: what goes to it in the dialog goes there, whatever
 * becomes of the connection that it has come by. */
static uint64_t device_of_caller(const struct request *request)
{
    const struct peer *peer = request->authorization.peer;
    uint64_t route = peer ? peer_route_to_domain(peer, identity_domain(&request->from)) : 0;

    return route ? route : request->device;
}

/* A name of a server that outlives the order of the file. Never 0, which is none. */
static uint32_t name_of_server(const struct token_keys *keys, const struct address *server)
{
    char text[ADDRESS_TEXT_MAX];

    return (uint32_t)token_keys_entry_hash(keys, slice_of(address_text(server, text))) | 1;
}

unsigned dialog_server(const struct request_layer *layer, const struct config_route *route,
                       const struct dialog_side *side)
{
    for (unsigned i = 0; side->server && i < route->server_count; i++)
        if (name_of_server(layer->keys, &route->servers[i]) == side->server)
            return i;
    return next_hop_best(layer->next_hops, route, layer->base->now_mono_ms);
}

/* Of a caller that is a route: the server whose address it has, best the port too. 0: none. */
static uint32_t server_of_caller(const struct request *request, const struct config_route *route)
{
    uint32_t found = 0;

    for (size_t i = 0; i < route->server_count; i++) {
        char text[ADDRESS_TEXT_MAX];
        uint32_t name = name_of_server(request->layer->keys, &route->servers[i]);

        if (strcmp(address_host_text(&route->servers[i], text), request->source) != 0)
            continue;
        if (address_port(&route->servers[i]) == request->source_port)
            return name;
        if (!found)
            found = name;
    }
    return found;
}

static struct dialog_side side_of_caller(const struct request *request)
{
    struct dialog_side side = { .device = device_of_caller(request),
                                .entry = token_keys_entry_hash(
                                    request->layer->keys, request->authorization.decision.entry),
                                .flow = request->flow };
    const struct config_route *route = forward_route_of_device(request->layer, side.device);

    if (route) {
        side.flow = (struct flow){ 0 };
        side.server = server_of_caller(request, route);
    }
    return side;
}

static struct dialog_side side_of_callee(const struct branch *branch)
{
    const struct branch_target *target = &branch->target;
    struct dialog_side side = { .device = target->device,
                                .entry = target->entry_hash,
                                .flow = target->flow };

    if (target->route) {
        side.flow = (struct flow){ 0 };
        side.server =
            name_of_server(branch->request->layer->keys, &target->route->servers[target->server]);
    }
    return side;
}

/* For a branch of a request that begins a dialog. */
enum error dialog_make_token(const struct branch *branch, char out[DIALOG_TOKEN_SIZE + 1])
{
    const struct request *request = branch->request;
    const struct message *m = &request->message;
    const struct token_keys *keys = request->layer->keys;
    struct dialog_names names = {
        .call_id = message_slice(m, m->call_id),
        .caller_tag = message_slice(m, m->from_tag),
        .caller = &request->from,
        .callee = &request->to,
    };
    struct dialog_token token = { .caller = side_of_caller(request),
                                  .callee = side_of_callee(branch) };

    return dialog_token_seal(keys, &token, &names, out);
}
