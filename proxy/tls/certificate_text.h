/* SPDX-License-Identifier: Apache-2.0 */
/* What of a certificate stands in logs, for people to find it by. Nothing is decided by these. */
#ifndef HOLDLINE_TLS_CERTIFICATE_TEXT_H
#define HOLDLINE_TLS_CERTIFICATE_TEXT_H

#include <openssl/x509.h>

#define CERTIFICATE_ISSUER_MAX 255
#define CERTIFICATE_NAMES_MAX  255
#define CERTIFICATE_SERIAL_MAX 40 /* digits; RFC 5280 4.1.2.2: 20 octets */

/* Its issuer as RFC 4514 writes it, cut at CERTIFICATE_ISSUER_MAX; "" without memory. */
void certificate_issuer_text(X509 *certificate, char out[CERTIFICATE_ISSUER_MAX + 1]);
/* URIs and DNS names of its subjectAltName as they stand there, in their order, with spaces between
 * them, cut at CERTIFICATE_NAMES_MAX: octets of any kind, and their number. */
size_t certificate_names_text(X509 *certificate, char out[CERTIFICATE_NAMES_MAX]);
/* Its serial number in upper-case hexadecimal, without sign; "" when it is longer. */
void certificate_serial_text(X509 *certificate, char out[CERTIFICATE_SERIAL_MAX + 1]);

#endif
