/* SPDX-License-Identifier: Apache-2.0 */
/* A Bloom filter of fixed size. */
#include "mapctl/list/seen.h"

#include "common/hash.h"
#include "common/mem.h"

#define BITS   (1u << 27)
#define PROBES 6

enum error list_seen_init(struct list_seen *seen)
{
    seen->bits = mem_zero(BITS / 64, sizeof(*seen->bits));
    return seen->bits ? ERROR_NONE : ERROR_MEMORY;
}

void list_seen_free(struct list_seen *seen)
{
    mem_free(seen->bits);
    seen->bits = NULL;
}

bool list_seen_add(struct list_seen *seen, struct slice value)
{
    uint64_t hash = hash_bytes(value.data, value.size);
    uint32_t at = (uint32_t)hash, step = (uint32_t)(hash >> 32) | 1;
    bool all = true;

    for (int i = 0; i < PROBES; i++, at += step) {
        uint32_t bit = at % BITS;
        uint64_t mask = (uint64_t)1 << (bit % 64);
        all = all && (seen->bits[bit / 64] & mask);
        seen->bits[bit / 64] |= mask;
    }
    return all;
}
