/* SPDX-License-Identifier: Apache-2.0 */
/* The connection that writes to the primary: its states, what it does next, and once a second this
 * mapperd's counter row, whose return through the log connection is the proof that the data are
 * current. Batches of bindings are bind_batch.c, the journal is bind_journal.c. */
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "mapperd/feed_internal.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void bind_list_init(struct bind_list *list)
{
    list->first = NULL;
    list->last = &list->first;
    list->count = 0;
}

void bind_list_add(struct bind_list *list, struct bind_request *request)
{
    request->next = NULL;
    *list->last = request;
    list->last = &request->next;
    list->count++;
}

struct bind_request *bind_list_take(struct bind_list *list)
{
    struct bind_request *request = list->first;
    if (request == NULL)
        return NULL;
    list->first = request->next;
    if (list->first == NULL)
        list->last = &list->first;
    list->count--;
    return request;
}

void binder_tell(struct feed *feed, struct client_reference client, uint64_t number,
                 enum bind_outcome outcome, const char *why)
{
    struct feed_message *m = feed_message_new(FEED_BOUND);
    if (m == NULL)
        return; /* the loop's own deadline answers */
    m->client = client;
    m->request = number;
    m->outcome = outcome;
    if (outcome == BIND_REFUSED)
        buffer_add_text(&m->text, why);
    feed_tell(feed, m);
}

static void free_request(struct bind_request *request)
{
    loop_message_free(request->message);
    mem_free(request);
}

void binder_answer(struct feed *feed, struct bind_request *request, enum bind_outcome outcome)
{
    if (!request->journalled) {
        binder_tell(feed, request->message->client, request->message->request, outcome,
                    request->why);
        if (outcome == BIND_UNCONFIRMED)
            atomic_fetch_add(&feed->statistics.unconfirmed, 1);
    }
    if (outcome == BIND_DONE)
        atomic_fetch_add(&feed->statistics.bound, 1);
    free_request(request);
}

static void become(struct feed *feed, enum binder_state state)
{
    static const unsigned ALLOWED[] = {
        [BINDER_AWAY] = 1u << BINDER_CONNECTING,
        [BINDER_CONNECTING] = 1u << BINDER_ENROLLING | 1u << BINDER_AWAY,
        [BINDER_ENROLLING] = 1u << BINDER_PREPARING | 1u << BINDER_AWAY,
        [BINDER_PREPARING] = 1u << BINDER_READY | 1u << BINDER_AWAY,
        [BINDER_READY] = 1u << BINDER_AWAY,
    };
    struct binder *b = &feed->binder;
    assert((ALLOWED[b->state] >> state & 1) != 0);
    b->turn += state == BINDER_AWAY && b->state != BINDER_READY;
    b->state = state;
    atomic_store(&feed->statistics.bindings, state == BINDER_READY);
    if (state == BINDER_AWAY) {
        ev_timer_set(&b->retry, FEED_RETRY_S, 0.);
        ev_timer_start(feed->loop, &b->retry);
    }
}

/* The connection is gone, or was the wrong one. Whether what was sent took effect is not known. */
void binder_go_away(struct feed *feed, const char *why)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    bool unknown = b->batch.sent.count > 0;
    if (b->state == BINDER_AWAY)
        return;
    if (b->state == BINDER_READY)
        log_write(LOG_WARNING, "bindings-connection-lost", "%s", why);
    database_close(&b->db);
    /* What waits behind it must not get there first. */
    if (unknown)
        bind_journal_put_all(feed);
    bind_journal_restart(feed);
    while ((request = bind_list_take(&b->batch.sent)) != NULL)
        binder_answer(feed, request, BIND_UNCONFIRMED);
    become(feed, BINDER_AWAY);
}

struct record_version binder_next_version(struct feed *feed)
{
    feed->meta.version_seen_ms = record_version_next(clock_unix_ms(), feed->meta.version_seen_ms);
    return (struct record_version){ feed->meta.version_seen_ms, feed->meta.origin.mapperd_id };
}

