/* SPDX-License-Identifier: Apache-2.0 */
/* A FIFO of things to do before the loop sleeps, for one thread: events raised while another event
 * is handled go here, so that no handler is entered twice. A task is embedded in its owner, zeroed
 * but for `run`, and can be queued once at a time; it must not be queued when its owner is freed.
 */
#ifndef HOLDLINE_COMMON_RUN_QUEUE_H
#define HOLDLINE_COMMON_RUN_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct task {
    struct task *next, **at;        /* at == NULL: not queued */
    void (*run)(struct task *task); /* called with the task no longer queued; may free its owner */
};

struct run_queue { /* not to be moved: `end` may point into it */
    struct task *first, **end;
};

void run_queue_init(struct run_queue *queue);
void run_queue_add(struct run_queue *queue, struct task *task); /* harmless when queued already */
void run_queue_remove(struct run_queue *queue, struct task *task); /* harmless when not queued */
/* Runs tasks until none is left, also those added meanwhile: tasks must not feed each other
 * without end. */
void run_queue_drain(struct run_queue *queue);
static inline bool task_queued(const struct task *task)
{
    return task->at != NULL;
}

#endif
