/* SPDX-License-Identifier: Apache-2.0 */
/* From a server of a route that fails to the next one (RFC 3261 16.7, RFC 3263 4.3): a new branch
 * with a transaction of its own. It is sent like the first, so that what permits it is asked once
 * more where it is written. */
#include "proxy/request/request_internal.h"

/* What a server may ask for in Retry-After of its 503, at most. */
#define RETRY_AFTER_MAX_S 300

/* A dialog is at one server: another would not know it, and end the call with its 481. */
static bool is_awaited(const struct branch *branch)
{
    const struct request *request = branch->request;

    return !request->in_dialog && request_is_open(request) && !request->cancelled &&
           !request->sender_lost && !branch->cancel_wanted &&
           (branch->state == BRANCH_TRYING || branch->state == BRANCH_PROCEEDING);
}

static bool go_on(struct branch *branch)
{
    const struct request_layer *layer = branch->request->layer;
    struct branch_target target = branch->target;

    if (!target.route || !is_awaited(branch))
        return false;
    target.tried |= 1u << target.server;
    target.flow = (struct flow){ 0 };
    if (!next_hop_choose(layer->next_hops, target.route, target.tried, layer->base->now_mono_ms,
                         &target.server) ||
        !branch_new(branch->request, &target))
        return false;
    branch_give_up(branch); /* the new one is sent when the request settles */
    return true;
}

static void pause_server(const struct branch *branch, uint64_t wait_ms)
{
    const struct request_layer *layer = branch->request->layer;

    if (branch->target.route)
        next_hop_failed(layer->next_hops, branch->target.route, branch->target.server,
                        layer->base->now_mono_ms + wait_ms);
}

/* Once it rings there, it is not to ring elsewhere. */
bool failover_unreached(struct branch *branch)
{
    pause_server(branch, branch->request->layer->base->config->timers.next_hop_pause_ms);
    return !branch->rang && go_on(branch);
}

/* A non-INVITE that has run into its time-out is over for its sender as well (RFC 4320 4.2). */
bool failover_unanswered(struct branch *branch)
{
    pause_server(branch, branch->request->layer->base->config->timers.next_hop_pause_ms);
    return request_is_invite(branch->request) && go_on(branch);
}

/* 0: it does not say (21.5.4: then only this request goes elsewhere). */
static uint64_t retry_after_s(const struct message *response)
{
    struct slice value = message_value(response, HEADER_RETRY_AFTER);
    unsigned long long seconds = 0;
    size_t digits = 0;

    while (digits < value.size && value.data[digits] >= '0' && value.data[digits] <= '9')
        digits++;
    if (digits == 0)
        return 0;
    if (!slice_to_u64((struct slice){ value.data, digits }, RETRY_AFTER_MAX_S, &seconds))
        return RETRY_AFTER_MAX_S;
    return seconds;
}

bool failover_unavailable(struct branch *branch, const struct message *response)
{
    uint64_t wait_s = retry_after_s(response);

    if (wait_s)
        pause_server(branch, wait_s * 1000);
    return go_on(branch);
}
