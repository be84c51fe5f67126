/* SPDX-License-Identifier: Apache-2.0 */
/* Session-Expires and Min-SE (RFC 4028 4 and 5): values as they stand in a message. Strict: what is
 * accepted has one reading. Pure; any thread. */
#ifndef HOLDLINE_SIP_SESSION_EXPIRES_H
#define HOLDLINE_SIP_SESSION_EXPIRES_H

#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

enum session_refresher { SESSION_REFRESHER_NONE = 0, SESSION_REFRESHER_UAC, SESSION_REFRESHER_UAS };

struct session_expires {
    uint32_t seconds;
    enum session_refresher refresher; /* NONE: it does not say */
    struct slice params;              /* from the first ';', as written; empty if there are none */
};

/* ERROR_MALFORMED: no number up to 2^32 - 1, a parameter twice, a refresher that is neither uac nor
 * uas, or more behind it; *out is all zero then. */
enum error session_expires_parse(struct slice value, struct session_expires *out) MUST_CHECK;
/* Parameters of Min-SE say nothing yet; their grammar is looked at. */
enum error session_min_parse(struct slice value, uint32_t *seconds) MUST_CHECK;

#endif
