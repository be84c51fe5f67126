/* SPDX-License-Identifier: Apache-2.0 */
/* Digest credentials: the value of one Authorization or Proxy-Authorization header (RFC 3261 22,
 * RFC 7616 3.4, RFC 8760). Strict: what is accepted has one reading, and all that goes into a hash
 * is taken as it stands in the message. Allocates nothing; slices point into the value. Pure; any
 * thread. */
#ifndef HOLDLINE_SIP_CREDENTIALS_H
#define HOLDLINE_SIP_CREDENTIALS_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/sip/digest_algorithm.h"

#include <stdint.h>

#define CREDENTIALS_VALUE_MAX  4096 /* octets of one header's value */
#define CREDENTIALS_PARAMS_MAX 32   /* parameters of one */
#define CREDENTIALS_NAME_MAX   254  /* octets of username and realm, as in table credential */
#define CREDENTIALS_TEXT_MAX   256  /* of nonce and cnonce */
#define CREDENTIALS_URI_MAX    2048

enum digest_qop { DIGEST_QOP_NONE = 0, DIGEST_QOP_AUTH, DIGEST_QOP_AUTH_INT };

struct digest_credentials {
    /* Escapes, or the percent-encoding of username*, taken off: for comparison only. Clean UTF-8,
     * NUL-terminated. */
    char username[CREDENTIALS_NAME_MAX + 1];
    char realm[CREDENTIALS_NAME_MAX + 1];
    size_t username_size, realm_size;
    enum digest_algorithm algorithm;
    enum digest_qop qop;
    uint32_t nc;
    /* What is hashed, as it stands; none of them has an escape in it. */
    struct slice nonce, uri, cnonce, nc_text, qop_text;
    struct slice response; /* hexadecimal digits, of the algorithm's length */
};

/* ERROR_NOT_FOUND: another scheme than Digest. ERROR_MALFORMED: its grammar is broken; a parameter
 * stands twice (username and username* are the same one); username, realm, nonce, uri, response,
 * cnonce, nc or qop is missing, too long or not of its form; a response of another length than the
 * algorithm's. Clients without qop (RFC 2069) are among these: their answers could be repeated. And
 * userhash=true, which is never offered. Parameters that are not known here are ignored. *out is
 * all zero then. */
enum error credentials_parse(struct slice value, struct digest_credentials *out) MUST_CHECK;

#endif
