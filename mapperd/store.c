/* SPDX-License-Identifier: Apache-2.0 */
/* LMDB behind a narrow door. Value = 4 octets of checksum over key and payload, then the payload.
 */
#include "mapperd/store.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "mapperd/checksum.h"
#include "mapperd/disk.h"
#include "mapperd/kill_point.h"

#include <assert.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MAP_MOST ((size_t)1 << 46) /* what the address space of a process has room for */
#define READERS_MAX    16
/* Of one write: the largest record is a user or rule block, far below. */
#define VALUE_MAX       ((size_t)64 << 20)
#define WRITTEN_AT_ONCE ((uint64_t)32 << 20)

static const char *const TABLE_NAMES[STORE_TABLE_COUNT] = {
    "meta",       "trust",   "domain",  "rules", "user",   "peer",
    "credential", "blocked", "binding", "queue", "recent",
};

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLE_COUNT];
    uint64_t generation;
    size_t page_size;
    int descriptor;
    bool unsynced;       /* a new generation, synced when it is installed */
    uint64_t given_disk; /* of that: octets that the disk has been told to write */
    atomic_ullong longest_write_us, writes; /* written by the feed, read by the loop for INFO */
};

static enum error library_error(const char *what, int code)
{
    if (code == MDB_NOTFOUND)
        return ERROR_NOT_FOUND;
    if (code == ENOMEM)
        return ERROR_MEMORY;
    log_write(LOG_ERROR, "lmdb-failed", "%s: %s%s", what, mdb_strerror(code),
              code == MDB_MAP_FULL    ? "; it grows by itself"
              : disk_lacks_room(code) ? "; look whether the disk is full"
                                      : "");
    if (code == MDB_MAP_FULL || code == MDB_TXN_FULL)
        return ERROR_TOO_LARGE;
    return code > 0 ? ERROR_SYSTEM : ERROR_LIBRARY; /* a full disk is no damage */
}

static enum error generation_path(const struct folder *folder, uint64_t generation, char *out,
                                  size_t size, const char *file)
{
    int length =
        snprintf(out, size, "%s/gen-%llu%s", folder->path, (unsigned long long)generation, file);
    return length < 0 || (size_t)length >= size ? ERROR_TOO_LARGE : ERROR_NONE;
}

static void remove_generation(const struct folder *folder, uint64_t generation)
{
    static const char *const FILES[] = { "/data.mdb", "/lock.mdb" };
    char path[4200];
    for (size_t i = 0; i < 2; i++) {
        if (generation_path(folder, generation, path, sizeof(path), FILES[i]) == ERROR_NONE &&
            unlink(path) != 0 && errno != ENOENT)
            log_write(LOG_WARNING, "store-not-removed", "%s: %s", path, strerror(errno));
        kill_point("generation-unlinked");
    }
    if (generation_path(folder, generation, path, sizeof(path), "") == ERROR_NONE &&
        rmdir(path) != 0 && errno != ENOENT)
        log_write(LOG_WARNING, "store-not-removed", "%s: %s", path, strerror(errno));
}

/* gen-N, nothing before and nothing behind; 0 for every other name. */
static uint64_t generation_of(struct slice name)
{
    unsigned long long number;
    if (name.size < 5 || memcmp(name.data, "gen-", 4) != 0)
        return 0;
    if (!slice_to_u64((struct slice){ name.data + 4, name.size - 4 }, INT64_MAX, &number))
        return 0;
    return number;
}

/* Notes the highest number and removes all but `keep` (0: removes none). */
static void scan_generations(struct folder *folder, uint64_t keep)
{
    DIR *dir = opendir(folder->path);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint64_t number = generation_of(slice_of(entry->d_name));
        if (number == 0)
            continue;
        if (number > folder->last)
            folder->last = number;
        if (keep != 0 && number != keep)
            remove_generation(folder, number);
    }
    closedir(dir);
}

enum error folder_open(struct folder *folder, const char *path, size_t map_size)
{
    *folder = (struct folder){ .descriptor = -1, .lock = -1, .map_size = map_size };
    if (strlen(path) >= sizeof(folder->path))
        return ERROR_TOO_LARGE;
    strcpy(folder->path, path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return ERROR_SYSTEM;
    folder->descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->descriptor < 0)
        return ERROR_SYSTEM;
    folder->lock = openat(folder->descriptor, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->lock < 0) {
        folder_close(folder);
        return ERROR_SYSTEM;
    }
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        enum error e = errno == EWOULDBLOCK ? ERROR_CLOSED : ERROR_SYSTEM;
        folder_close(folder);
        return e;
    }
    scan_generations(folder, 0);
    return ERROR_NONE;
}

