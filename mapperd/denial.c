/* SPDX-License-Identifier: Apache-2.0 */
/* REPORT on the loop thread: each refusal goes to those who watch, and unknown devices are gathered
 * for the database. One table is gathered here while the feed writes the one before it; nobody
 * waits for it, and a full table drops what is new. */
#include "common/clock.h"
#include "common/log.h"
#include "mapperd/server.h"

#include <inttypes.h>

/* Messages to the channel in a second; what is more is counted and said. */
#define DENIALS_A_SECOND 200
/* How long refusals are gathered. */
#define GATHER_S 1.

static void add_word(struct buffer *out, struct slice word)
{
    buffer_add_char(out, ' ');
    buffer_add(out, word.size > 0 ? word : SLICE("-"));
}

static void say_suppressed(struct server *server)
{
    unsigned suppressed = log_limit_suppressed(&server->denial_limit);
    if (suppressed == 0)
        return;
    buffer_reset(&server->text);
    buffer_add_format(&server->text, "%" PRIu64 " dropped %u", clock_unix_ms(), suppressed);
    subscriber_publish(server, CHANNEL_DENIALS, buffer_slice(&server->text));
}

static void publish(struct server *server, const struct report *report, struct slice cn)
{
    struct buffer *text = &server->text;
    if (server->subscribers[CHANNEL_DENIALS] == NULL ||
        !log_limit_pass(&server->denial_limit, DENIALS_A_SECOND, server->now_mono_ms))
        return;
    say_suppressed(server);
    buffer_reset(text);
    buffer_add_format(text, "%" PRIu64 " denial %" PRIu64, clock_unix_ms(), report->count);
    add_word(text, report->reason);
    add_word(text, report->store);
    add_word(text, report->address);
    add_word(text, report->from);
    buffer_add_char(text, ' ');
    buffer_add(text, cn);
    if (!text->failed)
        subscriber_publish(server, CHANNEL_DENIALS, buffer_slice(text));
}

void denial_tick(struct server *server)
{
    if (server->denial_limit.second_mono_s != server->now_mono_ms / 1000)
        say_suppressed(server);
}

static void gather(struct server *server, const struct report *report, struct slice cn)
{
    if (server->reports == NULL)
        server->reports = reports_new();
    if (server->reports == NULL ||
        reports_add(server->reports, report, cn, clock_unix_ms()) != ERROR_NONE) {
        server->counts.reports_dropped++;
        return;
    }
    if (!ev_is_active(&server->reporting)) {
        ev_timer_set(&server->reporting, GATHER_S, 0.);
        ev_timer_start(server->loop, &server->reporting);
    }
}

void denial_take(struct server *server, const struct report *report)
{
    char text[CN_MAX_OCTETS + 1];
    struct slice cn = report->cn;
    enum device_standing standing = reply_device(server, report->store, &cn, text);
    server->counts.reports++;
    publish(server, report, cn);
    if (!report_is_unknown_device(report) || standing == DEVICE_MAPPED)
        return;
    /* Whether the CN is in the store's form can't be told now: under another name it would never
     * go again. */
    if (standing == DEVICE_NOT_TOLD)
        server->counts.reports_dropped++;
    else
        gather(server, report, cn);
}

/* Hands over what has been gathered, unless the feed has a table still. */
void denial_send(struct server *server)
{
    if (server->reports == NULL || server->reports_away)
        return;
    struct loop_message *m = loop_message_new(LOOP_REPORTS);
    if (m == NULL)
        return; /* with the next one */
    m->reports = server->reports;
    if (feed_send(server->feed, m) != ERROR_NONE) {
        m->reports = NULL;
        loop_message_free(m);
        return;
    }
    server->reports = NULL;
    server->reports_away = true;
}

void denial_written(struct server *server)
{
    server->reports_away = false;
    if (server->reports != NULL && !ev_is_active(&server->reporting))
        denial_send(server);
}
