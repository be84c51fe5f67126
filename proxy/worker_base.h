/* SPDX-License-Identifier: Apache-2.0 */
/* What every layer of the proxy gets from its worker: the clock of this turn, timers, the run
 * queue, the configuration. One a worker thread; only that thread touches it, but for the counters.
 */
#ifndef HOLDLINE_PROXY_WORKER_BASE_H
#define HOLDLINE_PROXY_WORKER_BASE_H

#include "common/reason.h"
#include "common/run_queue.h"
#include "common/timer.h"

#include <stdatomic.h>
#include <stdint.h>

struct call_rates;
struct config;
struct denials;
struct password_desk;
struct ev_loop;

/* Read by the control socket from another thread. Relaxed order: they are only counted. */
struct counters {
    atomic_ullong requests, responses, malformed, dropped, parked_total, forwarded;
    atomic_ullong handshakes, resumed; /* finished ones, all and those by a ticket */
    atomic_ullong ocsp_passed;         /* without the answer that was asked for */
    atomic_ullong ocsp_refused;
    atomic_uint ocsp_waiting; /* connections */
    atomic_uint connections, parked, transactions;
    atomic_uint listening; /* 1 once its listeners are open */
    atomic_uint link;      /* enum ask_state: 3 is UP */
    atomic_uint mapperd_age_known;
    atomic_ullong mapperd_age_ms, cached, lookups_waiting;
    atomic_ullong denials_dropped; /* not told to mapperd: no room, or no connection */
    atomic_ullong reasons[REASON_COUNT];
};

static inline void counter_add(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

struct worker_base {
    unsigned index; /* 0 .. workers - 1 */
    unsigned workers;
    struct ev_loop *loop;
    struct timers timers;       /* the worker's loop sleeps until the earliest */
    struct run_queue run_queue; /* drained before the loop sleeps */
    uint64_t now_mono_ms;       /* read once a turn */
    uint64_t now_unix_s;
    uint64_t proxy_epoch; /* drawn at start: flows of another run are none of ours */
    /* How many reloads and new revocations of the whole proxy this worker acts on by now: what was
     * decided under fewer counts no more (authorization/ground.h). */
    uint64_t edition;
    const struct config *config;
    struct counters *counters;
    struct password_desk *desk;    /* NULL: no password is looked at */
    struct denials *denials;       /* NULL: denials are told to nobody */
    struct call_rates *call_rates; /* of all workers; NULL: no call under a bound is let through */
};

#endif
