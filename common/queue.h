/* SPDX-License-Identifier: Apache-2.0 */
/* The one way between threads: a bounded list of items behind a mutex, taken whole by its reader. Any thread puts, one takes.
 * An item owns its bytes; who takes it, frees it. */
#ifndef HOLDLINE_COMMON_QUEUE_H
#define HOLDLINE_COMMON_QUEUE_H

#include "common/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct queue {
    pthread_mutex_t mutex;
    void **items;
    size_t count, capacity, limit;
    bool closed;
};

enum error queue_init(struct queue *queue, size_t limit) MUST_CHECK;
void queue_destroy(struct queue *queue);   /* must be empty */

/* ERROR_TOO_LARGE when full, ERROR_CLOSED after queue_close(), ERROR_MEMORY; the item stays the caller's then.
 * *was_empty tells whether the reader must be woken (ev_async_send). */
enum error queue_put(struct queue *queue, void *item, bool *was_empty) MUST_CHECK;

/* Swaps the waiting items for `spare` (an empty array of the reader's, or NULL): *items, *count; the array is the reader's until
 * it gives it back as `spare` with the next call; free with mem_free() at the end. */
void queue_take(struct queue *queue, void ***items, size_t *count, void **spare, size_t spare_capacity,
                size_t *capacity);

void queue_close(struct queue *queue);

#endif
