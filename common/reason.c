/* SPDX-License-Identifier: Apache-2.0 */
/* The table of reasons. */
#include "common/reason.h"

static const struct {
    const char *name;
    int status;
    const char *text, *remedy;
} table[REASON_COUNT] = {
#define REASON(name, log, status, text, remedy) [REASON_##name] = { log, status, text, remedy },
#include "common/reason.def"
#undef REASON
};

/* A number that is no reason is told as none was found: never as allowed. */
static unsigned index_of(enum reason r)
{
    return (unsigned)r < REASON_COUNT ? (unsigned)r : REASON_NONE;
}

const char *reason_name(enum reason r)
{
    return table[index_of(r)].name;
}

int reason_status(enum reason r)
{
    return table[index_of(r)].status;
}

const char *reason_text(enum reason r)
{
    return table[index_of(r)].text;
}

const char *reason_remedy(enum reason r)
{
    return table[index_of(r)].remedy;
}
