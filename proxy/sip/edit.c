/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a message on its way out. */
#include "proxy/sip/edit.h"

#include "proxy/sip/scan_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* Max-Forwards of a request that has none (RFC 3261 16.6 step 3). */
#define MAX_FORWARDS_DEFAULT "70"

void edit_init(struct edit_list *list, struct message *m)
{
    list->message = m;
    list->edits = list->own;
    list->count = 0;
    list->capacity = EDIT_INLINE;
    list->failed = false;
}

static bool make_room(struct edit_list *list)
{
    uint16_t capacity = (uint16_t)(list->capacity * 2);
    struct edit *grown;

    if (list->count < list->capacity)
        return true;
    assert(capacity > list->capacity);
    grown = arena_alloc(&list->message->arena, capacity * sizeof(*grown));
    if (!grown)
        return false;
    memcpy(grown, list->edits, list->count * sizeof(*grown));
    list->edits = grown;
    list->capacity = capacity;
    return true;
}

/* `insert` is of the message's arena, or of something that outlives it. At one place insertions
 * stand before what is taken out; with `above` before the other insertions too. */
static void put(struct edit_list *list, uint32_t at, uint32_t remove, struct slice insert,
                bool above)
{
    uint16_t i;

    if (list->failed)
        return;
    assert(at <= list->message->size && remove <= list->message->size - at);
    if (!make_room(list)) {
        list->failed = true;
        return;
    }
    for (i = list->count; i > 0; i--) {
        const struct edit *before = &list->edits[i - 1];

        if (before->at < at || (before->at == at && before->remove == 0 && !above))
            break;
        list->edits[i] = list->edits[i - 1];
    }
    list->edits[i] = (struct edit){ at, remove, insert };
    list->count++;
    assert(i == 0 || list->edits[i - 1].at + list->edits[i - 1].remove <= at);
    assert(i + 1 == list->count || at + remove <= list->edits[i + 1].at);
}

static struct slice keep(struct edit_list *list, struct slice text)
{
    struct slice copy = { NULL, 0 };

    if (!list->failed) {
        copy = arena_copy(&list->message->arena, text);
        list->failed = !copy.data;
    }
    return copy;
}

struct slice edit_format(struct edit_list *list, const char *format, ...)
{
    struct slice text = { NULL, 0 };
    va_list args;
    char *out;
    int size;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    out = size < 0 || list->failed ? NULL : arena_alloc(&list->message->arena, (size_t)size + 1);
    if (!out) {
        list->failed = true;
        return text;
    }
    va_start(args, format);
    (void)vsnprintf(out, (size_t)size + 1, format, args);
    va_end(args);
    return (struct slice){ out, (size_t)size };
}

/* `Name: value` with its CRLF. */
static struct slice make_line(struct edit_list *list, struct slice name, struct slice value)
{
    return edit_format(list, "%.*s: %.*s\r\n", (int)name.size, name.data, (int)value.size,
                       value.data);
}

void edit_request_uri(struct edit_list *list, struct slice uri)
{
    const struct message *m = list->message;

    assert(m->is_request);
    put(list, m->request_uri.at, m->request_uri.len, keep(list, uri), false);
}

void edit_max_forwards(struct edit_list *list)
{
    const struct message *m = list->message;
    const struct header *h = message_header(m, HEADER_MAX_FORWARDS);

    if (!h) {
        edit_add(list, HEADER_MAX_FORWARDS, SLICE(MAX_FORWARDS_DEFAULT));
        return;
    }
    assert(m->max_forwards > 0 && m->max_forwards < MESSAGE_MAX_FORWARDS_NONE);
    put(list, h->value_at, h->value_len, edit_format(list, "%u", m->max_forwards - 1u), false);
}

static uint32_t line_end(const struct header *h)
{
    return h->line_at + h->line_len;
}

static uint32_t push_at(const struct message *m, enum header_id id)
{
    const struct header *h = message_header(m, id);
    uint32_t at = m->headers_at;

    if (h)
        return h->line_at;
    if (id != HEADER_VIA)
        for (h = message_header(m, HEADER_VIA); h; h = message_header_next(m, h))
            at = line_end(h);
    return at;
}

void edit_push(struct edit_list *list, enum header_id id, struct slice value)
{
    put(list, push_at(list->message, id), 0, make_line(list, header_name(id), value), true);
}

