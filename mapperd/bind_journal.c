/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go through the journal, and the replay of its entries. The journal's thread makes
 * them durable; its answers come back here. */
#include "common/clock.h"
#include "common/mem.h"
#include "mapperd/checksum.h"
#include "mapperd/feed_internal.h"

#include <string.h>

#define AGAIN_S           0.1  /* what a lock keeps from being written */
#define AGAIN_REFUSED_S   1.0  /* the primary takes nothing: read-only, a lacking grant */
#define DAMAGED_ENTRIES_S 60.0 /* nothing can be read: only a restart helps */

bool bind_journal_in_use(const struct feed *feed)
{
    const struct bind_journal *j = &feed->binder.journal;
    return j->under_way > 0 ||
           (atomic_load(&feed->journal.entry_count) > 0 && !atomic_load(&feed->journal.damaged));
}

/* ---- In ---- */

static void watch_stop(struct feed *feed)
{
    ev_timer_stop(feed->loop, &feed->binder.journal.due);
}

static bool send(struct feed *feed, struct journal_message *m)
{
    struct bind_journal *j = &feed->binder.journal;
    if (j->thread == NULL || journal_thread_send(j->thread, m) != ERROR_NONE)
        return false;
    j->under_way++;
    return true;
}

static struct journal_message *message_of(const struct bind_request *request, bool with_value)
{
    struct journal_message *m = journal_message_new();
    if (m == NULL)
        return NULL;
    struct journal_entry entry = { request->message->bind, request->message->binding };
    entry.binding.version = request->version;
    journal_entry_key(&m->key, &entry);
    m->version = request->version;
    if (with_value)
        journal_entry_write(&m->value, &entry);
    if (m->key.failed || m->value.failed) {
        journal_message_free(m);
        return NULL;
    }
    return m;
}

void bind_journal_put(struct feed *feed, struct bind_request *request)
{
    /* Without a number of its own its versions could be those of another mapperd. */
    if (request->journalled || request->version.by == 0)
        return;
    struct journal_message *m = message_of(request, true);
    if (m == NULL)
        return;
    m->client = request->message->client;
    m->request = request->message->request;
    request->journalled = send(feed, m);
    if (!request->journalled)
        journal_message_free(m);
}

void bind_journal_put_all(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_request *request;
    watch_stop(feed);
    for (request = b->batch.sent.first; request != NULL; request = request->next)
        bind_journal_put(feed, request);
    while ((request = bind_list_take(&b->waiting)) != NULL) {
        request->version = binder_next_version(feed);
        bind_journal_put(feed, request);
        binder_answer(feed, request, BIND_UNCONFIRMED);
    }
}

void bind_journal_remove(struct feed *feed, const struct bind_request *request)
{
    struct journal_message *m = request->journalled ? message_of(request, false) : NULL;
    if (m == NULL)
        return; /* it stays and is replayed again, which changes nothing */
    m->remove = true;
    if (!send(feed, m))
        journal_message_free(m);
}

static void take_back(struct feed *feed, struct journal_message *m)
{
    if (m->remove)
        return;
    if (m->outcome == ERROR_NONE) {
        atomic_fetch_add(&feed->statistics.journalled, 1);
        binder_tell(feed, m->client, m->request, BIND_DONE, NULL);
    } else {
        if (m->outcome == ERROR_TOO_LARGE &&
            log_limit_pass(&feed->binder.journal.full, 1, clock_mono_ms()))
            log_write(LOG_ERROR, "journal-full", "raise journal_max_mb, or bring the primary back");
        atomic_fetch_add(&feed->statistics.unconfirmed, 1);
        binder_tell(feed, m->client, m->request, BIND_UNCONFIRMED, NULL);
    }
}

static void on_done(struct ev_loop *loop, ev_async *w, int events)
{
    struct feed *feed = w->data;
    struct bind_journal *j = &feed->binder.journal;
    (void)loop;
    (void)events;
    journal_thread_take(j->thread, &j->taken);
    for (size_t i = 0; i < j->taken.count; i++) {
        take_back(feed, j->taken.items[i]);
        journal_message_free(j->taken.items[i]);
    }
    j->under_way -= j->taken.count;
    j->taken.count = 0;
    binder_work(feed);
}

