/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests of each device wait on this worker: the bound is the device's, however many
 * connections it opens. A device is here while it has any. One thread: the worker's. */
#ifndef HOLDLINE_REQUEST_LOAD_H
#define HOLDLINE_REQUEST_LOAD_H

#include <stdint.h>

struct device_load; /* uthash; NULL is the empty table */

unsigned device_load_parked(const struct device_load *table, uint64_t device);

/* One more waits. NULL without memory: then it counts for the bound of all alone. */
struct device_load *device_load_add(struct device_load **table, uint64_t device);

/* It waits no longer. NULL is harmless. */
void device_load_remove(struct device_load **table, struct device_load *load);

#endif
