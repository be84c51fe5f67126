/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of addresses: inet_pton() and inet_ntop() with the port around them. */
#include "proxy/net/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *transport_text(enum transport t)
{
    switch (t) {
    case TRANSPORT_NONE:
        return "?";
    case TRANSPORT_UDP:
        return "UDP";
    case TRANSPORT_TCP:
        return "TCP";
    case TRANSPORT_TLS:
        return "TLS";
    }
    return "?";
}

bool transport_from_text(const char *text, enum transport *transport)
{
    static const enum transport all[] = { TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_TLS };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcasecmp(text, transport_text(all[i])) == 0) {
            *transport = all[i];
            return true;
        }
    return false;
}

/* The host part, brackets taken off when `bracketed`. */
static bool host_from_text(struct address *out, struct slice host, bool bracketed)
{
    char text[INET6_ADDRSTRLEN];
    if (host.size == 0 || host.size >= sizeof(text) || memchr(host.data, 0, host.size))
        return false;
    memcpy(text, host.data, host.size);
    text[host.size] = 0;
    if (bracketed) {
        out->v6.sin6_family = AF_INET6;
        return inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1;
    }
    out->v4.sin_family = AF_INET;
    return inet_pton(AF_INET, text, &out->v4.sin_addr) == 1;
}

enum error address_from_text(struct address *out, struct slice text)
{
    memset(out, 0, sizeof(*out));
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon < 2)
        return ERROR_MALFORMED;
    struct slice host = { text.data, colon - 1 };
    struct slice port = { text.data + colon, text.size - colon };
    bool bracketed = host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']';
    if (bracketed)
        host = (struct slice){ host.data + 1, host.size - 2 };
    unsigned long long number;
    if (!host_from_text(out, host, bracketed) || port.size > 5 ||
        !slice_to_u64(port, UINT16_MAX, &number)) {
        memset(out, 0, sizeof(*out));
        return ERROR_MALFORMED;
    }
    address_set_port(out, (uint16_t)number);
    return ERROR_NONE;
}

/* IPv4 as it stands or mapped into IPv6. */
static bool address_v4(const struct address *a, struct in_addr *v4)
{
    if (a->family == AF_INET) {
        *v4 = a->v4.sin_addr;
        return true;
    }
    if (a->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
        return false;
    memcpy(v4, a->v6.sin6_addr.s6_addr + 12, sizeof(*v4));
    return true;
}

const char *address_host_text(const struct address *a, char *out)
{
    struct in_addr v4;
    out[0] = 0;
    if (address_v4(a, &v4))
        inet_ntop(AF_INET, &v4, out, ADDRESS_TEXT_MAX);
    else if (a->family == AF_INET6)
        inet_ntop(AF_INET6, &a->v6.sin6_addr, out, ADDRESS_TEXT_MAX);
    return out;
}

const char *address_text(const struct address *a, char *out)
{
    char host[ADDRESS_TEXT_MAX];
    const char *format = strchr(address_host_text(a, host), ':') ? "[%s]:%u" : "%s:%u";
    snprintf(out, ADDRESS_TEXT_MAX, format, host, (unsigned)address_port(a));
    return out;
}

uint16_t address_port(const struct address *a)
{
    if (a->family == AF_INET)
        return ntohs(a->v4.sin_port);
    return a->family == AF_INET6 ? ntohs(a->v6.sin6_port) : 0;
}

void address_set_port(struct address *a, uint16_t port)
{
    if (a->family == AF_INET)
        a->v4.sin_port = htons(port);
    else if (a->family == AF_INET6)
        a->v6.sin6_port = htons(port);
}

socklen_t address_size(const struct address *a)
{
    return a->family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

bool address_is_wildcard(const struct address *a)
{
    struct in_addr v4;
    if (address_v4(a, &v4))
        return v4.s_addr == htonl(INADDR_ANY);
    return a->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    struct in_addr a4, b4;
    bool a_is_v4 = address_v4(a, &a4), b_is_v4 = address_v4(b, &b4);
    if (a_is_v4 || b_is_v4)
        return a_is_v4 && b_is_v4 && a4.s_addr == b4.s_addr;
    return a->family == AF_INET6 && b->family == AF_INET6 &&
           memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return address_same_host(a, b) && address_port(a) == address_port(b);
}
