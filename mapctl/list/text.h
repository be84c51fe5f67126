/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a list as lines of UTF-8, whatever wrote them: UTF-8 or UTF-16 with or without byte
 * order mark, another encoding by name; lines end in LF, CRLF or CR. Pure: bytes are pushed in as
 * they come, memory is bounded by LIST_LINE_MAX whatever the size of the list. One thread. */
#ifndef HOLDLINE_MAPCTL_LIST_TEXT_H
#define HOLDLINE_MAPCTL_LIST_TEXT_H

#include "common/buffer.h"

#include <iconv.h>

/* Octets of one line, in UTF-8. A device with a thousand of the longest identities has 256 KiB. */
#define LIST_LINE_MAX (1u << 20)

enum list_fault {
    LIST_FAULT_NONE = 0,
    LIST_FAULT_TOO_LONG, /* the text is cut at LIST_LINE_MAX */
    LIST_FAULT_NOT_TEXT, /* not UTF-8 (or what the encoding is), or a control character */
};

/* One line without its end; `text` is valid during the call. False: stop. */
typedef bool list_line_function(void *context, uint64_t number, struct slice text,
                                enum list_fault fault);

struct list_text {
    list_line_function *on_line;
    void *context;
    uint64_t number;       /* of the line that is being read, from 1 */
    struct buffer line;    /* its beginning, when a push ended inside it */
    struct buffer encoded; /* bytes that are not decoded yet */
    iconv_t decoder;       /* (iconv_t)-1: none, the bytes are UTF-8 already */
    size_t unit;           /* bytes that are passed over where the decoder finds no character */
    bool begun, too_long, after_cr, stopped;
};

/* `encoding`: a name that iconv knows, or NULL to find out by the first bytes. ERROR_NOT_FOUND:
 * there is no such encoding. */
enum error list_text_init(struct list_text *text, const char *encoding, list_line_function *on_line,
                          void *context) MUST_CHECK;
void list_text_free(struct list_text *text);

/* ERROR_CLOSED: on_line said stop. ERROR_MEMORY. */
enum error list_text_push(struct list_text *text, struct slice bytes) MUST_CHECK;
/* After the last push: gives the last line when it has no end. */
enum error list_text_end(struct list_text *text) MUST_CHECK;

#endif
