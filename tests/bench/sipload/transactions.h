/* SPDX-License-Identifier: Apache-2.0 */
/* Client transactions: one a slot; latencies and outcomes of them are counted inside the measured
 * window. */
#ifndef HOLDLINE_BENCH_SIPLOAD_TRANSACTIONS_H
#define HOLDLINE_BENCH_SIPLOAD_TRANSACTIONS_H

#include "connection.h"

extern bool running, counting;
/* Inside the measured window. */
extern struct seen {
    uint64_t handshakes, resumed, registers, transactions, calls;
    uint64_t forged_refused, forged_accepted, late, stray;
    uint64_t acks_sent, acks_seen;
    struct hist connect, first, request, bye;
} seen;

/* Sends the next request on a free slot; its latency counts from t0. */
void issue(struct conn *c, struct slot *s, uint64_t t0);
void slot_finished(struct conn *c, struct slot *s);
void on_response(struct conn *c, const struct msg *m);

#endif
