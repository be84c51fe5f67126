/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked on each connect before anything else is read: who the server is, whether it holds
 * all that was applied here, and where a fill would begin. */
#include "common/log.h"
#include "mapperd/feed_internal.h"
#include "mapperd/history.h"
#include "mapperd/statements.h"

#include <inttypes.h>
#include <stdio.h>

/* The texts of two PostgreSQL arrays: statements that must be found on the server. */
static enum error add_history(struct feed *feed, struct buffer *xids, struct buffer *stamps)
{
    struct store_writer writer;
    struct store_walk walk;
    struct slice key, value;
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    buffer_add_char(xids, '{');
    buffer_add_char(stamps, '{');
    feed->recent_count = 0;
    feed->newest_xid = 0;
    store_walk_writer(&writer, STORE_RECENT, SLICE(""), &walk);
    while (store_walk_next(&walk, &key, &value)) {
        feed->recent_count++;
        if (key.size != 16)
            continue;
        feed->newest_xid = record_u64_at(key.data); /* the walk is in order of xid */
        const char *comma = buffer_size(xids) > 1 ? "," : "";
        buffer_add_format(xids, "%s%" PRIu64, comma, record_u64_at(key.data));
        buffer_add_format(stamps, "%s%" PRId64, comma, (int64_t)record_u64_at(key.data + 8));
    }
    store_walk_end(&walk);
    store_abort(&writer);
    buffer_add(xids, (struct slice){ "}", 2 }); /* with its NUL */
    buffer_add(stamps, (struct slice){ "}", 2 });
    return walk.error != ERROR_NONE         ? walk.error
           : xids->failed || stamps->failed ? ERROR_MEMORY
                                            : ERROR_NONE;
}

static void ask(struct feed *feed, enum feed_check check, struct database *db,
                const struct database_statement *statement, const struct database_parameters *p)
{
    feed->check = check;
    if (database_send(db, statement, p, false, FEED_READ_S) != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
}

void check_start(struct feed *feed)
{
    feed->listening = false;
    feed->history = HISTORY_LOST;
    ask(feed, CHECK_HELLO, &feed->log, &STATEMENT_HELLO, NULL);
}

static void ask_history(struct feed *feed)
{
    struct buffer xids, stamps;
    struct database_parameters p = { .count = 0 };
    char system[24], oid[16];
    buffer_init(&xids, 0);
    buffer_init(&stamps, 0);
    enum error e = add_history(feed, &xids, &stamps);
    snprintf(system, sizeof(system), "%lld", (long long)feed->server.system_id);
    snprintf(oid, sizeof(oid), "%lu", (unsigned long)feed->server.database_oid);
    database_add_text(&p, feed->meta.position);
    database_add_text(&p, buffer_slice(&xids).data);
    database_add_text(&p, buffer_slice(&stamps).data);
    database_add_text(&p, system);
    database_add_text(&p, oid);
    if (e != ERROR_NONE)
        feed_store_failed(feed, e, "history");
    else
        ask(feed, CHECK_HISTORY, &feed->log, &STATEMENT_HISTORY, &p);
    buffer_free(&xids);
    buffer_free(&stamps);
}

static void ask_recent(struct feed *feed)
{
    struct database_parameters p = { .count = 0 };
    char system[24], oid[16];
    snprintf(system, sizeof(system), "%lld", (long long)feed->server.system_id);
    snprintf(oid, sizeof(oid), "%lu", (unsigned long)feed->server.database_oid);
    database_add_text(&p, system);
    database_add_text(&p, oid);
    buffer_reset(&feed->recent);
    ask(feed, CHECK_RECENT, &feed->log, &STATEMENT_RECENT, &p);
}

/* The snapshot of a standby does not say what is in progress: all from its xmin on could be. */
static void ask_pending(struct feed *feed)
{
    struct database_parameters p = { .count = 0 };
    buffer_add_char(&feed->server_snapshot, '\0');
    database_add_text(&p, buffer_slice(&feed->server_snapshot).data);
    if (feed->server_snapshot.failed)
        feed_raise(feed, FEED_EVENT_LOST);
    else
        ask(feed, CHECK_PENDING, &feed->log, &STATEMENT_PENDING, &p);
}

/* Says so once for each time away, not at each attempt. */
static void refuse(struct feed *feed, const char *event, const char *why)
{
    log_write(feed->unreachable ? LOG_DEBUG : LOG_WARNING, event, "%s", why);
    feed->unreachable = true;
    feed_raise(feed, FEED_EVENT_LOST);
}

static void take_hello(struct feed *feed, const PGresult *result, bool of_log)
{
    uint64_t system, oid, started, lsn;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        database_u64(result, 0, 0, &system) != ERROR_NONE ||
        database_u64(result, 0, 1, &oid) != ERROR_NONE ||
        database_u64(result, 0, 4, &started) != ERROR_NONE ||
        database_u64(result, 0, 5, &lsn) != ERROR_NONE) {
        feed_raise(feed, FEED_EVENT_LOST);
        return;
    }
    if (of_log) {
        feed->server.system_id = system;
        feed->server.database_oid = (uint32_t)oid;
        feed->server_started = started;
        feed->server_lsn = lsn;
        feed->standby = database_true(result, 0, 2);
        buffer_reset(&feed->server_snapshot);
        buffer_add(&feed->server_snapshot, database_text(result, 0, feed->standby ? 6 : 3));
    } else if (feed->server.system_id != system || feed->server.database_oid != oid ||
               feed->server_started != started) {
        refuse(feed, "database-differs", "two connections reached two servers");
    }
}

