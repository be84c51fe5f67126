/* SPDX-License-Identifier: Apache-2.0 */
/* Our own certificates at one listener, for one worker: read from PEM, and chosen for each
 * handshake by the host that the client names (RFC 6066 3) and the key types that it can verify. */
#ifndef HOLDLINE_TLS_OWN_CERTIFICATES_H
#define HOLDLINE_TLS_OWN_CERTIFICATES_H

#include "common/error.h"
#include "common/slice.h"

#include <openssl/ssl.h>

struct own_certificates;

enum error own_certificates_new(struct own_certificates **out) MUST_CHECK;
/* `certificate`: ours, then what leads to its root; `key`: without password. On failure *why says
 * what is wrong. ERROR_MALFORMED, ERROR_MEMORY. */
enum error own_certificates_add(struct own_certificates *own, struct slice certificate,
                                struct slice key, const char **why) MUST_CHECK;
/* The context shows these from here on; they outlive it. */
enum error own_certificates_use(struct own_certificates *own, SSL_CTX *ssl) MUST_CHECK;
void own_certificates_free(struct own_certificates *own); /* NULL is harmless */

#endif
