/* SPDX-License-Identifier: Apache-2.0 */
/* INFO as Prometheus' text (exposition format 0.0.4). Pure.
 *
 * Fields that are known get their name, type and help from a table, in base units: seconds, bytes.
 * Other fields that are numbers come out too, untyped, under their own name (`_ms` becomes
 * `_seconds`); texts that are not known, and what could not be a name, are left out. Whatever INFO
 * holds, each metric stands once and the text is well-formed. */
#ifndef HOLDLINE_MAPCTL_METRICS_H
#define HOLDLINE_MAPCTL_METRICS_H

#include "common/buffer.h"

enum metrics_source {
    METRICS_MAPPERD = 1,
    METRICS_PROXY,
};

/* Appends one sample `holdline_PROGRAM_up`, and all of `info` when `up`. */
void metrics_write(struct buffer *out, enum metrics_source source, bool up, struct slice info);

#endif
