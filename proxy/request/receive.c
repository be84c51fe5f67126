/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection brings: responses to branches, and requests that are new, repeated, an ACK or a
 * CANCEL (RFC 3261 16.3, 17.2.3, 18.1.2). */
#include "proxy/request/request_internal.h"

#include "common/log.h"
#include "common/mem.h"
#include "common/random.h"

#include <utlist.h>

/* Octets of an Unsupported line; a longer one is left out. */
#define UNSUPPORTED_MAX 4096

static void drop(struct request_layer *layer)
{
    counter_add(&layer->base->counters->dropped);
}

/* What stands under our Via must be the caller's, as we passed it on. */
static bool carries_via_of(const struct request *request, const struct message *response)
{
    struct message_values values = message_values(response, HEADER_VIA);
    struct slice value;
    struct via via;

    return message_next_value(&values, &value) == ERROR_NONE &&
           message_next_value(&values, &value) == ERROR_NONE &&
           header_parse_via(value, &via) == ERROR_NONE &&
           slice_equal(via.branch, message_slice(&request->message, request->message.via_branch));
}

/* A callee says what it likes of itself, but not whose call it answers: its response goes to the
 * caller with these names in it. */
static bool fits(const struct request *request, const struct message *response)
{
    const struct message *own = &request->message;

    return response->cseq == own->cseq &&
           slice_equal(message_slice(response, response->call_id),
                       message_slice(own, own->call_id)) &&
           slice_equal(message_slice(response, response->from_tag),
                       message_slice(own, own->from_tag)) &&
           carries_via_of(request, response);
}

/* A response belongs to a branch of this worker. `device` sent it: others' branches are not found
 * (T16). */
static void response_arrived(struct request_layer *layer, const struct message *m, uint64_t device)
{
    struct client_transaction *t = client_table_find(
        &layer->clients, message_slice(m, m->via_branch), message_method(m), device);
    const struct branch *branch = NULL;

    if (t && m->method != METHOD_CANCEL) /* of a CANCEL of ours nothing goes on */
        branch = client_transaction_owner(t);
    if (t && (!branch || fits(branch->request, m)))
        client_transaction_received(t, m);
    else
        drop(layer);
}

void request_layer_response(struct request_layer *layer, struct slice bytes, uint64_t device)
{
    if (message_parse(&layer->incoming, bytes) == ERROR_NONE && !layer->incoming.is_request)
        response_arrived(layer, &layer->incoming, device);
    else
        drop(layer);
}

/* A connection without certificate may be several devices; one of them was asked. */
static uint64_t device_of_response(struct request_layer *layer, const struct endpoint *endpoint,
                                   const struct message *m)
{
    uint64_t device = 0, one;

    for (size_t i = 0; (one = peer_device_at(endpoint->peer, i)) != 0; i++) {
        device = one;
        if (client_table_find(&layer->clients, message_slice(m, m->via_branch), message_method(m),
                              one))
            break;
    }
    return device;
}

/* A device that holds nothing any more answers nothing either: a removed phone that comes back
 * would else take the call that rang at it. */
static void receive_response(struct request_layer *layer, struct endpoint *endpoint,
                             const struct message *m)
{
    unsigned worker;
    uint64_t device;
    struct letter *letter;

    if (m->fault != MESSAGE_VALID || !endpoint->peer || !peer_device_at(endpoint->peer, 0) ||
        endpoint->peer->condition != PEER_HELD ||
        !transaction_branch_worker(message_slice(m, m->via_branch), layer->base->workers,
                                   &worker)) {
        drop(layer);
        return;
    }
    if (m->status >= 200 && m->method != METHOD_CANCEL)
        delivery_answered(endpoint, message_slice(m, m->via_branch));
    if (worker == layer->base->index) {
        response_arrived(layer, m, device_of_response(layer, endpoint, m));
        return;
    }
    for (size_t i = 0; (device = peer_device_at(endpoint->peer, i)) != 0; i++) {
        letter = letter_new(MAIL_RESPONSE, layer->base->index, message_text(m));
        if (!letter) {
            drop(layer);
            return;
        }
        letter->device = device;
        delivery_hand_on(layer->delivery, worker, letter);
    }
}

