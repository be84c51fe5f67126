/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks. Read once a loop turn and passed on: code below the loop takes the time as an
 * argument. */
#ifndef HOLDLINE_COMMON_CLOCK_H
#define HOLDLINE_COMMON_CLOCK_H

#include <stdint.h>

uint64_t clock_mono_ms(void); /* CLOCK_MONOTONIC: deadlines and timers */
uint64_t clock_mono_us(void); /* for durations below a millisecond */
uint64_t clock_boot_ms(void); /* CLOCK_BOOTTIME: goes on while the machine is suspended */
uint64_t clock_unix_ms(void); /* wall time; may jump */
uint64_t clock_unix_s(void);

#endif
