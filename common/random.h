/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from OpenSSL; a test may replace them by a seeded stream. */
#ifndef HOLDLINE_COMMON_RANDOM_H
#define HOLDLINE_COMMON_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Never fails: without random numbers the program ends. Thread-safe, without a lock for small
 * sizes (a pool for each thread; not for use after a fork). Fit for keys. */
void random_bytes(void *out, size_t size);
uint64_t random_u64(void);
/* `count` characters of base32 (lower case a-z2-7), 5 random bits each, NUL-terminated: for tags
 * and branches. out has count + 1. */
void random_token(char *out, size_t count);
/* For tests only: from here on a repeatable stream in this thread. */
void random_seed_for_tests(uint64_t seed);

#endif
