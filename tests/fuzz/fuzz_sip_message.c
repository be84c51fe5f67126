/* SPDX-License-Identifier: Apache-2.0 */
/* A message: parse it, look at every header with every parser of values, keep a copy, answer it,
 * send it on with edits, and read what comes out again. Nothing but what was edited may differ, and
 * nothing that goes out may be read as two. */
#include "proxy/sip/edit.h"
#include "proxy/sip/framing.h"
#include "proxy/sip/message.h"
#include "proxy/sip/response.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_within(struct slice inner, struct slice outer)
{
    return inner.size == 0 ||
           (inner.data >= outer.data && inner.data + inner.size <= outer.data + outer.size);
}

static void try_uri(struct slice text)
{
    struct identity identity;
    struct uri uri;

    if (uri_parse(text, &uri) != ERROR_NONE)
        return;
    CHECK(lies_within(uri.user, text) && lies_within(uri.host, text) &&
          lies_within(uri.params, text) && lies_within(uri.headers, text));
    (void)uri_is_loose(&uri);
    (void)uri_has_routing_param(&uri);
    if (uri_identity(&uri, &identity) == ERROR_NONE)
        CHECK(identity.size > 0 && identity.size <= IDENTITY_MAX);
}

static void try_value(struct slice value)
{
    struct name_addr address;
    struct contact contact;
    struct slice method;
    struct param param;
    uint32_t number;
    struct via via;

    if (header_parse_name_addr(value, &address) == ERROR_NONE) {
        CHECK(lies_within(address.uri, value) && lies_within(address.display, value) &&
              lies_within(address.params, value) && lies_within(address.tag, value));
        CHECK(address.uri.size > 0);
        try_uri(address.uri);
    }
    if (header_parse_contact(value, &contact) == ERROR_NONE && !contact.star)
        CHECK(contact.q <= CONTACT_Q_NONE && lies_within(contact.instance, value));
    if (header_parse_via(value, &via) == ERROR_NONE) {
        CHECK(via.host.size > 0 && via.transport.size > 0);
        CHECK(lies_within(via.branch, value) && lies_within(via.received, value));
        CHECK(via_same_sent_by(&via, &via));
    }
    (void)!header_parse_route(value, &address);
    (void)!header_parse_cseq(value, &number, &method);
    (void)!header_parse_number(value, UINT32_MAX, &number);
    (void)header_find_param(value, SLICE("tag"), &param);
}

static void try_list(struct slice value)
{
    struct slice rest = value, item, token;
    size_t before = rest.size;

    while (header_next_item(&rest, &item) == ERROR_NONE) {
        CHECK(rest.size < before && lies_within(item, value) && item.size > 0);
        before = rest.size;
        try_value(item);
    }
    for (rest = value; header_next_token(&rest, &token) == ERROR_NONE;)
        CHECK(header_is_token(token));
}

static void walk(const struct message *m)
{
    uint32_t at = m->headers_at;
    struct via via;
    struct uri uri;
    struct name_addr address;
    unsigned known = 0;
    char text[MESSAGE_FAULT_TEXT_MAX];

    for (uint16_t i = 0; i < m->header_count; i++) {
        const struct header *h = &m->headers[i];

        CHECK(h->line_at == at);
        at += h->line_len;
        CHECK(h->value_at + h->value_len <= at || h->id == HEADER_BAD_LINE);
        CHECK(h->id <= HEADER_BAD_LINE);
        known += h->id != HEADER_OTHER && h->id != HEADER_BAD_LINE;
        if (h->id == HEADER_BAD_LINE)
            CHECK(m->fault != MESSAGE_VALID);
        else
            try_list(message_header_value(m, h));
        try_value(message_header_value(m, h));
    }
    CHECK(at == m->headers_end && m->headers_end <= m->body_at && m->body_at <= m->size);
    for (unsigned id = HEADER_OTHER + 1; id < HEADER_COUNT; id++)
        known -= message_header_count(m, (enum header_id)id);
    CHECK(known == 0);
    (void)message_fault_text(m, text);
    if (m->fault != MESSAGE_VALID)
        return;
    CHECK(message_from(m, &address, &uri) == ERROR_NONE);
    CHECK(message_to(m, &address, &uri) == ERROR_NONE);
    CHECK(message_via(m, &via) == ERROR_NONE);
    CHECK(!m->is_request || message_uri(m, &uri) == ERROR_NONE);
}

