/* SPDX-License-Identifier: Apache-2.0 */
/* Now and then the database is asked to delete what nobody needs from the change log any more. What
 * may go is its own to decide (change_log_prune()); every mapperd asks, and one at a time is heard.
 * On a connection of its own, which is closed when nothing is left to do: a batch of deletes holds
 * up neither a key nor a binding. Nothing depends on it: what fails is tried again next time. */
#include "common/log.h"
#include "mapperd/feed_internal.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <stdio.h>

#define PRUNE_ROWS   2000 /* of one call: some milliseconds */
#define PRUNE_REST_S 0.1  /* between calls while there is more: 20,000 rows a second at most */
#define PRUNE_MOST_S 60.0 /* between times */
/* Positions are remembered this often in the time to keep: so much longer a row may stay. */
#define PRUNE_PARTS 16.0

static void become(struct pruner *p, enum pruner_state state)
{
    static const unsigned ALLOWED[] = {
        [PRUNER_RESTING] = 1u << PRUNER_CONNECTING,
        [PRUNER_CONNECTING] = 1u << PRUNER_ASKING | 1u << PRUNER_RESTING,
        [PRUNER_ASKING] = 1u << PRUNER_RESTING,
    };
    assert((ALLOWED[p->state] >> state & 1) != 0);
    p->state = state;
}

static void rest(struct feed *feed, double seconds)
{
    ev_timer_stop(feed->loop, &feed->pruner.due);
    ev_timer_set(&feed->pruner.due, seconds, 0.);
    ev_timer_start(feed->loop, &feed->pruner.due);
}

static double interval_s(const struct feed *feed)
{
    double s = (double)feed->options->log_keep_s / PRUNE_PARTS;
    return s < PRUNE_REST_S ? PRUNE_REST_S : s > PRUNE_MOST_S ? PRUNE_MOST_S : s;
}

static void ask(struct feed *feed)
{
    struct pruner *p = &feed->pruner;
    struct database_parameters parameters = { .count = 0 };
    char keep[24], rows[16];
    snprintf(keep, sizeof(keep), "%llu", (unsigned long long)feed->options->log_keep_s);
    snprintf(rows, sizeof(rows), "%d", PRUNE_ROWS);
    database_add_text(&parameters, keep);
    database_add_text(&parameters, rows);
    p->gone = -1;
    if (database_send(&p->db, &STATEMENT_PRUNE, &parameters, false, FEED_READ_S) != ERROR_NONE) {
        database_close(&p->db);
        become(p, PRUNER_RESTING);
        rest(feed, interval_s(feed));
    }
}

static void on_connected(struct database *db)
{
    struct feed *feed = db->context;
    become(&feed->pruner, PRUNER_ASKING);
    ask(feed);
}

static void on_result(struct database *db, const PGresult *result)
{
    struct feed *feed = db->context;
    struct pruner *p = &feed->pruner;
    if (p->state != PRUNER_ASKING)
        return;
    if (result != NULL) {
        if (PQntuples(result) != 1 || database_i64(result, 0, 0, &p->gone) != ERROR_NONE)
            p->gone = -1;
        return;
    }
    if (p->gone > 0)
        atomic_fetch_add(&feed->statistics.log_pruned, (unsigned long long)p->gone);
    if (p->gone >= PRUNE_ROWS) {
        rest(feed, PRUNE_REST_S);
        return;
    }
    database_close(db);
    become(p, PRUNER_RESTING);
    rest(feed, interval_s(feed));
}

static void on_lost(struct database *db, const char *why)
{
    struct feed *feed = db->context;
    log_write(LOG_DEBUG, "prune-failed", "%s", why);
    become(&feed->pruner, PRUNER_RESTING);
    rest(feed, interval_s(feed));
}

static void on_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    struct pruner *p = &feed->pruner;
    (void)loop;
    (void)events;
    if (p->state == PRUNER_ASKING) {
        ask(feed);
        return;
    }
    if (feed->state != FEED_STATE_FEEDING) {
        rest(feed, interval_s(feed));
        return;
    }
    become(p, PRUNER_CONNECTING);
    database_open(&p->db, feed->options->primary, feed->binder.turn, FEED_CONNECT_S);
}

void prune_init(struct feed *feed)
{
    struct pruner *p = &feed->pruner;
    database_init(&p->db, "prune", feed->loop,
                  (struct database_owner){ on_connected, on_result, NULL, on_lost }, feed);
    ev_timer_init(&p->due, on_due, 0., 0.);
    p->due.data = feed;
    if (feed->options->log_keep_s > 0)
        rest(feed, interval_s(feed));
}

void prune_free(struct feed *feed)
{
    database_close(&feed->pruner.db);
    ev_timer_stop(feed->loop, &feed->pruner.due);
}
