/* SPDX-License-Identifier: Apache-2.0 */
/* libpq without blocking. */
#include "mapperd/database.h"

#include "common/log.h"
#include "mapperd/hosts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void become(struct database *db, enum database_state state)
{
    static const unsigned ALLOWED[] = {
        [DATABASE_CLOSED] = 1u << DATABASE_CONNECTING,
        [DATABASE_CONNECTING] = 1u << DATABASE_IDLE | 1u << DATABASE_CLOSED,
        [DATABASE_IDLE] = 1u << DATABASE_BUSY | 1u << DATABASE_CLOSED,
        [DATABASE_BUSY] = 1u << DATABASE_IDLE | 1u << DATABASE_CLOSED,
    };
    assert((ALLOWED[db->state] >> state & 1) != 0);
    db->state = state;
}

static void stop_watching(struct database *db)
{
    ev_io_stop(db->loop, &db->read);
    ev_io_stop(db->loop, &db->write);
    ev_timer_stop(db->loop, &db->deadline);
}

static void close_now(struct database *db)
{
    if (db->state == DATABASE_CLOSED)
        return;
    stop_watching(db);
    while (db->held_count > 0)
        PQclear(db->held[--db->held_count]);
    db->held_syncs = 0;
    PQfinish(db->pg);
    db->pg = NULL;
    db->awaiting = db->preparing = db->leave_pipeline = false;
    db->waiting_syncs = 0;
    db->prepared_count = 0;
    become(db, DATABASE_CLOSED);
}

static void lose(struct database *db, const char *why)
{
    char text[256];
    /* libpq's message goes with the connection, and its last line feed would break ours. */
    snprintf(text, sizeof(text), "%s", why);
    text[strcspn(text, "\n")] = '\0';
    close_now(db);
    db->owner.lost(db, text);
}

void database_close(struct database *db)
{
    if (db->handling)
        db->close_wanted = true;
    else
        close_now(db);
}

/* Runs an owner's callback. False: the connection was closed in it. */
static bool hand_result(struct database *db, const PGresult *result)
{
    db->handling = true;
    db->owner.result(db, result);
    db->handling = false;
    if (db->close_wanted) {
        db->close_wanted = false;
        close_now(db);
    }
    return db->state != DATABASE_CLOSED;
}

static void arm_deadline(struct database *db, double seconds)
{
    ev_timer_stop(db->loop, &db->deadline);
    ev_timer_set(&db->deadline, seconds, 0.);
    ev_timer_start(db->loop, &db->deadline);
}

static void connect_step(struct database *db, PostgresPollingStatusType status)
{
    ev_io_stop(db->loop, &db->read);
    ev_io_stop(db->loop, &db->write);
    switch (status) {
    case PGRES_POLLING_READING:
        ev_io_set(&db->read, PQsocket(db->pg), EV_READ);
        ev_io_start(db->loop, &db->read);
        return;
    case PGRES_POLLING_WRITING:
        ev_io_set(&db->write, PQsocket(db->pg), EV_WRITE);
        ev_io_start(db->loop, &db->write);
        return;
    case PGRES_POLLING_OK:
        ev_timer_stop(db->loop, &db->deadline);
        if (PQsetnonblocking(db->pg, 1) != 0) {
            lose(db, PQerrorMessage(db->pg));
            return;
        }
        ev_io_set(&db->read, PQsocket(db->pg), EV_READ);
        ev_io_set(&db->write, PQsocket(db->pg), EV_WRITE);
        ev_io_start(db->loop, &db->read);
        become(db, DATABASE_IDLE);
        db->owner.connected(db);
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        lose(db, PQerrorMessage(db->pg));
        return;
    }
}

