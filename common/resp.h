/* SPDX-License-Identifier: Apache-2.0 */
/* RESP2, both directions, with limits. Pure: no I/O. Every length from the wire is bounded before
 * it is believed. Readers keep no state: they are called again with the same bytes and more after
 * ERROR_INCOMPLETE; lengths are skipped, not scanned, so a call costs a few steps an element. */
#ifndef HOLDLINE_COMMON_RESP_H
#define HOLDLINE_COMMON_RESP_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

/* A server's side: one command, an array of bulk strings (or an inline line, split at spaces, as
 * redis-cli's users type). */
#define RESP_ARGS_MAX    32
#define RESP_ARG_MAX     4096
#define RESP_COMMAND_MAX 16384
#define RESP_INLINE_MAX  4096 /* an inline command with its line end */

struct resp_command {
    struct slice args[RESP_ARGS_MAX]; /* point into the input */
    size_t count;                     /* 0: an empty line, *0 or *-1, to be skipped */
};

/* Reads one command from the start of `input`. ERROR_NONE: *used bytes are it. ERROR_INCOMPLETE:
 * read more; never with RESP_COMMAND_MAX bytes or more in `input`. ERROR_MALFORMED,
 * ERROR_TOO_LARGE: answer -ERR and close. *used is 0 unless ERROR_NONE. */
enum error resp_read_command(struct slice input, struct resp_command *command,
                             size_t *used) MUST_CHECK;

/* A client's side: one value. Arrays are walked with resp_item(). */
enum resp_type {
    RESP_NONE = 0,
    RESP_STATUS,
    RESP_FAILURE,
    RESP_INTEGER,
    RESP_BULK,
    RESP_NIL,
    RESP_ARRAY
};

#define RESP_DEPTH_MAX 4    /* arrays in each other */
#define RESP_LINE_MAX  4096 /* a status or failure with its CRLF */

struct resp_limits {
    size_t value_max; /* bytes of one whole reply */
    size_t items_max; /* elements of all its arrays together */
};

struct resp_value {
    enum resp_type type;
    struct slice text; /* status, failure, bulk; of an array: its elements' bytes */
    int64_t integer;
    size_t count; /* of an array */
};

/* One whole reply at the start of `input`, checked through to its last element. Errors as above;
 * never ERROR_INCOMPLETE with value_max bytes or more in `input`. */
enum error resp_read_value(struct slice input, const struct resp_limits *limits,
                           struct resp_value *value, size_t *used) MUST_CHECK;

/* Walks an array that resp_read_value() gave: *rest starts as array->text; false when none is
 * left. */
bool resp_item(struct slice *rest, struct resp_value *item);

/* Writing; failure shows in buffer->failed. */
void resp_add_array(struct buffer *out, size_t count);
void resp_add_bulk(struct buffer *out, struct slice s);
void resp_add_bulk_text(struct buffer *out, const char *text);
void resp_add_integer(struct buffer *out, int64_t value);
void resp_add_status(struct buffer *out, const char *text);  /* +OK */
void resp_add_failure(struct buffer *out, const char *text); /* -ERR ... */
void resp_add_nil(struct buffer *out);                       /* $-1 */
/* CR and LF in a status or failure become spaces: nothing in it can begin a second reply. */

#endif
