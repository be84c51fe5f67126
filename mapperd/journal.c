/* SPDX-License-Identifier: Apache-2.0 */
/* Table entries: aor NUL, one octet of what it is about, 16 octets of hash → checksum, kind,
 * binding. Table order: version → key of the entry. Table meta: the format. */
#include "mapperd/journal.h"

#include "common/log.h"
#include "mapperd/checksum.h"
#include "mapperd/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define READERS_MAX 8
#define HASH_SIZE   16
#define ORDER_SIZE  16

/* What an entry is about: the octet behind the AoR of its key. */
enum { ABOUT_BINDING = 'b', ABOUT_DEVICE = 'd', ABOUT_ALL = 'a' };

static enum error library_error(const char *what, int code)
{
    if (code == MDB_NOTFOUND)
        return ERROR_NOT_FOUND;
    if (code == ENOMEM)
        return ERROR_MEMORY;
    log_write(LOG_ERROR, "journal-failed", "%s: %s%s", what, mdb_strerror(code),
              disk_lacks_room(code) ? "; look whether the disk is full" : "");
    if (code == MDB_MAP_FULL || code == MDB_TXN_FULL)
        return ERROR_TOO_LARGE;
    return code > 0 ? ERROR_SYSTEM : ERROR_LIBRARY;
}

static MDB_val as_value(struct slice s)
{
    return (MDB_val){ s.size, (void *)(uintptr_t)s.data };
}

static struct slice as_slice(const MDB_val *v)
{
    return (struct slice){ v->mv_data, v->mv_size };
}

/* ---- Entries ---- */

static void key_about(struct record_key *key, int about, struct slice aor, struct slice device_key,
                      struct slice instance_key)
{
    struct record_key whole;
    char octet = (char)about;
    record_binding_key(&whole, aor, device_key, instance_key);
    record_binding_prefix(key, aor);
    record_key_add(key, (struct slice){ &octet, 1 });
    record_key_add(key, (struct slice){ whole.bytes + whole.size - HASH_SIZE, HASH_SIZE });
}

void journal_entry_key(struct record_key *key, const struct journal_entry *entry)
{
    const struct record_binding *b = &entry->binding;
    switch (entry->kind) {
    case BIND_PUT:
    case BIND_REMOVE_ONE:
        key_about(key, ABOUT_BINDING, b->aor, b->device_key, b->instance_key);
        return;
    case BIND_REMOVE_DEVICE:
        key_about(key, ABOUT_DEVICE, b->aor, b->device_key, SLICE(""));
        return;
    case BIND_REMOVE_ALL:
        key_about(key, ABOUT_ALL, b->aor, SLICE(""), SLICE(""));
        return;
    }
}

void journal_entry_write(struct buffer *out, const struct journal_entry *entry)
{
    struct record_binding b = entry->binding;
    buffer_add_char(out, (char)entry->kind);
    b.removed = entry->kind != BIND_PUT;
    if (b.ground == GROUND_NONE) /* what removes stands on none, which is no record's */
        b.ground = GROUND_MAPPING;
    record_binding_write(out, &b);
}

enum error journal_entry_read(struct slice value, struct journal_entry *entry)
{
    if (value.size < 1)
        return ERROR_MALFORMED;
    uint8_t kind = (uint8_t)value.data[0];
    if (kind < BIND_PUT || kind > BIND_REMOVE_ALL)
        return ERROR_MALFORMED;
    entry->kind = (enum bind_kind)kind;
    enum error e =
        record_binding_read((struct slice){ value.data + 1, value.size - 1 }, &entry->binding);
    if (e == ERROR_NONE && entry->binding.removed != (kind != BIND_PUT))
        e = ERROR_MALFORMED;
    return e;
}

static void order_key(struct record_key *key, struct record_version version)
{
    record_key_start(key);
    record_key_add_u64(key, version.unix_ms);
    record_key_add_u64(key, version.by);
}