static void same_headers(const struct message *a, const struct message *b, const bool *touched)
{
    uint16_t i = 0, j = 0;

    for (;;) {
        while (i < a->header_count && touched[a->headers[i].id])
            i++;
        while (j < b->header_count && touched[b->headers[j].id])
            j++;
        if (i == a->header_count || j == b->header_count)
            break;
        CHECK(slice_equal(message_header_line(a, &a->headers[i]),
                          message_header_line(b, &b->headers[j])));
        i++;
        j++;
    }
    CHECK(i == a->header_count && j == b->header_count);
    CHECK(slice_equal(message_body(a), message_body(b)));
}

static void check_is_one_message(struct slice text)
{
    struct framing framing;
    struct framing_result r;

    framing_init(&framing, UINT32_MAX / 2);
    r = framing_next(&framing, text);
    CHECK(r.event == FRAMING_MESSAGE && r.size == text.size);
}

/* Which edits are made is drawn from the input itself. */
static void edit(struct message *m, uint64_t dice)
{
    static const enum header_id removable[] = { HEADER_P_ASSERTED_IDENTITY, HEADER_SUBJECT,
                                                HEADER_CONTACT, HEADER_SUPPORTED };
    bool touched[HEADER_COUNT + 1] = { false };
    bool has_length = message_header(m, HEADER_CONTENT_LENGTH);
    unsigned vias = 0, routes = 0;
    struct message_values values;
    struct edit_list list;
    struct message again;
    struct buffer out;
    struct slice value;
    enum error e;

    for (values = message_values(m, HEADER_VIA);
         (e = message_next_value(&values, &value)) == ERROR_NONE;)
        vias++;
    if (e == ERROR_MALFORMED)
        vias = 1;
    for (values = message_values(m, HEADER_ROUTE);
         (e = message_next_value(&values, &value)) == ERROR_NONE;)
        routes++;
    edit_init(&list, m);
    if (dice & 1 && !(dice & 2)) {
        edit_via_source(&list, SLICE("203.0.113.7"), 40000);
        touched[HEADER_VIA] = true;
    } else if (dice & 2 && vias > 1) {
        CHECK(edit_pop(&list, HEADER_VIA, 1) == ERROR_NONE);
        touched[HEADER_VIA] = true;
    }
    if (dice & 4) {
        edit_push(&list, HEADER_VIA, SLICE("SIP/2.0/TLS proxy:5061;branch=z9hG4bKx"));
        touched[HEADER_VIA] = true;
    }
    if (dice & 8 && routes) {
        (void)!edit_pop(&list, HEADER_ROUTE, 1 + (unsigned)(dice >> 32) % routes);
        touched[HEADER_ROUTE] = true;
    }
    if (dice & 16) {
        edit_push(&list, HEADER_RECORD_ROUTE, SLICE("<sip:proxy;lr>"));
        edit_push(&list, HEADER_RECORD_ROUTE, SLICE("<sip:proxy:5060;transport=tcp;lr>"));
        touched[HEADER_RECORD_ROUTE] = true;
    }
    if (dice & 32 && m->max_forwards > 0) {
        edit_max_forwards(&list);
        touched[HEADER_MAX_FORWARDS] = true;
    }
    if (dice & 64 && m->is_request)
        edit_request_uri(&list, SLICE("sip:bob@192.0.2.9:5061;transport=tls"));
    for (unsigned i = 0; i < 4; i++) {
        if (!(dice >> (8 + i) & 1))
            continue;
        edit_remove(&list, removable[i]);
        touched[removable[i]] = true;
    }
    if (dice & (1 << 12)) {
        edit_add(&list, HEADER_P_ASSERTED_IDENTITY, SLICE("<sip:alice@example.org>"));
        touched[HEADER_P_ASSERTED_IDENTITY] = true;
    }
    buffer_init(&out, 0);
    message_init(&again, 0);
    CHECK(edit_write(&list, &out) == ERROR_NONE);
    CHECK(buffer_size(&out) == edit_size(&list));
    e = message_parse(&again, buffer_slice(&out));
    /* A message at a bound may be over it with what was added. */
    if (again.fault != MESSAGE_TOO_LARGE) {
        CHECK(e == ERROR_NONE ||
              again.fault == MESSAGE_HEADER_VALUE); /* a second Via that is malformed came up */
        CHECK(e == ERROR_NONE || (dice & 2 && again.fault_header == HEADER_VIA));
        CHECK(m->fault != MESSAGE_VALID || again.size == buffer_size(&out));
        same_headers(m, &again, touched);
        if (has_length)
            check_is_one_message(buffer_slice(&out));
    }
    message_free(&again);
    buffer_free(&out);
}

