/* SPDX-License-Identifier: Apache-2.0 */
/* What a run prints: key=value words. */
#ifndef HOLDLINE_BENCH_SIPLOAD_REPORT_H
#define HOLDLINE_BENCH_SIPLOAD_REPORT_H

#include <stdbool.h>

void report(void);

#endif
