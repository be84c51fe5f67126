/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/report_writer.h"

#include "common/clock.h"
#include "mapperd/feed_internal.h"
#include "mapperd/sql_array.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <string.h>

#define RETRY_S  1.
#define MINUTE_S 60.

static void event(struct feed *feed, enum report_writer_event event);

static void become(struct report_writer *w, enum report_writer_state state)
{
    static const unsigned ALLOWED[] = {
        [REPORT_WRITER_AWAY] = 1u << REPORT_WRITER_CONNECTING,
        [REPORT_WRITER_CONNECTING] = 1u << REPORT_WRITER_PREPARING | 1u << REPORT_WRITER_AWAY,
        [REPORT_WRITER_PREPARING] = 1u << REPORT_WRITER_READY | 1u << REPORT_WRITER_AWAY,
        [REPORT_WRITER_READY] = 1u << REPORT_WRITER_WRITING | 1u << REPORT_WRITER_AWAY,
        [REPORT_WRITER_WRITING] = 1u << REPORT_WRITER_READY | 1u << REPORT_WRITER_AWAY,
    };
    assert((ALLOWED[w->state] >> state & 1) != 0);
    w->state = state;
}

void report_writer_columns(const struct reports *reports, struct buffer columns[REPORT_COLUMNS])
{
    struct report_entry entry;
    void *cursor = NULL;
    for (int i = 0; i < REPORT_COLUMNS; i++)
        sql_array_start(&columns[i], i >= 2 && i <= 4 ? SQL_ARRAY_INT8 : SQL_ARRAY_TEXT);
    while (reports_next(reports, &cursor, &entry)) {
        sql_array_add_text(&columns[0], entry.report.store);
        sql_array_add_text(&columns[1], entry.report.cn);
        sql_array_add_int8(&columns[2], entry.first_unix_ms);
        sql_array_add_int8(&columns[3], entry.last_unix_ms);
        sql_array_add_int8(&columns[4], entry.report.count);
        sql_array_add_text(&columns[5], entry.report.from);
        sql_array_add_text(&columns[6], entry.report.address);
        sql_array_add_text(&columns[7], entry.report.reason);
    }
    for (int i = 0; i < REPORT_COLUMNS; i++)
        sql_array_end(&columns[i], reports_count(reports));
}

static enum error send_reports(struct report_writer *w)
{
    struct buffer columns[REPORT_COLUMNS];
    struct database_parameters p = { .count = 0 };
    bool failed = false;
    for (int i = 0; i < REPORT_COLUMNS; i++)
        buffer_init(&columns[i], 0);
    report_writer_columns(w->reports, columns);
    for (int i = 0; i < REPORT_COLUMNS; i++) {
        database_add_binary(&p, buffer_slice(&columns[i]));
        failed |= columns[i].failed;
    }
    enum error e = failed ? ERROR_MEMORY
                          : database_send(&w->db, &STATEMENT_REPORT, &p, false, FEED_STATEMENT_S);
    for (int i = 0; i < REPORT_COLUMNS; i++)
        buffer_free(&columns[i]);
    return e;
}

static void start(struct feed *feed, bool tidying)
{
    struct report_writer *w = &feed->report_writer;
    become(w, REPORT_WRITER_WRITING);
    w->tidying = tidying;
    w->refused = w->keep = false;
    enum error e = tidying ? database_send(&w->db, &STATEMENT_TIDY, NULL, false, FEED_STATEMENT_S)
                           : send_reports(w);
    if (e != ERROR_NONE)
        event(feed, REPORT_WRITER_LOST);
}

/* The table in hand is done with. */
static void give_back(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    if (w->refused)
        atomic_fetch_add(&feed->statistics.reports_failed, reports_count(w->reports));
    else
        atomic_fetch_add(&feed->statistics.reports_written, reports_count(w->reports));
    reports_free(w->reports);
    w->reports = NULL;
    feed_tell_plain(feed, FEED_REPORTED, 0);
}

static void ended(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    if (w->keep) {
        event(feed, REPORT_WRITER_LOST);
        return;
    }
    if (w->state == REPORT_WRITER_WRITING && !w->tidying)
        give_back(feed);
    become(w, REPORT_WRITER_READY);
    if (!ev_is_active(&w->minute))
        ev_timer_again(feed->loop, &w->minute);
    if (w->reports != NULL)
        start(feed, false);
}

