/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages end on a stream. What it decides depends on the octets alone, never on how they
 * were cut: nothing beyond the head's limit is looked at, and a line is judged once the octet
 * behind its CRLF is known. */
#include "proxy/sip/framing.h"

#include "proxy/sip/message.h"
#include "proxy/sip/scan_internal.h"

#include <assert.h>

void framing_init(struct framing *f, uint32_t max_message)
{
    *f = (struct framing){ .max_message = max_message };
}

/* Between messages again. */
static void start_over(struct framing *f)
{
    framing_init(f, f->max_message);
}

/* `size`: octets of the whole lines that an answer can be made from. */
static struct framing_result lose(struct framing *f, enum framing_fault fault, uint32_t size)
{
    f->lost = true;
    f->fault = fault;
    return (struct framing_result){
        .event = FRAMING_LOST, .fault = fault, .size = size, .answerable = size > 0
    };
}

/* The CRLFs before a message. True: `result` says what they are; false: a message begins. */
static bool read_gap(struct framing *f, struct slice stream, struct framing_result *result)
{
    *result = (struct framing_result){ .event = FRAMING_MORE };
    if (stream.size == 0)
        return true;
    if (stream.data[0] != '\r') {
        if (f->crlf)
            result->event = FRAMING_PONG;
        f->crlf = false;
        return result->event == FRAMING_PONG;
    }
    if (stream.size == 1)
        return true;
    if (stream.data[1] != '\n') {
        *result = lose(f, FRAMING_NOT_SIP, 0);
        return true;
    }
    result->consume = 2;
    if (f->crlf) {
        f->crlf = false;
        result->event = FRAMING_PING;
    } else if (stream.size == 2) {
        f->crlf = true;
    } else if (stream.data[2] != '\r') {
        result->event = FRAMING_PONG;
    } else if (stream.size == 3) {
        f->crlf = true;
    } else if (stream.data[3] == '\n') {
        result->event = FRAMING_PING;
        result->consume = 4;
    } else {
        *result = lose(f, FRAMING_NOT_SIP, 0);
    }
    return true;
}

/* A header has ended: [line_at, end). */
static void read_line(struct framing *f, struct slice stream, uint32_t end)
{
    struct slice line = { stream.data + f->line_at, end - f->line_at };
    struct header h;

    if (f->line_at == 0)
        return; /* the start line is the parser's */
    f->headers++;
    switch (line.data[0]) {
    case 'C':
    case 'c':
    case 'L':
    case 'l':
        break;
    default:
        return; /* neither Content-Length nor its compact form */
    }
    scan_header_line(line, &h);
    if (h.id == HEADER_BAD_LINE && scan_looks_like_length(line)) {
        f->fault = FRAMING_LENGTH_MALFORMED;
    } else if (h.id == HEADER_CONTENT_LENGTH) {
        if (f->has_length)
            f->fault = FRAMING_LENGTH_REPEATED;
        f->has_length = true;
        if (!scan_content_length((struct slice){ line.data + h.value_at, h.value_len }, &f->length))
            f->fault = FRAMING_LENGTH_MALFORMED;
    }
}

/* A CRLF at `end`, the octet behind it known. FRAMING_FAULT_NONE: go on; the head may have ended
 * (head_size). */
static enum framing_fault end_line(struct framing *f, struct slice stream, uint32_t end)
{
    uint32_t next = end + 2;
    bool continued = f->physical_at > f->line_at;

    if (continued && scan_run((struct slice){ stream.data + f->physical_at, end - f->physical_at },
                              CHAR_SPACE) == end - f->physical_at)
        return FRAMING_LINE_END;
    if (char_is(stream.data[next], CHAR_SPACE)) {
        if (f->line_at == 0)
            return FRAMING_LINE_END;
        f->physical_at = f->scanned = next;
        return FRAMING_FAULT_NONE;
    }
    read_line(f, stream, end);
    f->line_at = f->physical_at = f->scanned = next;
    return f->headers > MESSAGE_HEADERS_MAX ? FRAMING_HEAD_TOO_LARGE : FRAMING_FAULT_NONE;
}

/* Looks for the end of the head in `stream`, which is cut at one octet more than a head may have.
 * FRAMING_MORE: it isn't there. */
