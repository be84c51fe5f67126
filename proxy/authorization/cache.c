/* SPDX-License-Identifier: Apache-2.0 */
/* An entry stands in three places: the table by key, one of the two lists by use, and one list for
 * each tag of its answer. */
#include "proxy/authorization/cache.h"

#include "common/hash.h"
#include "proxy/authorization/tag.h"

#include <assert.h>
#include <utlist.h>

struct cache_link {
    struct cache_tag *tag;
    struct cache_entry *entry;
    struct cache_link *prev, *next;
};

struct cache_tag {
    uint64_t tag;
    struct cache_link *links;
    UT_hash_handle hh;
};

struct cache_entry {
    struct answer *answer;
    struct cache_list *list;
    uint64_t stored_unix_s;
    struct cache_entry *prev, *next;
    UT_hash_handle hh; /* by key, see cache_key() */
    size_t link_count;
    struct cache_link links[];
};

static void list_init(struct cache_list *list, size_t limit)
{
    *list = (struct cache_list){ .limit = limit, .bytes_limit = limit * CACHE_BYTES_PER_ENTRY };
}

void cache_init(struct cache *cache, size_t entries)
{
    size_t unknown = entries / CACHE_UNKNOWN_SHARE;

    *cache = (struct cache){ 0 };
    list_init(&cache->known, entries ? entries : 1);
    list_init(&cache->unknown, unknown < CACHE_UNKNOWN_MIN ? CACHE_UNKNOWN_MIN : unknown);
}

/* Kind and key in one run of bytes: the answer keeps them so, in front of its key. */
static struct slice cache_key(const struct answer *answer)
{
    return (struct slice){ answer->key.data - 1, answer->key.size + 1 };
}

static void unlink_tags(struct cache *cache, struct cache_entry *entry)
{
    for (size_t i = 0; i < entry->link_count; i++) {
        struct cache_tag *tag = entry->links[i].tag;

        DL_DELETE(tag->links, &entry->links[i]);
        if (!tag->links) {
            HASH_DELETE(hh, cache->by_tag, tag);
            mem_free(tag);
        }
    }
    entry->link_count = 0;
}

static void drop(struct cache *cache, struct cache_entry *entry)
{
    unlink_tags(cache, entry);
    HASH_DELETE(hh, cache->by_key, entry);
    DL_DELETE(entry->list->first, entry);
    entry->list->count--;
    entry->list->bytes -= entry->answer->size;
    answer_release(entry->answer);
    mem_free(entry);
}

void cache_free(struct cache *cache)
{
    cache_drop_all(cache);
}

static struct cache_entry *find_entry(const struct cache *cache, struct slice key)
{
    struct cache_entry *entry;

    HASH_FIND(hh, cache->by_key, key.data, key.size, entry);
    return entry;
}

struct answer *cache_get(struct cache *cache, enum lookup_kind kind, struct slice key,
                         uint64_t now_unix_s)
{
    char text[1 + LOOKUP_KEY_MAX];
    struct cache_entry *entry;

    if (key.size > LOOKUP_KEY_MAX)
        return NULL;
    text[0] = (char)kind;
    memcpy(text + 1, key.data, key.size);
    entry = find_entry(cache, (struct slice){ text, 1 + key.size });
    if (!entry)
        return NULL;
    if (now_unix_s >= entry->answer->edge_unix_s || now_unix_s < entry->stored_unix_s) {
        drop(cache, entry);
        return NULL;
    }
    DL_DELETE(entry->list->first, entry);
    DL_PREPEND(entry->list->first, entry);
    return answer_hold(entry->answer);
}

static struct cache_tag *get_tag(struct cache *cache, uint64_t value)
{
    struct cache_tag *tag;

    HASH_FIND(hh, cache->by_tag, &value, sizeof value, tag);
    if (tag)
        return tag;
    tag = mem_zero(1, sizeof *tag);
    if (!tag)
        return NULL;
    tag->tag = value;
    HASH_ADD(hh, cache->by_tag, tag, sizeof tag->tag, tag);
    if (!tag->hh.tbl) {
        mem_free(tag);
        return NULL;
    }
    return tag;
}

static bool link_tags(struct cache *cache, struct cache_entry *entry)
{
    const struct answer *answer = entry->answer;

    for (size_t i = 0; i < answer->tag_count; i++) {
        struct cache_link *link = &entry->links[i];

        link->entry = entry;
        link->tag = get_tag(cache, answer->tags[i]);
        if (!link->tag) {
            unlink_tags(cache, entry);
            return false;
        }
        DL_APPEND(link->tag->links, link);
        entry->link_count++;
    }
    return true;
}

/* NULL: no memory, nothing is kept. */
static struct cache_entry *make_entry(struct cache *cache, struct answer *answer)
{
    struct cache_entry *entry =
        mem_zero(1, sizeof *entry + answer->tag_count * sizeof entry->links[0]);

    if (!entry)
        return NULL;
    entry->answer = answer;
    if (link_tags(cache, entry)) {
        struct slice key = cache_key(answer);

        HASH_ADD_KEYPTR(hh, cache->by_key, key.data, key.size, entry);
        if (entry->hh.tbl)
            return entry;
        unlink_tags(cache, entry);
    }
    mem_free(entry);
    return NULL;
}

static struct cache_entry *last_used(const struct cache_list *list)
{
    return list->first ? list->first->prev : NULL; /* utlist: the head's prev is the tail */
}

void cache_put(struct cache *cache, struct answer *answer, uint64_t now_unix_s)
{
    struct cache_list *list = answer_is_unknown(answer) ? &cache->unknown : &cache->known;
    struct cache_entry *entry = find_entry(cache, cache_key(answer));

    if (entry)
        drop(cache, entry);
    if (answer->kind == LOOKUP_LOCATE || answer->size > list->bytes_limit)
        return;
    entry = make_entry(cache, answer);
    if (!entry)
        return;
    answer_hold(answer);
    entry->stored_unix_s = now_unix_s;
    entry->list = list;
    DL_PREPEND(list->first, entry);
    list->count++;
    list->bytes += answer->size;
    while (list->count > list->limit || list->bytes > list->bytes_limit)
        drop(cache, last_used(list));
}

void cache_drop_tag(struct cache *cache, uint64_t value)
{
    struct cache_tag *tag;
    bool last = false;

    if (value == TAG_ALL) {
        cache_drop_all(cache);
        return;
    }
    HASH_FIND(hh, cache->by_tag, &value, sizeof value, tag);
    while (tag && !last) { /* an answer has each tag once; the last drop frees the tag */
        last = tag->links->next == NULL;
        drop(cache, tag->links->entry);
    }
}

void cache_drop_all(struct cache *cache)
{
    while (cache->known.first)
        drop(cache, cache->known.first);
    while (cache->unknown.first)
        drop(cache, cache->unknown.first);
    assert(!cache->by_tag && !cache->by_key);
}
