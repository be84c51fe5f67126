/* SPDX-License-Identifier: Apache-2.0 */
/* The link's state, the messages, and the lookups that wait. The rules that decide whether an
 * answer may be used are in changes.c; here is when they are asked. */
#include "proxy/authorization/ask.h"

#include "common/hash.h"
#include "proxy/authorization/ask_internal.h"
#include "proxy/authorization/cache.h"
#include "proxy/authorization/tag.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <utlist.h>

#define HELD_MS 100
#define IDLE_MS 3600000

enum lookup_state { LOOKUP_NEW = 0, LOOKUP_QUEUED, LOOKUP_ASKED, LOOKUP_HELD, LOOKUP_DONE };
enum ask_event {
    ASK_RETRY,
    ASK_CONNECTED,
    ASK_FIRST_TICK,
    ASK_CLOSED,
    ASK_TICK_LOST,
    ASK_GARBAGE,
    ASK_STOPPED,
};

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

struct ask {
    enum ask_state state;
    struct worker_base *base;
    struct ask_user user;
    struct link link;
    struct writes writes;
    struct changes changes;
    struct cache cache;
    uint64_t ticked_mono_ms;
    bool age_known;
    uint64_t age_ms;
    uint64_t stale_mono_ms; /* from here on mapperd would not answer; UINT64_MAX: it has no bound */
    struct timer tick_lost; /* armed all the time: moving it takes no memory */
    struct timer again;
    struct task sending;
    struct lookup *lists[LOOKUP_DONE + 1]; /* by state, in order */
    struct lookup *shared;                 /* uthash */
    size_t lookups;
    uint64_t hits, misses, outdated, garbage;
    struct log_limit log_limit;
};

static void ask_event(struct ask *ask, enum ask_event event);

/* ---- State of a lookup ---- */

static const bool lookup_allowed[][LOOKUP_DONE + 1] = {
    [LOOKUP_NEW] = { [LOOKUP_QUEUED] = true },
    [LOOKUP_QUEUED] = { [LOOKUP_ASKED] = true, [LOOKUP_DONE] = true },
    [LOOKUP_ASKED] = { [LOOKUP_QUEUED] = true, [LOOKUP_HELD] = true, [LOOKUP_DONE] = true },
    [LOOKUP_HELD] = { [LOOKUP_QUEUED] = true, [LOOKUP_DONE] = true },
};

static void stop_sharing(struct ask *ask, struct lookup *lookup)
{
    if (lookup->shared)
        HASH_DELETE(hh, ask->shared, lookup);
    lookup->shared = false;
}