enum error binder_add_counter(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct database_parameters p = { .count = 0 };
    char id[16], counter[24];
    uint64_t now_unix_ms = clock_unix_ms();
    struct written_counter *written = &b->counters[b->counter_at++ % COUNTERS];
    /* Above every counter of an earlier life: those prove nothing. */
    b->last_counter = now_unix_ms > b->last_counter ? now_unix_ms : b->last_counter + 1;
    *written = (struct written_counter){ b->last_counter, now_unix_ms, clock_boot_ms() };
    snprintf(id, sizeof(id), "%lu", (unsigned long)feed->meta.origin.mapperd_id);
    snprintf(counter, sizeof(counter), "%llu", (unsigned long long)b->last_counter);
    database_add_text(&p, id);
    database_add_text(&p, counter);
    database_add_text(&p, feed->store != NULL ? feed->meta.position : NULL);
    return database_pipeline_add(&b->db, &STATEMENT_COUNTER, &p);
}

static bool take_waiting(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    while (b->batch.sent.count < BIND_BATCH && (request = bind_list_take(&b->waiting)) != NULL) {
        request->version = binder_next_version(feed);
        bind_list_add(&b->batch.sent, request);
    }
    b->batch.replay = false;
    return b->batch.sent.count > 0;
}

void binder_work(struct feed *feed)
{
    struct binder *b = &feed->binder;
    if (b->state != BINDER_READY || b->db.state != DATABASE_IDLE)
        return;
    bool each_second = !ev_is_active(&b->second);
    bool some = bind_journal_in_use(feed) ? bind_journal_fill_batch(feed) : take_waiting(feed);
    if (!some && !each_second)
        return;
    if (each_second) {
        ev_timer_set(&b->second, 1., 0.);
        ev_timer_start(feed->loop, &b->second);
    }
    if (bind_batch_send(feed, BIND_CUT_NONE, each_second) != ERROR_NONE)
        binder_go_away(feed, "a batch could not be sent");
    if (each_second)
        bind_purge_store(feed); /* while the primary works */
}

/* Two servers that both answer to the same name must never feed one store: when a primary is read,
 * it is the very process that is written to. While nothing is read, the store says whose it is. */
static bool belongs(const struct feed *feed)
{
    const struct binder *b = &feed->binder;
    bool reads = feed_follows(feed);
    const struct meta_origin *ours = reads ? &feed->server : &feed->meta.origin;
    return ours->system_id == b->origin.system_id && ours->database_oid == b->origin.database_oid &&
           (!reads || feed->standby || feed->server_started == b->started);
}

void binder_verify(struct feed *feed)
{
    enum binder_state state = feed->binder.state;
    if ((state == BINDER_PREPARING || state == BINDER_READY) && !belongs(feed))
        binder_go_away(feed, "another server leads now");
}

static void take_enrolment(struct feed *feed, const PGresult *result)
{
    struct binder *b = &feed->binder;
    uint64_t id, system, oid, started;
    if (result == NULL) {
        if (b->state == BINDER_READY)
            binder_work(feed);
        return;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        database_u64(result, 0, 0, &id) != ERROR_NONE ||
        database_u64(result, 0, 1, &system) != ERROR_NONE ||
        database_u64(result, 0, 2, &oid) != ERROR_NONE ||
        database_u64(result, 0, 4, &started) != ERROR_NONE || id == 0 || id > INT32_MAX) {
        const char *why = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        log_write(b->complained ? LOG_DEBUG : LOG_ERROR, "enrol-failed", "%s",
                  why != NULL ? why : "the answer can't be understood");
        b->complained = true;
        binder_go_away(feed, "enrolment failed");
        return;
    }
    b->origin.system_id = system;
    b->origin.database_oid = (uint32_t)oid;
    b->started = started;
    if (database_true(result, 0, 3) || !belongs(feed)) {
        const char *why = database_true(result, 0, 3)
                              ? "that server is a standby"
                              : "not the primary of the server that is read";
        log_write(b->complained ? LOG_DEBUG : LOG_WARNING, "primary-not-found", "%s", why);
        b->complained = true;
        binder_go_away(feed, why);
        return;
    }
    feed->meta.origin.mapperd_id = (uint32_t)id;
    atomic_store(&feed->statistics.mapperd_id, (unsigned)id);
}

static void enrolled(struct feed *feed)
{
    struct binder *b = &feed->binder;
    size_t count = 0;
    while (STATEMENTS_OF_BINDINGS[count] != NULL)
        count++;
    if (database_pipeline_start(&b->db) != ERROR_NONE ||
        database_prepare(&b->db, STATEMENTS_OF_BINDINGS, count, FEED_READ_S) != ERROR_NONE) {
        binder_go_away(feed, "no pipeline");
        return;
    }
    become(feed, BINDER_PREPARING);
}

