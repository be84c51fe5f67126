/* SPDX-License-Identifier: Apache-2.0 */
/* Store and tables compared, range by range. */
#include "mapperd/compare.h"

#include "common/clock.h"
#include "common/log.h"
#include "mapperd/feed_internal.h"
#include "mapperd/kill_point.h"
#include "mapperd/range.h"

#include <assert.h>
#include <string.h>

#define COMPARE_MOST  1000 /* keys named of one range; the next begins behind the last of them */
#define COMPARE_SHOWN 10   /* in the log, a round */

static void become(struct compare *c, enum compare_state state)
{
    static const unsigned ALLOWED[] = {
        [COMPARE_RESTING] = 1u << COMPARE_ASKING | 1u << COMPARE_RESTING,
        [COMPARE_ASKING] = 1u << COMPARE_POLLING | 1u << COMPARE_RESTING,
        [COMPARE_POLLING] = 1u << COMPARE_APPLYING | 1u << COMPARE_RESTING,
        [COMPARE_APPLYING] = 1u << COMPARE_RESTING,
    };
    assert((ALLOWED[c->state] >> state & 1) != 0);
    c->state = state;
}

static void rest(struct feed *feed, double seconds)
{
    struct compare *c = &feed->compare;
    c->whole = false;
    ev_timer_stop(feed->loop, &c->due);
    if (feed->options->compare_round_s == 0)
        return;
    ev_timer_set(&c->due, seconds, 0.);
    ev_timer_start(feed->loop, &c->due);
}

static void begin_table(struct compare *c, size_t table)
{
    c->table = table;
    c->from.size = 0;
    for (int i = 0; i < 3; i++) {
        buffer_reset(&c->after[i]);
        buffer_add_char(&c->after[i], '\0');
    }
}

/* The ranges of a round are counted beforehand, so that it takes its time whatever there is. */
static double pause_of(struct feed *feed)
{
    struct store_usage usage;
    uint64_t ranges = 1;
    if (store_usage(feed->store, &usage) == ERROR_NONE)
        for (size_t t = 0; t < FILL_DONE; t++)
            ranges += usage.entries[fill_range(t)->table] / COMPARE_ROWS + 1;
    return (double)feed->options->compare_round_s / (double)ranges;
}

static void begin_round(struct feed *feed)
{
    struct compare *c = &feed->compare;
    begin_table(c, 0);
    c->named = c->done = 0;
    c->round_mono_ms = clock_mono_ms();
    c->pause_s = pause_of(feed);
}

void compare_reset(struct feed *feed, bool anew)
{
    struct compare *c = &feed->compare;
    become(c, COMPARE_RESTING);
    c->is_due = c->passed_over = feed->poll.after_compare = false;
    if (anew)
        c->round_mono_ms = 0;
    rest(feed, c->round_mono_ms != 0 ? c->pause_s : 0.1);
}

static void on_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    (void)loop;
    (void)events;
    feed->compare.is_due = true;
    feed_work(feed);
}

bool compare_send(struct feed *feed)
{
    struct compare *c = &feed->compare;
    struct database_parameters p = { .count = 0 };
    /* Only a server that holds all that was applied is read from, and nothing while another store
     * is being made: that reads everything anyway. */
    if (!c->is_due || c->state != COMPARE_RESTING || feed->state != FEED_STATE_FEEDING ||
        feed->fill.store != NULL || feed->store == NULL)
        return false;
    if (feed->queue_may_hold && !c->passed_over) {
        c->passed_over = true;
        return false;
    }
    if (c->round_mono_ms == 0)
        begin_round(feed);
    const struct fill_range *range = fill_range(c->table);
    for (int i = 0; i < range->compare_words; i++)
        database_add_text(&p, buffer_slice(&c->after[i]).data);
    enum error e =
        database_pipeline_add(&feed->keys, c->whole ? range->statement : range->compare, &p);
    if (e == ERROR_NONE)
        e = database_sync(&feed->keys, FEED_READ_S);
    c->is_due = c->passed_over = false;
    c->sent_mono_ms = clock_mono_ms();
    difference_list_reset(&c->theirs);
    difference_list_reset(&c->found);
    become(c, COMPARE_ASKING);
    if (e != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
    return true;
}

static void set_words(struct buffer out[3], const struct slice *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_reset(&out[i]);
        buffer_add(&out[i], words[i]);
        buffer_add_char(&out[i], '\0');
    }
}

