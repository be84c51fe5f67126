/* SPDX-License-Identifier: Apache-2.0 */
/* The feed thread: its states, its connections to the log and to the keys, and what it says to the
 * loop. */
#include "mapperd/feed.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "mapperd/feed_internal.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void feed_end(const char *why)
{
    log_write(LOG_ERROR, "mapperd-ends", "%s", why);
    log_close();
    _exit(EXIT_FAILURE);
}

void feed_tell(struct feed *feed, struct feed_message *message)
{
    bool was_empty;
    /* Counted first, so that the loop never takes one off a count of zero. */
    atomic_fetch_add(&feed->untaken, 1);
    if (queue_put(&feed->to_loop, message, &was_empty) != ERROR_NONE) {
        atomic_fetch_sub(&feed->untaken, 1);
        feed_message_free(message);
        if (!feed->stopping)
            feed_end("a message to the loop could not be kept");
        return;
    }
    if (was_empty)
        feed->wake(feed->wake_context);
}

void feed_tell_plain(struct feed *feed, enum feed_message_kind kind, uint64_t gate)
{
    struct feed_message *m = feed_message_new(kind);
    if (m == NULL)
        feed_end("no memory");
    m->gate = gate;
    feed_tell(feed, m);
}

/* Takes the text over. A loop that does not take its messages is told `*` once it does. NULL: only
 * what is owed. */
void feed_tell_changes(struct feed *feed, struct buffer *changes)
{
    struct feed_message *m = NULL;
    bool full = atomic_load(&feed->untaken) >= FEED_CHANGES_MAX;
    if (!full)
        m = feed_message_new(FEED_CHANGED);
    if (m == NULL) {
        feed->overflowed = true;
        return;
    }
    m->serial = feed->meta.serial;
    if (feed->overflowed) {
        buffer_add_format(&m->text, "%" PRIu64 " %" PRIu64 " *\n", m->serial.epoch,
                          m->serial.serial);
        if (m->text.failed) {
            feed_message_free(m);
            return;
        }
        feed->overflowed = false;
    } else {
        m->text = *changes;
        buffer_init(changes, 0);
    }
    feed_tell(feed, m);
}

void feed_raise_lsn(struct feed *feed, uint64_t lsn)
{
    if (lsn > feed->meta.lsn)
        feed->meta.lsn = lsn;
}

uint64_t feed_number(const struct feed *feed)
{
    return feed->meta.queue_next - 1;
}

void feed_tell_proof(struct feed *feed)
{
    struct feed_message *m = feed_message_new(FEED_PROOF);
    const struct meta_proof *proof = &feed->meta.proof;
    if (m == NULL)
        feed_end("no memory");
    bool known =
        meta_proof_age_ms(proof, feed->boot_id, clock_unix_ms(), clock_boot_ms()) != UINT64_MAX;
    m->written_boot_ms = known ? proof->written_boot_ms : UINT64_MAX;
    feed_tell(feed, m);
}

/* A counter that came back, with no key of its poll left unread: the data are as current as the
 * moment it was written. */
static void prove(struct feed *feed, uint64_t counter)
{
    struct written_counter written;
    if (feed->state != FEED_STATE_FEEDING || feed->meta.refill ||
        !binder_counter_written(feed, counter, &written) ||
        (feed->meta.proof.present && feed->meta.proof.counter == counter))
        return;
    feed->meta.proof = (struct meta_proof){ .present = true,
                                            .counter = counter,
                                            .written_unix_ms = written.unix_ms,
                                            .written_boot_ms = written.boot_ms };
    memcpy(feed->meta.proof.boot_id, feed->boot_id, sizeof(feed->boot_id));
    feed->position_moved = true;
    feed_tell_proof(feed);
}

static bool mark_holds(struct feed *feed)
{
    struct store_writer writer;
    bool left = true;
    if (!feed->queue_may_hold)
        return true;
    if (store_begin(feed->store, &writer) != ERROR_NONE)
        return false;
    if (key_queue_holds(&writer, feed->mark.through, &left) != ERROR_NONE)
        left = true;
    store_abort(&writer);
    return !left;
}

