/* SPDX-License-Identifier: Apache-2.0 */
/* A batch of BINDs and UNBINDs to the primary, in one transaction if all goes well. BINDs that
 * follow each other are one statement, whose triggers run once; an UNBIND is one of its own, since
 * its order against the BINDs counts. When the primary has confirmed, what stands there goes into
 * LMDB in one transaction, while the next batch is under way already; only then is anybody
 * answered, and only then leaves an entry the journal. */
#include "common/clock.h"
#include "common/log.h"
#include "mapperd/feed_internal.h"
#include "mapperd/kill_point.h"
#include "mapperd/sql_array.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define REFUSALS_LOGGED 5 /* a second */
#define REPLAY_S        10.0

void bind_batch_init(struct bind_batch *batch)
{
    bind_list_init(&batch->sent);
    buffer_init(&batch->records, 0);
    buffer_init(&batch->keeping, 0);
    buffer_init(&batch->value, 0);
    rows_init(&batch->record);
    for (size_t i = 0; i < BIND_COLUMNS; i++)
        buffer_init(&batch->columns[i], 0);
}

void bind_batch_free(struct bind_batch *batch)
{
    buffer_free(&batch->records);
    buffer_free(&batch->keeping);
    buffer_free(&batch->value);
    rows_free(&batch->record);
    for (size_t i = 0; i < BIND_COLUMNS; i++)
        buffer_free(&batch->columns[i]);
}

/* ---- What is sent ---- */

static bool is_put(const struct bind_request *request)
{
    return request->message->bind == BIND_PUT;
}

/* Whether the run of BINDs holds one of the same binding: a statement writes a row once. Else notes
 * it. */
static bool in_run(struct bind_batch *batch, const struct bind_request *request)
{
    const struct record_binding *b = &request->message->binding;
    const size_t slots = sizeof(batch->seen) / sizeof(batch->seen[0]);
    struct record_key key;
    record_binding_key(&key, b->aor, b->device_key, b->instance_key);
    uint64_t hash = record_u64_at(key.bytes + key.size - sizeof(hash));
    size_t i = hash % slots;
    for (; batch->seen[i].run == batch->run; i = (i + 1) % slots)
        if (batch->seen[i].hash == hash)
            return true;
    batch->seen[i].run = batch->run;
    batch->seen[i].hash = hash;
    return false;
}

static void next_run(struct bind_batch *batch)
{
    if (++batch->run == 0) {
        memset(batch->seen, 0, sizeof(batch->seen));
        batch->run = 1;
    }
}

static void add_columns(struct bind_batch *batch, const struct bind_step *step)
{
    struct buffer *c = batch->columns;
    struct bind_request *r = step->first;
    for (size_t n = 0; n < step->count; n++, r = r->next) {
        const struct record_binding *b = &r->message->binding;
        const struct slice texts[] = { b->aor,          b->device_key,
                                       b->instance_key, b->store,
                                       b->cn,           slice_of(record_ground_text(b->ground)),
                                       b->entry,        b->instance,
                                       b->contact,      b->call_id,
                                       b->flow,         b->path,
                                       b->registered_by };
        const uint64_t numbers[] = { b->reg_id, b->expires_unix_s, b->q, b->cseq,
                                     r->version.unix_ms };
        const size_t text_count = sizeof(texts) / sizeof(texts[0]);
        for (size_t i = 0; i < text_count; i++)
            sql_array_add_text(&c[i], texts[i]);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            sql_array_add_int8(&c[text_count + i], numbers[i]);
    }
}

static enum error send_puts(struct feed *feed, const struct bind_step *step)
{
    struct bind_batch *batch = &feed->binder.batch;
    struct database_parameters p = { .count = 0 };
    char by[16];
    for (size_t i = 0; i < BIND_COLUMNS; i++)
        sql_array_start(&batch->columns[i], i < BIND_TEXTS ? SQL_ARRAY_TEXT : SQL_ARRAY_INT8);
    add_columns(batch, step);
    for (size_t i = 0; i < BIND_COLUMNS; i++) {
        sql_array_end(&batch->columns[i], step->count);
        if (batch->columns[i].failed)
            return ERROR_MEMORY;
        database_add_binary(&p, buffer_slice(&batch->columns[i]));
    }
    snprintf(by, sizeof(by), "%lu", (unsigned long)step->first->version.by);
    database_add_text(&p, by);
    return database_pipeline_add(&feed->binder.db, &STATEMENT_BIND, &p);
}

