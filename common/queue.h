/* SPDX-License-Identifier: Apache-2.0 */
/* The one way between threads: a bounded list of items behind a mutex, taken whole by its reader.
 * Any thread puts, one takes. An item owns its bytes; who takes it, frees it. */
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

/* What the reader took. Zeroed before the first queue_take(), then handed to each: its array goes
 * back to the writers, so that in the steady state nothing is allocated. */
struct queue_batch {
    void **items;
    size_t count, capacity;
};

enum error queue_init(struct queue *queue, size_t limit) MUST_CHECK;
/* Must be empty, and no other thread may still know it. */
void queue_destroy(struct queue *queue);

/* ERROR_TOO_LARGE when full, ERROR_CLOSED after queue_close(), ERROR_MEMORY; the item stays the
 * caller's then. *was_empty tells whether the reader must be woken (ev_async_send). */
enum error queue_put(struct queue *queue, void *item, bool *was_empty) MUST_CHECK;

/* Puts all waiting items, oldest first, into *batch (count 0: none); what stood in it before must
 * have been dealt with. Works on a closed queue too. */
void queue_take(struct queue *queue, struct queue_batch *batch);
void queue_batch_free(struct queue_batch *batch); /* the array, not the items */

/* Nothing can be put from here on. */
void queue_close(struct queue *queue);

#endif
