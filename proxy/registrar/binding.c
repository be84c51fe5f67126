/* SPDX-License-Identifier: Apache-2.0 */
/* Reads `key=value` fields, single spaces between them, contact to the end. */
#include "proxy/registrar/binding.h"

#include <inttypes.h>
#include <stdio.h>

static bool next_part(struct slice *rest, char separator, struct slice *part)
{
    const char *end;

    if (!rest->data)
        return false;
    end = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    if (!end) {
        *part = *rest;
        rest->data = NULL;
        rest->size = 0;
        return true;
    }
    *part = (struct slice){ rest->data, (size_t)(end - rest->data) };
    rest->size -= part->size + 1;
    rest->data = end + 1;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* %HH decoded into the arena; a lone "-" is nothing. */
static enum error decode(struct slice text, struct arena *arena, struct slice *out)
{
    size_t size = 0;
    char *copy;

    if (slice_equal(text, SLICE("-"))) {
        *out = SLICE("");
        return ERROR_NONE;
    }
    if (!text.size || !memchr(text.data, '%', text.size)) {
        *out = text;
        return ERROR_NONE;
    }
    copy = arena_alloc(arena, text.size);
    if (!copy)
        return ERROR_MEMORY;
    for (size_t i = 0; i < text.size; i++) {
        int high, low;
        if (text.data[i] != '%') {
            copy[size++] = text.data[i];
            continue;
        }
        if (text.size - i < 3)
            return ERROR_MALFORMED;
        high = hex_digit(text.data[i + 1]);
        low = hex_digit(text.data[i + 2]);
        if (high < 0 || low < 0)
            return ERROR_MALFORMED;
        copy[size++] = (char)(high * 16 + low);
        i += 2;
    }
    *out = (struct slice){ copy, size };
    return ERROR_NONE;
}

static enum error read_number(struct slice text, uint64_t max, uint64_t *out)
{
    unsigned long long value;

    if (!slice_to_u64(text, max, &value))
        return ERROR_MALFORMED;
    *out = value;
    return ERROR_NONE;
}

static enum error read_text_field(struct slice key, struct slice value, struct arena *arena,
                                  struct binding *out)
{
    const struct {
        const char *key;
        struct slice *field;
    } fields[] = {
        { "store", &out->store },     { "cn", &out->cn },
        { "device", &out->device },   { "ground", &out->ground },
        { "entry", &out->entry },     { "instance", &out->instance },
        { "call_id", &out->call_id }, { "path", &out->path },
        { "flow", &out->flow },       { "registered_by", &out->registered_by },
    };

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (slice_equal(key, slice_of(fields[i].key)))
            return decode(value, arena, fields[i].field);
    return ERROR_NONE;
}

static enum error read_field(struct slice key, struct slice value, struct arena *arena,
                             struct binding *out)
{
    uint64_t number = 0;
    enum error error;

    if (slice_equal(key, SLICE("expires")))
        return read_number(value, INT64_MAX, &out->expires_unix_s);
    if (slice_equal(key, SLICE("reg_id"))) {
        error = read_number(value, INT32_MAX, &number);
        out->reg_id = (uint32_t)number;
        return error;
    }
    if (slice_equal(key, SLICE("cseq"))) {
        error = read_number(value, UINT32_MAX, &number);
        out->cseq = (uint32_t)number;
        return error;
    }
    if (slice_equal(key, SLICE("q"))) {
        error = read_number(value, 1000, &number);
        out->q = (uint16_t)number;
        return error;
    }
    return read_text_field(key, value, arena, out);
}

enum error binding_parse(struct slice text, struct arena *arena, struct binding *out)
{
    struct slice rest = text, field, key;
    enum error error;

    *out = (struct binding){ .q = 1000 };
    while (rest.data) {
        struct slice all = rest;
        if (!next_part(&rest, ' ', &field) || !next_part(&field, '=', &key) || !field.data)
            return ERROR_MALFORMED;
        if (slice_equal(key, SLICE("contact"))) {
            out->contact = (struct slice){ field.data, (size_t)(all.data + all.size - field.data) };
            break;
        }
        error = read_field(key, field, arena, out);
        if (error != ERROR_NONE)
            return error;
    }
    if (!out->device.size || !out->contact.size || !out->expires_unix_s)
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

void flow_write(const struct flow_origin *origin, struct flow flow, char *out)
{
    snprintf(out, FLOW_TEXT_MAX, "%s/%" PRIu64 "/%u/%u/%u/%u", origin->proxy, origin->epoch,
             flow.worker, flow.slot, flow.generation, flow.listener);
}

static bool next_number(struct slice *rest, uint64_t max, uint64_t *out)
{
    struct slice part;

    return next_part(rest, '/', &part) && read_number(part, max, out) == ERROR_NONE;
}

struct flow flow_read(const struct flow_origin *origin, struct slice text)
{
    struct slice rest = text, proxy;
    uint64_t epoch, worker, slot, generation, listener;

    if (!next_part(&rest, '/', &proxy) || !slice_equal(proxy, slice_of(origin->proxy)) ||
        !next_number(&rest, UINT64_MAX, &epoch) || epoch != origin->epoch ||
        !next_number(&rest, UINT32_MAX, &worker) || !next_number(&rest, UINT32_MAX, &slot) ||
        !next_number(&rest, UINT32_MAX, &generation) ||
        !next_number(&rest, UINT32_MAX, &listener) || rest.data)
        return (struct flow){ 0 };
    return (struct flow){ (uint32_t)worker, (uint32_t)slot, (uint32_t)generation,
                          (uint32_t)listener };
}
