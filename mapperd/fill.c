/* SPDX-License-Identifier: Apache-2.0 */
/* Copying everything into a new generation, by key ranges, while the log is followed. A range is
 * one short statement on the connection that also reads keys again, so that the two never overtake
 * each other: a key at or below the frontier is written by whoever reads it, a key above it is left
 * to the range that will come to it. */
#include "common/clock.h"
#include "common/log.h"
#include "common/random.h"
#include "mapperd/feed_internal.h"
#include "mapperd/kill_point.h"
#include "mapperd/range.h"
#include "mapperd/statements.h"

#include <stdio.h>
#include <string.h>

/* Of a range that is written while the next is on its way: it is some 50 kB then, a quarter of what
 * fits into a socket. */
#define LOOK_ROWS 1000
/* Behind the rows of a range: their end, the WAL position, its end, the sync. */
#define RESULTS_BETWEEN_RANGES 4

#define STATEMENTS(table) &STATEMENT_FILL_##table, &STATEMENT_COMPARE_##table

static const struct fill_range RANGES[] = {
    [FILL_TRUST] = { STATEMENTS(TRUST), rows_trust, NULL, STORE_TRUST, 1, 1, true },
    [FILL_DOMAIN] = { STATEMENTS(DOMAIN), rows_domain, NULL, STORE_DOMAIN, 1, 1, true },
    [FILL_RULES] = { STATEMENTS(RULES), rows_rules, NULL, STORE_RULES, 2, 2, true },
    [FILL_USER] = { STATEMENTS(USER), rows_user, NULL, STORE_USER, 1, 1, true },
    [FILL_PEER] = { STATEMENTS(PEER), rows_peer_range, rows_peer_same, STORE_PEER, 2, 2, true },
    [FILL_CREDENTIAL] = { STATEMENTS(CREDENTIAL), rows_credential, NULL, STORE_CREDENTIAL, 1, 1,
                          true },
    [FILL_BLOCKED] = { STATEMENTS(BLOCKED), rows_blocked, NULL, STORE_BLOCKED, 2, 2, true },
    /* Its record keys end in a hash. */
    [FILL_BINDING] = { STATEMENTS(BINDING), rows_binding, NULL, STORE_BINDING, 3, 1, false },
};

const struct fill_range *fill_range(size_t table)
{
    return &RANGES[table];
}

int fill_range_rows(const struct fill_range *range, const PGresult *result, int limit)
{
    int rows = PQntuples(result), last = rows - 1;
    if (range->same == NULL || rows < limit)
        return rows;
    while (last > 0 && range->same(result, last, last - 1))
        last--;
    return last > 0 ? last : rows;
}

bool fill_range_cuts(const struct fill_range *range, const PGresult *result, int limit)
{
    int rows = PQntuples(result);
    return range->same != NULL && rows >= limit && range->same(result, rows - 1, 0);
}

/* Which range copies the table. */
static int range_of(enum store_table table)
{
    for (int i = 0; i < FILL_DONE; i++)
        if (RANGES[i].table == table)
            return i;
    return FILL_DONE;
}

bool fill_covers(const struct fill *fill, enum store_table table, struct slice key)
{
    int range = range_of(table);
    if (fill->store == NULL || range < (int)fill->table)
        return true;
    if (range > (int)fill->table)
        return false;
    return slice_compare(range_place(table, key), record_key_slice(&fill->frontier)) <= 0;
}

static void start_range(struct fill *fill, enum fill_table table)
{
    fill->table = table;
    fill->frontier.size = 0;
    for (int i = 0; i < 3; i++) {
        buffer_reset(&fill->after[i]);
        buffer_add_char(&fill->after[i], '\0');
    }
}

void fill_drop(struct feed *feed)
{
    struct fill *fill = &feed->fill;
    if (fill->store == NULL)
        return;
    if (fill->store == feed->store) {
        feed->store = NULL;
        feed->served = false;
    }
    folder_close_store(&feed->folder, fill->store, true);
    fill->store = NULL;
}

/* The statements that the server has applied last: what a later connect must find again. */
static void write_recent(struct feed *feed, struct store_writer *writer)
{
    struct slice rest = buffer_slice(&feed->recent);
    uint64_t now_unix_ms = clock_unix_ms(), pair[2];
    while (rest.size >= sizeof(pair)) {
        memcpy(pair, rest.data, sizeof(pair));
        poll_remember(writer, pair[0], pair[1], now_unix_ms);
        rest.data += sizeof(pair);
        rest.size -= sizeof(pair);
    }
    feed->recent_count = buffer_size(&feed->recent) / sizeof(pair);
}

