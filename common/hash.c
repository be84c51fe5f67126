/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
#include "common/hash.h"

#include "common/random.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

static uint8_t process_key[16];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return le64toh(value);
}

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* A struct of its own names instead of an array: the compiler keeps all four in registers. */
struct state {
    uint64_t a, b, c, d;
};

static inline struct state mix(struct state v)
{
    v.a += v.b;
    v.b = rotate(v.b, 13) ^ v.a;
    v.a = rotate(v.a, 32);
    v.c += v.d;
    v.d = rotate(v.d, 16) ^ v.c;
    v.a += v.d;
    v.d = rotate(v.d, 21) ^ v.a;
    v.c += v.b;
    v.b = rotate(v.b, 17) ^ v.c;
    v.c = rotate(v.c, 32);
    return v;
}

static inline struct state absorb(struct state v, uint64_t word)
{
    v.d ^= word;
    v = mix(mix(v));
    v.a ^= word;
    return v;
}

uint64_t hash_siphash(const uint8_t key[16], const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t k0 = load64(key), k1 = load64(key + 8);
    struct state v = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                       k1 ^ 0x7465646279746573u };
    uint64_t last = (uint64_t)size << 56;
    size_t left = size;

    for (; left >= 8; left -= 8, p += 8)
        v = absorb(v, load64(p));
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)p[i] << (8 * i);
    v = absorb(v, last);
    v.c ^= 0xff;
    v = mix(mix(mix(mix(v))));
    return v.a ^ v.b ^ v.c ^ v.d;
}

static void draw_process_key(void)
{
    random_bytes(process_key, sizeof(process_key));
}

uint64_t hash_bytes(const void *data, size_t size)
{
    pthread_once(&process_key_once, draw_process_key);
    return hash_siphash(process_key, data, size);
}