/* The value under the checksum. */
static enum error checked(struct slice key, const MDB_val *found, struct slice *value)
{
    uint32_t sum;
    struct slice all = as_slice(found);
    if (all.size < CHECKSUM_SIZE)
        return ERROR_MALFORMED;
    memcpy(&sum, all.data, sizeof(sum));
    *value = (struct slice){ all.data + CHECKSUM_SIZE, all.size - CHECKSUM_SIZE };
    return sum == checksum_of(key, value->data, value->size) ? ERROR_NONE : ERROR_MALFORMED;
}

static uint64_t cost_of(struct slice key, struct slice value)
{
    return (uint64_t)key.size * 2 + value.size + CHECKSUM_SIZE + ORDER_SIZE;
}

/* ---- Opening ---- */

static bool long_enough(struct journal *journal)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    return mdb_env_info(journal->env, &info) == 0 && mdb_env_stat(journal->env, &stat) == 0 &&
           fstat(journal->descriptor, &file) == 0 &&
           (uint64_t)file.st_size >= (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

/* LMDB leaves pages unwritten that a transaction took and gave back; with the file as long as it
 * says it is, a shorter one is always a truncated one. */
static enum error lengthen(struct journal *journal)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (long_enough(journal))
        return ERROR_NONE;
    if (mdb_env_info(journal->env, &info) != 0 || mdb_env_stat(journal->env, &stat) != 0)
        return ERROR_LIBRARY;
    off_t size = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    return ftruncate(journal->descriptor, size) == 0 ? ERROR_NONE : ERROR_SYSTEM;
}

static int open_tables(struct journal *journal, MDB_txn *txn)
{
    int code = mdb_dbi_open(txn, "entries", MDB_CREATE, &journal->entries);
    if (code == 0)
        code = mdb_dbi_open(txn, "order", MDB_CREATE, &journal->order);
    if (code == 0)
        code = mdb_dbi_open(txn, "meta", MDB_CREATE, &journal->meta);
    return code;
}

/* Marks an empty environment as ours; ERROR_MALFORMED: it is of another format. */
static enum error check_format(struct journal *journal, MDB_txn *txn)
{
    uint32_t format = JOURNAL_FORMAT;
    MDB_val key = as_value(SLICE("format")), value = { sizeof(format), &format };
    MDB_stat stat;
    int code = mdb_get(txn, journal->meta, &key, &value);
    if (code == 0)
        return value.mv_size == sizeof(format) &&
                       memcmp(value.mv_data, &format, sizeof(format)) == 0
                   ? ERROR_NONE
                   : ERROR_MALFORMED;
    if (code == MDB_NOTFOUND)
        code = mdb_stat(txn, journal->entries, &stat);
    if (code != 0)
        return ERROR_MALFORMED;
    if (stat.ms_entries != 0)
        return ERROR_MALFORMED;
    value = (MDB_val){ sizeof(format), &format };
    code = mdb_put(txn, journal->meta, &key, &value, 0);
    return code == 0 ? ERROR_NONE : library_error("format", code);
}

static enum error check_entry(struct journal *journal, MDB_txn *txn, const MDB_val *k,
                              const MDB_val *v)
{
    struct slice value;
    struct journal_entry entry;
    struct record_key key, order;
    enum error e = checked(as_slice(k), v, &value);
    if (e == ERROR_NONE)
        e = journal_entry_read(value, &entry);
    if (e != ERROR_NONE)
        return e;
    journal_entry_key(&key, &entry);
    order_key(&order, entry.binding.version);
    MDB_val at = as_value(record_key_slice(&order)), named;
    if (key.failed || !slice_equal(record_key_slice(&key), as_slice(k)) ||
        mdb_get(txn, journal->order, &at, &named) != 0 ||
        !slice_equal(as_slice(&named), as_slice(k)))
        return ERROR_MALFORMED;
    if (entry.binding.version.unix_ms > journal->highest_unix_ms)
        journal->highest_unix_ms = entry.binding.version.unix_ms;
    journal->entry_count++;
    journal->byte_count += cost_of(as_slice(k), value);
    return ERROR_NONE;
}

