/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time and memory of the servers under test, their children included, from /proc; and our own.
 */
#ifndef HOLDLINE_BENCH_SIPLOAD_USAGE_H
#define HOLDLINE_BENCH_SIPLOAD_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct usage {
    double cpu;
    uint64_t pss, rss;
    unsigned processes;
};

/* Of the servers that the command line names. */
struct usage measure_servers(bool memory);
double own_cpu(void);

#endif
