/* SPDX-License-Identifier: Apache-2.0 */
/* SIP, SIPS and tel URIs (RFC 3261 19.1, 25.1; RFC 3966), the URNs of services (RFC 5031) and,
 * opaque, any other scheme. Strict: no
 * white space, whole escapes, one '@', known forms of host. Slices point into the text that was
 * parsed. Pure; any thread. */
#ifndef HOLDLINE_SIP_URI_H
#define HOLDLINE_SIP_URI_H

#include "common/error.h"
#include "common/identity.h"
#include "common/slice.h"

#include <stdint.h>

enum uri_scheme { URI_NONE = 0, URI_SIP, URI_SIPS, URI_TEL, URI_SERVICE, URI_OTHER };

struct uri {
    enum uri_scheme scheme;
    struct slice text; /* all of it */
    struct slice user; /* escapes kept; empty: no user part (an empty one before '@' is malformed).
                          tel: the number as written */
    struct slice password; /* escapes kept */
    struct slice host; /* IPv6 with its brackets; tel: empty. Other schemes: all behind the colon */
    uint16_t port;     /* 0: none; ":0" is malformed */
    struct slice params;  /* from the first ';'; empty if there are none */
    struct slice headers; /* behind '?', without it */
};

/* Bounds besides the message's own: more parameters or headers in one URI are malformed. */
#define URI_PARAMS_MAX 32

/* Reads all of `text`. ERROR_MALFORMED: broken grammar, a parameter twice, a port outside 1..65535,
 * a host that is neither name, IPv4 nor [IPv6]; a tel: without digits, or a local number without
 * phone-context (RFC 3966 5.1.5); a urn:service: whose name is none, or that has more than it. */
enum error uri_parse(struct slice text, struct uri *out) MUST_CHECK;

/* A URI parameter by name: without case, escapes decoded on the URI's side (";%6c%72" is ";lr").
 * *value (may be NULL) is as written, empty for a parameter without value. False: not there. */
bool uri_param(const struct uri *uri, struct slice name, struct slice *value);
/* The same in two steps: all parameters one by one; `rest` starts as uri->params. ERROR_NOT_FOUND
 * at the end. */
enum error uri_next_param(struct slice *rest, struct slice *name, struct slice *value) MUST_CHECK;

/* A header of the URI, behind its '?', by name: without case, escapes decoded. */
bool uri_has_header(const struct uri *uri, struct slice name);

/* The text without its headers, which no Request-URI has (RFC 3261 19.1.1, 16.6 step 2). */
struct slice uri_without_headers(const struct uri *uri);

/* ";lr" is there, in whatever spelling, with or without value: the next hop routes loosely. */
bool uri_is_loose(const struct uri *uri);

/* The canonical identity of a sip, sips or tel URI or of a service; `;user=phone` counts as a
 * number. A tel: with parameters keeps them and is no plain number. ERROR_MALFORMED: another
 * scheme, or what identity_from_parts() refuses. ERROR_TOO_LARGE. */
enum error uri_identity(const struct uri *uri, struct identity *out) MUST_CHECK;

/* Whether a parameter that redirects a number (rn, cic, npdi, tgrp, trunk-context, postd,
 * phone-context) stands among the URI's or inside its user part, in whatever spelling: such a URI
 * is no plain number, however its user looks. */
bool uri_has_routing_param(const struct uri *uri);

/* RFC 3261 19.1.4 for sip and sips (escapes decoded, user and password with case, the rest without;
 * user, ttl, method, maddr, transport and headers must agree); RFC 3966 4 for tel; services
 * without case (RFC 5031 4.2); byte by byte for other schemes. */
bool uri_equal(const struct uri *a, const struct uri *b);

/* The port to use where none is written: 5061 for sips, else 5060. */
uint16_t uri_default_port(const struct uri *uri);

/* Name, IPv4 address or [IPv6 address], as RFC 3261 25.1 has them; an all-digit last label must be
 * a whole IPv4 address. */
bool uri_is_host(struct slice host);

#endif