void folder_close(struct folder *folder)
{
    if (folder->lock >= 0)
        close(folder->lock);
    if (folder->descriptor >= 0)
        close(folder->descriptor);
    folder->lock = folder->descriptor = -1;
}

/* The number in CURRENT; 0 when there is none or it is not ours. */
static uint64_t read_current(const struct folder *folder)
{
    char text[64];
    int file = openat(folder->descriptor, "CURRENT", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = read(file, text, sizeof(text));
    close(file);
    if (size < 2 || text[size - 1] != '\n')
        return 0;
    return generation_of((struct slice){ text, (size_t)size - 1 });
}

static bool long_enough(const struct store *store)
{
    MDB_envinfo info;
    struct stat file;
    if (mdb_env_info(store->env, &info) != 0 || fstat(store->descriptor, &file) != 0)
        return false;
    return (uint64_t)file.st_size >= (uint64_t)(info.me_last_pgno + 1) * store->page_size;
}

/* LMDB may leave its last pages unwritten when a transaction took and gave them back. The file is
 * made as long as it says it is, so that a shorter one is always a truncated one, whose missing
 * pages would end the program with SIGBUS. */
static enum error lengthen(struct store *store)
{
    MDB_envinfo info;
    if (long_enough(store))
        return ERROR_NONE;
    if (mdb_env_info(store->env, &info) != 0)
        return ERROR_LIBRARY;
    off_t size = (off_t)((info.me_last_pgno + 1) * store->page_size);
    return ftruncate(store->descriptor, size) == 0 ? ERROR_NONE : ERROR_SYSTEM;
}

/* LMDB's own order, memcmp() and then the length, eight octets at a time and without a call: a
 * lookup compares some twenty keys. */
static int compare_keys(const MDB_val *a, const MDB_val *b)
{
    const unsigned char *p = a->mv_data, *q = b->mv_data;
    size_t left = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t)) {
        uint64_t x, y;
        memcpy(&x, p, sizeof(x));
        memcpy(&y, q, sizeof(y));
        if (x != y)
            return be64toh(x) < be64toh(y) ? -1 : 1;
        p += sizeof(x);
        q += sizeof(y);
    }
    for (; left > 0; left--, p++, q++)
        if (*p != *q)
            return *p < *q ? -1 : 1;
    return (a->mv_size > b->mv_size) - (a->mv_size < b->mv_size);
}

static enum error open_tables(struct store *store, bool create)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, create ? 0 : MDB_RDONLY, &txn);
    for (int t = 0; code == 0 && t < STORE_TABLE_COUNT; t++) {
        code = mdb_dbi_open(txn, TABLE_NAMES[t], create ? MDB_CREATE : 0, &store->tables[t]);
        if (code == 0)
            code = mdb_set_compare(txn, store->tables[t], compare_keys);
        if (code != 0)
            mdb_txn_abort(txn);
    }
    if (code == 0)
        code = mdb_txn_commit(txn);
    return code == 0 ? ERROR_NONE : library_error("open tables", code);
}

static enum error open_environment(struct folder *folder, uint64_t generation, bool create,
                                   struct store **out)
{
    char path[4200];
    enum error e = generation_path(folder, generation, path, sizeof(path), "");
    if (e != ERROR_NONE)
        return e;
    struct store *store = mem_zero(1, sizeof(*store));
    if (store == NULL)
        return ERROR_MEMORY;
    store->generation = generation;
    store->unsynced = create;
    int code = mdb_env_create(&store->env);
    if (code != 0) {
        mem_free(store);
        return library_error("create environment", code);
    }
    MDB_stat stat;
    if ((code = mdb_env_set_mapsize(store->env, folder->map_size)) != 0 ||
        (code = mdb_env_set_maxdbs(store->env, STORE_TABLE_COUNT)) != 0 ||
        (code = mdb_env_set_maxreaders(store->env, READERS_MAX)) != 0 ||
        /* A lookup touches few pages in no order: read-ahead would only push others out. */
        (code = mdb_env_open(store->env, path,
                             MDB_NOTLS | MDB_NORDAHEAD | (create ? MDB_NOSYNC : 0), 0600)) != 0 ||
        (code = mdb_env_get_fd(store->env, &store->descriptor)) != 0 ||
        (code = mdb_env_stat(store->env, &stat)) != 0) {
        e = library_error(path, code);
        goto fail;
    }
    store->page_size = stat.ms_psize;
    if (!create && !long_enough(store)) {
        log_write(LOG_ERROR, "store-truncated", "%s is shorter than its pages", path);
        e = ERROR_MALFORMED;
        goto fail;
    }
    e = open_tables(store, create);
    if (e != ERROR_NONE)
        goto fail;
    *out = store;
    return ERROR_NONE;
fail:
    mdb_env_close(store->env);
    mem_free(store);
    return e;
}

