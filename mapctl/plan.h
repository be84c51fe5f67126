/* SPDX-License-Identifier: Apache-2.0 */
/* The migrations that belong to this program, and those that a database has. */
#ifndef HOLDLINE_MAPCTL_PLAN_H
#define HOLDLINE_MAPCTL_PLAN_H

#include "common/error.h"

#include <libpq-fe.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define CHANGES_MAX 1024

/* Names of changes in their order; plan_free() ends it. */
struct plan {
    char *names[CHANGES_MAX];
    size_t count;
};

/* The folder with sqitch.plan: `given`, or when that is NULL the one installed with this program,
 * or that of its source tree. False: none there. */
bool plan_find(const char *given, char folder[PATH_MAX]);

/* ERROR_MALFORMED: that is no plan, or has too many changes; ERROR_SYSTEM with errno. */
enum error plan_read(struct plan *changes, const char *folder) MUST_CHECK;

enum deployed {
    DEPLOYED_UNKNOWN = 0, /* this role may not see it, or the query failed */
    DEPLOYED_NOTHING,     /* sqitch has done nothing here */
    DEPLOYED_CHANGES,
};

/* The changes that a database has, oldest first. */
enum deployed plan_deployed(struct plan *changes, PGconn *connection);

bool plan_has(const struct plan *changes, const char *name);
void plan_free(struct plan *changes);

/* How many of `a` are not in `b`. */
size_t plan_missing(const struct plan *a, const struct plan *b);

#endif
