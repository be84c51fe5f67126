/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a request; request.h has the table. */
#include "proxy/request/request_internal.h"

#include "common/clock.h"
#include "common/mem.h"

#include <assert.h>
#include <utlist.h>

#define BIT(state) (1u << REQUEST_##state)

/* allowed[from] is the set of states that may follow. */
static const unsigned allowed[REQUEST_STATE_COUNT] = {
    [REQUEST_NONE] = BIT(RECEIVED),
    [REQUEST_RECEIVED] = BIT(PARKED) | BIT(AUTHORIZED) | BIT(DONE) | BIT(REFUSED),
    [REQUEST_PARKED] = BIT(AUTHORIZED) | BIT(DONE) | BIT(REFUSED),
    [REQUEST_AUTHORIZED] = BIT(PARKED) | BIT(STORING) | BIT(FORWARDED) | BIT(DONE) | BIT(REFUSED),
    [REQUEST_STORING] = BIT(DONE) | BIT(REFUSED),
    [REQUEST_FORWARDED] = BIT(RECHECKING) | BIT(DONE) | BIT(REFUSED),
    [REQUEST_RECHECKING] = BIT(FORWARDED) | BIT(DONE) | BIT(REFUSED),
    [REQUEST_DONE] = 0,
    [REQUEST_REFUSED] = 0,
};

const char *request_state_name(enum request_state state)
{
    static const char *const names[REQUEST_STATE_COUNT] = {
        [REQUEST_NONE] = "none",
        [REQUEST_RECEIVED] = "received",
        [REQUEST_PARKED] = "parked",
        [REQUEST_AUTHORIZED] = "authorized",
        [REQUEST_STORING] = "storing",
        [REQUEST_FORWARDED] = "forwarded",
        [REQUEST_RECHECKING] = "rechecking",
        [REQUEST_DONE] = "done",
        [REQUEST_REFUSED] = "refused",
    };

    return names[state];
}

bool request_is_open(const struct request *request)
{
    return request->state != REQUEST_DONE && request->state != REQUEST_REFUSED;
}

bool request_is_invite(const struct request *request)
{
    return request->message.method == METHOD_INVITE;
}

static bool waits(enum request_state state)
{
    return state == REQUEST_PARKED || state == REQUEST_STORING || state == REQUEST_RECHECKING;
}

/* An ACK is FORWARDED only while it waits for a connection (forward_ack()). */
static bool is_kept_ack(const struct request *request)
{
    return request->state == REQUEST_FORWARDED && request->message.method == METHOD_ACK;
}

/* What waits, for whatever it waits, counts for its device's bound. */
static void count_load(struct request *request, bool waiting)
{
    struct device_load **loads = &request->layer->loads;

    if (waiting && !request->load && request->endpoint)
        request->load = device_load_add(loads, request->endpoint->certificate);
    if (!waiting && request->load) {
        device_load_remove(loads, request->load);
        request->load = NULL;
    }
}

/* Parked requests are counted for the worker's figures and the bound of all workers. */
static void count_parked(struct request *request, bool parked)
{
    struct request_layer *layer = request->layer;

    if (request->parked_counted == parked)
        return;
    request->parked_counted = parked;
    if (parked) {
        atomic_fetch_add_explicit(layer->parked_total, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&layer->base->counters->parked, 1, memory_order_relaxed);
        counter_add(&layer->base->counters->parked_total);
    } else {
        atomic_fetch_sub_explicit(layer->parked_total, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&layer->base->counters->parked, 1, memory_order_relaxed);
    }
}

/* A wait without its deadline would be a wait without end: no memory for the timer is a failure at
 * once. */
static void arm_deadline(struct request *request)
{
    struct request_layer *layer = request->layer;
    uint64_t due = layer->base->now_mono_ms + layer->base->config->timers.park_deadline_ms;

    if (timer_active(&request->deadline))
        return;
    if (timer_start(&layer->base->timers, &request->deadline, due) != ERROR_NONE)
        request_settle_soon(request);
}

/* An INVITE: it may ring beyond the window that permits it. */
static void note_edge(const struct request *request)
{
    struct request_layer *layer = request->layer;
    uint64_t edge_unix_s = request->authorization.ground.edge_unix_s;

    if (request_is_invite(request) && edge_unix_s < layer->edge_unix_s)
        layer->edge_unix_s = edge_unix_s;
}

