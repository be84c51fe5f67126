/* SPDX-License-Identifier: Apache-2.0 */
/* Identities that a list does not have, made for each of its devices: from a template such as
 * `{mac}@example.org`, or counted up as in `2000@example.org`. What is put in stays one value: it
 * can't add a domain or another identity. Pure. */
#ifndef HOLDLINE_MAPCTL_LIST_TEMPLATE_H
#define HOLDLINE_MAPCTL_LIST_TEMPLATE_H

#include "common/identity.h"
#include "mapctl/list/value.h"

#define LIST_TEMPLATE_PIECES 16
#define LIST_TEMPLATE_MAX    1024 /* octets of a filled template; more than any identity has */

enum list_piece_kind {
    LIST_PIECE_NONE = 0,
    LIST_PIECE_TEXT,     /* as it stands */
    LIST_PIECE_CN,       /* {mac} or {cn}: the canonical CN */
    LIST_PIECE_CN_LOWER, /* {mac-lower} or {cn-lower} */
    LIST_PIECE_COLUMN,   /* {Name}: a column of the list */
};

struct list_template {
    struct {
        enum list_piece_kind kind;
        struct slice text; /* or the column's name; lies in what was read */
    } pieces[LIST_TEMPLATE_PIECES];
    size_t count;
};

/* Reads a template, which must outlive *out. False: `why` says what to write. */
bool list_template_read(struct slice text, struct list_template *out,
                        char why[LIST_WHY_MAX]) MUST_CHECK;

/* `values` has, for each piece, the value of its column. The result is not canonical yet. False:
 * `why` says which value is wrong. */
bool list_template_fill(const struct list_template *template, struct slice cn,
                        const struct slice *values, char out[LIST_TEMPLATE_MAX], size_t *size,
                        char why[LIST_WHY_MAX]) MUST_CHECK;

/* `2000@example.org`: digits at the end of the user count up by one a device, at least as many as
 * were written. */
struct list_sequence {
    struct slice prefix, domain; /* around the number */
    size_t digits;
    unsigned long long next;
};

bool list_sequence_read(struct slice text, struct list_sequence *out,
                        char why[LIST_WHY_MAX]) MUST_CHECK;
/* The next identity, not canonical yet. */
void list_sequence_next(struct list_sequence *sequence, char out[LIST_TEMPLATE_MAX], size_t *size);

#endif
