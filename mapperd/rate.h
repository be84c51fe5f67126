/* SPDX-License-Identifier: Apache-2.0 */
/* A count a second, over the last two seconds or so. Pure; one thread. */
#ifndef HOLDLINE_MAPPERD_RATE_H
#define HOLDLINE_MAPPERD_RATE_H

#include <stddef.h>
#include <stdint.h>

#define RATE_SAMPLES 5 /* at the server's tick: four ticks of half a second between them */

/* Zeroed: nothing is known yet. */
struct rate {
    uint64_t counts[RATE_SAMPLES], mono_ms[RATE_SAMPLES];
    size_t taken;
};

/* Remembers what a counter that only rises is now. */
void rate_sample(struct rate *rate, uint64_t count, uint64_t now_mono_ms);

/* Between the oldest sample that is kept and now; 0 while there is none before now. */
uint64_t rate_per_s(const struct rate *rate, uint64_t count, uint64_t now_mono_ms);

#endif
