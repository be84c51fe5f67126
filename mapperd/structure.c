/* SPDX-License-Identifier: Apache-2.0 */
/* Are the tables still those that the store was filled from? */
#include "mapperd/structure.h"

#include "common/log.h"
#include "mapperd/feed_internal.h"

#include <stdio.h>
#include <string.h>

void structure_reset(struct feed *feed)
{
    struct structure *s = &feed->structure;
    s->due = true;
    s->running = s->checked = false;
}

void structure_ask(struct feed *feed)
{
    feed->structure.due = true;
    feed_work(feed);
}

bool structure_send(struct feed *feed)
{
    struct structure *s = &feed->structure;
    if (!s->due)
        return false;
    enum error e = database_pipeline_add(&feed->keys, &STATEMENT_STRUCTURE, NULL);
    if (e == ERROR_NONE)
        e = database_sync(&feed->keys, FEED_STATEMENT_S);
    s->due = false;
    s->running = true;
    s->unfollowed = -1;
    if (e != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
    return true;
}

static void take(struct structure *s, const PGresult *result)
{
    struct slice digest = database_text(result, 0, 0);
    if (PQntuples(result) != 1 || digest.size != sizeof(s->digest) - 1 ||
        database_i64(result, 0, 1, &s->unfollowed) != ERROR_NONE)
        s->unfollowed = -1;
    else
        snprintf(s->digest, sizeof(s->digest), "%.*s", (int)digest.size, digest.data);
}

/* With the data that are owed a fill, so that no end of the program comes between the two. */
static enum error remember(struct feed *feed, bool refill)
{
    struct store_writer writer;
    memcpy(feed->meta.structure, feed->structure.digest, sizeof(feed->meta.structure));
    feed->meta.refill |= refill;
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    meta_write(&writer, &feed->meta);
    meta_write_structure(&writer, &feed->meta);
    return store_commit(&writer);
}

static bool nothing_copied(const struct feed *feed)
{
    return feed->state == FEED_STATE_FILLING && feed->fill.rows == 0 &&
           feed->fill.table == FILL_TRUST;
}

static void finish(struct feed *feed)
{
    struct structure *s = &feed->structure;
    s->running = false;
    if (s->unfollowed < 0 || feed->store == NULL) {
        feed_raise(feed, FEED_EVENT_LOST);
        return;
    }
    atomic_store(&feed->statistics.tables_unfollowed, (unsigned long long)s->unfollowed);
    if (s->unfollowed > 0 && !s->complained)
        log_write(LOG_WARNING, "table-not-followed",
                  "%lld tables lack triggers that log their changes: SELECT change_log_follow(…)",
                  (long long)s->unfollowed);
    s->complained = s->unfollowed > 0;
    bool same = strcmp(s->digest, feed->meta.structure) == 0;
    bool fill = !same && !nothing_copied(feed);
    if (fill)
        log_write(LOG_WARNING, "structure-changed",
                  "tables, what belongs to them or their log triggers are not what they were");
    enum error e = same ? ERROR_NONE : remember(feed, fill);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "structure");
        return;
    }
    s->checked = true;
    if (fill) {
        feed_raise(feed, FEED_EVENT_EVERYTHING);
        return;
    }
    feed_settle(feed);
    feed_work(feed);
}

void structure_result(struct feed *feed, const PGresult *result)
{
    if (result == NULL)
        return;
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        take(&feed->structure, result);
    else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
        finish(feed);
}