void request_become(struct request *request, enum request_state state)
{
    struct request_layer *layer = request->layer;

    assert(allowed[request->state] & (1u << state));
    request->state = state;
    count_parked(request, state == REQUEST_PARKED || is_kept_ack(request));
    count_load(request, waits(state) || is_kept_ack(request));
    switch (state) {
    case REQUEST_PARKED:
    case REQUEST_STORING:
    case REQUEST_RECHECKING:
        arm_deadline(request);
        break;
    case REQUEST_AUTHORIZED: /* its deadline goes on: it may come back */
    case REQUEST_RECEIVED:
    case REQUEST_NONE:
        break;
    case REQUEST_FORWARDED:
        timer_stop(&layer->base->timers, &request->deadline);
        note_edge(request);
        break;
    case REQUEST_DONE:
    case REQUEST_REFUSED:
        timer_stop(&layer->base->timers, &request->deadline);
        timer_stop(&layer->base->timers, &request->trying);
        timer_stop(&layer->base->timers, &request->again);
        authorize_end(&request->authorization);
        registrar_job_abandon(request->job);
        request->job = NULL;
        request_settle_soon(request);
        break;
    case REQUEST_STATE_COUNT:
        assert(false);
    }
}

void request_settle_soon(struct request *request)
{
    run_queue_add(&request->layer->base->run_queue, &request->settle);
}

static bool branch_pending_exists(const struct request *request)
{
    const struct branch *branch;

    DL_FOREACH(request->branches, branch)
    if (branch_is_pending(branch))
        return true;
    return false;
}

static bool branch_alive_exists(const struct request *request)
{
    const struct branch *branch;

    DL_FOREACH(request->branches, branch)
    if (branch->client)
        return true;
    return false;
}

static void unlink_endpoint(struct request *request)
{
    if (!request->endpoint)
        return;
    count_parked(request, false);
    count_load(request, false);
    DL_DELETE2(request->endpoint->requests, request, endpoint_prev, endpoint_next);
    request->endpoint = NULL;
}

void request_free(struct request *request)
{
    struct request_layer *layer = request->layer;
    struct branch *branch, *next;

    count_parked(request, false);
    count_load(request, false);
    unlink_endpoint(request);
    timer_stop(&layer->base->timers, &request->deadline);
    timer_stop(&layer->base->timers, &request->trying);
    timer_stop(&layer->base->timers, &request->again);
    run_queue_remove(&layer->base->run_queue, &request->settle);
    authorize_end(&request->authorization);
    registrar_job_abandon(request->job);
    request_drop_interest(request);
    DL_FOREACH_SAFE(request->branches, branch, next)
    branch_free(branch);
    DL_DELETE(layer->requests, request);
    layer->count--;
    message_free(&request->message);
    buffer_free(&request->best);
    mem_free(request);
}

void request_drop_interest(struct request *request)
{
    struct branch *branch;

    if (request->server)
        server_transaction_detach(request->server);
    request->server = NULL;
    DL_FOREACH(request->branches, branch)
    {
        if (branch->client)
            client_transaction_detach(branch->client);
        branch->client = NULL;
    }
}

/* From the run queue: looks whether all branches have ended, and whether the request itself may go.
 * A call that was answered stays while 2xx may be repeated (RFC 6026); for all else the
 * transactions finish alone. */
static void settle(struct task *task)
{
    struct request *request = (struct request *)((char *)task - offsetof(struct request, settle));

    if (request_is_open(request)) {
        if (waits(request->state) && !timer_active(&request->deadline))
            request_refuse(request, REASON_OUT_OF_MEMORY, "no timer");
        else if (request->state == REQUEST_FORWARDED)
            forward_new(request);
        if ((request->state == REQUEST_FORWARDED || request->state == REQUEST_RECHECKING) &&
            !branch_pending_exists(request))
            respond_best(request);
    }
    if (request_is_open(request))
        return;
    if (request->answered_2xx && request_is_invite(request) &&
        (request->server || branch_alive_exists(request)))
        return;
    if (branch_pending_exists(request) && request->cancelled && request_is_invite(request))
        return; /* CANCEL is still owed or unanswered */
    request_free(request);
}

static void on_deadline(struct timer *timer)
{
    struct request *request =
        (struct request *)((char *)timer - offsetof(struct request, deadline));

    if (request->message.method == METHOD_ACK)
        request_end(request);
    else if (request->state == REQUEST_STORING)
        request_refuse(request, REASON_BIND_UNCONFIRMED, "deadline");
    else
        request_refuse(request, ask_deadline_reason(request->layer->ask), "deadline");
}