static void flush(struct database *db)
{
    int left = PQflush(db->pg);
    if (left > 0)
        ev_io_start(db->loop, &db->write);
    else
        ev_io_stop(db->loop, &db->write);
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

/* All plans are made: of all those answers the owner gets one. */
static bool end_preparing(struct database *db)
{
    db->preparing = false;
    if (db->leave_pipeline && PQexitPipelineMode(db->pg) != 1) {
        lose(db, PQerrorMessage(db->pg));
        return false;
    }
    db->leave_pipeline = false;
    return hand_result(db, NULL);
}

static bool is_sync(const PGresult *result)
{
    return result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
}

static PGresult *first_held(struct database *db)
{
    PGresult *result = db->held[0];
    db->held_count--;
    db->held_syncs -= is_sync(result);
    memmove(db->held, db->held + 1, db->held_count * sizeof(db->held[0]));
    return result;
}

/* One result off the connection; false when none is there yet or the connection is gone. */
static bool take_result(struct database *db)
{
    if (!db->awaiting || (db->held_count == 0 && PQisBusy(db->pg)))
        return false;
    PGresult *result = db->held_count > 0 ? first_held(db) : PQgetResult(db->pg);
    if (result != NULL && is_error(result) && (db->preparing || !db->errors_are_results)) {
        char why[256];
        snprintf(why, sizeof(why), "%s", PQresultErrorMessage(result));
        PQclear(result);
        lose(db, why);
        return false;
    }
    bool pipeline = PQpipelineStatus(db->pg) != PQ_PIPELINE_OFF;
    bool sync = is_sync(result);
    db->waiting_syncs -= sync;
    /* In pipeline mode a NULL ends each statement; without it, it ends the only one. */
    if (pipeline ? sync && db->waiting_syncs == 0 : result == NULL) {
        db->awaiting = false;
        ev_timer_stop(db->loop, &db->deadline);
        become(db, DATABASE_IDLE);
    }
    bool alive = true;
    if (!db->preparing)
        alive = hand_result(db, result);
    else if (sync)
        alive = end_preparing(db);
    PQclear(result);
    return alive;
}

static void take_notifications(struct database *db)
{
    bool any = false;
    for (PGnotify *n; (n = PQnotifies(db->pg)) != NULL; PQfreemem(n))
        any = true;
    if (any && db->owner.notified != NULL)
        db->owner.notified(db);
}

static void on_read(struct ev_loop *loop, ev_io *w, int events)
{
    struct database *db = w->data;
    (void)loop;
    (void)events;
    if (db->state == DATABASE_CONNECTING) {
        connect_step(db, PQconnectPoll(db->pg));
        return;
    }
    if (PQconsumeInput(db->pg) == 0) {
        lose(db, PQerrorMessage(db->pg));
        return;
    }
    if (db->awaiting) /* a long answer is no hang */
        arm_deadline(db, db->statement_deadline_s);
    while (take_result(db))
        ;
    if (db->state == DATABASE_CLOSED)
        return;
    flush(db);
    if (PQstatus(db->pg) == CONNECTION_BAD)
        lose(db, PQerrorMessage(db->pg));
    else
        take_notifications(db);
}

static void on_write(struct ev_loop *loop, ev_io *w, int events)
{
    struct database *db = w->data;
    (void)loop;
    (void)events;
    if (db->state == DATABASE_CONNECTING)
        connect_step(db, PQconnectPoll(db->pg));
    else
        flush(db);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    struct database *db = w->data;
    lose(db, db->state == DATABASE_CONNECTING ? "no connection within the deadline"
                                              : "no answer within the deadline");
}

void database_init(struct database *db, const char *name, struct ev_loop *loop,
                   struct database_owner owner, void *context)
{
    memset(db, 0, sizeof(*db));
    db->name = name;
    db->loop = loop;
    db->owner = owner;
    db->context = context;
    ev_io_init(&db->read, on_read, -1, EV_READ);
    ev_io_init(&db->write, on_write, -1, EV_WRITE);
    ev_timer_init(&db->deadline, on_deadline, 0., 0.);
    /* After a standstill what has arrived meanwhile counts before the deadline that has passed
     * meanwhile. */
    ev_set_priority(&db->deadline, EV_MINPRI);
    db->read.data = db->write.data = db->deadline.data = db;
}

void database_open(struct database *db, const char *conninfo, unsigned turn, double deadline_s)
{
    become(db, DATABASE_CONNECTING);
    db->pg = hosts_connect(conninfo, turn);
    if (db->pg == NULL || PQstatus(db->pg) == CONNECTION_BAD) {
        /* From the loop: the owner is in the middle of its own step. */
        arm_deadline(db, 0.);
        return;
    }
    arm_deadline(db, deadline_s);
    connect_step(db, PGRES_POLLING_WRITING);
}

static bool is_prepared(const struct database *db, const struct database_statement *statement)
{
    for (size_t i = 0; i < db->prepared_count; i++)
        if (db->prepared[i] == statement)
            return true;
    return false;
}

static enum error send_statement(struct database *db, const struct database_statement *statement,
                                 const struct database_parameters *p)
{
    static const struct database_parameters NO_PARAMETERS;
    if (p == NULL)
        p = &NO_PARAMETERS;
    int sent = is_prepared(db, statement)
                   ? PQsendQueryPrepared(db->pg, statement->name, p->count, p->values, p->sizes,
                                         p->formats, 1)
                   : PQsendQueryParams(db->pg, statement->sql, p->count, NULL, p->values, p->sizes,
                                       p->formats, 1);
    return sent == 1 ? ERROR_NONE : ERROR_UNREACHABLE;
}

static void start_awaiting(struct database *db, double deadline_s)
{
    if (db->state == DATABASE_IDLE)
        become(db, DATABASE_BUSY);
    db->awaiting = true;
    db->statement_deadline_s = deadline_s;
    arm_deadline(db, deadline_s);
    flush(db);
}

enum error database_send(struct database *db, const struct database_statement *statement,
                         const struct database_parameters *parameters, bool single_rows,
                         double deadline_s)
{
    assert(db->state == DATABASE_IDLE);
    enum error e = send_statement(db, statement, parameters);
    if (e != ERROR_NONE)
        return e;
    if (single_rows)
        PQsetSingleRowMode(db->pg);
    start_awaiting(db, deadline_s);
    return ERROR_NONE;
}

enum error database_pipeline_start(struct database *db)
{
    return PQenterPipelineMode(db->pg) == 1 ? ERROR_NONE : ERROR_UNREACHABLE;
}

enum error database_pipeline_add(struct database *db, const struct database_statement *statement,
                                 const struct database_parameters *parameters)
{
    return send_statement(db, statement, parameters);
}

enum error database_sync(struct database *db, double deadline_s)
{
    if (PQpipelineSync(db->pg) != 1)
        return ERROR_UNREACHABLE;
    db->waiting_syncs++;
    start_awaiting(db, deadline_s);
    return ERROR_NONE;
}

enum error database_prepare(struct database *db, const struct database_statement *const *statements,
                            size_t count, double deadline_s)
{
    assert(db->state == DATABASE_IDLE && !db->preparing);
    assert(db->prepared_count + count <= DATABASE_PREPARED_MAX);
    if (PQpipelineStatus(db->pg) == PQ_PIPELINE_OFF) {
        if (PQenterPipelineMode(db->pg) != 1)
            return ERROR_UNREACHABLE;
        db->leave_pipeline = true;
    }
    for (size_t i = 0; i < count; i++) {
        if (PQsendPrepare(db->pg, statements[i]->name, statements[i]->sql, 0, NULL) != 1)
            return ERROR_UNREACHABLE;
        db->prepared[db->prepared_count++] = statements[i];
    }
    db->preparing = true;
    return database_sync(db, deadline_s);
}

const PGresult *database_take_in(struct database *db, unsigned place)
{
    /* What fails now fails again when it is waited for. */
    if (db->state != DATABASE_BUSY || PQconsumeInput(db->pg) == 0)
        return NULL;
    while (db->held_count < DATABASE_HELD_MAX && db->held_syncs < db->waiting_syncs &&
           !PQisBusy(db->pg)) {
        PGresult *result = PQgetResult(db->pg);
        db->held_syncs += is_sync(result);
        db->held[db->held_count++] = result;
    }
    return place < db->held_count ? db->held[place] : NULL;
}

void database_add_text(struct database_parameters *p, const char *text)
{
    assert(p->count < DATABASE_PARAMETERS_MAX);
    p->values[p->count] = text;
    p->sizes[p->count] = 0;
    p->formats[p->count++] = 0;
}

void database_add_binary(struct database_parameters *p, struct slice bytes)
{
    assert(p->count < DATABASE_PARAMETERS_MAX);
    p->values[p->count] = bytes.data;
    p->sizes[p->count] = (int)bytes.size;
    p->formats[p->count++] = 1;
}

struct slice database_text(const PGresult *result, int row, int column)
{
    return (struct slice){ PQgetvalue(result, row, column),
                           (size_t)PQgetlength(result, row, column) };
}

bool database_is_null(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) == 1;
}

