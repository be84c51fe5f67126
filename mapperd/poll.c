/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the log: what is new since the last snapshot goes into the durable queue, and the
 * position moves with it. */
#include "common/clock.h"
#include "common/log.h"
#include "mapperd/feed_internal.h"
#include "mapperd/kill_point.h"
#include "mapperd/statements.h"

#include <stdio.h>
#include <string.h>

void poll_reset(struct poll *poll)
{
    poll->running = poll->everything = poll->answered = poll->large = false;
    poll->known = poll->cut = false;
    poll->stage = POLL_READING;
    poll->gate = 0;
    poll->after_fill = poll->after_compare = poll->has_counter = poll->has_statement = false;
    poll->count = poll->statement_count = 0;
    poll->of_xid = poll->replayed = 0;
    buffer_reset(&poll->memory);
    buffer_reset(&poll->snapshot);
}

/* All but the last, which is the next position. The numbers' texts lie in `texts`. */
static void add_parameters(const struct feed *feed, const char *position, const char *below,
                           char texts[3][24], struct database_parameters *p)
{
    snprintf(texts[0], 24, "%lld", (long long)feed->server.system_id);
    snprintf(texts[1], 24, "%lu", (unsigned long)feed->server.database_oid);
    snprintf(texts[2], 24, "%lu", (unsigned long)feed->meta.origin.mapperd_id);
    database_add_text(p, position);
    for (int i = 0; i < 3; i++)
        database_add_text(p, texts[i]);
    database_add_text(p, below);
}

