/* SPDX-License-Identifier: Apache-2.0 */
/* One record a tag with the serial of the newest message that named it: an older message for the
 * same tag says nothing more. The records stand in the order of their serials. */
#include "proxy/authorization/changes.h"

#include "common/hash.h"
#include "proxy/authorization/tag.h"

#include <utlist.h>

struct change {
    uint64_t tag, serial, seen_mono_ms;
    struct change *prev, *next; /* towards newer */
    UT_hash_handle hh;
};

void changes_init(struct changes *changes)
{
    *changes = (struct changes){ 0 };
}

static void drop_oldest(struct changes *changes)
{
    struct change *change = changes->oldest;

    changes->floor = change->serial;
    DL_DELETE(changes->oldest, change);
    HASH_DELETE(hh, changes->by_tag, change);
    changes->count--;
    mem_free(change);
}

static void drop_all(struct changes *changes)
{
    while (changes->oldest)
        drop_oldest(changes);
}

void changes_free(struct changes *changes)
{
    changes_forget(changes);
}

void changes_forget(struct changes *changes)
{
    drop_all(changes);
    changes->epoch = changes->floor = changes->position = 0;
}

void changes_begin(struct changes *changes, uint64_t epoch, uint64_t serial)
{
    drop_all(changes);
    changes->epoch = epoch;
    changes->floor = changes->position = serial;
}

enum error changes_tick(struct changes *changes, uint64_t epoch, uint64_t serial)
{
    if (epoch == 0 || epoch != changes->epoch || serial < changes->position)
        return ERROR_MALFORMED;
    changes->position = serial;
    return ERROR_NONE;
}

static void raise_floor(struct changes *changes, uint64_t serial)
{
    drop_all(changes);
    changes->floor = serial;
}

static void expire(struct changes *changes, uint64_t now_mono_ms)
{
    while (changes->count > CHANGES_KEPT_MAX ||
           (changes->count > CHANGES_KEPT_MIN &&
            now_mono_ms - changes->oldest->seen_mono_ms > CHANGES_KEPT_MS))
        drop_oldest(changes);
}

static struct change *find_change(const struct changes *changes, uint64_t tag)
{
    struct change *change;

    HASH_FIND(hh, changes->by_tag, &tag, sizeof tag, change);
    return change;
}

/* The record of the tag, not in the list; NULL without memory. */
static struct change *take_change(struct changes *changes, uint64_t tag)
{
    struct change *change = find_change(changes, tag);

    if (change) {
        DL_DELETE(changes->oldest, change);
        return change;
    }
    change = mem_zero(1, sizeof *change);
    if (!change)
        return NULL;
    change->tag = tag;
    HASH_ADD(hh, changes->by_tag, tag, sizeof change->tag, change);
    if (!change->hh.tbl) {
        mem_free(change);
        return NULL;
    }
    changes->count++;
    return change;
}

enum error changes_message(struct changes *changes, uint64_t epoch, uint64_t serial, uint64_t tag,
                           uint64_t now_mono_ms)
{
    struct change *change;

    if (epoch == 0 || epoch != changes->epoch || serial < changes->position)
        return ERROR_MALFORMED;
    changes->position = serial;
    change = tag == TAG_ALL ? NULL : take_change(changes, tag);
    if (!change) {
        raise_floor(changes, serial);
        return ERROR_NONE;
    }
    change->serial = serial;
    change->seen_mono_ms = now_mono_ms;
    DL_APPEND(changes->oldest, change);
    expire(changes, now_mono_ms);
    return ERROR_NONE;
}

bool changes_hold(const struct changes *changes, uint64_t epoch, uint64_t serial,
                  const uint64_t *tags, size_t count)
{
    if (epoch == 0 || epoch != changes->epoch || serial < changes->floor)
        return false;
    if (serial >= changes->position) /* nearly always: no message since */
        return true;
    for (size_t i = 0; i < count; i++) {
        const struct change *change = find_change(changes, tags[i]);

        if (tags[i] == TAG_ALL || (change && change->serial > serial))
            return false;
    }
    return true;
}
