/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that the proxy makes itself. */
#include "proxy/sip/response.h"

#include "proxy/sip/scan_internal.h"

#include <assert.h>

static const struct {
    uint16_t status;
    const char *phrase;
} phrases[] = {
    { 100, "Trying" },
    { 180, "Ringing" },
    { 181, "Call Is Being Forwarded" },
    { 182, "Queued" },
    { 183, "Session Progress" },
    { 200, "OK" },
    { 202, "Accepted" },
    { 204, "No Notification" },
    { 300, "Multiple Choices" },
    { 301, "Moved Permanently" },
    { 302, "Moved Temporarily" },
    { 305, "Use Proxy" },
    { 380, "Alternative Service" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 407, "Proxy Authentication Required" },
    { 408, "Request Timeout" },
    { 410, "Gone" },
    { 412, "Conditional Request Failed" },
    { 413, "Request Entity Too Large" },
    { 414, "Request-URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 416, "Unsupported URI Scheme" },
    { 420, "Bad Extension" },
    { 421, "Extension Required" },
    { 422, "Session Interval Too Small" },
    { 423, "Interval Too Brief" },
    { 430, "Flow Failed" },
    { 439, "First Hop Lacks Outbound Support" },
    { 440, "Max-Breadth Exceeded" },
    { 480, "Temporarily Unavailable" },
    { 481, "Call/Transaction Does Not Exist" },
    { 482, "Loop Detected" },
    { 483, "Too Many Hops" },
    { 484, "Address Incomplete" },
    { 485, "Ambiguous" },
    { 486, "Busy Here" },
    { 487, "Request Terminated" },
    { 488, "Not Acceptable Here" },
    { 489, "Bad Event" },
    { 491, "Request Pending" },
    { 493, "Undecipherable" },
    { 494, "Security Agreement Required" },
    { 500, "Server Internal Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Server Time-out" },
    { 505, "Version Not Supported" },
    { 513, "Message Too Large" },
    { 600, "Busy Everywhere" },
    { 603, "Decline" },
    { 604, "Does Not Exist Anywhere" },
    { 606, "Not Acceptable" },
};

struct slice response_phrase(unsigned status)
{
    static const char *const classes[] = { "Trying",      "OK",           "Redirected",
                                           "Bad Request", "Server Error", "Declined" };

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return slice_of(phrases[i].phrase);
    assert(status >= 100 && status <= 699);
    return slice_of(classes[status / 100 - 1]);
}

/* What was begun is taken back, so that the buffer holds whole messages only. */
static enum error finish(struct buffer *out, size_t size_before)
{
    size_t size = buffer_size(out);

    if (!out->failed)
        return ERROR_NONE;
    out->to -= size - size_before;
    return ERROR_MEMORY;
}

static void add_lines(const struct message *m, enum header_id id, struct buffer *out)
{
    for (const struct header *h = message_header(m, id); h; h = message_header_next(m, h))
        buffer_add(out, message_header_line(m, h));
}

static void add_first_line(const struct message *m, enum header_id id, struct buffer *out)
{
    const struct header *h = message_header(m, id);

    if (h)
        buffer_add(out, message_header_line(m, h));
}

/* The topmost Via line with received and rport put into its first value. */
static void add_top_via(const struct message *m, const struct header *h, const struct response *r,
                        struct buffer *out)
{
    struct slice line = message_header_line(m, h), rest;
    uint32_t end = m->via.at + m->via.len;
    const char *at = line.data;
    struct param param;
    struct via via;

    if (message_via(m, &via) != ERROR_NONE || !via_needs_source(&via, r->source)) {
        buffer_add(out, line);
        return;
    }
    for (rest = via.params;;) {
        const char *from = rest.data;

        if (header_next_param(&rest, &param) != ERROR_NONE)
            break;
        if (slice_equal_nocase(param.name, SLICE("received")) ||
            slice_equal_nocase(param.name, SLICE("rport"))) {
            buffer_add(out, (struct slice){ at, (size_t)(from - at) });
            at = rest.data;
        }
    }
    buffer_add(out, (struct slice){ at, (size_t)(m->text + end - at) });
    buffer_add(out, SLICE(";received="));
    buffer_add(out, r->source);
    if (via.has_rport) {
        buffer_add(out, SLICE(";rport="));
        buffer_add_u64(out, r->source_port);
    }
    at = m->text + end;
    buffer_add(out, (struct slice){ at, (size_t)(line.data + line.size - at) });
}

static void add_to(const struct message *m, const struct response *r, struct buffer *out)
{
    const struct header *h = message_header(m, HEADER_TO);
    uint32_t end;

    if (!h)
        return;
    /* A To that can't be read is copied and gets no tag: there is no place that is surely right. */
    if (r->status == 100 || r->to_tag.size == 0 || m->to_uri.len == 0 || m->to_tag.len > 0) {
        buffer_add(out, message_header_line(m, h));
        return;
    }
    end = h->value_at + h->value_len;
    buffer_add(out, (struct slice){ m->text + h->line_at, end - h->line_at });
    buffer_add(out, SLICE(";tag="));
    buffer_add(out, r->to_tag);
    buffer_add(out, SLICE("\r\n"));
}

enum error response_write(const struct message *request, const struct response *response,
                          struct buffer *out)
{
    const struct header *via = message_header(request, HEADER_VIA);
    size_t before = buffer_size(out);

    assert(response->status >= 100 && response->status <= 699);
    if (!request->is_request || !via)
        return ERROR_NOT_FOUND;
    buffer_add(out, SLICE("SIP/2.0 "));
    buffer_add_u64(out, response->status);
    buffer_add_char(out, ' ');
    buffer_add(out, response->reason.size ? response->reason : response_phrase(response->status));
    buffer_add(out, SLICE("\r\n"));
    add_top_via(request, via, response, out);
    while ((via = message_header_next(request, via)))
        buffer_add(out, message_header_line(request, via));
    add_first_line(request, HEADER_FROM, out);
    add_to(request, response, out);
    add_first_line(request, HEADER_CALL_ID, out);
    add_first_line(request, HEADER_CSEQ, out);
    if (response->status == 100)
        add_first_line(request, HEADER_TIMESTAMP, out);
    buffer_add(out, response->headers);
    buffer_add(out, SLICE("Content-Length: 0\r\n\r\n"));
    return finish(out, before);
}

/* Start line, Via, Max-Forwards, Route and From: what an ACK and a CANCEL share with their INVITE.
 */
static void add_common(const struct message *invite, struct slice method, struct buffer *out)
{
    buffer_add(out, method);
    buffer_add_char(out, ' ');
    buffer_add(out, message_slice(invite, invite->request_uri));
    buffer_add(out, SLICE(" SIP/2.0\r\nVia: "));
    buffer_add(out, message_slice(invite, invite->via));
    buffer_add(out, SLICE("\r\nMax-Forwards: 70\r\n"));
    add_lines(invite, HEADER_ROUTE, out);
    add_first_line(invite, HEADER_FROM, out);
}

static void add_cseq(const struct message *invite, struct slice method, struct buffer *out)
{
    buffer_add(out, SLICE("CSeq: "));
    buffer_add_u64(out, invite->cseq);
    buffer_add_char(out, ' ');
    buffer_add(out, method);
    buffer_add(out, SLICE("\r\n"));
}

static bool is_sent_invite(const struct message *m)
{
    return m->fault == MESSAGE_VALID && m->is_request && m->method == METHOD_INVITE;
}

enum error request_write_ack(const struct message *invite, const struct message *response,
                             struct buffer *out)
{
    size_t before = buffer_size(out);

    if (!is_sent_invite(invite) || response->is_request || !message_header(response, HEADER_TO))
        return ERROR_NOT_FOUND;
    add_common(invite, method_name(METHOD_ACK), out);
    add_first_line(response, HEADER_TO, out);
    add_first_line(invite, HEADER_CALL_ID, out);
    add_cseq(invite, method_name(METHOD_ACK), out);
    buffer_add(out, SLICE("Content-Length: 0\r\n\r\n"));
    return finish(out, before);
}

enum error request_write_cancel(const struct message *invite, struct slice headers,
                                struct buffer *out)
{
    size_t before = buffer_size(out);

    if (!is_sent_invite(invite))
        return ERROR_NOT_FOUND;
    add_common(invite, method_name(METHOD_CANCEL), out);
    add_first_line(invite, HEADER_TO, out);
    add_first_line(invite, HEADER_CALL_ID, out);
    add_cseq(invite, method_name(METHOD_CANCEL), out);
    buffer_add(out, headers);
    buffer_add(out, SLICE("Content-Length: 0\r\n\r\n"));
    return finish(out, before);
}
