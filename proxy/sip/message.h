/* SPDX-License-Identifier: Apache-2.0 */
/* A SIP message: its text, taken apart in one pass, and the checks that every message must pass
 * (RFC 3261 7, 8.1.1, 16.3, 18.3, 25.1). Nothing is copied: all positions are spans into the text,
 * so a message can be parsed where it was received and copied later in one piece. A message belongs
 * to one thread. Where the grammar leaves a choice, or deployed parsers differ, docs/sip.md lists
 * what this one decides. */
#ifndef HOLDLINE_SIP_MESSAGE_H
#define HOLDLINE_SIP_MESSAGE_H

#include "common/error.h"
#include "common/mem.h"
#include "common/slice.h"
#include "proxy/sip/header.h"
#include "proxy/sip/uri.h"

#include <stdint.h>

enum method {
    METHOD_NONE = 0, /* no method could be read */
#define METHOD(name) METHOD_##name,
#include "proxy/sip/methods.def"
#undef METHOD
    METHOD_OTHER /* see the text */
};

enum method method_of(struct slice text);
/* "" for METHOD_NONE and METHOD_OTHER. Static. */
struct slice method_name(enum method method);

#define MESSAGE_HEADERS_MAX       256   /* header lines */
#define MESSAGE_HEAD_MAX          32768 /* octets, start line to empty line, both included */
#define MESSAGE_MAX_FORWARDS_NONE 256

struct span {
    uint32_t at, len;
};

/* A header line. Offsets are into the text. */
struct header {
    uint32_t line_at, line_len;   /* from the name to the CRLF that ends it, included */
    uint32_t value_at, value_len; /* without white space at its ends; folds included */
    uint16_t name_len;            /* the name begins at line_at */
    uint16_t next_same; /* index of the next one of this id, or HEADER_INDEX_NONE; unused for
                           HEADER_OTHER */
    uint8_t id;         /* enum header_id */
};
#define HEADER_INDEX_NONE UINT16_MAX

/* What a message was found to be. Anything but VALID is refused: a request is answered
 * (message_fault_status()), but an ACK; an ACK or a response is dropped. */
enum message_fault {
    MESSAGE_UNCHECKED = 0,
    MESSAGE_VALID,
    MESSAGE_START_LINE,      /* 400 */
    MESSAGE_VERSION,         /* 505: SIP, but not 2.0 */
    MESSAGE_REQUEST_URI,     /* 400 */
    MESSAGE_HEADER_LINE,     /* 400: a line that is no header, a forbidden octet, no empty line */
    MESSAGE_TOO_LARGE,       /* 513: more headers or octets than allowed */
    MESSAGE_HEADER_MISSING,  /* 400: fault_header */
    MESSAGE_HEADER_REPEATED, /* 400: fault_header */
    MESSAGE_HEADER_VALUE,    /* 400: fault_header */
    MESSAGE_METHOD_MISMATCH, /* 400: CSeq names another method */
    MESSAGE_BODY_SHORT,      /* 400: less body than Content-Length says (datagrams) */
    MESSAGE_SCHEME /* 416: Request-URI is neither sip, sips, tel nor a service; all else is well */
};

struct message {
    const char *text;
    uint32_t size; /* octets of head and body; what follows a body by Content-Length is cut off */
    uint32_t headers_at;  /* behind the start line */
    uint32_t headers_end; /* where the empty line begins: headers are added here */
    uint32_t body_at;
    struct header *headers; /* in their order */
    uint16_t header_count, header_capacity;
    uint16_t first[HEADER_COUNT]; /* index of the first header of an id, or HEADER_INDEX_NONE */

    bool is_request; /* false: a response, or a start line that does not begin with a method */
    enum message_fault fault;
    enum header_id fault_header; /* for HEADER_MISSING, HEADER_REPEATED, HEADER_VALUE */

    enum method method;      /* of the start line, or of a response's CSeq */
    uint16_t status;         /* 0 in a request */
    struct span method_text; /* as the method */
    struct span request_uri;
    struct span reason;

    /* Set whenever the header is there and could be read, whatever fault there is besides. */
    uint32_t cseq;
    uint16_t max_forwards; /* or MESSAGE_MAX_FORWARDS_NONE */
    struct span call_id, from_uri, from_tag, to_uri, to_tag;
    struct span via; /* the topmost Via's first value */
    struct span via_branch;

    struct arena arena; /* what edits and responses put together for this message */
    char *own_text;     /* text, when the message owns it; NULL when it was parsed in place */
};