static bool format_is_ours(struct store *store)
{
    struct store_reader reader;
    if (store_reader_open(store, &reader) != ERROR_NONE)
        return false;
    bool ours = store_reader_renew(&reader) == ERROR_NONE;
    store_reader_close(&reader);
    return ours;
}

enum error folder_open_current(struct folder *folder, struct store **out)
{
    char path[4200];
    struct stat file;
    uint64_t current = read_current(folder);
    scan_generations(folder, current != 0 ? current : UINT64_MAX);
    if (current == 0)
        return ERROR_NOT_FOUND;
    enum error e = generation_path(folder, current, path, sizeof(path), "/data.mdb");
    if (e != ERROR_NONE)
        return e;
    /* LMDB would make what is missing, and an empty store is no store. */
    if (stat(path, &file) != 0 || file.st_size == 0) {
        log_write(LOG_ERROR, "store-missing", "CURRENT names %s, which is not there", path);
        return ERROR_MALFORMED;
    }
    /* It may have grown beyond the configured size in an earlier life. */
    while (folder->map_size / 2 < (uint64_t)file.st_size && folder->map_size <= STORE_MAP_MOST / 2)
        folder->map_size *= 2;
    e = open_environment(folder, current, false, out);
    if (e == ERROR_MEMORY || e == ERROR_SYSTEM)
        return e;
    if (e != ERROR_NONE)
        return ERROR_MALFORMED;
    if (!format_is_ours(*out)) {
        log_write(LOG_ERROR, "store-not-trusted", "%s is damaged or of another format", path);
        folder_close_store(folder, *out, false);
        *out = NULL;
        return ERROR_MALFORMED;
    }
    return ERROR_NONE;
}

enum error folder_create(struct folder *folder, struct store **out)
{
    char path[4200];
    enum error e = generation_path(folder, folder->last + 1, path, sizeof(path), "");
    if (e != ERROR_NONE)
        return e;
    folder->last++;
    if (mkdir(path, 0700) != 0) {
        log_write(LOG_ERROR, "store-not-made", "%s: %s", path, strerror(errno));
        return ERROR_SYSTEM;
    }
    e = open_environment(folder, folder->last, true, out);
    if (e != ERROR_NONE)
        remove_generation(folder, folder->last);
    return e;
}

static enum error write_current(const struct folder *folder, uint64_t generation)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "gen-%llu\n", (unsigned long long)generation);
    int file =
        openat(folder->descriptor, "CURRENT.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return ERROR_SYSTEM;
    bool good = write(file, text, (size_t)size) == size && fsync(file) == 0;
    good = close(file) == 0 && good;
    kill_point("swap-named");
    good = good && renameat(folder->descriptor, "CURRENT.new", folder->descriptor, "CURRENT") == 0;
    kill_point("swap-renamed");
    return good && fsync(folder->descriptor) == 0 ? ERROR_NONE : ERROR_SYSTEM;
}

enum error folder_install(struct folder *folder, struct store *store)
{
    char path[4200];
    enum error e = generation_path(folder, store->generation, path, sizeof(path), "");
    if (e != ERROR_NONE)
        return e;
    /* Order: content, its length, its folder's entry, then the name that points to it. */
    int code = mdb_env_sync(store->env, 1);
    if (code == 0)
        code = mdb_env_set_flags(store->env, MDB_NOSYNC, 0);
    if (code != 0)
        return library_error("sync", code);
    store->unsynced = false;
    e = lengthen(store);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(store->descriptor) != 0 || fsync(dir) != 0)
        e = ERROR_SYSTEM;
    if (dir >= 0)
        close(dir);
    kill_point("swap-synced");
    if (e == ERROR_NONE)
        e = write_current(folder, store->generation);
    if (e != ERROR_NONE)
        log_write(LOG_ERROR, "store-not-installed", "%s: %s", path, strerror(errno));
    return e;
}

