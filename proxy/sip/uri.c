/* SPDX-License-Identifier: Apache-2.0 */
/* SIP, SIPS and tel URIs, and services. */
#include "proxy/sip/uri.h"

#include "proxy/sip/scan_internal.h"

#include <arpa/inet.h>

/* Characters of the classes and whole escapes, all of s. */
static bool is_escaped_run(struct slice s, unsigned classes)
{
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] != '%' && char_is(s.data[i], classes))
            continue;
        if (s.data[i] != '%' || s.size - i < 3 || !char_is(s.data[i + 1], CHAR_HEX) ||
            !char_is(s.data[i + 2], CHAR_HEX))
            return false;
        i += 2;
    }
    return true;
}

static unsigned hex_value(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : char_lower(c) - 'a' + 10);
}

/* The next character of a URI part that is_escaped_run() has passed. An escaped reserved character
 * is not the plain one (19.1.4), so it comes out with ESCAPED set. */
#define ESCAPED 0x100u
static unsigned next_char(struct slice *s)
{
    unsigned c = (unsigned char)s->data[0];

    if (c != '%') {
        *s = slice_skip(*s, 1);
        return c;
    }
    c = hex_value(s->data[1]) << 4 | hex_value(s->data[2]);
    *s = slice_skip(*s, 3);
    return char_is((char)c, CHAR_RESERVED) ? c | ESCAPED : c;
}

static unsigned lower(unsigned c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20u : c;
}

static bool equal_decoded(struct slice a, struct slice b, bool nocase)
{
    while (a.size > 0 && b.size > 0) {
        unsigned x = next_char(&a), y = next_char(&b);

        if (x != y && !(nocase && lower(x) == lower(y)))
            return false;
    }
    return a.size == 0 && b.size == 0;
}

