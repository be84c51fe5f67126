/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie in one buffer, their keys in another, so that neither moves what the other points to.
 */
#include "mapperd/difference.h"

#include "common/hash.h"
#include "mapperd/range.h"
#include "mapperd/record.h"

#include <stdlib.h>

struct entry {
    size_t at;
    uint64_t digest;
    uint16_t size;
    bool present;
};

void difference_list_init(struct difference_list *list)
{
    buffer_init(&list->bytes, 0);
    buffer_init(&list->entries, 0);
}

void difference_list_free(struct difference_list *list)
{
    buffer_free(&list->bytes);
    buffer_free(&list->entries);
}

void difference_list_reset(struct difference_list *list)
{
    buffer_reset(&list->bytes);
    buffer_reset(&list->entries);
}

bool difference_list_failed(const struct difference_list *list)
{
    return list->bytes.failed || list->entries.failed;
}

size_t difference_list_count(const struct difference_list *list)
{
    return buffer_size(&list->entries) / sizeof(struct entry);
}

static struct entry entry_at(const struct difference_list *list, size_t i)
{
    struct entry entry;
    memcpy(&entry, buffer_slice(&list->entries).data + i * sizeof(entry), sizeof(entry));
    return entry;
}

struct difference_record difference_list_at(const struct difference_list *list, size_t i)
{
    struct entry entry = entry_at(list, i);
    return (struct difference_record){ { buffer_slice(&list->bytes).data + entry.at, entry.size },
                                       entry.digest,
                                       entry.present };
}

static void add(struct difference_list *list, struct slice key, uint64_t digest, bool present)
{
    struct entry entry = { .at = buffer_size(&list->bytes),
                           .digest = digest,
                           .size = (uint16_t)key.size,
                           .present = present };
    buffer_add(&list->bytes, key);
    buffer_add(&list->entries, (struct slice){ (const char *)&entry, sizeof(entry) });
}

/* A binding's version as one number in the order of versions, as far as versions are ever given: 43
 * bits of milliseconds last beyond the year 2240, ids of mapperds count from 1. */
static uint64_t rank(struct slice value)
{
    struct record_binding binding;
    if (record_binding_read(value, &binding) != ERROR_NONE)
        return 0;
    uint64_t ms = binding.version.unix_ms;
    return (ms >> 43 == 0 ? ms : (UINT64_C(1) << 43) - 1) << 20 | (binding.version.by & 0xfffff);
}

static uint64_t digest_of(enum store_table table, struct slice value)
{
    return table == STORE_BINDING ? rank(value) : hash_bytes(value.data, value.size);
}

void difference_list_add(struct difference_list *list, enum store_table table, struct slice key,
                         struct slice value)
{
    add(list, key, digest_of(table, value), true);
}

static int by_key(const void *a, const void *b, void *bytes)
{
    struct entry x, y;
    const char *at = bytes;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return slice_compare((struct slice){ at + x.at, x.size }, (struct slice){ at + y.at, y.size });
}

void difference_list_sort(struct difference_list *list)
{
    size_t count = difference_list_count(list);
    if (count > 1 && !difference_list_failed(list))
        qsort_r(list->entries.data + list->entries.from, count, sizeof(struct entry), by_key,
                list->bytes.data + list->bytes.from);
}

/* What of the range the database has and the store passed over. */
static void take_missing(const struct difference_list *theirs, size_t *next, struct slice before,
                         bool all, size_t most, struct difference_list *found)
{
    size_t count = difference_list_count(theirs);
    for (; *next < count && difference_list_count(found) < most; ++*next) {
        struct difference_record r = difference_list_at(theirs, *next);
        if (!all && slice_compare(r.key, before) >= 0)
            return;
        add(found, r.key, 0, false);
    }
}

/* One record of the store; false: no more are taken. */
static bool take_ours(const struct difference_list *theirs, size_t *next, enum store_table table,
                      struct slice key, struct slice value, size_t most,
                      struct difference_list *found)
{
    uint64_t digest = digest_of(table, value);
    take_missing(theirs, next, key, false, most, found);
    if (difference_list_count(found) >= most)
        return false;
    bool differs = table != STORE_BINDING; /* when it is here alone */
    if (*next < difference_list_count(theirs)) {
        struct difference_record r = difference_list_at(theirs, *next);
        if (slice_equal(r.key, key)) {
            ++*next;
            differs = table == STORE_BINDING ? r.digest > digest : r.digest != digest;
        }
    }
    if (differs)
        add(found, key, digest, true);
    return difference_list_count(found) < most;
}

enum error difference_find(struct store_writer *writer, const struct difference_range *range,
                           const struct difference_list *theirs, size_t most,
                           struct difference_list *found, bool *cut)
{
    struct store_walk walk;
    struct slice key, value;
    size_t next = 0;
    bool more = true;
    difference_list_reset(found);
    store_walk_writer(writer, range->table, range->after, &walk);
    while (more && store_walk_next(&walk, &key, &value)) {
        struct slice place = range_place(range->table, key);
        if (range->after.size > 0 && slice_compare(place, range->after) <= 0)
            continue;
        if (!range->to_end && slice_compare(place, range->upto) > 0)
            break;
        more = take_ours(theirs, &next, range->table, key, value, most, found);
    }
    store_walk_end(&walk);
    if (more)
        take_missing(theirs, &next, SLICE(""), true, most, found);
    *cut = difference_list_count(found) >= most;
    return walk.error != ERROR_NONE        ? walk.error
           : difference_list_failed(found) ? ERROR_MEMORY
                                           : ERROR_NONE;
}

enum error difference_stands(struct store_writer *writer, enum store_table table,
                             const struct difference_record *record, bool *stands)
{
    struct slice value;
    enum error e = store_writer_get(writer, table, record->key, &value);
    if (e == ERROR_NOT_FOUND) {
        *stands = !record->present;
        return ERROR_NONE;
    }
    *stands = e == ERROR_NONE && record->present && digest_of(table, value) == record->digest;
    return e;
}
