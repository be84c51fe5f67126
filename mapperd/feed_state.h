/* SPDX-License-Identifier: Apache-2.0 */
/* The states of the feed and what moves between them. Pure: feed.c does what the answer says.
 *
 *   AWAY        no database; a timer tries again
 *   CONNECTING  the connections for log and keys are being made
 *   CHECKING    the server is asked for its identity, the floor and the statements applied last;
 * nothing else is read before FILLING     a new generation is being copied, by key ranges; the log
 * is read on and its keys go into the old store too FEEDING     the log is read, keys are read
 * again STOPPED     end of the thread */
#ifndef HOLDLINE_MAPPERD_FEED_STATE_H
#define HOLDLINE_MAPPERD_FEED_STATE_H

#include <stdbool.h>

enum feed_state {
    FEED_STATE_AWAY,
    FEED_STATE_CONNECTING,
    FEED_STATE_CHECKING,
    FEED_STATE_FILLING,
    FEED_STATE_FEEDING,
    FEED_STATE_STOPPED,
    FEED_STATE_COUNT
};

enum feed_event {
    FEED_EVENT_RETRY,        /* the timer of AWAY */
    FEED_EVENT_CONNECTED,    /* both connections are up */
    FEED_EVENT_LOST,         /* either is gone, hangs past its deadline, or gave an error */
    FEED_EVENT_HISTORY_HELD, /* all that was applied is there, nothing below the floor is missing */
    FEED_EVENT_HISTORY_LOST, /* it is not, or there is no store to begin with */
    FEED_EVENT_EVERYTHING,   /* the log says `all`, or the store is damaged: only a fill helps */
    FEED_EVENT_FILLED,       /* the new generation is complete and has caught up */
    FEED_EVENT_STOP,
    FEED_EVENT_COUNT
};

enum feed_action {
    FEED_ACTION_NONE,
    FEED_ACTION_CONNECT,
    FEED_ACTION_CHECK,
    FEED_ACTION_FOLLOW,  /* poll */
    FEED_ACTION_FILL,    /* begin a new generation, from the log position of now; drop an unfinished
                            one */
    FEED_ACTION_INSTALL, /* make the filled generation the served one, and poll on */
    FEED_ACTION_DISCONNECT, /* close both, drop an unfinished generation, arm the retry */
    FEED_ACTION_END,
};

struct feed_step {
    enum feed_state to;
    enum feed_action action;
};

/* What `event` does in `state`. A pair that makes no sense (a late event of a connection already
 * closed) changes nothing. */
struct feed_step feed_state_step(enum feed_state state, enum feed_event event);
/* The table that feed_become() asserts. */
bool feed_state_allowed(enum feed_state from, enum feed_state to);
const char *feed_state_text(enum feed_state state);

#endif
