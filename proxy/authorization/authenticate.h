/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials of a request, looked at step by step: nonce, brake, HA1s of mapperd, response. A
 * part of enforce.c, which says when; the decision is decide()'s. One thread: the worker's.
 *
 *   stage   event                    then
 *   NEW     no credentials           DONE: PASSWORD_NONE
 *           nonce not good           DONE: STALE, REPLAYED
 *           brake closed             DONE: BRAKED
 *           else                     FROM
 *   FROM    no answer yet            waits
 *           mapperd doesn't say      fails: the request gets 503
 *           an HA1 fits              DONE: RIGHT, the count is spent, the user proved
 *           none fits                NAMED, or DONE: WRONG when the name means nobody else
 *   NAMED   as FROM; none fits       DONE: WRONG, the brake counts it
 *
 * Decided again, a request that has spent its count begins at FROM: its nonce is not looked at
 * again, its password is. */
#ifndef HOLDLINE_AUTHORIZATION_AUTHENTICATE_H
#define HOLDLINE_AUTHORIZATION_AUTHENTICATE_H

#include "proxy/authorization/brake.h"
#include "proxy/authorization/enforce.h"
#include "proxy/authorization/nonce.h"
#include "proxy/authorization/proved.h"

/* A worker's: what all its challenges share. */
struct password_desk {
    struct nonce_key key;
    uint64_t nonce_lifetime_ms;
    struct brake *brake;
};

enum error password_desk_new(unsigned failures, unsigned per_minute, uint64_t nonce_lifetime_ms,
                             struct password_desk **out) MUST_CHECK;
void password_desk_free(struct password_desk *desk); /* NULL is harmless */

enum authenticate_step {
    AUTHENTICATE_NONE = 0, /* it failed, *reason says why */
    AUTHENTICATE_WAITS,
    AUTHENTICATE_DONE /* admission.password and .user say what came of it */
};

/* Goes on as far as it can. Uses the slot CREDENTIAL. */
enum authenticate_step authenticate(struct authorization *a, enum reason *reason);

/* Before it is decided again. */
void authenticate_again(struct authorization *a);

/* In a dialog, PEER being answered: see enum standing. NONE: waits, or failed when *reason is not
 * REASON_NONE. */
struct dialog_claim {
    bool by_certificate; /* the peer is the token's device by its certificate or route */
    bool held;           /* and that holds the token's entry */
    bool both;           /* and a password must have been proved besides */
};
enum standing authenticate_standing(struct authorization *a, const struct dialog_claim *claim,
                                    enum reason *reason);

#endif
