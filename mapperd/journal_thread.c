/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/journal_thread.h"

#include "common/mem.h"
#include "mapperd/kill_point.h"

#include <ev.h>
#include <pthread.h>

#define WAITING_MAX 65536
#define GROUP_MAX   1024 /* in one transaction: a group's answers wait for its end */

struct journal_thread {
    struct journal *journal;
    pthread_t thread;
    struct ev_loop *loop;
    ev_async woken, end;
    struct queue to_thread, done;
    struct queue_batch taken;
    void (*wake)(void *context);
    void *wake_context;
};

struct journal_message *journal_message_new(void)
{
    struct journal_message *m = mem_zero(1, sizeof(*m));
    if (m != NULL)
        buffer_init(&m->value, 0);
    return m;
}

void journal_message_free(struct journal_message *m)
{
    buffer_free(&m->value);
    mem_free(m);
}

static void write_group(struct journal_thread *t, struct journal_message **group, size_t count)
{
    struct journal_writer writer;
    enum error e = journal_begin(t->journal, &writer);
    for (size_t i = 0; e == ERROR_NONE && i < count; i++) {
        struct journal_message *m = group[i];
        if (m->remove)
            journal_remove(&writer, record_key_slice(&m->key), m->version);
        else
            m->outcome = journal_put(&writer, record_key_slice(&m->key), buffer_slice(&m->value),
                                     m->version);
    }
    kill_point("journal-put");
    if (e == ERROR_NONE)
        e = journal_commit(&writer);
    kill_point("journal-kept");
    for (size_t i = 0; e != ERROR_NONE && i < count; i++)
        group[i]->outcome = e;
}

static void give_back(struct journal_thread *t, struct journal_message *m)
{
    bool was_empty;
    if (queue_put(&t->done, m, &was_empty) != ERROR_NONE) {
        journal_message_free(m); /* its client's deadline answers */
        return;
    }
    if (was_empty)
        t->wake(t->wake_context);
}

static void work(struct journal_thread *t)
{
    queue_take(&t->to_thread, &t->taken);
    for (size_t from = 0; from < t->taken.count;) {
        size_t count = t->taken.count - from;
        if (count > GROUP_MAX)
            count = GROUP_MAX;
        struct journal_message **group = (struct journal_message **)t->taken.items + from;
        write_group(t, group, count);
        for (size_t i = 0; i < count; i++)
            give_back(t, group[i]);
        from += count;
    }
    t->taken.count = 0;
}

static void on_woken(struct ev_loop *loop, ev_async *w, int events)
{
    (void)loop;
    (void)events;
    work(w->data);
}

static void on_end(struct ev_loop *loop, ev_async *w, int events)
{
    (void)events;
    work(w->data);
    ev_break(loop, EVBREAK_ALL);
}

static void *run(void *argument)
{
    struct journal_thread *t = argument;
    ev_run(t->loop, 0);
    return NULL;
}

static void free_queue(struct queue *queue)
{
    struct queue_batch batch = { 0 };
    queue_close(queue);
    queue_take(queue, &batch);
    for (size_t i = 0; i < batch.count; i++)
        journal_message_free(batch.items[i]);
    queue_batch_free(&batch);
    queue_destroy(queue);
}

static void free_thread(struct journal_thread *t)
{
    free_queue(&t->to_thread);
    free_queue(&t->done);
    queue_batch_free(&t->taken);
    ev_loop_destroy(t->loop);
    mem_free(t);
}

static enum error init(struct journal_thread *t)
{
    enum error e = queue_init(&t->to_thread, WAITING_MAX);
    if (e != ERROR_NONE)
        return e;
    /* Both bounds are the feed's: it sends nothing that it has no room to take back. */
    e = queue_init(&t->done, WAITING_MAX * 2);
    if (e != ERROR_NONE)
        queue_destroy(&t->to_thread);
    return e;
}

enum error journal_thread_start(struct journal *journal, void (*wake)(void *context), void *context,
                                struct journal_thread **out)
{
    struct journal_thread *t = mem_zero(1, sizeof(*t));
    if (t == NULL)
        return ERROR_MEMORY;
    t->journal = journal;
    t->wake = wake;
    t->wake_context = context;
    t->loop = ev_loop_new(EVFLAG_AUTO);
    enum error e = t->loop != NULL ? init(t) : ERROR_MEMORY;
    if (e != ERROR_NONE) {
        if (t->loop != NULL)
            ev_loop_destroy(t->loop);
        mem_free(t);
        return e;
    }
    ev_async_init(&t->woken, on_woken);
    ev_async_init(&t->end, on_end);
    t->woken.data = t->end.data = t;
    ev_async_start(t->loop, &t->woken);
    ev_async_start(t->loop, &t->end);
    if (pthread_create(&t->thread, NULL, run, t) != 0) {
        free_thread(t);
        return ERROR_SYSTEM;
    }
    *out = t;
    return ERROR_NONE;
}

enum error journal_thread_send(struct journal_thread *t, struct journal_message *m)
{
    bool was_empty;
    enum error e = queue_put(&t->to_thread, m, &was_empty);
    if (e == ERROR_NONE && was_empty)
        ev_async_send(t->loop, &t->woken);
    return e;
}

void journal_thread_take(struct journal_thread *t, struct queue_batch *batch)
{
    queue_take(&t->done, batch);
}

void journal_thread_stop(struct journal_thread *t)
{
    if (t == NULL)
        return;
    ev_async_send(t->loop, &t->end);
    pthread_join(t->thread, NULL);
    free_thread(t);
}
