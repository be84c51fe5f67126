/* SPDX-License-Identifier: Apache-2.0 */
/* A table of devices whose home this worker is, each with its connections, newest first. */
#include "proxy/delivery/device_home.h"

#include "common/hash.h"
#include "common/mem.h"

struct device {
    uint64_t id;
    unsigned count;
    struct flow flows[DEVICE_FLOWS_MAX]; /* newest first */
    UT_hash_handle hh;
};

struct device_home {
    struct device *devices;
};

struct device_home *device_home_new(void)
{
    return mem_zero(1, sizeof(struct device_home));
}

void device_home_free(struct device_home *home)
{
    struct device *device, *next;

    if (!home)
        return;
    HASH_ITER(hh, home->devices, device, next)
    {
        HASH_DEL(home->devices, device);
        mem_free(device);
    }
    mem_free(home);
}

static struct device *find(const struct device_home *home, uint64_t id)
{
    struct device *device;

    HASH_FIND(hh, home->devices, &id, sizeof(id), device);
    return device;
}

static struct device *add(struct device_home *home, uint64_t id)
{
    struct device *device = mem_zero(1, sizeof(*device));

    if (!device)
        return NULL;
    device->id = id;
    HASH_ADD(hh, home->devices, id, sizeof(device->id), device);
    if (!device->hh.tbl) {
        mem_free(device);
        return NULL;
    }
    return device;
}

void device_home_opened(struct device_home *home, uint64_t device_id, struct flow flow)
{
    struct device *device = find(home, device_id);

    if (!device)
        device = add(home, device_id);
    if (!device)
        return;
    if (device->count < DEVICE_FLOWS_MAX)
        device->count++;
    memmove(device->flows + 1, device->flows, (device->count - 1) * sizeof(flow));
    device->flows[0] = flow;
}

void device_home_closed(struct device_home *home, uint64_t device_id, struct flow flow)
{
    struct device *device = find(home, device_id);

    for (unsigned i = 0; device && i < device->count; i++) {
        if (!flow_equal(device->flows[i], flow))
            continue;
        device->count--;
        memmove(device->flows + i, device->flows + i + 1, (device->count - i) * sizeof(flow));
        break;
    }
    if (device && device->count == 0) {
        HASH_DEL(home->devices, device);
        mem_free(device);
    }
}

bool device_home_newest(const struct device_home *home, uint64_t device_id, struct flow except,
                        struct flow *out)
{
    const struct device *device = find(home, device_id);

    for (unsigned i = 0; device && i < device->count; i++) {
        if (flow_equal(device->flows[i], except))
            continue;
        *out = device->flows[i];
        return true;
    }
    return false;
}
