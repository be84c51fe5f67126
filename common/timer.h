/* SPDX-License-Identifier: Apache-2.0 */
/* A heap of timers for one thread, on a clock that the caller supplies: no libev here, so that
 * tests set the time. A `struct timer` is embedded in its owner, zeroed but for `fire`; it must be
 * stopped before its owner is freed or moved. */
#ifndef HOLDLINE_COMMON_TIMER_H
#define HOLDLINE_COMMON_TIMER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    uint64_t due_mono_ms;
    size_t place;                      /* 1 + index in the heap; 0 = stopped */
    void (*fire)(struct timer *timer); /* called with the timer already stopped */
};

struct timer_slot { /* the due time stands here too, so that sifting reads no owner's memory */
    uint64_t due_mono_ms;
    struct timer *timer;
};

struct timers {
    struct timer_slot *heap;
    size_t count, capacity;
};

void timers_init(struct timers *timers);
/* Frees the heap; timers that are still in it become stopped. */
void timers_free(struct timers *timers);

/* Arms or re-arms. ERROR_MEMORY leaves it stopped; re-arming an active one never fails. */
enum error timer_start(struct timers *timers, struct timer *timer, uint64_t due_mono_ms) MUST_CHECK;
void timer_stop(struct timers *timers, struct timer *timer); /* harmless when stopped */
static inline bool timer_active(const struct timer *timer)
{
    return timer->place != 0;
}

/* Fires all that are due at `now_mono_ms`, earliest first (equal ones in any order); a timer armed
 * meanwhile for a time <= now fires too, but no more than `count at entry + 1000` in a call. A
 * handler may start and stop any timer of the heap. */
void timers_run(struct timers *timers, uint64_t now_mono_ms);

/* Due time of the earliest; UINT64_MAX when there is none. */
uint64_t timers_next_mono_ms(const struct timers *timers);

#endif
