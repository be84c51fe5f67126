/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a server may be read, going by what was applied here before. Pure.
 *
 * Neither system identifier nor timeline show that commits were lost: after a crash with
 * synchronous_commit = off, and after the promotion of a replica that lacked some, the numbers of
 * transactions are used again. So what was applied last must be found there by transaction and
 * random stamp; and a standby may just not be there yet, which its replay position tells. */
#ifndef HOLDLINE_MAPPERD_HISTORY_H
#define HOLDLINE_MAPPERD_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

enum history {
    HISTORY_BEHIND = 0, /* a standby that does not hold yet all that was applied: nothing is read */
    HISTORY_LOST,       /* what was applied is not there and will not be: fill afresh */
    HISTORY_HELD,
};

struct history_facts {
    bool standby;
    uint64_t server_lsn;   /* of a standby: replayed, asked before the other facts */
    uint64_t applied_lsn;  /* behind all that was applied here; 0: nothing was */
    bool below_floor;      /* the position lies below the log's floor */
    bool ahead;            /* the position knows of transactions that the server does not */
    bool refill;           /* the store is owed a fill anyhow */
    uint64_t missing;      /* statements applied here, at or above the floor, not found */
    uint64_t contradicted; /* of these: their transaction has ended there, as something else */
};

/* `why` for a log, of whatever is not HELD. */
enum history history_judge(const struct history_facts *facts, const char **why);

#endif