/* A CANCEL is its INVITE's when transaction, Call-ID, caller and number agree (9.2); another
 * device's finds nothing (T3). */
static struct request *find_cancelled(struct request_layer *layer, const struct message *m,
                                      uint64_t certificate, bool *found)
{
    struct transaction_id id;
    struct server_transaction *t;
    struct request *request;

    transaction_id_of(&id, m, certificate);
    t = server_table_find_cancelled(&layer->servers, &id);
    request = t ? server_transaction_owner(t) : NULL;
    *found = t != NULL;
    if (!request)
        return NULL;
    if (request->message.cseq != m->cseq ||
        !slice_equal(message_slice(&request->message, request->message.call_id),
                     message_slice(m, m->call_id)) ||
        !slice_equal(message_slice(&request->message, request->message.from_tag),
                     message_slice(m, m->from_tag)) ||
        !slice_equal(message_slice(&request->message, request->message.from_uri),
                     message_slice(m, m->from_uri))) {
        *found = false;
        return NULL;
    }
    return request;
}

static void cancel_request(struct request *request)
{
    if (request && request_is_invite(request) && request_is_open(request))
        request_cancel(request, REASON_CANCELLED);
}

static void answer_cancel(struct request_layer *layer, struct connection *c,
                          const struct message *m, bool found)
{
    char warning[160];

    if (found) {
        respond_stateless(layer, c, m, 200, NULL, SLICE(""));
        return;
    }
    counter_add(&layer->base->counters->reasons[REASON_TRANSACTION_UNKNOWN]);
    snprintf(warning, sizeof(warning), "%s: %s", reason_name(REASON_TRANSACTION_UNKNOWN),
             reason_text(REASON_TRANSACTION_UNKNOWN));
    respond_stateless(layer, c, m, 481, warning, SLICE(""));
}

/* Answered without any state: over a bound, nobody's connection, no memory. */
static void refuse_stateless(struct request_layer *layer, struct endpoint *endpoint,
                             const struct message *m, enum reason reason)
{
    char warning[160];

    counter_add(&layer->base->counters->reasons[reason]);
    if (m->method == METHOD_ACK) {
        drop(layer);
        return;
    }
    if (log_limit_pass(&layer->limit, 100, layer->base->now_mono_ms))
        log_refusal(m, reason, NULL);
    snprintf(warning, sizeof(warning), "%s: %s", reason_name(reason), reason_text(reason));
    respond_stateless(layer, endpoint->connection, m, (unsigned)reason_status(reason), warning,
                      respond_wants_retry(reason) ? SLICE("Retry-After: 2\r\n") : SLICE(""));
}

/* The INVITE may have come over another connection of the device, on another worker: asked one
 * after the other. */
static bool ask_next_worker(struct request_layer *layer, struct endpoint *endpoint,
                            const struct message *m)
{
    unsigned workers = layer->base->workers;
    struct letter *letter;

    if (workers == 1)
        return false;
    letter = letter_new(MAIL_CANCEL, layer->base->index, message_text(m));
    if (!letter)
        return false;
    letter->device = endpoint->certificate;
    letter->flow = endpoint->flow;
    return delivery_hand_on(layer->delivery, (layer->base->index + 1) % workers, letter);
}

static void receive_cancel(struct request_layer *layer, struct endpoint *endpoint,
                           const struct message *m)
{
    bool found;
    struct request *request = find_cancelled(layer, m, endpoint->certificate, &found);

    if (!found && ask_next_worker(layer, endpoint, m))
        return;
    answer_cancel(layer, endpoint->connection, m, found);
    cancel_request(request);
}

/* The answer, from the worker that has the CANCEL's connection: the letter came back, its outcome
 * says how it went. */