void feed_settle(struct feed *feed)
{
    compare_settle(feed);
    if (!feed->structure.checked || feed->store == NULL || !feed->mark.set || !mark_holds(feed))
        return;
    struct mark mark = feed->mark;
    feed->mark = (struct mark){ .set = false };
    if (mark.has_counter)
        prove(feed, mark.counter);
    unreplayed_pass(&feed->unreplayed, mark.replayed);
    if (mark.gate != 0)
        feed_tell_plain(feed, FEED_APPLIED, mark.gate);
    if (mark.after_fill && feed->fill.store != NULL && feed->fill.table == FILL_DONE)
        feed_raise(feed, FEED_EVENT_FILLED);
}

void feed_work(struct feed *feed)
{
    bool following = feed_follows(feed);
    if (!following || feed->store == NULL || feed->keys.state != DATABASE_IDLE)
        return;
    if (structure_send(feed) || poll_peek(feed) || compare_send(feed))
        return;
    /* In turns, so that neither a stream of changes nor a fill waits for the end of the other. */
    feed->fill_turn = !feed->fill_turn;
    if (feed->fill_turn) {
        if (!fill_send(feed))
            reread_send(feed);
    } else if (!reread_send(feed)) {
        fill_send(feed);
    }
    if (!feed->queue_may_hold)
        feed_settle(feed);
}

static void disconnect(struct feed *feed)
{
    /* What comes too early is tried again soon; what fails again and again after that, more slowly.
     */
    double wait_s = FEED_RETRY_S * (double)(1u << (feed->failures < 4 ? feed->failures : 4));
    database_close(&feed->log);
    database_close(&feed->keys);
    feed->connected = 0;
    feed->hinted = false;
    feed->polled_lsn = 0;
    feed->fill.running = feed->fill.discard = false;
    feed->fill.ahead = 0;
    fill_drop(feed);
    /* A gate that a poll carried and nobody answered is carried by the next. */
    if (feed->gate < feed->mark.gate)
        feed->gate = feed->mark.gate;
    if (feed->gate < feed->poll.gate)
        feed->gate = feed->poll.gate;
    poll_reset(&feed->poll);
    poll_reset(&feed->peek);
    reread_reset(&feed->reread);
    compare_reset(feed, false);
    structure_reset(feed);
    feed->mark = (struct mark){ .set = false };
    atomic_store(&feed->statistics.database, false);
    atomic_store(&feed->statistics.refilling, false);
    ev_timer_stop(feed->loop, &feed->poll_timer);
    ev_timer_set(&feed->retry, wait_s, 0.);
    ev_timer_start(feed->loop, &feed->retry);
    feed_tell_plain(feed, FEED_LOST, 0);
}

static void become(struct feed *feed, enum feed_state state)
{
    assert(feed_state_allowed(feed->state, state));
    if (state == FEED_STATE_AWAY && feed->state == FEED_STATE_CONNECTING)
        feed->failures = 0; /* the server is away: asking often costs it nothing */
    else if (state == FEED_STATE_AWAY)
        feed->failures++;
    else if (state == FEED_STATE_FEEDING)
        feed->failures = 0;
    if (feed->state != state && (state == FEED_STATE_FEEDING || state == FEED_STATE_FILLING ||
                                 feed->state == FEED_STATE_FEEDING))
        log_write(LOG_NOTICE, "feed", "%s", feed_state_text(state));
    feed->unreachable &= state != FEED_STATE_FEEDING && state != FEED_STATE_FILLING;
    /* What gives no connection, or another than is wanted, is not begun with again. */
    feed->turn += state == FEED_STATE_AWAY &&
                  (feed->state == FEED_STATE_CONNECTING || feed->state == FEED_STATE_CHECKING);
    feed->state = state;
    atomic_store(&feed->statistics.state, (int)state);
}

/* After a crash the server gives the numbers of transactions again that had left nothing on disk,
 * so that a change may come, or have come, below the position that was seen before it. It never
 * gives one that is not above every statement it still has: behind the newest of those, the log is
 * read again. */
static enum error rewind_position(struct feed *feed)
{
    struct buffer text;
    buffer_init(&text, 0);
    enum error e = meta_rewound_position(&feed->meta, feed->newest_xid + 1, &text);
    if (e == ERROR_NONE)
        e = meta_set_position(&feed->meta, buffer_slice(&text));
    buffer_free(&text);
    return e;
}

