/* SPDX-License-Identifier: Apache-2.0 */
/* Responses upstream: those that we make, and those of branches on their way back (RFC 3261 16.7).
 */
#include "proxy/request/request_internal.h"

#include "common/log.h"
#include "common/random.h"

/* What 503 and 500 tell the caller to wait, seconds: long enough for a restart of mapperd, short
 * enough for a phone. */
#define RETRY_AFTER_S 2
/* Octets of header lines that we add to one response. */
#define RESPONSE_HEADERS_MAX 32768

/* Sends through the transaction. When the connection is gone, the same device may have come back on
 * another. */
static void send_up(struct request *request, unsigned status, struct slice bytes)
{
    struct request_layer *layer = request->layer;
    struct delivery_order order = { .device = request->device };

    if (!request->server ||
        server_transaction_respond(request->server, status, bytes) != ERROR_NONE)
        return;
    counter_add(&layer->base->counters->responses);
    if (!net_find(layer->net, request->flow) && request->device)
        delivery_try(layer->delivery, &order, bytes);
}

static struct response response_to(const struct request *request, unsigned status,
                                   struct slice headers)
{
    return (struct response){
        .status = (uint16_t)status,
        .to_tag = status > 100 ? slice_of(request->layer->to_tag) : SLICE(""),
        .source = slice_of(request->source),
        .source_port = request->source_port,
        .headers = headers,
    };
}

void respond_status(struct request *request, unsigned status, struct slice headers)
{
    struct buffer *out = &request->layer->out;
    struct response response = response_to(request, status, headers);

    buffer_reset(out);
    if (response_write(&request->message, &response, out) != ERROR_NONE)
        return;
    send_up(request, status, buffer_slice(out));
}

/* The 500s among them speak of one device, or of one server behind us; 503 upstream would speak of
 * us (16.7 step 6). */
bool respond_wants_retry(enum reason reason)
{
    return reason_status(reason) == 503 || reason == REASON_PARK_BOUND_DEVICE ||
           reason == REASON_NEXT_HOP_UNREACHABLE;
}

/* Warning 399 with the reason's name and text; headers that a status asks for. */
static void add_headers(struct buffer *headers, const struct request_layer *layer,
                        enum reason reason, const char *detail)
{
    int status = reason_status(reason);

    buffer_add_format(headers, "Warning: 399 %s \"%s: %s%s%s\"\r\n", layer->base->config->name,
                      reason_name(reason), reason_text(reason), detail ? " - " : "",
                      detail ? detail : "");
    if (respond_wants_retry(reason))
        buffer_add_format(headers, "Retry-After: %u\r\n", RETRY_AFTER_S);
    if (status == 405) /* what is meant for us, not for a user of ours */
        buffer_add_text(headers, "Allow: REGISTER, OPTIONS\r\n");
}

void log_refusal(const struct message *message, enum reason reason, const char *detail)
{
    struct log_line line;

    log_begin(&line, LOG_INFO, "refused");
    log_word(&line, "reason", reason_name(reason));
    if (detail)
        log_word(&line, "detail", detail);
    log_text(&line, "method", message_method(message));
    log_text(&line, "from", message_slice(message, message->from_uri));
    log_text(&line, "call_id", message_slice(message, message->call_id));
    log_end(&line);
}

/* A denial has its line already, event=decision. */
static bool is_logged(const struct request *request, enum reason reason)
{
    return request->authorization.state == AUTHORIZATION_DECIDED &&
           request->authorization.decision.effect != EFFECT_ALLOW &&
           request->authorization.decision.reason == reason;
}

/* What the peer may not do, and not what went wrong; a denial has been told already. */
static void report_refusal(const struct request *request, enum reason reason)
{
    if (reason_status(reason) == 403 && request->endpoint)
        peer_report(request->endpoint->peer, request->layer->base, identity_text(&request->from),
                    reason);
}

/* `detail` is our own text or NULL, `more` whole header lines. */
void respond_as(struct request *request, unsigned status, enum reason reason, const char *detail,
                struct slice more)
{
    struct buffer headers;

    counter_add(&request->layer->base->counters->reasons[reason]);
    if (!is_logged(request, reason)) {
        log_refusal(&request->message, reason, detail);
        report_refusal(request, reason);
    }
    buffer_init(&headers, RESPONSE_HEADERS_MAX);
    add_headers(&headers, request->layer, reason, detail);
    buffer_add(&headers, more);
    respond_status(request, status, headers.failed ? SLICE("") : buffer_slice(&headers));
    buffer_free(&headers);
}

void respond_with(struct request *request, enum reason reason, const char *detail,
                  struct slice more)
{
    respond_as(request, (unsigned)reason_status(reason), reason, detail, more);
}

void respond(struct request *request, enum reason reason, const char *detail)
{
    respond_with(request, reason, detail, SLICE(""));
}

