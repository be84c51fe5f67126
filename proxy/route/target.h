/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request wants to go, read from its Request-URI and Route headers (RFC
 * 3261 16.4, 16.5, 16.12). Pure: what it means for permission is decided elsewhere. Nothing in a
 * Route is ever dialled. */
#ifndef HOLDLINE_ROUTE_TARGET_H
#define HOLDLINE_ROUTE_TARGET_H

#include "common/identity.h"
#include "common/policy.h"
#include "proxy/config.h"
#include "proxy/sip/message.h"

/* URI parameter of our Record-Route that holds the dialog token. */
#define TARGET_TOKEN_PARAM "t"

enum target_kind_of_request {
    REQUEST_TARGET_NONE = 0,
    REQUEST_TARGET_DOMAIN,  /* no user part: for ourselves, if the domain is ours */
    REQUEST_TARGET_USER,    /* user@domain: a registered user, if the domain is ours */
    REQUEST_TARGET_ROUTE,   /* a domain that a configured route serves */
    REQUEST_TARGET_NUMBER,  /* a tel: URI; number_route leads there */
    REQUEST_TARGET_SERVICE, /* of RFC 5031; route is NULL when none serves it */
    REQUEST_TARGET_PROXY,   /* our own address without user part: for ourselves */
};

/* By which host and port a Route or Request-URI means this proxy: what its listeners advertise, and
 * the aliases with any of those ports. */
#define OWN_NAMES_MAX 32

struct own_name {
    char host[256];
    uint16_t port;
};

struct own_names {
    size_t count;
    struct own_name names[OWN_NAMES_MAX];
    const char *const *aliases; /* hosts, canonical; the configuration's */
    size_t alias_count;
};

/* Adds "host:port" ([IPv6]:port too); doubles and what does not fit are left out. NULL is harmless.
 */
void own_names_add(struct own_names *names, const char *advertised);

struct request_target {
    enum target_kind_of_request kind;
    struct slice uri_text;    /* the Request-URI to use: the message's, or the last Route's after a
                                 strict router */
    struct uri uri;           /* that, parsed */
    struct identity identity; /* canonical: user@domain, domain, or a bare number of a tel: URI */
    const struct config_route *route;
    struct number_plan plan; /* by which rules read it as a number */
    /* Of NUMBER, and of a USER whose user part is a number, if a route takes it: the USER goes
     * there when nobody of ours has that number. */
    const struct config_route *number_route; /* NULL: none does */
    struct identity number;                  /* as it leaves there, for rights; without domain */
    bool strict; /* the Request-URI was ours and the last Route value takes its place (16.4) */
    unsigned own_routes; /* how many topmost Route values are ours, to be taken off */
    bool foreign_route;  /* a Route value that is not ours remains */
    const struct config_route
        *next_hop;      /* that the first of them leads to; NULL: to none of ours */
    struct slice token; /* from the topmost value of ours that has one; data == NULL: none */
};

/* REASON_ALLOWED when `out` is filled; else what to answer: MALFORMED (a Route that is none, a user
 * or host without canonical form), SCHEME_UNSUPPORTED. Slices of `out` point into the message and
 * the configuration. */
enum reason target_read(const struct message *message, const struct config *config,
                        const struct own_names *names, struct request_target *out) MUST_CHECK;

/* The same for whom a URI means that the other side is to send a request to, as Refer-To's; headers
 * in it are his business. Its kind is NONE for a scheme that nothing is sent to through us. */
enum reason target_read_referred(struct slice uri, const struct config *config,
                                 const struct own_names *names,
                                 struct request_target *out) MUST_CHECK;

/* For a trusted peer's request with a Route that is not ours: it goes to the configured route that
 * this Route names by its domain or address, and the target, for rights, is the user at that
 * route's domain. ROUTE_NOT_PERMITTED: no such route, or nothing that a rule could be about. */
enum reason target_follow_route(struct request_target *target) MUST_CHECK;

/* A number doesn't go back by the route that it came by. */
void target_not_back(struct request_target *target, const char *route_name);

/* What to answer where nobody of this target can be reached: of RIGHTS or LOCATE for it. */
enum reason target_reason_of_nobody(enum user_state state);

/* Whether host and port of a URI name this proxy. */
bool target_is_ours(const struct own_names *names, const struct uri *uri);

#endif