bool folder_grow(struct folder *folder)
{
    if (folder->map_size > STORE_MAP_MOST / 2)
        return false;
    folder->map_size *= 2;
    log_write(LOG_NOTICE, "store-grows", "the map is full; it becomes %zu MB",
              folder->map_size >> 20);
    return true;
}

enum error folder_grow_store(const struct folder *folder, struct store *store)
{
    MDB_envinfo info;
    mdb_env_info(store->env, &info);
    if (info.me_mapsize >= folder->map_size)
        return ERROR_NONE;
    int code = mdb_env_set_mapsize(store->env, folder->map_size);
    return code == 0 ? ERROR_NONE : library_error("grow", code);
}

void folder_close_store(struct folder *folder, struct store *store, bool remove)
{
    mdb_env_close(store->env);
    if (remove)
        remove_generation(folder, store->generation);
    mem_free(store);
}

uint64_t store_generation(const struct store *store)
{
    return store->generation;
}

enum error store_usage(struct store *store, struct store_usage *usage)
{
    MDB_envinfo info;
    MDB_txn *txn;
    MDB_stat stat;
    mdb_env_info(store->env, &info);
    usage->map_bytes = info.me_mapsize;
    usage->longest_write_us = atomic_load(&store->longest_write_us);
    usage->writes = atomic_load(&store->writes);
    usage->used_bytes = (uint64_t)(info.me_last_pgno + 1) * store->page_size;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return library_error("usage", code);
    for (int t = 0; code == 0 && t < STORE_TABLE_COUNT; t++) {
        code = mdb_stat(txn, store->tables[t], &stat);
        usage->entries[t] = code == 0 ? stat.ms_entries : 0;
    }
    mdb_txn_abort(txn);
    return code == 0 ? ERROR_NONE : library_error("usage", code);
}

static enum error checked(struct slice key, const MDB_val *found, struct slice *value)
{
    const char *data = found->mv_data;
    uint32_t sum;
    if (found->mv_size < CHECKSUM_SIZE)
        return ERROR_LIBRARY;
    memcpy(&sum, data, sizeof(sum));
    *value = (struct slice){ data + CHECKSUM_SIZE, found->mv_size - CHECKSUM_SIZE };
    return sum == checksum_of(key, value->data, value->size) ? ERROR_NONE : ERROR_LIBRARY;
}

static enum error get(struct store *store, MDB_txn *txn, enum store_table table, struct slice key,
                      struct slice *value)
{
    MDB_val k = { key.size, (void *)(uintptr_t)key.data }, v;
    if (key.size == 0 || key.size > 511)
        return ERROR_NOT_FOUND;
    int code = mdb_get(txn, store->tables[table], &k, &v);
    if (code == MDB_NOTFOUND)
        return ERROR_NOT_FOUND;
    if (code != 0)
        return library_error(TABLE_NAMES[table], code);
    enum error e = checked(key, &v, value);
    if (e != ERROR_NONE)
        log_write(LOG_ERROR, "store-damaged", "table %s: a record fails its checksum",
                  TABLE_NAMES[table]);
    return e;
}

enum error store_reader_open(struct store *store, struct store_reader *reader)
{
    *reader = (struct store_reader){ .store = store };
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &reader->txn);
    if (code != 0)
        return library_error("reader", code);
    mdb_txn_reset(reader->txn);
    return ERROR_NONE;
}

void store_reader_rest(struct store_reader *reader)
{
    if (reader->held)
        mdb_txn_reset(reader->txn);
    reader->held = false;
    reader->ahead.count = 0;
}

enum error store_reader_renew(struct store_reader *reader)
{
    struct slice value;
    uint32_t format;
    store_reader_rest(reader);
    int code = mdb_txn_renew(reader->txn);
    if (code != 0)
        return library_error("renew", code);
    reader->held = true;
    enum error e = store_get(reader, STORE_META, SLICE("serial"), &value);
    if (e != ERROR_NONE)
        return e == ERROR_NOT_FOUND ? ERROR_LIBRARY : e;
    if (value.size != sizeof(format) + sizeof(reader->serial))
        return ERROR_LIBRARY;
    memcpy(&format, value.data, sizeof(format));
    memcpy(&reader->serial, value.data + sizeof(format), sizeof(reader->serial));
    return format == STORE_FORMAT ? ERROR_NONE : ERROR_LIBRARY;
}

