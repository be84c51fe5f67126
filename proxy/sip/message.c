/* SPDX-License-Identifier: Apache-2.0 */
/* A SIP message taken apart: start line, header lines, then the values that every message must
 * have. */
#include "proxy/sip/message.h"

#include "proxy/sip/scan_internal.h"

#include <assert.h>
#include <stdio.h>

/* Enough for what phones send; more double it. */
#define HEADERS_FIRST 32

static const struct {
    const char *text;
    uint8_t size;
} methods[] = {
    [METHOD_NONE] = { "", 0 },
#define METHOD(name) [METHOD_##name] = { #name, sizeof(#name) - 1 },
#include "proxy/sip/methods.def"
#undef METHOD
    [METHOD_OTHER] = { "", 0 },
};

enum method method_of(struct slice text)
{
    if (text.size == 0)
        return METHOD_NONE;
    for (unsigned i = METHOD_NONE + 1; i < METHOD_OTHER; i++)
        if (text.size == methods[i].size && memcmp(text.data, methods[i].text, text.size) == 0)
            return (enum method)i;
    return METHOD_OTHER;
}

struct slice method_name(enum method method)
{
    assert(method <= METHOD_OTHER);
    return (struct slice){ methods[method].text, methods[method].size };
}

void message_init(struct message *m, size_t arena_limit)
{
    memset(m, 0, sizeof(*m));
    arena_init(&m->arena, arena_limit);
}

void message_free(struct message *m)
{
    size_t limit = m->arena.limit;

    mem_free(m->headers);
    mem_free(m->own_text);
    arena_free(&m->arena);
    message_init(m, limit);
}

static void set_fault(struct message *m, enum message_fault fault, enum header_id id)
{
    if (m->fault != MESSAGE_VALID)
        return; /* the first counts */
    m->fault = fault;
    m->fault_header = id;
}

static struct span span_of(const struct message *m, struct slice s)
{
    if (s.size == 0)
        return (struct span){ 0, 0 };
    return (struct span){ (uint32_t)(s.data - m->text), (uint32_t)s.size };
}

/* Back to nothing read, with the memory kept. */
static void reset(struct message *m, struct slice text)
{
    struct header *headers = m->headers;
    uint16_t capacity = m->header_capacity;
    struct arena arena;

    mem_free(m->own_text);
    if (m->arena.blocks)
        arena_free(&m->arena);
    arena = m->arena;
    *m = (struct message){ .text = text.data, .fault = MESSAGE_VALID };
    m->headers = headers;
    m->header_capacity = capacity;
    m->arena = arena;
    m->max_forwards = MESSAGE_MAX_FORWARDS_NONE;
    memset(m->first, 0xff, sizeof(m->first));
}

/* A table of `capacity` headers; what it held is kept. */
static enum error set_capacity(struct message *m, uint16_t capacity)
{
    struct header *grown = mem_grow(m->headers, capacity * sizeof(*grown));

    if (!grown)
        return ERROR_MEMORY;
    m->headers = grown;
    m->header_capacity = capacity;
    return ERROR_NONE;
}

/* SIP/2.0, without case. ERROR_NOT_FOUND: SIP, but another number. */
static enum error check_version(struct slice s)
{
    size_t digits;

    if (s.size < 4 || !slice_equal_nocase(slice_first(s, 4), SLICE("SIP/")))
        return ERROR_MALFORMED;
    s = slice_skip(s, 4);
    if (slice_equal(s, SLICE("2.0")))
        return ERROR_NONE;
    digits = scan_run(s, CHAR_DIGIT);
    if (digits == 0 || digits + 1 >= s.size || s.data[digits] != '.')
        return ERROR_MALFORMED;
    s = slice_skip(s, digits + 1);
    return scan_run(s, CHAR_DIGIT) == s.size ? ERROR_NOT_FOUND : ERROR_MALFORMED;
}

