/* SPDX-License-Identifier: Apache-2.0 */
/* What a script that takes a migration back destroys: its DROP TABLE, DROP COLUMN, DELETE and
 * TRUNCATE, read from its text. Bodies of functions, strings and comments count for nothing. Pure.
 */
#ifndef HOLDLINE_MAPCTL_LOSS_H
#define HOLDLINE_MAPCTL_LOSS_H

#include "common/slice.h"

#define LOSS_NAME_MAX 63 /* of an identifier in PostgreSQL */

enum loss_kind {
    LOSS_TABLE = 1, /* the table goes */
    LOSS_COLUMN,    /* a column of it */
    LOSS_ROWS,      /* some or all rows of it */
};

struct loss {
    enum loss_kind kind;
    char table[LOSS_NAME_MAX + 1];  /* without schema and quotes, as PostgreSQL stores it */
    char column[LOSS_NAME_MAX + 1]; /* of LOSS_COLUMN */
};

/* Calls `found` for each, in the order of the script. */
void loss_read(struct slice script, void (*found)(void *owner, const struct loss *loss),
               void *owner);

#endif
