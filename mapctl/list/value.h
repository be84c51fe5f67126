/* SPDX-License-Identifier: Apache-2.0 */
/* CNs and identities of a list in canonical form, by the rules of common/identity.h and of the
 * database's constraints; and for a value that has none, what to write instead. Pure. */
#ifndef HOLDLINE_MAPCTL_LIST_VALUE_H
#define HOLDLINE_MAPCTL_LIST_VALUE_H

#include "common/identity.h"

#define LIST_PREFIXES_MAX 16   /* as the table trust_store has it */
#define LIST_WHY_MAX      1024 /* bytes of an explanation with NUL: two shown values and a sentence */

/* How the CNs of a trust store are read; the prefixes belong to the caller. */
struct list_store {
    enum cn_form form;
    struct slice prefixes[LIST_PREFIXES_MAX];
    size_t prefix_count;
};

struct list_cn {
    char text[CN_MAX_OCTETS + 1];
    size_t size;
};

/* False: `why` says what to write instead. */
bool list_value_cn(const struct list_store *store, struct slice text, struct list_cn *out,
                   char why[LIST_WHY_MAX]) MUST_CHECK;
bool list_value_identity(struct slice text, struct identity *out,
                         char why[LIST_WHY_MAX]) MUST_CHECK;

/* A label or a site, `what` it is: at most 128 characters on one line, without spaces around it; ''
 * is none. */
bool list_value_place(const char *what, struct slice text, struct slice *out,
                      char why[LIST_WHY_MAX]) MUST_CHECK;

/* The text in quotes, control characters and what is not UTF-8 escaped, cut at 80 octets: it forges
 * no line and no terminal sequence. Gives `out`, which has LIST_SHOWN_MAX bytes. */
#define LIST_SHOWN_MAX 340
const char *list_shown(struct slice text, char out[LIST_SHOWN_MAX]);

#endif