/* `line` begins with "SIP/": version, code, reason. */
static void read_status_line(struct message *m, struct slice line)
{
    const char *space = memchr(line.data, ' ', line.size);
    struct slice version = space ? slice_first(line, (size_t)(space - line.data)) : line;
    struct slice rest = slice_skip(line, version.size + (space ? 1 : 0));
    uint32_t status;

    if (check_version(version) != ERROR_NONE || scan_run(rest, CHAR_DIGIT) != 3 ||
        header_parse_number(slice_first(rest, 3), 699, &status) != ERROR_NONE || status < 100 ||
        (rest.size > 3 && rest.data[3] != ' ')) {
        set_fault(m, MESSAGE_START_LINE, HEADER_OTHER);
        return;
    }
    m->status = (uint16_t)status;
    if (rest.size > 4)
        m->reason = span_of(m, slice_skip(rest, 4));
}

/* A line that begins with a method is a request's, whatever follows, so that it can be answered. */
static void read_request_line(struct message *m, struct slice line)
{
    size_t method = scan_run(line, CHAR_TOKEN);
    const char *last = line.size ? memrchr(line.data, ' ', line.size) : NULL;
    struct slice version;
    enum error e;

    if (method == 0 || method == line.size || line.data[method] != ' ') {
        set_fault(m, MESSAGE_START_LINE, HEADER_OTHER);
        return;
    }
    m->is_request = true;
    m->method_text = (struct span){ 0, (uint32_t)method };
    m->method = method_of(slice_first(line, method));
    version = (struct slice){ last + 1, line.size - (size_t)(last + 1 - line.data) };
    e = check_version(version);
    if (e == ERROR_MALFORMED || (size_t)(last - line.data) <= method) {
        set_fault(m, MESSAGE_START_LINE, HEADER_OTHER);
        return;
    }
    m->request_uri =
        (struct span){ (uint32_t)method + 1, (uint32_t)(last - line.data - (ptrdiff_t)method - 1) };
    if (e != ERROR_NONE)
        set_fault(m, MESSAGE_VERSION, HEADER_OTHER);
}

/* Sets headers_at; the text's size when there is no whole line. */
static void read_start_line(struct message *m, struct slice text)
{
    size_t end = scan_control(text.data, 0, text.size);
    struct slice line = slice_first(text, end);

    if (text.size - end >= 2 && text.data[end] == '\r' && text.data[end + 1] == '\n') {
        m->headers_at = (uint32_t)end + 2;
    } else {
        const char *lf = memchr(text.data, '\n', text.size);

        m->headers_at = (uint32_t)(lf ? (size_t)(lf - text.data) + 1 : text.size);
        set_fault(m, MESSAGE_START_LINE, HEADER_OTHER);
    }
    if (line.size >= 4 && slice_equal_nocase(slice_first(line, 4), SLICE("SIP/")))
        read_status_line(m, line);
    else
        read_request_line(m, line);
}

/* A header's lines, from `at`. */
struct extent {
    size_t end;   /* of the CRLF that ends it, or the text's size */
    bool whole;   /* such a CRLF is there */
    bool refused; /* a lone CR or LF, an empty continuation, or a control character that is nowhere
                     allowed */
};

/* Mirrors framing_next(), which walks the same lines as they come. */
static struct extent find_line_end(struct slice text, size_t at)
{
    struct extent x = { text.size, false, false };
    size_t i = at, line = at;
    bool controls = false;

    for (;;) {
        i = scan_control(text.data, i, text.size);
        if (i == text.size)
            break;
        if (text.data[i] != '\r' || text.size - i < 2 || text.data[i + 1] != '\n') {
            x.refused = x.refused || text.data[i] == '\n' || text.data[i] == '\r';
            controls = true;
            i++;
            continue;
        }
        if (line > at &&
            scan_run((struct slice){ text.data + line, i - line }, CHAR_SPACE) == i - line)
            x.refused = true;
        if (text.size - i < 3 || !char_is(text.data[i + 2], CHAR_SPACE)) {
            x.end = i;
            x.whole = true;
            break;
        }
        line = i + 2;
        i = line;
    }
    if (controls && !x.refused)
        x.refused = !scan_controls_are_quoted((struct slice){ text.data + at, x.end - at });
    return x;
}

