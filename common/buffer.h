/* SPDX-License-Identifier: Apache-2.0 */
/* Growing bytes with a bound, consumed from the front: what connections read into and write from.
 * One thread. */
#ifndef HOLDLINE_COMMON_BUFFER_H
#define HOLDLINE_COMMON_BUFFER_H

#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

struct buffer {
    char *data;
    size_t from, to, capacity; /* bytes [from, to) are not yet consumed */
    size_t limit;              /* of to - from; 0 = none */
    bool failed; /* an append failed since the last buffer_reset(): content is not to be used */
};

void buffer_init(struct buffer *b, size_t limit);
void buffer_free(struct buffer *b);
void buffer_reset(struct buffer *b);   /* empties and clears `failed`; keeps the memory */
void buffer_release(struct buffer *b); /* when empty, gives its memory back */
static inline size_t buffer_size(const struct buffer *b)
{
    return b->to - b->from;
}
static inline struct slice buffer_slice(const struct buffer *b)
{
    return b->data ? (struct slice){ b->data + b->from, b->to - b->from } : (struct slice){ "", 0 };
}
/* Room for `size` more bytes behind `to`; NULL beyond the limit or without memory (failed is set),
 * and whenever it had failed before. Then buffer_commit() with what was written, at most `size`.
 * Moves the content: slices into the buffer are void. Amortised cost is linear. */
char *buffer_reserve(struct buffer *b, size_t size);
void buffer_commit(struct buffer *b, size_t size);
/* Takes `size` bytes, at most buffer_size(), off the front. */
void buffer_consume(struct buffer *b, size_t size);

/* Appends; on failure sets `failed` and does nothing from then on, so that a row of appends is
 * checked once at its end. What is appended must not lie in the buffer itself. */
void buffer_add_slowly(struct buffer *b, struct slice s);
static inline void buffer_add(struct buffer *b, struct slice s)
{
    size_t live = b->to - b->from;

    /* With room there is nothing to decide: replies are many small pieces. */
    if (b->failed || s.size == 0 || s.size > b->capacity - b->to ||
        (b->limit && (live > b->limit || s.size > b->limit - live))) {
        buffer_add_slowly(b, s);
        return;
    }
    memcpy(b->data + b->to, s.data, s.size);
    b->to += s.size;
}
void buffer_add_text(struct buffer *b, const char *text);
void buffer_add_char(struct buffer *b, char c);
void buffer_add_u64(struct buffer *b, uint64_t value);
void buffer_add_format(struct buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