static void prepared(struct feed *feed)
{
    struct binder *b = &feed->binder;
    become(feed, BINDER_READY);
    b->complained = false;
    ev_timer_stop(feed->loop, &b->second);
    binder_work(feed);
}

static void on_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    struct binder *b = &feed->binder;
    if (b->state == BINDER_ENROLLING) {
        take_enrolment(feed, result);
        if (result == NULL && b->state == BINDER_ENROLLING)
            enrolled(feed);
        return;
    }
    if (b->state == BINDER_PREPARING)
        prepared(feed);
    else if (b->state == BINDER_READY)
        bind_batch_result(feed, result);
}

static void on_connected(struct database *db)
{
    struct feed *feed = db->context;
    struct database_parameters p = { .count = 0 };
    char lock_ms[24];
    become(feed, BINDER_ENROLLING);
    database_add_text(&p, feed->options->name);
    /* Far below the confirmation: the others of the batch are sent again after it. */
    snprintf(lock_ms, sizeof(lock_ms), "%llu",
             (unsigned long long)feed->options->bind_confirm_ms / 10 + 1);
    database_add_text(&p, lock_ms);
    if (database_send(db, &STATEMENT_ENROL, &p, false, FEED_STATEMENT_S) != ERROR_NONE)
        binder_go_away(feed, "enrolment could not be sent");
}

static void on_lost(struct database *db, const char *why)
{
    struct feed *feed = db->context;
    struct binder *b = &feed->binder;
    if (b->state == BINDER_PREPARING) {
        log_write(b->complained ? LOG_DEBUG : LOG_ERROR, "enrol-failed", "%s", why);
        b->complained = true;
    }
    binder_go_away(feed, why);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    (void)loop;
    (void)events;
    /* Which server is ours says the log's connection, or the store. Not only the former: a standby
     * that is behind may need our counter to come nearer. */
    if (!feed_follows(feed) && feed->store == NULL) {
        ev_timer_set(w, 0.02, 0.);
        ev_timer_start(feed->loop, w);
        return;
    }
    become(feed, BINDER_CONNECTING);
    database_open(&feed->binder.db, feed->options->primary, feed->binder.turn, FEED_CONNECT_S);
}

static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    binder_work(w->data);
}

void binder_init(struct feed *feed)
{
    struct binder *b = &feed->binder;
    bind_list_init(&b->waiting);
    bind_batch_init(&b->batch);
    bind_purge_init(&b->purge);
    bind_journal_init(feed);
    database_init(&b->db, "bindings", feed->loop,
                  (struct database_owner){ on_connected, on_result, NULL, on_lost }, feed);
    b->db.errors_are_results = true;
    ev_timer_init(&b->second, on_second, 1., 0.);
    ev_timer_init(&b->retry, on_retry, 0., 0.);
    b->second.data = b->retry.data = feed;
    ev_timer_start(feed->loop, &b->retry);
}

void binder_free(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    database_close(&b->db);
    ev_timer_stop(feed->loop, &b->second);
    ev_timer_stop(feed->loop, &b->retry);
    while ((request = bind_list_take(&b->batch.sent)) != NULL ||
           (request = bind_list_take(&b->waiting)) != NULL)
        binder_answer(feed, request, BIND_UNCONFIRMED);
    bind_batch_free(&b->batch);
    bind_purge_free(&b->purge);
    bind_journal_free(feed);
}

void binder_take(struct feed *feed, struct loop_message *message)
{
    struct binder *b = &feed->binder;
    struct bind_request *request = mem_zero(1, sizeof(*request));
    if (request == NULL) {
        loop_message_free(message); /* the loop's deadline answers */
        return;
    }
    request->message = message;
    if (bind_journal_in_use(feed)) {
        request->version = binder_next_version(feed);
        bind_journal_put(feed, request);
        binder_answer(feed, request, BIND_UNCONFIRMED);
    } else if (b->waiting.count >= BIND_WAITING_MAX) {
        binder_answer(feed, request, BIND_UNCONFIRMED);
    } else {
        bind_list_add(&b->waiting, request);
        bind_journal_watch_due(feed);
    }
}

bool binder_counter_written(const struct feed *feed, uint64_t counter, struct written_counter *out)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        if (feed->binder.counters[i].counter == counter && counter != 0) {
            *out = feed->binder.counters[i];
            return true;
        }
    }
    return false;
}
