/* SPDX-License-Identifier: Apache-2.0 */
/* A spreadsheet runs a cell that begins with '=', '+', '-' or '@' as a formula, and what a tenant
 * typed as a label would run on the operator's desk. So export puts an apostrophe, the mark of a
 * text cell, before such a value, and before one that begins with an apostrophe; import takes it
 * off again: what comes back is what went out. Pure. */
#ifndef HOLDLINE_MAPCTL_LIST_GUARD_H
#define HOLDLINE_MAPCTL_LIST_GUARD_H

#include "common/slice.h"

static inline bool list_needs_guard(struct slice s)
{
    return s.size > 0 && (s.data[0] == '=' || s.data[0] == '+' || s.data[0] == '-' ||
                          s.data[0] == '@' || s.data[0] == '\'');
}

static inline struct slice list_unguard(struct slice s)
{
    if (s.size > 1 && s.data[0] == '\'' &&
        list_needs_guard((struct slice){ s.data + 1, s.size - 1 }))
        return (struct slice){ s.data + 1, s.size - 1 };
    return s;
}

#endif
