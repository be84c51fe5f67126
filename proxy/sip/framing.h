/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages end on a stream (RFC 3261 7.5, 18.3; RFC 5626 4.4.1). It reads each octet once,
 * however the stream was cut, and reads lines and Content-Length with the parser's own code: there
 * is one reading of a stream. One per connection, a few words, no memory of its own. Pure. */
#ifndef HOLDLINE_SIP_FRAMING_H
#define HOLDLINE_SIP_FRAMING_H

#include "common/slice.h"

#include <stdint.h>

enum framing_event {
    FRAMING_MORE = 0, /* nothing whole yet */
    FRAMING_MESSAGE,  /* the first `size` octets are one message */
    FRAMING_PING,     /* a double CRLF between messages: answer it with one CRLF */
    FRAMING_PONG, /* a single CRLF between messages, followed by something else: nothing to do */
    FRAMING_LOST  /* the stream can't be read on: answer if `answerable`, then close */
};

enum framing_fault {
    FRAMING_FAULT_NONE = 0,
    FRAMING_NOT_SIP,  /* the first octet can't begin a start line */
    FRAMING_LINE_END, /* lone CR or LF in the head, or a continuation that is empty or of the start
                         line */
    FRAMING_HEAD_TOO_LARGE, /* MESSAGE_HEAD_MAX octets or MESSAGE_HEADERS_MAX headers without an end
                             */
    FRAMING_LENGTH_MISSING, /* no Content-Length */
    FRAMING_LENGTH_REPEATED,
    FRAMING_LENGTH_MALFORMED, /* not digits alone */
    FRAMING_MESSAGE_TOO_LARGE /* head and body are over the limit */
};

struct framing {
    uint32_t max_message; /* octets of head and body */
    uint32_t scanned;     /* octets of the present message that need not be looked at again */
    uint32_t line_at;     /* where the present header begins, its continuations included */
    uint32_t physical_at; /* where the present line begins, a continuation counted by itself */
    uint32_t length;      /* Content-Length, when has_length */
    uint32_t head_size;   /* 0 until the head has ended */
    uint16_t headers;     /* header lines that have ended */
    bool has_length;
    bool crlf; /* a CRLF between messages was consumed and may be half a ping */
    bool lost;
    enum framing_fault fault; /* of Content-Length; told when the head has ended */
};

struct framing_result {
    enum framing_event event;
    uint32_t consume;   /* octets to drop from the front of the stream, after use: MORE 0 or 2,
                           MESSAGE its size, PING and PONG */
    uint32_t size;      /* MESSAGE: its size. LOST: size of the whole lines that have come, for
                           message_parse() */
    uint32_t head_size; /* MESSAGE: octets of the head with its empty line */
    uint32_t wanted;    /* MORE: how large the message is known to be, 0 = not known; for sizing the
                           read buffer */
    enum framing_fault fault;
    bool answerable; /* LOST: message_parse() of the first `size` octets may give a request that can
                        be answered (unless it is an ACK or a response, or has no Via):
                        framing_fault_status(), then close */
};

void framing_init(struct framing *f, uint32_t max_message);

/* `stream` is all that has come and is not consumed. Call again after consuming exactly `consume`
 * octets, until FRAMING_MORE; then when more has come. Between calls octets are only added at the
 * end. After FRAMING_LOST it stays lost. */
struct framing_result framing_next(struct framing *f, struct slice stream);

/* Whether the stream stands between messages (no timer for an unfinished message is needed). */
static inline bool framing_is_idle(const struct framing *f)
{
    return f->scanned == 0;
}

/* 400, or 513 for what is too large; 0 for FRAMING_FAULT_NONE. */
int framing_fault_status(enum framing_fault fault);
/* For Warning and log. Static. */
const char *framing_fault_text(enum framing_fault fault);

#endif
