/* SPDX-License-Identifier: Apache-2.0 */
/* Session timers, the proxy's part (RFC 4028 8): each session refresh request (INVITE, UPDATE, in a
 * dialog or not) leaves with a Session-Expires, so that one of the two sides has to ask again and
 * again whether the call may go on, and the other ends it when that fails. What is remembered lasts
 * for the transaction (8.1). The decision is pure; the rest edits messages of one request. One
 * thread: the worker's.
 *
 *   in the request                            supported         not supported
 *   no Session-Expires                        ours, but not below Min-SE
 *   below 90 s                                422, Min-SE: 90   Min-SE raised to 90, and
 *                                                               Session-Expires to Min-SE
 *   below its own Min-SE                      raised to that
 *   above ours                                lowered to ours, but not below Min-SE
 *   else                                      stays
 *
 *   2xx                                       then
 *   has Session-Expires                       stays: it is settled
 *   has none, the UAC supports it             Session-Expires of the request with refresher=uac,
 *                                             Require: timer
 *   has none, nor does the UAC                stays: this session has no timer
 *
 * A refresher that the request names stays; we never write one into it, nor Min-SE into a request
 * whose sender supports it (11: else an interval could be driven up). A Min-SE that a caller writes
 * counts without a bound of ours: RFC 4028 lets no proxy go below it. */
#ifndef HOLDLINE_REQUEST_SESSION_TIMER_H
#define HOLDLINE_REQUEST_SESSION_TIMER_H

#include "common/reason.h"
#include "proxy/config.h"
#include "proxy/sip/edit.h"

#include <stdbool.h>
#include <stdint.h>

/* What a session refresh request says. */
struct session_offer {
    bool supported; /* Supported: timer */
    bool has_expires, has_min;
    uint32_t expires_s, min_s; /* 0 without */
};

enum session_verdict { SESSION_NONE = 0, SESSION_TIMED, SESSION_TOO_BRIEF };

/* All zero: no timer is asked for, nothing is changed. */
struct session_plan {
    enum session_verdict verdict;
    bool supported;
    uint32_t expires_s; /* that leaves */
    bool write_expires; /* it is not what came */
    bool write_min;     /* Min-SE leaves as min_s */
    uint32_t min_s;
};

/* `wanted_s`: session_timer of the configuration, at least SESSION_TIMER_MIN_S, or 0: off. */
struct session_plan session_timer_decide(const struct session_offer *offer, uint32_t wanted_s);

/* Reads the request and decides. MALFORMED, SESSION_TOO_BRIEF, or ALLOWED with *plan. */
enum reason session_timer_read(const struct message *request, uint32_t wanted_s,
                               struct session_plan *plan);
/* The request as it leaves. */
void session_timer_edit_request(struct edit_list *edits, const struct message *request,
                                const struct session_plan *plan);
/* A response as it goes on upstream; only a 2xx of such a request is changed. */
void session_timer_edit_response(struct edit_list *edits, const struct message *response,
                                 const struct session_plan *plan);

#endif
