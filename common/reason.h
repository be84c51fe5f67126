/* SPDX-License-Identifier: Apache-2.0 */
/* Why a request was denied or failed: one table for responses, logs, metrics, mapctl and docs. */
#ifndef HOLDLINE_COMMON_REASON_H
#define HOLDLINE_COMMON_REASON_H

#include <stdio.h>

enum reason {
#define REASON(name, log, status, text, remedy) REASON_##name,
#include "common/reason.def"
#undef REASON
    REASON_COUNT
};

/* Name in logs and metric labels, e.g. "from-not-permitted". Static. */
const char *reason_name(enum reason r);
/* SIP status code; 0 for REASON_ALLOWED. */
int reason_status(enum reason r);
/* Text of Warning 399 (RFC 3261 20.43). Static. */
const char *reason_text(enum reason r);
/* What the operator can do. Static. */
const char *reason_remedy(enum reason r);

/* The whole table as docs/reasons.md (Markdown): --help-reasons, and the test that compares them.
 */
void reason_print_all(FILE *out);

#endif