static enum error send_removal(struct feed *feed, const struct bind_request *request)
{
    const struct record_binding *b = &request->message->binding;
    const struct database_statement *statement = &STATEMENT_UNBIND_ALL;
    struct database_parameters p = { .count = 0 };
    char version_ms[24], by[16], reg_id[24];
    snprintf(version_ms, sizeof(version_ms), "%llu", (unsigned long long)request->version.unix_ms);
    snprintf(by, sizeof(by), "%lu", (unsigned long)request->version.by);
    snprintf(reg_id, sizeof(reg_id), "%llu", (unsigned long long)b->reg_id);
    database_add_text(&p, b->aor.data);
    if (request->message->bind == BIND_REMOVE_ONE) {
        statement = &STATEMENT_UNBIND_ONE;
        database_add_text(&p, b->device_key.data);
        database_add_text(&p, b->instance_key.data);
        database_add_text(&p, b->instance.data);
        database_add_text(&p, reg_id);
        database_add_text(&p, b->contact.data);
    }
    database_add_text(&p, version_ms);
    database_add_text(&p, by);
    if (request->message->bind == BIND_REMOVE_DEVICE) {
        statement = &STATEMENT_UNBIND_DEVICE;
        database_add_text(&p, b->device_key.data);
    }
    return database_pipeline_add(&feed->binder.db, statement, &p);
}

/* After a replay the store must hold what stands there, also where nothing was written since an
 * earlier attempt had succeeded: the journal's entries go next. */
static enum error send_reading(struct feed *feed)
{
    struct bind_batch *batch = &feed->binder.batch;
    struct buffer *aors = &batch->columns[0];
    struct database_parameters p = { .count = 0 };
    sql_array_start(aors, SQL_ARRAY_TEXT);
    for (struct bind_request *r = batch->sent.first; r != NULL; r = r->next)
        sql_array_add_text(aors, r->message->binding.aor);
    sql_array_end(aors, batch->sent.count);
    if (aors->failed)
        return ERROR_MEMORY;
    database_add_binary(&p, buffer_slice(aors));
    return database_pipeline_add(&feed->binder.db, &STATEMENT_STANDING_BINDINGS, &p);
}

static size_t group_size(enum bind_cut cut)
{
    switch (cut) {
    case BIND_CUT_NONE:
        return BIND_BATCH;
    case BIND_CUT_SMALL:
        return BIND_GROUP;
    case BIND_CUT_SINGLE:
        return 1;
    }
    return 1;
}

static void add_step(struct bind_batch *batch, enum bind_step_kind kind)
{
    batch->steps[batch->step_count++] = (struct bind_step){ .kind = kind, .ends_group = true };
}

static void cut_steps(struct bind_batch *batch)
{
    size_t in_group = 0, most = group_size(batch->cut);
    struct bind_step *step = NULL;
    batch->step_count = 0;
    for (struct bind_request *r = batch->sent.first; r != NULL; r = r->next) {
        bool joins = step != NULL && !step->ends_group && is_put(r) && is_put(step->first) &&
                     r->version.by == step->first->version.by && !in_run(batch, r);
        if (!joins) {
            step = &batch->steps[batch->step_count++];
            *step =
                (struct bind_step){ is_put(r) ? BIND_STEP_PUTS : BIND_STEP_REMOVAL, .first = r };
            next_run(batch);
            if (is_put(r))
                (void)in_run(batch, r);
        }
        step->count++;
        step->ends_group = ++in_group == most || r->next == NULL;
        if (step->ends_group)
            in_group = 0;
    }
}

