/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker of this configuration would decide about one request, found out by its own code:
 * certificate, trusted peers, target, lookups at mapperd, decide(). For `mapctl check`: it blocks,
 * on a loop of its own, writes nothing, reports nothing to mapperd. Any thread without a worker. */
#ifndef HOLDLINE_PROXY_CHECK_H
#define HOLDLINE_PROXY_CHECK_H

#include "common/policy.h"
#include "proxy/tls/peer_identity.h"

struct config;
struct config_listener;

enum check_shown {
    CHECK_SHOWS_NOTHING = 0, /* no certificate */
    CHECK_SHOWS_CERTIFICATE, /* `pem`: its own first, then what leads to the anchor */
    CHECK_SHOWS_NAMES        /* one that is taken for granted: `identity` */
};

struct check_question {
    const struct config_listener *listener; /* over TLS */
    enum check_shown shown;
    struct slice pem;
    struct peer_identity identity;
    const char *mapperd_socket; /* instead of the configuration's; NULL: that */
    struct slice method;
    struct identity from;
    const char *target; /* the Request-URI; of a REGISTER the URI of To */
};

struct check_result {
    struct peer_identity *peer; /* who it is; NULL without certificate */
    const char *trusted;        /* the trusted peer that this is; the configuration's; or NULL */
    const char *tls_alert;      /* why the handshake would fail; NULL: it would not */
    const char *ocsp; /* what the responder says, or that it says nothing; NULL: nobody is asked */
    enum effect effect;
    enum reason reason;   /* of a DENY or CHALLENGE; ALLOWED */
    enum reason delivery; /* after an ALLOW: ALLOWED, or what is answered since nobody is there */
    uint64_t rule_id;
    struct identity target;       /* canonical */
    char entry[IDENTITY_MAX + 1]; /* what admitted From; "" when nothing did */
};

/* Waits up to timeout_ms for mapperd, and up to ocsp_timeout for an OCSP responder where a store
 * has one asked. ERROR_MALFORMED: a certificate or a target that cannot be read, *why (static text)
 * says which; ERROR_UNREACHABLE: mapperd has not answered; ERROR_MEMORY. Give the result back with
 * check_result_free(), also on failure. */
enum error check_run(const struct config *config, const struct check_question *question,
                     unsigned timeout_ms, struct check_result *result, const char **why) MUST_CHECK;
void check_result_free(struct check_result *result);

/* The listener of that name over TLS; NULL: there is none. */
const struct config_listener *check_find_listener(const struct config *config, const char *name);

#endif
