/* SPDX-License-Identifier: Apache-2.0 */
/* What ask.c and its neighbours in this folder share: the position for ground.c, the lookups
 * (lookup.c), and the registrar's writes, which have a connection of their own (write.c). */
#ifndef HOLDLINE_AUTHORIZATION_ASK_INTERNAL_H
#define HOLDLINE_AUTHORIZATION_ASK_INTERNAL_H

#include "common/log.h"
#include "proxy/authorization/ask.h"
#include "proxy/authorization/cache.h"
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
uint64_t ask_edition(const struct ask *ask); /* its worker's */

enum lookup_state { LOOKUP_NEW = 0, LOOKUP_QUEUED, LOOKUP_ASKED, LOOKUP_HELD, LOOKUP_DONE };

/* All lookups of one link; embedded in the ask. */
struct lookups {
    struct ask *ask;
    struct worker_base *base;
    struct link *link;
    struct cache cache;
    struct lookup *lists[LOOKUP_DONE + 1]; /* by state, in order */
    struct lookup *shared;                 /* uthash */
    size_t count;
    uint64_t hits, misses, outdated;
    struct timer again;
    struct task sending;
    struct log_limit log_limit;
};

void lookups_init(struct lookups *lookups, struct ask *ask, struct worker_base *base,
                  struct link *link, size_t cache_entries);
void lookups_free(struct lookups *lookups);
/* The reply to the oldest that is ASKED. False: there is none, or it can't be understood. */
bool lookups_reply(struct lookups *lookups, const struct resp_value *value) MUST_CHECK;
void lookups_link_up(struct lookups *lookups);
/* Drops the cache. Lookups whose waiters still wait go back into the queue, in their order; the
 * others are over. */
void lookups_link_lost(struct lookups *lookups);
/* The lookup whose reply was due is suspect: asked once more, then failed, so that one answer
 * beyond the limits doesn't break the link for ever. */
void lookups_garbage(struct lookups *lookups);
void lookups_release_held(struct lookups *lookups);
struct lookups *ask_lookups(struct ask *ask);

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
