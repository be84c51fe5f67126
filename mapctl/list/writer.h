/* SPDX-License-Identifier: Apache-2.0 */
/* Lists as export writes them and as the reader takes them back: UTF-8, lines end in LF. Pure. */
#ifndef HOLDLINE_MAPCTL_LIST_WRITER_H
#define HOLDLINE_MAPCTL_LIST_WRITER_H

#include "common/buffer.h"
#include "mapctl/list/reader.h"

struct list_writer {
    enum list_format format;
    char delimiter;   /* '\0' = of the format */
    bool with_places; /* csv and tsv: columns label and site */
    bool bare;        /* csv and tsv: without the apostrophe of guard.h */
};

/* The header, where the format has one. */
void list_write_head(const struct list_writer *writer, struct buffer *out);

/* One device; a failed buffer says that memory lacked. False: the CN can't stand in this format,
 * `why` says which can take it; nothing was written. */
bool list_write_row(const struct list_writer *writer, const struct list_row *row,
                    struct buffer *out, char why[LIST_WHY_MAX]) MUST_CHECK;

#endif
