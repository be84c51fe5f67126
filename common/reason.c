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

void reason_print_all(FILE *out)
{
    fputs("# Reasons\n\n"
          "Every denial and every failure of a request has one reason: the same in the response's "
          "Warning\n"
          "header (code 399), the log line, the metric label and `mapctl check`. This page is made "
          "from\n"
          "`common/reason.def`.\n\n"
          "| reason | status | text | what to do |\n| --- | --- | --- | --- |\n",
          out);
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        fprintf(out, "| `%s` | ", table[i].name);
        if (table[i].status)
            fprintf(out, "%d", table[i].status);
        fprintf(out, " | %s | %s |\n", table[i].text, table[i].remedy);
    }
}