static enum error send_step(struct feed *feed, const struct bind_step *step)
{
    switch (step->kind) {
    case BIND_STEP_PUTS:
        return send_puts(feed, step);
    case BIND_STEP_REMOVAL:
        return send_removal(feed, step->first);
    case BIND_STEP_READING:
        return send_reading(feed);
    case BIND_STEP_POSITION:
        return database_pipeline_add(&feed->binder.db, &STATEMENT_LSN, NULL);
    case BIND_STEP_COUNTER:
        return binder_add_counter(feed);
    case BIND_STEP_PURGE:
        return bind_purge_add(feed);
    }
    return ERROR_NONE;
}

enum error bind_batch_send(struct feed *feed, enum bind_cut cut, bool each_second)
{
    struct binder *b = &feed->binder;
    struct bind_batch *batch = &b->batch;
    bool some = batch->sent.count > 0;
    /* Nobody waits for a replay: a primary that is slow, not gone, must get through with it. */
    double deadline_s = !some           ? FEED_STATEMENT_S
                        : batch->replay ? REPLAY_S
                                        : (double)feed->options->bind_confirm_ms / 1000. + 1.;
    enum error e = ERROR_NONE;
    assert((some || each_second) && batch->sent.count <= BIND_BATCH);
    batch->cut = cut;
    batch->unread = false;
    batch->step = batch->group = batch->records_mark = 0;
    buffer_reset(&batch->records);
    for (struct bind_request *r = batch->sent.first; r != NULL; r = r->next)
        r->failed = r->refused = r->locked = r->superseded = false;
    batch->lsn = 0;
    cut_steps(batch);
    if (some && batch->replay)
        add_step(batch, BIND_STEP_READING);
    /* A standby may lack what is confirmed here, and so may what is read next when nothing is. */
    if (some && (feed->standby || !feed_follows(feed)))
        add_step(batch, BIND_STEP_POSITION);
    if (each_second) {
        add_step(batch, BIND_STEP_COUNTER);
        add_step(batch, BIND_STEP_PURGE);
    }
    for (size_t i = 0; e == ERROR_NONE && i < batch->step_count; i++) {
        const struct bind_step *step = &batch->steps[i];
        e = send_step(feed, step);
        if (e == ERROR_NONE && step->ends_group)
            e = database_sync(&b->db, deadline_s);
    }
    return e;
}

/* ---- What comes back ---- */

struct record_head {
    uint32_t key_size, value_size;
    struct record_version version;
};

static void add_record(struct bind_batch *batch, const struct record_key *key,
                       const struct buffer *value, struct record_version version)
{
    struct record_head head = { key->size, (uint32_t)buffer_size(value), version };
    batch->records.failed |= value->failed || key->failed;
    buffer_add(&batch->records, (struct slice){ (const char *)&head, sizeof(head) });
    buffer_add(&batch->records, record_key_slice(key));
    buffer_add(&batch->records, buffer_slice(value));
}

static void take_rows(struct bind_batch *batch, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++)
        if (rows_binding(result, row, &batch->record) == ROWS_PRESENT)
            add_record(batch, &batch->record.key, &batch->record.value,
                       batch->record.binding.version);
}

/* The versions of the BINDs that were written come back; those of this mapperd are all different.
 * Both are in the order of the step's requests or not at all, so one walk would do; but no order is
 * promised. */
static bool was_written(const PGresult *result, uint64_t version_ms)
{
    uint64_t written;
    for (int row = 0; row < PQntuples(result); row++)
        if (database_u64(result, row, 0, &written) == ERROR_NONE && written == version_ms)
            return true;
    return false;
}

static void take_puts(struct bind_batch *batch, const struct bind_step *step,
                      const PGresult *result)
{
    bool all = PQntuples(result) == (int)step->count;
    struct bind_request *r = step->first;
    for (size_t n = 0; n < step->count; n++, r = r->next) {
        struct record_binding b = r->message->binding;
        struct record_key key;
        r->superseded = !all && !was_written(result, r->version.unix_ms);
        if (r->superseded)
            continue;
        b.version = r->version;
        b.removed = false;
        record_binding_key(&key, b.aor, b.device_key, b.instance_key);
        buffer_reset(&batch->value);
        record_binding_write(&batch->value, &b);
        add_record(batch, &key, &batch->value, b.version);
    }
}

