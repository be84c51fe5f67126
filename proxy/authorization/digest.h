/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of digest authentication (RFC 7616 3.4, RFC 8760): the response that somebody who
 * knows a password gives, from its HA1. And the challenge's text. Pure, any thread; EVP does the
 * hashing. */
#ifndef HOLDLINE_AUTHORIZATION_DIGEST_H
#define HOLDLINE_AUTHORIZATION_DIGEST_H

#include "common/buffer.h"
#include "proxy/sip/credentials.h"

#include <stdbool.h>

/* What the response is about, besides what stands in the credentials. */
struct digest_request {
    struct slice method; /* of the start line */
    struct slice body;   /* for auth-int */
};

/* Whether `credentials`, as they were parsed, were made with this HA1: hexadecimal digits of the
 * credentials' algorithm, else no. Compared in constant time. False too when OpenSSL fails. What
 * was computed on the way is wiped. */
bool digest_is_right(const struct digest_credentials *credentials, struct slice ha1,
                     const struct digest_request *request);

/* One challenge of RFC 7616 3.3, without the header's name and without CRLF. `realm` has no quote,
 * backslash or control character: the configuration's and the schema's constraints see to it. */
struct digest_challenge {
    struct slice realm, nonce;
    enum digest_algorithm algorithm;
    bool stale;
};
void digest_write_challenge(const struct digest_challenge *challenge, struct buffer *out);

#endif
