/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's own writing thread: what lies in its queue becomes one group, and one wait for the
 * disk. So neither the feed nor an answer of the loop waits for it. The feed thread starts, feeds
 * and ends it. */
#ifndef HOLDLINE_MAPPERD_JOURNAL_THREAD_H
#define HOLDLINE_MAPPERD_JOURNAL_THREAD_H

#include "common/queue.h"
#include "mapperd/journal.h"

/* There and back again; owned by whoever holds it. */
struct journal_message {
    bool remove; /* take the entry of this version off; else put it */
    struct record_key key;
    struct record_version version;
    struct buffer value; /* of an entry to be put */
    struct client_reference client;
    uint64_t request;
    enum error outcome; /* ERROR_NONE: it is durable */
};

struct journal_message *journal_message_new(void) MUST_CHECK;
void journal_message_free(struct journal_message *m);

struct journal_thread;

/* `wake` is called, on the journal's thread, when its answers got their first message. */
enum error journal_thread_start(struct journal *journal, void (*wake)(void *context), void *context,
                                struct journal_thread **out) MUST_CHECK;
/* Hands over a message; messages are done in order. ERROR_TOO_LARGE: too many wait, the message
 * stays the caller's. */
enum error journal_thread_send(struct journal_thread *thread, struct journal_message *m) MUST_CHECK;
/* What has been done since, oldest first. */
void journal_thread_take(struct journal_thread *thread, struct queue_batch *batch);
/* Does what still waits, then ends. NULL is fine. */
void journal_thread_stop(struct journal_thread *thread);

#endif
