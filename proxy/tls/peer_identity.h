/* SPDX-License-Identifier: Apache-2.0 */
/* What a verified certificate says about its holder: pure reading of X.509, no decision. A
 * name that is not certain is no name. */
#ifndef HOLDLINE_TLS_PEER_IDENTITY_H
#define HOLDLINE_TLS_PEER_IDENTITY_H

#include "common/identity.h"
#include "proxy/tls/trust_rules.h"

#include <openssl/x509.h>

#define PEER_NAMES_MAX 16
/* A comma and a digest: two for each certificate, its SHA-256 and that of issuer and serial. */
#define PEER_CHAIN_WORD     65
#define PEER_CHAIN_WORDS    2
#define PEER_CHAIN_TEXT_MAX (PEER_CHAIN_WORDS * PEER_CHAIN_WORD * CHAIN_CERTIFICATES_MAX)

struct trust_chain;

/* Immutable once made. One block of memory: peer_identity_free(). */
struct peer_identity {
    const char *store; /* name of the trust store that verified the chain; NUL-terminated copy */
    const char
        *cn; /* most specific CN as UTF-8, NUL-terminated; "" with cn_size 0: none that counts */
    size_t cn_size;
    /* For logs alone: issuer as RFC 4514 writes it, cut at CERTIFICATE_ISSUER_MAX; serial number in
     * hexadecimal. "" or NULL: none that can be written. */
    const char *issuer, *serial;
    struct slice chain;        /* of the verified chain, leaf to anchor: what may block it */
    uint64_t not_after_unix_s; /* when it stops to count; a verified chain may make it sooner */
    bool takes_mappings;       /* identities may come from the database, by its CN */
    bool has_alternative_name; /* a subjectAltName is there, whatever is in it */
    size_t name_count;
    const struct identity *names; /* SIP identities by RFC 5922 7.1: sorted by bytes, no doubles */
};

/* CN: the last one of the subject counts alone; none when it is empty, longer than CN_MAX_OCTETS,
 * not clean UTF-8 (NUL, control characters), or of a string type that cannot hold what it holds.
 * Names, each if it is among `sources` (enum identity_source): each subjectAltName URI of scheme
 * sip, with user as that user, without as that domain; each e-mail address as a sip: URI; DNS names
 * only if there is no sip: URI at all, valid or not, permitted or not, and no e-mail address that
 * counts; the CN as a domain only if there is no subjectAltName. No wildcards, no IP addresses, no
 * ports or parameters. The first PEER_NAMES_MAX valid ones. A subjectAltName that cannot be read,
 * or stands twice, gives no names. `chain` is what verified it; NULL: none. ERROR_MEMORY,
 * ERROR_MALFORMED (no readable notAfter). */
enum error peer_identity_read(X509 *certificate, const char *store, unsigned sources,
                              const struct trust_chain *chain,
                              struct peer_identity **out) MUST_CHECK;
/* RFC 5922 7.2, 7.3: whether one of the certificate's names by the rules above, however many they
 * are, is this domain as a whole. A name with a user part is nobody's domain. */
bool certificate_is_for_domain(X509 *certificate, unsigned sources, const struct identity *domain);
/* The same with texts and names of its own. ERROR_MEMORY. */
enum error peer_identity_copy(const struct peer_identity *from,
                              struct peer_identity **out) MUST_CHECK;
/* False: its notAfter is no time. */
bool certificate_not_after(X509 *certificate, uint64_t *unix_s) MUST_CHECK;
/* The CN alone, by the same rules: its size, 0 for none. out has CN_MAX_OCTETS + 1 bytes. */
size_t peer_identity_cn(X509 *certificate, char *out);
void peer_identity_free(struct peer_identity *identity);

#endif