static void follow(struct feed *feed)
{
    buffer_reset(&feed->server_snapshot);
    atomic_store(&feed->statistics.database, true);
    feed->queue_may_hold = true;
    enum error e = rewind_position(feed);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "position");
        return;
    }
    poll_send(feed);
    feed_work(feed);
}

static void act(struct feed *feed, enum feed_action action)
{
    switch (action) {
    case FEED_ACTION_NONE:
        return;
    case FEED_ACTION_CONNECT:
        if (feed->unopened && feed->store == NULL)
            feed_store_open(feed);
        feed->connected = 0;
        database_open(&feed->log, feed->options->database, feed->turn, FEED_CONNECT_S);
        database_open(&feed->keys, feed->options->database, feed->turn, FEED_CONNECT_S);
        return;
    case FEED_ACTION_CHECK:
        check_start(feed);
        return;
    case FEED_ACTION_FOLLOW:
        follow(feed);
        return;
    case FEED_ACTION_FILL:
        atomic_store(&feed->statistics.database, true);
        if (feed->store != NULL && feed->served)
            feed_tell_plain(feed, FEED_DISTRUST, 0);
        fill_start(feed);
        return;
    case FEED_ACTION_INSTALL:
        fill_install(feed);
        if (feed->state == FEED_STATE_FEEDING)
            poll_send(feed);
        return;
    case FEED_ACTION_DISCONNECT:
        disconnect(feed);
        return;
    case FEED_ACTION_END:
        ev_break(feed->loop, EVBREAK_ALL);
        return;
    }
}

void feed_raise(struct feed *feed, enum feed_event event)
{
    struct feed_step step = feed_state_step(feed->state, event);
    if (step.to != feed->state || step.action != FEED_ACTION_NONE)
        become(feed, step.to);
    act(feed, step.action);
}

static void on_connected(struct database *db)
{
    struct feed *feed = db->context;
    if (++feed->connected == 2)
        feed_raise(feed, FEED_EVENT_CONNECTED);
}

static void on_log_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    if (feed->state == FEED_STATE_CHECKING) {
        check_result(feed, result);
        return;
    }
    if (!feed->poll.running)
        return;
    poll_result(feed, result);
    if (result == NULL && db->state == DATABASE_IDLE && !feed->poll.running)
        poll_rest(feed);
}

static void on_keys_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    if (feed->state == FEED_STATE_CHECKING)
        check_result(feed, result);
    else if (feed->reread.running)
        reread_result(feed, result);
    else if (feed->fill.running)
        fill_result(feed, result);
    else if (feed->peek.running)
        poll_peek_result(feed, result);
    else if (feed->compare.state == COMPARE_ASKING)
        compare_result(feed, result);
    else if (feed->structure.running)
        structure_result(feed, result);
}

static void on_lost(struct database *db, const char *why)
{
    struct feed *feed = db->context;
    /* Once for each time away, not once for each attempt. */
    log_write(feed->unreachable ? LOG_DEBUG : LOG_WARNING, "database-lost", "%s: %s", db->name,
              why);
    feed->unreachable = true;
    feed_raise(feed, FEED_EVENT_LOST);
}

static void on_hint(struct database *db)
{
    struct feed *feed = db->context;
    /* Of a commit that a poll under way may not see. */
    feed->hinted = feed->poll.running;
    if (feed_follows(feed))
        poll_send(feed);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    (void)loop;
    (void)events;
    if (feed->growing != NULL) { /* soon over */
        ev_timer_set(w, FEED_RETRY_S, 0.);
        ev_timer_start(feed->loop, w);
        return;
    }
    feed_raise(feed, FEED_EVENT_RETRY);
}

static void on_poll(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    poll_send(w->data);
}

/* Once a second: the position of polls that brought nothing, and the proof. */
static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    struct store_writer writer;
    (void)loop;
    (void)events;
    if (feed->overflowed && feed->served)
        feed_tell_changes(feed, NULL);
    structure_ask(feed);
    if (feed->store == NULL || !feed->position_moved || feed->meta.position == NULL)
        return;
    feed->position_moved = false;
    if (store_begin(feed->store, &writer) != ERROR_NONE)
        return;
    meta_write_position(&writer, &feed->meta);
    meta_write(&writer, &feed->meta);
    enum error e = store_commit(&writer);
    if (e != ERROR_NONE)
        feed_store_failed(feed, e, "position");
    else
        poll_trim_recent(feed);
}

