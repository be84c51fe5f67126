/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to mapperd: the cache before them, who waits for them, the bytes that ask, and what a
 * reply means. The table of a lookup's states is in ask.h. */
#include "common/hash.h"
#include "proxy/authorization/ask_internal.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <utlist.h>

#define HELD_MS 100

struct lookup {
    enum lookup_state state;
    bool outdated; /* once already since the last tick */
    bool garbled;  /* once already: what came for it broke the connection */
    bool shared;   /* in the table: others may join */
    struct lookup_waiter *waiters;
    struct lookup *prev, *next; /* in the list of its state */
    UT_hash_handle hh;
    size_t key_size;
    char key[]; /* kind octet, then the key; see cache.h */
};

/* ---- State of a lookup ---- */

static const bool lookup_allowed[][LOOKUP_DONE + 1] = {
    [LOOKUP_NEW] = { [LOOKUP_QUEUED] = true },
    [LOOKUP_QUEUED] = { [LOOKUP_ASKED] = true, [LOOKUP_DONE] = true },
    [LOOKUP_ASKED] = { [LOOKUP_QUEUED] = true, [LOOKUP_HELD] = true, [LOOKUP_DONE] = true },
    [LOOKUP_HELD] = { [LOOKUP_QUEUED] = true, [LOOKUP_DONE] = true },
};

static void stop_sharing(struct lookups *lookups, struct lookup *lookup)
{
    if (lookup->shared)
        HASH_DELETE(hh, lookups->shared, lookup);
    lookup->shared = false;
}

/* Alone writes the state and moves between the lists. DONE frees it. */
static void lookup_become(struct lookups *lookups, struct lookup *lookup, enum lookup_state state)
{
    assert(lookup_allowed[lookup->state][state]);
    if (lookup->state != LOOKUP_NEW)
        DL_DELETE(lookups->lists[lookup->state], lookup);
    lookup->state = state;
    if (state == LOOKUP_DONE) {
        assert(!lookup->waiters);
        stop_sharing(lookups, lookup);
        lookups->count--;
        mem_free(lookup);
        return;
    }
    DL_APPEND(lookups->lists[state], lookup);
    if (state == LOOKUP_ASKED && lookup->key[0] == LOOKUP_LOCATE)
        stop_sharing(lookups, lookup); /* a binding written from now on must be seen */
    if (state == LOOKUP_QUEUED)
        run_queue_add(&lookups->base->run_queue, &lookups->sending);
}

static enum lookup_kind kind_of(const struct lookup *lookup)
{
    return (enum lookup_kind)lookup->key[0];
}

static struct slice key_of(const struct lookup *lookup)
{
    return (struct slice){ lookup->key + 1, lookup->key_size - 1 };
}

/* ---- Waiters ---- */

/* Wakes all that wait, in order of arrival, with the answer or a reason. */
static void wake(struct lookups *lookups, struct lookup *lookup, struct answer *answer,
                 enum reason reason)
{
    struct lookup_waiter *waiter;

    while ((waiter = lookup->waiters)) {
        DL_DELETE(lookup->waiters, waiter);
        waiter->lookup = NULL;
        waiter->answer = answer ? answer_hold(answer) : NULL;
        waiter->reason = answer ? REASON_NONE : reason;
        run_queue_add(&lookups->base->run_queue, &waiter->task);
    }
}

static struct lookup *make_lookup(struct lookups *lookups, enum lookup_kind kind, struct slice key)
{
    struct lookup *lookup;

    if (lookups->count >= ASK_LOOKUPS_MAX)
        return NULL;
    lookup = mem_zero(1, sizeof *lookup + 1 + key.size);
    if (!lookup)
        return NULL;
    lookup->key_size = 1 + key.size;
    lookup->key[0] = (char)kind;
    memcpy(lookup->key + 1, key.data, key.size);
    HASH_ADD(hh, lookups->shared, key, (unsigned)lookup->key_size, lookup);
    if (!lookup->hh.tbl) {
        mem_free(lookup);
        return NULL;
    }
    lookup->shared = true;
    lookups->count++;
    lookup_become(lookups, lookup, LOOKUP_QUEUED);
    return lookup;
}

static struct lookup *find_shared(const struct lookups *lookups, enum lookup_kind kind,
                                  struct slice key)
{
    char text[1 + LOOKUP_KEY_MAX];
    struct lookup *lookup;

