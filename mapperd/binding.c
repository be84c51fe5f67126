/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings go to the primary, many in one transaction; when it has confirmed, what stands there
 * goes into LMDB in one transaction, and only then is anybody answered. Once a second the same
 * connection writes this mapperd's counter row, whose return through the log connection is the
 * proof that the data are current.
 *
 * A batch is one implicit transaction. When one of its statements is refused all are undone, and
 * each is sent again by itself. */
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "mapperd/feed_internal.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void list_init(struct bind_list *list)
{
    list->first = NULL;
    list->last = &list->first;
    list->count = 0;
}

static void list_add(struct bind_list *list, struct bind_request *request)
{
    request->next = NULL;
    *list->last = request;
    list->last = &request->next;
    list->count++;
}

static struct bind_request *list_take(struct bind_list *list)
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

static void answer(struct feed *feed, struct bind_request *request, enum bind_outcome outcome)
{
    struct feed_message *m = feed_message_new(FEED_BOUND);
    if (m != NULL) {
        m->client = request->message->client;
        m->request = request->message->request;
        m->outcome = outcome;
        if (outcome == BIND_REFUSED)
            buffer_add_text(&m->text, request->why);
        feed_tell(feed, m);
    } /* else the loop's own deadline answers */
    if (outcome == BIND_DONE)
        atomic_fetch_add(&feed->statistics.bound, 1);
    else if (outcome == BIND_UNCONFIRMED)
        atomic_fetch_add(&feed->statistics.unconfirmed, 1);
    loop_message_free(request->message);
    mem_free(request);
}

static void become(struct feed *feed, enum binder_state state)
{
    static const unsigned ALLOWED[] = {
        [BINDER_AWAY] = 1u << BINDER_CONNECTING,
        [BINDER_CONNECTING] = 1u << BINDER_ENROLLING | 1u << BINDER_AWAY,
        [BINDER_ENROLLING] = 1u << BINDER_READY | 1u << BINDER_AWAY,
        [BINDER_READY] = 1u << BINDER_AWAY,
    };
    struct binder *b = &feed->binder;
    assert((ALLOWED[b->state] >> state & 1) != 0);
    b->state = state;
    atomic_store(&feed->statistics.bindings, state == BINDER_READY);
    if (state == BINDER_AWAY) {
        ev_timer_set(&b->retry, FEED_RETRY_S, 0.);
        ev_timer_start(feed->loop, &b->retry);
    }
}

/* The connection is gone, or was the wrong one. Whether what was sent took effect is not known. */
static void go_away(struct feed *feed, const char *why)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    if (b->state == BINDER_AWAY)
        return;
    if (b->state == BINDER_READY)
        log_write(LOG_WARNING, "bindings-connection-lost", "%s", why);
    database_close(&b->db);
    while ((request = list_take(&b->sent)) != NULL)
        answer(feed, request, BIND_UNCONFIRMED);
    b->at = NULL;
    b->counting = b->failed = b->single = false;
    buffer_reset(&b->records);
    become(feed, BINDER_AWAY);
}

static const struct database_statement *parameters_of(const struct bind_request *request,
                                                      char numbers[6][24],
                                                      struct database_parameters *p)
{
    const struct record_binding *b = &request->message->binding;
    snprintf(numbers[0], 24, "%llu", (unsigned long long)request->version.unix_ms);
    snprintf(numbers[1], 24, "%lu", (unsigned long)request->version.by);
    snprintf(numbers[2], 24, "%llu", (unsigned long long)b->reg_id);
    snprintf(numbers[3], 24, "%llu", (unsigned long long)b->expires_unix_s);
    snprintf(numbers[4], 24, "%lu", (unsigned long)b->q);
    snprintf(numbers[5], 24, "%llu", (unsigned long long)b->cseq);
    p->count = 0;
    database_add_text(p, b->aor.data);
    switch (request->message->bind) {
    case BIND_PUT:
        break;
    case BIND_REMOVE_ONE:
        database_add_text(p, b->device_key.data);
        database_add_text(p, b->instance_key.data);
        database_add_text(p, b->instance.data);
        database_add_text(p, numbers[2]);
        database_add_text(p, b->contact.data);
        database_add_text(p, numbers[0]);
        database_add_text(p, numbers[1]);
        return &STATEMENT_UNBIND_ONE;
    case BIND_REMOVE_DEVICE:
    case BIND_REMOVE_ALL:
        database_add_text(p, numbers[0]);
        database_add_text(p, numbers[1]);
        if (request->message->bind == BIND_REMOVE_ALL)
            return &STATEMENT_UNBIND_ALL;
        database_add_text(p, b->device_key.data);
        return &STATEMENT_UNBIND_DEVICE;
    }
    const char *texts[] = { b->device_key.data,
                            b->instance_key.data,
                            b->store.data,
                            b->cn.data,
                            record_ground_text(b->ground),
                            b->entry.data,
                            b->instance.data,
                            numbers[2],
                            b->contact.data,
                            numbers[3],
                            numbers[4],
                            b->call_id.data,
                            numbers[5],
                            b->flow.data,
                            b->path.data,
                            numbers[0],
                            numbers[1] };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        database_add_text(p, texts[i]);
    return &STATEMENT_BIND;
}