static void take_rows(struct compare *c, const PGresult *result)
{
    const struct fill_range *range = fill_range(c->table);
    int limit = c->whole ? FILL_ROWS : COMPARE_ROWS;
    int rows = fill_range_rows(range, result, limit);
    c->whole = !c->whole && fill_range_cuts(range, result, limit);
    c->range = (struct difference_range){ .table = range->table, .to_end = rows == 0 };
    c->upto = c->from;
    for (int row = 0; row < rows; row += c->record.rows) {
        enum rows_outcome outcome = fill_range_read(range, result, row, &c->record);
        if (outcome == ROWS_PRESENT)
            difference_list_add(&c->theirs, range->table, record_key_slice(&c->record.key),
                                buffer_slice(&c->record.value));
        c->theirs.bytes.failed |= c->record.value.failed;
        /* A key that the store can't hold is no place in it: the range ends before it there. */
        if (outcome == ROWS_SKIP)
            continue;
        struct slice place = range_place(range->table, record_key_slice(&c->record.key));
        record_key_start(&c->upto);
        record_key_add(&c->upto, place);
    }
    if (rows > 0)
        set_words(c->next, c->record.words, (size_t)range->compare_words);
    difference_list_sort(&c->theirs);
}

static enum error find(struct feed *feed)
{
    struct compare *c = &feed->compare;
    struct store_writer writer;
    for (int i = 0; i < 3; i++)
        if (c->next[i].failed || c->after[i].failed)
            return ERROR_MEMORY;
    if (difference_list_failed(&c->theirs))
        return ERROR_MEMORY;
    c->range.after = record_key_slice(&c->from);
    c->range.upto = record_key_slice(&c->upto);
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    e = difference_find(&writer, &c->range, &c->theirs, COMPARE_MOST, &c->found, &c->cut);
    store_abort(&writer);
    return e;
}

/* Where the range ended: the next begins there. */
static void move_on(struct compare *c)
{
    struct slice words[3];
    if (c->cut) {
        struct slice last = difference_list_at(&c->found, COMPARE_MOST - 1).key;
        size_t count = range_words(c->range.table, last, words);
        record_key_start(&c->from);
        record_key_add(&c->from, range_place(c->range.table, last));
        set_words(c->after, words, count);
    } else if (c->range.to_end) {
        begin_table(c, c->table + 1);
    } else {
        c->from = c->upto;
        for (int i = 0; i < fill_range(c->table)->compare_words; i++) {
            buffer_reset(&c->after[i]);
            buffer_add(&c->after[i], buffer_slice(&c->next[i]));
        }
    }
}

static void end_round(struct feed *feed)
{
    struct compare *c = &feed->compare;
    uint64_t now_mono_ms = clock_mono_ms();
    log_write(c->named > 0 ? LOG_WARNING : LOG_DEBUG, "compare-round",
              "%llu keys went round the log, %llu s", (unsigned long long)c->named,
              (unsigned long long)(now_mono_ms - c->round_mono_ms) / 1000);
    atomic_fetch_add(&feed->statistics.compare_rounds, 1);
    atomic_store(&feed->statistics.compare_round_mono_ms, now_mono_ms);
    c->round_mono_ms = 0;
}

/* Both sides are the same, or what differs is named. */
static void end_range(struct feed *feed)
{
    struct compare *c = &feed->compare;
    uint64_t now_mono_ms = clock_mono_ms();
    double took_s = (double)(now_mono_ms - c->sent_mono_ms) / 1000.;
    /* By the round's clock, so that what one range was late the next ones make up for. */
    double pause_s =
        (double)++c->done * c->pause_s - (double)(now_mono_ms - c->round_mono_ms) / 1000.;
    atomic_fetch_add(&feed->statistics.compare_ranges, 1);
    move_on(c);
    /* Never more than half of the connection's time; what went round in masses is not waited for.
     */
    if (pause_s < took_s || c->cut)
        pause_s = took_s;
    if (c->table == FILL_DONE)
        end_round(feed);
    become(c, COMPARE_RESTING);
    rest(feed, pause_s);
}