/* Reads the header at `at` into the table; returns where the next one begins. */
static size_t read_header(struct message *m, struct slice text, size_t at, uint16_t *last)
{
    struct header *h = &m->headers[m->header_count];
    struct extent x = find_line_end(text, at);
    size_t next = x.whole ? x.end + 2 : x.end;

    scan_header_line((struct slice){ text.data + at, x.end - at }, h);
    if (x.refused || !x.whole || char_is(text.data[at], CHAR_SPACE)) {
        h->id = HEADER_BAD_LINE;
        h->name_len = 0;
        h->value_len = 0;
    }
    h->line_at = (uint32_t)at;
    h->line_len = (uint32_t)(next - at);
    h->value_at += (uint32_t)at;
    h->next_same = HEADER_INDEX_NONE;
    if (h->id == HEADER_BAD_LINE) {
        set_fault(m, MESSAGE_HEADER_LINE, HEADER_OTHER);
    } else if (h->id != HEADER_OTHER) {
        if (m->first[h->id] == HEADER_INDEX_NONE) {
            m->first[h->id] = m->header_count;
        } else {
            m->headers[last[h->id]].next_same = m->header_count;
            if (header_is_single(h->id))
                set_fault(m, MESSAGE_HEADER_REPEATED, h->id);
        }
        last[h->id] = m->header_count;
    }
    m->header_count++;
    return next;
}

static enum error read_headers(struct message *m, struct slice text)
{
    uint16_t last[HEADER_COUNT]; /* set where m->first is */
    size_t at = m->headers_at;

    while (at < text.size) {
        if (text.size - at >= 2 && text.data[at] == '\r' && text.data[at + 1] == '\n') {
            m->headers_end = (uint32_t)at;
            m->body_at = (uint32_t)at + 2;
            if (m->body_at > MESSAGE_HEAD_MAX)
                set_fault(m, MESSAGE_TOO_LARGE, HEADER_OTHER);
            return ERROR_NONE;
        }
        if (m->header_count == MESSAGE_HEADERS_MAX || at > MESSAGE_HEAD_MAX) {
            set_fault(m, MESSAGE_TOO_LARGE, HEADER_OTHER);
            break;
        }
        if (m->header_count == m->header_capacity &&
            set_capacity(m, m->header_capacity ? (uint16_t)(m->header_capacity * 2)
                                               : HEADERS_FIRST) != ERROR_NONE)
            return ERROR_MEMORY;
        at = read_header(m, text, at, last);
    }
    set_fault(m, MESSAGE_HEADER_LINE, HEADER_OTHER); /* no empty line */
    m->headers_end = m->body_at = (uint32_t)at;
    return ERROR_NONE;
}

