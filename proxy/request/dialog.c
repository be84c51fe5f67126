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
    struct dialog_token token = {
        .caller = { device_of_caller(request),
                    token_keys_entry_hash(keys, request->authorization.decision.entry),
                    request->flow },
        .callee = { branch->target.device, branch->target.entry_hash, branch->target.flow },
    };

    return dialog_token_seal(keys, &token, &names, out);
}