/* The statements of another history prove nothing any more. */
static void clear_recent(struct store_writer *writer)
{
    struct store_walk walk;
    struct slice key, value;
    struct record_key doomed;
    for (;;) {
        store_walk_writer(writer, STORE_RECENT, SLICE(""), &walk);
        bool any = store_walk_next(&walk, &key, &value);
        if (any) {
            record_key_start(&doomed);
            record_key_add(&doomed, key);
        }
        store_walk_end(&walk);
        if (walk.error != ERROR_NONE && writer->error == ERROR_NONE)
            writer->error = walk.error;
        if (!any)
            return;
        store_delete(writer, STORE_RECENT, record_key_slice(&doomed));
    }
}

/* Sets where the store that the feed writes stands: at the server's snapshot of now, its data owed
 * a fill. */
static enum error restart_position(struct feed *feed)
{
    struct store_writer writer;
    enum error e = meta_set_position(&feed->meta, buffer_slice(&feed->server_snapshot));
    if (e != ERROR_NONE)
        return e;
    feed->meta.refill = true;
    feed->meta.origin.system_id = feed->server.system_id;
    feed->meta.origin.database_oid = feed->server.database_oid;
    feed->meta.lsn = feed->server_lsn;
    e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    clear_recent(&writer);
    write_recent(feed, &writer);
    meta_write_position(&writer, &feed->meta);
    meta_write(&writer, &feed->meta);
    return store_commit(&writer);
}

static uint64_t new_epoch(uint64_t old)
{
    uint64_t epoch;
    do
        epoch = random_u64() >> 1;
    while (epoch == 0 || epoch == old);
    return epoch;
}

/* After CHECKING the position is the server's of that check; after `all` the log goes on where it
 * stands. Without a store to serve meanwhile the new generation is the feed's own from the start.
 */
void fill_start(struct feed *feed)
{
    struct fill *fill = &feed->fill;
    struct store *fresh;
    bool restart = buffer_size(&feed->server_snapshot) > 0;
    fill_drop(feed);
    enum error e = folder_create(&feed->folder, &fresh);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "create");
        return;
    }
    kill_point("fill-created");
    if (feed->store == NULL) {
        feed->store = fresh;
        feed->served = false;
        feed->meta.serial = (struct store_serial){ new_epoch(feed->meta.serial.epoch), 1 };
        feed->meta.proof.present = false;
        feed->meta.queue_next = 1;
        feed->queue_may_hold = false;
        atomic_store(&feed->statistics.keys_waiting, 0);
    }
    fill->store = fresh;
    /* What an earlier attempt has under way belongs to nobody any more. */
    fill->discard = fill->running;
    fill->rows = 0;
    fill->started_mono_ms = clock_mono_ms();
    feed->mark.after_fill = feed->poll.after_fill = false;
    compare_reset(feed, true);
    start_range(fill, FILL_TRUST);
    if (restart || feed->store == fresh) {
        if (!restart)
            buffer_add(&feed->server_snapshot, slice_of(feed->meta.position));
        e = restart_position(feed);
    }
    buffer_reset(&feed->server_snapshot);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "start fill");
        return;
    }
    kill_point("fill-begun");
    atomic_store(&feed->statistics.refilling, true);
    log_write(LOG_NOTICE, "fill-started", "generation %llu, %s",
              (unsigned long long)store_generation(fresh),
              feed->served ? "the one before serves meanwhile" : "nothing is served meanwhile");
    poll_send(feed);
    feed_work(feed);
}

static enum error send_range(struct feed *feed)
{
    struct fill *fill = &feed->fill;
    struct database_parameters p = { .count = 0 };
    const struct fill_range *range = &RANGES[fill->table];
    for (int i = 0; i < range->words; i++)
        database_add_text(&p, buffer_slice(&fill->after[i]).data);
    enum error e = database_pipeline_add(&feed->keys, range->statement, &p);
    if (e == ERROR_NONE)
        e = database_pipeline_add(&feed->keys, &STATEMENT_LSN, NULL);
    if (e == ERROR_NONE)
        e = database_sync(&feed->keys, FEED_READ_S);
    fill->running = true;
    return e;
}

