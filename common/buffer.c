/* SPDX-License-Identifier: Apache-2.0 */
/* Growing bytes with a bound, consumed from the front. */
#include "common/buffer.h"

#include "common/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define CAPACITY_FIRST 256

void buffer_init(struct buffer *b, size_t limit)
{
    *b = (struct buffer){ .limit = limit };
}

void buffer_free(struct buffer *b)
{
    mem_free(b->data);
    buffer_init(b, b->limit);
}

void buffer_reset(struct buffer *b)
{
    b->from = b->to = 0;
    b->failed = false;
}

void buffer_release(struct buffer *b)
{
    if (b->from != b->to)
        return;
    mem_free(b->data);
    b->data = NULL;
    b->from = b->to = b->capacity = 0;
}

/* Moves the content to the front if that frees enough and at least as much was consumed as is to
 * be moved, so that each byte is moved once for each byte consumed; else doubles. */
static bool make_room(struct buffer *b, size_t size)
{
    size_t live = buffer_size(b), capacity = b->capacity;
    char *grown;

    if (b->data && live + size <= capacity && b->from >= live) {
        if (live)
            memmove(b->data, b->data + b->from, live);
        b->from = 0;
        b->to = live;
        return true;
    }
    if (b->to > SIZE_MAX / 4 || size > SIZE_MAX / 4)
        return false;
    capacity = capacity ? capacity * 2 : CAPACITY_FIRST;
    if (capacity < b->to + size)
        capacity = b->to + size;
    grown = mem_grow(b->data, capacity);
    if (!grown)
        return false;
    b->data = grown;
    b->capacity = capacity;
    return true;
}

char *buffer_reserve(struct buffer *b, size_t size)
{
    size_t live = buffer_size(b);

    if (b->failed)
        return NULL;
    if (b->limit && (live > b->limit || size > b->limit - live))
        goto fail;
    /* An empty reserve needs an address too. */
    if ((!b->data || b->capacity - b->to < size) && !make_room(b, size))
        goto fail;
    return b->data + b->to;
fail:
    b->failed = true;
    return NULL;
}

void buffer_commit(struct buffer *b, size_t size)
{
    assert(size <= b->capacity - b->to);
    b->to += size;
}

void buffer_consume(struct buffer *b, size_t size)
{
    assert(size <= buffer_size(b));
    b->from += size;
    if (b->from == b->to)
        b->from = b->to = 0;
}

void buffer_add_slowly(struct buffer *b, struct slice s)
{
    char *room = buffer_reserve(b, s.size);

    if (!room || s.size == 0)
        return;
    memcpy(room, s.data, s.size);
    b->to += s.size;
}

void buffer_add_text(struct buffer *b, const char *text)
{
    buffer_add(b, slice_of(text));
}

void buffer_add_char(struct buffer *b, char c)
{
    buffer_add(b, (struct slice){ &c, 1 });
}

void buffer_add_u64(struct buffer *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buffer_add(b, (struct slice){ digits + at, sizeof(digits) - at });
}

void buffer_add_format(struct buffer *b, const char *format, ...)
{
    va_list args;
    char *room;
    int size;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        b->failed = true;
        return;
    }
    /* vsnprintf() writes a NUL, which may need a byte beyond the limit: it is not committed. */
    room = buffer_reserve(b, (size_t)size);
    if (!room)
        return;
    if (b->capacity - b->to <= (size_t)size) {
        if (!make_room(b, (size_t)size + 1)) {
            b->failed = true;
            return;
        }
        room = b->data + b->to;
    }
    va_start(args, format);
    (void)vsnprintf(room, (size_t)size + 1, format, args);
    va_end(args);
    b->to += (size_t)size;
}
