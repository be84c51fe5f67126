/* SPDX-License-Identifier: Apache-2.0 */
/* What of a full handshake is kept in the client's ticket (RFC 8446 4.6.1, RFC 5077), and whether
 * it still holds: a resumed session has no chain of its own, so all that the chain was good for
 * stands here. Pure: no clock, no OpenSSL session. Only main's keys open a ticket
 * (proxy/tls/ticket_keys.h), so what is read was written by this process; lengths are checked all
 * the same.
 *
 *   what the ticket says                    against what holds now           else
 *   ---------------------------------------------------------------------------------------------
 *   the listener's name                     the listener's name              OTHER_LISTENER
 *   the host that was named (SNI), or none  the host named now               OTHER_HOST
 *   a certificate, or none                  what the listener asks for       CERTIFICATE
 *   the store that verified it              the listener's stores by name,   STORE
 *                                           with rules and anchors of it and
 *                                           of those tried before it
 *   issuer and serial number of each        the revocation lists             REVOKED
 *     certificate, as digests
 *   the earliest notAfter of the chain      the time                         EXPIRED
 *   the leaf                                a `good` by OCSP that is kept,   STATUS
 *                                           where the store asks for one
 *   when it was verified in full            the time, resumption_max         TOO_OLD
 *
 * What fails only makes the handshake a full one. Whether `blocked_certificate` names one of the
 * chain's is asked of mapperd after each handshake, resumed or not: the digests for it are in
 * `chain`. */
#ifndef HOLDLINE_TLS_TICKET_H
#define HOLDLINE_TLS_TICKET_H

#include "common/error.h"
#include "common/identity.h"
#include "proxy/tls/client_certificate.h"
#include "proxy/tls/trust_store.h"

#include <openssl/sha.h>

#define TICKET_HOST_SIZE 16
/* Of the application data; the chain's part is bounded by CHAIN_CERTIFICATES_MAX. */
#define TICKET_DATA_MAX 1536

struct ticket {
    unsigned char listener[SHA256_DIGEST_LENGTH]; /* of its name */
    unsigned char host[TICKET_HOST_SIZE];         /* a digest; all zero: none was named */
    uint64_t verified_unix_s;                     /* the full handshake, never a resumed one */
    char store[STORE_NAME_MAX + 1];               /* "": there was no certificate */
    unsigned char trust[SHA256_DIGEST_LENGTH];    /* ticket_trust_digest() of that store */
    struct trust_chain chain;                     /* certificate_count 0: no certificate */
};

/* What holds now. */
struct ticket_ground {
    const unsigned char *listener, *host;
    enum client_certificate client_certificate;
    const unsigned char *trust; /* of the store of that name; NULL: the listener has none */
    int revocation;             /* X509_V_OK, or what revocations_check() says of the links */
    bool status_good;           /* by OCSP, in force; or the store asks nobody */
    uint64_t now_unix_s, max_s;
};

enum ticket_verdict {
    TICKET_NONE = 0, /* none was shown */
    TICKET_ADMISSIBLE,
    TICKET_UNREADABLE, /* forged, or by a key that is gone */
    TICKET_OTHER_LISTENER,
    TICKET_OTHER_HOST,
    TICKET_CERTIFICATE,
    TICKET_STORE,
    TICKET_REVOKED,
    TICKET_EXPIRED,
    TICKET_STATUS,
    TICKET_TOO_OLD,
};
/* One word, for the log. Static. */
const char *ticket_verdict_text(enum ticket_verdict verdict);

/* By the table above, in its order; never TICKET_NONE or TICKET_UNREADABLE. */
enum ticket_verdict ticket_judge(const struct ticket *ticket, const struct ticket_ground *ground);
/* For how many seconds it will be admissible if nothing changes; 0: it is not. */
uint64_t ticket_left_s(const struct ticket *ticket, uint64_t now_unix_s, uint64_t max_s);

/* The size. */
size_t ticket_write(const struct ticket *ticket, unsigned char out[TICKET_DATA_MAX]);
/* ERROR_MALFORMED: it is none, or of another format. */
enum error ticket_read(struct slice data, struct ticket *out) MUST_CHECK;

/* Of a store and those that are tried before it, whose digest is `before` (NULL: it is the first):
 * names, what their rules ask of a chain, anchors. ERROR_LIBRARY, ERROR_MEMORY. */
enum error ticket_trust_digest(const struct trust_store *store, const unsigned char *before,
                               unsigned char out[SHA256_DIGEST_LENGTH]) MUST_CHECK;

#endif
