/* SPDX-License-Identifier: Apache-2.0 */
/* What a trust store asks of a chain, and what it lets a certificate say. */
#ifndef HOLDLINE_TLS_TRUST_RULES_H
#define HOLDLINE_TLS_TRUST_RULES_H

#include <stdbool.h>

#define CHAIN_CERTIFICATES_MAX 10 /* of a verified chain, leaf to anchor */

/* Whose chains are verified. */
enum trust_role {
    TRUST_OF_CLIENTS = 0, /* that connect to us */
    TRUST_OF_SERVERS,     /* that we connect to */
};

/* Of the extended key usage, in every certificate of a chain (RFC 5280 4.2.1.12, RFC 5924).
 * `usage` is clientAuth of a client, serverAuth of a server: the other one never counts. */
enum key_usage_rule {
    KEY_USAGE_REQUIRE =
        0,            /* the leaf names id-kp-sipDomain; an authority that has one, too, or any */
    KEY_USAGE_ACCEPT, /* absent, or one of any, `usage`, id-kp-sipDomain */
    KEY_USAGE_IGNORE, /* not looked at */
};

/* Where identities of a peer may come from; a set. */
enum identity_source {
    SOURCE_MAPPING = 1 << 0,   /* rows of the database for its CN */
    SOURCE_SAN_URI = 1 << 1,   /* sip: URIs of the subjectAltName */
    SOURCE_SAN_DNS = 1 << 2,   /* its DNS names, if there is no sip: URI */
    SOURCE_CN_DOMAIN = 1 << 3, /* the CN as a domain, if there is no subjectAltName at all */
    SOURCE_SAN_EMAIL = 1 << 4, /* its e-mail addresses as sip: URIs */
};
#define SOURCES_USUAL (SOURCE_MAPPING | SOURCE_SAN_URI | SOURCE_SAN_DNS)

/* Of revocation lists (RFC 5280 6.3). */
enum crl_rule {
    CRL_REQUIRED = 0, /* each authority of a chain but the anchor's has one that is in force */
    CRL_IF_PRESENT,   /* one that is there counts */
    CRL_OFF,
};

/* Of OCSP (RFC 6960), about the leaf. A signed `revoked` refuses by each but OFF. */
enum ocsp_rule {
    OCSP_REQUIRED = 0, /* a `good` that is in force */
    OCSP_IF_ANSWERED,  /* no answer, a late one or `unknown` lets pass */
    OCSP_OFF,          /* nobody is asked */
};

#define TRUST_LEVEL_USUAL 2 /* a store below it is warned of */

struct trust_rules {
    enum trust_role role;
    int security_level; /* OpenSSL's, 0 to 5 */
    enum key_usage_rule key_usage;
    unsigned sources; /* of enum identity_source */
    enum crl_rule crl;
    bool crl_expired_accepted; /* one whose nextUpdate is over is used on */
    enum ocsp_rule ocsp;
    const char *ocsp_responder; /* URL; NULL: the certificate's own. Lives as long as the store */
};
#define TRUST_RULES_USUAL                                       \
    ((struct trust_rules){ .security_level = TRUST_LEVEL_USUAL, \
                           .key_usage = KEY_USAGE_ACCEPT,       \
                           .sources = SOURCES_USUAL,            \
                           .crl = CRL_OFF,                      \
                           .ocsp = OCSP_OFF })

#endif
