/* SPDX-License-Identifier: Apache-2.0 */
/* A branch: one copy of the request on its way to one place (RFC 3261 16.6 to 16.10). */
#include "proxy/request/request_internal.h"

#include "common/mem.h"

#include <assert.h>
#include <utlist.h>

#define BIT(state) (1u << BRANCH_##state)
/* A device that changes listeners faster than it is written to gets 480. */
#define MOVES_MAX 3

static const unsigned allowed[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = BIT(TRYING) | BIT(DONE),
    [BRANCH_TRYING] = BIT(PROCEEDING) | BIT(CANCELLING) | BIT(OUTDATED) | BIT(DONE),
    [BRANCH_PROCEEDING] = BIT(CANCELLING) | BIT(DONE),
    [BRANCH_CANCELLING] = BIT(DONE),
    [BRANCH_OUTDATED] = BIT(TRYING) | BIT(DONE),
    [BRANCH_DONE] = 0,
};

bool branch_is_pending(const struct branch *branch)
{
    return branch->state != BRANCH_DONE;
}

void branch_become(struct branch *branch, enum branch_state state)
{
    assert(allowed[branch->state] & (1u << state));
    branch->state = state;
    if (state == BRANCH_DONE) {
        timer_stop(&branch->request->layer->base->timers, &branch->timer);
        request_settle_soon(branch->request);
    }
}

/* Ends the wait for it: its transaction may go on alone. What a callee answered counts before what
 * we found out ourselves; of the latter the lowest status. */
void branch_fail(struct branch *branch, enum reason reason)
{
    struct request *request = branch->request;

    if (branch->state == BRANCH_DONE)
        return;
    if (!request->failure || reason_status(reason) < reason_status(request->failure))
        request->failure = reason;
    branch_give_up(branch);
}

void branch_give_up(struct branch *branch)
{
    if (branch->client)
        client_transaction_detach(branch->client);
    branch->client = NULL;
    branch->connecting = false;
    branch_become(branch, BRANCH_DONE);
}

static enum error start_timer_c(struct branch *branch);

/* The device has had time to come back: if it did, it answers from there. */
static void look_for_device(struct branch *branch)
{
    branch->probe_due = false;
    if (start_timer_c(branch) != ERROR_NONE)
        branch_fail(branch, REASON_OUT_OF_MEMORY);
    else
        branch_not_sent(branch, forward_probe(branch));
}

/* Timer C (16.8): a branch that rings is cancelled, one that never answered counts as 408. After a
 * CANCEL: no answer to it in 64*T1 (9.1). */
static void on_timer(struct timer *timer)
{
    struct branch *branch = (struct branch *)((char *)timer - offsetof(struct branch, timer));

    if (branch->probe_due)
        look_for_device(branch);
    else if (branch->state == BRANCH_PROCEEDING)
        branch_cancel(branch);
    else
        branch_fail(branch, branch->state == BRANCH_CANCELLING ? REASON_CANCELLED : REASON_TIMEOUT);
}

static enum error start_timer(struct branch *branch, uint64_t wait_ms)
{
    struct worker_base *base = branch->request->layer->base;

    return timer_start(&base->timers, &branch->timer, base->now_mono_ms + wait_ms);
}

static enum error start_timer_c(struct branch *branch)
{
    if (!request_is_invite(branch->request))
        return ERROR_NONE;
    return start_timer(branch, branch->request->layer->base->config->timers.timer_c_ms);
}

struct branch *branch_new(struct request *request, const struct branch_target *target)
{
    struct branch *branch;

    if (request->branch_count >= BRANCHES_MAX)
        return NULL;
    branch = mem_zero(1, sizeof(*branch));
    if (!branch)
        return NULL;
    branch->request = request;
    branch->target = *target;
    branch->timer.fire = on_timer;
    DL_APPEND(request->branches, branch);
    request->branch_count++;
    return branch;
}

void branch_free(struct branch *branch)
{
    struct request *request = branch->request;

    timer_stop(&request->layer->base->timers, &branch->timer);
    if (branch->id[0])
        HASH_DEL(request->layer->branches, branch);
    DL_DELETE(request->branches, branch);
    request->branch_count--;
    mem_free(branch);
}

static void on_cancel_response(void *owner, struct client_transaction *t,
                               const struct message *message)
{
    (void)owner; /* 200 or 481: only the INVITE's own answer counts (9.1) */
    (void)t;
    (void)message;
}

static void on_cancel_event(void *owner, struct client_transaction *t)
{
    (void)owner;
    (void)t;
}

static const struct client_user cancel_user = {
    .response = on_cancel_response,
    .timed_out = on_cancel_event,
    .transport_failed = on_cancel_event,
    .ended = on_cancel_event,
};

static enum error write_cancel(struct branch *branch, struct buffer *out)
{
    struct message invite;
    enum error error;

    message_init(&invite, 0);
    error = message_parse(&invite, client_transaction_request(branch->client));
    buffer_reset(out);
    if (error == ERROR_NONE)
        error = request_write_cancel(&invite, SLICE(""), out);
    message_free(&invite);
    return error;
}

