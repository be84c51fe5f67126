/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/report.h"

#include "common/hash.h"

#include <string.h>

struct device {
    UT_hash_handle hh;
    uint64_t first_unix_ms, last_unix_ms, count;
    uint16_t key_size, store_size, from_size, reason_size, address_size;
    char key[STORE_NAME_MAX + 1 + CN_MAX_OCTETS]; /* store NUL CN */
    char from[IDENTITY_MAX], reason[REPORT_REASON_MAX], address[REPORT_ADDRESS_MAX];
};

struct reports {
    struct device *devices; /* uthash */
};

static bool is_text(struct slice s, size_t maximum)
{
    return s.size <= maximum && (s.size == 0 || text_is_clean_utf8(s));
}

static bool is_word(struct slice s, size_t maximum)
{
    return is_text(s, maximum) && (s.size == 0 || memchr(s.data, ' ', s.size) == NULL);
}

/* As reason_name() makes them; the database has the same constraint. */
static bool is_reason(struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if (!(s.data[i] >= 'a' && s.data[i] <= 'z') && !(s.data[i] >= '0' && s.data[i] <= '9') &&
            s.data[i] != '-')
            return false;
    return s.size > 0 && s.size <= REPORT_REASON_MAX;
}

enum error report_read(const struct resp_command *command, struct report *report, const char **why)
{
    const struct slice *a = command->args;
    unsigned long long count = 1;
    *report = (struct report){ .store = a[1],
                               .cn = a[2],
                               .from = a[3],
                               .reason = a[4],
                               .address = command->count > 5 ? a[5] : SLICE("") };
    *why = !is_word(a[1], STORE_NAME_MAX)                  ? "ERR store is malformed"
           : !is_text(a[2], CN_MAX_OCTETS)                 ? "ERR cn is malformed"
           : !is_word(a[3], IDENTITY_MAX)                  ? "ERR identity is malformed"
           : !is_reason(a[4])                              ? "ERR reason is malformed"
           : !is_word(report->address, REPORT_ADDRESS_MAX) ? "ERR address is malformed"
           : command->count > 6 && (!slice_to_u64(a[6], UINT32_MAX, &count) || count == 0)
               ? "ERR count is not 1 to 4294967295"
               : NULL;
    report->count = count;
    return *why != NULL ? ERROR_MALFORMED : ERROR_NONE;
}

bool report_is_unknown_device(const struct report *report)
{
    return report->store.size > 0 && report->cn.size > 0 &&
           slice_equal(report->reason, SLICE("device-unknown"));
}

struct reports *reports_new(void)
{
    return mem_zero(1, sizeof(struct reports));
}

void reports_free(struct reports *reports)
{
    struct device *device, *next;
    if (reports == NULL)
        return;
    HASH_ITER(hh, reports->devices, device, next)
    {
        HASH_DELETE(hh, reports->devices, device);
        mem_free(device);
    }
    mem_free(reports);
}

size_t reports_count(const struct reports *reports)
{
    return HASH_COUNT(reports->devices);
}

static void keep(char *to, uint16_t *size, struct slice s)
{
    if (s.size > 0)
        memcpy(to, s.data, s.size);
    *size = (uint16_t)s.size;
}

static struct device *make(struct reports *reports, const char *key, uint16_t key_size,
                           size_t store_size, uint64_t now_unix_ms)
{
    struct device *device = mem_zero(1, sizeof(*device));
    if (device == NULL)
        return NULL;
    memcpy(device->key, key, key_size);
    device->key_size = key_size;
    device->store_size = (uint16_t)store_size;
    device->first_unix_ms = now_unix_ms;
    HASH_ADD(hh, reports->devices, key, key_size, device);
    if (device->hh.tbl == NULL) {
        mem_free(device);
        return NULL;
    }
    return device;
}

enum error reports_add(struct reports *reports, const struct report *report, struct slice cn,
                       uint64_t now_unix_ms)
{
    struct device *device;
    char key[sizeof(device->key)];
    size_t size = report->store.size + 1 + cn.size;
    if (report->store.size > STORE_NAME_MAX || cn.size == 0 || size > sizeof(key))
        return ERROR_TOO_LARGE;
    memcpy(key, report->store.data, report->store.size);
    key[report->store.size] = '\0';
    memcpy(key + report->store.size + 1, cn.data, cn.size);
    HASH_FIND(hh, reports->devices, key, size, device);
    if (device == NULL) {
        if (reports_count(reports) >= REPORTS_MAX)
            return ERROR_TOO_LARGE;
        device = make(reports, key, (uint16_t)size, report->store.size, now_unix_ms);
    }
    if (device == NULL)
        return ERROR_MEMORY;
    /* A clock that went back gives no time before the first. */
    device->last_unix_ms =
        now_unix_ms > device->first_unix_ms ? now_unix_ms : device->first_unix_ms;
    device->count = device->count > INT64_MAX / 2 ? device->count : device->count + report->count;
    keep(device->from, &device->from_size, report->from);
    keep(device->reason, &device->reason_size, report->reason);
    keep(device->address, &device->address_size, report->address);
    return ERROR_NONE;
}

bool reports_next(const struct reports *reports, void **cursor, struct report_entry *entry)
{
    struct device *device =
        *cursor == NULL ? reports->devices : ((struct device *)*cursor)->hh.next;
    if (device == NULL)
        return false;
    *cursor = device;
    size_t cn_at = (size_t)device->store_size + 1;
    *entry = (struct report_entry){
        .report = { .store = { device->key, device->store_size },
                    .cn = { device->key + cn_at, device->key_size - cn_at },
                    .from = { device->from, device->from_size },
                    .reason = { device->reason, device->reason_size },
                    .address = { device->address, device->address_size },
                    .count = device->count },
        .first_unix_ms = device->first_unix_ms,
        .last_unix_ms = device->last_unix_ms,
    };
    return true;
}
