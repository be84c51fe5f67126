/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks, by clock_gettime(), which can't fail for these ids on Linux. */
#include "common/clock.h"

#include <time.h>

static uint64_t read_us(clockid_t id)
{
    struct timespec now = { 0, 0 };

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t read_ms(clockid_t id)
{
    return read_us(id) / 1000;
}

uint64_t clock_mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

uint64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_boot_ms(void)
{
    return read_ms(CLOCK_BOOTTIME);
}

uint64_t clock_unix_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

uint64_t clock_unix_s(void)
{
    return read_ms(CLOCK_REALTIME) / 1000;
}
