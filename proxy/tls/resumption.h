/* SPDX-License-Identifier: Apache-2.0 */
/* Session resumption by stateless tickets, between OpenSSL and proxy/tls/ticket.h: what goes into a
 * ticket, which are let in, what a resumed session takes over. Nothing is kept here about clients.
 *
 *   full handshake        → a ticket with what was verified now
 *   a ticket is shown     → tried TICKETS_TRIED_MAX times in a handshake; opened, judged; else full
 *   resumed, TLS 1.3      → another ticket, with the time of the old verification (used once, so
 *                           that nobody on the way can tell that two connections are one phone's)
 *   resumed, TLS 1.2      → another one only when its key seals no more
 *
 * No ticket: for TLS 1.2 without extended master secret (RFC 7627 5.3), for a certificate of more
 * than TICKET_CERTIFICATE_MAX bytes, without keys. Never early data; never PSK without (EC)DHE. One
 * thread: the connection's; the keys are shared. */
#ifndef HOLDLINE_TLS_RESUMPTION_H
#define HOLDLINE_TLS_RESUMPTION_H

#include "common/error.h"
#include "proxy/tls/client_certificate.h"
#include "proxy/tls/ticket.h"

#include <openssl/ssl.h>

#define TICKETS_TRIED_MAX      4    /* in one handshake, by one client (T31) */
#define TICKET_CERTIFICATE_MAX 4096 /* bytes of a client certificate that goes into a ticket */

struct ticket_keys;
struct tls_session;

/* Of a listener's context. */
struct resumer;

/* What is pointed to must outlive the resumer, `listener` only the call. */
struct resumer_spec {
    const char *listener; /* name */
    enum client_certificate client_certificate;
    struct trust_store *const *stores;
    size_t store_count;
    uint64_t max_s; /* since the full handshake; 0: no tickets are given or taken */
};

/* Sets up the context. ERROR_MEMORY, ERROR_LIBRARY. */
enum error resumer_new(SSL_CTX *ssl, const struct resumer_spec *spec,
                       struct resumer **out) MUST_CHECK;
void resumer_free(struct resumer *resumer); /* NULL is harmless */

/* Of one connection; in its tls_session. */
struct resumption {
    /* Set by the connection before the handshake: where the worker keeps the keys. NULL, or NULL
     * there: no tickets. */
    struct ticket_keys *const *keys;
    unsigned char host[TICKET_HOST_SIZE]; /* that the client names now */
    uint64_t verified_unix_s;             /* in full, on this connection; 0: nothing was */
    unsigned tried;
    bool forbidden;              /* no ticket for this session */
    bool extended_master_secret; /* the client offers it, and OpenSSL takes it then */
    bool finished;
    enum ticket_verdict verdict; /* on the last ticket that was shown */
};

/* A chain has been verified, whose leaf this is. */
void resumption_verified(struct resumption *r, SSL *ssl, X509 *leaf);

/* After the handshake: of a resumed session the store and chain become the ticket's, of any session
 * what was kept for its ticket is freed. Once: later calls change nothing. ERROR_NOT_FOUND: the
 * ticket is not admissible any more, since it was shown a moment ago; ERROR_MALFORMED: it has no
 * such data. */
enum error resumption_finish(SSL *ssl, struct tls_session *session) MUST_CHECK;

#endif
