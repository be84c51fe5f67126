/* SPDX-License-Identifier: Apache-2.0 */
/* The small records of table meta. */
#include "mapperd/meta.h"

#include "common/mem.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* As it lies in the store; written and read on one machine, so in its byte order. */
struct state_record {
    struct meta_origin origin;
    struct meta_proof proof;
    uint64_t queue_next, version_seen_ms, lsn;
    uint8_t refill;
};

void meta_init(struct meta *meta)
{
    memset(meta, 0, sizeof(*meta));
}

void meta_free(struct meta *meta)
{
    mem_free(meta->position);
    meta->position = NULL;
}

static enum error read_serial(struct store_writer *writer, struct meta *meta)
{
    struct slice value;
    uint32_t format;
    enum error e = store_writer_get(writer, STORE_META, SLICE("serial"), &value);
    if (e != ERROR_NONE)
        return e;
    if (value.size != sizeof(format) + sizeof(meta->serial))
        return ERROR_MALFORMED;
    memcpy(&format, value.data, sizeof(format));
    memcpy(&meta->serial, value.data + sizeof(format), sizeof(meta->serial));
    return format == STORE_FORMAT ? ERROR_NONE : ERROR_MALFORMED;
}

static enum error read_state(struct store_writer *writer, struct meta *meta)
{
    struct slice value;
    struct state_record record;
    enum error e = store_writer_get(writer, STORE_META, SLICE("state"), &value);
    if (e != ERROR_NONE)
        return e;
    if (value.size != sizeof(record))
        return ERROR_MALFORMED;
    memcpy(&record, value.data, sizeof(record));
    meta->origin = record.origin;
    meta->proof = record.proof;
    meta->proof.boot_id[36] = '\0';
    meta->queue_next = record.queue_next;
    meta->version_seen_ms = record.version_seen_ms;
    meta->refill = record.refill != 0;
    meta->lsn = record.lsn;
    return ERROR_NONE;
}

static enum error read_structure(struct store_writer *writer, struct meta *meta)
{
    struct slice value;
    enum error e = store_writer_get(writer, STORE_META, SLICE("structure"), &value);
    meta->structure[0] = '\0';
    if (e == ERROR_NONE && value.size == sizeof(meta->structure) - 1) {
        memcpy(meta->structure, value.data, value.size);
        meta->structure[value.size] = '\0';
    }
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

enum error meta_read(struct store_writer *writer, struct meta *meta)
{
    struct slice value;
    enum error e = read_serial(writer, meta);
    if (e == ERROR_NONE)
        e = read_state(writer, meta);
    if (e == ERROR_NONE)
        e = read_structure(writer, meta);
    if (e == ERROR_NONE)
        e = store_writer_get(writer, STORE_META, SLICE("position"), &value);
    if (e == ERROR_NONE)
        e = meta_set_position(meta, value);
    return e == ERROR_MEMORY || e == ERROR_NONE ? e : ERROR_MALFORMED;
}

void meta_write(struct store_writer *writer, const struct meta *meta)
{
    char serial[sizeof(uint32_t) + sizeof(meta->serial)];
    uint32_t format = STORE_FORMAT;
    struct state_record record;
    memcpy(serial, &format, sizeof(format));
    memcpy(serial + sizeof(format), &meta->serial, sizeof(meta->serial));
    store_put(writer, STORE_META, SLICE("serial"), (struct slice){ serial, sizeof(serial) });

    memset(&record, 0, sizeof(record)); /* no bytes of the stack in the file */
    record.origin = meta->origin;
    record.proof = meta->proof;
    record.queue_next = meta->queue_next;
    record.version_seen_ms = meta->version_seen_ms;
    record.lsn = meta->lsn;
    record.refill = meta->refill;
    store_put(writer, STORE_META, SLICE("state"),
              (struct slice){ (const char *)&record, sizeof(record) });
}

void meta_write_structure(struct store_writer *writer, const struct meta *meta)
{
    if (meta->structure[0] != '\0')
        store_put(writer, STORE_META, SLICE("structure"), slice_of(meta->structure));
}

void meta_write_position(struct store_writer *writer, const struct meta *meta)
{
    store_put(writer, STORE_META, SLICE("position"), slice_of(meta->position));
}

/* XMIN:XMAX:XIP,XIP,… */
static bool reads_as_snapshot(struct slice text)
{
    unsigned colons = 0;
    bool digit = false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool separator = c == ':' || c == ',';
        if (!separator && (c < '0' || c > '9'))
            return false;
        if (separator && (!digit || (c == ',' && colons < 2)))
            return false;
        colons += c == ':';
        digit = !separator;
    }
    return colons == 2 && text.size <= META_POSITION_MAX &&
           (digit || text.data[text.size - 1] == ':');
}

enum error meta_set_position(struct meta *meta, struct slice text)
{
    if (!reads_as_snapshot(text))
        return ERROR_MALFORMED;
    char *copy = mem_text(text);
    if (copy == NULL)
        return ERROR_MEMORY;
    mem_free(meta->position);
    meta->position = copy;
    return ERROR_NONE;
}

static uint64_t take_xid(struct slice *rest)
{
    unsigned long long xid = 0;
    size_t size = 0;
    while (size < rest->size && rest->data[size] >= '0' && rest->data[size] <= '9')
        size++;
    if (!slice_to_u64((struct slice){ rest->data, size }, UINT64_MAX, &xid))
        xid = 0;
    size += size < rest->size; /* and what parts it from the next */
    rest->data += size;
    rest->size -= size;
    return xid;
}

enum error meta_rewound_position(const struct meta *meta, uint64_t xmax, struct buffer *out)
{
    struct slice rest = slice_of(meta->position);
    uint64_t old_xmin = take_xid(&rest), old_xmax = take_xid(&rest);
    if (old_xmin == 0 || old_xmax == 0 || xmax == 0)
        return ERROR_MALFORMED;
    if (xmax > old_xmax)
        xmax = old_xmax;
    buffer_add_u64(out, old_xmin < xmax ? old_xmin : xmax);
    buffer_add_char(out, ':');
    buffer_add_u64(out, xmax);
    buffer_add_char(out, ':');
    /* In order; those that now lie at or above xmax are new anyhow. */
    for (bool first = true; rest.size > 0; first = false) {
        uint64_t xid = take_xid(&rest);
        if (xid >= xmax)
            break;
        if (!first)
            buffer_add_char(out, ',');
        buffer_add_u64(out, xid);
    }
    return out->failed ? ERROR_MEMORY : ERROR_NONE;
}

uint64_t meta_position_xmax(struct slice text)
{
    if (!reads_as_snapshot(text))
        return 0;
    take_xid(&text);
    return take_xid(&text);
}

uint64_t meta_proof_age_ms(const struct meta_proof *proof, const char *boot_id,
                           uint64_t now_unix_ms, uint64_t now_boot_ms)
{
    if (!proof->present || boot_id[0] == '\0' || strcmp(boot_id, proof->boot_id) != 0 ||
        now_unix_ms < proof->written_unix_ms || now_boot_ms < proof->written_boot_ms)
        return UINT64_MAX;
    return now_boot_ms - proof->written_boot_ms;
}

void meta_boot_id(char out[37])
{
    int file = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = file >= 0 ? read(file, out, 36) : 0;
    if (file >= 0)
        close(file);
    out[size == 36 ? 36 : 0] = '\0';
}
