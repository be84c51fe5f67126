/* SPDX-License-Identifier: Apache-2.0 */
/* int32 dimensions, flags, element type; of the one dimension length and lower bound; then each
 * element behind its length. */
#include "mapperd/sql_array.h"

#include <arpa/inet.h>
#include <endian.h>

#define HEAD_SIZE       20
#define EMPTY_HEAD_SIZE 12

static void add_u32(struct buffer *out, uint32_t value)
{
    uint32_t bytes = htonl(value);
    buffer_add(out, (struct slice){ (const char *)&bytes, sizeof(bytes) });
}

void sql_array_start(struct buffer *out, enum sql_array_type type)
{
    buffer_reset(out);
    add_u32(out, 1);
    add_u32(out, 0);
    add_u32(out, (uint32_t)type);
    add_u32(out, 0);
    add_u32(out, 1);
}

void sql_array_add_text(struct buffer *out, struct slice s)
{
    add_u32(out, (uint32_t)s.size);
    buffer_add(out, s);
}

void sql_array_add_int8(struct buffer *out, uint64_t value)
{
    uint64_t bytes = htobe64(value);
    add_u32(out, sizeof(bytes));
    buffer_add(out, (struct slice){ (const char *)&bytes, sizeof(bytes) });
}

void sql_array_end(struct buffer *out, size_t count)
{
    uint32_t dimensions = 0, length = htonl((uint32_t)count);
    if (out->failed || buffer_size(out) < HEAD_SIZE)
        return;
    char *head = out->data + out->from;
    memcpy(head + EMPTY_HEAD_SIZE, &length, sizeof(length));
    if (count > 0)
        return;
    memcpy(head, &dimensions, sizeof(dimensions));
    out->to = out->from + EMPTY_HEAD_SIZE;
}
