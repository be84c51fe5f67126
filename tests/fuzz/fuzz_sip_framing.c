/* SPDX-License-Identifier: Apache-2.0 */
/* A stream, in one piece and cut into pieces: the same messages, pings and end either way, and
 * framing and parser agree on the length of every body. The first octet draws the cuts. */
#include "proxy/sip/framing.h"
#include "proxy/sip/message.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

#define EVENTS_MAX  4096 /* both runs end there */
#define MAX_MESSAGE 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct event {
    enum framing_event event;
    enum framing_fault fault;
    size_t at;
    uint32_t size, head_size;
};

struct record {
    struct event events[EVENTS_MAX];
    size_t count;
};

static void check_message(struct slice text, const struct framing_result *r)
{
    struct slice length;
    uint32_t number;
    struct message m;

    message_init(&m, 0);
    CHECK(message_parse(&m, (struct slice){ text.data, r->size }) != ERROR_MEMORY);
    CHECK(m.body_at == r->head_size && m.size == r->size);
    CHECK(m.fault != MESSAGE_BODY_SHORT);
    CHECK(message_header_count(&m, HEADER_CONTENT_LENGTH) == 1);
    length = message_value(&m, HEADER_CONTENT_LENGTH);
    CHECK(header_parse_number(length, INT32_MAX, &number) == ERROR_NONE);
    CHECK(number == r->size - r->head_size);
    message_free(&m);
}

static void check_lost(struct slice text, const struct framing_result *r)
{
    struct message m;

    if (!r->answerable)
        return;
    CHECK(r->size > 0 && r->size <= text.size && framing_fault_status(r->fault) >= 400);
    message_init(&m, 0);
    CHECK(message_parse(&m, (struct slice){ text.data, r->size }) != ERROR_MEMORY);
    message_free(&m);
}

/* Takes all that [from, to) has; returns what is left over begins. */
static size_t take(struct framing *f, const char *data, size_t from, size_t to, struct record *out)
{
    for (;;) {
        /* Exactly as long as what is there: one octet further is an error that ASan sees. */
        size_t live = to - from;
        char *copy = malloc(live ? live : 1);
        struct slice stream = { copy, live };
        struct framing_result r;

        CHECK(copy);
        memcpy(copy, data + from, live);
        r = framing_next(f, stream);
        CHECK(r.consume <= live);
        if (r.event == FRAMING_MESSAGE)
            check_message(stream, &r);
        if (r.event == FRAMING_LOST)
            check_lost(stream, &r);
        free(copy);
        from += r.consume;
        if (r.event == FRAMING_MORE)
            return from;
        CHECK(r.event != FRAMING_MESSAGE || (r.consume == r.size && r.size <= MAX_MESSAGE));
        out->events[out->count++] = (struct event){ r.event, r.fault, from, r.size, r.head_size };
        if (r.event == FRAMING_LOST || out->count == EVENTS_MAX)
            return SIZE_MAX;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct record whole, cut;
    struct framing f;
    uint32_t dice = size ? data[0] : 0;
    const char *text;
    size_t from = 0, to = 0;

    if (size < 2)
        return 0;
    text = (const char *)data + 1;
    size--;
    whole.count = cut.count = 0;
    framing_init(&f, MAX_MESSAGE);
    (void)take(&f, text, 0, size, &whole);
    framing_init(&f, MAX_MESSAGE);
    while (to < size && from != SIZE_MAX) {
        dice = dice * 1664525u + 1013904223u;
        to += 1 + (dice >> 24) % ((dice >> 8 & 3) == 0 ? 200 : 5);
        if (to > size)
            to = size;
        from = take(&f, text, from, to, &cut);
    }
    CHECK(whole.count == cut.count);
    for (size_t i = 0; i < whole.count; i++) {
        const struct event *a = &whole.events[i], *b = &cut.events[i];

        CHECK(a->event == b->event && a->fault == b->fault && a->size == b->size &&
              a->head_size == b->head_size);
        /* A first CRLF before what is lost may have been consumed. */
        CHECK(a->at == b->at || a->fault == FRAMING_NOT_SIP);
    }
    return 0;
}
