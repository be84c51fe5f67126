/* SPDX-License-Identifier: Apache-2.0 */
/* What worker.c and worker_news.c share. */
#ifndef HOLDLINE_PROXY_WORKER_INTERNAL_H
#define HOLDLINE_PROXY_WORKER_INTERNAL_H

#include "common/queue.h"
#include "proxy/worker.h"

#include <ev.h>
#include <pthread.h>

/* Changes that are handed to the request layer in one go; more of them in one turn count as
 * "everything". */
#define CHANGES_MAX 64
/* Words about certificates that wait to be read. */
#define WORKER_STATUS_WORDS_MAX 65536

struct worker {
    struct worker_base base;
    struct counters counters;
    struct worker_shared *shared;
    struct net *net;
    struct ask *ask;
    struct peers *peers;
    struct delivery *delivery;
    struct registrar *registrar;
    struct request_layer *requests;
    ev_timer sleep;
    ev_prepare turn_end;
    ev_check turn_begin;
    ev_async mail;
    struct timer drain, figures;
    uint64_t changes[CHANGES_MAX];
    unsigned change_count;
    struct task change_task;
    const struct config *config;              /* of the newest reload taken over; a reference */
    _Atomic(const struct config *) reloaded;  /* waits to be taken over; a reference */
    _Atomic(struct revocation_set *) revoked; /* the same */
    _Atomic(struct ticket_keys *) ticket_keys;
    _Atomic(struct staples *) staples;
    struct queue status_words;
    struct queue_batch status_batch;
    _Atomic(const struct token_keys *) token_keys; /* no reference: they outlive it */
    atomic_ullong edition; /* main's count of what it has handed over, these two included */
    atomic_bool stop_wanted;
    bool stopping, started;
    pthread_t thread;
};

/* ---- worker_news.c ---- */

/* On the worker's thread: takes over what main has handed to it since. */
void worker_take_news(struct worker *worker);
/* What nobody takes over any more. */
void worker_drop_news(struct worker *worker);

#endif
