/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of samples. */
#include "mapperd/rate.h"

void rate_sample(struct rate *rate, uint64_t count, uint64_t now_mono_ms)
{
    size_t at = rate->taken++ % RATE_SAMPLES;

    rate->counts[at] = count;
    rate->mono_ms[at] = now_mono_ms;
}

uint64_t rate_per_s(const struct rate *rate, uint64_t count, uint64_t now_mono_ms)
{
    size_t oldest = rate->taken > RATE_SAMPLES ? rate->taken % RATE_SAMPLES : 0;

    if (rate->taken == 0 || now_mono_ms <= rate->mono_ms[oldest])
        return 0;
    return (count - rate->counts[oldest]) * 1000 / (now_mono_ms - rate->mono_ms[oldest]);
}