static void wake(void *context)
{
    struct feed *feed = context;
    ev_async_send(feed->loop, &feed->binder.journal.done);
}

/* ---- The time that the primary has ---- */

static const struct bind_request *oldest(const struct feed *feed)
{
    const struct binder *b = &feed->binder;
    for (const struct bind_request *r = b->batch.sent.first; r != NULL; r = r->next)
        if (!r->journalled)
            return r;
    return b->waiting.first;
}

void bind_journal_watch_due(struct feed *feed)
{
    struct bind_journal *j = &feed->binder.journal;
    const struct bind_request *request = oldest(feed);
    uint64_t now_mono_ms = clock_mono_ms();
    if (request == NULL) {
        watch_stop(feed);
        return;
    }
    if (ev_is_active(&j->due))
        return; /* for one that came before */
    uint64_t due_mono_ms = request->message->due_mono_ms;
    double wait_s = due_mono_ms > now_mono_ms ? (double)(due_mono_ms - now_mono_ms) / 1000. : 0.;
    ev_timer_set(&j->due, wait_s, 0.);
    ev_timer_start(feed->loop, &j->due);
}

static void on_due(struct ev_loop *loop, ev_timer *w, int events)
{
    struct feed *feed = w->data;
    const struct bind_request *request = oldest(feed);
    (void)loop;
    (void)events;
    if (request == NULL)
        return;
    if (request->message->due_mono_ms <= clock_mono_ms())
        bind_journal_put_all(feed);
    else
        bind_journal_watch_due(feed);
}

/* ---- The replay ---- */

void bind_journal_restart(struct feed *feed)
{
    struct bind_journal *j = &feed->binder.journal;
    j->through = (struct record_version){ 0, 0 };
    j->held_count = 0;
    j->round_ended = false;
    ev_timer_stop(feed->loop, &j->again);
}

static void end_round(struct feed *feed, double wait_s)
{
    struct bind_journal *j = &feed->binder.journal;
    j->round_ended = true;
    if (ev_is_active(&j->again))
        return;
    ev_timer_set(&j->again, wait_s, 0.);
    ev_timer_start(feed->loop, &j->again);
}

static void on_again(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    bind_journal_restart(w->data);
    binder_work(w->data);
}

static uint64_t hash_of(struct slice aor)
{
    return checksum_mix(0, aor.data, aor.size);
}

static bool is_held(const struct bind_journal *j, struct slice aor)
{
    uint64_t hash = hash_of(aor);
    for (size_t i = 0; i < j->held_count; i++)
        if (j->held[i] == hash)
            return true;
    return false;
}

void bind_journal_hold(struct feed *feed, const struct bind_request *request)
{
    struct bind_journal *j = &feed->binder.journal;
    if (!request->locked || j->held_count == BIND_HELD_MAX)
        end_round(feed, request->locked ? AGAIN_S : AGAIN_REFUSED_S);
    else if (!is_held(j, request->message->binding.aor))
        j->held[j->held_count++] = hash_of(request->message->binding.aor);
}

static struct slice copy_of(struct buffer *text, struct slice s)
{
    size_t at = buffer_size(text);
    buffer_add(text, s);
    buffer_add_char(text, '\0');
    return (struct slice){ buffer_slice(text).data + at, s.size };
}