bool fill_send(struct feed *feed)
{
    struct fill *fill = &feed->fill;
    if (fill->store == NULL || fill->table == FILL_DONE)
        return false;
    fill->lsn_next = false;
    if (send_range(feed) != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
    return true;
}

/* Where the next range starts: behind the last row, whatever it was worth. The first columns of a
 * range are its words. */
static void remember_after(struct fill *fill, const struct fill_range *range,
                           const PGresult *result, int row)
{
    for (int i = 0; i < range->words; i++) {
        buffer_reset(&fill->after[i]);
        buffer_add(&fill->after[i], database_text(result, row, i));
        buffer_add_char(&fill->after[i], '\0');
    }
}

/* Sends the range behind this result's. The database reads it while this one is written. Not while
 * keys wait to be read again: they take turns with the ranges. */
static enum error send_ahead(struct feed *feed, const PGresult *result)
{
    struct fill *fill = &feed->fill;
    const struct fill_range *range = &RANGES[fill->table];
    int rows = fill_range_rows(range, result, FILL_ROWS);
    if (rows == 0 || feed->queue_may_hold)
        return ERROR_NONE;
    remember_after(fill, range, result, rows - 1);
    if (fill->after[0].failed || fill->after[1].failed || fill->after[2].failed)
        return ERROR_NONE;
    enum error e = send_range(feed);
    fill->ahead++;
    return e;
}

/* In the middle of a range: when the next one is here already, the one behind it is sent for, so
 * that the database never waits for this program to have read what it has. */
static enum error look_ahead(struct feed *feed)
{
    if (feed->fill.ahead == 0)
        return ERROR_NONE;
    const PGresult *next = database_take_in(&feed->keys, RESULTS_BETWEEN_RANGES);
    if (next == NULL || feed->fill.ahead > 1 || PQresultStatus(next) != PGRES_TUPLES_OK)
        return ERROR_NONE;
    return send_ahead(feed, next);
}

static enum error write_range(struct feed *feed, const struct fill_range *range,
                              const PGresult *result)
{
    struct fill *fill = &feed->fill;
    struct rows_record *record = &feed->reread.record;
    struct store_writer writer;
    struct record_key frontier = fill->frontier;
    int rows = fill_range_rows(range, result, FILL_ROWS), looked = 0;
    bool newer;
    enum error e = store_begin(fill->store, &writer);
    if (e != ERROR_NONE)
        return e;
    for (int row = 0; e == ERROR_NONE && row < rows; row += record->rows) {
        if (row - looked >= LOOK_ROWS) {
            looked = row;
            e = look_ahead(feed);
            if (e != ERROR_NONE)
                break;
        }
        enum rows_outcome outcome = fill_range_read(range, result, row, record);
        if (outcome != ROWS_SKIP)
            record_key_copy(&frontier, &record->key);
        if (range->table == STORE_BINDING && !record->key.failed)
            record_binding_prefix(&frontier, record->words[0]);
        if (outcome != ROWS_PRESENT)
            continue;
        struct slice value = buffer_slice(&record->value);
        if (record->value.failed)
            e = ERROR_MEMORY;
        else if (range->append)
            store_append(&writer, range->table, record_key_slice(&record->key), value);
        else
            e = rows_put_binding(&writer, record_key_slice(&record->key), value,
                                 record->binding.version, &newer);
        if (range->table == STORE_BINDING &&
            record->binding.version.unix_ms > feed->meta.version_seen_ms)
            feed->meta.version_seen_ms = record->binding.version.unix_ms;
    }
    if (e != ERROR_NONE) {
        store_abort(&writer);
        return e;
    }
    e = store_commit(&writer);
    if (e != ERROR_NONE)
        return e;
    kill_point("fill-range");
    fill->frontier = frontier;
    if (rows > 0)
        remember_after(fill, range, result, rows - 1);
    fill->rows += (uint64_t)rows;
    atomic_fetch_add(&feed->statistics.fill_rows, (unsigned long long)rows);
    return ERROR_NONE;
}

/* A key of which the range had a part only is read again as a whole, before the new generation is
 * served. */
static enum error queue_cut(struct feed *feed, const struct fill_range *range)
{
    struct store_writer writer;
    struct key key;
    if (!range_key(range->table, record_key_slice(&feed->fill.frontier), &key))
        return ERROR_NONE;
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    key.number = feed->meta.queue_next++;
    key.large = true;
    e = key_queue_put(&writer, &key);
    if (e != ERROR_NONE) {
        store_abort(&writer);
        return e;
    }
    meta_write(&writer, &feed->meta);
    feed->queue_may_hold = true;
    atomic_fetch_add(&feed->statistics.keys_waiting, 1);
    return store_commit(&writer);
}

/* A new generation that can't be written says nothing against the one that is served. */
static enum error without_blame(const struct feed *feed, enum error e)
{
    bool damage = e == ERROR_LIBRARY || e == ERROR_MALFORMED;
    return damage && feed->fill.store != feed->store ? ERROR_SYSTEM : e;
}

static void take_range(struct feed *feed, const PGresult *result)
{
    struct fill *fill = &feed->fill;
    const struct fill_range *range = &RANGES[fill->table];
    enum error e = write_range(feed, range, result);
    if (e == ERROR_NONE && fill_range_cuts(range, result, FILL_ROWS))
        e = queue_cut(feed, range);
    if (e == ERROR_NONE &&
        (fill->after[0].failed || fill->after[1].failed || fill->after[2].failed))
        e = ERROR_MEMORY;
    if (e == ERROR_UNREACHABLE) {
        feed_raise(feed, FEED_EVENT_LOST);
        return;
    }
    if (e != ERROR_NONE) {
        feed_store_failed(feed, without_blame(feed, e), "fill");
        return;
    }
    /* Only an empty range is surely the end. */
    if (PQntuples(result) == 0)
        start_range(fill, fill->table + 1);
}

void fill_result(struct feed *feed, const PGresult *result)
{
    uint64_t lsn;
    if (result == NULL) {
        feed->fill.lsn_next = true;
        return;
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK && feed->fill.lsn_next) {
        if (PQntuples(result) == 1 && database_u64(result, 0, 0, &lsn) == ERROR_NONE)
            feed_raise_lsn(feed, lsn);
        return;
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        if (!feed->fill.discard) {
            if (feed->fill.ahead == 0 && send_ahead(feed, result) != ERROR_NONE)
                feed_raise(feed, FEED_EVENT_LOST);
            else
                take_range(feed, result);
        }
        return;
    }
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
        return;
    feed->fill.lsn_next = false;
    if (feed->fill.ahead > 0) {
        feed->fill.ahead--; /* its results come next */
        return;
    }
    feed->fill.running = feed->fill.discard = false;
    if (feed->fill.table == FILL_DONE) {
        kill_point("fill-copied");
        poll_send(feed);
    }
    feed_work(feed);
}

/* A standby that lags has not given what was confirmed here a moment ago. */
static enum error lay_over(struct feed *feed, struct store_writer *writer)
{
    return feed->standby ? unreplayed_lay_over(&feed->unreplayed, feed->server.system_id, writer,
                                               &feed->meta.version_seen_ms)
                         : ERROR_NONE;
}

/* What is still queued and what was applied last move into the new generation, in one transaction
 * of it. */
static enum error hand_over(struct feed *feed, struct meta *meta)
{
    struct store_writer from, to;
    struct store_walk walk;
    struct slice key, value;
    enum error e = store_begin(feed->store, &from);
    if (e != ERROR_NONE)
        return e;
    e = store_begin(feed->fill.store, &to);
    if (e != ERROR_NONE) {
        store_abort(&from);
        return e;
    }
    e = key_queue_copy(&from, &to);
    store_walk_writer(&from, STORE_RECENT, SLICE(""), &walk);
    while (store_walk_next(&walk, &key, &value))
        store_put(&to, STORE_RECENT, key, value);
    store_walk_end(&walk);
    if (e == ERROR_NONE)
        e = walk.error;
    if (e == ERROR_NONE)
        e = lay_over(feed, &to);
    meta_write_position(&to, meta);
    meta_write_structure(&to, meta);
    meta_write(&to, meta);
    store_abort(&from);
    if (e == ERROR_NONE)
        return store_commit(&to);
    store_abort(&to);
    return e;
}

static enum error seal(struct feed *feed)
{
    struct store_writer writer;
    feed->meta.refill = false;
    if (feed->fill.store != feed->store) {
        struct store_serial old = feed->meta.serial;
        feed->meta.serial = (struct store_serial){ new_epoch(old.epoch), 1 };
        return hand_over(feed, &feed->meta);
    }
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    e = lay_over(feed, &writer);
    meta_write_position(&writer, &feed->meta);
    meta_write(&writer, &feed->meta);
    if (e == ERROR_NONE)
        return store_commit(&writer);
    store_abort(&writer);
    return e;
}

static void retire(struct feed *feed, struct store *store)
{
    for (size_t i = 0; i < sizeof(feed->retired) / sizeof(feed->retired[0]); i++) {
        if (feed->retired[i] == NULL) {
            feed->retired[i] = store;
            return;
        }
    }
    feed_end("eight generations wait for their last reader");
}

void fill_install(struct feed *feed)
{
    struct fill *fill = &feed->fill;
    struct store_serial old = feed->meta.serial;
    enum error e = seal(feed);
    kill_point("swap-sealed");
    if (e == ERROR_NONE)
        e = folder_install(&feed->folder, fill->store);
    kill_point("swap-installed");
    if (e != ERROR_NONE) {
        feed->meta.refill = true;
        feed->meta.serial = old;
        feed_store_failed(feed, without_blame(feed, e), "install");
        return;
    }
    if (fill->store != feed->store) {
        if (feed->served)
            retire(feed, feed->store);
        else
            folder_close_store(&feed->folder, feed->store, true);
        feed->store = fill->store;
    }
    fill->store = NULL;
    atomic_store(&feed->statistics.refilling, false);
    atomic_fetch_add(&feed->statistics.fills, 1);
    log_write(LOG_NOTICE, "fill-done", "generation %llu, %llu rows in %llu ms",
              (unsigned long long)store_generation(feed->store), (unsigned long long)fill->rows,
              (unsigned long long)(clock_mono_ms() - fill->started_mono_ms));
    feed_store_serve(feed, false);
}