/* Alone writes the state and moves between the lists. DONE frees it. */
static void lookup_become(struct ask *ask, struct lookup *lookup, enum lookup_state state)
{
    assert(lookup_allowed[lookup->state][state]);
    if (lookup->state != LOOKUP_NEW)
        DL_DELETE(ask->lists[lookup->state], lookup);
    lookup->state = state;
    if (state == LOOKUP_DONE) {
        assert(!lookup->waiters);
        stop_sharing(ask, lookup);
        ask->lookups--;
        mem_free(lookup);
        return;
    }
    DL_APPEND(ask->lists[state], lookup);
    if (state == LOOKUP_ASKED && lookup->key[0] == LOOKUP_LOCATE)
        stop_sharing(ask, lookup); /* a binding written from now on must be seen */
    if (state == LOOKUP_QUEUED)
        run_queue_add(&ask->base->run_queue, &ask->sending);
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
static void wake(struct ask *ask, struct lookup *lookup, struct answer *answer, enum reason reason)
{
    struct lookup_waiter *waiter;

    while ((waiter = lookup->waiters)) {
        DL_DELETE(lookup->waiters, waiter);
        waiter->lookup = NULL;
        waiter->answer = answer ? answer_hold(answer) : NULL;
        waiter->reason = answer ? REASON_NONE : reason;
        run_queue_add(&ask->base->run_queue, &waiter->task);
    }
}

static struct lookup *make_lookup(struct ask *ask, enum lookup_kind kind, struct slice key)
{
    struct lookup *lookup;

    if (ask->lookups >= ASK_LOOKUPS_MAX)
        return NULL;
    lookup = mem_zero(1, sizeof *lookup + 1 + key.size);
    if (!lookup)
        return NULL;
    lookup->key_size = 1 + key.size;
    lookup->key[0] = (char)kind;
    memcpy(lookup->key + 1, key.data, key.size);
    HASH_ADD(hh, ask->shared, key, (unsigned)lookup->key_size, lookup);
    if (!lookup->hh.tbl) {
        mem_free(lookup);
        return NULL;
    }
    lookup->shared = true;
    ask->lookups++;
    lookup_become(ask, lookup, LOOKUP_QUEUED);
    return lookup;
}

static struct lookup *find_shared(const struct ask *ask, enum lookup_kind kind, struct slice key)
{
    char text[1 + LOOKUP_KEY_MAX];
    struct lookup *lookup;

    text[0] = (char)kind;
    memcpy(text + 1, key.data, key.size);
    HASH_FIND(hh, ask->shared, text, 1 + key.size, lookup);
    return lookup;
}

/* From the cache, else joins or begins a lookup. The waiter's answer and lookup are empty. */
static enum lookup_outcome begin(struct ask *ask, struct lookup_waiter *waiter,
                                 enum lookup_kind kind, struct slice key)
{
    struct lookup *lookup;

    waiter->reason = REASON_NONE;
    if (kind != LOOKUP_LOCATE && ask_changes(ask)) {
        waiter->answer = cache_get(&ask->cache, kind, key, ask->base->now_unix_s);
        if (waiter->answer) {
            ask->hits++;
            return LOOKUP_READY;
        }
    }
    ask->misses++;
    lookup = find_shared(ask, kind, key);
    if (!lookup)
        lookup = make_lookup(ask, kind, key);
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
        outcome = begin(waiter->ask, waiter, answer->kind, answer->key);
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
    outcome = begin(ask, waiter, kind, key);
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

    if (!waiter->ask)
        return;
    if (lookup) {
        DL_DELETE(lookup->waiters, waiter);
        if (!lookup->waiters && lookup->state != LOOKUP_ASKED)
            lookup_become(waiter->ask, lookup, LOOKUP_DONE);
    }
    run_queue_remove(&waiter->ask->base->run_queue, &waiter->task);
    answer_release(waiter->answer);
    waiter->answer = NULL;
    waiter->lookup = NULL;
    waiter->ask = NULL;
    waiter->reason = REASON_NONE;
}

bool lookup_holds(const struct ask *ask, const struct answer *answer)
{
    const struct changes *changes = ask_changes(ask);

    return changes &&
           changes_hold(changes, answer->epoch, answer->serial, answer->tags, answer->tag_count);
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
    struct ask *ask = (struct ask *)((char *)task - offsetof(struct ask, sending));
    struct lookup *lookup;

    if (ask->state != ASK_UP || !ask->lists[LOOKUP_QUEUED])
        return;
    while ((lookup = ask->lists[LOOKUP_QUEUED])) {
        write_question(link_output(&ask->link), lookup);
        lookup_become(ask, lookup, LOOKUP_ASKED);
    }
    link_flush(&ask->link);
}

/* ---- Replies ---- */

static bool has_prefix(struct slice text, const char *prefix)
{
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

/* Asked once more at once; if that is no use either, at the next tick. */
static void ask_again(struct ask *ask, struct lookup *lookup)
{
    ask->outdated++;
    if (!lookup->waiters) {
        lookup_become(ask, lookup, LOOKUP_DONE);
        return;
    }
    if (!lookup->outdated) {
        lookup->outdated = true;
        lookup_become(ask, lookup, LOOKUP_QUEUED);
        return;
    }
    lookup_become(ask, lookup, LOOKUP_HELD);
    if (!timer_active(&ask->again)) {
        enum error error =
            timer_start(&ask->base->timers, &ask->again, ask->base->now_mono_ms + HELD_MS);

        (void)error; /* without memory the next tick does it */
    }
}

static void fail(struct ask *ask, struct lookup *lookup, enum reason reason, struct slice detail)
{
    struct log_line line;

    if (log_limit_pass(&ask->log_limit, ASK_LOG_BURST, ask->base->now_mono_ms)) {
        log_begin(&line, LOG_ERROR, "mapperd-refused");
        log_word(&line, "reason", reason_name(reason));
        log_text(&line, "key", key_of(lookup));
        log_text(&line, "detail", detail);
        log_end(&line);
    }
    wake(ask, lookup, NULL, reason);
    lookup_become(ask, lookup, LOOKUP_DONE);
}

static void on_failure(struct ask *ask, struct lookup *lookup, struct slice text)
{
    if (has_prefix(text, "LOADING")) {
        lookup->outdated = true; /* not at once */
        ask_again(ask, lookup);
    } else if (has_prefix(text, "STALE")) {
        fail(ask, lookup, REASON_MAPPERD_STALE, text);
    } else if (has_prefix(text, "DENIED")) {
        fail(ask, lookup, REASON_MAPPERD_UNREACHABLE, text);
    } else {
        fail(ask, lookup, REASON_INTERNAL, text);
    }
}

static void on_answer(struct ask *ask, struct lookup *lookup, struct answer *answer)
{
    if (!lookup_holds(ask, answer)) {
        ask_again(ask, lookup);
        return;
    }
    cache_put(&ask->cache, answer, ask->base->now_unix_s);
    wake(ask, lookup, answer, REASON_NONE);
    lookup_become(ask, lookup, LOOKUP_DONE);
}

static void on_reply(struct ask *ask, const struct resp_value *value)
{
    struct lookup *lookup = ask->lists[LOOKUP_ASKED];
    struct answer *answer;
    enum error error;

    if (!lookup) { /* a reply to nothing */
        ask_event(ask, ASK_GARBAGE);
        return;
    }
    if (value->type == RESP_FAILURE) {
        on_failure(ask, lookup, value->text);
        return;
    }
    error = answer_read(kind_of(lookup), key_of(lookup), value, ask->base->now_unix_s, &answer);
    if (kind_of(lookup) == LOOKUP_CREDENTIAL && value->text.size)
        OPENSSL_cleanse((char *)value->text.data, value->text.size); /* of the link's own buffer */
    switch (error) {
    case ERROR_NONE:
        on_answer(ask, lookup, answer);
        answer_release(answer);
        return;
    case ERROR_NOT_FOUND:
        fail(ask, lookup, REASON_INTERNAL, SLICE("the answer can't be understood"));
        return;
    case ERROR_MEMORY:
        fail(ask, lookup, REASON_OUT_OF_MEMORY, SLICE("no memory for the answer"));
        return;
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
    ask_event(ask, ASK_GARBAGE);
}

/* ---- Messages ---- */

static void release_held(struct ask *ask)
{
    struct lookup *lookup;

    while ((lookup = ask->lists[LOOKUP_HELD])) {
        lookup->outdated = false;
        lookup_become(ask, lookup, LOOKUP_QUEUED);
    }
}

static void announce(struct ask *ask, uint64_t tag)
{
    cache_drop_tag(&ask->cache, tag);
    if (ask->user.changed)
        ask->user.changed(ask->user.owner, tag);
}

/* A subscription's first tick, or a new epoch: a change of every key. */
static void begin_epoch(struct ask *ask, uint64_t epoch, uint64_t serial)
{
    changes_begin(&ask->changes, epoch, serial);
    announce(ask, TAG_ALL);
}

/* AGE [BOUND]. Data go on aging between two ticks. */
static bool read_age(struct ask *ask, struct slice text)
{
    unsigned long long age_ms = 0, bound_ms = 0;
    const char *space = memchr(text.data, ' ', text.size);
    size_t size = space ? (size_t)(space - text.data) : text.size;
    struct slice age = { text.data, size };

    ask->age_known = !slice_equal(age, SLICE("-"));
    if (ask->age_known && !slice_to_u64(age, INT64_MAX, &age_ms))
        return false;
    if (space &&
        (!slice_to_u64((struct slice){ space + 1, text.size - size - 1 }, INT64_MAX, &bound_ms) ||
         bound_ms == 0))
        return false;
    ask->age_ms = age_ms;
    if (!space)
        ask->stale_mono_ms = UINT64_MAX;
    else if (!ask->age_known || age_ms > bound_ms)
        ask->stale_mono_ms = 0;
    else
        ask->stale_mono_ms = ask->base->now_mono_ms + (bound_ms - age_ms) + 1;
    return true;
}

static void move_tick_lost(struct ask *ask, uint64_t wait_ms)
{
    enum error error =
        timer_start(&ask->base->timers, &ask->tick_lost, ask->base->now_mono_ms + wait_ms);

    assert(error == ERROR_NONE);
    (void)error;
}

static bool on_tick(struct ask *ask, uint64_t epoch, uint64_t serial, struct slice age)
{
    if (epoch == 0 || !read_age(ask, age))
        return false;
    if (ask->state == ASK_UP && epoch == ask->changes.epoch &&
        changes_tick(&ask->changes, epoch, serial) != ERROR_NONE)
        return false;
    ask->ticked_mono_ms = ask->base->now_mono_ms;
    move_tick_lost(ask, ASK_TICK_LOST_MS);
    if (ask->state == ASK_SUBSCRIBING || epoch != ask->changes.epoch)
        begin_epoch(ask, epoch, serial);
    if (ask->state == ASK_SUBSCRIBING)
        ask_event(ask, ASK_FIRST_TICK);
    release_held(ask);
    return true;
}

static bool on_change(struct ask *ask, uint64_t epoch, uint64_t serial, struct slice text)
{
    uint64_t tag = tag_of_message(text);

    if (epoch == 0)
        return false;
    if (ask->state != ASK_UP) /* before the first tick: nothing is known that could change */
        return true;
    if (epoch != ask->changes.epoch) {
        begin_epoch(ask, epoch, serial);
        return true;
    }
    if (changes_message(&ask->changes, epoch, serial, tag, ask->base->now_mono_ms) != ERROR_NONE)
        return false;
    announce(ask, tag);
    return true;
}

/* The number before the next space, which is taken off too. */
static bool take_number(struct slice *rest, uint64_t *number)
{
    const char *space = memchr(rest->data, ' ', rest->size);
    unsigned long long value;

    if (!space || !slice_to_u64((struct slice){ rest->data, (size_t)(space - rest->data) },
                                INT64_MAX, &value))
        return false;
    *number = value;
    rest->size -= (size_t)(space + 1 - rest->data);
    rest->data = space + 1;
    return true;
}

static void on_payload(struct ask *ask, struct slice payload)
{
    uint64_t epoch, serial;
    bool understood = false;

    if (take_number(&payload, &epoch) && take_number(&payload, &serial) && payload.size) {
        if (has_prefix(payload, "tick "))
            understood =
                on_tick(ask, epoch, serial, (struct slice){ payload.data + 5, payload.size - 5 });
        else
            understood = on_change(ask, epoch, serial, payload);
    }
    if (!understood)
        ask_event(ask, ASK_GARBAGE);
}

/* Messages and the confirmation of SUBSCRIBE begin with a bulk, replies with an integer. */
static void on_value(void *owner, const struct resp_value *value)
{
    struct ask *ask = owner;
    struct slice rest = value->text;
    struct resp_value item[3] = { { .type = RESP_NONE } };

    if (value->type != RESP_ARRAY || !resp_item(&rest, &item[0]) || item[0].type != RESP_BULK) {
        on_reply(ask, value);
        return;
    }
    if (value->count == 3 && resp_item(&rest, &item[1]) && resp_item(&rest, &item[2]) &&
        item[1].type == RESP_BULK && slice_equal(item[1].text, SLICE("changed"))) {
        if (slice_equal(item[0].text, SLICE("message")) && item[2].type == RESP_BULK) {
            on_payload(ask, item[2].text);
            return;
        }
        if (slice_equal(item[0].text, SLICE("subscribe")) && ask->state == ASK_SUBSCRIBING)
            return;
    }
    ask_event(ask, ASK_GARBAGE);
}

/* ---- The link ---- */

static const char *state_name(enum ask_state state)
{
    static const char *const names[] = { "down", "connecting", "subscribing", "up" };

    return names[state];
}

/* Lookups whose waiters still wait go back into the queue, in their order; the others are over. */
static void requeue(struct ask *ask)
{
    struct lookup *queued = ask->lists[LOOKUP_QUEUED], *lookup;

    ask->lists[LOOKUP_QUEUED] = NULL;
    while ((lookup = ask->lists[LOOKUP_ASKED]))
        lookup_become(ask, lookup, lookup->waiters ? LOOKUP_QUEUED : LOOKUP_DONE);
    release_held(ask);
    DL_CONCAT(ask->lists[LOOKUP_QUEUED], queued);
    DL_FOREACH(ask->lists[LOOKUP_QUEUED], lookup)
    lookup->outdated = false;
}

static void go_down(struct ask *ask)
{
    link_close(&ask->link);
    changes_forget(&ask->changes);
    cache_drop_all(&ask->cache);
    requeue(ask);
    writes_set_ready(&ask->writes, false);
    move_tick_lost(ask, IDLE_MS);
}

static const bool ask_allowed[][ASK_UP + 1] = {
    [ASK_DOWN] = { [ASK_CONNECTING] = true },
    [ASK_CONNECTING] = { [ASK_SUBSCRIBING] = true, [ASK_DOWN] = true },
    [ASK_SUBSCRIBING] = { [ASK_UP] = true, [ASK_DOWN] = true },
    [ASK_UP] = { [ASK_DOWN] = true },
};

/* Alone writes the state. */
static void ask_become(struct ask *ask, enum ask_state state)
{
    assert(ask_allowed[ask->state][state]);
    if (ask->state == ASK_UP || state == ASK_UP)
        log_write(state == ASK_UP ? LOG_NOTICE : LOG_WARNING, "mapperd-link", "%s",
                  state_name(state));
    ask->state = state;
    switch (state) {
    case ASK_DOWN:
        go_down(ask);
        break;
    case ASK_CONNECTING:
        break;
    case ASK_SUBSCRIBING:
        resp_add_array(link_output(&ask->link), 2);
        resp_add_bulk_text(link_output(&ask->link), "SUBSCRIBE");
        resp_add_bulk_text(link_output(&ask->link), "changed");
        link_flush(&ask->link);
        move_tick_lost(ask, ASK_TICK_LOST_MS);
        break;
    case ASK_UP:
        link_proved(&ask->link);
        writes_set_ready(&ask->writes, true);
        run_queue_add(&ask->base->run_queue, &ask->sending);
        break;
    }
    if (ask->user.state_changed)
        ask->user.state_changed(ask->user.owner, state);
}

/* The lookup whose reply was due is suspect: asked once more, then failed, so that one answer
 * beyond the limits doesn't break the link for ever. */
static void on_garbage(struct ask *ask)
{
    struct lookup *lookup = ask->lists[LOOKUP_ASKED];

    ask->garbage++;
    if (log_limit_pass(&ask->log_limit, ASK_LOG_BURST, ask->base->now_mono_ms))
        log_write(LOG_ERROR, "mapperd-garbage", "what came can't be understood, state %s",
                  state_name(ask->state));
    if (lookup && lookup->garbled)
        fail(ask, lookup, REASON_MAPPERD_UNREACHABLE, SLICE("its answer breaks the protocol"));
    else if (lookup)
        lookup->garbled = true;
}

static void ask_event(struct ask *ask, enum ask_event event)
{
    switch (event) {
    case ASK_RETRY:
        ask_become(ask, ASK_CONNECTING);
        break;
    case ASK_CONNECTED:
        ask_become(ask, ASK_SUBSCRIBING);
        break;
    case ASK_FIRST_TICK:
        ask_become(ask, ASK_UP);
        break;
    case ASK_GARBAGE:
        on_garbage(ask);
        ask_become(ask, ASK_DOWN);
        break;
    case ASK_CLOSED:
    case ASK_TICK_LOST:
    case ASK_STOPPED:
        if (ask->state != ASK_DOWN)
            ask_become(ask, ASK_DOWN);
        break;
    }
}

static void on_connecting(void *owner)
{
    ask_event(owner, ASK_RETRY);
}

static void on_opened(void *owner)
{
    ask_event(owner, ASK_CONNECTED);
}

static void on_lost(void *owner, bool garbage)
{
    ask_event(owner, garbage ? ASK_GARBAGE : ASK_CLOSED);
}

static void on_tick_lost(struct timer *timer)
{
    struct ask *ask = (struct ask *)((char *)timer - offsetof(struct ask, tick_lost));

    move_tick_lost(ask, IDLE_MS);
    ask_event(ask, ASK_TICK_LOST);
}

static void on_again(struct timer *timer)
{
    release_held((struct ask *)((char *)timer - offsetof(struct ask, again)));
}

/* ---- Birth, death, questions about it ---- */

static enum error start_links(struct ask *ask)
{
    if (timer_start(&ask->base->timers, &ask->tick_lost, ask->base->now_mono_ms + IDLE_MS) !=
            ERROR_NONE ||
        link_start(&ask->link) != ERROR_NONE || writes_start(&ask->writes) != ERROR_NONE)
        return ERROR_MEMORY;
    return ERROR_NONE;
}

enum error ask_new(struct worker_base *base, const struct ask_options *options,
                   const struct ask_user *user, struct ask **out)
{
    static const struct resp_limits limits = { .value_max = ASK_REPLY_MAX,
                                               .items_max = ASK_REPLY_ITEMS_MAX };
    struct ask *ask = mem_zero(1, sizeof *ask);
    struct link_user link_user = { .owner = ask,
                                   .connecting = on_connecting,
                                   .opened = on_opened,
                                   .value = on_value,
                                   .lost = on_lost };
    enum error error;

    *out = NULL;
    if (!ask)
        return ERROR_MEMORY;
    ask->base = base;
    ask->user = *user;
    ask->sending.run = send_all;
    ask->tick_lost.fire = on_tick_lost;
    ask->again.fire = on_again;
    changes_init(&ask->changes);
    cache_init(&ask->cache, options->cache_entries);
    error = link_init(&ask->link, base, options->socket_path, &limits, &link_user);
    if (error == ERROR_NONE)
        error = writes_init(&ask->writes, base, ask, options->socket_path);
    if (error == ERROR_NONE)
        error = start_links(ask);
    if (error != ERROR_NONE) {
        ask_free(ask);
        return error;
    }
    *out = ask;
    return ERROR_NONE;
}

void ask_free(struct ask *ask)
{
    struct lookup *lookup, *next;

    if (!ask)
        return;
    link_stop(&ask->link);
    writes_stop(&ask->writes);
    timer_stop(&ask->base->timers, &ask->tick_lost);
    timer_stop(&ask->base->timers, &ask->again);
    DL_FOREACH_SAFE(ask->lists[LOOKUP_ASKED], lookup, next)
    lookup_become(ask, lookup, LOOKUP_DONE);
    assert(ask->lookups == 0);
    run_queue_remove(&ask->base->run_queue, &ask->sending);
    changes_free(&ask->changes);
    cache_free(&ask->cache);
    mem_free(ask);
}

enum ask_state ask_state(const struct ask *ask)
{
    return ask->state;
}

enum reason ask_deadline_reason(const struct ask *ask)
{
    return ask->state == ASK_UP ? REASON_PARK_DEADLINE : REASON_MAPPERD_UNREACHABLE;
}

const struct changes *ask_changes(const struct ask *ask)
{
    uint64_t silent_ms = ask->base->now_mono_ms - ask->ticked_mono_ms;

    return ask->state == ASK_UP && silent_ms <= ASK_TICK_LOST_MS &&
                   ask->base->now_mono_ms < ask->stale_mono_ms
               ? &ask->changes
               : NULL;
}

uint64_t ask_now_unix_s(const struct ask *ask)
{
    return ask->base->now_unix_s;
}

struct writes *ask_writes(struct ask *ask)
{
    return &ask->writes;
}

void ask_get_status(const struct ask *ask, struct ask_status *status)
{
    *status = (struct ask_status){ .state = ask->state,
                                   .writes_open = ask->writes.link.state == LINK_OPEN,
                                   .epoch = ask->changes.epoch,
                                   .serial = ask->changes.position,
                                   .floor = ask->changes.floor,
                                   .age_known = ask->state == ASK_UP && ask->age_known,
                                   .age_ms = ask->age_ms,
                                   .lookups = ask->lookups,
                                   .writes = ask->writes.count,
                                   .cached = ask->cache.known.count,
                                   .cached_unknown = ask->cache.unknown.count,
                                   .hits = ask->hits,
                                   .misses = ask->misses,
                                   .outdated = ask->outdated,
                                   .connects = ask->link.connects,
                                   .garbage = ask->garbage };
}
