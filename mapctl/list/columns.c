/* SPDX-License-Identifier: Apache-2.0 */
/* Columns by name. */
#include "mapctl/list/columns.h"

#include "common/mem.h"
#include "mapctl/list/csv.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const KEYS[LIST_COLUMNS] = { "cn", "identity", "label", "site" };

static bool refuse(char why[LIST_WHY_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(char why[LIST_WHY_MAX], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, LIST_WHY_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- The option ---- */

struct choice {
    struct list_columns *columns;
    char *why;
    size_t used;
    bool good;
};

static bool choose(struct choice *choice, struct slice field)
{
    const char *sign = field.size ? memchr(field.data, '=', field.size) : NULL;
    struct slice key =
        slice_trim((struct slice){ field.data, sign ? (size_t)(sign - field.data) : 0 });
    struct slice name = { "", 0 };
    char shown[LIST_SHOWN_MAX];

    if (sign)
        name = slice_trim((struct slice){ sign + 1, field.size - (size_t)(sign + 1 - field.data) });
    for (size_t i = 0; i < LIST_COLUMNS; i++) {
        if (!slice_equal_nocase(key, slice_of(KEYS[i])) || name.size == 0)
            continue;
        if (choice->columns->chosen[i] || name.size > LIST_COLUMN_NAMES - choice->used)
            return refuse(choice->why, "--columns names %s twice, or its names are too long",
                          KEYS[i]);
        memcpy(choice->columns->text + choice->used, name.data, name.size);
        choice->columns->names[i] =
            (struct slice){ choice->columns->text + choice->used, name.size };
        choice->columns->chosen[i] = true;
        choice->used += name.size;
        return true;
    }
    return refuse(choice->why,
                  "--columns has %s; write KEY=NAME with cn, identity, label or site as KEY, such "
                  "as cn=MAC,identity=Ext",
                  list_shown(field, shown));
}

static bool on_choices(void *context, uint64_t line, const struct slice *fields, size_t count,
                       const char *wrong)
{
    struct choice *choice = context;

    (void)line;
    choice->good = wrong == NULL || refuse(choice->why, "--columns: %s", wrong);
    for (size_t i = 0; choice->good && i < count; i++)
        choice->good = choose(choice, fields[i]);
    return true;
}

bool list_columns_read(struct list_columns *columns, const char *option, char why[LIST_WHY_MAX])
{
    struct choice choice = { .columns = columns, .why = why };
    struct list_csv *csv;

    *columns = (struct list_columns){ .count = 0 };
    for (size_t i = 0; i < LIST_COLUMNS; i++)
        columns->names[i] = slice_of(KEYS[i]);
    if (option == NULL)
        return true;
    columns->by_choice = true;
    refuse(why, "--columns is empty; write such as cn=MAC,identity=Ext");
    csv = mem_zero(1, sizeof(*csv));
    if (csv == NULL || list_csv_init(csv, ',', on_choices, &choice) != ERROR_NONE ||
        list_csv_line(csv, 1, slice_of(option), LIST_FAULT_NONE) != ERROR_NONE ||
        list_csv_end(csv) != ERROR_NONE)
        choice.good = refuse(why, "out of memory");
    if (csv != NULL)
        list_csv_free(csv);
    mem_free(csv);
    return choice.good;
}

/* ---- The header ---- */

/* How often a name stands in the header, and where first. */
static size_t find(const struct slice *header, size_t count, struct slice name, size_t *at)
{
    size_t found = 0;

    *at = LIST_COLUMN_ABSENT;
    for (size_t i = 0; i < count; i++) {
        if (slice_equal_nocase(slice_trim(header[i]), name) && found++ == 0)
            *at = i;
    }
    return found;
}

static bool find_one(const struct slice *header, size_t count, struct slice name, bool must,
                     size_t *at, char why[LIST_WHY_MAX])
{
    size_t found = find(header, count, name, at);
    char shown[LIST_SHOWN_MAX], names[400] = "";
    size_t used = 0;

    if (found == 1 || (found == 0 && !must))
        return true;
    if (found > 1)
        return refuse(why, "column %s is there more than once; give each its own name",
                      list_shown(name, shown));
    for (size_t i = 0; i < count; i++) {
        char one[LIST_SHOWN_MAX];
        size_t size = strlen(list_shown(header[i], one));
        if (size + sizeof(", , ...") > sizeof(names) - used) { /* whole names only */
            memcpy(names + used, ", ...", 6);
            break;
        }
        used += (size_t)sprintf(names + used, "%s%s", i ? ", " : "", one);
    }
    return refuse(why,
                  "there is no column %s; choose with --columns cn=NAME,identity=NAME among %s",
                  list_shown(name, shown), names);
}

bool list_columns_find(struct list_columns *columns, const struct slice *header, size_t count,
                       const struct list_template *template, bool needs_identity,
                       char why[LIST_WHY_MAX])
{
    for (size_t i = 0; i < LIST_COLUMNS; i++) {
        bool must = i == LIST_COLUMN_CN || columns->chosen[i] ||
                    (i == LIST_COLUMN_IDENTITY && needs_identity);
        columns->at[i] = LIST_COLUMN_ABSENT;
        if (!must && columns->by_choice)
            continue;
        if (!find_one(header, count, columns->names[i], must, &columns->at[i], why))
            return false;
    }
    for (size_t i = 0; template != NULL && i < template->count; i++) {
        struct slice name = template->pieces[i].text;
        if (template->pieces[i].kind != LIST_PIECE_COLUMN)
            continue;
        /* {identity} is what --columns says is the identity, before it is a column of that name. */
        if (slice_equal_nocase(name, slice_of("identity")))
            name = columns->names[LIST_COLUMN_IDENTITY];
        if (!find_one(header, count, name, true, &columns->template_at[i], why))
            return false;
    }
    columns->count = count;
    return true;
}

char list_columns_delimiter(struct slice header)
{
    size_t commas = 0, semicolons = 0, tabs = 0;

    for (size_t i = 0; i < header.size; i++) {
        commas += header.data[i] == ',';
        semicolons += header.data[i] == ';';
        tabs += header.data[i] == '\t';
    }
    if (tabs > commas && tabs >= semicolons)
        return '\t';
    return semicolons > commas ? ';' : ',';
}
