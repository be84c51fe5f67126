/* SPDX-License-Identifier: Apache-2.0 */
/* Where a list is written to: standard output, or a file that appears whole under its name or not
 * at all. */
#ifndef HOLDLINE_MAPCTL_LIST_OUTPUT_H
#define HOLDLINE_MAPCTL_LIST_OUTPUT_H

#include "common/buffer.h"

#include <limits.h>

struct list_output {
    struct buffer bytes; /* to be written; append here, then list_output_flush() */
    const char *path;    /* NULL: standard output */
    char temporary[PATH_MAX];
    int descriptor;
};

/* False: already said. A path that is no regular file, such as a pipe, is written to as it is. */
bool list_output_open(struct list_output *output, const char *path);
/* Writes what has gathered, when it is much or `all` of it. False: already said. */
bool list_output_flush(struct list_output *output, bool all);
/* `good`: the list is whole; the file gets its name. Gives whether it did. */
bool list_output_close(struct list_output *output, bool good);

#endif