static struct framing_result read_head(struct framing *f, struct slice stream)
{
    while (f->head_size == 0) {
        uint32_t at = (uint32_t)scan_control(stream.data, f->scanned, stream.size);
        enum framing_fault fault;

        f->scanned = at;
        if (at == stream.size)
            break;
        if (stream.data[at] != '\r' && stream.data[at] != '\n') {
            f->scanned++; /* the parser judges it */
            continue;
        }
        if (stream.data[at] == '\n')
            return lose(f, FRAMING_LINE_END, f->line_at);
        if (stream.size - at < 2)
            break;
        if (stream.data[at + 1] != '\n')
            return lose(f, FRAMING_LINE_END, f->line_at);
        if (at == f->line_at) {
            f->head_size = f->scanned = at + 2;
            break;
        }
        if (stream.size - at < 3)
            break;
        fault = end_line(f, stream, at);
        if (fault != FRAMING_FAULT_NONE)
            return lose(f, fault, f->line_at);
    }
    return (struct framing_result){ .event = FRAMING_MORE };
}

static struct framing_result read_body(struct framing *f, size_t available)
{
    struct framing_result result = { .event = FRAMING_MORE };

    if (f->fault == FRAMING_FAULT_NONE && !f->has_length)
        f->fault = FRAMING_LENGTH_MISSING;
    if (f->fault == FRAMING_FAULT_NONE &&
        (f->head_size > f->max_message || f->length > f->max_message - f->head_size))
        f->fault = FRAMING_MESSAGE_TOO_LARGE;
    if (f->fault != FRAMING_FAULT_NONE)
        return lose(f, f->fault, f->head_size);
    result.head_size = f->head_size;
    result.size = result.wanted = f->head_size + f->length;
    if (available < result.size) {
        result.size = 0;
        return result;
    }
    result.event = FRAMING_MESSAGE;
    result.consume = result.size;
    start_over(f);
    return result;
}

struct framing_result framing_next(struct framing *f, struct slice stream)
{
    struct framing_result result;
    uint32_t head_max = f->max_message < MESSAGE_HEAD_MAX ? f->max_message : MESSAGE_HEAD_MAX;
    struct slice head = { stream.data,
                          stream.size > (size_t)head_max + 1 ? (size_t)head_max + 1 : stream.size };

    if (f->lost)
        return (struct framing_result){ .event = FRAMING_LOST, .fault = f->fault };
    if (f->scanned == 0) {
        if (read_gap(f, stream, &result))
            return result;
        if (!char_is(stream.data[0], CHAR_TOKEN))
            return lose(f, FRAMING_NOT_SIP, 0);
    }
    if (f->head_size == 0) {
        result = read_head(f, head);
        if (result.event == FRAMING_LOST)
            return result;
        if (f->head_size > head_max || (f->head_size == 0 && stream.size > head_max))
            return lose(f, FRAMING_HEAD_TOO_LARGE, f->line_at);
        if (f->head_size == 0)
            return result;
    }
    return read_body(f, stream.size);
}

int framing_fault_status(enum framing_fault fault)
{
    switch (fault) {
    case FRAMING_FAULT_NONE:
        return 0;
    case FRAMING_HEAD_TOO_LARGE:
    case FRAMING_MESSAGE_TOO_LARGE:
        return 513;
    case FRAMING_NOT_SIP:
    case FRAMING_LINE_END:
    case FRAMING_LENGTH_MISSING:
    case FRAMING_LENGTH_REPEATED:
    case FRAMING_LENGTH_MALFORMED:
        return 400;
    }
    return 400;
}

const char *framing_fault_text(enum framing_fault fault)
{
    switch (fault) {
    case FRAMING_FAULT_NONE:
        return "None";
    case FRAMING_NOT_SIP:
        return "Not SIP";
    case FRAMING_LINE_END:
        return "Malformed line end";
    case FRAMING_HEAD_TOO_LARGE:
        return "Too many or too long headers";
    case FRAMING_LENGTH_MISSING:
        return "Content-Length is missing";
    case FRAMING_LENGTH_REPEATED:
        return "Content-Length stands more than once";
    case FRAMING_LENGTH_MALFORMED:
        return "Malformed Content-Length";
    case FRAMING_MESSAGE_TOO_LARGE:
        return "Message is larger than the limit";
    }
    return "Malformed";
}