/* Needs no permission: what was permitted once may always be taken back. */
static enum error send_cancel(struct branch *branch)
{
    struct request_layer *layer = branch->request->layer;
    struct client_transaction *cancel;
    struct delivery_order order = { .flow = branch->target.flow, .device = branch->target.device };
    enum error error = client_transaction_new_cancel(branch->client, &cancel_user, layer, &cancel);

    if (error != ERROR_NONE)
        return error;
    error = write_cancel(branch, &layer->out);
    if (error == ERROR_NONE)
        error = client_transaction_start(cancel, buffer_slice(&layer->out));
    if (error != ERROR_NONE) {
        client_transaction_detach(cancel);
        return error;
    }
    delivery_try(layer->delivery, &order, buffer_slice(&layer->out));
    return ERROR_NONE;
}

/* Only an INVITE can be cancelled, and only once it has been answered provisionally (9.1); before
 * that the wish is kept. What has not left yet never will. */
void branch_cancel(struct branch *branch)
{
    const struct transaction_timing *timing = &branch->request->layer->clients.timing;

    if (branch->connecting || branch->state == BRANCH_OUTDATED || branch->state == BRANCH_NONE) {
        branch_fail(branch, REASON_CANCELLED);
        return;
    }
    if (!request_is_invite(branch->request))
        return;
    branch->cancel_wanted = true;
    switch (branch->state) {
    case BRANCH_PROCEEDING:
        branch_become(branch, BRANCH_CANCELLING);
        branch->probe_due = false;
        if (send_cancel(branch) != ERROR_NONE ||
            start_timer(branch, 64ull * timing->t1_ms) != ERROR_NONE)
            branch_fail(branch, REASON_CANCELLED);
        break;
    case BRANCH_NONE:
    case BRANCH_OUTDATED:
    case BRANCH_TRYING:
    case BRANCH_CANCELLING:
    case BRANCH_DONE:
    case BRANCH_STATE_COUNT:
        break;
    }
}

/* The device is there after all. */
static void found_again(struct branch *branch)
{
    branch->lost = false;
    if (branch->probe_due)
        timer_stop(&branch->request->layer->base->timers, &branch->timer);
    branch->probe_due = false;
}

static void on_provisional(struct branch *branch, const struct message *message)
{
    struct request *request = branch->request;
    bool restart = message->status > 100 || branch->probe_due; /* 16.7 step 2 */

    branch->rang |= message->status > 100;
    if (branch->state == BRANCH_TRYING)
        branch_become(branch, BRANCH_PROCEEDING);
    if (branch->state == BRANCH_PROCEEDING) {
        found_again(branch);
        if (restart && start_timer_c(branch) != ERROR_NONE) {
            branch_fail(branch, REASON_OUT_OF_MEMORY);
            return;
        }
    }
    if (branch->cancel_wanted && branch->state == BRANCH_PROCEEDING) {
        branch_cancel(branch);
        return;
    }
    /* To a non-INVITE there is no provisional response but 100 (RFC 4320 4.1). */
    if (message->status > 100 && request_is_open(request) && request_is_invite(request))
        respond_forward(branch, message);
}

static void cancel_others(struct branch *branch)
{
    struct branch *other, *next;

    DL_FOREACH_SAFE(branch->request->branches, other, next)
    if (other != branch)
        branch_cancel(other);
}

/* 2xx of an INVITE goes up at once, each of them, also after the first (16.7 step 5). */
static void on_success(struct branch *branch, const struct message *message)
{
    struct request *request = branch->request;

    if (branch->state != BRANCH_DONE)
        branch_become(branch, BRANCH_DONE);
    respond_success(branch, message);
    if (request_is_invite(request))
        cancel_others(branch);
}

static void on_failure(struct branch *branch, const struct message *message)
{
    if (branch->state == BRANCH_DONE ||
        (message->status == 503 && failover_unavailable(branch, message)))
        return;
    respond_keep_best(branch, message);
    branch_become(branch, BRANCH_DONE);
    if (message->status >= 600)
        cancel_others(branch); /* 16.7 step 5: nobody else is to be asked */
}

static void on_response(void *owner, struct client_transaction *t, const struct message *message)
{
    struct branch *branch = owner;

    (void)t;
    if (branch->target.route && message->status != 503)
        next_hop_answered(branch->request->layer->next_hops, branch->target.route,
                          branch->target.server);
    if (message->status < 200)
        on_provisional(branch, message);
    else if (message->status < 300)
        on_success(branch, message);
    else
        on_failure(branch, message);
}

static void on_timed_out(void *owner, struct client_transaction *t)
{
    (void)t;
    if (!failover_unanswered(owner))
        branch_fail(owner, REASON_TIMEOUT);
}

static void on_transport_failed(void *owner, struct client_transaction *t)
{
    (void)t;
    if (!failover_unreached(owner))
        branch_fail(owner, REASON_NEXT_HOP_UNREACHABLE);
}

static void on_ended(void *owner, struct client_transaction *t)
{
    struct branch *branch = owner;

    (void)t;
    branch->client = NULL;
    if (branch->state != BRANCH_DONE)
        branch_fail(branch, REASON_TIMEOUT);
    request_settle_soon(branch->request);
}

