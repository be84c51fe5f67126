/* SPDX-License-Identifier: Apache-2.0 */
/* Key: WAL position, number. Value: checksum, system, size of the record's key, that key, record.
 */
#include "mapperd/unreplayed.h"

#include "common/clock.h"
#include "mapperd/checksum.h"
#include "mapperd/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT   1
#define MAP_SIZE ((size_t)1 << 30) /* address space; the largest entries are some kilobytes */
#define KEY_SIZE 16

struct head {
    uint64_t system_id;
    uint16_t key_size;
};

#define HEAD_SIZE (sizeof(uint64_t) + sizeof(uint16_t))

static void complain(struct unreplayed *u, const char *doing, const char *why)
{
    if (log_limit_pass(&u->failures, 1, clock_mono_ms()))
        log_write(LOG_ERROR, "unreplayed-failed",
                  "%s: %s; a store filled from a standby that lags may lack bindings until it has "
                  "replayed them",
                  doing, why);
}

/* ---- Opening ---- */

static void file_name(const struct unreplayed *u, const char *name, char out[4300])
{
    snprintf(out, 4300, "%s/%s", u->path, name);
}

static void remove_files(const struct unreplayed *u)
{
    static const char *const FILES[] = { "data.mdb", "lock.mdb", "boot" };
    char file[4300];
    for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
        file_name(u, FILES[i], file);
        unlink(file);
    }
}

/* What the file beside the environment says when it is of this boot and format. */
static int boot_text(const struct unreplayed *u, char out[64])
{
    return snprintf(out, 64, "%s %d\n", u->boot_id, FORMAT);
}

static bool is_of_this_boot(const struct unreplayed *u)
{
    char file[4300], want[64], have[64];
    int size = boot_text(u, want);
    file_name(u, "boot", file);
    int descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    ssize_t got = read(descriptor, have, sizeof(have));
    close(descriptor);
    return got == size && memcmp(want, have, (size_t)size) == 0;
}

static bool write_boot(const struct unreplayed *u)
{
    char file[4300], text[64];
    int size = boot_text(u, text);
    file_name(u, "boot", file);
    int descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return false;
    bool good = write(descriptor, text, (size_t)size) == size;
    return close(descriptor) == 0 && good;
}

