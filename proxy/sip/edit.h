/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a message on its way out (RFC 3261 16.6, 16.7): a list of (at, remove, insert),
 * applied in one pass while the message is written. The message itself never changes, so each
 * branch has its own list over one request. All that is not named in an edit leaves byte for byte.
 * One thread, the message's.
 *
 * Inserted text is copied into the message's arena. Failure (memory, arena limit) is kept in the
 * list and comes out of edit_write(), so that a row of edits is checked once. Two edits of the same
 * octets are a bug (assert). */
#ifndef HOLDLINE_SIP_EDIT_H
#define HOLDLINE_SIP_EDIT_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"
#include "proxy/sip/message.h"

#include <stdint.h>

struct edit {
    uint32_t at, remove;
    struct slice insert;
};

#define EDIT_INLINE 12 /* edits without memory of their own; more move into the arena */

struct edit_list {
    struct message *message;
    struct edit *edits; /* sorted by `at`; at one place in the order in which they were added.
                           Points to `own` or the arena: a list must not be moved once edited */
    uint16_t count, capacity;
    bool failed;
    struct edit own[EDIT_INLINE];
};

/* Needs no end: all memory is the message's arena's. */
void edit_init(struct edit_list *list, struct message *m);

void edit_request_uri(struct edit_list *list, struct slice uri);
/* Max-Forwards one less, or 70 when there is none (16.6 step 3). The message has Max-Forwards above
 * 0. */
void edit_max_forwards(struct edit_list *list);

/* A new topmost header line `Name: value` above the first of its id, else behind the start line
 * (or, for others than Via, behind the Vias that stand there). Called several times, the last
 * call's line comes out topmost. For Via, Record-Route, Route, Path. */
void edit_push(struct edit_list *list, enum header_id id, struct slice value);
/* Takes away the first `count` values of a list header, whole lines or the beginning of a comma
 * list (Route, Via). Fewer values than that is a bug. ERROR_MALFORMED, and nothing changed, when
 * the values up to there are no list. */
enum error edit_pop(struct edit_list *list, enum header_id id, unsigned count) MUST_CHECK;
/* All headers of the id. */
void edit_remove(struct edit_list *list, enum header_id id);
/* One header line. */
void edit_remove_header(struct edit_list *list, const struct header *header);
/* `Name: value` behind all headers. */
void edit_add(struct edit_list *list, enum header_id id, struct slice value);
void edit_add_named(struct edit_list *list, struct slice name, struct slice value);
/* Another value for one header; its name stays as written. */
void edit_value(struct edit_list *list, const struct header *header, struct slice value);
/* received, and the value of rport when asked for, in the topmost Via of a request (18.2.1, RFC
 * 3581 4). `address` without brackets; a received that the client wrote itself is replaced. Nothing
 * is changed when sent-by is that address and rport was not asked for. Not together with
 * edit_pop(Via). */
void edit_via_source(struct edit_list *list, struct slice address, uint16_t port);

/* Text made for this message, in its arena: data == NULL (and the list failed) without memory. */
struct slice edit_format(struct edit_list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Octets that edit_write() will append. */
size_t edit_size(const struct edit_list *list);
/* Appends the edited message. On error nothing usable is in `out`: ERROR_MEMORY, ERROR_TOO_LARGE
 * (the buffer's limit). */
enum error edit_write(const struct edit_list *list, struct buffer *out) MUST_CHECK;

#endif
