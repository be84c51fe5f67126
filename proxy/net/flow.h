/* SPDX-License-Identifier: Apache-2.0 */
/* The name of one connection within this run of the proxy (RFC 5626's flow): what other threads and
 * bindings hold instead of a pointer. A slot that is used again has another generation, so a stale
 * name finds nothing. */
#ifndef HOLDLINE_NET_FLOW_H
#define HOLDLINE_NET_FLOW_H

#include <stdbool.h>
#include <stdint.h>

struct flow {
    uint32_t worker;
    uint32_t slot;
    uint32_t generation; /* from 1; 0: no flow */
    /* Goes with it, and is no part of the name: 1 + index of the listener that it came in by, in
     * the configuration that the proxy runs with; 0: not known, or we have opened it. */
    uint32_t listener;
};

static inline bool flow_equal(struct flow a, struct flow b)
{
    return a.worker == b.worker && a.slot == b.slot && a.generation == b.generation;
}

#endif