void store_reader_close(struct store_reader *reader)
{
    if (reader->txn != NULL)
        mdb_txn_abort(reader->txn);
    *reader = (struct store_reader){ 0 };
}

/* Whether the key is the next of those that were looked up ahead, and was found. */
static bool found_ahead(struct store_reader *reader, struct slice key, struct slice *value)
{
    size_t at = reader->ahead.at;
    if (at >= reader->ahead.count || !slice_equal(key, reader->ahead.keys[at]))
        return false;
    reader->ahead.at++;
    return reader->ahead.found[at].mv_data != NULL &&
           checked(key, &reader->ahead.found[at], value) == ERROR_NONE;
}

enum error store_get(struct store_reader *reader, enum store_table table, struct slice key,
                     struct slice *value)
{
    assert(reader->held);
    if (table == STORE_PEER && found_ahead(reader, key, value))
        return ERROR_NONE;
    return get(reader->store, reader->txn, table, key, value);
}

void store_forget_ahead(struct store_reader *reader)
{
    reader->ahead.count = 0;
}

void store_look_ahead(struct store_reader *reader, const struct slice *keys, size_t count)
{
    size_t snapshot = mdb_txn_id(reader->txn);
    if (reader->peers_of != snapshot) {
        warm_find(reader->txn, TABLE_NAMES[STORE_PEER], &reader->peers);
        reader->peers_of = snapshot;
    }
    for (size_t i = 0; i < count; i++)
        reader->ahead.keys[i] = keys[i];
    reader->ahead.count = count;
    reader->ahead.at = 0;
    warm_keys(&reader->peers, keys, count, reader->ahead.found);
}

enum error store_begin(struct store *store, struct store_writer *writer)
{
    *writer = (struct store_writer){ .store = store };
    writer->begun_mono_us = clock_mono_us();
    int code = mdb_txn_begin(store->env, NULL, 0, &writer->txn);
    return code == 0 ? ERROR_NONE : library_error("begin", code);
}

/* A cursor that stays at the end finds it without a search from the root. */
static int append(struct store_writer *writer, enum store_table table, MDB_val *k, MDB_val *v)
{
    if (writer->end != NULL && writer->end_of != table) {
        mdb_cursor_close(writer->end);
        writer->end = NULL;
    }
    if (writer->end == NULL) {
        int code = mdb_cursor_open(writer->txn, writer->store->tables[table], &writer->end);
        if (code != 0) {
            writer->end = NULL;
            return code;
        }
        writer->end_of = table;
    }
    return mdb_cursor_put(writer->end, k, v, MDB_APPEND | MDB_RESERVE);
}

static void put(struct store_writer *writer, enum store_table table, struct slice key,
                struct slice value, bool at_end)
{
    if (writer->error != ERROR_NONE)
        return;
    if (key.size == 0 || key.size > 511 || value.size > VALUE_MAX) {
        writer->error = ERROR_TOO_LARGE;
        return;
    }
    MDB_val k = { key.size, (void *)(uintptr_t)key.data };
    MDB_val v = { value.size + CHECKSUM_SIZE, NULL };
    int code = at_end ? append(writer, table, &k, &v)
                      : mdb_put(writer->txn, writer->store->tables[table], &k, &v, MDB_RESERVE);
    if (code != 0) {
        writer->error = library_error(TABLE_NAMES[table], code);
        return;
    }
    uint32_t sum = checksum_of(key, value.data, value.size);
    memcpy(v.mv_data, &sum, sizeof(sum));
    memcpy((char *)v.mv_data + CHECKSUM_SIZE, value.data, value.size);
}

void store_put(struct store_writer *writer, enum store_table table, struct slice key,
               struct slice value)
{
    put(writer, table, key, value, false);
}

void store_append(struct store_writer *writer, enum store_table table, struct slice key,
                  struct slice value)
{
    put(writer, table, key, value, true);
}