/* Answers without any state: what is malformed, over a bound, or a CANCEL. */
void respond_stateless(struct request_layer *layer, struct connection *c,
                       const struct message *message, unsigned status, const char *warning,
                       struct slice more)
{
    char source[ADDRESS_TEXT_MAX];
    struct buffer headers, *out = connection_output(c);
    struct response response = {
        .status = (uint16_t)status,
        .to_tag = slice_of(layer->to_tag),
        .source = slice_of(address_host_text(connection_remote(c), source)),
        .source_port = address_port(connection_remote(c)),
    };

    buffer_init(&headers, RESPONSE_HEADERS_MAX);
    if (warning)
        buffer_add_format(&headers, "Warning: 399 %s \"%s\"\r\n", layer->base->config->name,
                          warning);
    buffer_add(&headers, more);
    response.headers = headers.failed ? SLICE("") : buffer_slice(&headers);
    buffer_reset(&layer->out);
    if (response_write(message, &response, &layer->out) == ERROR_NONE) {
        buffer_add(out, buffer_slice(&layer->out));
        connection_flush(c);
        counter_add(&layer->base->counters->responses);
    }
    buffer_free(&headers);
}

/* Our Via goes, and what a callee claims about itself (RFC 3325 5). False: it is not to be sent on.
 */
static bool write_upstream(const struct branch *branch, const struct message *response,
                           struct buffer *out)
{
    struct edit_list edits;

    if (message_header_count(response, HEADER_VIA) == 0)
        return false;
    edit_init(&edits, (struct message *)response);
    if (edit_pop(&edits, HEADER_VIA, 1) != ERROR_NONE)
        return false;
    privacy_edit_response(&edits, branch, response);
    session_timer_edit_response(&edits, response, &branch->request->session);
    buffer_reset(out);
    return edit_write(&edits, out) == ERROR_NONE;
}

void respond_forward(const struct branch *branch, const struct message *response)
{
    struct request *request = branch->request;
    struct buffer *out = &request->layer->out;

    if (write_upstream(branch, response, out))
        send_up(request, response->status, buffer_slice(out));
}

void respond_success(const struct branch *branch, const struct message *response)
{
    struct request *request = branch->request;
    bool first = request_is_open(request);

    if (!first && !request_is_invite(request))
        return; /* one answer is all a non-INVITE gets */
    respond_forward(branch, response);
    request->answered_2xx = true;
    if (first)
        request_become(request, REQUEST_DONE);
}

/* 16.7 step 6: 6xx before all; else the lowest class; within it what tells the caller how to try
 * again, last what speaks of one server alone; among equals the first that came. Lower is better.
 */
static unsigned rank(unsigned status)
{
    if (status >= 600)
        return 0;
    switch (status) {
    case 401:
    case 407:
    case 415:
    case 420:
    case 484:
        return status / 100 * 10;
    case 408:
    case 503:
        return status / 100 * 10 + 2;
    default:
        return status / 100 * 10 + 1;
    }
}

static bool is_better(unsigned status, unsigned than)
{
    return !than || rank(status) < rank(than);
}

void respond_keep_best(const struct branch *branch, const struct message *response)
{
    struct request *request = branch->request;

    if (!is_better(response->status, request->best_status))
        return;
    if (!write_upstream(branch, response, &request->best)) {
        buffer_reset(&request->best);
        return;
    }
    request->best_status = response->status;
}

/* A non-INVITE that nobody answered in time gets nothing, ours or a callee's: the client knows by
 * itself, and a 408 would come too late (RFC 4320 4.2). */
static bool is_late(const struct request *request, enum reason reason)
{
    if (request_is_invite(request))
        return false;
    return buffer_size(&request->best) ? request->best_status == 408 : reason == REASON_TIMEOUT;
}

/* Who has given up is told that, not that a server could not be reached or did not answer in time,
 * whatever he would have been told otherwise (16.7 step 6: 503 is not passed on anyway; 16.10).
 * What a callee has decided meanwhile he is told. */
static bool is_moot(const struct request *request)
{
    return request->cancelled && (!buffer_size(&request->best) || request->best_status == 408 ||
                                  request->best_status == 503);
}

/* All branches have ended without success. */
void respond_best(struct request *request)
{
    enum reason reason = request->failure ? request->failure : REASON_TARGET_UNREACHABLE;

    if (request->message.method == METHOD_ACK) {
        counter_add(&request->layer->base->counters->dropped);
        request_become(request, REQUEST_DONE);
    } else if (is_late(request, reason)) {
        request_become(request, REQUEST_DONE);
    } else if (is_moot(request)) {
        respond(request, REASON_CANCELLED, NULL);
        request_become(request, REQUEST_DONE);
    } else if (buffer_size(&request->best) && request->best_status != 503) {
        send_up(request, request->best_status, buffer_slice(&request->best));
        request_become(request, REQUEST_DONE);
    } else if (buffer_size(&request->best)) {
        /* 16.7: a 503 speaks of one server behind us, upstream it would speak of us. */
        respond_status(request, 500, SLICE(""));
        request_become(request, REQUEST_DONE);
    } else {
        request_refuse(request, reason, NULL);
    }
}
