/* SPDX-License-Identifier: Apache-2.0 */
/* Has a value come before? In memory that does not grow: `no` is certain, `yes` may be wrong, so
 * that who hears only `no` needs to look no further (a Bloom filter). The millionth value of a list
 * hears a wrong `yes` once in a hundred million times, the ten millionth once in five hundred. One
 * thread. */
#ifndef HOLDLINE_MAPCTL_LIST_SEEN_H
#define HOLDLINE_MAPCTL_LIST_SEEN_H

#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

struct list_seen {
    uint64_t *bits; /* 16 MiB, which the system gives as they are touched */
};

enum error list_seen_init(struct list_seen *seen) MUST_CHECK;
void list_seen_free(struct list_seen *seen);

/* Adds the value. False: it has certainly not come before. */
bool list_seen_add(struct list_seen *seen, struct slice value);

#endif
