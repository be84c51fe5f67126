/* SPDX-License-Identifier: Apache-2.0 */
/* Nonces of digest authentication: made without memory, signed, good on one connection for a time,
 * and on it each count (nc) once. What a connection remembers is bounded. No clock, no I/O; one
 * thread: the worker's.
 *
 *   30 bytes before base64url: number on its connection 4 | made at 8 | HMAC-SHA256 18
 * The HMAC covers label, connection, number and time; its key is drawn at the worker's start. So a
 * nonce of another connection, worker or run, and a forged one, are all the same: not ours.
 *
 * A nonce, as a connection sees it:
 *
 *   FOREIGN   the signature is not that of this connection
 *   ISSUED    nobody has proved a password with it
 *   IN USE    somebody has: a window says which counts are spent
 *   SPENT     its window made room for newer ones, or its time is over
 *
 *   event              FOREIGN  ISSUED            IN USE            SPENT
 *   count in order     STALE    GOOD              GOOD              STALE
 *   count once more    -        -                 REPLAYED          STALE
 *   password proved    -        IN USE            IN USE            -
 *   lifetime over      -        SPENT             SPENT             -
 *   pushed out         -        SPENT (by number) SPENT             -
 *
 * A wrong password spends nothing: the same answer stays as wrong as it is. */
#ifndef HOLDLINE_AUTHORIZATION_NONCE_H
#define HOLDLINE_AUTHORIZATION_NONCE_H

#include "common/error.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define NONCE_SIZE 40 /* characters of base64url */
/* Nonces in use at once on a connection: phones answer the newest; a few lines share one. */
#define NONCE_WINDOWS 8
/* How far a count may lag behind the highest one: requests overtake each other inside a phone. */
#define NONCE_WINDOW_BITS 64

struct nonce_key {
    unsigned char bytes[32];
};
void nonce_key_draw(struct nonce_key *key);

struct nonce_window {
    uint32_t number; /* of the nonce; 0: free */
    uint32_t top;    /* highest count that is spent */
    uint64_t spent;  /* bit i: top - i is spent */
};

/* What a connection remembers. All zero but for `connection`: new. */
struct nonces {
    uint64_t connection; /* names it among all of this worker's run */
    uint32_t last;       /* number given out last */
    uint32_t floor;      /* numbers up to here are SPENT unless they have a window */
    struct nonce_window windows[NONCE_WINDOWS];
};

/* ERROR_LIBRARY; ERROR_TOO_LARGE after 2^32-1 nonces of a connection. */
enum error nonce_make(const struct nonce_key *key, struct nonces *nonces, uint64_t now_mono_ms,
                      char out[NONCE_SIZE + 1]) MUST_CHECK;

enum nonce_verdict { NONCE_NONE = 0, NONCE_GOOD, NONCE_STALE, NONCE_REPLAYED };

/* Of a nonce and its count, as they came. `number` of a GOOD one is for nonce_spend(). */
enum nonce_verdict nonce_look(const struct nonce_key *key, const struct nonces *nonces,
                              struct slice nonce, uint32_t count, uint64_t now_mono_ms,
                              uint64_t lifetime_ms, uint32_t *number);

/* A password was proved with it: this count is spent from now on. False: it was already, or another
 * nonce has pushed it out since nonce_look(). */
bool nonce_spend(struct nonces *nonces, uint32_t number, uint32_t count);

#endif