/* Every entry must read through and be found by its version, and there must be no further version.
 */
static enum error check_entries(struct journal *journal, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    MDB_stat stat;
    enum error e = ERROR_NONE;
    int code = mdb_cursor_open(txn, journal->entries, &cursor);
    if (code != 0)
        return ERROR_MALFORMED;
    code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    while (code == 0 && e == ERROR_NONE) {
        e = check_entry(journal, txn, &k, &v);
        code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (e == ERROR_NONE && (code != MDB_NOTFOUND || mdb_stat(txn, journal->order, &stat) != 0 ||
                            stat.ms_entries != atomic_load(&journal->entry_count)))
        e = ERROR_MALFORMED;
    return e;
}

static enum error open_and_check(struct journal *journal, const char *path)
{
    MDB_txn *txn;
    int code = mdb_env_create(&journal->env);
    if (code != 0) {
        journal->env = NULL;
        return library_error("create", code);
    }
    /* Pages are half empty at worst, and a change writes its pages anew before the old are free. */
    if ((code = mdb_env_set_mapsize(journal->env, journal->bytes_max * 4 + ((size_t)16 << 20))) !=
            0 ||
        (code = mdb_env_set_maxdbs(journal->env, 3)) != 0 ||
        (code = mdb_env_set_maxreaders(journal->env, READERS_MAX)) != 0 ||
        (code = mdb_env_open(journal->env, path, MDB_NOTLS | MDB_NORDAHEAD, 0600)) != 0 ||
        (code = mdb_env_get_fd(journal->env, &journal->descriptor)) != 0)
        return disk_lacks_room(code) || code == EACCES || code == ENOMEM || code == EMFILE
                   ? library_error(path, code)
                   : ERROR_MALFORMED;
    if (!long_enough(journal))
        return ERROR_MALFORMED;
    code = mdb_txn_begin(journal->env, NULL, 0, &txn);
    if (code != 0)
        return code > 0 ? library_error("begin", code) : ERROR_MALFORMED;
    enum error e = open_tables(journal, txn) == 0 ? check_format(journal, txn) : ERROR_MALFORMED;
    if (e == ERROR_NONE)
        e = check_entries(journal, txn);
    if (e != ERROR_NONE) {
        mdb_txn_abort(txn);
        return e;
    }
    code = mdb_txn_commit(txn);
    return code == 0 ? lengthen(journal) : library_error("commit", code);
}

static void reset(struct journal *journal, uint64_t bytes_max)
{
    if (journal->env != NULL)
        mdb_env_close(journal->env);
    journal->env = NULL;
    journal->bytes_max = bytes_max;
    journal->highest_unix_ms = 0;
    atomic_store(&journal->entry_count, 0);
    atomic_store(&journal->byte_count, 0);
    atomic_store(&journal->damaged, false);
}

static void remove_files(const char *path)
{
    static const char *const FILES[] = { "data.mdb", "lock.mdb" };
    char file[4300];
    for (size_t i = 0; i < 2; i++) {
        snprintf(file, sizeof(file), "%s/%s", path, FILES[i]);
        unlink(file);
    }
    rmdir(path);
}

/* Only the last one set aside is kept: damage must not fill the disk. */
static enum error set_aside(const char *path)
{
    char aside[4200];
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    log_write(
        LOG_ERROR, "journal-damaged",
        "%s is damaged or of another format: set aside as %s; bindings in it that the primary "
        "had not confirmed are lost until their phones register again",
        path, aside);
    remove_files(aside);
    if (rename(path, aside) == 0)
        return ERROR_NONE;
    log_write(LOG_ERROR, "journal-failed", "%s can't be set aside: %s", path, strerror(errno));
    return ERROR_SYSTEM;
}

static enum error make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return ERROR_NONE;
    log_write(LOG_ERROR, "journal-failed", "%s: %s", path, strerror(errno));
    return ERROR_SYSTEM;
}

