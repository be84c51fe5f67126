/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/ground.h"

#include "proxy/authorization/ask_internal.h"
#include "proxy/authorization/tag.h"

void ground_begin(struct ground *ground, const struct ask *ask)
{
    const struct changes *changes = ask_changes(ask);

    *ground = (struct ground){ .edge_unix_s = UINT64_MAX, .edition = ask_edition(ask) };
    if (changes) {
        ground->epoch = changes->epoch;
        ground->serial = changes->position;
    }
}

void ground_add(struct ground *ground, const struct answer *answer)
{
    for (size_t i = 0; i < answer->tag_count && !ground->any; i++) {
        if (ground->count == GROUND_TAGS_MAX)
            ground->any = true;
        else
            ground->tags[ground->count++] = answer->tags[i];
    }
}

bool ground_holds(const struct ground *ground, const struct ask *ask)
{
    const struct changes *changes = ask_changes(ask);

    if (!changes || ask_now_unix_s(ask) >= ground->edge_unix_s ||
        ground->edition < ask_edition(ask))
        return false;
    if (ground->any && ground->serial < changes->position)
        return false;
    return changes_hold(changes, ground->epoch, ground->serial, ground->tags, ground->count);
}

bool ground_named_by(const struct ground *ground, uint64_t tag)
{
    if (tag == TAG_ALL || ground->any)
        return true;
    for (uint32_t i = 0; i < ground->count; i++) {
        if (ground->tags[i] == tag)
            return true;
    }
    return false;
}
