/* SPDX-License-Identifier: Apache-2.0 */
/* Literal IP addresses with a port, and which transport is spoken there. Pure; no name is ever
 * resolved here. */
#ifndef HOLDLINE_NET_ADDRESS_H
#define HOLDLINE_NET_ADDRESS_H

#include "common/error.h"
#include "common/slice.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum transport { TRANSPORT_NONE = 0, TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_TLS };

/* "UDP", "TCP", "TLS" as in Via; "?" for TRANSPORT_NONE. */
const char *transport_text(enum transport t);
/* "tls", "tcp", "udp" without case; false on anything else. */
bool transport_from_text(const char *text, enum transport *transport);
/* RFC 3261 17: over others than these a transaction repeats what it sends. */
static inline bool transport_is_reliable(enum transport t)
{
    return t == TRANSPORT_TCP || t == TRANSPORT_TLS;
}

/* family is AF_UNSPEC when there is none. */
struct address {
    union {
        sa_family_t family;
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

#define ADDRESS_TEXT_MAX 56 /* "[IPv6]:65535" with its NUL */

/* "192.0.2.1:5060" or "[2001:db8::1]:5060"; port 0..65535 is required. ERROR_MALFORMED on anything
 * else. */
enum error address_from_text(struct address *out, struct slice text) MUST_CHECK;
/* The same form; IPv4-mapped IPv6 is written as IPv4. out has ADDRESS_TEXT_MAX bytes. Gives back
 * out. */
const char *address_text(const struct address *a, char *out);
/* The address alone, IPv6 without brackets ("received" of Via). */
const char *address_host_text(const struct address *a, char *out);
uint16_t address_port(const struct address *a);
void address_set_port(struct address *a, uint16_t port);
socklen_t address_size(const struct address *a);
/* 0.0.0.0 or [::]. */
bool address_is_wildcard(const struct address *a);
/* The same host and port. */
bool address_equal(const struct address *a, const struct address *b);
/* The same host, whatever the port; an IPv4-mapped IPv6 address equals its IPv4 one. False for
 * AF_UNSPEC. */
bool address_same_host(const struct address *a, const struct address *b);

#endif