enum error journal_open(struct journal *journal, const char *folder, uint64_t bytes_max)
{
    char path[4100];
    journal->env = NULL;
    int size = snprintf(path, sizeof(path), "%s/journal", folder);
    if (size < 0 || (size_t)size >= sizeof(path))
        return ERROR_TOO_LARGE;
    reset(journal, bytes_max);
    enum error e = make_folder(path);
    if (e == ERROR_NONE)
        e = open_and_check(journal, path);
    if (e == ERROR_MALFORMED) {
        reset(journal, bytes_max);
        e = set_aside(path);
        if (e == ERROR_NONE)
            e = make_folder(path);
        if (e == ERROR_NONE)
            e = open_and_check(journal, path);
    }
    if (e != ERROR_NONE)
        reset(journal, bytes_max);
    return e;
}

void journal_close(struct journal *journal)
{
    if (journal->env != NULL)
        mdb_env_close(journal->env);
    journal->env = NULL;
}

/* What is not as it was written is not used any more, by nobody, until the next start sets it
 * aside. */
static void found_damage(struct journal *journal)
{
    if (!atomic_exchange(&journal->damaged, true))
        log_write(LOG_ERROR, "journal-damaged",
                  "an entry fails its checksum; the journal is not used any more; restart mapperd");
}

/* ---- Writing ---- */

enum error journal_begin(struct journal *journal, struct journal_writer *writer)
{
    *writer = (struct journal_writer){ .journal = journal,
                                       .entries = atomic_load(&journal->entry_count),
                                       .bytes = atomic_load(&journal->byte_count) };
    if (journal->env == NULL || atomic_load(&journal->damaged))
        return ERROR_CLOSED;
    int code = mdb_txn_begin(journal->env, NULL, 0, &writer->txn);
    return code == 0 ? ERROR_NONE : library_error("begin", code);
}

/* The entry of the key with its version; ERROR_NOT_FOUND. */
static enum error standing(struct journal_writer *writer, struct slice key, struct slice *value,
                           struct record_version *version)
{
    MDB_val k = as_value(key), v;
    struct journal_entry entry;
    int code = mdb_get(writer->txn, writer->journal->entries, &k, &v);
    if (code != 0)
        return library_error("get", code);
    if (checked(key, &v, value) != ERROR_NONE || journal_entry_read(*value, &entry) != ERROR_NONE) {
        found_damage(writer->journal);
        return ERROR_LIBRARY;
    }
    *version = entry.binding.version;
    return ERROR_NONE;
}

/* Takes it off both tables. */
static void take_off(struct journal_writer *writer, struct slice key, struct slice value,
                     struct record_version version)
{
    struct record_key order;
    uint64_t cost = cost_of(key, value);
    order_key(&order, version);
    MDB_val k = as_value(key), o = as_value(record_key_slice(&order));
    int code = mdb_del(writer->txn, writer->journal->entries, &k, NULL);
    if (code == 0)
        code = mdb_del(writer->txn, writer->journal->order, &o, NULL);
    if (code != 0) {
        writer->error = code == MDB_NOTFOUND ? ERROR_LIBRARY : library_error("delete", code);
        return;
    }
    writer->entries--;
    writer->bytes -= cost < writer->bytes ? cost : writer->bytes;
}

