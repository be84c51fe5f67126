/* SPDX-License-Identifier: Apache-2.0 */
/* The course of a run: set-up, warm-up, the measured window, the end. */
#ifndef HOLDLINE_BENCH_SIPLOAD_COURSE_H
#define HOLDLINE_BENCH_SIPLOAD_COURSE_H

#include "usage.h"

#include <stdint.h>

extern uint64_t begin_ns, end_ns;
extern struct usage server_begin, server_end;
extern double own_begin, own_end;
extern uint64_t quantile_at[4]; /* avalanche: when 50, 90, 99, 100 % were ready */
extern unsigned nready, nfailed;

/* From the first connection to the last report. */
void run_load(void);

#endif