static void cancel_came_back(struct request_layer *layer, struct letter *letter)
{
    struct connection *c = net_find(layer->net, letter->flow);

    if (c && message_parse(&layer->incoming, letter->bytes) == ERROR_NONE)
        answer_cancel(layer, c, &layer->incoming, letter->outcome == DELIVERY_WRITTEN);
}

void request_layer_cancel(struct request_layer *layer, struct letter *letter)
{
    unsigned next = (layer->base->index + 1) % layer->base->workers;
    struct request *request = NULL;
    bool found = false;

    if (letter->sender == layer->base->index) {
        cancel_came_back(layer, letter);
        letter_free(letter);
        return;
    }
    if (message_parse(&layer->incoming, letter->bytes) == ERROR_NONE)
        request = find_cancelled(layer, &layer->incoming, letter->device, &found);
    if (found) {
        letter->outcome = DELIVERY_WRITTEN;
        next = letter->sender;
    }
    delivery_hand_on(layer->delivery, next, letter);
    cancel_request(request);
}

static enum reason reason_of_fault(enum message_fault fault)
{
    switch (message_fault_status(fault)) {
    case 416:
        return REASON_SCHEME_UNSUPPORTED;
    case 505:
        return REASON_VERSION_UNSUPPORTED;
    case 513:
        return REASON_MESSAGE_TOO_LARGE;
    default:
        return REASON_MALFORMED;
    }
}

static void refuse_fault(struct request_layer *layer, struct connection *c, const struct message *m)
{
    char text[MESSAGE_FAULT_TEXT_MAX], warning[MESSAGE_FAULT_TEXT_MAX + 32];
    enum reason reason = reason_of_fault(m->fault);
    struct log_line line;

    counter_add(&layer->base->counters->malformed);
    if (!m->is_request || m->method == METHOD_ACK) {
        drop(layer);
        return;
    }
    message_fault_text(m, text);
    counter_add(&layer->base->counters->reasons[reason]);
    snprintf(warning, sizeof(warning), "%s: %s", reason_name(reason), text);
    if (log_limit_pass(&layer->limit, 100, layer->base->now_mono_ms)) {
        log_begin(&line, LOG_INFO, "malformed");
        log_word(&line, "reason", reason_name(reason));
        log_text(&line, "detail", slice_of(text));
        log_word(&line, "peer", connection_remote_text(c));
        log_end(&line);
    }
    respond_stateless(layer, c, m, (unsigned)reason_status(reason), warning, SLICE(""));
}

/* Adds the option tags that we don't have to `out`. ERROR_MALFORMED: no list of tokens. */
static enum error list_unsupported(const struct message *m, enum header_id id, struct slice known,
                                   struct buffer *out)
{
    struct message_values values = message_values(m, id);
    struct slice tag;
    enum error error;

    while ((error = message_next_value(&values, &tag)) == ERROR_NONE) {
        if (!header_is_token(tag))
            return ERROR_MALFORMED;
        if (slice_equal_nocase(tag, known))
            continue;
        buffer_add_text(out, buffer_size(out) ? ", " : "Unsupported: ");
        buffer_add(out, tag);
    }
    return error == ERROR_NOT_FOUND ? ERROR_NONE : error;
}

/* RFC 3261 16.3 steps 3 and 5, 8.2.2.3 where we are meant ourselves; the rest was the parser's. A
 * REGISTER names a domain, never a user, in its Request-URI (10.2): who it is for stands in To. */
static enum reason check(const struct request *request, struct buffer *unsupported)
{
    const struct message *m = &request->message;
    bool to_dialog = request->target.token.data != NULL;
    bool for_us = !to_dialog && (request->target.kind == REQUEST_TARGET_DOMAIN ||
                                 request->target.kind == REQUEST_TARGET_PROXY);