/* Takes no memory yet. `arena_limit` in octets, 0 = none. */
void message_init(struct message *m, size_t arena_limit);
void message_free(struct message *m);

/* Reads `text`: one message, head and body, as framing cut it out or as a datagram brought it. In
 * place: the text must stay until message_free(), the next parse, or message_keep(). May be called
 * again on the same message; the header table's memory is used again, the arena is freed. m->fault
 * says what was found; of several faults the start line's counts first. Even with a fault the
 * header table is as full as it can be, so that a response can be built. ERROR_MEMORY: nothing may
 * be read from m. ERROR_MALFORMED: m->fault is not MESSAGE_VALID. */
enum error message_parse(struct message *m, struct slice text) MUST_CHECK;

/* Makes `to`, which must hold nothing (new, or after message_free()), a copy that owns its text, in
 * one allocation besides the header table; what outlives a read is kept so. Edits and slices of
 * `from` remain with `from`. */
enum error message_keep(struct message *to, const struct message *from,
                        size_t arena_limit) MUST_CHECK;

/* 400, 416, 505 or 513; 0 for MESSAGE_VALID and MESSAGE_UNCHECKED. */
int message_fault_status(enum message_fault fault);
/* For Warning and log, e.g. "From stands more than once". Static parts, put together in `out`,
 * NUL-terminated; returns out. */
#define MESSAGE_FAULT_TEXT_MAX 80
const char *message_fault_text(const struct message *m, char out[MESSAGE_FAULT_TEXT_MAX]);

static inline struct slice message_slice(const struct message *m, struct span s)
{
    return (struct slice){ m->text + s.at, s.len };
}
static inline struct slice message_text(const struct message *m)
{
    return (struct slice){ m->text, m->size };
}
static inline struct slice message_body(const struct message *m)
{
    return (struct slice){ m->text + m->body_at, m->size - m->body_at };
}
/* Method of a request, or of a response's CSeq. */
static inline struct slice message_method(const struct message *m)
{
    return message_slice(m, m->method_text);
}

/* Headers by id, topmost first; NULL when there is none (left). Not for HEADER_OTHER. */
static inline const struct header *message_header(const struct message *m, enum header_id id)
{
    uint16_t i = m->first[id];
    return i == HEADER_INDEX_NONE ? NULL : &m->headers[i];
}
static inline const struct header *message_header_next(const struct message *m,
                                                       const struct header *h)
{
    return h->next_same == HEADER_INDEX_NONE ? NULL : &m->headers[h->next_same];
}
static inline struct slice message_header_name(const struct message *m, const struct header *h)
{
    return (struct slice){ m->text + h->line_at, h->name_len };
}
static inline struct slice message_header_value(const struct message *m, const struct header *h)
{
    return (struct slice){ m->text + h->value_at, h->value_len };
}
static inline struct slice message_header_line(const struct message *m, const struct header *h)
{
    return (struct slice){ m->text + h->line_at, h->line_len };
}
unsigned message_header_count(const struct message *m, enum header_id id);
/* Value of the first one; data == NULL when there is none. */
struct slice message_value(const struct message *m, enum header_id id);

/* The values of all headers of an id as one list (Via, Route, Record-Route, Contact, Require …):
 * the comma lists of each, in order. Start with message_values(), then message_next_value() until
 * ERROR_NOT_FOUND. */
struct message_values {
    const struct message *message;
    const struct header *next;
    struct slice rest;
};
struct message_values message_values(const struct message *m, enum header_id id);
enum error message_next_value(struct message_values *v, struct slice *value) MUST_CHECK;

/* Parsed views of what message_parse() has found well; in a message with a fault they may be
 * ERROR_MALFORMED, or ERROR_NOT_FOUND when the header is missing. message_via(): the topmost. */
enum error message_from(const struct message *m, struct name_addr *address,
                        struct uri *uri) MUST_CHECK;
enum error message_to(const struct message *m, struct name_addr *address,
                      struct uri *uri) MUST_CHECK;
enum error message_via(const struct message *m, struct via *via) MUST_CHECK;
enum error message_uri(const struct message *m, struct uri *uri) MUST_CHECK;

/* Expires header in seconds. ERROR_NOT_FOUND, ERROR_MALFORMED (over 2^32-1). */
enum error message_expires(const struct message *m, uint32_t *seconds) MUST_CHECK;

/* Same method: by value, or by text when both are METHOD_OTHER. */
bool message_same_method(const struct message *a, const struct message *b);

#endif