static void take_message(struct feed *feed, struct loop_message *m)
{
    switch (m->kind) {
    case LOOP_GATE:
        feed->gate = m->gate;
        if (feed_follows(feed))
            poll_send(feed);
        break;
    case LOOP_BIND:
        binder_take(feed, m);
        return; /* kept */
    case LOOP_REPORTS:
        report_writer_take(feed, m->reports);
        m->reports = NULL;
        break;
    case LOOP_RELEASE:
        feed_store_release(feed, m->store);
        break;
    case LOOP_DAMAGED:
        if (m->store == feed->store)
            feed_store_failed(feed, ERROR_LIBRARY, "lookup");
        break;
    case LOOP_STOP:
        feed_raise(feed, FEED_EVENT_STOP);
        break;
    }
    loop_message_free(m);
}

static void on_woken(struct ev_loop *loop, ev_async *w, int events)
{
    struct feed *feed = w->data;
    (void)loop;
    (void)events;
    queue_take(&feed->to_feed, &feed->taken);
    for (size_t i = 0; i < feed->taken.count; i++)
        take_message(feed, feed->taken.items[i]);
    feed->taken.count = 0;
    binder_work(feed);
}

static void *run(void *argument)
{
    struct feed *feed = argument;
    feed_store_open(feed);
    binder_init(feed);
    report_writer_init(feed);
    prune_init(feed);
    compare_reset(feed, true);
    structure_reset(feed);
    ev_timer_start(feed->loop, &feed->retry);
    ev_timer_start(feed->loop, &feed->second);
    ev_run(feed->loop, 0);
    return NULL;
}

static enum error init(struct feed *feed)
{
    enum error e = queue_init(&feed->to_feed, FEED_QUEUE_LIMIT);
    if (e != ERROR_NONE)
        return e;
    e = queue_init(&feed->to_loop, FEED_QUEUE_LIMIT);
    if (e != ERROR_NONE) {
        queue_destroy(&feed->to_feed);
        return e;
    }
    meta_init(&feed->meta);
    meta_boot_id(feed->boot_id);
    rows_init(&feed->reread.record);
    compare_init(feed);
    buffer_init(&feed->poll.memory, 0);
    buffer_init(&feed->poll.snapshot, 0);
    buffer_init(&feed->peek.memory, 0);
    buffer_init(&feed->peek.snapshot, 0);
    buffer_init(&feed->peek_position, 0);
    buffer_init(&feed->server_snapshot, 0);
    buffer_init(&feed->recent, 0);
    buffer_init(&feed->reread.puts, 0);
    buffer_init(&feed->reread.changes, 0);
    buffer_init(&feed->reread.batch.memory, 0);
    for (int i = 0; i < 3; i++)
        buffer_init(&feed->fill.after[i], 0);
    database_init(&feed->log, "log", feed->loop,
                  (struct database_owner){ on_connected, on_log_result, on_hint, on_lost }, feed);
    database_init(&feed->keys, "keys", feed->loop,
                  (struct database_owner){ on_connected, on_keys_result, NULL, on_lost }, feed);
    ev_async_init(&feed->woken, on_woken);
    ev_timer_init(&feed->retry, on_retry, 0., 0.);
    ev_timer_init(&feed->poll_timer, on_poll, 0., 0.);
    ev_timer_init(&feed->second, on_second, 1., 1.);
    feed->woken.data = feed->retry.data = feed->poll_timer.data = feed->second.data = feed;
    /* Before the thread is there: starting it forgets what was sent, and a queue that is not empty
     * wakes nobody again. */
    ev_async_start(feed->loop, &feed->woken);
    return ERROR_NONE;
}