static void take_history(struct feed *feed, const PGresult *result)
{
    struct history_facts facts = { .standby = feed->standby,
                                   .server_lsn = feed->server_lsn,
                                   .applied_lsn = feed->meta.lsn,
                                   .refill = feed->meta.refill };
    const char *why;
    if (PQntuples(result) != 1 || database_u64(result, 0, 2, &facts.missing) != ERROR_NONE ||
        database_u64(result, 0, 3, &facts.contradicted) != ERROR_NONE) {
        feed_raise(feed, FEED_EVENT_LOST);
        return;
    }
    facts.below_floor = !database_true(result, 0, 0);
    facts.ahead = !database_true(result, 0, 1);
    feed->history = history_judge(&facts, &why);
    atomic_store(&feed->statistics.behind, feed->history == HISTORY_BEHIND);
    if (feed->history == HISTORY_BEHIND) {
        feed->failures = 0; /* it comes nearer meanwhile */
        refuse(feed, "standby-behind", why);
    } else if (feed->history == HISTORY_LOST) {
        log_write(LOG_WARNING, "history-lost", "%s", why);
    }
}

static void take_recent(struct feed *feed, const PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t pair[2];
        if (database_u64(result, row, 0, &pair[0]) == ERROR_NONE &&
            database_u64(result, row, 1, &pair[1]) == ERROR_NONE)
            buffer_add(&feed->recent, (struct slice){ (const char *)pair, sizeof(pair) });
    }
    if (feed->recent.failed)
        feed_raise(feed, FEED_EVENT_LOST);
}

/* Until its range ends at the server's own xmax. */
static void take_pending(struct feed *feed, const PGresult *result)
{
    if (PQntuples(result) != 1) {
        feed_raise(feed, FEED_EVENT_LOST);
        return;
    }
    buffer_reset(&feed->server_snapshot);
    buffer_add(&feed->server_snapshot, database_text(result, 0, 1));
    feed->pending_cut = database_true(result, 0, 2);
}

static void prepare(struct feed *feed, enum feed_check check, struct database *db,
                    const struct database_statement *const *statements)
{
    size_t count = 0;
    while (statements[count] != NULL)
        count++;
    feed->check = check;
    if (database_prepare(db, statements, count, FEED_READ_S) != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
}

static void prepare_keys(struct feed *feed)
{
    if (database_pipeline_start(&feed->keys) != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
    else
        prepare(feed, CHECK_PREPARE_KEYS, &feed->keys, STATEMENTS_OF_KEYS);
}

static void begin_history(struct feed *feed)
{
    const struct meta_origin *ours = &feed->meta.origin;
    if (feed->store != NULL && feed->meta.position != NULL &&
        ours->system_id == feed->server.system_id &&
        ours->database_oid == feed->server.database_oid) {
        ask_history(feed);
        return;
    }
    if (feed->store != NULL)
        log_write(LOG_WARNING, "history-lost", "the server is another one");
    ask_recent(feed);
}

static void finish(struct feed *feed)
{
    atomic_store(&feed->statistics.behind, false);
    atomic_store(&feed->statistics.standby, feed->standby);
    feed_raise(feed,
               feed->history == HISTORY_HELD ? FEED_EVENT_HISTORY_HELD : FEED_EVENT_HISTORY_LOST);
    binder_verify(feed);
}

/* One step of the check has ended. */
static void next(struct feed *feed)
{
    switch (feed->check) {
    case CHECK_HELLO:
        ask(feed, CHECK_KEYS_HELLO, &feed->keys, &STATEMENT_HELLO, NULL);
        return;
    case CHECK_KEYS_HELLO:
        prepare(feed, CHECK_PREPARE, &feed->log, STATEMENTS_OF_LOG);
        return;
    case CHECK_PREPARE:
        prepare_keys(feed);
        return;
    case CHECK_PREPARE_KEYS:
        begin_history(feed);
        return;
    case CHECK_HISTORY:
        if (feed->history == HISTORY_HELD)
            finish(feed);
        else
            ask_recent(feed);
        return;
    case CHECK_RECENT:
        if (feed->standby)
            ask_pending(feed);
        else
            finish(feed);
        return;
    case CHECK_PENDING:
        if (feed->pending_cut)
            ask_pending(feed);
        else
            finish(feed);
        return;
    }
}

void check_result(struct feed *feed, const PGresult *result)
{
    if (result == NULL) {
        next(feed);
        return;
    }
    switch (feed->check) {
    case CHECK_HELLO:
        take_hello(feed, result, true);
        return;
    case CHECK_KEYS_HELLO:
        take_hello(feed, result, false);
        return;
    case CHECK_PREPARE:
    case CHECK_PREPARE_KEYS:
        return;
    case CHECK_HISTORY:
        take_history(feed, result);
        return;
    case CHECK_RECENT:
        take_recent(feed, result);
        return;
    case CHECK_PENDING:
        take_pending(feed, result);
        return;
    }
}
