/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker knows of changes in the mapping data: epoch, position, and the messages of the last
 * minute. It answers one question: may something that was read at (epoch, serial) and rests on
 * these tags still be used? Pure: no I/O, time is an argument. The rules are those of
 * docs/protocol.md, "Changes".
 *
 *   floor ............................ position
 *     |  tag → serial of the newest message that names it   |
 *
 * Below the floor nothing is known, so nothing from there is used. The floor is the serial of the
 * newest message that was dropped, at first that of the subscription's first tick. A message `*` is
 * remembered by raising the floor to it. */
#ifndef HOLDLINE_AUTHORIZATION_CHANGES_H
#define HOLDLINE_AUTHORIZATION_CHANGES_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANGES_KEPT_MS  60000
#define CHANGES_KEPT_MIN 1024  /* even when older */
#define CHANGES_KEPT_MAX 65536 /* even when newer: some 6 MB a worker */

struct change;

struct changes {
    uint64_t epoch;    /* 0: not subscribed, nothing holds */
    uint64_t floor;    /* serial */
    uint64_t position; /* serial of the last message or tick that was read */
    size_t count;
    struct change *oldest; /* one a tag, by serial; utlist */
    struct change *by_tag;
};

void changes_init(struct changes *changes);
void changes_free(struct changes *changes);

/* The subscription is lost: nothing holds from here on. */
void changes_forget(struct changes *changes);

/* The first tick of a subscription or of a new epoch: a change of every key. */
void changes_begin(struct changes *changes, uint64_t epoch, uint64_t serial);

/* A later tick. ERROR_MALFORMED: of another epoch, or back in time. */
enum error changes_tick(struct changes *changes, uint64_t epoch, uint64_t serial) MUST_CHECK;

/* A message; TAG_ALL raises the floor. Without memory the floor is raised too: it can't be
 * remembered, so it counts as naming everything. ERROR_MALFORMED as above. */
enum error changes_message(struct changes *changes, uint64_t epoch, uint64_t serial, uint64_t tag,
                           uint64_t now_mono_ms) MUST_CHECK;

/* Whether something read at (epoch, serial) that rests on the tags may be used: same epoch, not
 * below the floor, no message with a higher serial names one. */
bool changes_hold(const struct changes *changes, uint64_t epoch, uint64_t serial,
                  const uint64_t *tags, size_t count);

#endif
