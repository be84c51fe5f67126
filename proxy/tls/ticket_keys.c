/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/ticket_keys.h"

#include "common/mem.h"
#include "common/random.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct aged_key {
    struct ticket_key key;
    uint64_t retired_mono_ms; /* when the next one took over; of the first one not used */
};

struct ticket_keys {
    atomic_uint references;
    size_t count;
    struct aged_key list[]; /* newest first */
};

/* How many of the old keys stay: they stand in the order of their ages. */
static size_t count_kept(const struct ticket_keys *old, uint64_t now_mono_ms, uint64_t keep_ms)
{
    size_t kept = old ? 1 : 0; /* the first one seals until now */
    while (old && kept < old->count && kept < TICKET_KEYS_MAX - 1 &&
           now_mono_ms - old->list[kept].retired_mono_ms < keep_ms)
        kept++;
    return kept;
}

enum error ticket_keys_rotate(const struct ticket_keys *old, uint64_t now_mono_ms, uint64_t keep_ms,
                              struct ticket_keys **out)
{
    size_t kept = count_kept(old, now_mono_ms, keep_ms);
    struct ticket_keys *keys = mem_zero(1, sizeof(*keys) + (kept + 1) * sizeof(keys->list[0]));
    *out = keys;
    if (!keys)
        return ERROR_MEMORY;
    atomic_init(&keys->references, 1);
    keys->count = kept + 1;
    random_bytes(&keys->list[0].key, sizeof(keys->list[0].key));
    if (kept) {
        memcpy(&keys->list[1], old->list, kept * sizeof(keys->list[0]));
        keys->list[1].retired_mono_ms = now_mono_ms;
    }
    return ERROR_NONE;
}

struct ticket_keys *ticket_keys_hold(struct ticket_keys *keys)
{
    if (keys)
        atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

void ticket_keys_drop(struct ticket_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1)
        return;
    OPENSSL_cleanse(keys, sizeof(*keys) + keys->count * sizeof(keys->list[0]));
    mem_free(keys);
}

const struct ticket_key *ticket_keys_first(const struct ticket_keys *keys)
{
    return &keys->list[0].key;
}

const struct ticket_key *ticket_keys_find(const struct ticket_keys *keys,
                                          const unsigned char name[TICKET_KEY_NAME_SIZE])
{
    for (size_t i = 0; i < keys->count; i++)
        if (memcmp(keys->list[i].key.name, name, TICKET_KEY_NAME_SIZE) == 0)
            return &keys->list[i].key;
    return NULL;
}
