/* SPDX-License-Identifier: Apache-2.0 */
/* The sum that stands before every value in LMDB. Against damage, not against forgery: each step is
 * a bijection of the sum, so that no change of a single word can get lost, and it takes a few
 * nanoseconds. */
#ifndef HOLDLINE_MAPPERD_CHECKSUM_H
#define HOLDLINE_MAPPERD_CHECKSUM_H

#include "common/slice.h"

#include <stdint.h>
#include <string.h>

#define CHECKSUM_SIZE 4

static inline uint64_t checksum_mix(uint64_t sum, const void *data, size_t size)
{
    const char *at = data;
    uint64_t word;
    for (; size >= sizeof(word); size -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sum = (sum ^ word) * 0x9fb21c651e98df25u;
        sum ^= sum >> 32;
    }
    word = size;
    memcpy(&word, at, size);
    sum = (sum ^ word) * 0x9fb21c651e98df25u;
    return sum ^ sum >> 32;
}

/* Over a key and its value. */
static inline uint32_t checksum_of(struct slice key, const void *payload, size_t size)
{
    uint64_t sum =
        checksum_mix(0x686f6c646c696e65u ^ (uint64_t)key.size << 32 ^ size, key.data, key.size);
    return (uint32_t)checksum_mix(sum, payload, size);
}

#endif
