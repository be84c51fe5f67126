/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of session tickets: drawn at random, the newest seals, all open. A set never changes: a
 * rotation makes another one, which main's thread hands to the workers (counted references). They
 * are in memory alone, never in a file or a log, and are wiped when the last one lets go of a set:
 * after a restart every peer has to do a full handshake. */
#ifndef HOLDLINE_TLS_TICKET_KEYS_H
#define HOLDLINE_TLS_TICKET_KEYS_H

#include "common/error.h"

#include <stdint.h>

#define TICKET_KEYS_MAX      256 /* beyond it the oldest goes early */
#define TICKET_KEY_NAME_SIZE 16  /* stands in the ticket, in clear (RFC 5077 4) */

struct ticket_key {
    unsigned char name[TICKET_KEY_NAME_SIZE];
    unsigned char cipher[32]; /* AES-256-CBC */
    unsigned char mac[32];    /* HMAC-SHA256, over what was encrypted */
};

struct ticket_keys;

/* A new key before those of `old` (NULL: none), of which each goes that has not sealed for
 * keep_ms. ERROR_MEMORY. */
enum error ticket_keys_rotate(const struct ticket_keys *old, uint64_t now_mono_ms, uint64_t keep_ms,
                              struct ticket_keys **out) MUST_CHECK;
struct ticket_keys *ticket_keys_hold(struct ticket_keys *keys);
void ticket_keys_drop(struct ticket_keys *keys); /* NULL is harmless; the last one wipes it */

/* The one that seals. */
const struct ticket_key *ticket_keys_first(const struct ticket_keys *keys);
/* NULL: there is none of that name. */
const struct ticket_key *ticket_keys_find(const struct ticket_keys *keys,
                                          const unsigned char name[TICKET_KEY_NAME_SIZE]);

#endif
