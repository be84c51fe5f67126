/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates that their authorities have revoked (RFC 5280 5), read from CRL files once, by
 * main's thread, into sorted digests: a handshake costs a search for each certificate of its chain,
 * and an open connection can be looked up again at any time. What was read never changes and is
 * shared by all threads (counted references); a new reading is a new object.
 *
 * A CRL counts when an authority of the store has signed it: an anchor, or a certificate that
 * stands in a CRL file beside it and verifies in the store. Refused, and with it the whole reading,
 * is one with another signer, without nextUpdate, signed with MD5 (SHA-1 only at security level 0),
 * or with an extension that narrows or shifts what it says (delta, indirect, partitioned, any
 * critical one that is unknown). Of two CRLs of one authority the newer counts. */
#ifndef HOLDLINE_TLS_REVOCATION_H
#define HOLDLINE_TLS_REVOCATION_H

#include "common/error.h"
#include "common/slice.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct trust_rules;
struct trust_store;

#define REVOCATION_DIGEST_SIZE 16

/* A certificate of a verified chain, as revocation sees it. */
struct chain_link {
    unsigned char issuer[REVOCATION_DIGEST_SIZE];      /* the authority's key and name */
    unsigned char certificate[REVOCATION_DIGEST_SIZE]; /* that and the serial number */
};

/* `issuer` is the certificate above it in the chain. False: no memory. */
bool chain_link_read(X509 *certificate, X509 *issuer, struct chain_link *out) MUST_CHECK;

/* The CRLs of one store. */
struct revocations;

/* `files`: contents, PEM or DER. `store` is only read. On failure *why (static text) and *which
 * (the file) say what is wrong. ERROR_MALFORMED, ERROR_MEMORY. */
enum error revocations_read(const struct trust_store *store, const struct slice *files,
                            size_t file_count, struct revocations **out, const char **why,
                            size_t *which) MUST_CHECK;
struct revocations *revocations_hold(struct revocations *list);
void revocations_drop(struct revocations *list); /* NULL is harmless; the last one frees it */

/* How many certificates are listed, and the earliest nextUpdate (UINT64_MAX: no CRL at all). */
size_t revocations_count(const struct revocations *list);
uint64_t revocations_next_update_unix_s(const struct revocations *list);

/* X509_V_OK, or why not, by the store's rules: revoked (whatever the age of the CRL), no CRL of its
 * authority where one is required, a CRL that is over where that is not accepted. list NULL: none
 * was read. */
int revocations_check(const struct revocations *list, const struct trust_rules *rules,
                      const struct chain_link *links, size_t count, uint64_t now_unix_s);

/* Whether one of these is listed, whatever the rules. */
bool revocations_list_any(const struct revocations *list, const struct chain_link *links,
                          size_t count);

/* Those of all stores, by name. */
struct revocation_set;

enum error revocation_set_new(struct revocation_set **out) MUST_CHECK;
struct revocation_set *revocation_set_hold(struct revocation_set *set);
void revocation_set_drop(struct revocation_set *set); /* NULL is harmless */
/* While nobody else has it. Takes a reference of list. */
enum error revocation_set_put(struct revocation_set *set, const char *store,
                              struct revocations *list) MUST_CHECK;
/* NULL: none of that store. */
struct revocations *revocation_set_find(const struct revocation_set *set, const char *store);

#endif
