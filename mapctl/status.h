/* SPDX-License-Identifier: Apache-2.0 */
/* What mapctl status has found, as one JSON document, and how it is shown. The document, which
 * --json prints as it is, has `status` ("good", "bad", "unreachable") and an object each for
 * `database`, `mapperd` and `proxy`: `answers`, `trouble` (null when all is well), and what the
 * part says of itself; for the programs that is `info`, whatever their INFO has. */
#ifndef HOLDLINE_MAPCTL_STATUS_H
#define HOLDLINE_MAPCTL_STATUS_H

#include "mapctl/command.h"

#include <stdio.h>

/* Asks all three, one after the other, each with time limits; *status is the worst. The caller
 * frees with json_decref(). `migrations` is where the plan is, or NULL. */
json_t *status_gather(const struct settings *settings, const char *migrations, enum status *status);

/* Some lines for each part. */
void status_print(const json_t *document, FILE *out);

/* One line of key=value with what matters most. */
void status_print_line(const json_t *document, FILE *out);

/* Looks again every `interval_ms`, `count` times (0 = until a signal ends it); gives the status
 * of the last look. */
enum status status_watch(const struct settings *settings, const char *migrations,
                         uint64_t interval_ms, uint64_t count);

#endif
