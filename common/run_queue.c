/* SPDX-License-Identifier: Apache-2.0 */
/* A list with back links, so that a task whose owner dies leaves it without a search. */
#include "common/run_queue.h"

void run_queue_init(struct run_queue *queue)
{
    queue->first = NULL;
    queue->end = &queue->first;
}

void run_queue_add(struct run_queue *queue, struct task *task)
{
    if (task_queued(task))
        return;
    task->next = NULL;
    task->at = queue->end;
    *queue->end = task;
    queue->end = &task->next;
}

void run_queue_remove(struct run_queue *queue, struct task *task)
{
    if (!task_queued(task))
        return;
    *task->at = task->next;
    if (task->next)
        task->next->at = task->at;
    else
        queue->end = task->at;
    task->next = NULL;
    task->at = NULL;
}

void run_queue_drain(struct run_queue *queue)
{
    while (queue->first) {
        struct task *task = queue->first;
        run_queue_remove(queue, task);
        task->run(task);
    }
}
