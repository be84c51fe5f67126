/* SPDX-License-Identifier: Apache-2.0 */
/* The request: RFC 3261's response context (section 16), between one server transaction and the
 * branches that forward it. It is parked while its authorization is incomplete. One thread: the
 * worker's on which the request arrived.
 *
 * States (request_become() alone writes them):
 *
 *   RECEIVED    parsed, checked, its transaction exists; its authorization is being put together
 *   PARKED      waits for mapperd; an INVITE has had its 100
 *   AUTHORIZED  permitted; about to be written, or waiting for its place in line
 *   STORING     a REGISTER whose bindings are on their way to the primary
 *   FORWARDED   at least one branch was sent and the final answer is not
 *   RECHECKING  forwarded, and something it rests on has changed: it is being decided again
 *   DONE        the final response went upstream, or none is due any more
 *   REFUSED     we answered it ourselves with a failure
 *   (both last ones: freed at the end of the turn, when no branch lives)
 *
 *   event           RECEIVED   PARKED     AUTHORIZED STORING    FORWARDED   RECHECKING
 *   AUTHORIZED      AUTHORIZED AUTHORIZED -          -          -           FORWARDED
 *   DENIED          REFUSED    REFUSED    REFUSED    -          -           REFUSED, branches
 * cancelled WAITS           PARKED     -          PARKED     -          -           - OUTDATED - -
 * PARKED     -          RECHECKING  stays STORES          -          -          STORING    - - -
 *   STORED          -          -          -          DONE       -           -
 *   SENT            -          -          FORWARDED  -          stays       -
 *   NO_TARGET       -          -          REFUSED    REFUSED    REFUSED     REFUSED
 *   NAMED           -          (ask does) PARKED     -          RECHECKING  stays
 *   FINAL           -          -          -          -          DONE        DONE
 *   CANCEL          DONE, 487  DONE, 487  DONE, 487  -          branches    branches
 *   DEADLINE        REFUSED    REFUSED    REFUSED    REFUSED    -           REFUSED
 *   PEER_GONE       DONE       DONE       DONE       DONE       stays       REFUSED
 *
 * CANCEL concerns INVITE only. A response that comes while RECHECKING is a fact of the callee and
 * goes on upstream. */
#ifndef HOLDLINE_REQUEST_REQUEST_H
#define HOLDLINE_REQUEST_REQUEST_H

#include "proxy/worker_base.h"

struct ask;
struct connection;
struct delivery;
struct identity;
struct letter;
struct net;
struct peer;
struct request_layer;
struct slice;
struct token_keys;

enum request_state {
    REQUEST_NONE = 0,
    REQUEST_RECEIVED,
    REQUEST_PARKED,
    REQUEST_AUTHORIZED,
    REQUEST_STORING,
    REQUEST_FORWARDED,
    REQUEST_RECHECKING,
    REQUEST_DONE,
    REQUEST_REFUSED,
    REQUEST_STATE_COUNT
};

const char *request_state_name(enum request_state state);

#endif
