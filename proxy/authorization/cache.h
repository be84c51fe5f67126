/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's answers of PEER and RIGHTS, by key, dropped by tag. Bounded by number and by bytes,
 * oldest use goes first. Answers that found nothing have a small share of their own, so that
 * questions for a million invented names push no known answer out (T35). One thread, no I/O. */
#ifndef HOLDLINE_AUTHORIZATION_CACHE_H
#define HOLDLINE_AUTHORIZATION_CACHE_H

#include "proxy/authorization/answer.h"

/* Bytes an entry may have on average before the bound on bytes cuts in. */
#define CACHE_BYTES_PER_ENTRY 2048
/* One unknown answer to so many known ones, but at least the minimum. */
#define CACHE_UNKNOWN_SHARE 16
#define CACHE_UNKNOWN_MIN   64

struct cache_entry;
struct cache_tag;
struct cache_list {
    struct cache_entry *first; /* used last; utlist */
    size_t count, limit;
    size_t bytes, bytes_limit;
};
struct cache {
    struct cache_entry *by_key;
    struct cache_tag *by_tag;
    struct cache_list known, unknown;
};

void cache_init(struct cache *cache, size_t entries);
void cache_free(struct cache *cache);

/* A new reference, or NULL. An answer whose edge has passed, or that was stored at a later wall
 * time than now (the clock went back), is dropped. */
struct answer *cache_get(struct cache *cache, enum lookup_kind kind, struct slice key,
                         uint64_t now_unix_s) MUST_CHECK;

/* Takes a reference of its own; replaces what stood under the key. A LOCATE answer, or one that
 * memory fails for, or that is larger than its list's bytes, is not kept. */
void cache_put(struct cache *cache, struct answer *answer, uint64_t now_unix_s);

void cache_drop_tag(struct cache *cache, uint64_t tag); /* TAG_ALL: everything */
void cache_drop_all(struct cache *cache);

#endif
