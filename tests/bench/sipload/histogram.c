/* SPDX-License-Identifier: Apache-2.0 */
/* See histogram.h. */
#include "histogram.h"

#include <math.h>
#include <stddef.h>

void hist_add(struct hist *h, uint64_t ns)
{
    unsigned shift = ns < 128 ? 0 : 57 - (unsigned)__builtin_clzll(ns);
    size_t i = shift * 64 + (ns >> shift);
    h->bucket[i < HIST_SIZE ? i : HIST_SIZE - 1]++;
    h->count++;
    if (ns > h->max)
        h->max = ns;
}

double hist_us(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)ceil((double)h->count * q), sum = 0;
    for (size_t i = 0; i < HIST_SIZE; i++) {
        sum += h->bucket[i];
        if (sum < want || !sum)
            continue;
        unsigned shift = i < 128 ? 0 : (unsigned)(i / 64 - 1);
        double top = (double)(((uint64_t)(i - shift * 64) + 1) << shift);
        return fmin(top, (double)h->max) / 1e3;
    }
    return 0;
}
