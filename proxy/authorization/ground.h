/* SPDX-License-Identifier: Apache-2.0 */
/* What a decision rests on: the position of the worker that made it, the tags of the answers it
 * used, and how many reloads and revocations that worker acted on (worker_base.h). Copied by
 * assignment, also into mail to another worker, which asks there once more when the request is
 * written: that is the moment when a decision counts. All zero holds never. */
#ifndef HOLDLINE_AUTHORIZATION_GROUND_H
#define HOLDLINE_AUTHORIZATION_GROUND_H

#include <stdbool.h>
#include <stdint.h>

struct answer;
struct ask;

/* More tags than this (a user in very many groups, a callee with very many bindings): any message
 * at all is taken to name the ground. */
#define GROUND_TAGS_MAX 48

struct ground {
    uint64_t epoch;
    uint64_t serial;      /* everything up to here was taken into account */
    uint64_t edition;     /* reloads and revocations up to here, too */
    uint64_t edge_unix_s; /* a validity window could change the decision here */
    bool any;             /* its tags did not fit: every message names it */
    uint32_t count;
    uint64_t tags[GROUND_TAGS_MAX];
};

/* Begins with the position of `ask`, without tags. Every answer that is added must hold at this
 * moment (lookup_holds()). When the link is not UP the ground holds never. */
void ground_begin(struct ground *ground, const struct ask *ask);
void ground_add(struct ground *ground, const struct answer *answer);

/* On the worker that writes: whether the decision may still be used. False too while that worker's
 * link is not UP. */
bool ground_holds(const struct ground *ground, const struct ask *ask);

/* Whether a message with this tag (TAG_ALL: all) names it, whatever its serial. */
bool ground_named_by(const struct ground *ground, uint64_t tag);

#endif
