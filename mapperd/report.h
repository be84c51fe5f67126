/* SPDX-License-Identifier: Apache-2.0 */
/* What REPORT says, and the unknown devices among it until they are written to the database: a
 * bounded table, one entry a device. Pure; a table belongs to one thread at a time. */
#ifndef HOLDLINE_MAPPERD_REPORT_H
#define HOLDLINE_MAPPERD_REPORT_H

#include "common/error.h"
#include "common/identity.h"
#include "common/resp.h"

/* Devices in one table, some 800 KB. Beyond, those that are new are dropped; what somebody sends in
 * a second is no reason to grow. */
#define REPORTS_MAX        1024
#define REPORT_ADDRESS_MAX 64
#define REPORT_REASON_MAX  64

/* One command, checked: texts are UTF-8 without control characters, all but the CN without space.
 */
struct report {
    struct slice store, cn;       /* empty: the peer has no certificate, or it no CN */
    struct slice from;            /* empty: not known */
    struct slice reason, address; /* address empty: not known */
    uint64_t count;               /* 1 or more */
};
/* REPORT store cn identity reason [address [count]]. ERROR_MALFORMED: *why. */
enum error report_read(const struct resp_command *command, struct report *report,
                       const char **why) MUST_CHECK;
/* Whether the device is one to be provisioned: it has a CN and was refused for having no mapping.
 */
bool report_is_unknown_device(const struct report *report);

struct reports;

struct reports *reports_new(void) MUST_CHECK; /* NULL: no memory */
void reports_free(struct reports *reports);   /* NULL is harmless */
size_t reports_count(const struct reports *reports);
/* Adds to the device's entry, or makes one: its CN stands for the report's, canonical where it has
 * such a form. ERROR_TOO_LARGE: the table is full; ERROR_MEMORY. */
enum error reports_add(struct reports *reports, const struct report *report, struct slice cn,
                       uint64_t now_unix_ms) MUST_CHECK;

/* Every entry, in no order; *cursor begins with NULL. */
struct report_entry {
    struct report report; /* of the newest; count is the sum */
    uint64_t first_unix_ms, last_unix_ms;
};
bool reports_next(const struct reports *reports, void **cursor, struct report_entry *entry);

#endif
