/* SPDX-License-Identifier: Apache-2.0 */
/* How many new calls a rule's `calls_per_minute` has let through in the last minute, by rule and by
 * who called. One table for all workers: a user's phones lie on several, and a right that is
 * counted by each of them would be as many rights. Under a mutex that is held for one look into a
 * hash table, by INVITEs that such a rule allows and by nothing else.
 *
 * No window of 60 s, wherever it begins, holds more calls than the rule says: seconds are counted
 * whole, so that a place is free again after 60 to 61 s. */
#ifndef HOLDLINE_AUTHORIZATION_CALL_RATES_H
#define HOLDLINE_AUTHORIZATION_CALL_RATES_H

#include "common/slice.h"

#include <stddef.h>
#include <stdint.h>

struct call_rates;

enum call_rate {
    CALL_RATE_NONE = 0, /* not counted: no table, no memory, or no room. No permission */
    CALL_RATE_COUNTED,
    CALL_RATE_OVER /* the bound is reached; not counted */
};

/* Callers of one minute that the proxy can tell apart (about 350 bytes each, taken when needed);
 * more are not let through. */
#define CALL_RATES_MAX 131072

/* Room for `max` callers. NULL without memory. */
struct call_rates *call_rates_new(size_t max);
void call_rates_free(struct call_rates *rates);

/* One more call of `who` (any text that tells callers apart) under this rule. Any thread; `rates`
 * may be NULL. now_mono_ms may be a little behind that of other threads. */
enum call_rate call_rates_take(struct call_rates *rates, uint64_t rule_id, struct slice who,
                               uint32_t per_minute, uint64_t now_mono_ms);

#endif
