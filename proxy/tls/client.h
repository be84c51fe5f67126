/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of one route for one worker, where we are the client: the trust stores that the
 * server is verified in, and the certificate that we show when it asks for one. The server must be
 * the SIP domain that the caller names (RFC 5922 7.3): one of its names by 7.1, compared as a whole
 * by 7.2. A server that is somebody else fails the handshake before our certificate is sent.
 * Nothing is resumed or renegotiated; early data is never sent. One thread: the worker's. */
#ifndef HOLDLINE_TLS_CLIENT_H
#define HOLDLINE_TLS_CLIENT_H

#include "proxy/tls/context.h"

struct tls_client;

/* Slices and texts are read during the call only. */
struct tls_client_spec {
    const struct tls_own_spec *own; /* NULL: none, an empty list is sent when it is asked for */
    const char *ciphers;            /* TLS 1.2, OpenSSL's syntax; NULL or "" = built in */
    int version_min;                /* TLS1_VERSION and on; 0 = TLS1_2_VERSION */
    const struct tls_store_spec *stores; /* in the order of trial; their role becomes SERVER */
    size_t store_count;                  /* at least 1 */
};

/* On failure *why (static or thread-local text, valid until the next OpenSSL call) says what is
 * wrong. ERROR_MALFORMED, ERROR_LIBRARY, ERROR_MEMORY. */
enum error tls_client_create(const struct tls_client_spec *spec, struct tls_client **out,
                             const char **why) MUST_CHECK;
void tls_client_free(struct tls_client *client); /* NULL is harmless */
const struct trust_store *tls_client_store(const struct tls_client *client, size_t index);

int tls_client_version_min(const struct tls_client *client);

/* Whether what was verified and shown by the one is what the other would verify and show: our
 * certificate, the stores with their rules and anchors, versions and ciphers (T20). Files that were
 * read again and say the same are the same. */
bool tls_client_same(const struct tls_client *a, const struct tls_client *b);

/* A client SSL without BIOs that connects to no other than `domain` and names it (RFC 6066 3);
 * `domain` (a host name, no address) and `session` must live as long as the SSL. NULL without
 * memory. Free with SSL_free(). */
SSL *tls_client_connect(struct tls_client *client, const struct identity *domain,
                        struct tls_session *session) MUST_CHECK;

#endif
