/* SPDX-License-Identifier: Apache-2.0 */
/* The brake on guessing passwords: how many wrong ones came lately from one address for one user
 * name, and from one address at all. While there are too many, further ones are not looked at,
 * right or wrong, so that nothing is learnt by trying. Nobody is locked out elsewhere: another
 * address has its own count. An IPv6 address counts as its /64. Bounded: the longest quiet entry
 * makes room. One thread: the worker's, each worker counts for itself. */
#ifndef HOLDLINE_AUTHORIZATION_BRAKE_H
#define HOLDLINE_AUTHORIZATION_BRAKE_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/net/address.h"

#include <stdbool.h>
#include <stdint.h>

#define BRAKE_ENTRIES_MAX 16384 /* about 120 octets each */
/* An address may be wrong so many times more often than one user from it: behind it may be an
 * office. */
#define BRAKE_SOURCE_FACTOR 8

struct brake;

/* `failures` at once, then `per_minute`. */
enum error brake_new(unsigned failures, unsigned per_minute, struct brake **out) MUST_CHECK;
void brake_free(struct brake *brake); /* NULL is harmless */

/* Whether a password from there for that user name may be looked at. */
bool brake_is_open(const struct brake *brake, const struct address *source, struct slice user,
                   uint64_t now_mono_ms);
/* It was wrong. */
void brake_wrong(struct brake *brake, const struct address *source, struct slice user,
                 uint64_t now_mono_ms);
/* It was right: the user's count from there begins anew; the address' does not, or one good
 * password would buy any number of guesses at others. */
void brake_right(struct brake *brake, const struct address *source, struct slice user);

#endif