static struct record_version next_version(struct feed *feed)
{
    feed->meta.version_seen_ms = record_version_next(clock_unix_ms(), feed->meta.version_seen_ms);
    return (struct record_version){ feed->meta.version_seen_ms, feed->meta.origin.mapperd_id };
}

static enum error send_list(struct feed *feed)
{
    struct binder *b = &feed->binder;
    char numbers[6][24];
    struct database_parameters p;
    enum error e = ERROR_NONE;
    double deadline_s = (double)feed->options->bind_confirm_ms / 1000. + 1.;
    for (struct bind_request *r = b->sent.first; e == ERROR_NONE && r != NULL; r = r->next) {
        const struct database_statement *statement = parameters_of(r, numbers, &p);
        r->failed = r->refused = r->locked = r->superseded = false;
        e = database_pipeline_add(&b->db, statement, &p);
        if (e == ERROR_NONE && (b->single || r->next == NULL))
            e = database_sync(&b->db, deadline_s);
    }
    b->at = b->sent.first;
    b->failed = false;
    buffer_reset(&b->records);
    return e;
}

static void send_counter(struct feed *feed)
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
    b->counting = true;
    if (database_pipeline_add(&b->db, &STATEMENT_COUNTER, &p) != ERROR_NONE ||
        database_sync(&b->db, FEED_STATEMENT_S) != ERROR_NONE)
        go_away(feed, "the counter could not be sent");
}

static void work(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    uint64_t now_mono_ms = clock_mono_ms();
    if (b->state != BINDER_READY || b->db.state != DATABASE_IDLE)
        return;
    if (!ev_is_active(&b->second)) {
        ev_timer_set(&b->second, 1., 0.);
        ev_timer_start(feed->loop, &b->second);
        send_counter(feed);
        return;
    }
    while (b->sent.count < BIND_BATCH && (request = list_take(&b->waiting)) != NULL) {
        /* The loop has answered it by now; what was never sent need not be. */
        if (now_mono_ms >= request->message->due_mono_ms) {
            answer(feed, request, BIND_UNCONFIRMED);
            continue;
        }
        request->version = next_version(feed);
        list_add(&b->sent, request);
    }
    if (b->sent.count == 0)
        return;
    b->single = false;
    if (send_list(feed) != ERROR_NONE)
        go_away(feed, "a batch could not be sent");
}

/* Rows that came back: key size, value size, version, key, value. */
struct returned {
    uint32_t key_size, value_size;
    struct record_version version;
};

static void take_rows(struct binder *b, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        if (rows_binding(result, row, &b->record) != ROWS_PRESENT)
            continue;
        struct slice key = record_key_slice(&b->record.key), value = buffer_slice(&b->record.value);
        struct returned head = { (uint32_t)key.size, (uint32_t)value.size,
                                 b->record.binding.version };
        buffer_add(&b->records, (struct slice){ (const char *)&head, sizeof(head) });
        buffer_add(&b->records, key);
        buffer_add(&b->records, value);
        b->records.failed |= b->record.value.failed;
    }
}

static enum error write_records(struct feed *feed, struct store *store)
{
    struct store_writer writer;
    struct slice rest = buffer_slice(&feed->binder.records);
    struct returned head;
    bool newer;
    enum error e = store_begin(store, &writer);
    if (e != ERROR_NONE)
        return e;
    while (e == ERROR_NONE && rest.size >= sizeof(head)) {
        memcpy(&head, rest.data, sizeof(head));
        struct slice key = { rest.data + sizeof(head), head.key_size };
        struct slice value = { key.data + key.size, head.value_size };
        size_t size = sizeof(head) + key.size + value.size;
        rest.data += size;
        rest.size -= size;
        if (store == feed->fill.store && !fill_covers(&feed->fill, STORE_BINDING, key))
            continue;
        e = rows_put_binding(&writer, key, value, head.version, &newer);
    }
    if (store == feed->store)
        meta_write(&writer, &feed->meta);
    if (e == ERROR_NONE)
        return store_commit(&writer);
    store_abort(&writer);
    return e;
}

static enum error keep(struct feed *feed)
{
    enum error e = ERROR_NONE;
    if (feed->binder.records.failed)
        return ERROR_MEMORY;
    if (feed->store == NULL)
        return ERROR_NOT_FOUND;
    if (feed->fill.store != NULL && feed->fill.store != feed->store)
        e = write_records(feed, feed->fill.store);
    return e == ERROR_NONE ? write_records(feed, feed->store) : e;
}

/* A transaction that stays open must not hold up those who want other rows: what waited for its
 * lock is not tried again here. */