static void on_trying(struct timer *timer)
{
    struct request *request = (struct request *)((char *)timer - offsetof(struct request, trying));

    respond_status(request, 100, SLICE(""));
}

static void act_on_decision(struct request *request);

static void decide_again(struct request *request)
{
    if (authorize_again(&request->authorization) == AUTHORIZATION_DECIDED)
        act_on_decision(request);
}

static void on_again(struct timer *timer)
{
    decide_again((struct request *)((char *)timer - offsetof(struct request, again)));
}

/* A non-INVITE gets its 100 when it is still unanswered after 3.5 s (RFC 4320 4.1), wherever it
 * waits. */
static enum error start_trying(struct request *request)
{
    struct worker_base *base = request->layer->base;

    if (request_is_invite(request) || !request->server)
        return ERROR_NONE;
    return timer_start(&base->timers, &request->trying,
                       base->now_mono_ms + base->config->timers.nonfinal_100_after_ms);
}

static void on_server_acknowledged(void *owner, struct server_transaction *t)
{
    (void)owner;
    (void)t;
}

static void on_server_gone(void *owner, struct server_transaction *t)
{
    (void)
        owner; /* what can't be answered upstream still has to end downstream: nothing to do here */
    (void)t;
}

static void on_server_ended(void *owner, struct server_transaction *t)
{
    struct request *request = owner;

    (void)t;
    request->server = NULL;
    request_settle_soon(request);
}

static const struct server_user server_user = {
    .acknowledged = on_server_acknowledged,
    .timed_out = on_server_gone,
    .transport_failed = on_server_gone,
    .ended = on_server_ended,
};

static enum error make_transaction(struct request *request)
{
    struct request_layer *layer = request->layer;
    struct transaction_way way = { request->flow, request->endpoint->certificate, true };
    struct transaction_id id;

    if (request->message.method == METHOD_ACK)
        return ERROR_NONE;
    transaction_id_of(&id, &request->message, request->endpoint->certificate);
    return server_transaction_new(&layer->servers, &id, &way, &server_user, request,
                                  &request->server);
}

static bool is_of_trust_domain(const struct endpoint *endpoint)
{
    const struct config_route *route = connection_route(endpoint->connection);

    return (route && route->trusted) || (endpoint->peer && endpoint->peer->trusted);
}

/* NULL where no listener is left. False: no memory. */
static bool keep_reached(struct request *request)
{
    const char *reached = connection_advertised(request->endpoint->connection);

    if (reached)
        request->reached = arena_copy(&request->message.arena, slice_of(reached)).data;
    return !reached || request->reached;
}

struct request *request_new(struct request_layer *layer, struct endpoint *endpoint,
                            const struct message *message)
{
    struct request *request = mem_zero(1, sizeof(*request));
    const struct address *remote = connection_remote(endpoint->connection);

    if (!request)
        return NULL;
    request->incoming = connection_transport(endpoint->connection);
    request->layer = layer;
    request->flow = endpoint->flow;
    request->device = endpoint->device;
    request->settle.run = settle;
    request->deadline.fire = on_deadline;
    request->trying.fire = on_trying;
    request->again.fire = on_again;
    request->group = ++layer->next_group * layer->base->workers + layer->base->index;
    buffer_init(&request->best, 0);
    message_init(&request->message, REQUEST_ARENA_MAX);
    address_host_text(remote, request->source);
    request->source_port = address_port(remote);
    DL_APPEND(layer->requests, request);
    layer->count++;
    request->endpoint = endpoint;
    request->of_trusted = is_of_trust_domain(endpoint);
    DL_APPEND2(endpoint->requests, request, endpoint_prev, endpoint_next);
    request_become(request, REQUEST_RECEIVED);
    if (message_keep(&request->message, message, REQUEST_ARENA_MAX) != ERROR_NONE ||
        !keep_reached(request) || make_transaction(request) != ERROR_NONE ||
        start_trying(request) != ERROR_NONE) {
        request_free(request);
        return NULL;
    }
    return request;
}

void request_end(struct request *request)
{
    if (request_is_open(request))
        request_become(request, REQUEST_DONE);
}