static void lost(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    database_close(&w->db);
    become(w, REPORT_WRITER_AWAY);
    ev_timer_stop(feed->loop, &w->minute);
    if (w->reports != NULL) {
        ev_timer_set(&w->retry, RETRY_S, 0.);
        ev_timer_start(feed->loop, &w->retry);
    }
}

static void connect_now(struct feed *feed)
{
    become(&feed->report_writer, REPORT_WRITER_CONNECTING);
    database_open(&feed->report_writer.db, feed->options->primary, feed->binder.turn,
                  FEED_CONNECT_S);
}

static void prepare(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    become(w, REPORT_WRITER_PREPARING);
    w->refused = w->keep = false;
    if (database_send(&w->db, &STATEMENT_REPORT_SETTINGS, NULL, false, FEED_STATEMENT_S) !=
        ERROR_NONE)
        event(feed, REPORT_WRITER_LOST);
}

static void event(struct feed *feed, enum report_writer_event what)
{
    struct report_writer *w = &feed->report_writer;
    switch (what) {
    case REPORT_WRITER_TAKEN:
        if (w->state == REPORT_WRITER_AWAY && !ev_is_active(&w->retry))
            connect_now(feed);
        else if (w->state == REPORT_WRITER_READY)
            start(feed, false);
        break;
    case REPORT_WRITER_RETRY:
        if (w->state == REPORT_WRITER_AWAY)
            connect_now(feed);
        break;
    case REPORT_WRITER_CONNECTED:
        if (w->state == REPORT_WRITER_CONNECTING)
            prepare(feed);
        break;
    case REPORT_WRITER_ENDED:
        if (w->state == REPORT_WRITER_PREPARING || w->state == REPORT_WRITER_WRITING)
            ended(feed);
        break;
    case REPORT_WRITER_TIDY:
        if (w->state == REPORT_WRITER_READY)
            start(feed, true);
        break;
    case REPORT_WRITER_LOST:
        if (w->state != REPORT_WRITER_AWAY)
            lost(feed);
        break;
    }
}

/* What another time or server may make good: not now (40, 53, 55, 57), or a standby (25). Data,
 * names and permissions stay as they are. */
static bool is_for_later(const char *state)
{
    static const char *const CLASSES[] = { "25", "40", "53", "55", "57", "58" };
    for (size_t i = 0; state != NULL && i < sizeof(CLASSES) / sizeof(CLASSES[0]); i++)
        if (strncmp(state, CLASSES[i], 2) == 0)
            return true;
    return false;
}

static void complain(struct report_writer *w, const char *state, const char *why)
{
    if (log_limit_pass(&w->limit, 1, clock_mono_ms()))
        log_write(LOG_WARNING, "reports-not-written", "%s %s", state != NULL ? state : "-",
                  why != NULL ? why : "refused");
}

static void on_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    struct report_writer *w = &feed->report_writer;
    if (result == NULL) {
        event(feed, REPORT_WRITER_ENDED);
        return;
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    w->refused = true;
    w->keep = w->state == REPORT_WRITER_PREPARING || is_for_later(state);
    complain(w, state, PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static void on_connected(struct database *db)
{
    event(db->context, REPORT_WRITER_CONNECTED);
}

/* The feed says that the database is away; here it matters to nobody. */
static void on_lost(struct database *db, const char *why)
{
    log_write(LOG_DEBUG, "reports-connection-lost", "%s", why);
    event(db->context, REPORT_WRITER_LOST);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    event(timer->data, REPORT_WRITER_RETRY);
}

static void on_minute(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    event(timer->data, REPORT_WRITER_TIDY);
}

void report_writer_init(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    database_init(&w->db, "reports", feed->loop,
                  (struct database_owner){ on_connected, on_result, NULL, on_lost }, feed);
    w->db.errors_are_results = true;
    ev_timer_init(&w->retry, on_retry, 0., 0.);
    ev_timer_init(&w->minute, on_minute, 0., MINUTE_S);
    w->retry.data = w->minute.data = feed;
}

void report_writer_free(struct feed *feed)
{
    struct report_writer *w = &feed->report_writer;
    database_close(&w->db);
    ev_timer_stop(feed->loop, &w->retry);
    ev_timer_stop(feed->loop, &w->minute);
    reports_free(w->reports);
    w->reports = NULL;
}

void report_writer_take(struct feed *feed, struct reports *reports)
{
    assert(feed->report_writer.reports == NULL);
    feed->report_writer.reports = reports;
    event(feed, REPORT_WRITER_TAKEN);
}