static void answer(const struct message *m)
{
    struct response response = { .status = 403,
                                 .to_tag = SLICE("ours"),
                                 .source = SLICE("203.0.113.7"),
                                 .source_port = 40000,
                                 .headers = SLICE("Warning: 399 p \"x\"\r\n") };
    struct message again;
    struct buffer out;
    enum error e;

    buffer_init(&out, 0);
    message_init(&again, 0);
    e = response_write(m, &response, &out);
    CHECK(e == ERROR_NONE || (e == ERROR_NOT_FOUND && buffer_size(&out) == 0));
    if (e == ERROR_NONE) {
        CHECK(message_parse(&again, buffer_slice(&out)) != ERROR_MEMORY);
        if (again.fault != MESSAGE_TOO_LARGE) {
            check_is_one_message(buffer_slice(&out));
            CHECK(!again.is_request && again.status == 403 && again.size == buffer_size(&out));
            CHECK(message_header_count(&again, HEADER_VIA) == message_header_count(m, HEADER_VIA));
        }
        if (m->fault == MESSAGE_VALID || m->fault == MESSAGE_SCHEME)
            CHECK(again.fault == MESSAGE_TOO_LARGE ||
                  (again.fault == MESSAGE_VALID && again.to_tag.len > 0 && again.cseq == m->cseq));
    }
    if (m->fault == MESSAGE_VALID && m->method == METHOD_INVITE && m->is_request) {
        buffer_reset(&out);
        CHECK(request_write_cancel(m, (struct slice){ "", 0 }, &out) == ERROR_NONE);
        CHECK(message_parse(&again, buffer_slice(&out)) == ERROR_NONE);
        CHECK(again.method == METHOD_CANCEL && again.cseq == m->cseq);
        check_is_one_message(buffer_slice(&out));
    }
    message_free(&again);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message m, kept;
    uint64_t dice = 14695981039346656037u;

    message_init(&m, 0);
    CHECK(message_parse(&m, (struct slice){ (const char *)data, size }) != ERROR_MEMORY);
    CHECK(m.fault != MESSAGE_UNCHECKED);
    if (size > 0)
        walk(&m);
    for (size_t i = 0; i < size; i++)
        dice = (dice ^ data[i]) * 1099511628211u;
    answer(&m);
    CHECK(message_keep(&kept, &m, 0) == ERROR_NONE);
    CHECK(slice_equal(message_text(&m), message_text(&kept)));
    if (m.fault == MESSAGE_VALID) {
        edit(&kept, dice);
        edit(&m, dice >> 16);
    }
    message_free(&kept);
    message_free(&m);
    return 0;
}
