/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread, one ev_loop, and one of everything that serves connections. main makes
 * them, starts them, stops them by mail and joins them. */
#ifndef HOLDLINE_PROXY_WORKER_H
#define HOLDLINE_PROXY_WORKER_H

#include "common/error.h"
#include "proxy/worker_base.h"

struct call_rates;
struct config;
struct ocsp_desk;
struct post_office;
struct revocation_set;
struct staples;
struct status_word;
struct ticket_keys;
struct token_keys;
struct worker;

/* What all workers share. It outlives them. */
struct worker_shared {
    const struct config *config;
    struct post_office *office;
    const struct token_keys *keys;
    uint64_t proxy_epoch;
    atomic_uint parked_total;
    struct call_rates *call_rates;
    struct ocsp_desk *desk; /* set before the first worker starts */
};

/* `listening` are bound sockets, one a listener of the configuration, in its order; they are the
 * worker's from here on, also on error. Main's thread. */
enum error worker_new(struct worker_shared *shared, unsigned index, const int *listening,
                      struct worker **out) MUST_CHECK;
enum error worker_start(struct worker *worker) MUST_CHECK;
/* Asks it to stop in order: no new connections, parked requests end in 503, what is under way may
 * finish for a moment. Any thread. */
void worker_stop(struct worker *worker);
/* New connections are served by `config` from here on (net_reconfigure()); it takes a reference of
 * its own. Any thread; of two at once the last one counts. */
void worker_reload(struct worker *worker, const struct config *config);
/* These certificates are revoked from here on (net_set_revoked()); it takes a reference of its own.
 * Any thread; of two at once the last one counts. */
void worker_revoke(struct worker *worker, struct revocation_set *set);
/* Session tickets are sealed and opened by these from here on; the same. */
void worker_ticket_keys(struct worker *worker, struct ticket_keys *keys);
/* Our certificates are shown with these from here on; the same. */
void worker_staple(struct worker *worker, struct staples *set);
/* A letter: this is known of a certificate by OCSP (net_status_told()). False: no room, or no
 * memory. Any thread. */
bool worker_tell_status(struct worker *worker, const struct status_word *word);
/* What was decided by others before now is decided again where it would be written. Any thread. */
void worker_count_edition(struct worker *worker);
/* Tokens are sealed and opened with these from here on; they outlive it. Any thread. */
void worker_use_keys(struct worker *worker, const struct token_keys *keys);
void worker_join(struct worker *worker); /* harmless when it was never started */
void worker_free(struct worker *worker);

const struct counters *worker_counters(const struct worker *worker);

#endif
