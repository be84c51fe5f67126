/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what is signed can be believed for its digest's sake. OpenSSL asks that of certificates
 * by itself, of revocation lists and OCSP responses not. Pure. */
#ifndef HOLDLINE_TLS_SIGNATURE_H
#define HOLDLINE_TLS_SIGNATURE_H

#include <openssl/x509.h>
#include <stdbool.h>

/* Neither MD2, MD4, MD5 nor MDC2; SHA-1 at security level 0 alone. Of RSA-PSS the digest in its
 * parameters counts, SHA-1 where they name none (RFC 4055 3.1). A signature without a digest of its
 * own (EdDSA) has none that is weak. */
bool signature_is_strong(const X509_ALGOR *algorithm, int security_level);

#endif
