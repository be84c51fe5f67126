/* SPDX-License-Identifier: Apache-2.0 */
/* When the loop may answer. */
#include "mapperd/gate.h"

#include <string.h>

void gate_init(struct gate *gate, uint64_t now_mono_ms)
{
    memset(gate, 0, sizeof(*gate));
    gate->number = 1;
    gate->shut_mono_ms = now_mono_ms;
}

/* The one place that opens. */
static void judge(struct gate *gate, uint64_t now_mono_ms)
{
    bool patience_ended = now_mono_ms - gate->shut_mono_ms >= GATE_PATIENCE_MS;
    if (gate->state == GATE_OPEN || !gate->store || gate->distrusted)
        return;
    if (gate->applied || (!gate->answered && patience_ended))
        gate->state = GATE_OPEN;
}

static void shut(struct gate *gate, bool brief, uint64_t now_mono_ms)
{
    gate->state = GATE_SHUT;
    gate->number++;
    gate->answered = gate->applied = false;
    gate->brief = brief;
    gate->shut_mono_ms = now_mono_ms;
}

void gate_event(struct gate *gate, enum gate_event event, uint64_t number, uint64_t now_mono_ms)
{
    switch (event) {
    case GATE_EVENT_STANDSTILL:
        /* A second one while shut asks for a newer poll still. */
        shut(gate, gate->state == GATE_OPEN || gate->brief, now_mono_ms);
        break;
    case GATE_EVENT_ANSWERED:
        gate->answered |= number == gate->number;
        break;
    case GATE_EVENT_APPLIED:
        gate->applied |= number == gate->number;
        break;
    case GATE_EVENT_DISTRUST:
        /* An open gate serves on while the fill runs: it was so before, and changes still come in.
         */
        gate->distrusted |= gate->state == GATE_SHUT;
        break;
    case GATE_EVENT_LOST:
        /* It answered, then went away: as good as not having answered. */
        gate->answered = false;
        break;
    case GATE_EVENT_STORE:
        gate->store = true;
        gate->distrusted = false;
        break;
    case GATE_EVENT_DAMAGED:
        gate->state = GATE_SHUT;
        gate->store = false;
        gate->brief = false;
        break;
    case GATE_EVENT_TIME:
    case GATE_EVENT_COUNT:
        break;
    }
    judge(gate, now_mono_ms);
}

bool gate_waits(const struct gate *gate, uint64_t now_mono_ms)
{
    return gate->state == GATE_SHUT && gate->brief &&
           now_mono_ms - gate->shut_mono_ms < GATE_PATIENCE_MS;
}