    if (m->max_forwards == 0 &&
        !(for_us && (m->method == METHOD_OPTIONS || m->method == METHOD_REGISTER)))
        return REASON_TOO_MANY_HOPS;
    if (m->method == METHOD_ACK) /* can't be answered */
        return REASON_ALLOWED;
    if (m->method == METHOD_REGISTER && !for_us && !to_dialog)
        return REASON_MALFORMED;
    if (list_unsupported(m, HEADER_PROXY_REQUIRE, SLICE(""), unsupported) != ERROR_NONE)
        return REASON_MALFORMED;
    if (for_us &&
        list_unsupported(m, HEADER_REQUIRE, SLICE(REQUEST_SUPPORTED), unsupported) != ERROR_NONE)
        return REASON_MALFORMED;
    if (!buffer_size(unsupported))
        return REASON_ALLOWED;
    buffer_add_text(unsupported, "\r\n");
    return REASON_EXTENSION_UNSUPPORTED;
}

static enum reason read_identity(enum error (*read)(const struct message *, struct name_addr *,
                                                    struct uri *),
                                 const struct message *m, struct identity *out)
{
    struct name_addr address;
    struct uri uri;

    if (read(m, &address, &uri) != ERROR_NONE)
        return REASON_MALFORMED;
    return uri_identity(&uri, out) == ERROR_NONE ? REASON_ALLOWED : REASON_MALFORMED;
}

/* A value that names one user or domain; false when it is none. */
static bool read_name(struct slice value, struct identity *out)
{
    struct name_addr address;
    struct uri uri;

    return value.data && header_parse_name_addr(value, &address) == ERROR_NONE &&
           uri_parse(address.uri, &uri) == ERROR_NONE && uri.scheme != URI_SERVICE &&
           uri_identity(&uri, out) == ERROR_NONE;
}

/* A service is called, and calls nobody: From names it in the answering side's requests alone. */
static enum reason check_service(const struct request *request)
{
    return !request->in_dialog && identity_service(&request->from).size ? REASON_MALFORMED
                                                                        : REASON_ALLOWED;
}

/* From of RFC 3323 says nobody; who it is says P-Preferred-Identity then, and that must be an
 * identity of the peer like any From. In a dialog the token says it. */
static void find_speaker(struct request *request)
{
    struct identity name;

    request->speaker = request->from;
    if (!request->in_dialog && identity_is_anonymous(&request->from) &&
        privacy_read_preferred(request, &name))
        request->speaker = name;
}

static enum reason read_referrer(struct request *request)
{
    struct slice value = message_value(&request->message, HEADER_REFERRED_BY);

    request->referrer.size = 0;
    if (request->message.method != METHOD_REFER || !value.data)
        return REASON_ALLOWED;
    return read_name(value, &request->referrer) ? REASON_ALLOWED : REASON_MALFORMED;
}

/* Whom a REFER has the other side call, if that can be a call through us. Our own address is
 * nobody.
 */
static enum reason read_referral(struct request *request)
{
    struct slice value = message_value(&request->message, HEADER_REFER_TO);
    struct arena *arena = &request->message.arena;
    struct request_target *target;
    struct name_addr address;
    enum reason reason;

    if (request->message.method != METHOD_REFER || !value.data)
        return REASON_ALLOWED;
    if (header_parse_name_addr(value, &address) != ERROR_NONE)
        return REASON_MALFORMED;
    target = arena_alloc(arena, sizeof *target);
    if (!target)
        return REASON_OUT_OF_MEMORY;
    reason = target_read_referred(address.uri, request->layer->base->config, &request->layer->names,
                                  target);
    if (reason == REASON_NO_RIGHT)
        return REASON_REFER_TO_NOT_PERMITTED;
    if (reason != REASON_ALLOWED || target->kind == REQUEST_TARGET_NONE ||
        target->kind == REQUEST_TARGET_PROXY)
        return reason;
    request->referral = arena_alloc(arena, sizeof *request->referral);
    if (!request->referral)
        return REASON_OUT_OF_MEMORY;
    *request->referral = (struct authorize_referral){
        .target = target->kind == REQUEST_TARGET_NUMBER ? &target->number : &target->identity,
        .plan = target->plan,
        .want_locate = target->kind == REQUEST_TARGET_USER,
    };
    if (target->number_route) {
        request->referral->number = &target->number;
        request->referral->number_plan = target->number_route->plan;
    }
    return REASON_ALLOWED;
}