/* A request as the loop would have sent it; NULL without memory. */
static struct bind_request *request_of(const struct journal_entry *entry, size_t size)
{
    struct bind_request *request = mem_zero(1, sizeof(*request));
    struct loop_message *m = request != NULL ? loop_message_new(LOOP_BIND) : NULL;
    if (m == NULL) {
        mem_free(request);
        return NULL;
    }
    struct record_binding *b = &m->binding;
    request->message = m;
    request->journalled = true;
    request->version = entry->binding.version;
    m->bind = entry->kind;
    *b = entry->binding;
    struct slice *const texts[] = {
        &b->aor,      &b->device_key, &b->instance_key, &b->store, &b->cn,   &b->entry,
        &b->instance, &b->contact,    &b->call_id,      &b->flow,  &b->path, &b->registered_by
    };
    const size_t count = sizeof(texts) / sizeof(texts[0]);
    /* All at once, so that nothing moves. */
    bool room = buffer_reserve(&m->text, size + count) != NULL;
    for (size_t i = 0; room && i < count; i++)
        *texts[i] = copy_of(&m->text, *texts[i]);
    if (!room || m->text.failed) {
        loop_message_free(m);
        mem_free(request);
        return NULL;
    }
    return request;
}

/* A removal of many takes what stands there at that moment and leaves nothing for what comes later:
 * a BIND before it, which a lock may keep from being written, must be there first. */
static bool overtakes(struct journal_reader *reader, const struct journal_entry *entry)
{
    struct journal_walk walk;
    struct slice value;
    struct record_binding b;
    bool before = false;
    if (entry->kind != BIND_REMOVE_ALL && entry->kind != BIND_REMOVE_DEVICE)
        return false;
    journal_walk_start(reader, entry->binding.aor, &walk);
    while (!before && journal_walk_next(&walk, &value))
        before = record_binding_read(value, &b) == ERROR_NONE &&
                 record_version_compare(b.version, entry->binding.version) < 0;
    journal_walk_end(&walk);
    return before;
}

bool bind_journal_fill_batch(struct feed *feed)
{
    struct binder *b = &feed->binder;
    struct bind_journal *j = &b->journal;
    struct journal_entry entry;
    struct slice value;
    if (feed->store == NULL || j->round_ended || !journal_reader_renew(&j->reader))
        return false;
    b->batch.replay = true;
    while (b->batch.sent.count < BIND_BATCH && journal_next(&j->reader, j->through, &value)) {
        if (journal_entry_read(value, &entry) != ERROR_NONE)
            break; /* it was read before */
        if (!is_held(j, entry.binding.aor)) {
            if (overtakes(&j->reader, &entry))
                break; /* until that has left the journal, or a lock holds both */
            struct bind_request *request = request_of(&entry, value.size);
            if (request == NULL)
                break;
            bind_list_add(&b->batch.sent, request);
        }
        j->through = entry.binding.version;
    }
    journal_reader_rest(&j->reader);
    if (b->batch.sent.count == 0 && j->under_way == 0)
        end_round(feed, atomic_load(&feed->journal.damaged) ? DAMAGED_ENTRIES_S : AGAIN_S);
    return b->batch.sent.count > 0;
}

/* ---- Life ---- */

void bind_journal_init(struct feed *feed)
{
    struct bind_journal *j = &feed->binder.journal;
    ev_async_init(&j->done, on_done);
    ev_timer_init(&j->again, on_again, 0., 0.);
    ev_timer_init(&j->due, on_due, 0., 0.);
    j->done.data = j->again.data = j->due.data = feed;
    ev_async_start(feed->loop, &j->done);
    /* Versions must go on above those that wait here. */
    if (feed->journal.highest_unix_ms > feed->meta.version_seen_ms)
        feed->meta.version_seen_ms = feed->journal.highest_unix_ms;
    if (journal_reader_open(&feed->journal, &j->reader) != ERROR_NONE ||
        journal_thread_start(&feed->journal, wake, feed, &j->thread) != ERROR_NONE)
        log_write(LOG_ERROR, "journal-failed",
                  "bindings that the primary does not confirm are refused until a restart");
}

void bind_journal_free(struct feed *feed)
{
    struct bind_journal *j = &feed->binder.journal;
    ev_timer_stop(feed->loop, &j->again);
    ev_timer_stop(feed->loop, &j->due);
    ev_async_stop(feed->loop, &j->done);
    journal_thread_stop(j->thread);
    j->thread = NULL;
    journal_reader_close(&j->reader);
    queue_batch_free(&j->taken);
}
