/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons of failure, counted by name. */
#ifndef HOLDLINE_BENCH_SIPLOAD_FAILURES_H
#define HOLDLINE_BENCH_SIPLOAD_FAILURES_H

#include <stdint.h>

void count_failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t total_failures(void);
void print_failures(void);
void forget_failures(void);

#endif