static int put_both(struct journal_writer *writer, struct slice key, struct slice value,
                    struct record_version version)
{
    struct record_key order;
    order_key(&order, version);
    MDB_val k = as_value(key), o = as_value(record_key_slice(&order));
    MDB_val v = { value.size + CHECKSUM_SIZE, NULL };
    uint32_t sum = checksum_of(key, value.data, value.size);
    int code = mdb_put(writer->txn, writer->journal->entries, &k, &v, MDB_RESERVE);
    if (code != 0)
        return code;
    memcpy(v.mv_data, &sum, sizeof(sum));
    memcpy((char *)v.mv_data + CHECKSUM_SIZE, value.data, value.size);
    v = as_value(key);
    return mdb_put(writer->txn, writer->journal->order, &o, &v, 0);
}

enum error journal_put(struct journal_writer *writer, struct slice key, struct slice value,
                       struct record_version version)
{
    struct slice old;
    struct record_version stands = { 0, 0 };
    if (writer->error != ERROR_NONE)
        return writer->error;
    assert(key.size > 0 && key.size <= RECORD_KEY_MAX);
    enum error e = standing(writer, key, &old, &stands);
    if (e == ERROR_NONE && record_version_compare(stands, version) >= 0)
        return ERROR_NONE;
    if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
        return writer->error = e;
    uint64_t freed = e == ERROR_NONE ? cost_of(key, old) : 0, cost = cost_of(key, value);
    if (writer->bytes + cost > writer->journal->bytes_max + freed)
        return ERROR_TOO_LARGE;
    if (e == ERROR_NONE)
        take_off(writer, key, old, stands);
    if (writer->error != ERROR_NONE)
        return writer->error;
    int code = put_both(writer, key, value, version);
    if (code != 0)
        return writer->error = library_error("put", code);
    writer->entries++;
    writer->bytes += cost;
    return ERROR_NONE;
}

void journal_remove(struct journal_writer *writer, struct slice key, struct record_version version)
{
    struct slice value;
    struct record_version stands;
    if (writer->error != ERROR_NONE)
        return;
    enum error e = standing(writer, key, &value, &stands);
    if (e == ERROR_NONE && record_version_compare(stands, version) == 0)
        take_off(writer, key, value, version);
    else if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
        writer->error = e;
}

enum error journal_commit(struct journal_writer *writer)
{
    struct journal *journal = writer->journal;
    if (writer->error != ERROR_NONE) {
        mdb_txn_abort(writer->txn);
        return writer->error;
    }
    int code = mdb_txn_commit(writer->txn);
    if (code != 0)
        return library_error("commit", code);
    atomic_store(&journal->byte_count, writer->bytes);
    atomic_store(&journal->entry_count, writer->entries);
    return lengthen(journal);
}

/* ---- Reading ---- */

enum error journal_reader_open(struct journal *journal, struct journal_reader *reader)
{
    *reader = (struct journal_reader){ .journal = journal };
    if (journal->env == NULL)
        return ERROR_NONE; /* it holds nothing */
    int code = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &reader->txn);
    if (code != 0)
        return library_error("reader", code);
    mdb_txn_reset(reader->txn);
    return ERROR_NONE;
}

bool journal_reader_renew(struct journal_reader *reader)
{
    struct journal *journal = reader->journal;
    journal_reader_rest(reader);
    if (reader->txn == NULL || atomic_load(&journal->entry_count) == 0 ||
        atomic_load(&journal->damaged))
        return false;
    int code = mdb_txn_renew(reader->txn);
    if (code != 0) {
        found_damage(journal);
        return false;
    }
    reader->held = true;
    return true;
}

void journal_reader_rest(struct journal_reader *reader)
{
    if (reader->held)
        mdb_txn_reset(reader->txn);
    reader->held = false;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (reader->txn != NULL)
        mdb_txn_abort(reader->txn);
    *reader = (struct journal_reader){ 0 };
}

/* An entry that was found, checked and read. */
static bool take(struct journal_reader *reader, const MDB_val *k, const MDB_val *v,
                 struct slice *value, struct journal_entry *entry)
{
    if (checked(as_slice(k), v, value) == ERROR_NONE &&
        journal_entry_read(*value, entry) == ERROR_NONE)
        return true;
    found_damage(reader->journal);
    return false;
}

