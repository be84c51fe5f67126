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
 * RECEIVED and AUTHORIZED pass within a turn: no event finds a request there.
 *
 *   event               RECEIVED    PARKED      AUTHORIZED  STORING   FORWARDED   RECHECKING
 *   permitted           AUTHORIZED  AUTHORIZED  -           -         -           FORWARDED
 *   denied              REFUSED     REFUSED     -           -         -           REFUSED
 *   has to be asked     PARKED      -           -           -         -           -
 *   is to be stored     -           -           STORING     -         -           -
 *   stored              -           -           -           DONE      -           -
 *   can't be served     REFUSED     -           REFUSED     REFUSED   -           -
 *   written             -           -           FORWARDED   -         -           -
 *   named by a change,
 *    edge of a window   -           stays (1)   -           stays     RECHECKING  stays
 *   a branch outdated   -           -           -           -         RECHECKING  stays
 *   branches ended      -           -           -           -         DONE (2)    DONE (2)
 *   2xx                 -           -           -           -         DONE        DONE
 *   CANCEL (3)          -           DONE, 487   -           stays     stays (4)   stays (4)
 *   deadline            -           REFUSED     -           REFUSED   -           REFUSED
 *   caller's end gone   -           DONE        -           DONE      stays       REFUSED
 *   caller is nobody    -           REFUSED     -           REFUSED   REFUSED(5)  REFUSED
 *   stop                -           REFUSED     -           REFUSED   stays       REFUSED
 *
 *   (1) its lookups mind changes themselves   (2) REFUSED when no branch got an answer
 *   (3) of an INVITE; else 200 and no effect  (4) its branches are cancelled, their end is awaited
 *   (5) an INVITE; what else was written while it was permitted is answered by the callee
 *   REFUSED from FORWARDED and RECHECKING cancels the branches.
 *
 * An ACK ends when it is written, and is FORWARDED only while it waits for the connection to a next
 * hop: at most 64*T1, as long as who sent it is connected, and counted among what is parked.
 *
 * A response that comes while RECHECKING is a fact of the callee and goes on upstream.
 *
 * A branch (branch_become()):
 *
 *   event            NONE     TRYING      PROCEEDING    CANCELLING   OUTDATED
 *   written          TRYING   -           -             -            -
 *   can't be made    DONE     -           -             -            DONE
 *   1xx              -        PROCEEDING  stays         stays        -
 *   final            -        DONE        DONE          DONE         DONE
 *   cancel           DONE     stays (1)   CANCELLING    stays        DONE
 *   outdated         -        OUTDATED(2) -             -            -
 *   permitted again  -        -           -             -            TRYING
 *   gone, full       -        DONE        - (3)         -            -
 *   merged           -        DONE        -             -            -
 *   connection lost  -        stays (4)   stays (4)     stays (4)    -
 *   timer B, F       -        DONE        - (F: DONE)   -            DONE
 *   timer C          -        DONE        CANCELLING    -            -
 *   64*T1 or T2      -        -           -             DONE         -
 *
 *   (1) CANCEL goes with the first 1xx (9.1); DONE while its connection is still being made
 *   (2) DONE when nobody wants it any more    (3) DONE after its connection was lost
 *   (4) T2 later it is looked whether the device is back: gone if not; a next hop that has said
 *       100 at most is gone at once */
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
