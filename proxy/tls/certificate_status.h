/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a peer may come in, or stay, by what is known of its certificate's status (RFC 6960 2.2).
 * Pure.
 *
 *   known                              | if_answered        | required
 *   -----------------------------------+--------------------+---------
 *   good, in force                     | passes             | passes
 *   revoked, in force                  | refused            | refused
 *   another, the question is not over  | waits              | waits
 *   revoked, whatever its age          | refused            | refused
 *   unknown, nothing, or a good that   | passes unanswered  | refused
 *     is over                          |                    |
 *
 * The first row that fits counts. The question is over when there is an answer, or that there will
 * be none, or when it is late. */
#ifndef HOLDLINE_TLS_CERTIFICATE_STATUS_H
#define HOLDLINE_TLS_CERTIFICATE_STATUS_H

#include "proxy/tls/ocsp.h"
#include "proxy/tls/trust_rules.h"

enum status_verdict {
    STATUS_REFUSED = 0,
    STATUS_WAITS,
    STATUS_PASSES,
    STATUS_PASSES_UNANSWERED, /* fail open: to be counted and logged */
};

/* The newest signed word, and how long it holds. */
struct certificate_status {
    enum ocsp_status said;
    uint64_t this_update_unix_s, until_unix_s;
};

enum status_verdict status_judge(enum ocsp_rule rule, const struct certificate_status *known,
                                 bool over, uint64_t now_unix_s);

/* Takes over what a response says if it is in force; whether it says anything that counts. Revoked
 * is taken whatever is kept, and lifted by a good of a later thisUpdate alone, so that nobody lifts
 * it with an answer that was recorded before. Else what is older than the kept word is none.
 * `unknown` holds for STATUS_UNKNOWN_S: the responder may come to know the certificate. */
bool status_take(struct certificate_status *kept, const struct ocsp_answer *answer,
                 uint64_t now_unix_s);
#define STATUS_UNKNOWN_S 5

/* One word, for the log. Static. */
const char *status_text(enum ocsp_status said);

#endif
