/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/request/load.h"

#include "common/hash.h"

struct device_load {
    uint64_t device;
    unsigned parked;
    UT_hash_handle hh;
};

static struct device_load *find(const struct device_load *table, uint64_t device)
{
    struct device_load *load;

    HASH_FIND(hh, table, &device, sizeof(device), load);
    return load;
}

unsigned device_load_parked(const struct device_load *table, uint64_t device)
{
    const struct device_load *load = find(table, device);

    return load ? load->parked : 0;
}

struct device_load *device_load_add(struct device_load **table, uint64_t device)
{
    struct device_load *load = find(*table, device);

    if (!load) {
        load = mem_zero(1, sizeof(*load));
        if (!load)
            return NULL;
        load->device = device;
        HASH_ADD(hh, *table, device, sizeof(load->device), load);
        if (!load->hh.tbl) {
            mem_free(load);
            return NULL;
        }
    }
    load->parked++;
    return load;
}

void device_load_remove(struct device_load **table, struct device_load *load)
{
    if (!load || --load->parked > 0)
        return;
    HASH_DELETE(hh, *table, load);
    mem_free(load);
}
