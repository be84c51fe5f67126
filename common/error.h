/* SPDX-License-Identifier: Apache-2.0 */
/* Internal outcomes of functions. What a peer is told is a reason (common/reason.h); the two never
 * mix. */
#ifndef HOLDLINE_COMMON_ERROR_H
#define HOLDLINE_COMMON_ERROR_H

enum error {
    ERROR_NONE = 0,   /* done */
    ERROR_MEMORY,     /* allocation failed */
    ERROR_MALFORMED,  /* input breaks its grammar */
    ERROR_TOO_LARGE,  /* input or queue beyond its bound */
    ERROR_INCOMPLETE, /* more bytes are needed */
    ERROR_NOT_FOUND,
    ERROR_CLOSED,      /* the other end, or the object, is gone */
    ERROR_UNREACHABLE, /* no connection to what is needed */
    ERROR_SYSTEM,      /* the operating system refused; errno says why */
    ERROR_LIBRARY,     /* OpenSSL, LMDB or libpq refused; logged where it happened */
    ERROR_CONFIG,      /* configuration is wrong; already reported with file and line */
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Static lower-case text for logs. */
const char *error_text(enum error e);

#endif
