/* SPDX-License-Identifier: Apache-2.0 */
/* One row a state, one column an event. */
#include "mapperd/feed_state.h"

#define STAY(state)                          \
    {                                        \
        FEED_STATE_##state, FEED_ACTION_NONE \
    }
#define GO(state, action)                        \
    {                                            \
        FEED_STATE_##state, FEED_ACTION_##action \
    }
#define OFF GO(AWAY, DISCONNECT)
#define END GO(STOPPED, END)

static const struct feed_step STEPS[FEED_STATE_COUNT][FEED_EVENT_COUNT] = {
    [FEED_STATE_AWAY] = {
        [FEED_EVENT_RETRY] = GO(CONNECTING, CONNECT),
        [FEED_EVENT_CONNECTED] = STAY(AWAY),
        [FEED_EVENT_LOST] = STAY(AWAY),
        [FEED_EVENT_HISTORY_HELD] = STAY(AWAY),
        [FEED_EVENT_HISTORY_LOST] = STAY(AWAY),
        /* What asks for a fill is written in the store; the check after the next connect finds it there. */
        [FEED_EVENT_EVERYTHING] = STAY(AWAY),
        [FEED_EVENT_FILLED] = STAY(AWAY),
        [FEED_EVENT_STOP] = END,
    },
    [FEED_STATE_CONNECTING] = {
        [FEED_EVENT_RETRY] = STAY(CONNECTING),
        [FEED_EVENT_CONNECTED] = GO(CHECKING, CHECK),
        [FEED_EVENT_LOST] = OFF,
        [FEED_EVENT_HISTORY_HELD] = STAY(CONNECTING),
        [FEED_EVENT_HISTORY_LOST] = STAY(CONNECTING),
        [FEED_EVENT_EVERYTHING] = STAY(CONNECTING),
        [FEED_EVENT_FILLED] = STAY(CONNECTING),
        [FEED_EVENT_STOP] = END,
    },
    [FEED_STATE_CHECKING] = {
        [FEED_EVENT_RETRY] = STAY(CHECKING),
        [FEED_EVENT_CONNECTED] = STAY(CHECKING),
        [FEED_EVENT_LOST] = OFF,
        [FEED_EVENT_HISTORY_HELD] = GO(FEEDING, FOLLOW),
        [FEED_EVENT_HISTORY_LOST] = GO(FILLING, FILL),
        [FEED_EVENT_EVERYTHING] = STAY(CHECKING),
        [FEED_EVENT_FILLED] = STAY(CHECKING),
        [FEED_EVENT_STOP] = END,
    },
    [FEED_STATE_FILLING] = {
        [FEED_EVENT_RETRY] = STAY(FILLING),
        [FEED_EVENT_CONNECTED] = STAY(FILLING),
        [FEED_EVENT_LOST] = OFF,
        [FEED_EVENT_HISTORY_HELD] = STAY(FILLING),
        [FEED_EVENT_HISTORY_LOST] = STAY(FILLING),
        /* Ranges already copied may be wrong by now. */
        [FEED_EVENT_EVERYTHING] = GO(FILLING, FILL),
        [FEED_EVENT_FILLED] = GO(FEEDING, INSTALL),
        [FEED_EVENT_STOP] = END,
    },
    [FEED_STATE_FEEDING] = {
        [FEED_EVENT_RETRY] = STAY(FEEDING),
        [FEED_EVENT_CONNECTED] = STAY(FEEDING),
        [FEED_EVENT_LOST] = OFF,
        [FEED_EVENT_HISTORY_HELD] = STAY(FEEDING),
        [FEED_EVENT_HISTORY_LOST] = STAY(FEEDING),
        [FEED_EVENT_EVERYTHING] = GO(FILLING, FILL),
        [FEED_EVENT_FILLED] = STAY(FEEDING),
        [FEED_EVENT_STOP] = END,
    },
    [FEED_STATE_STOPPED] = {
        [FEED_EVENT_RETRY] = STAY(STOPPED),
        [FEED_EVENT_CONNECTED] = STAY(STOPPED),
        [FEED_EVENT_LOST] = STAY(STOPPED),
        [FEED_EVENT_HISTORY_HELD] = STAY(STOPPED),
        [FEED_EVENT_HISTORY_LOST] = STAY(STOPPED),
        [FEED_EVENT_EVERYTHING] = STAY(STOPPED),
        [FEED_EVENT_FILLED] = STAY(STOPPED),
        [FEED_EVENT_STOP] = STAY(STOPPED),
    },
};

struct feed_step feed_state_step(enum feed_state state, enum feed_event event)
{
    return STEPS[state][event];
}

bool feed_state_allowed(enum feed_state from, enum feed_state to)
{
#define BIT(state) (1u << FEED_STATE_##state)
    static const unsigned ALLOWED[FEED_STATE_COUNT] = {
        [FEED_STATE_AWAY] = BIT(CONNECTING) | BIT(STOPPED),
        [FEED_STATE_CONNECTING] = BIT(AWAY) | BIT(CHECKING) | BIT(STOPPED),
        [FEED_STATE_CHECKING] = BIT(AWAY) | BIT(FEEDING) | BIT(FILLING) | BIT(STOPPED),
        [FEED_STATE_FILLING] = BIT(AWAY) | BIT(FILLING) | BIT(FEEDING) | BIT(STOPPED),
        [FEED_STATE_FEEDING] = BIT(AWAY) | BIT(FILLING) | BIT(STOPPED),
        [FEED_STATE_STOPPED] = 0,
    };
#undef BIT
    return (ALLOWED[from] >> to & 1) != 0;
}

const char *feed_state_text(enum feed_state state)
{
    static const char *const TEXTS[FEED_STATE_COUNT] = {
        "away", "connecting", "checking", "filling", "feeding", "stopped",
    };
    return TEXTS[state];
}