    text[0] = (char)kind;
    memcpy(text + 1, key.data, key.size);
    HASH_FIND(hh, lookups->shared, text, 1 + key.size, lookup);
    return lookup;
}

/* From the cache, else joins or begins a lookup. The waiter's answer and lookup are empty. */
static enum lookup_outcome begin(struct lookups *lookups, struct lookup_waiter *waiter,
                                 enum lookup_kind kind, struct slice key)
{
    struct lookup *lookup;

    waiter->reason = REASON_NONE;
    if (kind != LOOKUP_LOCATE && ask_changes(lookups->ask)) {
        waiter->answer = cache_get(&lookups->cache, kind, key, lookups->base->now_unix_s);
        if (waiter->answer) {
            lookups->hits++;
            return LOOKUP_READY;
        }
    }
    lookups->misses++;
    lookup = find_shared(lookups, kind, key);
    if (!lookup)
        lookup = make_lookup(lookups, kind, key);
    if (!lookup)
        return LOOKUP_FULL;
    waiter->lookup = lookup;
    DL_APPEND(lookup->waiters, waiter);
    return LOOKUP_WAITING;
}

/* What came may have been outdated while the waiter stood in the run queue: then again. */
static void waiter_run(struct task *task)
{
    struct lookup_waiter *waiter =
        (struct lookup_waiter *)((char *)task - offsetof(struct lookup_waiter, task));
    struct answer *answer = waiter->answer;

    if (answer && !lookup_holds(waiter->ask, answer)) {
        enum lookup_outcome outcome;

        waiter->answer = NULL;
        outcome = begin(ask_lookups(waiter->ask), waiter, answer->kind, answer->key);
        answer_release(answer);
        if (outcome == LOOKUP_WAITING)
            return;
        if (outcome == LOOKUP_FULL)
            waiter->reason = REASON_PARK_BOUND_TOTAL;
    }
    waiter->done(waiter);
}

static enum lookup_outcome start(struct ask *ask, struct lookup_waiter *waiter,
                                 enum lookup_kind kind, struct slice key)
{
    enum lookup_outcome outcome;

    assert(!waiter->ask && !waiter->answer && !lookup_waiting(waiter));
    waiter->task.run = waiter_run;
    outcome = begin(ask_lookups(ask), waiter, kind, key);
    waiter->ask = outcome == LOOKUP_FULL ? NULL : ask;
    return outcome;
}

enum lookup_outcome lookup_peer(struct ask *ask, struct lookup_waiter *waiter, struct slice store,
                                struct slice chain, struct slice cn)
{
    char key[LOOKUP_KEY_MAX];
    size_t size = store.size;

    if (store.size > STORE_NAME_MAX || chain.size > PEER_CHAIN_TEXT_MAX || cn.size > CN_MAX_OCTETS)
        return LOOKUP_FULL;
    memcpy(key, store.data, store.size);
    if (chain.size)
        memcpy(key + size, chain.data, chain.size);
    size += chain.size;
    key[size++] = ' ';
    if (cn.size)
        memcpy(key + size, cn.data, cn.size);
    return start(ask, waiter, LOOKUP_PEER, (struct slice){ key, size + cn.size });
}

enum lookup_outcome lookup_rights(struct ask *ask, struct lookup_waiter *waiter,
                                  struct slice identity)
{
    if (identity.size > IDENTITY_MAX)
        return LOOKUP_FULL;
    return start(ask, waiter, LOOKUP_RIGHTS, identity);
}

enum lookup_outcome lookup_locate(struct ask *ask, struct lookup_waiter *waiter,
                                  struct slice identity)
{
    if (identity.size > IDENTITY_MAX)
        return LOOKUP_FULL;
    return start(ask, waiter, LOOKUP_LOCATE, identity);
}

enum lookup_outcome lookup_credential(struct ask *ask, struct lookup_waiter *waiter,
                                      struct slice identity)
{
    if (identity.size > IDENTITY_MAX)
        return LOOKUP_FULL;
    return start(ask, waiter, LOOKUP_CREDENTIAL, identity);
}

void lookup_leave(struct lookup_waiter *waiter)
{
    struct lookup *lookup = waiter->lookup;
    struct lookups *lookups;

    if (!waiter->ask)
        return;
    lookups = ask_lookups(waiter->ask);
    if (lookup) {
        DL_DELETE(lookup->waiters, waiter);
        if (!lookup->waiters && lookup->state != LOOKUP_ASKED)
            lookup_become(lookups, lookup, LOOKUP_DONE);
    }
    run_queue_remove(&lookups->base->run_queue, &waiter->task);
    answer_release(waiter->answer);
    waiter->answer = NULL;
    waiter->lookup = NULL;
    waiter->ask = NULL;
    waiter->reason = REASON_NONE;
}

