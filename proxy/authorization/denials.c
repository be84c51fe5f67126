/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/denials.h"

#include "common/hash.h"
#include "common/identity.h"
#include "common/log.h"
#include "proxy/authorization/link.h"
#include "proxy/net/address.h"

#include <string.h>

enum { FIELD_STORE, FIELD_CN, FIELD_FROM, FIELD_ADDRESS, FIELD_COUNT };
#define TEXT_MAX (STORE_NAME_MAX + CN_MAX_OCTETS + IDENTITY_MAX + ADDRESS_TEXT_MAX)

struct gathered {
    uint64_t hash;
    enum reason reason;
    uint32_t count;
    uint16_t sizes[FIELD_COUNT];
    char text[TEXT_MAX]; /* the fields, one behind the other */
};

struct denials {
    struct worker_base *base;
    struct link link;
    struct timer sending;
    size_t count;
    struct log_limit log_limit;
    struct gathered gathered[DENIALS_MAX];
};

static void drop(struct denials *denials, uint64_t count)
{
    atomic_fetch_add_explicit(&denials->base->counters->denials_dropped, count,
                              memory_order_relaxed);
}

static void drop_all(struct denials *denials)
{
    for (size_t i = 0; i < denials->count; i++)
        drop(denials, denials->gathered[i].count);
    denials->count = 0;
}

/* ---- Sending ---- */

static void write_report(struct buffer *out, const struct gathered *g)
{
    struct slice fields[FIELD_COUNT];
    const char *at = g->text;
    char count[16];

    for (int i = 0; i < FIELD_COUNT; i++) {
        fields[i] = (struct slice){ at, g->sizes[i] };
        at += g->sizes[i];
    }
    snprintf(count, sizeof count, "%lu", (unsigned long)g->count);
    resp_add_array(out, 7);
    resp_add_bulk_text(out, "REPORT");
    resp_add_bulk(out, fields[FIELD_STORE]);
    resp_add_bulk(out, fields[FIELD_CN]);
    resp_add_bulk(out, fields[FIELD_FROM]);
    resp_add_bulk_text(out, reason_name(g->reason));
    resp_add_bulk(out, fields[FIELD_ADDRESS]);
    resp_add_bulk_text(out, count);
}

static void on_send(struct timer *timer)
{
    struct denials *denials = (struct denials *)((char *)timer - offsetof(struct denials, sending));

    if (denials->link.state != LINK_OPEN ||
        buffer_size(link_output(&denials->link)) > DENIALS_UNREAD) {
        drop_all(denials);
        return;
    }
    for (size_t i = 0; i < denials->count; i++)
        write_report(link_output(&denials->link), &denials->gathered[i]);
    denials->count = 0;
    link_flush(&denials->link);
}

/* ---- The connection ---- */

static void on_connecting(void *owner)
{
    (void)owner;
}

static void on_opened(void *owner)
{
    (void)owner;
}

static void on_lost(void *owner, bool garbage)
{
    (void)owner, (void)garbage; /* the worker's other connections say so */
}

/* Replies are read so that they don't pile up; a refusal is a fault of the set-up. */
static void on_value(void *owner, const struct resp_value *value)
{
    struct denials *denials = owner;
    struct log_line line;

    if (value->type == RESP_STATUS) {
        link_proved(&denials->link);
        return;
    }
    if (log_limit_pass(&denials->log_limit, 1, denials->base->now_mono_ms)) {
        log_begin(&line, LOG_ERROR, "report-refused");
        log_text(&line, "detail", value->type == RESP_FAILURE ? value->text : SLICE("no answer"));
        log_end(&line);
    }
}

/* ---- Gathering ---- */

static void add_field(struct gathered *g, int field, size_t *at, struct slice s, size_t max)
{
    if (s.size > max)
        s.size = 0;
    if (s.size)
        memcpy(g->text + *at, s.data, s.size);
    g->sizes[field] = (uint16_t)s.size;
    *at += s.size;
}

static struct gathered *find(struct denials *denials, const struct gathered *like, size_t size)
{
    for (size_t i = 0; i < denials->count; i++) {
        struct gathered *g = &denials->gathered[i];

        if (g->hash == like->hash && g->reason == like->reason &&
            memcmp(g->sizes, like->sizes, sizeof g->sizes) == 0 &&
            memcmp(g->text, like->text, size) == 0)
            return g;
    }
    return NULL;
}

/* The first denial connects; until the table is sent, that has long happened. */
static bool begin(struct denials *denials)
{
    uint64_t due_mono_ms = denials->base->now_mono_ms + DENIALS_GATHER_MS;

    if (denials->link.state == LINK_STOPPED && link_start(&denials->link) != ERROR_NONE)
        return false;
    return timer_active(&denials->sending) ||
           timer_start(&denials->base->timers, &denials->sending, due_mono_ms) == ERROR_NONE;
}

void denials_add(struct denials *denials, const struct denial *denial)
{
    struct gathered new, *found;
    size_t size = 0;

    if (!denials)
        return;
    add_field(&new, FIELD_STORE, &size, denial->store, STORE_NAME_MAX);
    add_field(&new, FIELD_CN, &size, denial->cn, CN_MAX_OCTETS);
    add_field(&new, FIELD_FROM, &size, denial->from, IDENTITY_MAX);
    add_field(&new, FIELD_ADDRESS, &size, denial->address, ADDRESS_TEXT_MAX);
    new.reason = denial->reason;
    new.hash = hash_bytes(new.text, size);
    found = find(denials, &new, size);
    if (found && found->count < UINT32_MAX) {
        found->count++;
        return;
    }
    if (denials->count == DENIALS_MAX || !begin(denials)) {
        drop(denials, 1);
        return;
    }
    new.count = 1;
    denials->gathered[denials->count++] = new;
}

/* ---- Birth and death ---- */

enum error denials_new(struct worker_base *base, const char *socket_path, struct denials **out)
{
    static const struct resp_limits limits = { .value_max = 4096, .items_max = 16 };
    struct denials *denials = mem_zero(1, sizeof *denials);
    struct link_user user = { .owner = denials,
                              .connecting = on_connecting,
                              .opened = on_opened,
                              .value = on_value,
                              .lost = on_lost };
    enum error error;

    *out = NULL;
    if (!denials)
        return ERROR_MEMORY;
    denials->base = base;
    denials->sending.fire = on_send;
    error = link_init(&denials->link, base, socket_path, &limits, &user);
    if (error != ERROR_NONE) {
        mem_free(denials);
        return error;
    }
    *out = denials;
    return ERROR_NONE;
}

void denials_free(struct denials *denials)
{
    if (!denials)
        return;
    timer_stop(&denials->base->timers, &denials->sending);
    link_stop(&denials->link);
    mem_free(denials);
}