static const struct client_user client_user = {
    .response = on_response,
    .timed_out = on_timed_out,
    .transport_failed = on_transport_failed,
    .ended = on_ended,
};

/* Draws the branch parameter; the bytes can be put together then. */
enum error branch_begin(struct branch *branch)
{
    struct request *request = branch->request;
    struct transaction_way way = { branch->target.flow, branch->target.device, true };
    enum error error =
        client_transaction_new(&request->layer->clients, message_method(&request->message), &way,
                               &client_user, branch, &branch->client);

    if (error != ERROR_NONE)
        return error;
    snprintf(branch->id, sizeof(branch->id), "%s", client_transaction_branch(branch->client));
    HASH_ADD_KEYPTR(hh, request->layer->branches, branch->id, strlen(branch->id), branch);
    if (!branch->hh.tbl) {
        branch->id[0] = 0;
        return ERROR_MEMORY;
    }
    return ERROR_NONE;
}

struct branch *branch_find(struct request_layer *layer, const char *id)
{
    struct branch *branch;

    HASH_FIND(hh, layer->branches, id, strlen(id), branch);
    return branch;
}

/* After the bytes are made: the transaction begins, timer C with it. */
enum error branch_started(struct branch *branch, struct slice bytes)
{
    enum error error = start_timer_c(branch);

    if (error == ERROR_NONE)
        error = client_transaction_start(branch->client, bytes);
    if (error == ERROR_NONE)
        branch_become(branch, BRANCH_TRYING);
    return error;
}

static bool is_unanswered(const struct branch *branch)
{
    return branch->state == BRANCH_TRYING || (branch->state == BRANCH_PROCEEDING && !branch->rang);
}

/* Its connection has closed after it was written: that counts as 503 (8.1.3.1, 16.9), for a next
 * hop that has said at most 100 at once, since that speaks of itself alone (21.1.1), and who closes
 * under a request that it has just taken has hardly the mind to answer it. A response by another
 * connection is possible (18.2.2, RFC 5923): where it rings already it is given some time, as a
 * phone is, which may come back and answer from there; then who has no connection with us can't
 * give any. */
static void on_lost(struct branch *branch)
{
    const struct config_timers *timers = &branch->request->layer->base->config->timers;

    if (branch->target.route && is_unanswered(branch)) {
        if (!failover_unreached(branch))
            branch_fail(branch, REASON_NEXT_HOP_UNREACHABLE);
        return;
    }
    if (branch->lost || (branch->state != BRANCH_TRYING && branch->state != BRANCH_PROCEEDING &&
                         branch->state != BRANCH_CANCELLING))
        return;
    branch->lost = true;
    branch->probe_due = branch->state != BRANCH_CANCELLING;
    if (start_timer(branch, timers->t2_ms) != ERROR_NONE)
        branch_fail(branch, REASON_OUT_OF_MEMORY);
}

/* What comes back unsent may have ended meanwhile: it never left, and nobody wants it to. */
static bool is_wanted(struct branch *branch)
{
    if (branch->request->sender_lost)
        branch_fail(branch, REASON_PERMISSION_LOST);
    else if (branch->cancel_wanted || !request_is_open(branch->request))
        branch_fail(branch, REASON_CANCELLED);
    return branch->state != BRANCH_DONE;
}

/* Not written, since the device has come back by another listener than it names. The flow is where
 * it is now. */
void branch_moved(struct branch *branch, struct flow flow)
{
    if (branch->state != BRANCH_TRYING || !is_wanted(branch))
        return;
    if (branch->moves++ == MOVES_MAX)
        branch_fail(branch, REASON_FLOW_GONE);
    else
        forward_moved(branch, flow);
}

/* Another worker, or this one, could not write it, or has written it in vain. */
void branch_not_sent(struct branch *branch, enum delivery_outcome outcome)
{
    if (outcome == DELIVERY_LOST) {
        on_lost(branch);
        return;
    }
    if (branch->state != BRANCH_TRYING && !(branch->lost && branch->state == BRANCH_PROCEEDING))
        return;
    switch (outcome) {
    case DELIVERY_OUTDATED:
        if (is_wanted(branch))
            branch_become(branch, BRANCH_OUTDATED);
        break;
    case DELIVERY_MERGED: /* the same phone has it already by a sibling: that one answers */
        if (branch->client)
            client_transaction_detach(branch->client);
        branch->client = NULL;
        branch_become(branch, BRANCH_DONE);
        break;
    case DELIVERY_GONE:
        if (failover_unreached(branch))
            break;
        branch_fail(branch, branch->target.route ? REASON_NEXT_HOP_UNREACHABLE : REASON_FLOW_GONE);
        break;
    case DELIVERY_FULL:
        branch_fail(branch, REASON_QUEUE_FULL);
        break;
    case DELIVERY_LOST:
    case DELIVERY_MOVED:
    case DELIVERY_NONE:
    case DELIVERY_WRITTEN:
    case DELIVERY_MAILED:
        break;
    }
}
