/* SPDX-License-Identifier: Apache-2.0 */
/* What of a certificate stands in logs, for people to find it by. Nothing is decided by these. */
#ifndef HOLDLINE_TLS_CERTIFICATE_TEXT_H
#define HOLDLINE_TLS_CERTIFICATE_TEXT_H

#include "common/error.h"

#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdbool.h>

#define CERTIFICATE_ISSUER_MAX 255
#define CERTIFICATE_NAMES_MAX  255
#define CERTIFICATE_SERIAL_MAX 40 /* digits; RFC 5280 4.1.2.2: 20 octets */

/* Its issuer as RFC 4514 writes it, cut at CERTIFICATE_ISSUER_MAX; "" without memory. */
void certificate_issuer_text(X509 *certificate, char out[CERTIFICATE_ISSUER_MAX + 1]);
/* URIs and DNS names of its subjectAltName as they stand there, in their order, with spaces between
 * them, cut at CERTIFICATE_NAMES_MAX: octets of any kind, and their number. */
size_t certificate_names_text(X509 *certificate, char out[CERTIFICATE_NAMES_MAX]);
/* SHA-256 of issuer and serial number as table blocked_certificate has it for a row that names
 * these: the issuer as RFC 4514 writes it, without backslashes and spaces at its end, in lower
 * case, a line feed, the serial number in upper-case hexadecimal without leading zeros. False: no
 * memory. */
bool certificate_naming_digest(X509 *certificate,
                               unsigned char out[SHA256_DIGEST_LENGTH]) MUST_CHECK;
/* Its serial number in upper-case hexadecimal, without sign; "" when it is longer. */
void certificate_serial_text(X509 *certificate, char out[CERTIFICATE_SERIAL_MAX + 1]);

#endif
