/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of lists, outwards. */
#include "mapctl/list/writer.h"

#include "mapctl/list/guard.h"

#include <csv.h>
#include <stdio.h>

static char delimiter_of(const struct list_writer *writer)
{
    if (writer->delimiter != '\0')
        return writer->delimiter;
    return writer->format == LIST_TSV ? '\t' : ',';
}

/* A comma of a user stands as %2C, since commas stand between identities; the canonical form is the
 * same. */
static void add_identities(struct buffer *out, const struct list_row *row)
{
    for (size_t i = 0; i < row->identity_count; i++) {
        struct slice rest = row->identities[i];
        const char *comma;
        if (i > 0)
            buffer_add_char(out, ',');
        while (rest.size > 0 && (comma = memchr(rest.data, ',', rest.size)) != NULL) {
            size_t size = (size_t)(comma - rest.data);
            buffer_add(out, (struct slice){ rest.data, size });
            buffer_add_text(out, "%2C");
            rest.data += size + 1;
            rest.size -= size + 1;
        }
        buffer_add(out, rest);
    }
}

/* ---- repro and mac ---- */

/* What repro's reader would pass over or cut. */
static bool fits_a_line(struct slice cn, char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX];
    bool mark = cn.size >= 3 && memcmp(cn.data, "\xef\xbb\xbf", 3) == 0;

    if (cn.size > 0 && cn.data[0] != '#' && cn.data[0] != ' ' && !mark)
        return true;
    snprintf(why, LIST_WHY_MAX,
             "CN %s can't stand at the beginning of a line of this format; write --format csv",
             list_shown(cn, shown));
    return false;
}

static bool write_line(const struct list_writer *writer, const struct list_row *row,
                       struct buffer *out, char why[LIST_WHY_MAX])
{
    if (!fits_a_line(row->cn, why))
        return false;
    buffer_add(out, row->cn);
    if (writer->format == LIST_REPRO) {
        buffer_add_char(out, '\t');
        add_identities(out, row);
    }
    buffer_add_char(out, '\n');
    return true;
}

/* ---- csv and tsv ---- */

/* Every field in quotes: then no value is a comment, a number or two fields. */
static void add_field(const struct list_writer *writer, struct buffer *out, struct slice value)
{
    bool guard = !writer->bare && list_needs_guard(value);
    size_t room = 2 * value.size + 2;
    char *at;

    if (guard) { /* csv_write2() takes one piece: the quote opens here */
        buffer_add_text(out, "\"'");
        for (size_t i = 0; i < value.size; i++) {
            if (value.data[i] == '"')
                buffer_add_char(out, '"');
            buffer_add_char(out, value.data[i]);
        }
        buffer_add_char(out, '"');
        return;
    }
    at = buffer_reserve(out, room);
    if (at != NULL)
        buffer_commit(out, csv_write2(at, room, value.data, value.size, '"'));
}

static bool write_record(const struct list_writer *writer, const struct list_row *row,
                         struct buffer *out)
{
    char delimiter = delimiter_of(writer);
    struct buffer identities;

    buffer_init(&identities, 0);
    add_identities(&identities, row);
    add_field(writer, out, row->cn);
    buffer_add_char(out, delimiter);
    add_field(writer, out, buffer_slice(&identities));
    if (writer->with_places) {
        buffer_add_char(out, delimiter);
        add_field(writer, out, row->label);
        buffer_add_char(out, delimiter);
        add_field(writer, out, row->site);
    }
    buffer_add_char(out, '\n');
    out->failed = out->failed || identities.failed;
    buffer_free(&identities);
    return true;
}

/* ---- Public ---- */

void list_write_head(const struct list_writer *writer, struct buffer *out)
{
    char delimiter = delimiter_of(writer);

    if (writer->format != LIST_CSV && writer->format != LIST_TSV)
        return;
    buffer_add_text(out, "cn");
    buffer_add_char(out, delimiter);
    buffer_add_text(out, "identity");
    if (writer->with_places) {
        buffer_add_char(out, delimiter);
        buffer_add_text(out, "label");
        buffer_add_char(out, delimiter);
        buffer_add_text(out, "site");
    }
    buffer_add_char(out, '\n');
}

bool list_write_row(const struct list_writer *writer, const struct list_row *row,
                    struct buffer *out, char why[LIST_WHY_MAX])
{
    switch (writer->format) {
    case LIST_FORMAT_NONE:
        break;
    case LIST_REPRO:
    case LIST_MAC:
        return write_line(writer, row, out, why);
    case LIST_CSV:
    case LIST_TSV:
        return write_record(writer, row, out);
    }
    return false;
}
