/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies, 64 steps an octave: 1.6 % resolution from 1 ns to 18 minutes. */
#ifndef HOLDLINE_BENCH_SIPLOAD_HISTOGRAM_H
#define HOLDLINE_BENCH_SIPLOAD_HISTOGRAM_H

#include <stdint.h>

#define HIST_SIZE (36 * 64)
struct hist {
    uint64_t count, max;
    uint32_t bucket[HIST_SIZE];
};

void hist_add(struct hist *h, uint64_t ns);
/* Upper bound in microseconds of the fraction q of all values. */
double hist_us(const struct hist *h, double q);

#endif
