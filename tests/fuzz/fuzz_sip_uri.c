/* SPDX-License-Identifier: Apache-2.0 */
/* Two URIs, parted by a newline: each is made of its parts and nothing else, comparison is the same
 * both ways, and what is equal is one identity. */
#include "proxy/sip/uri.h"

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

/* The parts follow one another in the text, with their marks between them. */
static void check_parts(const struct uri *uri)
{
    const char *at = memchr(uri->text.data, ':', uri->text.size), *end;

    CHECK(at);
    at++;
    if (uri->user.size) {
        CHECK(uri->user.data == at);
        at += uri->user.size;
        if (uri->scheme != URI_TEL) {
            if (*at == ':') {
                CHECK(uri->password.size == 0 || uri->password.data == at + 1);
                at += 1 + uri->password.size;
            }
            CHECK(*at == '@');
            at++;
        }
    }
    if (uri->host.size) {
        CHECK(uri->host.data == at);
        at += uri->host.size;
    }
    end = uri->text.data + uri->text.size;
    if (uri->port) {
        CHECK(*at == ':');
        for (at++; at < end && *at >= '0' && *at <= '9';)
            at++;
    }
    if (uri->params.size) {
        CHECK(uri->params.data == at);
        at += uri->params.size;
    }
    if (uri->headers.size) {
        CHECK(*at == '?');
        at += 1 + uri->headers.size;
    }
    CHECK(at == end);
    for (at = uri->text.data; at < end; at++)
        CHECK(*at > ' ' && *at < 0x7f && *at != '<' && *at != '>' && *at != '"');
}

static bool check_one(struct slice text, struct uri *uri)
{
    struct slice rest, name, value;

    if (uri_parse(text, uri) != ERROR_NONE)
        return false;
    check_parts(uri);
    if (uri->scheme != URI_TEL)
        CHECK(uri_equal(uri, uri));
    (void)uri_has_routing_param(uri);
    CHECK(uri->scheme == URI_OTHER || uri->scheme == URI_SERVICE || uri->scheme == URI_TEL ||
          uri_is_host(uri->host));
    for (rest = uri->params; uri_next_param(&rest, &name, &value) == ERROR_NONE;)
        CHECK(name.size > 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice whole = { (const char *)data, size };
    const char *newline = size ? memchr(data, '\n', size) : NULL;
    size_t first = newline ? (size_t)(newline - whole.data) : size;
    struct identity x, y;
    struct uri a, b;

    if (!check_one((struct slice){ whole.data, first }, &a) || !newline)
        return 0;
    if (!check_one((struct slice){ newline + 1, size - first - 1 }, &b))
        return 0;
    CHECK(uri_equal(&a, &b) == uri_equal(&b, &a));
    /* A tel: with parameters keeps them as written: it is no number that a rule could match. */
    if (a.scheme == URI_TEL && a.params.size > 0)
        return 0;
    if (uri_equal(&a, &b) && uri_identity(&a, &x) == ERROR_NONE &&
        uri_identity(&b, &y) == ERROR_NONE)
        CHECK(slice_equal(identity_text(&x), identity_text(&y)));
    return 0;
}
