/* SPDX-License-Identifier: Apache-2.0 */
/* Once a second, and on each connect before anything else is read or shown, the database is asked
 * which tables stand under the names that are followed, which others belong to them, and whether
 * their log triggers are as they were. When that has changed (a partition dropped, attached or
 * detached, a table swapped or restored, a trigger turned off and on again), rows may have come or
 * gone that no trigger told of: everything is read again. It needs no superuser, which an event
 * trigger does, and it sees what happened while mapperd was away. Feed thread. */
#ifndef HOLDLINE_MAPPERD_STRUCTURE_H
#define HOLDLINE_MAPPERD_STRUCTURE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

struct feed;

struct structure {
    bool due, running;
    bool checked;       /* on this connection: what is in the store may be shown */
    bool complained;    /* of tables that nothing follows */
    int64_t unfollowed; /* of the answer under way; -1: none */
    char digest[33];
};

void structure_reset(struct feed *feed); /* the connection is gone */
void structure_ask(struct feed *feed);   /* a second has passed */
bool structure_send(struct feed *feed);  /* on the idle connection of the keys; false: not due */
void structure_result(struct feed *feed, const PGresult *result);

#endif
