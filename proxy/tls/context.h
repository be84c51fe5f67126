/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of one listener for one worker: our certificate, the trust stores in their order,
 * and what we do not speak: TLS below 1.2 unless the listener says so, a session cache (sessions
 * are resumed by tickets, see proxy/tls/resumption.h), renegotiation, compression, early data. A
 * client certificate is required unless the listener says otherwise. */
#ifndef HOLDLINE_TLS_CONTEXT_H
#define HOLDLINE_TLS_CONTEXT_H

#include "proxy/tls/ocsp_question.h"
#include "proxy/tls/session.h"

/* Forward secrecy only; CBC for phones of before GCM. */
#define TLS_CIPHERS_DEFAULT \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP:!CAMELLIA:!ARIA:!AESCCM"

struct tls_context;

struct tls_store_spec {
    const char *name;
    struct slice pem;
    struct trust_rules rules;
};

#define TLS_OWN_MAX 32

struct tls_own_spec {
    struct slice certificate_pem; /* ours and what leads to its root */
    struct slice key_pem;
};

/* Slices and texts are read during the call only. */
struct tls_context_spec {
    /* 1 to TLS_OWN_MAX. A client that names a host is shown those that are for that host, by DNS
     * name of their subjectAltName, else by CN; of several that of a key type which it can verify,
     * ECDSA first. One that names none, or an unknown one, is shown the first, or the first of its
     * names with another type of key. Which it is changes nothing about the client's own
     * certificate. */
    const struct tls_own_spec *own;
    size_t own_count;
    const char *ciphers; /* TLS 1.2, OpenSSL's syntax; NULL = built in */
    int version_min;     /* TLS1_VERSION and on; 0 = TLS1_2_VERSION */
    enum client_certificate client_certificate;
    const struct tls_store_spec *stores; /* in the order of trial */
    size_t store_count;                  /* at least 1, unless client certificates are ignored */
    const char *listener;                /* its name, for tickets */
    uint64_t resumption_max_s;           /* 0: no tickets */
};

/* *which: the number of the certificate that is meant, if it is about one.
 * On failure *why (static or thread-local text, valid until the next OpenSSL call) says what is
 * wrong. ERROR_MALFORMED, ERROR_LIBRARY, ERROR_MEMORY. */
enum error tls_context_create(const struct tls_context_spec *spec, struct tls_context **out,
                              const char **why, size_t *which) MUST_CHECK;
void tls_context_free(struct tls_context *context);
const struct trust_store *tls_context_store(const struct tls_context *context, size_t index);

int tls_context_version_min(const struct tls_context *context);

/* A server SSL without BIOs; NULL without memory. Free with SSL_free(). */
SSL *tls_context_accept(struct tls_context *context, struct tls_session *session) MUST_CHECK;

/* What a worker asks by OCSP before it lets a peer in. */
struct tls_status_question {
    enum ocsp_rule rule;
    struct ocsp_question *question; /* NULL: nobody is asked, or there is nobody to ask */
};

/* Who a peer would be that shows these certificates (PEM, its own first) in a full handshake, and
 * what would be asked about it: the caller frees the question. `revoked` as in the session; NULL:
 * nothing is. ERROR_NOT_FOUND: the handshake would fail, *why is the X509_V_ERR_ code;
 * ERROR_MALFORMED: no certificate in it, or one that cannot be read. */
enum error tls_context_identify(const struct tls_context *context,
                                struct revocation_set *const *revoked, struct slice pem,
                                struct peer_identity **out, struct tls_status_question *status,
                                int *why) MUST_CHECK;
/* The rule of the store of that name; OFF when the context has none. */
enum ocsp_rule tls_context_ocsp_rule(const struct tls_context *context, const char *store);

/* Why the last OpenSSL call of this thread failed, in a few words; empties the error queue. Static
 * or thread-local. */
const char *tls_error_text(void);

#endif