static uint64_t big_endian(const char *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

enum error database_u64(const PGresult *result, int row, int column, uint64_t *value)
{
    int size = PQgetlength(result, row, column);
    if (database_is_null(result, row, column) || (size != 8 && size != 4))
        return ERROR_MALFORMED;
    *value = big_endian(PQgetvalue(result, row, column), size);
    return ERROR_NONE;
}

enum error database_i64(const PGresult *result, int row, int column, int64_t *value)
{
    uint64_t bits;
    enum error e = database_u64(result, row, column, &bits);
    if (e != ERROR_NONE)
        return e;
    *value = PQgetlength(result, row, column) == 4 ? (int32_t)(uint32_t)bits : (int64_t)bits;
    return ERROR_NONE;
}

bool database_true(const PGresult *result, int row, int column)
{
    return !database_is_null(result, row, column) && PQgetlength(result, row, column) == 1 &&
           PQgetvalue(result, row, column)[0] == 1;
}

/* int32 dimensions, flags, element type; for each dimension length and lower bound; then elements
 * behind their length. */
enum error database_array(const PGresult *result, int row, int column, struct database_array *array)
{
    *array = (struct database_array){ 0 };
    if (database_is_null(result, row, column))
        return ERROR_NONE;
    struct slice s = database_text(result, row, column);
    if (s.size < 12)
        return ERROR_MALFORMED;
    uint64_t dimensions = big_endian(s.data, 4);
    if (dimensions == 0)
        return ERROR_NONE;
    if (dimensions != 1 || s.size < 20)
        return ERROR_MALFORMED;
    array->left = (uint32_t)big_endian(s.data + 12, 4);
    array->rest = (struct slice){ s.data + 20, s.size - 20 };
    return array->left <= array->rest.size / 4 ? ERROR_NONE : ERROR_MALFORMED;
}

bool database_array_next(struct database_array *array, struct slice *element)
{
    if (array->left == 0 || array->rest.size < 4)
        return false;
    uint32_t size = (uint32_t)big_endian(array->rest.data, 4);
    if (size == UINT32_MAX) /* NULL */
        size = 0;
    if (array->rest.size - 4 < size)
        return false;
    *element = (struct slice){ array->rest.data + 4, size };
    array->rest.data += 4 + size;
    array->rest.size -= 4 + size;
    array->left--;
    return true;
}