void edit_remove_header(struct edit_list *list, const struct header *header)
{
    put(list, header->line_at, header->line_len, (struct slice){ "", 0 }, false);
}

void edit_remove(struct edit_list *list, enum header_id id)
{
    const struct message *m = list->message;

    for (const struct header *h = message_header(m, id); h; h = message_header_next(m, h))
        edit_remove_header(list, h);
}

/* Takes at most *count values off one header. With `apply` false only counts. */
static enum error pop_header(struct edit_list *list, const struct header *h, unsigned *count,
                             bool apply)
{
    const struct message *m = list->message;
    struct slice rest = message_header_value(m, h), value;
    enum error e = ERROR_NONE;

    while (*count > 0 && (e = header_next_item(&rest, &value)) == ERROR_NONE)
        --*count;
    if (e == ERROR_MALFORMED)
        return e;
    scan_lws(&rest);
    if (!apply)
        return ERROR_NONE;
    if (rest.size == 0)
        edit_remove_header(list, h);
    else
        put(list, h->value_at, h->value_len - (uint32_t)rest.size, (struct slice){ "", 0 }, false);
    return ERROR_NONE;
}

enum error edit_pop(struct edit_list *list, enum header_id id, unsigned count)
{
    const struct message *m = list->message;
    unsigned left = count;

    /* First whether it can be done, so that nothing is half done. */
    for (const struct header *h = message_header(m, id); h && left; h = message_header_next(m, h))
        if (pop_header(list, h, &left, false) != ERROR_NONE)
            return ERROR_MALFORMED;
    assert(left == 0);
    left = count;
    for (const struct header *h = message_header(m, id); h && left; h = message_header_next(m, h))
        if (pop_header(list, h, &left, true) != ERROR_NONE)
            return ERROR_MALFORMED;
    return ERROR_NONE;
}

void edit_add_named(struct edit_list *list, struct slice name, struct slice value)
{
    put(list, list->message->headers_end, 0, make_line(list, name, value), false);
}

void edit_add(struct edit_list *list, enum header_id id, struct slice value)
{
    edit_add_named(list, header_name(id), value);
}

void edit_value(struct edit_list *list, const struct header *header, struct slice value)
{
    put(list, header->value_at, header->value_len, keep(list, value), false);
}

void edit_via_source(struct edit_list *list, struct slice address, uint16_t port)
{
    const struct message *m = list->message;
    uint32_t end = m->via.at + m->via.len;
    struct slice rest;
    struct param param;
    struct via via;

    if (message_via(m, &via) != ERROR_NONE || !via_needs_source(&via, address))
        return;
    for (rest = via.params;;) {
        const char *from = rest.data;

        if (header_next_param(&rest, &param) != ERROR_NONE)
            break;
        if (slice_equal_nocase(param.name, SLICE("received")) ||
            slice_equal_nocase(param.name, SLICE("rport")))
            put(list, (uint32_t)(from - m->text), (uint32_t)(rest.data - from),
                (struct slice){ "", 0 }, false);
    }
    if (via.has_rport)
        put(list, end, 0,
            edit_format(list, ";received=%.*s;rport=%u", (int)address.size, address.data, port),
            true);
    else
        put(list, end, 0, edit_format(list, ";received=%.*s", (int)address.size, address.data),
            true);
}

size_t edit_size(const struct edit_list *list)
{
    size_t size = list->message->size;

    for (uint16_t i = 0; i < list->count; i++)
        size = size - list->edits[i].remove + list->edits[i].insert.size;
    return size;
}

static char *append(char *out, const char *data, size_t size)
{
    if (size)
        memcpy(out, data, size);
    return out + size;
}

enum error edit_write(const struct edit_list *list, struct buffer *out)
{
    const struct message *m = list->message;
    size_t size = edit_size(list), at = 0, live = buffer_size(out);
    char *p;

    if (list->failed)
        return ERROR_MEMORY;
    p = buffer_reserve(out, size);
    if (!p)
        return out->limit && (live > out->limit || size > out->limit - live) ? ERROR_TOO_LARGE
                                                                             : ERROR_MEMORY;
    for (uint16_t i = 0; i < list->count; i++) {
        const struct edit *e = &list->edits[i];

        p = append(p, m->text + at, e->at - at);
        p = append(p, e->insert.data, e->insert.size);
        at = (size_t)e->at + e->remove;
    }
    append(p, m->text + at, m->size - at);
    buffer_commit(out, size);
    return ERROR_NONE;
}
