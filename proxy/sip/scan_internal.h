/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and lines, as the grammar of RFC 3261 25.1 sorts them: what the files of this folder share.
 * Framing and the parser read header lines through the same functions here, so that they can't
 * differ. */
#ifndef HOLDLINE_SIP_SCAN_INTERNAL_H
#define HOLDLINE_SIP_SCAN_INTERNAL_H

#include "common/slice.h"
#include "proxy/sip/message.h"

#include <stdint.h>

enum char_class {
    CHAR_TOKEN = 1 << 0,
    CHAR_USER = 1 << 1,       /* of a sip URI, escapes apart: unreserved and &=+$,;?/ */
    CHAR_PASSWORD = 1 << 2,   /* unreserved and &=+$, */
    CHAR_PARAM = 1 << 3,      /* URI parameter: unreserved and []/:&+$ */
    CHAR_URI_HEADER = 1 << 4, /* unreserved and []/?:+$ */
    CHAR_HOST = 1 << 5,       /* letters, digits, '.', '-' */
    CHAR_VALUE = 1 << 6,      /* of a header parameter: token, or the ":[]" of addresses */
    CHAR_URI = 1 << 7,        /* visible ASCII that a URI may hold somewhere: all but "<>\^`{|} */
    CHAR_CALL_ID = 1 << 8,    /* visible ASCII without ',' and ';' */
    CHAR_DIGIT = 1 << 9,
    CHAR_HEX = 1 << 10,
    CHAR_ALPHA = 1 << 11,
    CHAR_SPACE = 1 << 12,   /* SP, HTAB */
    CHAR_NUMBER = 1 << 13,  /* tel: hexadecimal digits, '*', '#', and the separators "-.()" */
    CHAR_RESERVED = 1 << 14 /* of URIs: an escaped one is not the plain one (19.1.4) */
};

extern const uint16_t char_classes[256];

static inline bool char_is(char c, unsigned classes)
{
    return (char_classes[(unsigned char)c] & classes) != 0;
}

static inline char char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* How many bytes at the front of s are of the classes. */
static inline size_t scan_run(struct slice s, unsigned classes)
{
    size_t i = 0;

    while (i < s.size && char_is(s.data[i], classes))
        i++;
    return i;
}

static inline struct slice slice_skip(struct slice s, size_t count)
{
    /* An empty slice may be of no address at all. */
    return (struct slice){ count ? s.data + count : s.data, s.size - count };
}

static inline struct slice slice_first(struct slice s, size_t count)
{
    return (struct slice){ s.data, count };
}

static inline bool slice_starts(struct slice s, char c)
{
    return s.size > 0 && s.data[0] == c;
}

/* Offset of the first control character (below 0x20 but HTAB, or 0x7f) at or behind `from`; size if
 * there is none. */
size_t scan_control(const char *text, size_t from, size_t size);

/* Takes white space (LWS of RFC 3261: SP, HTAB, CRLF followed by one of these) off the front. */
void scan_lws(struct slice *s);

/* Takes a quoted string off the front of s, which begins with '"'. `inside` is what is between the
 * quotes. False: it doesn't end, or holds a control character that is not escaped. */
bool scan_quoted(struct slice *s, struct slice *inside);

/* `line`: a header from its name up to, but not including, the CRLF that ends it. Sets id,
 * name_len, value_at, value_len (offsets from line.data). A line that is no header has
 * HEADER_BAD_LINE, name_len and value_len 0. Control characters in the value are not looked at. */
void scan_header_line(struct slice line, struct header *h);

/* Control characters, if any, are folds or escaped inside quotes. */
bool scan_controls_are_quoted(struct slice value);

/* Content-Length: false if it is anything but digits, or over 2^31-1. */
bool scan_content_length(struct slice value, uint32_t *length);

/* A line that is no header but that a lenient reader could take for Content-Length. */
bool scan_looks_like_length(struct slice line);

#endif
