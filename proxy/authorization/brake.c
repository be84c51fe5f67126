/* SPDX-License-Identifier: Apache-2.0 */
/* Leaky buckets: each wrong password adds a cost, which time takes away again. */
#include "proxy/authorization/brake.h"

#include "common/hash.h"

#include <utlist.h>

#define USER_MAX 256

struct entry {
    uint64_t key;
    uint64_t clear_mono_ms;    /* when all of its cost will be gone */
    struct entry *prev, *next; /* wrong last: at the end */
    UT_hash_handle hh;
};

struct brake {
    uint64_t cost_ms, room_ms; /* of one wrong password; of all that a user may have */
    struct entry *by_key, *in_order;
    size_t count;
};

enum error brake_new(unsigned failures, unsigned per_minute, struct brake **out)
{
    *out = mem_zero(1, sizeof(**out));
    if (!*out)
        return ERROR_MEMORY;
    (*out)->cost_ms = 60000 / per_minute;
    (*out)->room_ms = failures * (*out)->cost_ms;
    return ERROR_NONE;
}

static void drop(struct brake *brake, struct entry *entry)
{
    HASH_DELETE(hh, brake->by_key, entry);
    DL_DELETE(brake->in_order, entry);
    brake->count--;
    mem_free(entry);
}

void brake_free(struct brake *brake)
{
    if (!brake)
        return;
    while (brake->in_order)
        drop(brake, brake->in_order);
    mem_free(brake);
}

/* Of the address, and of the user name when there is one. */
static uint64_t key_of(const struct address *source, struct slice user)
{
    unsigned char text[1 + 8 + USER_MAX] = { 0 };
    size_t size = user.size < USER_MAX ? user.size : USER_MAX;

    if (source->family == AF_INET) {
        text[0] = 4;
        memcpy(text + 1, &source->v4.sin_addr, 4);
    } else if (source->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&source->v6.sin6_addr)) {
        text[0] = 4;
        memcpy(text + 1, source->v6.sin6_addr.s6_addr + 12, 4);
    } else if (source->family == AF_INET6) {
        text[0] = 6;
        memcpy(text + 1, &source->v6.sin6_addr, 8);
    }
    if (size)
        memcpy(text + 9, user.data, size);
    return hash_bytes(text, 9 + size);
}

static struct entry *find(const struct brake *brake, uint64_t key)
{
    struct entry *entry;

    HASH_FIND(hh, brake->by_key, &key, sizeof(key), entry);
    return entry;
}

static bool has_room(const struct brake *brake, uint64_t key, uint64_t room_ms,
                     uint64_t now_mono_ms)
{
    const struct entry *entry = find(brake, key);

    return !entry || entry->clear_mono_ms <= now_mono_ms ||
           entry->clear_mono_ms - now_mono_ms + brake->cost_ms <= room_ms;
}

bool brake_is_open(const struct brake *brake, const struct address *source, struct slice user,
                   uint64_t now_mono_ms)
{
    return has_room(brake, key_of(source, SLICE("")), brake->room_ms * BRAKE_SOURCE_FACTOR,
                    now_mono_ms) &&
           has_room(brake, key_of(source, user), brake->room_ms, now_mono_ms);
}

static struct entry *make(struct brake *brake, uint64_t key)
{
    struct entry *entry;

    if (brake->count == BRAKE_ENTRIES_MAX)
        drop(brake, brake->in_order);
    entry = mem_zero(1, sizeof(*entry));
    if (!entry)
        return NULL;
    entry->key = key;
    HASH_ADD(hh, brake->by_key, key, sizeof(entry->key), entry);
    if (!entry->hh.tbl) {
        mem_free(entry);
        return NULL;
    }
    DL_APPEND(brake->in_order, entry);
    brake->count++;
    return entry;
}

static void add(struct brake *brake, uint64_t key, uint64_t now_mono_ms)
{
    struct entry *entry = find(brake, key);

    if (!entry)
        entry = make(brake, key);
    if (!entry)
        return;
    DL_DELETE(brake->in_order, entry);
    DL_APPEND(brake->in_order, entry);
    if (entry->clear_mono_ms < now_mono_ms)
        entry->clear_mono_ms = now_mono_ms;
    entry->clear_mono_ms += brake->cost_ms;
}

void brake_wrong(struct brake *brake, const struct address *source, struct slice user,
                 uint64_t now_mono_ms)
{
    add(brake, key_of(source, SLICE("")), now_mono_ms);
    add(brake, key_of(source, user), now_mono_ms);
}

void brake_right(struct brake *brake, const struct address *source, struct slice user)
{
    struct entry *entry = find(brake, key_of(source, user));

    if (entry)
        drop(brake, entry);
}
