/* SPDX-License-Identifier: Apache-2.0 */
/* Callers in a hash table, and in a list by when they called last: what has not called for a minute
 * stands in front and goes when somebody else calls. */
#include "proxy/authorization/call_rates.h"

#include "common/hash.h"
#include "common/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <utlist.h>

/* The second that has begun, and the 60 before it. */
#define SECONDS 61

struct caller_key {
    uint64_t rule_id;
    uint64_t who; /* keyed hash */
};

struct caller {
    struct caller_key key;
    uint64_t last_s; /* calls are counted up to here */
    uint32_t calls[SECONDS];
    struct caller *next, *prev;
    UT_hash_handle hh;
};

struct call_rates {
    pthread_mutex_t mutex;
    struct caller *by_key;
    struct caller *oldest; /* list, by last_s */
    size_t count, max;
};

struct call_rates *call_rates_new(size_t max)
{
    struct call_rates *rates = mem_zero(1, sizeof *rates);

    if (!rates)
        return NULL;
    if (pthread_mutex_init(&rates->mutex, NULL) != 0) {
        mem_free(rates);
        return NULL;
    }
    rates->max = max;
    return rates;
}

static void forget(struct call_rates *rates, struct caller *caller)
{
    HASH_DEL(rates->by_key, caller);
    DL_DELETE(rates->oldest, caller);
    rates->count--;
    mem_free(caller);
}

void call_rates_free(struct call_rates *rates)
{
    if (!rates)
        return;
    while (rates->oldest)
        forget(rates, rates->oldest);
    pthread_mutex_destroy(&rates->mutex);
    mem_free(rates);
}

static struct caller *add(struct call_rates *rates, const struct caller_key *key, uint64_t now_s)
{
    struct caller *caller;

    if (rates->count >= rates->max || !(caller = mem_zero(1, sizeof *caller)))
        return NULL;
    caller->key = *key;
    caller->last_s = now_s;
    HASH_ADD(hh, rates->by_key, key, sizeof caller->key, caller);
    if (!caller->hh.tbl) {
        mem_free(caller);
        return NULL;
    }
    DL_APPEND(rates->oldest, caller);
    rates->count++;
    return caller;
}

/* Forgets the calls of seconds that are over. A clock that is behind changes nothing. */
static void advance(struct call_rates *rates, struct caller *caller, uint64_t now_s)
{
    if (now_s <= caller->last_s)
        return;
    if (now_s - caller->last_s >= SECONDS)
        memset(caller->calls, 0, sizeof caller->calls);
    else
        for (uint64_t s = caller->last_s + 1; s <= now_s; s++)
            caller->calls[s % SECONDS] = 0;
    caller->last_s = now_s;
    DL_DELETE(rates->oldest, caller);
    DL_APPEND(rates->oldest, caller);
}

static uint64_t sum(const struct caller *caller)
{
    uint64_t calls = 0;

    for (unsigned i = 0; i < SECONDS; i++)
        calls += caller->calls[i];
    return calls;
}

static enum call_rate take(struct call_rates *rates, const struct caller_key *key,
                           uint32_t per_minute, uint64_t now_s)
{
    struct caller *caller;

    while (rates->oldest && now_s >= rates->oldest->last_s + SECONDS)
        forget(rates, rates->oldest);
    HASH_FIND(hh, rates->by_key, key, sizeof *key, caller);
    if (!caller && !(caller = add(rates, key, now_s)))
        return CALL_RATE_NONE;
    advance(rates, caller, now_s);
    if (sum(caller) >= per_minute)
        return CALL_RATE_OVER;
    caller->calls[caller->last_s % SECONDS]++;
    return CALL_RATE_COUNTED;
}

enum call_rate call_rates_take(struct call_rates *rates, uint64_t rule_id, struct slice who,
                               uint32_t per_minute, uint64_t now_mono_ms)
{
    struct caller_key key;
    enum call_rate rate;

    if (!rates)
        return CALL_RATE_NONE;
    memset(&key, 0, sizeof key);
    key.rule_id = rule_id;
    key.who = hash_bytes(who.data, who.size);
    pthread_mutex_lock(&rates->mutex);
    rate = take(rates, &key, per_minute, now_mono_ms / 1000);
    pthread_mutex_unlock(&rates->mutex);
    return rate;
}