static void take_success(struct bind_batch *batch, const struct bind_step *step,
                         const PGresult *result)
{
    switch (step->kind) {
    case BIND_STEP_PUTS:
        take_puts(batch, step, result);
        return;
    case BIND_STEP_REMOVAL:
        take_rows(batch, result);
        step->first->superseded =
            step->first->message->bind == BIND_REMOVE_ONE && PQntuples(result) == 0;
        return;
    case BIND_STEP_READING:
        take_rows(batch, result);
        return;
    case BIND_STEP_POSITION:
        if (PQntuples(result) != 1 || database_u64(result, 0, 0, &batch->lsn) != ERROR_NONE)
            batch->lsn = 0;
        return;
    case BIND_STEP_COUNTER:
    case BIND_STEP_PURGE:
        return;
    }
}

static void take_failure(struct bind_batch *batch, struct bind_step *step, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    struct bind_request *r = step->first;
    step->failed = true;
    batch->unread |= step->kind == BIND_STEP_READING;
    if (step->count != 1)
        return; /* whose fault it was is not known yet */
    /* A refusal that sending again would not change: data, a constraint, a limit, a trigger. */
    r->refused = state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
                                   strncmp(state, "54", 2) == 0 || strncmp(state, "P0", 2) == 0);
    r->locked = state != NULL && (strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0);
    snprintf(r->why, sizeof(r->why), "%s", text != NULL ? text : "refused");
    if (log_limit_pass(&batch->refusals, REFUSALS_LOGGED, clock_mono_ms()))
        log_write(LOG_WARNING, "binding-refused", "%s %s", state != NULL ? state : "-", r->why);
}

/* A sync: what was refused in the group has undone all of it. */
static void end_group(struct bind_batch *batch)
{
    bool failed = false;
    for (size_t i = batch->group; i < batch->step; i++)
        failed |= batch->steps[i].failed;
    if (failed && buffer_size(&batch->records) > batch->records_mark)
        batch->records.to = batch->records.from + batch->records_mark;
    for (size_t i = batch->group; failed && i < batch->step; i++) {
        struct bind_request *r = batch->steps[i].first;
        for (size_t n = 0; n < batch->steps[i].count; n++, r = r->next)
            r->failed = true;
    }
    batch->records_mark = buffer_size(&batch->records);
    batch->group = batch->step;
}

/* ---- Into the store ---- */

static bool next_record(struct slice *rest, struct record_head *head, struct slice *key,
                        struct slice *value)
{
    if (rest->size < sizeof(*head))
        return false;
    memcpy(head, rest->data, sizeof(*head));
    *key = (struct slice){ rest->data + sizeof(*head), head->key_size };
    *value = (struct slice){ key->data + key->size, head->value_size };
    size_t size = sizeof(*head) + key->size + value->size;
    rest->data += size;
    rest->size -= size;
    return true;
}

