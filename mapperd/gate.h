/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the loop may answer. At start, and after the loop has stood still (SIGSTOP, swap, a
 * suspended machine), nothing is answered from data older than that moment if the database can be
 * asked. Pure: time comes as an argument. Loop thread.
 *
 *   SHUT      waits for a poll sent after `shut`: its result, then its application
 *   OPEN      answers
 * A gate that nobody answers for 1 s opens on the store there is, with its true age; without a
 * store, or with one that is known to be of another history, it stays shut until a new one is in.
 */
#ifndef HOLDLINE_MAPPERD_GATE_H
#define HOLDLINE_MAPPERD_GATE_H

#include <stdbool.h>
#include <stdint.h>

#define GATE_PATIENCE_MS 1000 /* without the poll's result */
#define GATE_STANDSTILL_MS \
    250 /* CLOCK_BOOTTIME between the end of a turn and the begin of the next */

enum gate_state { GATE_SHUT = 0, GATE_OPEN };

enum gate_event {
    GATE_EVENT_STANDSTILL,
    GATE_EVENT_ANSWERED,
    GATE_EVENT_APPLIED,
    GATE_EVENT_DISTRUST,
    GATE_EVENT_LOST,  /* the database went away */
    GATE_EVENT_STORE, /* a store was handed over */
    GATE_EVENT_DAMAGED,
    GATE_EVENT_TIME, /* time has passed */
    GATE_EVENT_COUNT
};

struct gate {
    enum gate_state state;
    uint64_t number; /* of the poll waited for; grows with each shutting */
    uint64_t shut_mono_ms;
    bool answered, applied; /* of this number */
    bool store;             /* there is one */
    bool distrusted;        /* and it must not be served before another is in */
    bool brief;             /* shut by a standstill: clients wait instead of being told LOADING */
};

void gate_init(struct gate *gate, uint64_t now_mono_ms);
/* `number` is that of an ANSWERED or APPLIED; older ones are ignored. */
void gate_event(struct gate *gate, enum gate_event event, uint64_t number, uint64_t now_mono_ms);
static inline bool gate_open(const struct gate *gate)
{
    return gate->state == GATE_OPEN;
}
/* While this holds commands wait unread; afterwards they get LOADING. */
bool gate_waits(const struct gate *gate, uint64_t now_mono_ms);

#endif