static bool long_enough(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int descriptor;
    return mdb_env_info(env, &info) == 0 && mdb_env_stat(env, &stat) == 0 &&
           mdb_env_get_fd(env, &descriptor) == 0 && fstat(descriptor, &file) == 0 &&
           (uint64_t)file.st_size >= (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

static uint64_t lsn_of(const MDB_val *key)
{
    return record_u64_at(key->mv_data);
}

/* One entry; false: it is damaged. */
static bool read_entry(const MDB_val *k, const MDB_val *v, struct head *head, struct slice *key,
                       struct slice *value)
{
    const char *data = v->mv_data;
    uint32_t sum;
    if (k->mv_size != KEY_SIZE || v->mv_size < CHECKSUM_SIZE + HEAD_SIZE)
        return false;
    memcpy(&sum, data, CHECKSUM_SIZE);
    data += CHECKSUM_SIZE;
    size_t left = v->mv_size - CHECKSUM_SIZE;
    if (sum != checksum_of((struct slice){ k->mv_data, KEY_SIZE }, data, left))
        return false;
    memcpy(&head->system_id, data, sizeof(head->system_id));
    memcpy(&head->key_size, data + sizeof(head->system_id), sizeof(head->key_size));
    left -= HEAD_SIZE;
    if (head->key_size > left)
        return false;
    *key = (struct slice){ data + HEAD_SIZE, head->key_size };
    *value = (struct slice){ key->data + key->size, left - key->size };
    return true;
}

/* Every entry reads through, or nothing is believed. */
static int check(struct unreplayed *u, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    struct head head;
    struct slice key, value;
    struct record_binding binding;
    int code = mdb_cursor_open(txn, u->entries, &cursor);
    if (code != 0)
        return code;
    while ((code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0 &&
           read_entry(&k, &v, &head, &key, &value) &&
           record_binding_read(value, &binding) == ERROR_NONE)
        ;
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code != 0 ? code : MDB_CORRUPTED;
}

/* Where the oldest entry lies. */
static int look(struct unreplayed *u)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val k, v;
    int code = mdb_txn_begin(u->env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return code;
    code = mdb_cursor_open(txn, u->entries, &cursor);
    if (code == 0) {
        code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
        u->oldest_lsn = code == 0 ? lsn_of(&k) : UINT64_MAX;
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int open_environment(struct unreplayed *u)
{
    MDB_txn *txn;
    int code = mdb_env_create(&u->env);
    if (code != 0) {
        u->env = NULL;
        return code;
    }
    if ((code = mdb_env_set_mapsize(u->env, MAP_SIZE)) == 0 &&
        (code = mdb_env_set_maxdbs(u->env, 1)) == 0)
        code = mdb_env_open(u->env, u->path, MDB_NOTLS | MDB_NORDAHEAD | MDB_NOSYNC, 0600);
    if (code == 0 && !long_enough(u->env))
        code = MDB_CORRUPTED;
    if (code == 0)
        code = mdb_txn_begin(u->env, NULL, 0, &txn);
    if (code == 0) {
        code = mdb_dbi_open(txn, "entries", MDB_CREATE, &u->entries);
        if (code == 0)
            code = check(u, txn);
        if (code == 0)
            code = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (code == 0)
        code = look(u);
    if (code != 0) {
        mdb_env_close(u->env);
        u->env = NULL;
    }
    return code;
}

/* Empty. */
static void begin_anew(struct unreplayed *u)
{
    if (u->env != NULL)
        mdb_env_close(u->env);
    u->env = NULL;
    u->oldest_lsn = UINT64_MAX;
    remove_files(u);
    int code = write_boot(u) ? open_environment(u) : errno;
    if (code != 0)
        complain(u, u->path, mdb_strerror(code));
}

void unreplayed_open(struct unreplayed *u, const char *folder, const char *boot_id)
{
    *u = (struct unreplayed){ .oldest_lsn = UINT64_MAX, .sequence = clock_unix_ms() * 1000 };
    int size = snprintf(u->path, sizeof(u->path), "%s/unreplayed", folder);
    snprintf(u->boot_id, sizeof(u->boot_id), "%s", boot_id);
    if (size < 0 || (size_t)size >= sizeof(u->path) || boot_id[0] == '\0' ||
        (mkdir(u->path, 0700) != 0 && errno != EEXIST)) {
        complain(u, folder, "no place for bindings that a standby lacks");
        return;
    }
    if (!is_of_this_boot(u)) {
        begin_anew(u);
        return;
    }
    int code = open_environment(u);
    if (code == 0)
        return;
    complain(u, u->path, mdb_strerror(code));
    begin_anew(u);
}

void unreplayed_close(struct unreplayed *u)
{
    if (u->env != NULL)
        mdb_env_close(u->env);
    u->env = NULL;
}

/* ---- Changes ---- */

/* Room on the disk may come back; what LMDB itself says is over is over. */
static void failed(struct unreplayed *u, const char *doing, int code)
{
    complain(u, doing, mdb_strerror(code));
    if (code < 0)
        begin_anew(u);
}

/* The oldest entries, up to `lsn` and so many that `most` are left. */
static int remove_oldest(struct unreplayed *u, uint64_t lsn, uint64_t most)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    MDB_stat stat;
    int code = mdb_stat(u->txn, u->entries, &stat);
    if (code == 0)
        code = mdb_cursor_open(u->txn, u->entries, &cursor);
    if (code != 0)
        return code;
    uint64_t count = stat.ms_entries;
    while ((code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST)) == 0 &&
           (count > most || lsn_of(&k) <= lsn) && (code = mdb_cursor_del(cursor, 0)) == 0)
        count--;
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

void unreplayed_begin(struct unreplayed *u, uint64_t system_id, uint64_t lsn)
{
    u->system_id = system_id;
    u->lsn = lsn;
    u->txn = NULL;
    if (u->env == NULL)
        return;
    int code = mdb_txn_begin(u->env, NULL, 0, &u->txn);
    if (code != 0) {
        u->txn = NULL;
        failed(u, "begin", code);
    }
}

/* The transaction under way is given up. */
static void give_up(struct unreplayed *u, const char *doing, int code)
{
    mdb_txn_abort(u->txn);
    u->txn = NULL;
    failed(u, doing, code);
}

void unreplayed_put(struct unreplayed *u, struct slice key, struct slice value)
{
    struct record_key at;
    uint16_t key_size = (uint16_t)key.size;
    if (u->txn == NULL)
        return;
    record_key_start(&at);
    record_key_add_u64(&at, u->lsn);
    record_key_add_u64(&at, ++u->sequence);
    MDB_val k = { at.size, at.bytes };
    MDB_val v = { CHECKSUM_SIZE + HEAD_SIZE + key.size + value.size, NULL };
    int code = mdb_put(u->txn, u->entries, &k, &v, MDB_RESERVE);
    if (code != 0) {
        give_up(u, "put", code);
        return;
    }
    char *payload = (char *)v.mv_data + CHECKSUM_SIZE;
    memcpy(payload, &u->system_id, sizeof(u->system_id));
    memcpy(payload + sizeof(u->system_id), &key_size, sizeof(key_size));
    memcpy(payload + HEAD_SIZE, key.data, key.size);
    memcpy(payload + HEAD_SIZE + key.size, value.data, value.size);
    uint32_t sum = checksum_of(record_key_slice(&at), payload, v.mv_size - CHECKSUM_SIZE);
    memcpy(v.mv_data, &sum, sizeof(sum));
}

static void end(struct unreplayed *u, uint64_t lsn)
{
    int code = remove_oldest(u, lsn, UNREPLAYED_MOST);
    if (code != 0) {
        give_up(u, "remove", code);
        return;
    }
    code = mdb_txn_commit(u->txn);
    u->txn = NULL;
    if (code == 0)
        code = look(u);
    if (code != 0)
        failed(u, "commit", code);
}

void unreplayed_end(struct unreplayed *u)
{
    if (u->txn != NULL)
        end(u, 0);
}

void unreplayed_pass(struct unreplayed *u, uint64_t lsn)
{
    if (u->env == NULL || u->oldest_lsn > lsn)
        return;
    unreplayed_begin(u, 0, 0);
    if (u->txn != NULL)
        end(u, lsn);
}

enum error unreplayed_lay_over(struct unreplayed *u, uint64_t system_id,
                               struct store_writer *writer, uint64_t *highest_unix_ms)
{
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    MDB_val k, v;
    enum error e = ERROR_NONE;
    if (u->env == NULL || u->oldest_lsn == UINT64_MAX)
        return ERROR_NONE;
    int code = mdb_txn_begin(u->env, NULL, MDB_RDONLY, &txn);
    if (code != 0) {
        failed(u, "read", code);
        return ERROR_NONE;
    }
    code = mdb_cursor_open(txn, u->entries, &cursor);
    while (code == 0 && e == ERROR_NONE && (code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        struct head head;
        struct slice key, value;
        struct record_binding binding;
        bool newer;
        if (!read_entry(&k, &v, &head, &key, &value) || head.system_id != system_id ||
            record_binding_read(value, &binding) != ERROR_NONE)
            continue;
        e = rows_put_binding(writer, key, value, binding.version, &newer);
        if (binding.version.unix_ms > *highest_unix_ms)
            *highest_unix_ms = binding.version.unix_ms;
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    if (code != 0 && code != MDB_NOTFOUND)
        failed(u, "read", code);
    return e;
}
