/* SPDX-License-Identifier: Apache-2.0 */
/* What ask.c and its neighbours in this folder share: the position for ground.c, and the
 * registrar's writes, which have a connection of their own (write.c). */
#ifndef HOLDLINE_AUTHORIZATION_ASK_INTERNAL_H
#define HOLDLINE_AUTHORIZATION_ASK_INTERNAL_H

#include "common/log.h"
#include "proxy/authorization/ask.h"
#include "proxy/authorization/changes.h"
#include "proxy/authorization/link.h"

/* Lines a second about what mapperd refuses or garbles. */
#define ASK_LOG_BURST 5

/* NULL unless the link is UP and its last tick is younger than ASK_TICK_LOST_MS: also when this
 * worker stood still and its timers have not fired yet. And NULL beyond mapperd's staleness bound:
 * what it would not answer any more is not used from the cache either, nor written on the ground of
 * an earlier answer. */
const struct changes *ask_changes(const struct ask *ask);
uint64_t ask_now_unix_s(const struct ask *ask);

/* A write stands in the list from its start until its outcome, in order of start; those that are
 * sent stand before those that are not. */
struct writes {
    struct worker_base *base;
    struct ask *ask;
    struct link link;
    struct write *first; /* utlist */
    size_t count;
    bool ready; /* mapperd answers: the other link is UP */
    struct task sending;
    struct log_limit log_limit;
};

enum error writes_init(struct writes *writes, struct worker_base *base, struct ask *ask,
                       const char *path) MUST_CHECK;
enum error writes_start(struct writes *writes) MUST_CHECK;
void writes_stop(struct writes *writes);
void writes_set_ready(struct writes *writes, bool ready);
struct writes *ask_writes(struct ask *ask);

#endif