static void drop_locked(struct feed *feed)
{
    struct bind_list *sent = &feed->binder.sent;
    for (size_t left = sent->count; left > 0; left--) {
        struct bind_request *request = list_take(sent);
        if (request->locked)
            answer(feed, request, BIND_UNCONFIRMED);
        else
            list_add(sent, request);
    }
}

static void finish_list(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    if (b->failed && !b->single)
        drop_locked(feed);
    if (b->failed && !b->single && b->sent.count > 0) {
        b->single = true;
        if (send_list(feed) != ERROR_NONE)
            go_away(feed, "a batch could not be sent again");
        return;
    }
    enum error e = keep(feed);
    for (request = b->sent.first; request != NULL; request = request->next)
        reread_touch(feed, request->message->binding.aor);
    while ((request = list_take(&b->sent)) != NULL)
        answer(feed, request,
               request->refused                                            ? BIND_REFUSED
               : request->failed || request->superseded || e != ERROR_NONE ? BIND_UNCONFIRMED
                                                                           : BIND_DONE);
    b->at = NULL;
    b->single = false;
    if (e != ERROR_NONE)
        feed_store_failed(feed, e, "bind");
    work(feed);
}

/* A refusal that sending again would not change: data or a constraint. */
static void take_failure(struct feed *feed, struct bind_request *request, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    request->failed = true;
    feed->binder.failed = true;
    request->refused =
        state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0);
    request->locked = state != NULL && strcmp(state, "55P03") == 0;
    snprintf(request->why, sizeof(request->why), "%s", text != NULL ? text : "refused");
    log_write(LOG_WARNING, "binding-refused", "%s %s", state != NULL ? state : "-", request->why);
}

static void take_enrolment(struct feed *feed, const PGresult *result)
{
    struct binder *b = &feed->binder;
    uint64_t id, system, oid, started;
    if (result == NULL) {
        if (b->state == BINDER_READY)
            work(feed);
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
        go_away(feed, "enrolment failed");
        return;
    }
    /* Two servers that both answer to the same name must never feed one store. */
    bool same = feed->server.system_id == system && feed->server.database_oid == oid &&
                feed->server_started == started;
    if (database_true(result, 0, 3) || !same) {
        go_away(feed, "not the server that the log is read from");
        return;
    }
    feed->meta.origin.mapperd_id = (uint32_t)id;
    atomic_store(&feed->statistics.mapperd_id, (unsigned)id);
}

static void on_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    struct binder *b = &feed->binder;
    if (b->state == BINDER_ENROLLING) {
        take_enrolment(feed, result);
        if (result == NULL && b->state == BINDER_ENROLLING) {
            if (database_pipeline_start(db) != ERROR_NONE) {
                go_away(feed, "no pipeline");
                return;
            }
            become(feed, BINDER_READY);
            b->complained = false;
            ev_timer_stop(feed->loop, &b->second);
            work(feed);
        }
        return;
    }
    if (result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        if (b->counting) {
            b->counting = false;
            work(feed);
        } else if (db->state == DATABASE_IDLE) {
            finish_list(feed);
        }
        return;
    }
    if (b->counting) {
        /* No row: somebody deleted ours. Enrol again. */
        if (result != NULL && (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1))
            go_away(feed, "the counter row is gone");
        return;
    }
    if (b->at == NULL)
        return;
    if (result == NULL) {
        b->at = b->at->next;
    } else if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        take_rows(b, result);
        /* Of one binding a row comes back, unless its version is not the newest any more. */
        b->at->superseded = PQntuples(result) == 0 && (b->at->message->bind == BIND_PUT ||
                                                       b->at->message->bind == BIND_REMOVE_ONE);
    } else if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
        take_failure(feed, b->at, result);
    } else {
        b->at->failed = b->failed = true; /* aborted with the one before it */
    }
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
        go_away(feed, "enrolment could not be sent");
}

static void on_lost(struct database *db, const char *why)
{
    go_away(db->context, why);
}

static void on_retry(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    (void)loop;
    (void)events;
    /* The log's connection says which server is ours. */
    if (feed->state != FEED_STATE_FILLING && feed->state != FEED_STATE_FEEDING) {
        ev_timer_set(w, 0.02, 0.);
        ev_timer_start(feed->loop, w);
        return;
    }
    become(feed, BINDER_CONNECTING);
    database_open(&feed->binder.db, feed->options->database, FEED_CONNECT_S);
}

static void on_second(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    work(w->data);
}

void binder_init(struct feed *feed)
{
    struct binder *b = &feed->binder;
    list_init(&b->waiting);
    list_init(&b->sent);
    buffer_init(&b->records, 0);
    rows_init(&b->record);
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
    while ((request = list_take(&b->sent)) != NULL || (request = list_take(&b->waiting)) != NULL)
        answer(feed, request, BIND_UNCONFIRMED);
    buffer_free(&b->records);
    rows_free(&b->record);
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
    if (b->waiting.count >= BIND_WAITING_MAX)
        answer(feed, request, BIND_UNCONFIRMED);
    else
        list_add(&b->waiting, request);
}

void binder_work(struct feed *feed)
{
    work(feed);
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