static void free_all(struct feed *feed)
{
    struct queue_batch batch = { 0 };
    queue_close(&feed->to_feed);
    queue_take(&feed->to_feed, &batch);
    for (size_t i = 0; i < batch.count; i++)
        loop_message_free(batch.items[i]);
    queue_close(&feed->to_loop);
    batch.count = 0;
    queue_take(&feed->to_loop, &batch);
    for (size_t i = 0; i < batch.count; i++)
        feed_message_free(batch.items[i]);
    queue_batch_free(&batch);
    queue_batch_free(&feed->taken);
    queue_destroy(&feed->to_feed);
    queue_destroy(&feed->to_loop);
    fill_drop(feed);
    for (size_t i = 0; i < sizeof(feed->retired) / sizeof(feed->retired[0]); i++)
        if (feed->retired[i] != NULL)
            folder_close_store(&feed->folder, feed->retired[i], true);
    if (feed->growing != NULL)
        folder_close_store(&feed->folder, feed->growing, false);
    if (feed->store != NULL)
        folder_close_store(&feed->folder, feed->store, false);
    journal_close(&feed->journal);
    unreplayed_close(&feed->unreplayed);
    folder_close(&feed->folder);
    meta_free(&feed->meta);
    rows_free(&feed->reread.record);
    compare_free(feed);
    struct buffer *const buffers[] = { &feed->peek.memory,    &feed->peek.snapshot,
                                       &feed->peek_position,  &feed->poll.memory,
                                       &feed->poll.snapshot,  &feed->server_snapshot,
                                       &feed->recent,         &feed->reread.puts,
                                       &feed->reread.changes, &feed->reread.batch.memory,
                                       &feed->fill.after[0],  &feed->fill.after[1],
                                       &feed->fill.after[2] };
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        buffer_free(buffers[i]);
    ev_loop_destroy(feed->loop);
    mem_free(feed);
}

static enum error open_folder(struct feed *feed)
{
    const char *path = feed->options->lmdb_dir;
    enum error e = folder_open(&feed->folder, path, feed->options->map_size);
    if (e == ERROR_CLOSED)
        log_write(LOG_ERROR, "store-in-use", "another mapperd serves %s", path);
    else if (e != ERROR_NONE)
        log_write(LOG_ERROR, "store-folder", "%s: %s", path, strerror(errno));
    return e;
}

enum error feed_start(const struct options *options, void (*wake)(void *context), void *context,
                      struct feed **out)
{
    struct feed *feed = mem_zero(1, sizeof(*feed));
    if (feed == NULL)
        return ERROR_MEMORY;
    feed->options = options;
    feed->wake = wake;
    feed->wake_context = context;
    feed->gate = 1; /* the loop's gate is shut at start */
    feed->folder.descriptor = feed->folder.lock = -1;
    feed->loop = ev_loop_new(EVFLAG_AUTO);
    if (feed->loop == NULL) {
        mem_free(feed);
        return ERROR_MEMORY;
    }
    enum error e = init(feed);
    if (e != ERROR_NONE) {
        ev_loop_destroy(feed->loop);
        mem_free(feed);
        return e;
    }
    e = open_folder(feed);
    if (e == ERROR_NONE)
        e = journal_open(&feed->journal, options->lmdb_dir, options->journal_max);
    if (e == ERROR_NONE)
        unreplayed_open(&feed->unreplayed, options->lmdb_dir, feed->boot_id);
    if (e == ERROR_NONE && pthread_create(&feed->thread, NULL, run, feed) != 0)
        e = ERROR_SYSTEM;
    if (e != ERROR_NONE) {
        free_all(feed);
        return e;
    }
    *out = feed;
    return ERROR_NONE;
}

enum error feed_send(struct feed *feed, struct loop_message *message)
{
    bool was_empty;
    enum error e = queue_put(&feed->to_feed, message, &was_empty);
    if (e == ERROR_NONE && was_empty)
        ev_async_send(feed->loop, &feed->woken);
    return e;
}

void feed_take(struct feed *feed, struct queue_batch *batch)
{
    queue_take(&feed->to_loop, batch);
    atomic_fetch_sub(&feed->untaken, (unsigned)batch->count);
}

struct journal *feed_journal(struct feed *feed)
{
    return &feed->journal;
}

const struct feed_statistics *feed_statistics(const struct feed *feed)
{
    return &feed->statistics;
}

void feed_stop(struct feed *feed)
{
    struct loop_message *m = loop_message_new(LOOP_STOP);
    if (m == NULL || feed_send(feed, m) != ERROR_NONE)
        feed_end("the feed could not be told to stop");
    pthread_join(feed->thread, NULL);
    feed->stopping = true;
    /* The thread is gone: what was its own is this thread's now. */
    database_close(&feed->log);
    database_close(&feed->keys);
    binder_free(feed);
    report_writer_free(feed);
    prune_free(feed);
    free_all(feed);
}