/* ---- Sending ---- */

static void write_of_identity(struct buffer *out, const char *command, struct slice key)
{
    resp_add_array(out, 2);
    resp_add_bulk_text(out, command);
    resp_add_bulk(out, key);
}

/* PEER store cn sha256… */
static void write_peer(struct buffer *out, struct slice key)
{
    const char *space = memchr(key.data, ' ', key.size);
    struct slice rest = { key.data, (size_t)(space - key.data) }, chain, store, certificate;
    size_t count = 0;

    answer_peer_word(&rest, &store);
    for (chain = rest; answer_peer_word(&chain, &certificate);)
        count++;
    resp_add_array(out, 3 + count);
    resp_add_bulk_text(out, "PEER");
    resp_add_bulk(out, store);
    resp_add_bulk(out, (struct slice){ space + 1, (size_t)(key.data + key.size - space - 1) });
    while (answer_peer_word(&rest, &certificate))
        resp_add_bulk(out, certificate);
}

static void write_question(struct buffer *out, const struct lookup *lookup)
{
    struct slice key = key_of(lookup);

    switch (kind_of(lookup)) {
    case LOOKUP_NONE:
        break;
    case LOOKUP_PEER:
        write_peer(out, key);
        break;
    case LOOKUP_RIGHTS:
        write_of_identity(out, "RIGHTS", key);
        break;
    case LOOKUP_LOCATE:
        write_of_identity(out, "LOCATE", key);
        break;
    case LOOKUP_CREDENTIAL:
        write_of_identity(out, "CREDENTIAL", key);
        break;
    }
}

/* All that are queued, at the end of the turn, in one write. */
static void send_all(struct task *task)
{
    struct lookups *lookups = (struct lookups *)((char *)task - offsetof(struct lookups, sending));
    struct lookup *lookup;

    if (ask_state(lookups->ask) != ASK_UP || !lookups->lists[LOOKUP_QUEUED])
        return;
    while ((lookup = lookups->lists[LOOKUP_QUEUED])) {
        write_question(link_output(lookups->link), lookup);
        lookup_become(lookups, lookup, LOOKUP_ASKED);
    }
    link_flush(lookups->link);
}

/* ---- Replies ---- */

/* Asked once more at once; if that is no use either, at the next tick. */
static void again_later(struct lookups *lookups, struct lookup *lookup)
{
    lookups->outdated++;
    if (!lookup->waiters) {
        lookup_become(lookups, lookup, LOOKUP_DONE);
        return;
    }
    if (!lookup->outdated) {
        lookup->outdated = true;
        lookup_become(lookups, lookup, LOOKUP_QUEUED);
        return;
    }
    lookup_become(lookups, lookup, LOOKUP_HELD);
    if (!timer_active(&lookups->again)) {
        enum error error = timer_start(&lookups->base->timers, &lookups->again,
                                       lookups->base->now_mono_ms + HELD_MS);

        (void)error; /* without memory the next tick does it */
    }
}

static void fail(struct lookups *lookups, struct lookup *lookup, enum reason reason,
                 struct slice detail)
{
    struct log_line line;

    if (log_limit_pass(&lookups->log_limit, ASK_LOG_BURST, lookups->base->now_mono_ms)) {
        log_begin(&line, LOG_ERROR, "mapperd-refused");
        log_word(&line, "reason", reason_name(reason));
        log_text(&line, "key", key_of(lookup));
        log_text(&line, "detail", detail);
        log_end(&line);
    }
    wake(lookups, lookup, NULL, reason);
    lookup_become(lookups, lookup, LOOKUP_DONE);
}

static void on_failure(struct lookups *lookups, struct lookup *lookup, struct slice text)
{
    if (slice_has_prefix(text, SLICE("LOADING"))) {
        lookup->outdated = true; /* not at once */
        again_later(lookups, lookup);
    } else if (slice_has_prefix(text, SLICE("STALE"))) {
        fail(lookups, lookup, REASON_MAPPERD_STALE, text);
    } else if (slice_has_prefix(text, SLICE("DENIED"))) {
        fail(lookups, lookup, REASON_MAPPERD_UNREACHABLE, text);
    } else {
        fail(lookups, lookup, REASON_INTERNAL, text);
    }
}

