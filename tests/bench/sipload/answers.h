/* SPDX-License-Identifier: Apache-2.0 */
/* The far end: answers everything at once with 200. */
#ifndef HOLDLINE_BENCH_SIPLOAD_ANSWERS_H
#define HOLDLINE_BENCH_SIPLOAD_ANSWERS_H

/* Listens where the target's next hop is said to be (--uas tcp, udp, tls). */
void listen_as_next_hop(void);

#endif
