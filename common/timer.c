/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of timers; each timer knows its place, so that stopping needs no search. */
#include "common/timer.h"

#include "common/mem.h"

#include <assert.h>

#define CAPACITY_FIRST 64
#define REARM_MAX      1000 /* a handler that re-arms itself for now must not hold the loop */

void timers_init(struct timers *timers)
{
    *timers = (struct timers){ 0 };
}

void timers_free(struct timers *timers)
{
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i].timer->place = 0;
    mem_free(timers->heap);
    timers_init(timers);
}

static void put(struct timers *timers, size_t index, struct timer_slot slot)
{
    timers->heap[index] = slot;
    slot.timer->place = index + 1;
}

static size_t sift_up(struct timers *timers, size_t index, struct timer_slot slot)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (timers->heap[parent].due_mono_ms <= slot.due_mono_ms)
            break;
        put(timers, index, timers->heap[parent]);
        index = parent;
    }
    return index;
}

static size_t sift_down(struct timers *timers, size_t index, struct timer_slot slot)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= timers->count)
            return index;
        if (child + 1 < timers->count &&
            timers->heap[child + 1].due_mono_ms < timers->heap[child].due_mono_ms)
            child++;
        if (slot.due_mono_ms <= timers->heap[child].due_mono_ms)
            return index;
        put(timers, index, timers->heap[child]);
        index = child;
    }
}

/* Finds the place of `slot`, with the one at `index` free. */
static void settle(struct timers *timers, size_t index, struct timer_slot slot)
{
    size_t place = sift_up(timers, index, slot);

    if (place == index)
        place = sift_down(timers, index, slot);
    put(timers, place, slot);
}

static bool grow(struct timers *timers)
{
    size_t capacity = timers->capacity ? timers->capacity * 2 : CAPACITY_FIRST;
    struct timer_slot *heap;

    if (timers->count < timers->capacity)
        return true;
    if (capacity > SIZE_MAX / sizeof(*heap))
        return false;
    heap = mem_grow(timers->heap, capacity * sizeof(*heap));
    if (!heap)
        return false;
    timers->heap = heap;
    timers->capacity = capacity;
    return true;
}

enum error timer_start(struct timers *timers, struct timer *timer, uint64_t due_mono_ms)
{
    struct timer_slot slot = { due_mono_ms, timer };
    size_t index = timer->place - 1;

    if (!timer_active(timer)) {
        if (!grow(timers))
            return ERROR_MEMORY;
        index = timers->count++;
    }
    assert(index < timers->count);
    timer->due_mono_ms = due_mono_ms;
    settle(timers, index, slot);
    return ERROR_NONE;
}

void timer_stop(struct timers *timers, struct timer *timer)
{
    size_t index = timer->place - 1;
    struct timer_slot last;

    if (!timer_active(timer))
        return;
    assert(index < timers->count && timers->heap[index].timer == timer);
    timer->place = 0;
    last = timers->heap[--timers->count];
    if (last.timer != timer)
        settle(timers, index, last);
}

void timers_run(struct timers *timers, uint64_t now_mono_ms)
{
    size_t budget = timers->count + REARM_MAX;

    while (timers->count && timers->heap[0].due_mono_ms <= now_mono_ms && budget-- > 0) {
        struct timer *timer = timers->heap[0].timer;
        timer_stop(timers, timer);
        timer->fire(timer);
    }
}

uint64_t timers_next_mono_ms(const struct timers *timers)
{
    return timers->count ? timers->heap[0].due_mono_ms : UINT64_MAX;
}
