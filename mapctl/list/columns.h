/* SPDX-License-Identifier: Apache-2.0 */
/* Which columns of a CSV or TSV list are CN, identity, label and site, and which a template takes:
 * by the names in its header, ASCII letters without case. Pure. */
#ifndef HOLDLINE_MAPCTL_LIST_COLUMNS_H
#define HOLDLINE_MAPCTL_LIST_COLUMNS_H

#include "mapctl/list/template.h"

enum list_column {
    LIST_COLUMN_CN = 0,
    LIST_COLUMN_IDENTITY,
    LIST_COLUMN_LABEL,
    LIST_COLUMN_SITE,
    LIST_COLUMNS
};

#define LIST_COLUMN_ABSENT SIZE_MAX
#define LIST_COLUMN_NAMES  1024 /* octets of all names together */

struct list_columns {
    char text[LIST_COLUMN_NAMES];
    struct slice names[LIST_COLUMNS]; /* in text, or constant */
    bool chosen[LIST_COLUMNS];        /* by the option: must be there */
    bool by_choice;                   /* there is an option: nothing else is taken */
    size_t at[LIST_COLUMNS];          /* field of a record, or LIST_COLUMN_ABSENT */
    size_t template_at[LIST_TEMPLATE_PIECES];
    size_t count; /* fields of the header; 0 = no header yet */
};

/* Reads `cn=MAC,identity=Ext`, quoted as CSV where a name has a comma; NULL: the names that export
 * writes. False: `why` says what to write. */
bool list_columns_read(struct list_columns *columns, const char *option,
                       char why[LIST_WHY_MAX]) MUST_CHECK;

/* Finds the columns in the header. `template` is NULL when identities are those of the list's own
 * column or of a sequence; then `needs_identity` says which. */
bool list_columns_find(struct list_columns *columns, const struct slice *header, size_t count,
                       const struct list_template *template, bool needs_identity,
                       char why[LIST_WHY_MAX]) MUST_CHECK;

/* The delimiter that a header shows: the most frequent of comma, semicolon and TAB. */
char list_columns_delimiter(struct slice header);

#endif
