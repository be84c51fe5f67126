/* SPDX-License-Identifier: Apache-2.0 */
/* A FIFO of things to do before the loop sleeps, for one thread: events raised while another event is handled go here,
 * so that no handler is entered twice. A task is embedded in its owner and can be queued once at a time. */
#ifndef HOLDLINE_COMMON_RUN_QUEUE_H
#define HOLDLINE_COMMON_RUN_QUEUE_H

#include <stdbool.h>

struct task {
    struct task *next, **at;            /* at == NULL: not queued */
    void (*run)(struct task *task);     /* called with the task no longer queued */
};

struct run_queue {
    struct task *first, **last;
};

void run_queue_init(struct run_queue *queue);
void run_queue_add(struct run_queue *queue, struct task *task);      /* harmless when queued already */
void run_queue_remove(struct run_queue *queue, struct task *task);   /* harmless when not queued */
/* Runs tasks until none is left, also those added meanwhile. */
void run_queue_drain(struct run_queue *queue);
static inline bool task_queued(const struct task *task)
{
    return task->at != 0;
}

#endif
