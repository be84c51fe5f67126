/* SPDX-License-Identifier: Apache-2.0 */
/* The rule of docs/feed.md, "What is checked on each connect". */
#include "mapperd/history.h"

#include <stddef.h>

enum history history_judge(const struct history_facts *facts, const char **why)
{
    *why = NULL;
    /* A transaction is there whole or not at all: its number was used for something else, whatever
     * is still to be replayed. */
    if (facts->contradicted > 0) {
        *why = "another transaction has the number of one that was applied here";
        return HISTORY_LOST;
    }
    /* A commit is visible a moment before its record counts as replayed: at the very position that
     * was kept, it may be the next record that is lacking. */
    bool lacking = facts->missing > 0 || facts->ahead;
    if (facts->standby && (facts->server_lsn < facts->applied_lsn ||
                           (lacking && facts->server_lsn == facts->applied_lsn))) {
        *why = "it has not replayed yet all that was applied here";
        return HISTORY_BEHIND;
    }
    if (facts->missing > 0)
        *why = "statements applied here are not on the server";
    else if (facts->below_floor || facts->ahead)
        *why = "the position lies below the floor or ahead of the server";
    else if (facts->refill)
        *why = "a fill was not finished";
    return *why != NULL ? HISTORY_LOST : HISTORY_HELD;
}
