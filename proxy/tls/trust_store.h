/* SPDX-License-Identifier: Apache-2.0 */
/* A named set of anchors with its own rules. Chains are built and verified in one store at a time,
 * so no CA of one store can vouch for a name of another. One instance a worker: nothing here is
 * shared between threads. */
#ifndef HOLDLINE_TLS_TRUST_STORE_H
#define HOLDLINE_TLS_TRUST_STORE_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/tls/revocation.h"
#include "proxy/tls/trust_rules.h"

#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>

#define TRUST_STORE_DEPTH (CHAIN_CERTIFICATES_MAX - 2) /* CAs between leaf and anchor */
#define TRUST_STORE_KEY_BITS_MAX \
    8192 /* a peer's larger RSA key is refused before it costs us a signature check (T31) */

struct trust_store;

/* `pem`: certificates; all in it become anchors, intermediates too. Security level as OpenSSL
 * counts (0 to 5; 2 refuses SHA-1 signatures and RSA below 2048 bits in the chain). At level 0
 * SHA-1 and RSA of 1024 bits pass, MD5 and smaller keys never do. ERROR_MALFORMED: no certificate
 * in it, or one that cannot be read; ERROR_MEMORY, ERROR_LIBRARY. */
enum error trust_store_create(const char *name, struct slice pem, const struct trust_rules *rules,
                              struct trust_store **out) MUST_CHECK;
void trust_store_free(struct trust_store *store);
const char *trust_store_name(const struct trust_store *store);
const struct trust_rules *trust_store_rules(const struct trust_store *store);
const STACK_OF(X509) * trust_store_anchors(const struct trust_store *store);
bool trust_store_has_anchor(const struct trust_store *store,
                            const unsigned char sha256[SHA256_DIGEST_LENGTH]);

/* Adds every certificate of the text. ERROR_MALFORMED: there is none, or one cannot be read;
 * ERROR_TOO_LARGE, ERROR_MEMORY. */
enum error certificates_read(struct slice pem, STACK_OF(X509) * out) MUST_CHECK;

/* Whether a key or a subject name is anchor in both: then which store verifies would depend on
 * their order. */
bool trust_store_overlaps(const struct trust_store *a, const struct trust_store *b);

/* What is kept of a chain that was verified. */
struct trust_chain {
    size_t certificate_count; /* leaf to anchor */
    unsigned char sha256[CHAIN_CERTIFICATES_MAX][SHA256_DIGEST_LENGTH];
    unsigned char naming[CHAIN_CERTIFICATES_MAX][SHA256_DIGEST_LENGTH]; /* issuer and serial */
    uint64_t not_after_unix_s; /* the earliest of its certificates, the anchor's too */
    size_t link_count;         /* its certificates but the anchor, the leaf first */
    struct chain_link links[TRUST_STORE_DEPTH + 1];
};

/* Verifies leaf and what the peer sent with it against this store alone, at the present time:
 * signatures, validity, CA:true, path length, name constraints, key usage, and the extended key
 * usage as the store's rules say. X509_V_OK, with *chain filled, or the X509_V_ERR_ code, with
 * *chain all zero. */
int trust_store_verify(const struct trust_store *store, X509 *leaf, STACK_OF(X509) * untrusted,
                       struct trust_chain *chain);

/* Whether the certificate is one that this store lets sign: a chain of authorities leads to an
 * anchor. X509_V_OK or the X509_V_ERR_ code. */
int trust_store_verify_authority(const struct trust_store *store, X509 *authority,
                                 STACK_OF(X509) * untrusted);

#endif
