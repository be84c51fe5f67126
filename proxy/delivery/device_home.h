/* SPDX-License-Identifier: Apache-2.0 */
/* Where a device's connections are. Each device has one home worker (its hash modulo the number of
 * workers), which alone keeps this table for it, fed by letters at open and close. It is asked only
 * when a flow is not found where it should be. One thread: the worker's. */
#ifndef HOLDLINE_DELIVERY_DEVICE_HOME_H
#define HOLDLINE_DELIVERY_DEVICE_HOME_H

#include "common/error.h"
#include "proxy/net/flow.h"

#include <stdint.h>

/* Connections remembered a device: the newest; a device that opens more loses the oldest from
 * sight, not the connection. */
#define DEVICE_FLOWS_MAX 16

struct device_home;

static inline unsigned device_home_worker(uint64_t device, unsigned workers)
{
    return (unsigned)(device % workers);
}

struct device_home *device_home_new(void) MUST_CHECK;
void device_home_free(struct device_home *home);

/* Without memory the flow stays unknown: calls to the device then end in 480 until it opens
 * another. */
void device_home_opened(struct device_home *home, uint64_t device, struct flow flow);
void device_home_closed(struct device_home *home, uint64_t device,
                        struct flow flow); /* harmless when unknown */

/* The newest connection of the device but `except`; false when there is none. */
bool device_home_newest(const struct device_home *home, uint64_t device, struct flow except,
                        struct flow *out);

#endif
