/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/staleness.h"

enum staleness_news staleness_look(struct staleness *staleness, uint64_t age_ms, uint64_t alarm_ms,
                                   uint64_t now_mono_ms)
{
    bool unknown = age_ms == UINT64_MAX, was = staleness->alarmed;
    if (unknown && !staleness->unknown)
        staleness->unknown_mono_ms = now_mono_ms;
    staleness->unknown = unknown;
    if (unknown)
        age_ms = was ? UINT64_MAX : now_mono_ms - staleness->unknown_mono_ms;
    staleness->alarmed = alarm_ms != 0 && age_ms > alarm_ms;
    return staleness->alarmed == was ? STALENESS_SAME : was ? STALENESS_OVER : STALENESS_ALARM;
}
