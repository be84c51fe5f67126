/* SPDX-License-Identifier: Apache-2.0 */
/* When to say that the data are old: once as they pass the alarm's age, once when they are young
 * again. An unknown age is over any; but after a start it is unknown until the first proof has come
 * back, so it counts from when it was first seen. Pure. */
#ifndef HOLDLINE_MAPPERD_STALENESS_H
#define HOLDLINE_MAPPERD_STALENESS_H

#include <stdbool.h>
#include <stdint.h>

enum staleness_news { STALENESS_SAME = 0, STALENESS_ALARM, STALENESS_OVER };

struct staleness { /* all zero at first */
    bool alarmed, unknown;
    uint64_t unknown_mono_ms; /* since when */
};

/* age_ms: UINT64_MAX = unknown. alarm_ms: 0 = never. */
enum staleness_news staleness_look(struct staleness *staleness, uint64_t age_ms, uint64_t alarm_ms,
                                   uint64_t now_mono_ms);
/* Whether lookups are refused. bound_ms: 0 = never. */
static inline bool staleness_beyond(uint64_t age_ms, uint64_t bound_ms)
{
    return bound_ms != 0 && age_ms > bound_ms;
}

#endif
