/* SPDX-License-Identifier: Apache-2.0 */
/* OCSP responses (RFC 6960): whether one is about a certificate, by its issuer's word, and in
 * force; and the set of those that the workers staple to our own certificates (RFC 6066 8, RFC 8446
 * 4.4.2.1). Reading has no state: any thread. A set never changes, is shared by counted references
 * and replaced by another.
 *
 * A response counts when it is signed by the issuer, or by who has a certificate of the issuer with
 * id-kp-OCSPSigning (4.2.2.2; whether that one is revoked is not asked); never with MD5, with SHA-1
 * at security level 0 alone; when it names the certificate (issuer's name and key, serial number);
 * when nothing in it is critical that we do not know (4.4); and from thisUpdate to nextUpdate. Of
 * several words about one certificate `revoked` counts. A nonce is not asked for: responses are
 * made beforehand (RFC 5019 4). */
#ifndef HOLDLINE_TLS_OCSP_H
#define HOLDLINE_TLS_OCSP_H

#include "common/error.h"
#include "common/slice.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#define OCSP_RESPONSE_MAX 65536 /* bytes */
#define OCSP_SINGLES_MAX  64    /* certificates that one response is about */

#define OCSP_EARLY_MAX_S 300 /* by which the responder's clock may be before ours */
#define OCSP_ENDLESS_S   300 /* after thisUpdate, how long one without nextUpdate is in force */

/* NONE: nothing that counts was said. UNKNOWN: the responder said that it does not know it. */
enum ocsp_status {
    OCSP_STATUS_NONE = 0,
    OCSP_STATUS_GOOD,
    OCSP_STATUS_REVOKED,
    OCSP_STATUS_UNKNOWN
};

struct ocsp_answer {
    enum ocsp_status status;
    uint64_t this_update_unix_s, next_update_unix_s; /* next 0: it has none */
};

/* `chain`: the certificate, its issuer, and further ones that may be needed to verify the signer.
 * Times are not compared with now, but those of the signer's certificate are. `security_level` is
 * OpenSSL's, for the response's signature and its signer. ERROR_MALFORMED: *why (static) says what
 * is wrong with it; ERROR_MEMORY. */
enum error ocsp_read(struct slice der, const STACK_OF(X509) * chain, int security_level,
                     struct ocsp_answer *out, const char **why) MUST_CHECK;

/* Whether it is in force now, and until when then. No grace at its end. */
bool ocsp_in_force(const struct ocsp_answer *answer, uint64_t now_unix_s, uint64_t *until_unix_s);

struct staples;

enum error staples_new(struct staples **out) MUST_CHECK;
struct staples *staples_hold(struct staples *set);
void staples_drop(struct staples *set); /* NULL is harmless */
/* While nobody else has it: copies. What stands for a certificate already stays. ERROR_MEMORY,
 * ERROR_LIBRARY. */
enum error staples_put(struct staples *set, X509 *certificate, struct slice der,
                       const struct ocsp_answer *answer) MUST_CHECK;
/* The response for that certificate that is in force now; data NULL: none. */
struct slice staples_find(const struct staples *set, X509 *certificate, uint64_t now_unix_s);

#endif
