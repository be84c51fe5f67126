/* SPDX-License-Identifier: Apache-2.0 */
/* The hashes of digest authentication: what configuration, challenges and credentials name. */
#ifndef HOLDLINE_SIP_DIGEST_ALGORITHM_H
#define HOLDLINE_SIP_DIGEST_ALGORITHM_H

#include "common/slice.h"

/* NONE: an algorithm that we have no HA1 for (SHA-512-256, the -sess forms, whatever comes). */
enum digest_algorithm { DIGEST_ALGORITHM_NONE = 0, DIGEST_SHA_256, DIGEST_MD5 };
/* "SHA-256", "MD5"; "" for NONE. Static. */
const char *digest_algorithm_name(enum digest_algorithm algorithm);
/* Without case; NONE: not one of ours. */
enum digest_algorithm digest_algorithm_of(struct slice name);

#endif