void request_refuse(struct request *request, enum reason reason, const char *detail)
{
    if (!request_is_open(request))
        return;
    respond(request, reason, detail);
    request_become(request, REQUEST_REFUSED);
    if (request->branches)
        request_cancel(request, reason);
}

static void on_authorization(struct authorization *authorization)
{
    struct request *request = authorization->owner;

    if (request_is_open(request))
        act_on_decision(request);
}

static void stand_for_domain(struct request *request)
{
    struct slice domain = identity_domain(&request->speaker);
    struct identity *target = &request->target.identity;

    memcpy(target->text, domain.data, domain.size);
    target->text[domain.size] = 0;
    target->size = (uint16_t)domain.size;
    target->user_size = 0;
}

/* The other side's URI, but of a route that took a number of ours the number that it is there. */
static void choose_dialog_target(struct request *request, struct authorize_facts *facts)
{
    const struct config_route *route = forward_dialog_route(request);
    struct identity *number = &request->target.number;
    struct number read;

    facts->target = &request->to;
    facts->want_locate = false;
    facts->number = NULL;
    if (!route || request->sender != DIALOG_CALLER)
        return;
    facts->plan = route->plan;
    if (!slice_equal(identity_domain(&request->to), identity_text(&route->domain)) &&
        number_read(identity_user(&request->to), &route->plan, &read) &&
        identity_from_parts(number, (struct slice){ read.text, read.size }, SLICE(""), true) ==
            ERROR_NONE)
        facts->target = number;
}

/* Inside a dialog the other side's URI is the target, whatever the Request-URI says; our own
 * address stands for the domain of who asks. */
static void choose_target(struct request *request, struct authorize_facts *facts)
{
    bool is_register = request->message.method == METHOD_REGISTER;

    facts->target = request->target.kind == REQUEST_TARGET_NUMBER ? &request->target.number
                                                                  : &request->target.identity;
    facts->want_locate = request->target.kind == REQUEST_TARGET_USER;
    facts->plan = request->target.plan;
    if (request->target.number_route) {
        facts->number = &request->target.number;
        facts->number_plan = request->target.number_route->plan;
    }
    if (request->in_dialog) {
        choose_dialog_target(request, facts);
        facts->side =
            request->sender == DIALOG_CALLER ? &request->token.caller : &request->token.callee;
        facts->keys = request->layer->keys;
    } else if (request->target.kind == REQUEST_TARGET_PROXY) {
        stand_for_domain(request);
    } else if (is_register && request->target.kind == REQUEST_TARGET_DOMAIN) {
        facts->want_locate =
            !registrar_is_refresh(request->layer->registrar, request->endpoint, &request->message,
                                  &request->speaker, &request->to);
    }
}

/* Starts the lookups, or takes what the cache has. */
void request_authorize(struct request *request)
{
    struct request_layer *layer = request->layer;
    struct authorize_facts facts = {
        .method = message_method(&request->message),
        .from = &request->speaker,
        .referrer = request->referrer.size ? &request->referrer : NULL,
        .referral = request->referral,
        .to = request->message.method == METHOD_REGISTER ? &request->to : NULL,
        .admission = request->admission,
        .credentials = request->credentials,
        .hashed = { message_method(&request->message), message_body(&request->message) },
        .call_id = message_slice(&request->message, request->message.call_id),
    };

    choose_target(request, &facts);
    request->authorization.owner = request;
    request->authorization.done = on_authorization;
    if (authorize_begin(&request->authorization, layer->base, layer->ask, request->endpoint->peer,
                        &facts) == AUTHORIZATION_DECIDED)
        act_on_decision(request);
    else
        request_become(request, REQUEST_PARKED);
}

/* A request that carries a To tag but no token is in no dialog of ours; a forged one has been
 * refused by now (T2). */
static bool is_stray(const struct request *request)
{
    return request->message.to_tag.len != 0 && !request->in_dialog &&
           request->message.method != METHOD_REGISTER;
}

static void permitted(struct request *request)
{
    if (request->authorization.device || request->endpoint)
        request->device = request->authorization.device;
    if (!request->device) { /* its token and its bindings would name nobody */
        request_refuse(request, REASON_MAPPERD_UNREACHABLE, "device key is not known yet");
        return;
    }
    if (request->state == REQUEST_RECHECKING) {
        request_become(request, REQUEST_FORWARDED);
        request_settle_soon(request); /* branches may have ended meanwhile */
        forward_end_lost(request);
        if (request_is_open(request))
            forward_outdated(request);
        return;
    }
    request_become(request, REQUEST_AUTHORIZED);
    request_forward(request);
}

