/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded list behind a mutex; the reader swaps arrays, so the lock is held for a few stores. */
#include "common/queue.h"

#include "common/mem.h"

#include <assert.h>
#include <stdint.h>

#define CAPACITY_FIRST 16

enum error queue_init(struct queue *queue, size_t limit)
{
    *queue = (struct queue){ .limit = limit };
    return pthread_mutex_init(&queue->mutex, NULL) ? ERROR_SYSTEM : ERROR_NONE;
}

void queue_destroy(struct queue *queue)
{
    assert(queue->count == 0);
    pthread_mutex_destroy(&queue->mutex);
    mem_free(queue->items);
    queue->items = NULL;
    queue->capacity = 0;
}

static enum error append(struct queue *queue, void *item)
{
    if (queue->closed)
        return ERROR_CLOSED;
    if (queue->count >= queue->limit)
        return ERROR_TOO_LARGE;
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity ? queue->capacity * 2 : CAPACITY_FIRST;
        void **items;
        if (capacity > SIZE_MAX / sizeof(*items))
            return ERROR_MEMORY;
        items = mem_grow(queue->items, capacity * sizeof(*items));
        if (!items)
            return ERROR_MEMORY;
        queue->items = items;
        queue->capacity = capacity;
    }
    queue->items[queue->count++] = item;
    return ERROR_NONE;
}

enum error queue_put(struct queue *queue, void *item, bool *was_empty)
{
    enum error error;

    pthread_mutex_lock(&queue->mutex);
    *was_empty = queue->count == 0;
    error = append(queue, item);
    pthread_mutex_unlock(&queue->mutex);
    return error;
}

void queue_take(struct queue *queue, struct queue_batch *batch)
{
    struct queue_batch taken;

    pthread_mutex_lock(&queue->mutex);
    taken = (struct queue_batch){ queue->items, queue->count, queue->capacity };
    queue->items = batch->items;
    queue->capacity = batch->capacity;
    queue->count = 0;
    pthread_mutex_unlock(&queue->mutex);
    *batch = taken;
}

void queue_batch_free(struct queue_batch *batch)
{
    mem_free(batch->items);
    *batch = (struct queue_batch){ 0 };
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_mutex_unlock(&queue->mutex);
}