void store_delete(struct store_writer *writer, enum store_table table, struct slice key)
{
    MDB_val k = { key.size, (void *)(uintptr_t)key.data };
    if (writer->error != ERROR_NONE || key.size == 0 || key.size > 511)
        return;
    int code = mdb_del(writer->txn, writer->store->tables[table], &k, NULL);
    if (code != 0 && code != MDB_NOTFOUND)
        writer->error = library_error(TABLE_NAMES[table], code);
}

enum error store_writer_get(struct store_writer *writer, enum store_table table, struct slice key,
                            struct slice *value)
{
    if (writer->error != ERROR_NONE)
        return writer->error;
    return get(writer->store, writer->txn, table, key, value);
}

static void close_end(struct store_writer *writer)
{
    if (writer->end != NULL)
        mdb_cursor_close(writer->end);
    writer->end = NULL;
}

/* A new generation is synced once, when it is whole. The disk writes what is there while the rest
 * is made, so that little is left to wait for then. Nothing relies on it. */
static void begin_writing(struct store *store)
{
    MDB_envinfo info;
    if (!store->unsynced || mdb_env_info(store->env, &info) != 0)
        return;
    uint64_t used = (uint64_t)(info.me_last_pgno + 1) * store->page_size;
    if (used - store->given_disk < WRITTEN_AT_ONCE)
        return;
    sync_file_range(store->descriptor, (off_t)store->given_disk, (off_t)(used - store->given_disk),
                    SYNC_FILE_RANGE_WRITE);
    store->given_disk = used;
}

enum error store_commit(struct store_writer *writer)
{
    MDB_txn *txn = writer->txn;
    writer->txn = NULL;
    close_end(writer);
    if (writer->error != ERROR_NONE) {
        mdb_txn_abort(txn);
        return writer->error;
    }
    int code = mdb_txn_commit(txn);
    uint64_t took_us = clock_mono_us() - writer->begun_mono_us;
    if (took_us > atomic_load(&writer->store->longest_write_us))
        atomic_store(&writer->store->longest_write_us, took_us);
    atomic_fetch_add(&writer->store->writes, 1);
    begin_writing(writer->store);
    return code == 0 ? lengthen(writer->store) : library_error("commit", code);
}

void store_abort(struct store_writer *writer)
{
    close_end(writer);
    if (writer->txn != NULL)
        mdb_txn_abort(writer->txn);
    writer->txn = NULL;
}

static void walk_start(struct store *store, MDB_txn *txn, enum store_table table, struct slice from,
                       struct store_walk *walk)
{
    *walk = (struct store_walk){ .store = store, .table = table, .from = from };
    int code = mdb_cursor_open(txn, store->tables[table], &walk->cursor);
    if (code != 0)
        walk->error = library_error(TABLE_NAMES[table], code);
}

void store_walk_reader(const struct store_reader *reader, enum store_table table, struct slice from,
                       struct store_walk *walk)
{
    assert(reader->held);
    walk_start(reader->store, reader->txn, table, from, walk);
}

void store_walk_writer(struct store_writer *writer, enum store_table table, struct slice from,
                       struct store_walk *walk)
{
    walk_start(writer->store, writer->txn, table, from, walk);
    if (writer->error != ERROR_NONE)
        walk->error = writer->error;
}

bool store_walk_next(struct store_walk *walk, struct slice *key, struct slice *value)
{
    if (walk->error != ERROR_NONE)
        return false;
    MDB_val k = { walk->from.size, (void *)(uintptr_t)walk->from.data }, v;
    MDB_cursor_op step = walk->started ? MDB_NEXT : walk->from.size > 0 ? MDB_SET_RANGE : MDB_FIRST;
    walk->started = true;
    int code = mdb_cursor_get(walk->cursor, &k, &v, step);
    if (code == MDB_NOTFOUND)
        return false;
    if (code != 0) {
        walk->error = library_error(TABLE_NAMES[walk->table], code);
        return false;
    }
    *key = (struct slice){ k.mv_data, k.mv_size };
    walk->error = checked(*key, &v, value);
    if (walk->error != ERROR_NONE)
        log_write(LOG_ERROR, "store-damaged", "table %s: a record fails its checksum",
                  TABLE_NAMES[walk->table]);
    return walk->error == ERROR_NONE;
}

void store_walk_end(struct store_walk *walk)
{
    if (walk->cursor != NULL)
        mdb_cursor_close(walk->cursor);
    walk->cursor = NULL;
}