static void send(struct feed *feed, enum poll_stage stage,
                 const struct database_statement *statement, const struct database_parameters *p)
{
    bool rows = stage == POLL_READING;
    feed->poll.stage = stage;
    /* What must be counted out first may be many numbers. */
    double deadline_s = stage == POLL_PENDING ? FEED_READ_S : FEED_STATEMENT_S;
    if (database_send(&feed->log, statement, p, rows, deadline_s) != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
}

static void send_reading(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    char texts[3][24], below[24];
    struct database_parameters p = { .count = 0 };
    if (poll->cut)
        snprintf(below, sizeof(below), "%llu",
                 (unsigned long long)meta_position_xmax(buffer_slice(&poll->snapshot)));
    add_parameters(feed, feed->meta.position, poll->cut ? below : NULL, texts, &p);
    if (poll->known)
        database_add_binary(&p, buffer_slice(&poll->snapshot));
    else
        database_add_text(&p, NULL);
    send(feed, POLL_READING, &STATEMENT_POLL, &p);
}

/* Hints come from the poll after this one on; a primary that was a standby when it was connected to
 * has not been asked for them. */
static void send_on_primary(struct feed *feed)
{
    if (feed->listening)
        send_reading(feed);
    else
        send(feed, POLL_LISTENING, &STATEMENT_LISTEN, NULL);
}

void poll_send(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    struct database_parameters p = { .count = 0 };
    /* A connection that is being given up in one of its own callbacks still looks idle. */
    if (!feed_follows(feed) || poll->running || feed->log.state != DATABASE_IDLE)
        return;
    poll_reset(poll);
    poll->gate = feed->gate;
    poll->replayed = feed->polled_lsn;
    feed->gate = 0;
    feed->hinted = false;
    poll->after_fill = feed->fill.store != NULL && feed->fill.table == FILL_DONE;
    poll->after_compare = feed->compare.state == COMPARE_POLLING;
    buffer_reset(&feed->peek_position);
    feed->peek_ended = false;
    poll->running = true;
    if (feed->standby) {
        database_add_text(&p, feed->meta.position);
        send(feed, POLL_PENDING, &STATEMENT_PENDING, &p);
    } else {
        send_on_primary(feed);
    }
}

void poll_remember(struct store_writer *writer, uint64_t xid, uint64_t stamp, uint64_t now_unix_ms)
{
    struct record_key key;
    record_key_start(&key);
    record_key_add_u64(&key, xid);
    record_key_add_u64(&key, stamp);
    store_put(writer, STORE_RECENT, record_key_slice(&key),
              (struct slice){ (const char *)&now_unix_ms, sizeof(now_unix_ms) });
}

enum error poll_write(struct feed *feed, struct store_writer *writer, struct poll *poll, bool last)
{
    uint64_t now_unix_ms = clock_unix_ms();
    for (size_t i = 0; i < poll->statement_count; i++)
        poll_remember(writer, poll->statements[i].xid, poll->statements[i].stamp, now_unix_ms);
    if (!last)
        return ERROR_NONE;
    enum error e = meta_set_position(&feed->meta, buffer_slice(&poll->snapshot));
    feed->meta.refill |= poll->everything;
    meta_write_position(writer, &feed->meta);
    return e;
}

/* The memory does not move any more. */
static void find_words(struct poll *poll)
{
    const char *memory = buffer_slice(&poll->memory).data;
    for (size_t i = 0; i < poll->count; i++)
        for (size_t w = 0; w < key_kind_words(poll->keys[i].kind); w++)
            poll->keys[i].words[w].data = memory + poll->offsets[i][w];
}

/* Writes the keys read so far into the queue; with `last`, the position as well. */
static enum error store_rows(struct feed *feed, struct poll *poll, bool last)
{
    struct store_writer writer;
    if (poll->memory.failed)
        return ERROR_MEMORY; /* a key's words are missing */
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    find_words(poll);
    for (size_t i = 0; i < poll->count; i++) {
        struct key *key = &poll->keys[i];
        key->number = feed->meta.queue_next++;
        if (key_queue_put(&writer, key) != ERROR_NONE) {
            atomic_fetch_add(&feed->statistics.rows_skipped, 1);
            log_write(LOG_WARNING, "log-row-skipped", "a key that no row can have");
        }
    }
    e = poll_write(feed, &writer, poll, last);
    if (e != ERROR_NONE) {
        store_abort(&writer);
        return e;
    }
    meta_write(&writer, &feed->meta);
    e = store_commit(&writer);
    kill_point(last ? "poll-queued" : "poll-part");
    feed->recent_count += poll->statement_count;
    feed->queue_may_hold |= poll->count > 0;
    atomic_fetch_add(&feed->statistics.keys_waiting, poll->count);
    poll->count = poll->statement_count = 0;
    buffer_reset(&poll->memory);
    return e;
}

static void take_statement(struct poll *poll, const PGresult *result, int row)
{
    uint64_t xid, stamp;
    if (database_u64(result, row, 3, &xid) != ERROR_NONE ||
        database_u64(result, row, 4, &stamp) != ERROR_NONE)
        return;
    if (!poll->has_statement || xid != poll->xid)
        poll->of_xid = 0;
    poll->of_xid++;
    if (!poll->has_statement || xid != poll->xid || stamp != poll->stamp) {
        poll->statements[poll->statement_count].xid = xid;
        poll->statements[poll->statement_count++].stamp = stamp;
    }
    poll->has_statement = true;
    poll->xid = xid;
    poll->stamp = stamp;
}

/* One log row's key. A kind that this mapperd does not know could be anything: everything is read
 * again. */
static void take_key(struct feed *feed, struct poll *poll, const PGresult *result, int row)
{
    struct key *key = &poll->keys[poll->count];
    struct database_array words;
    struct slice word;
    size_t count = 0;
    *key = (struct key){ .large = poll->of_xid > KEY_QUEUE_SMALL };
    if (slice_equal(database_text(result, row, 5), SLICE("mark")))
        return; /* its statement is remembered, and that was all */
    if (!key_kind_from_text(database_text(result, row, 5), &key->kind)) {
        poll->everything = true;
        return;
    }
    bool good = database_array(result, row, 6, &words) == ERROR_NONE;
    while (good && database_array_next(&words, &word)) {
        good = count < key_kind_words(key->kind) && word.size > 0 && word.size < RECORD_KEY_MAX;
        if (!good)
            break;
        poll->offsets[poll->count][count] = buffer_size(&poll->memory);
        key->words[count++].size = word.size;
        buffer_add(&poll->memory, word);
    }
    if (!good || count != key_kind_words(key->kind)) {
        atomic_fetch_add(&feed->statistics.rows_skipped, 1);
        log_write(LOG_WARNING, "log-row-skipped", "the key of a log row is malformed");
        return;
    }
    poll->count++;
}

static void take_header(struct feed *feed, const PGresult *result)
{
    struct poll *poll = &feed->poll;
    uint64_t lsn;
    int64_t counter;
    if (poll->answered)
        return;
    poll->answered = true;
    if (!poll->known)
        buffer_add(&poll->snapshot, database_text(result, 0, 0));
    if (database_u64(result, 0, 1, &lsn) == ERROR_NONE)
        feed_raise_lsn(feed, feed->polled_lsn = lsn);
    /* Rows that are left to the next poll are not applied with this one. */
    poll->has_counter = !poll->cut && database_i64(result, 0, 2, &counter) == ERROR_NONE;
    poll->counter = poll->has_counter ? (uint64_t)counter : 0;
    if (poll->gate != 0)
        feed_tell_plain(feed, FEED_ANSWERED, poll->gate);
}

void poll_rest(struct feed *feed)
{
    ev_timer_set(&feed->poll_timer, (double)feed->options->poll_ms / 1000., 0.);
    ev_timer_start(feed->loop, &feed->poll_timer);
    if (feed->gate != 0 || feed->hinted)
        poll_send(feed);
}

/* What it brought is queued, or applied. */
static void finish_queued(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    poll->running = false;
    atomic_fetch_add(&feed->statistics.polls, 1);
    if (poll->cut) {
        if (feed->gate == 0)
            feed->gate = poll->gate;
        poll->gate = poll->replayed = 0;
        poll->after_fill = poll->after_compare = false;
    }
    if (poll->after_compare)
        compare_polled(feed);
    /* One mark at a time, but what waits for a gate or a fill does not wait for an older mark. */
    if (!feed->mark.set || poll->gate != 0 || (poll->after_fill && !feed->mark.after_fill)) {
        feed->mark.gate = poll->gate != 0 ? poll->gate : feed->mark.set ? feed->mark.gate : 0;
        feed->mark.after_fill = poll->after_fill || (feed->mark.set && feed->mark.after_fill);
        feed->mark.set = true;
        feed->mark.through = feed_number(feed);
        feed->mark.has_counter = poll->has_counter;
        feed->mark.counter = poll->counter;
        feed->mark.replayed = poll->replayed;
    }
    if (poll->everything) {
        feed_raise(feed, FEED_EVENT_EVERYTHING);
        return;
    }
    feed_settle(feed);
    feed_work(feed);
}

void poll_applied(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    feed->recent_count += poll->statement_count;
    finish_queued(feed);
    if (feed_follows(feed) && !poll->running)
        poll_rest(feed);
}

static void finish(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    bool moved = !slice_equal(buffer_slice(&poll->snapshot), slice_of(feed->meta.position));
    enum error e = ERROR_NONE;
    find_words(poll);
    if (poll->count > 0 && !poll->large && !poll->everything && reread_poll(feed, poll)) {
        poll->stage = POLL_APPLYING;
        return;
    }
    if (poll->count > 0 || poll->statement_count > 0 || poll->everything) {
        e = store_rows(feed, poll, true);
    } else if (moved) {
        /* Nothing new: the older position in the store is right as well, and is written once a
         * second. */
        e = meta_set_position(&feed->meta, buffer_slice(&poll->snapshot));
        feed->position_moved = true;
    }
    if (e != ERROR_NONE) {
        poll->running = false;
        feed_store_failed(feed, e, "queue");
        return;
    }
    finish_queued(feed);
}

/* Promoted while connected. What was read from it as a standby holds: the rest has a number from M
 * on, or is one of P, as on any primary. */
static void promoted(struct feed *feed)
{
    log_write(LOG_NOTICE, "promoted", "the server that is read is a primary now");
    feed->standby = false;
    atomic_store(&feed->statistics.standby, false);
    binder_verify(feed);
}

static void take_pending(struct feed *feed, const PGresult *result)
{
    struct poll *poll = &feed->poll;
    if (!database_true(result, 0, 0)) {
        promoted(feed);
        return;
    }
    poll->known = true;
    poll->cut = database_true(result, 0, 2);
    buffer_add(&poll->snapshot, database_text(result, 0, 1));
}

static void end_stage(struct feed *feed)
{
    struct poll *poll = &feed->poll;
    switch (poll->stage) {
    case POLL_LISTENING:
        feed->listening = true;
        send_reading(feed);
        return;
    case POLL_PENDING:
        if (poll->snapshot.failed || (feed->standby && !poll->known))
            feed_raise(feed, FEED_EVENT_LOST);
        else if (feed->standby)
            send_reading(feed);
        else
            send_on_primary(feed);
        return;
    case POLL_READING:
        if (!poll->answered || poll->memory.failed || poll->snapshot.failed)
            feed_raise(feed, FEED_EVENT_LOST);
        else
            finish(feed);
        return;
    case POLL_APPLYING: /* the log's connection is idle */
        return;
    }
}

void poll_result(struct feed *feed, const PGresult *result)
{
    struct poll *poll = &feed->poll;
    if (result == NULL) {
        end_stage(feed);
        return;
    }
    if (PQntuples(result) < 1)
        return;
    if (poll->stage == POLL_PENDING) {
        take_pending(feed, result);
        return;
    }
    take_header(feed, result);
    if (database_is_null(result, 0, 3))
        return;
    atomic_fetch_add(&feed->statistics.rows, 1);
    take_statement(poll, result, 0);
    take_key(feed, poll, result, 0);
    if (poll->count == POLL_ROWS || poll->statement_count == POLL_ROWS) {
        enum error e = store_rows(feed, poll, false);
        if (e != ERROR_NONE) {
            feed_store_failed(feed, e, "queue");
            return;
        }
        poll->large = true;
        feed_work(feed);
    }
}

bool poll_peek(struct feed *feed)
{
    struct poll *poll = &feed->poll, *peek = &feed->peek;
    char texts[3][24];
    struct database_parameters p = { .count = 0 };
    if (!poll->running || !poll->large || feed->peek_ended ||
        clock_mono_ms() - feed->peeked_mono_ms < (uint64_t)feed->options->poll_ms)
        return false;
    if (buffer_size(&feed->peek_position) == 0) {
        buffer_add(&feed->peek_position, buffer_slice(&poll->snapshot));
        buffer_add_char(&feed->peek_position, '\0');
    }
    if (feed->peek_position.failed)
        return false;
    poll_reset(peek);
    const char *position = buffer_slice(&feed->peek_position).data;
    enum error e = ERROR_NONE;
    if (feed->standby) {
        struct database_parameters asked = { .count = 0 };
        peek->stage = POLL_PENDING;
        database_add_text(&asked, position);
        e = database_pipeline_add(&feed->keys, &STATEMENT_PENDING, &asked);
    }
    add_parameters(feed, position, NULL, texts, &p);
    database_add_text(&p, NULL);
    if (e == ERROR_NONE)
        e = database_pipeline_add(&feed->keys, &STATEMENT_PEEK, &p);
    if (e == ERROR_NONE)
        e = database_sync(&feed->keys, FEED_READ_S);
    peek->running = true;
    if (e != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
    return true;
}

/* What it brought is queued. Only a whole answer moves on where the next looks from. */
static void finish_peek(struct feed *feed)
{
    struct poll *peek = &feed->peek;
    peek->running = false;
    feed->peeked_mono_ms = clock_mono_ms();
    if (peek->memory.failed || peek->snapshot.failed) {
        feed->peek_ended = true; /* the next poll brings it */
    } else if (peek->count > 0 || peek->statement_count > 0) {
        enum error e = store_rows(feed, peek, false);
        if (e != ERROR_NONE) {
            feed_store_failed(feed, e, "queue");
            return;
        }
    }
    if (!feed->peek_ended && peek->answered) {
        buffer_reset(&feed->peek_position);
        buffer_add(&feed->peek_position, buffer_slice(&peek->snapshot));
        buffer_add_char(&feed->peek_position, '\0');
    }
    feed_work(feed);
}

void poll_peek_result(struct feed *feed, const PGresult *result)
{
    struct poll *peek = &feed->peek;
    uint64_t lsn;
    if (result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        finish_peek(feed);
        return;
    }
    if (result == NULL)
        peek->stage = POLL_READING;
    if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1)
        return;
    if (peek->stage == POLL_PENDING) {
        /* Just promoted: then the snapshot of the rows is the position. */
        peek->known = database_true(result, 0, 0);
        if (peek->known)
            buffer_add(&peek->snapshot, database_text(result, 0, 1));
        return;
    }
    peek->answered = true;
    if (!peek->known)
        buffer_add(&peek->snapshot, database_text(result, 0, 0));
    if (database_u64(result, 0, 1, &lsn) == ERROR_NONE)
        feed_raise_lsn(feed, lsn);
    feed->peek_ended = PQntuples(result) >= POLL_ROWS;
    for (int row = 0; row < PQntuples(result) && row < POLL_ROWS; row++) {
        if (database_is_null(result, row, 3))
            continue;
        take_statement(peek, result, row);
        take_key(feed, peek, result, row);
    }
}

/* Statements older than a minute go, as long as a hundred are left. Keys are in order of xid, near
 * enough to order of time. */
void poll_trim_recent(struct feed *feed)
{
    struct store_writer writer;
    struct store_walk walk;
    struct slice key, value;
    struct record_key doomed[256];
    size_t count = 0;
    uint64_t now_unix_ms = clock_unix_ms(), at;
    if (feed->recent_count <= RECENT_LEAST || store_begin(feed->store, &writer) != ERROR_NONE)
        return;
    store_walk_writer(&writer, STORE_RECENT, SLICE(""), &walk);
    while (count < 256 && feed->recent_count - count > RECENT_LEAST &&
           store_walk_next(&walk, &key, &value)) {
        if (value.size != sizeof(at))
            break;
        memcpy(&at, value.data, sizeof(at));
        /* A clock gone back keeps them until it has caught up, within the bound. */
        if (at + RECENT_MS > now_unix_ms && feed->recent_count - count <= RECENT_MOST)
            break;
        record_key_start(&doomed[count]);
        record_key_add(&doomed[count++], key);
    }
    store_walk_end(&walk);
    for (size_t i = 0; i < count; i++)
        store_delete(&writer, STORE_RECENT, record_key_slice(&doomed[i]));
    if (count == 0)
        store_abort(&writer);
    else if (store_commit(&writer) == ERROR_NONE)
        feed->recent_count -= count;
}
