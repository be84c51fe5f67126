/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings and tombstones that are over, in pages: once a second some rows of the table, of which
 * the database says what is over and one mapperd at a time is heard, and some records of the store,
 * by the same rule and this machine's clock. Neither needs the other. */
#include "common/clock.h"
#include "mapperd/feed_internal.h"
#include "mapperd/statements.h"

#include <stdio.h>

/* As binding_is_over() has it: longer than any registration lasts. */
#define OVER_MS (8ull * 24 * 3600 * 1000)

static void begin_table(struct bind_purge *purge)
{
    for (int i = 0; i < 3; i++) {
        buffer_reset(&purge->behind[i]);
        buffer_add_char(&purge->behind[i], '\0');
    }
}

void bind_purge_init(struct bind_purge *purge)
{
    for (int i = 0; i < 3; i++)
        buffer_init(&purge->behind[i], 0);
    begin_table(purge);
    record_key_start(&purge->stored);
}

void bind_purge_free(struct bind_purge *purge)
{
    for (int i = 0; i < 3; i++)
        buffer_free(&purge->behind[i]);
}

enum error bind_purge_add(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct database_parameters p = { .count = 0 };
    char rows[16];
    snprintf(rows, sizeof(rows), "%d", BIND_PURGE_ROWS);
    for (int i = 0; i < 3; i++) {
        if (b->purge.behind[i].failed)
            begin_table(&b->purge);
        database_add_text(&p, buffer_slice(&b->purge.behind[i]).data);
    }
    database_add_text(&p, rows);
    return database_pipeline_add(&b->db, &STATEMENT_PURGE_BINDINGS, &p);
}

/* An error is no reason to give up the connection: a later page may do. */
void bind_purge_result(struct feed *feed, const PGresult *result)
{
    struct bind_purge *purge = &feed->binder.purge;
    uint64_t purged;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        begin_table(purge);
        return;
    }
    for (int i = 0; i < 3; i++) {
        buffer_reset(&purge->behind[i]);
        buffer_add(&purge->behind[i], database_text(result, 0, i));
        buffer_add_char(&purge->behind[i], '\0');
    }
    if (database_u64(result, 0, 3, &purged) == ERROR_NONE)
        atomic_fetch_add(&feed->statistics.bindings_purged, purged);
}

static bool is_over(struct slice value, uint64_t now_unix_ms)
{
    struct record_binding b;
    return record_binding_read(value, &b) == ERROR_NONE && now_unix_ms > OVER_MS &&
           b.expires_unix_s < (now_unix_ms - OVER_MS) / 1000 &&
           b.version.unix_ms < now_unix_ms - OVER_MS;
}

/* The keys of what is over among the next records; moves on. */
static size_t find_over(struct bind_purge *purge, struct store_writer *writer)
{
    struct store_walk walk;
    struct slice key, value;
    struct record_key last = { .size = 0 };
    uint64_t now_unix_ms = clock_unix_ms();
    size_t count = 0, looked_at = 0;
    store_walk_writer(writer, STORE_BINDING, record_key_slice(&purge->stored), &walk);
    while (looked_at < BIND_PURGE_ROWS && store_walk_next(&walk, &key, &value)) {
        looked_at++;
        record_key_start(&last);
        record_key_add(&last, key);
        if (is_over(value, now_unix_ms))
            purge->doomed[count++] = last;
    }
    store_walk_end(&walk);
    /* The last one is looked at twice, which does no harm; alone it is the end. */
    if (looked_at < BIND_PURGE_ROWS)
        last.size = 0;
    purge->stored = last;
    if (walk.error != ERROR_NONE && writer->error == ERROR_NONE)
        writer->error = walk.error;
    return count;
}

void bind_purge_store(struct feed *feed)
{
    struct store_writer writer;
    if (feed->store == NULL)
        return;
    enum error e = store_begin(feed->store, &writer);
    if (e == ERROR_NONE) {
        struct record_key *doomed = feed->binder.purge.doomed;
        size_t count = find_over(&feed->binder.purge, &writer);
        for (size_t i = 0; i < count; i++)
            store_delete(&writer, STORE_BINDING, record_key_slice(&doomed[i]));
        if (count > 0 || writer.error != ERROR_NONE)
            e = store_commit(&writer);
        else
            store_abort(&writer);
    }
    if (e != ERROR_NONE)
        feed_store_failed(feed, e, "purge");
}