static enum error write_records(struct feed *feed, struct store *store)
{
    struct store_writer writer;
    struct slice rest = buffer_slice(&feed->binder.batch.keeping), key, value;
    struct record_head head;
    bool newer;
    enum error e = store_begin(store, &writer);
    if (e != ERROR_NONE)
        return e;
    while (e == ERROR_NONE && next_record(&rest, &head, &key, &value)) {
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

/* Before the store has them: it may be lost. */
static void keep_unreplayed(struct feed *feed)
{
    struct unreplayed *u = &feed->unreplayed;
    struct slice rest = buffer_slice(&feed->binder.batch.keeping), key, value;
    struct record_head head;
    unreplayed_begin(u, feed->binder.origin.system_id, feed->binder.batch.keeping_lsn);
    while (next_record(&rest, &head, &key, &value))
        unreplayed_put(u, key, value);
    unreplayed_end(u);
}

static enum error keep(struct feed *feed)
{
    enum error e = ERROR_NONE;
    if (feed->binder.batch.keeping.failed)
        return ERROR_MEMORY;
    if (feed->store == NULL)
        return ERROR_NOT_FOUND;
    if (buffer_size(&feed->binder.batch.keeping) == 0)
        return ERROR_NONE;
    if (feed->binder.batch.keeping_lsn != 0)
        keep_unreplayed(feed);
    if (feed->fill.store != NULL && feed->fill.store != feed->store)
        e = write_records(feed, feed->fill.store);
    return e == ERROR_NONE ? write_records(feed, feed->store) : e;
}

/* ---- The end of a batch ---- */

static void finish_request(struct feed *feed, struct bind_request *request, enum error kept)
{
    if (request->refused) {
        if (request->journalled)
            atomic_fetch_add(&feed->statistics.journal_dropped, 1);
        bind_journal_remove(feed, request);
        binder_answer(feed, request, BIND_REFUSED);
    } else if (request->failed) {
        /* A lock: the answer is no, at once. Else the primary has said neither yes nor no. */
        if (!request->journalled && !request->locked)
            bind_journal_put(feed, request);
        else if (request->journalled)
            bind_journal_hold(feed, request);
        binder_answer(feed, request, BIND_UNCONFIRMED);
    } else if (kept != ERROR_NONE) {
        if (!request->journalled)
            bind_journal_put(feed, request);
        binder_answer(feed, request, BIND_UNCONFIRMED);
    } else {
        if (request->journalled)
            atomic_fetch_add(&feed->statistics.journal_replayed, 1);
        bind_journal_remove(feed, request);
        binder_answer(feed, request, request->superseded ? BIND_UNCONFIRMED : BIND_DONE);
    }
}

/* Those of failed groups go again, in smaller ones; the others are done. */
static void part(struct bind_batch *batch, struct bind_list *done)
{
    bool last = batch->cut == BIND_CUT_SINGLE;
    bind_list_init(done);
    for (size_t left = batch->sent.count; left > 0; left--) {
        struct bind_request *request = bind_list_take(&batch->sent);
        bool known = last || request->refused || request->locked;
        bind_list_add(request->failed && !known ? &batch->sent : done, request);
    }
}

static void swap_records(struct bind_batch *batch)
{
    struct buffer filled = batch->records;
    batch->records = batch->keeping;
    batch->keeping = filled;
    batch->keeping_lsn = batch->lsn;
}

static void finish(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_batch *batch = &b->batch;
    struct bind_request *request;
    struct bind_list done;
    bool unread = batch->unread;
    part(batch, &done);
    swap_records(batch);
    if (batch->sent.count > 0) {
        if (bind_batch_send(feed, batch->cut + 1, false) != ERROR_NONE)
            binder_go_away(feed, "a batch could not be sent again");
    } else {
        binder_work(feed);
    }
    kill_point("bind-confirmed");
    enum error e = done.count > 0 ? keep(feed) : ERROR_NONE;
    kill_point("bind-kept");
    while ((request = bind_list_take(&done)) != NULL)
        finish_request(feed, request, unread ? ERROR_UNREACHABLE : e);
    if (e != ERROR_NONE)
        feed_store_failed(feed, e, "bind");
    bind_journal_watch_due(feed);
    binder_work(feed);
}

void bind_batch_result(struct feed *feed, const PGresult *result)
{
    struct bind_batch *batch = &feed->binder.batch;
    struct bind_step *step = &batch->steps[batch->step];
    if (result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        end_group(batch);
        if (feed->binder.db.state == DATABASE_IDLE)
            finish(feed);
        return;
    }
    if (batch->step >= batch->step_count)
        return;
    if (result == NULL)
        batch->step++;
    else if (step->kind == BIND_STEP_PURGE)
        bind_purge_result(feed, result);
    else if (step->kind == BIND_STEP_COUNTER &&
             (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1))
        binder_go_away(feed, "the counter row is gone"); /* somebody deleted it: enrol again */
    else if (PQresultStatus(result) == PGRES_TUPLES_OK)
        take_success(batch, step, result);
    else if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        take_failure(batch, step, result);
    else
        step->failed = true; /* aborted with the one before it */
}
