/* SPDX-License-Identifier: Apache-2.0 */
/* The link's state and its messages. The lookups are in lookup.c, the writes in write.c; the rules
 * that decide whether an answer may be used are in changes.c. */
#include "proxy/authorization/ask.h"

#include "common/mem.h"
#include "proxy/authorization/ask_internal.h"
#include "proxy/authorization/tag.h"

#include <assert.h>

#define IDLE_MS 3600000

enum ask_event {
    ASK_RETRY,
    ASK_CONNECTED,
    ASK_FIRST_TICK,
    ASK_CLOSED,
    ASK_TICK_LOST,
    ASK_GARBAGE,
    ASK_STOPPED,
};

struct ask {
    enum ask_state state;
    struct worker_base *base;
    struct ask_user user;
    struct link link;
    struct lookups lookups;
    struct writes writes;
    struct changes changes;
    uint64_t ticked_mono_ms;
    bool age_known;
    uint64_t age_ms;
    uint64_t stale_mono_ms; /* from here on mapperd would not answer; UINT64_MAX: it has no bound */
    struct timer tick_lost; /* armed all the time: moving it takes no memory */
    uint64_t garbage;
    struct log_limit log_limit;
};

static void ask_event(struct ask *ask, enum ask_event event);

/* ---- Messages ---- */

static void announce(struct ask *ask, uint64_t tag)
{
    cache_drop_tag(&ask->lookups.cache, tag);
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
    lookups_release_held(&ask->lookups);
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
        if (slice_has_prefix(payload, SLICE("tick ")))
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
        if (!lookups_reply(&ask->lookups, value))
            ask_event(ask, ASK_GARBAGE);
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

static void go_down(struct ask *ask)
{
    link_close(&ask->link);
    changes_forget(&ask->changes);
    lookups_link_lost(&ask->lookups);
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
        lookups_link_up(&ask->lookups);
        break;
    }
    if (ask->user.state_changed)
        ask->user.state_changed(ask->user.owner, state);
}

static void on_garbage(struct ask *ask)
{
    ask->garbage++;
    if (log_limit_pass(&ask->log_limit, ASK_LOG_BURST, ask->base->now_mono_ms))
        log_write(LOG_ERROR, "mapperd-garbage", "what came can't be understood, state %s",
                  state_name(ask->state));
    lookups_garbage(&ask->lookups);
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
    ask->tick_lost.fire = on_tick_lost;
    changes_init(&ask->changes);
    lookups_init(&ask->lookups, ask, base, &ask->link, options->cache_entries);
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
    if (!ask)
        return;
    link_stop(&ask->link);
    writes_stop(&ask->writes);
    timer_stop(&ask->base->timers, &ask->tick_lost);
    lookups_free(&ask->lookups);
    changes_free(&ask->changes);
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

bool lookup_holds(const struct ask *ask, const struct answer *answer)
{
    const struct changes *changes = ask_changes(ask);

    return changes &&
           changes_hold(changes, answer->epoch, answer->serial, answer->tags, answer->tag_count);
}

struct lookups *ask_lookups(struct ask *ask)
{
    return &ask->lookups;
}

uint64_t ask_edition(const struct ask *ask)
{
    return ask->base->edition;
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
                                   .lookups = ask->lookups.count,
                                   .writes = ask->writes.count,
                                   .cached = ask->lookups.cache.known.count,
                                   .cached_unknown = ask->lookups.cache.unknown.count,
                                   .hits = ask->lookups.hits,
                                   .misses = ask->lookups.misses,
                                   .outdated = ask->lookups.outdated,
                                   .connects = ask->link.connects,
                                   .garbage = ask->garbage };
}