static void on_answer(struct lookups *lookups, struct lookup *lookup, struct answer *answer)
{
    if (!lookup_holds(lookups->ask, answer)) {
        again_later(lookups, lookup);
        return;
    }
    cache_put(&lookups->cache, answer, lookups->base->now_unix_s);
    wake(lookups, lookup, answer, REASON_NONE);
    lookup_become(lookups, lookup, LOOKUP_DONE);
}

bool lookups_reply(struct lookups *lookups, const struct resp_value *value)
{
    struct lookup *lookup = lookups->lists[LOOKUP_ASKED];
    struct answer *answer;
    enum error error;

    if (!lookup) /* a reply to nothing */
        return false;
    if (value->type == RESP_FAILURE) {
        on_failure(lookups, lookup, value->text);
        return true;
    }
    error = answer_read(kind_of(lookup), key_of(lookup), value, lookups->base->now_unix_s, &answer);
    if (kind_of(lookup) == LOOKUP_CREDENTIAL && value->text.size)
        OPENSSL_cleanse((char *)value->text.data, value->text.size); /* of the link's own buffer */
    switch (error) {
    case ERROR_NONE:
        on_answer(lookups, lookup, answer);
        answer_release(answer);
        return true;
    case ERROR_NOT_FOUND:
        fail(lookups, lookup, REASON_INTERNAL, SLICE("the answer can't be understood"));
        return true;
    case ERROR_MEMORY:
        fail(lookups, lookup, REASON_OUT_OF_MEMORY, SLICE("no memory for the answer"));
        return true;
    case ERROR_MALFORMED:
    case ERROR_TOO_LARGE:
    case ERROR_INCOMPLETE:
    case ERROR_CLOSED:
    case ERROR_UNREACHABLE:
    case ERROR_SYSTEM:
    case ERROR_LIBRARY:
    case ERROR_CONFIG:
        break;
    }
    return false;
}

/* ---- The link's events ---- */

void lookups_release_held(struct lookups *lookups)
{
    struct lookup *lookup;

    while ((lookup = lookups->lists[LOOKUP_HELD])) {
        lookup->outdated = false;
        lookup_become(lookups, lookup, LOOKUP_QUEUED);
    }
}

void lookups_link_up(struct lookups *lookups)
{
    run_queue_add(&lookups->base->run_queue, &lookups->sending);
}

void lookups_link_lost(struct lookups *lookups)
{
    struct lookup *queued = lookups->lists[LOOKUP_QUEUED], *lookup;

    cache_drop_all(&lookups->cache);
    lookups->lists[LOOKUP_QUEUED] = NULL;
    while ((lookup = lookups->lists[LOOKUP_ASKED]))
        lookup_become(lookups, lookup, lookup->waiters ? LOOKUP_QUEUED : LOOKUP_DONE);
    lookups_release_held(lookups);
    DL_CONCAT(lookups->lists[LOOKUP_QUEUED], queued);
    DL_FOREACH(lookups->lists[LOOKUP_QUEUED], lookup)
    lookup->outdated = false;
}

void lookups_garbage(struct lookups *lookups)
{
    struct lookup *lookup = lookups->lists[LOOKUP_ASKED];

    if (lookup && lookup->garbled)
        fail(lookups, lookup, REASON_MAPPERD_UNREACHABLE, SLICE("its answer breaks the protocol"));
    else if (lookup)
        lookup->garbled = true;
}

static void on_again(struct timer *timer)
{
    lookups_release_held((struct lookups *)((char *)timer - offsetof(struct lookups, again)));
}

void lookups_init(struct lookups *lookups, struct ask *ask, struct worker_base *base,
                  struct link *link, size_t cache_entries)
{
    lookups->ask = ask;
    lookups->base = base;
    lookups->link = link;
    lookups->sending.run = send_all;
    lookups->again.fire = on_again;
    cache_init(&lookups->cache, cache_entries);
}

void lookups_free(struct lookups *lookups)
{
    struct lookup *lookup, *next;

    timer_stop(&lookups->base->timers, &lookups->again);
    DL_FOREACH_SAFE(lookups->lists[LOOKUP_ASKED], lookup, next)
    lookup_become(lookups, lookup, LOOKUP_DONE);
    assert(lookups->count == 0);
    run_queue_remove(&lookups->base->run_queue, &lookups->sending);
    cache_free(&lookups->cache);
}
