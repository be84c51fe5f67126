/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of INFO. */
#include "mapctl/info.h"

bool info_next(struct slice *rest, struct slice *key, struct slice *value)
{
    while (rest->size > 0) {
        const char *end = memchr(rest->data, '\n', rest->size);
        size_t size = end ? (size_t)(end - rest->data) : rest->size;
        struct slice line = slice_trim((struct slice){ rest->data, size });
        const char *colon = line.size ? memchr(line.data, ':', line.size) : NULL;

        rest->data += end ? size + 1 : size;
        rest->size -= end ? size + 1 : size;
        if (colon == NULL || colon == line.data || *line.data == '#')
            continue;
        *key = (struct slice){ line.data, (size_t)(colon - line.data) };
        *value = slice_trim((struct slice){ colon + 1, line.size - key->size - 1 });
        return true;
    }
    return false;
}

struct slice info_value(struct slice info, const char *key)
{
    struct slice name, value;

    while (info_next(&info, &name, &value)) {
        if (slice_equal(name, slice_of(key)))
            return value;
    }
    return (struct slice){ "", 0 };
}