/* All that must be known before permission is asked for. */
static enum reason prepare(struct request *request, struct buffer *unsupported)
{
    const struct message *m = &request->message;
    enum reason reason =
        target_read(m, request->layer->base->config, &request->layer->names, &request->target);

    if (request->endpoint->peer->kind == PEER_ROUTE)
        target_not_back(&request->target, request->endpoint->peer->key + strlen("route:"));
    if (reason == REASON_ALLOWED)
        reason = check(request, unsupported);
    if (reason == REASON_ALLOWED)
        reason = read_identity(message_from, m, &request->from);
    if (reason == REASON_ALLOWED)
        reason = read_identity(message_to, m, &request->to);
    if (reason == REASON_ALLOWED)
        reason = dialog_open_token(request);
    if (reason == REASON_ALLOWED)
        reason = check_service(request);
    if (reason == REASON_ALLOWED)
        reason = read_referrer(request);
    if (reason == REASON_ALLOWED)
        reason = read_referral(request);
    find_speaker(request);
    if (reason == REASON_ALLOWED && request->target.foreign_route && !request->in_dialog)
        reason = request->endpoint->peer->trusted ? target_follow_route(&request->target)
                                                  : REASON_ROUTE_NOT_PERMITTED;
    if (reason == REASON_ALLOWED && m->method == METHOD_ACK && !request->in_dialog)
        reason = REASON_DIALOG_UNKNOWN;
    if (reason == REASON_ALLOWED)
        reason = password_read(request);
    if (reason == REASON_ALLOWED)
        reason =
            session_timer_read(m, request->layer->base->config->session_timer_s, &request->session);
    return reason;
}

static void refuse_unprepared(struct request *request, enum reason reason,
                              const struct buffer *unsupported)
{
    if (request->message.method == METHOD_ACK) {
        drop(request->layer);
        request_end(request);
        return;
    }
    if (reason == REASON_SESSION_TOO_BRIEF) {
        respond_with(request, reason, NULL, SLICE("Min-SE: " SESSION_TIMER_MIN_TEXT "\r\n"));
    } else if (reason == REASON_EXTENSION_UNSUPPORTED) {
        respond_with(request, reason, NULL,
                     unsupported->failed ? SLICE("") : buffer_slice(unsupported));
    } else {
        request_refuse(request, reason, NULL);
        return;
    }
    request_become(request, REQUEST_REFUSED);
}

static void begin(struct request_layer *layer, struct endpoint *endpoint, const struct message *m)
{
    struct request *request = request_new(layer, endpoint, m);
    struct buffer unsupported;
    struct transaction_id id;
    enum reason reason;

    if (!request) {
        transaction_id_of(&id, m, endpoint->certificate);
        refuse_stateless(layer, endpoint, m,
                         server_transaction_fits(&id) ? REASON_OUT_OF_MEMORY : REASON_MALFORMED);
        return;
    }
    if (request_is_invite(request))
        respond_status(request, 100, SLICE(""));
    buffer_init(&unsupported, UNSUPPORTED_MAX);
    reason = prepare(request, &unsupported);
    if (reason != REASON_ALLOWED)
        refuse_unprepared(request, reason, &unsupported);
    else
        request_authorize(request);
    buffer_free(&unsupported);
}

/* Bounds before any state: a device's own (T37), that of all. A server of a route that is not
 * looked up yet gets nothing through. ACK and BYE get through up to twice
 * the bound, or calls could not be ended. */
