/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes. OpenSSL 3.0 takes a process-wide lock in RAND_bytes(); each thread therefore draws
 * a pool at a time. */
#include "common/random.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_SIZE 512

static _Thread_local unsigned char pool[POOL_SIZE];
static _Thread_local size_t pool_left;
static _Thread_local bool seeded;
static _Thread_local uint64_t seed_state;

void random_seed_for_tests(uint64_t seed)
{
    seeded = true;
    seed_state = seed;
}

static uint64_t next_of_seed(void) /* splitmix64 */
{
    uint64_t z = (seed_state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void draw(unsigned char *out, size_t size)
{
    if (size <= INT_MAX && RAND_bytes(out, (int)size) == 1)
        return;
    fputs("no random numbers from OpenSSL\n", stderr);
    abort();
}

void random_bytes(void *out, size_t size)
{
    unsigned char *to = out;

    if (seeded) {
        for (size_t i = 0; i < size; i++)
            to[i] = (unsigned char)next_of_seed();
        return;
    }
    if (size > POOL_SIZE / 4) {
        draw(to, size);
        return;
    }
    if (pool_left < size) {
        draw(pool, POOL_SIZE);
        pool_left = POOL_SIZE;
    }
    pool_left -= size;
    memcpy(to, pool + pool_left, size);
    OPENSSL_cleanse(pool + pool_left, size); /* a later leak of memory gives no key away */
}

uint64_t random_u64(void)
{
    uint64_t value;

    random_bytes(&value, sizeof(value));
    return value;
}

void random_token(char *out, size_t count)
{
    static const char letters[32] = "abcdefghijklmnopqrstuvwxyz234567";

    random_bytes(out, count);
    for (size_t i = 0; i < count; i++)
        out[i] = letters[(unsigned char)out[i] & 31];
    out[count] = '\0';
}
