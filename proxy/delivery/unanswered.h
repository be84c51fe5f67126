/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that were written to one connection and have no final response yet, by their
 * branches: when the connection closes, whoever waits is told (RFC 3261 16.9). Bounded: beyond it
 * the oldest is forgotten, and finds out by its timers. One thread: the worker's. */
#ifndef HOLDLINE_DELIVERY_UNANSWERED_H
#define HOLDLINE_DELIVERY_UNANSWERED_H

#include "common/slice.h"
#include "proxy/transaction/transaction.h"

#define UNANSWERED_MAX 16

struct unanswered { /* made with the first branch, so that idle connections have none */
    unsigned next;
    char branches[UNANSWERED_MAX][TRANSACTION_BRANCH_MAX + 1]; /* "": free */
};

/* Without memory, or with a branch that is too long, it is not remembered. */
void unanswered_add(struct unanswered **list, const char *branch);
/* Its final response came, or it did not: harmless. */
void unanswered_remove(struct unanswered *list, struct slice branch);

#endif