static enum reason over_bound(const struct request_layer *layer, const struct endpoint *endpoint,
                              const struct message *m)
{
    const struct config_bounds *bounds = &layer->base->config->bounds;
    bool ends_call = m->method == METHOD_ACK || m->method == METHOD_BYE;
    unsigned factor = ends_call ? 2 : 1;
    unsigned own = endpoint->peer->kind == PEER_ROUTE || endpoint->peer->trusted
                       ? bounds->park_per_trusted_peer
                       : bounds->park_per_device;

    if (endpoint->peer->kind == PEER_ROUTE && endpoint->peer->condition == PEER_ASKING)
        return REASON_MAPPERD_UNREACHABLE;
    if (layer->stopping && !ends_call)
        return REASON_PARK_BOUND_TOTAL;
    if (device_load_parked(layer->loads, endpoint->certificate) >= own * factor)
        return REASON_PARK_BOUND_DEVICE;
    if (atomic_load_explicit(layer->parked_total, memory_order_relaxed) >=
        bounds->park_total * factor)
        return REASON_PARK_BOUND_TOTAL;
    return REASON_ALLOWED;
}

/* Who has shown nothing of himself makes us keep nothing: no transaction, no timer. */
static bool refuse_stranger(struct request_layer *layer, struct endpoint *endpoint,
                            const struct message *m)
{
    enum reason reason = REASON_PEER_NOT_A_ROUTE;

    if (endpoint->peer &&
        (endpoint->peer->kind != PEER_WITHOUT_CERTIFICATE || password_may_be_asked(endpoint)))
        return false;
    if (endpoint->peer)
        reason = REASON_CERTIFICATE_REQUIRED;
    if (m->method == METHOD_CANCEL)
        reason = REASON_TRANSACTION_UNKNOWN;
    refuse_stateless(layer, endpoint, m, reason);
    if (endpoint->peer && reason_status(reason) == 403 && m->method != METHOD_ACK)
        peer_report(endpoint->peer, layer->base, SLICE(""), reason);
    return true;
}

static void receive_request(struct request_layer *layer, struct endpoint *endpoint,
                            const struct message *m)
{
    struct transaction_way way = { endpoint->flow, endpoint->certificate, true };
    struct server_transaction *t;
    struct transaction_id id;
    enum reason bound;

    counter_add(&layer->base->counters->requests);
    if (refuse_stranger(layer, endpoint, m))
        return;
    transaction_id_of(&id, m, endpoint->certificate);
    t = server_table_find(&layer->servers, &id);
    if (m->method == METHOD_ACK) {
        if (t && server_transaction_ack(t) == SERVER_ACK_ABSORBED)
            return;
    } else if (t) {
        server_transaction_retransmitted(t, &way);
        return;
    } else if (m->method == METHOD_CANCEL) {
        receive_cancel(layer, endpoint, m);
        return;
    }
    bound = over_bound(layer, endpoint, m);
    if (bound != REASON_ALLOWED)
        refuse_stateless(layer, endpoint, m, bound);
    else
        begin(layer, endpoint, m);
}

void request_layer_message(struct request_layer *layer, struct connection *c, struct slice bytes)
{
    struct endpoint *endpoint = connection_peer(c);
    struct message *m = &layer->incoming;
    enum error error = message_parse(m, bytes);

    if (error == ERROR_MEMORY || !endpoint || endpoint->closed) {
        drop(layer);
        return;
    }
    if (error != ERROR_NONE)
        refuse_fault(layer, c, m);
    else if (m->is_request)
        receive_request(layer, endpoint, m);
    else
        receive_response(layer, endpoint, m);
}

/* Framing is lost; net closes behind us. */
void request_layer_malformed(struct request_layer *layer, struct connection *c, struct slice bytes,
                             enum framing_fault fault)
{
    struct message *m = &layer->incoming;
    char warning[160];

    counter_add(&layer->base->counters->malformed);
    if (message_parse(m, bytes) == ERROR_MEMORY || !m->is_request || m->method == METHOD_ACK)
        return;
    snprintf(warning, sizeof(warning), "%s: %s", reason_name(REASON_MALFORMED),
             framing_fault_text(fault));
    respond_stateless(layer, c, m, (unsigned)framing_fault_status(fault), warning, SLICE(""));
}