static void act_on_decision(struct request *request)
{
    const struct decision *decision = &request->authorization.decision;

    if (decision->effect == EFFECT_ALLOW && !is_stray(request)) {
        permitted(request);
        return;
    }
    if (request->message.method == METHOD_ACK) {
        counter_add(&request->layer->base->counters->dropped);
        request_end(request);
        return;
    }
    if (decision->effect == EFFECT_CHALLENGE) {
        password_challenge(request, decision->reason);
        return;
    }
    request_refuse(
        request, decision->effect == EFFECT_ALLOW ? REASON_DIALOG_UNKNOWN : decision->reason, NULL);
}

/* Nothing is known here that was not known at the last decision: another worker, which has to
 * write, has read a message that is still on its way to this one. */
static bool is_ahead_of_us(const struct request *request)
{
    const struct ground *ground = &request->authorization.ground;
    struct ground now;

    ground_begin(&now, request->layer->ask);
    return now.epoch && now.epoch == ground->epoch && now.serial == ground->serial &&
           now.edition == ground->edition && ground->edge_unix_s > request->layer->base->now_unix_s;
}

/* Asking at once would give the same answer, and the two workers would toss it to and fro. A tick
 * comes at the latest after 500 ms. */
static void pause_recheck(struct request *request)
{
    struct worker_base *base = request->layer->base;
    uint64_t wait_ms = request->pauses < 6 ? UINT64_C(10) << request->pauses : 500;

    request->pauses++;
    if (timer_start(&base->timers, &request->again, base->now_mono_ms + wait_ms) != ERROR_NONE)
        request_refuse(request, REASON_OUT_OF_MEMORY, "no timer");
}

/* What it rests on has changed, or a worker sent it back at the moment of writing. */
void request_recheck(struct request *request)
{
    switch (request->state) {
    case REQUEST_AUTHORIZED:
        request_become(request, REQUEST_PARKED);
        break;
    case REQUEST_FORWARDED:
        request_become(request, REQUEST_RECHECKING);
        break;
    case REQUEST_RECHECKING:
        if (!timer_active(&request->again))
            return;
        timer_stop(&request->layer->base->timers, &request->again);
        break;
    case REQUEST_NONE:
    case REQUEST_RECEIVED:
    case REQUEST_PARKED:
    case REQUEST_STORING:
    case REQUEST_DONE:
    case REQUEST_REFUSED:
    case REQUEST_STATE_COUNT:
        return;
    }
    if (is_ahead_of_us(request))
        pause_recheck(request);
    else
        decide_again(request);
}

/* The caller's CANCEL (reason CANCELLED), or the loss of what permitted it. */
void request_cancel(struct request *request, enum reason why)
{
    struct branch *branch, *next;

    request->cancelled = true;
    switch (request->state) {
    case REQUEST_RECEIVED:
    case REQUEST_PARKED:
    case REQUEST_AUTHORIZED:
        if (why == REASON_CANCELLED) {
            respond(request, why, NULL);
            request_become(request, REQUEST_DONE);
        } else {
            request_refuse(request, why, NULL);
        }
        return;
    case REQUEST_FORWARDED:
    case REQUEST_RECHECKING:
    case REQUEST_REFUSED:
    case REQUEST_DONE:
        DL_FOREACH_SAFE(request->branches, branch, next)
        branch_cancel(branch);
        return;
    case REQUEST_STORING:
    case REQUEST_NONE:
    case REQUEST_STATE_COUNT:
        return;
    }
}

void request_peer_gone(struct request *request)
{
    unlink_endpoint(request);
    switch (request->state) {
    case REQUEST_RECEIVED:
    case REQUEST_PARKED:
    case REQUEST_AUTHORIZED:
    case REQUEST_STORING:
        request_become(request, REQUEST_DONE);
        break;
    case REQUEST_RECHECKING:
        request_refuse(request, REASON_PERMISSION_LOST, "connection closed");
        break;
    case REQUEST_FORWARDED: /* the answer finds the device's newest connection */
        if (is_kept_ack(request))
            request_end(request); /* it would be nobody's load any more */
        break;
    case REQUEST_DONE:
    case REQUEST_REFUSED:
    case REQUEST_NONE:
    case REQUEST_STATE_COUNT:
        break;
    }
}
