/* SPDX-License-Identifier: Apache-2.0 */
/* A question to an OCSP responder about a peer's certificate: all that is needed to ask and to
 * judge the answer, as bytes, so that it can go from thread to thread. It never changes; who has it
 * frees it (mem_free()). Asking blocks: helper threads (proxy/ocsp_helpers.h) and `mapctl check` do
 * it, never a loop. RFC 6960 appendix A: HTTP POST, the certificate named by SHA-1 as all
 * responders know it (RFC 5019 2.1.1), no nonce, no redirection, no proxy, http alone. */
#ifndef HOLDLINE_TLS_OCSP_QUESTION_H
#define HOLDLINE_TLS_OCSP_QUESTION_H

#include "common/error.h"
#include "common/identity.h"
#include "proxy/tls/ocsp.h"
#include "proxy/tls/trust_rules.h"

#include <openssl/sha.h>

#define OCSP_URL_MAX 512
/* The certificate and its issuer. Larger ones are not asked about. */
#define OCSP_CERTIFICATES_MAX 16384

/* Which certificate is meant. Compared as bytes: what is not used is zero. */
struct status_key {
    char store[STORE_NAME_MAX + 1];
    unsigned char certificate[SHA256_DIGEST_LENGTH];
};

void status_key_of(struct status_key *key, const char *store,
                   const unsigned char certificate[SHA256_DIGEST_LENGTH]);

struct ocsp_question {
    struct status_key key;
    int security_level;
    char url[OCSP_URL_MAX + 1];
    uint16_t leaf_size, issuer_size; /* of der, one after the other */
    unsigned char der[];
};

/* Whether it can be a responder's: http://HOST[:PORT][/PATH][?QUERY], up to OCSP_URL_MAX visible
 * characters, no user, no fragment. */
bool ocsp_url_fits(const char *url);

/* The responder is that of the rules, else the first http one that the certificate names (RFC 5280
 * 4.2.2.1). ERROR_NOT_FOUND: there is none; ERROR_TOO_LARGE, ERROR_MEMORY, ERROR_LIBRARY. */
enum error ocsp_question_make(const struct status_key *key, const struct trust_rules *rules,
                              X509 *leaf, X509 *issuer, struct ocsp_question **out) MUST_CHECK;

/* Asks, and waits up to timeout_ms, not counting what the system's resolver takes for a host's
 * name; sooner if stop_fd (-1: none) becomes readable. ERROR_UNREACHABLE, ERROR_MALFORMED,
 * ERROR_MEMORY: *why (static text) says what went wrong; else *out is what the responder has
 * signed. */
enum error ocsp_ask(const struct ocsp_question *question, unsigned timeout_ms, int stop_fd,
                    struct ocsp_answer *out, const char **why) MUST_CHECK;

#endif