static void check_required(struct message *m)
{
    static const enum header_id required[] = { HEADER_VIA, HEADER_FROM, HEADER_TO, HEADER_CALL_ID,
                                               HEADER_CSEQ };

    for (unsigned i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (!message_header(m, required[i]))
            set_fault(m, MESSAGE_HEADER_MISSING, required[i]);
}

static void read_party(struct message *m, enum header_id id, struct span *uri_span,
                       struct span *tag)
{
    struct slice value = message_value(m, id);
    struct name_addr address;
    struct uri uri;

    if (!value.data)
        return;
    if (header_parse_name_addr(value, &address) != ERROR_NONE ||
        uri_parse(address.uri, &uri) != ERROR_NONE) {
        set_fault(m, MESSAGE_HEADER_VALUE, id);
        return;
    }
    *uri_span = span_of(m, address.uri);
    *tag = span_of(m, address.tag);
}

static void read_call_id(struct message *m)
{
    struct slice value = message_value(m, HEADER_CALL_ID);

    if (!value.data)
        return;
    if (value.size == 0 || scan_run(value, CHAR_CALL_ID) != value.size)
        set_fault(m, MESSAGE_HEADER_VALUE, HEADER_CALL_ID);
    else
        m->call_id = span_of(m, value);
}

static void read_cseq(struct message *m)
{
    struct slice value = message_value(m, HEADER_CSEQ), method;

    if (!value.data)
        return;
    if (header_parse_cseq(value, &m->cseq, &method) != ERROR_NONE) {
        set_fault(m, MESSAGE_HEADER_VALUE, HEADER_CSEQ);
        return;
    }
    if (!m->is_request) {
        m->method_text = span_of(m, method);
        m->method = method_of(method);
    } else if (!slice_equal(method, message_method(m))) {
        set_fault(m, MESSAGE_METHOD_MISMATCH, HEADER_CSEQ);
    }
}

static void read_via(struct message *m)
{
    struct slice rest = message_value(m, HEADER_VIA), value;
    struct via via;

    if (!rest.data)
        return;
    if (header_next_item(&rest, &value) != ERROR_NONE ||
        header_parse_via(value, &via) != ERROR_NONE) {
        set_fault(m, MESSAGE_HEADER_VALUE, HEADER_VIA);
        return;
    }
    m->via = span_of(m, value);
    m->via_branch = span_of(m, via.branch);
}

static void read_max_forwards(struct message *m)
{
    struct slice value = message_value(m, HEADER_MAX_FORWARDS);
    uint32_t number;

    if (!value.data)
        return;
    if (header_parse_number(value, 255, &number) != ERROR_NONE)
        set_fault(m, MESSAGE_HEADER_VALUE, HEADER_MAX_FORWARDS);
    else
        m->max_forwards = (uint16_t)number;
}

/* Content-Length cuts what follows the body; without one the body is the rest (RFC 3261 18.3). */
static void read_body(struct message *m, size_t text_size)
{
    struct slice value = message_value(m, HEADER_CONTENT_LENGTH);
    uint32_t length;

    m->size = (uint32_t)text_size;
    if (!value.data)
        return;
    if (!scan_content_length(value, &length))
        set_fault(m, MESSAGE_HEADER_VALUE, HEADER_CONTENT_LENGTH);
    else if (length > text_size - m->body_at)
        set_fault(m, MESSAGE_BODY_SHORT, HEADER_CONTENT_LENGTH);
    else
        m->size = m->body_at + length;
}

/* The scheme of the Request-URI; URI_NONE when there is none. */
static enum uri_scheme read_request_uri(struct message *m)
{
    struct uri uri;

    if (!m->is_request)
        return URI_NONE;
    if (uri_parse(message_slice(m, m->request_uri), &uri) != ERROR_NONE)
        set_fault(m, MESSAGE_REQUEST_URI, HEADER_OTHER);
    return uri.scheme;
}

enum error message_parse(struct message *m, struct slice text)
{
    enum uri_scheme scheme;

    reset(m, text);
    if (text.size == 0 || text.size > INT32_MAX) {
        m->text = "";
        set_fault(m, text.size ? MESSAGE_TOO_LARGE : MESSAGE_START_LINE, HEADER_OTHER);
        return ERROR_MALFORMED;
    }
    read_start_line(m, text);
    scheme = read_request_uri(m);
    if (read_headers(m, text) != ERROR_NONE) {
        message_free(m);
        return ERROR_MEMORY;
    }
    check_required(m);
    read_via(m);
    read_party(m, HEADER_FROM, &m->from_uri, &m->from_tag);
    read_party(m, HEADER_TO, &m->to_uri, &m->to_tag);
    read_call_id(m);
    read_cseq(m);
    read_max_forwards(m);
    read_body(m, text.size);
    if (scheme == URI_OTHER) /* last, since 416 says that all else is well */
        set_fault(m, MESSAGE_SCHEME, HEADER_OTHER);
    return m->fault == MESSAGE_VALID ? ERROR_NONE : ERROR_MALFORMED;
}

enum error message_keep(struct message *to, const struct message *from, size_t arena_limit)
{
    struct message copy = *from;
    size_t headers = from->header_count * sizeof(*from->headers);

    message_init(to, arena_limit);
    copy.own_text = mem_text(message_text(from));
    copy.headers = mem_alloc(headers);
    if (!copy.own_text || !copy.headers) {
        mem_free(copy.own_text);
        mem_free(copy.headers);
        return ERROR_MEMORY;
    }
    if (headers)
        memcpy(copy.headers, from->headers, headers);
    copy.header_capacity = from->header_count;
    copy.text = copy.own_text;
    copy.arena = to->arena;
    *to = copy;
    return ERROR_NONE;
}

int message_fault_status(enum message_fault fault)
{
    switch (fault) {
    case MESSAGE_UNCHECKED:
    case MESSAGE_VALID:
        return 0;
    case MESSAGE_VERSION:
        return 505;
    case MESSAGE_TOO_LARGE:
        return 513;
    case MESSAGE_SCHEME:
        return 416;
    case MESSAGE_START_LINE:
    case MESSAGE_REQUEST_URI:
    case MESSAGE_HEADER_LINE:
    case MESSAGE_HEADER_MISSING:
    case MESSAGE_HEADER_REPEATED:
    case MESSAGE_HEADER_VALUE:
    case MESSAGE_METHOD_MISMATCH:
    case MESSAGE_BODY_SHORT:
        return 400;
    }
    return 400;
}

static const char *fault_format(enum message_fault fault)
{
    switch (fault) {
    case MESSAGE_UNCHECKED:
        return "Not read";
    case MESSAGE_VALID:
        return "Valid";
    case MESSAGE_START_LINE:
        return "Malformed start line";
    case MESSAGE_VERSION:
        return "SIP version is not 2.0";
    case MESSAGE_REQUEST_URI:
        return "Malformed Request-URI";
    case MESSAGE_HEADER_LINE:
        return "Malformed header line";
    case MESSAGE_TOO_LARGE:
        return "Too many or too long headers";
    case MESSAGE_HEADER_MISSING:
        return "%s is missing";
    case MESSAGE_HEADER_REPEATED:
        return "%s stands more than once";
    case MESSAGE_HEADER_VALUE:
        return "Malformed %s";
    case MESSAGE_METHOD_MISMATCH:
        return "CSeq names another method";
    case MESSAGE_BODY_SHORT:
        return "Body is shorter than Content-Length";
    case MESSAGE_SCHEME:
        return "Scheme of the Request-URI is not supported";
    }
    return "Malformed";
}

const char *message_fault_text(const struct message *m, char out[MESSAGE_FAULT_TEXT_MAX])
{
    const char *format = fault_format(m->fault), *name = strstr(format, "%s");

    if (name)
        snprintf(out, MESSAGE_FAULT_TEXT_MAX, "%.*s%s%s", (int)(name - format), format,
                 header_name(m->fault_header).data, name + 2);
    else
        snprintf(out, MESSAGE_FAULT_TEXT_MAX, "%s", format);
    return out;
}

unsigned message_header_count(const struct message *m, enum header_id id)
{
    unsigned count = 0;

    for (const struct header *h = message_header(m, id); h; h = message_header_next(m, h))
        count++;
    return count;
}

struct slice message_value(const struct message *m, enum header_id id)
{
    const struct header *h = message_header(m, id);

    return h ? message_header_value(m, h) : (struct slice){ NULL, 0 };
}

struct message_values message_values(const struct message *m, enum header_id id)
{
    return (struct message_values){ m, message_header(m, id), { "", 0 } };
}

enum error message_next_value(struct message_values *v, struct slice *value)
{
    for (;;) {
        enum error e = header_next_item(&v->rest, value);

        if (e != ERROR_NOT_FOUND || !v->next) {
            if (e == ERROR_MALFORMED)
                v->next = NULL;
            return e;
        }
        v->rest = message_header_value(v->message, v->next);
        v->next = message_header_next(v->message, v->next);
    }
}

static enum error view_party(const struct message *m, enum header_id id, struct name_addr *address,
                             struct uri *uri)
{
    struct slice value = message_value(m, id);
    enum error e = value.data ? header_parse_name_addr(value, address) : ERROR_NOT_FOUND;

    return e == ERROR_NONE ? uri_parse(address->uri, uri) : e;
}

enum error message_from(const struct message *m, struct name_addr *address, struct uri *uri)
{
    return view_party(m, HEADER_FROM, address, uri);
}

enum error message_to(const struct message *m, struct name_addr *address, struct uri *uri)
{
    return view_party(m, HEADER_TO, address, uri);
}

enum error message_via(const struct message *m, struct via *via)
{
    if (!message_header(m, HEADER_VIA))
        return ERROR_NOT_FOUND;
    return header_parse_via(message_slice(m, m->via), via);
}

enum error message_uri(const struct message *m, struct uri *uri)
{
    return m->is_request ? uri_parse(message_slice(m, m->request_uri), uri) : ERROR_NOT_FOUND;
}

enum error message_expires(const struct message *m, uint32_t *seconds)
{
    struct slice value = message_value(m, HEADER_EXPIRES);

    return value.data ? header_parse_number(value, UINT32_MAX, seconds) : ERROR_NOT_FOUND;
}

bool message_same_method(const struct message *a, const struct message *b)
{
    return a->method == b->method && a->method != METHOD_NONE &&
           (a->method != METHOD_OTHER || slice_equal(message_method(a), message_method(b)));
}