static bool has_newer(struct journal_reader *reader, const struct record_key *key,
                      struct record_version than)
{
    MDB_val k = as_value(record_key_slice(key)), v;
    struct slice value;
    struct journal_entry entry;
    int code = mdb_get(reader->txn, reader->journal->entries, &k, &v);
    if (code != 0) {
        if (code != MDB_NOTFOUND)
            found_damage(reader->journal);
        return false;
    }
    return take(reader, &k, &v, &value, &entry) &&
           record_version_compare(entry.binding.version, than) > 0;
}

bool journal_hides(struct journal_reader *reader, const struct record_binding *b)
{
    struct record_key key;
    if (!reader->held)
        return false;
    key_about(&key, ABOUT_BINDING, b->aor, b->device_key, b->instance_key);
    if (has_newer(reader, &key, b->version))
        return true;
    key_about(&key, ABOUT_DEVICE, b->aor, b->device_key, SLICE(""));
    if (has_newer(reader, &key, b->version))
        return true;
    key_about(&key, ABOUT_ALL, b->aor, SLICE(""), SLICE(""));
    return has_newer(reader, &key, b->version);
}

void journal_walk_start(struct journal_reader *reader, struct slice aor, struct journal_walk *walk)
{
    char octet = ABOUT_BINDING;
    *walk = (struct journal_walk){ .reader = reader };
    if (!reader->held)
        return;
    record_binding_prefix(&walk->prefix, aor);
    record_key_add(&walk->prefix, (struct slice){ &octet, 1 });
    if (walk->prefix.failed ||
        mdb_cursor_open(reader->txn, reader->journal->entries, &walk->cursor) != 0)
        walk->cursor = NULL;
}

bool journal_walk_next(struct journal_walk *walk, struct slice *value)
{
    struct journal_entry entry;
    if (walk->cursor == NULL)
        return false;
    for (;;) {
        MDB_val k = as_value(record_key_slice(&walk->prefix)), v;
        int code = mdb_cursor_get(walk->cursor, &k, &v, walk->started ? MDB_NEXT : MDB_SET_RANGE);
        walk->started = true;
        if (code != 0 && code != MDB_NOTFOUND)
            found_damage(walk->reader->journal);
        if (code != 0 || k.mv_size < walk->prefix.size ||
            memcmp(k.mv_data, walk->prefix.bytes, walk->prefix.size) != 0 ||
            !take(walk->reader, &k, &v, value, &entry))
            return false;
        if (entry.kind == BIND_PUT) {
            value->data++;
            value->size--;
            return true;
        }
    }
}

void journal_walk_end(struct journal_walk *walk)
{
    if (walk->cursor != NULL)
        mdb_cursor_close(walk->cursor);
    walk->cursor = NULL;
}

/* The lowest version above `after`, as a key of table order: one above its number. */
static void order_after(struct record_key *key, struct record_version after)
{
    order_key(key, (struct record_version){ after.unix_ms, after.by + 1 });
}

bool journal_next(struct journal_reader *reader, struct record_version after, struct slice *value)
{
    MDB_cursor *cursor;
    struct record_key from;
    struct journal_entry entry;
    MDB_val k, v;
    bool found = false;
    if (!reader->held || mdb_cursor_open(reader->txn, reader->journal->order, &cursor) != 0)
        return false;
    order_after(&from, after);
    k = as_value(record_key_slice(&from));
    int code = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    mdb_cursor_close(cursor);
    if (code == 0) {
        k = v;
        code = mdb_get(reader->txn, reader->journal->entries, &k, &v);
        if (code != 0)
            found_damage(reader->journal);
        found = code == 0 && take(reader, &k, &v, value, &entry);
    } else if (code != MDB_NOTFOUND) {
        found_damage(reader->journal);
    }
    return found;
}