static bool is_ipv6(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (s.size >= sizeof(text) || memchr(s.data, '\0', s.size))
        return false;
    memcpy(text, s.data, s.size);
    text[s.size] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* Four numbers of at most three digits, each at most 255. No leading zeros: some read them as
 * octal. */
static bool is_ipv4(struct slice s)
{
    for (unsigned part = 0; part < 4; part++) {
        size_t digits = scan_run(s, CHAR_DIGIT);
        uint32_t value;

        if (digits > 3 || (digits > 1 && s.data[0] == '0') ||
            header_parse_number(slice_first(s, digits), 255, &value) != ERROR_NONE)
            return false;
        s = slice_skip(s, digits);
        if (part < 3) {
            if (!slice_starts(s, '.'))
                return false;
            s = slice_skip(s, 1);
        }
    }
    return s.size == 0;
}

/* Labels of letters, digits and inner hyphens; one dot at the end is allowed. The last begins with
 * a letter, so that no number in any spelling is taken for a name. */
static bool is_hostname(struct slice s)
{
    struct slice label = { s.data, 0 };

    if (s.size > 1 && s.data[s.size - 1] == '.')
        s.size--;
    for (size_t i = 0; i <= s.size; i++) {
        if (i < s.size && s.data[i] != '.') {
            if (!char_is(s.data[i], CHAR_HOST))
                return false;
            continue;
        }
        label.size = (size_t)(s.data + i - label.data);
        if (label.size == 0 || label.data[0] == '-' || label.data[label.size - 1] == '-')
            return false;
        if (i < s.size)
            label = (struct slice){ s.data + i + 1, 0 };
    }
    return char_is(label.data[0], CHAR_ALPHA);
}

bool uri_is_host(struct slice host)
{
    if (host.size == 0)
        return false;
    if (host.data[0] == '[')
        return host.size > 2 && host.data[host.size - 1] == ']' &&
               is_ipv6((struct slice){ host.data + 1, host.size - 2 });
    return is_hostname(host) || is_ipv4(host);
}

enum error uri_next_param(struct slice *rest, struct slice *name, struct slice *value)
{
    struct slice param;
    const char *end, *equals;

    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    if (rest->data[0] != ';')
        return ERROR_MALFORMED;
    param = slice_skip(*rest, 1);
    end = memchr(param.data, ';', param.size);
    if (end)
        param.size = (size_t)(end - param.data);
    *rest = slice_skip(*rest, param.size + 1);
    equals = memchr(param.data, '=', param.size);
    *name = equals ? slice_first(param, (size_t)(equals - param.data)) : param;
    *value = slice_skip(param, equals ? name->size + 1 : param.size);
    return ERROR_NONE;
}

/* All of `params`: names and values of the grammar, none twice. */
static bool params_are_well(struct slice params)
{
    struct slice names[URI_PARAMS_MAX], name, value;
    size_t count = 0;
    enum error e;

    while ((e = uri_next_param(&params, &name, &value)) == ERROR_NONE) {
        if (name.size == 0 || count == URI_PARAMS_MAX || !is_escaped_run(name, CHAR_PARAM) ||
            !is_escaped_run(value, CHAR_PARAM))
            return false;
        for (size_t i = 0; i < count; i++)
            if (equal_decoded(names[i], name, true))
                return false;
        names[count++] = name;
    }
    return e == ERROR_NOT_FOUND;
}

/* `rest` is the headers of a URI; moved on behind the next '&'. */
static enum error next_header(struct slice *rest, struct slice *name, struct slice *value)
{
    struct slice header = *rest;
    const char *end, *equals;

    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    end = memchr(header.data, '&', header.size);
    if (end)
        header.size = (size_t)(end - header.data);
    *rest = slice_skip(*rest, header.size + (end ? 1 : 0));
    if (end && rest->size == 0)
        return ERROR_MALFORMED;
    equals = memchr(header.data, '=', header.size);
    if (!equals || equals == header.data)
        return ERROR_MALFORMED;
    *name = slice_first(header, (size_t)(equals - header.data));
    *value = slice_skip(header, name->size + 1);
    return ERROR_NONE;
}

static bool headers_are_well(struct slice headers)
{
    struct slice name, value;
    unsigned count = 0;
    enum error e;

    while ((e = next_header(&headers, &name, &value)) == ERROR_NONE)
        if (++count > URI_PARAMS_MAX || !is_escaped_run(name, CHAR_URI_HEADER) ||
            !is_escaped_run(value, CHAR_URI_HEADER))
            return false;
    return e == ERROR_NOT_FOUND && count > 0;
}

/* user[:password]@ */
static bool take_userinfo(struct slice *s, struct uri *out)
{
    const char *at = memchr(s->data, '@', s->size), *colon;
    struct slice info;

    if (!at)
        return true;
    info = slice_first(*s, (size_t)(at - s->data));
    *s = slice_skip(*s, info.size + 1);
    colon = memchr(info.data, ':', info.size);
    out->user = colon ? slice_first(info, (size_t)(colon - info.data)) : info;
    if (colon)
        out->password = slice_skip(info, out->user.size + 1);
    return out->user.size > 0 && is_escaped_run(out->user, CHAR_USER) &&
           is_escaped_run(out->password, CHAR_PASSWORD);
}

/* host[:port] */
static bool take_host(struct slice *s, struct uri *out)
{
    size_t size = 0;
    uint32_t port;

    if (slice_starts(*s, '[')) {
        const char *closing = memchr(s->data, ']', s->size);

        size = closing ? (size_t)(closing - s->data) + 1 : 0;
    } else {
        size = scan_run(*s, CHAR_HOST);
    }
    out->host = slice_first(*s, size);
    *s = slice_skip(*s, size);
    if (!uri_is_host(out->host))
        return false;
    if (!slice_starts(*s, ':'))
        return true;
    *s = slice_skip(*s, 1);
    size = scan_run(*s, CHAR_DIGIT);
    if (header_parse_number(slice_first(*s, size), UINT16_MAX, &port) != ERROR_NONE || port == 0)
        return false;
    out->port = (uint16_t)port;
    *s = slice_skip(*s, size);
    return true;
}

static enum error parse_sip(struct slice s, struct uri *out)
{
    const char *question;

    if (!take_userinfo(&s, out) || !take_host(&s, out))
        return ERROR_MALFORMED;
    if (s.size == 0)
        return ERROR_NONE;
    if (s.data[0] != ';' && s.data[0] != '?')
        return ERROR_MALFORMED;
    question = memchr(s.data, '?', s.size);
    out->params = question ? slice_first(s, (size_t)(question - s.data)) : s;
    if (!params_are_well(out->params))
        return ERROR_MALFORMED;
    if (question) {
        out->headers = slice_skip(s, out->params.size + 1);
        if (!headers_are_well(out->headers))
            return ERROR_MALFORMED;
    }
    return ERROR_NONE;
}

static bool is_separator(char c)
{
    return c == '-' || c == '.' || c == '(' || c == ')';
}

static enum error parse_tel(struct slice s, struct uri *out)
{
    const char *semicolon = memchr(s.data, ';', s.size);
    struct slice number = semicolon ? slice_first(s, (size_t)(semicolon - s.data)) : s;
    bool global = slice_starts(number, '+');
    struct slice digits = slice_skip(number, global ? 1 : 0);
    bool any = false;

    for (size_t i = 0; i < digits.size; i++) {
        char c = digits.data[i];
        bool separator = is_separator(c);

        if (!char_is(c, CHAR_NUMBER) || (global && !separator && !char_is(c, CHAR_DIGIT)))
            return ERROR_MALFORMED;
        any = any || !separator;
    }
    if (!any)
        return ERROR_MALFORMED;
    out->user = number;
    if (semicolon) {
        out->params = slice_skip(s, number.size);
        if (!params_are_well(out->params))
            return ERROR_MALFORMED;
    }
    return global || uri_param(out, SLICE("phone-context"), NULL) ? ERROR_NONE : ERROR_MALFORMED;
}

static enum error parse_other(struct slice text, struct slice s, struct uri *out)
{
    struct slice scheme = slice_first(text, text.size - s.size - 1);

    if (scheme.size == 0 || !char_is(scheme.data[0], CHAR_ALPHA))
        return ERROR_MALFORMED;
    for (size_t i = 0; i < scheme.size; i++)
        if (!char_is(scheme.data[i], CHAR_HOST) && scheme.data[i] != '+')
            return ERROR_MALFORMED;
    out->host = s;
    return s.size > 0 && is_escaped_run(s, CHAR_URI) ? ERROR_NONE : ERROR_MALFORMED;
}

/* No escapes in it, so that a service has one spelling but for its case (RFC 5031 4.2). */
static bool is_service_urn(struct slice scheme, struct slice rest)
{
    const struct slice prefix = SLICE("service:");

    return slice_equal_nocase(scheme, SLICE("urn")) && rest.size >= prefix.size &&
           slice_equal_nocase(slice_first(rest, prefix.size), prefix);
}

static enum error parse_service(struct slice text, struct slice rest, struct uri *out)
{
    struct identity service;

    out->host = rest;
    return identity_from_service(&service, text) == ERROR_NONE ? ERROR_NONE : ERROR_MALFORMED;
}

enum error uri_parse(struct slice text, struct uri *out)
{
    const struct slice none = { "", 0 };
    const char *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
    struct slice scheme, rest;

    *out = (struct uri){ URI_NONE, text, none, none, none, 0, none, none };
    if (!colon)
        return ERROR_MALFORMED;
    scheme = slice_first(text, (size_t)(colon - text.data));
    rest = slice_skip(text, scheme.size + 1);
    if (slice_equal_nocase(scheme, SLICE("sip")))
        out->scheme = URI_SIP;
    else if (slice_equal_nocase(scheme, SLICE("sips")))
        out->scheme = URI_SIPS;
    else if (slice_equal_nocase(scheme, SLICE("tel")))
        out->scheme = URI_TEL;
    else if (is_service_urn(scheme, rest))
        out->scheme = URI_SERVICE;
    else
        out->scheme = URI_OTHER;
    switch (out->scheme) {
    case URI_SIP:
    case URI_SIPS:
        return parse_sip(rest, out);
    case URI_TEL:
        return parse_tel(rest, out);
    case URI_SERVICE:
        return parse_service(text, rest, out);
    case URI_OTHER:
    case URI_NONE:
        break;
    }
    return parse_other(text, rest, out);
}

/* Without case, escapes decoded; a parameter's name holds no character that its escape would be
 * kept apart from. */
static bool param_name_is(struct slice written, struct slice name)
{
    for (; written.size > 0 && name.size > 0; name = slice_skip(name, 1))
        if (lower(next_char(&written) & 0xffu) != lower((unsigned char)name.data[0]))
            return false;
    return written.size == 0 && name.size == 0;
}

bool uri_param(const struct uri *uri, struct slice name, struct slice *value)
{
    struct slice rest = uri->params, found, text;

    while (uri_next_param(&rest, &found, &text) == ERROR_NONE) {
        if (!param_name_is(found, name))
            continue;
        if (value)
            *value = text;
        return true;
    }
    return false;
}

bool uri_has_header(const struct uri *uri, struct slice name)
{
    struct slice rest = uri->headers, found, value;

    while (next_header(&rest, &found, &value) == ERROR_NONE)
        if (param_name_is(found, name))
            return true;
    return false;
}

struct slice uri_without_headers(const struct uri *uri)
{
    return slice_first(uri->text, uri->text.size - (uri->headers.size ? uri->headers.size + 1 : 0));
}

bool uri_is_loose(const struct uri *uri)
{
    return uri_param(uri, SLICE("lr"), NULL);
}

/* Of RFC 3966, 4694, 4904 and of the tel: URIs before them: they change what a number reaches. */
static const char *const routing_params[] = {
    "rn",   "rn-context",    "cic",   "cic-context",  "npdi",
    "tgrp", "trunk-context", "postd", "phone-context"
};

static bool is_routing_param(struct slice name)
{
    for (size_t i = 0; i < sizeof(routing_params) / sizeof(routing_params[0]); i++)
        if (param_name_is(name, slice_of(routing_params[i])))
            return true;
    return false;
}

/* The front of s up to an '=' or ';', plain or escaped; s is moved behind it. */
static struct slice take_up_to_mark(struct slice *s, bool *ends_name)
{
    struct slice start = *s;

    while (s->size > 0) {
        size_t before = s->size;
        unsigned c = next_char(s) & 0xffu;

        if (c == ';' || c == '=') {
            *ends_name = c == '=';
            return slice_first(start, start.size - before);
        }
    }
    *ends_name = false;
    return start;
}

bool uri_has_routing_param(const struct uri *uri)
{
    struct slice rest = uri->params, user = uri->user, name, value;
    bool in_value = true, ends_name;

    while (uri_next_param(&rest, &name, &value) == ERROR_NONE)
        if (is_routing_param(name))
            return true;
    /* In the user part: what stands between ';' and '=' or the next ';'. */
    while (user.size > 0) {
        name = take_up_to_mark(&user, &ends_name);
        if (!in_value && is_routing_param(name))
            return true;
        in_value = ends_name;
    }
    return false;
}

enum error uri_identity(const struct uri *uri, struct identity *out)
{
    struct slice user;

    switch (uri->scheme) {
    case URI_SIP:
    case URI_SIPS:
        return identity_from_parts(out, uri->user, uri->host,
                                   uri_param(uri, SLICE("user"), &user) &&
                                       equal_decoded(user, SLICE("phone"), true));
    case URI_TEL:
        /* With its parameters, which may lead elsewhere: then it is no plain number. */
        return identity_from_parts(
            out, (struct slice){ uri->user.data, uri->user.size + uri->params.size },
            (struct slice){ "", 0 }, true);
    case URI_SERVICE:
        return identity_from_service(out, uri->text);
    case URI_NONE:
    case URI_OTHER:
        break;
    }
    return ERROR_MALFORMED;
}

uint16_t uri_default_port(const struct uri *uri)
{
    return uri->scheme == URI_SIPS ? 5061 : 5060;
}

/* Parameters that must agree even when only one of the URIs has them. RFC 3261 names user, ttl,
 * method and maddr; transport is among them by its examples. */
static bool param_must_match(struct slice name)
{
    return param_name_is(name, SLICE("user")) || param_name_is(name, SLICE("ttl")) ||
           param_name_is(name, SLICE("method")) || param_name_is(name, SLICE("maddr")) ||
           param_name_is(name, SLICE("transport"));
}

static bool find_param(struct slice params, struct slice name, struct slice *value)
{
    struct slice found;

    while (uri_next_param(&params, &found, value) == ERROR_NONE)
        if (equal_decoded(found, name, true))
            return true;
    return false;
}

/* Each parameter of a: the same in b, or absent there and one that may be. With `strict` it must be
 * there. */
static bool params_agree(const struct uri *a, const struct uri *b, bool strict)
{
    struct slice rest = a->params, name, value, other;

    while (uri_next_param(&rest, &name, &value) == ERROR_NONE) {
        if (find_param(b->params, name, &other)) {
            if (!equal_decoded(value, other, true))
                return false;
        } else if (strict || param_must_match(name)) {
            return false;
        }
    }
    return true;
}

/* Each header of a stands in b. */
static bool headers_within(struct slice a, struct slice b, unsigned *count)
{
    struct slice name, value, name_b, value_b;

    for (*count = 0; next_header(&a, &name, &value) == ERROR_NONE; ++*count) {
        struct slice rest = b;
        bool found = false;

        while (!found && next_header(&rest, &name_b, &value_b) == ERROR_NONE)
            found = equal_decoded(name, name_b, true) && equal_decoded(value, value_b, false);
        if (!found)
            return false;
    }
    return true;
}

/* Without visual separators (RFC 3966 4). */
static bool equal_numbers(struct slice a, struct slice b)
{
    for (;;) {
        while (a.size > 0 && is_separator(a.data[0]))
            a = slice_skip(a, 1);
        while (b.size > 0 && is_separator(b.data[0]))
            b = slice_skip(b, 1);
        if (a.size == 0 || b.size == 0)
            return a.size == b.size;
        if (char_lower(a.data[0]) != char_lower(b.data[0]))
            return false;
        a = slice_skip(a, 1);
        b = slice_skip(b, 1);
    }
}

bool uri_equal(const struct uri *a, const struct uri *b)
{
    unsigned headers_a, headers_b;

    if (a->scheme != b->scheme || a->scheme == URI_NONE)
        return false;
    if (a->scheme == URI_OTHER)
        return slice_equal(a->text, b->text);
    if (a->scheme == URI_SERVICE)
        return slice_equal_nocase(a->text, b->text);
    if (a->scheme == URI_TEL) {
        return params_agree(a, b, true) && params_agree(b, a, true) &&
               equal_numbers(a->user, b->user);
    }
    return equal_decoded(a->user, b->user, false) &&
           equal_decoded(a->password, b->password, false) && slice_equal_nocase(a->host, b->host) &&
           a->port == b->port && params_agree(a, b, false) && params_agree(b, a, false) &&
           headers_within(a->headers, b->headers, &headers_a) &&
           headers_within(b->headers, a->headers, &headers_b) && headers_a == headers_b;
}