void compare_result(struct feed *feed, const PGresult *result)
{
    struct compare *c = &feed->compare;
    if (result == NULL)
        return;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        take_rows(c, result);
        return;
    }
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
        return;
    if (c->whole) { /* only now it is known that it must be */
        become(c, COMPARE_RESTING);
        c->is_due = true;
        feed_work(feed);
        return;
    }
    enum error e = find(feed);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "compare");
        return;
    }
    if (difference_list_count(&c->found) == 0) {
        end_range(feed);
    } else {
        become(c, COMPARE_POLLING);
        poll_send(feed);
    }
    feed_work(feed);
}

void compare_polled(struct feed *feed)
{
    if (feed->compare.state != COMPARE_POLLING)
        return;
    become(&feed->compare, COMPARE_APPLYING);
    feed->compare.through = feed_number(feed);
}

static void report(struct feed *feed, const struct key *key)
{
    struct log_line line;
    if (++feed->compare.named > COMPARE_SHOWN)
        return;
    char kind[2] = { (char)key->kind, '\0' };
    log_begin(&line, LOG_WARNING, "compare-difference");
    log_word(&line, "kind", kind);
    log_text(&line, "key", key->words[0]);
    log_text(&line, "cn", key->words[1]);
    log_end(&line);
}

/* A key that the feed has changed since the range was read was on its way. */
static enum error name(struct feed *feed, struct store_writer *writer, size_t *count)
{
    struct compare *c = &feed->compare;
    struct slice last_aor = SLICE("");
    for (size_t i = 0; i < difference_list_count(&c->found); i++) {
        struct difference_record r = difference_list_at(&c->found, i);
        struct key key;
        bool stands;
        enum error e = difference_stands(writer, c->range.table, &r, &stands);
        if (e != ERROR_NONE)
            return e;
        if (!stands || !range_key(c->range.table, r.key, &key))
            continue;
        if (key.kind == KEY_BINDING) {
            if (slice_equal(key.words[0], last_aor))
                continue;
            last_aor = key.words[0];
        }
        key.number = feed->meta.queue_next++;
        key.large = true; /* nothing that was logged waits for it */
        if (key_queue_put(writer, &key) != ERROR_NONE)
            continue;
        report(feed, &key);
        ++*count;
    }
    return ERROR_NONE;
}

static bool still_waits(struct feed *feed, struct store_writer *writer)
{
    bool holds = true;
    return feed->queue_may_hold &&
           (key_queue_holds(writer, feed->compare.through, &holds) != ERROR_NONE || holds);
}

void compare_settle(struct feed *feed)
{
    struct compare *c = &feed->compare;
    struct store_writer writer;
    size_t count = 0;
    if (c->state != COMPARE_APPLYING || feed->store == NULL ||
        store_begin(feed->store, &writer) != ERROR_NONE)
        return;
    if (still_waits(feed, &writer)) {
        store_abort(&writer);
        return;
    }
    enum error e = name(feed, &writer, &count);
    if (e == ERROR_NONE && count > 0) {
        meta_write(&writer, &feed->meta);
        e = store_commit(&writer);
    } else {
        store_abort(&writer);
    }
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "compare");
        return;
    }
    if (count > 0)
        kill_point("compare-named");
    feed->queue_may_hold |= count > 0;
    atomic_fetch_add(&feed->statistics.keys_waiting, count);
    atomic_fetch_add(&feed->statistics.compare_named, count);
    end_range(feed);
}

void compare_init(struct feed *feed)
{
    struct compare *c = &feed->compare;
    for (int i = 0; i < 3; i++) {
        buffer_init(&c->after[i], 0);
        buffer_init(&c->next[i], 0);
    }
    difference_list_init(&c->theirs);
    difference_list_init(&c->found);
    rows_init(&c->record);
    c->record.quiet = true; /* each round would say it again */
    ev_timer_init(&c->due, on_due, 0., 0.);
    c->due.data = feed;
}

void compare_free(struct feed *feed)
{
    struct compare *c = &feed->compare;
    ev_timer_stop(feed->loop, &c->due);
    for (int i = 0; i < 3; i++) {
        buffer_free(&c->after[i]);
        buffer_free(&c->next[i]);
    }
    difference_list_free(&c->theirs);
    difference_list_free(&c->found);
    rows_free(&c->record);
}
