/* SPDX-License-Identifier: Apache-2.0 */
/* Server transactions. The tables of steps below are those of server.h; server_event() looks up
 * the step, server_become() alone writes the state and sets the timers. */
#include "proxy/transaction/server.h"

#include "common/hash.h"
#include "proxy/sip/message.h"
#include "proxy/transaction/key.h"

#include <assert.h>
#include <utlist.h>

/* An INVITE and its CANCEL have one branch; more than these is nobody's honest traffic. */
#define GROUP_MAX 4
#define NEVER     UINT64_MAX

enum server_event {
    SERVER_REQUEST_AGAIN,
    SERVER_ACK,
    SERVER_RESPOND_1XX,
    SERVER_RESPOND_2XX,
    SERVER_RESPOND_REFUSAL, /* 3xx-6xx */
    SERVER_REPEAT_DUE,      /* timer G */
    SERVER_DEADLINE_DUE,    /* timers H, I, J, L */
    SERVER_TRANSPORT_ERROR,
    SERVER_DETACH,
    SERVER_EVENTS
};

struct server_group {
    UT_hash_handle hh;
    struct server_transaction *members;
    unsigned count;
    size_t key_size;
    char key[];
};

struct server_transaction {
    struct server_table *table;
    struct server_group *group; /* NULL: terminated, no longer found */
    struct server_transaction *prev, *next;
    const struct server_user *user; /* NULL: detached */
    void *owner;
    struct transaction_way way;
    enum server_state state;
    bool invite;
    bool old;         /* matched by RFC 2543's rules */
    bool send_failed; /* a transport error waits in the run queue */
    unsigned repeat_ms;
    struct timer deadline, repeat;
    struct task task;
    char *response; /* what a repeated request is answered with, and what an old ACK is compared
                       with */
    size_t response_size;
    size_t method_size, to_tag_size;
    char text[]; /* method, To tag */
};

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* ---- What a step does ---- */

static void send_bytes(struct server_transaction *t, struct slice bytes)
{
    const struct transaction_transport *transport = &t->table->transport;

    if (transport->send(transport->context, &t->way, bytes) == ERROR_NONE)
        return;
    t->send_failed = true;
    run_queue_add(&t->table->base->run_queue, &t->task);
}

static void send_again(struct server_transaction *t)
{
    if (t->response)
        send_bytes(t, (struct slice){ t->response, t->response_size });
}

static void report_acknowledged(struct server_transaction *t)
{
    if (t->user)
        t->user->acknowledged(t->owner, t);
}

static void report_timeout(struct server_transaction *t)
{
    if (t->user)
        t->user->timed_out(t->owner, t);
}

static void report_transport(struct server_transaction *t)
{
    if (t->user)
        t->user->transport_failed(t->owner, t);
}

/* An absent step is: nothing happens; for SERVER_RESPOND_…, that the response is refused. */
struct server_step {
    bool taken;
    enum server_state next; /* SERVER_NONE: stays */
    void (*act)(struct server_transaction *t);
};

typedef const struct server_step server_steps[SERVER_TERMINATED + 1][SERVER_EVENTS];

static void repeat_response(struct server_transaction *t);

static server_steps invite_steps = {
    [SERVER_PROCEEDING] = {
        [SERVER_REQUEST_AGAIN] = { true, SERVER_NONE, send_again },
        [SERVER_RESPOND_1XX] = { true, SERVER_NONE, NULL },
        [SERVER_RESPOND_2XX] = { true, SERVER_ACCEPTED, NULL },
        [SERVER_RESPOND_REFUSAL] = { true, SERVER_COMPLETED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
        [SERVER_DETACH] = { true, SERVER_TERMINATED, NULL },
    },
    [SERVER_COMPLETED] = {
        [SERVER_REQUEST_AGAIN] = { true, SERVER_NONE, send_again },
        [SERVER_ACK] = { true, SERVER_CONFIRMED, report_acknowledged },
        [SERVER_REPEAT_DUE] = { true, SERVER_NONE, repeat_response },
        [SERVER_DEADLINE_DUE] = { true, SERVER_TERMINATED, report_timeout },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
    [SERVER_CONFIRMED] = {
        [SERVER_DEADLINE_DUE] = { true, SERVER_TERMINATED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
    [SERVER_ACCEPTED] = {
        [SERVER_RESPOND_2XX] = { true, SERVER_NONE, NULL },
        [SERVER_DEADLINE_DUE] = { true, SERVER_TERMINATED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
    [SERVER_TERMINATED] = {
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
};

static server_steps other_steps = {
    [SERVER_TRYING] = {
        [SERVER_RESPOND_1XX] = { true, SERVER_PROCEEDING, NULL },
        [SERVER_RESPOND_2XX] = { true, SERVER_COMPLETED, NULL },
        [SERVER_RESPOND_REFUSAL] = { true, SERVER_COMPLETED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
        [SERVER_DETACH] = { true, SERVER_TERMINATED, NULL },
    },
    [SERVER_PROCEEDING] = {
        [SERVER_REQUEST_AGAIN] = { true, SERVER_NONE, send_again },
        [SERVER_RESPOND_1XX] = { true, SERVER_NONE, NULL },
        [SERVER_RESPOND_2XX] = { true, SERVER_COMPLETED, NULL },
        [SERVER_RESPOND_REFUSAL] = { true, SERVER_COMPLETED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
        [SERVER_DETACH] = { true, SERVER_TERMINATED, NULL },
    },
    [SERVER_COMPLETED] = {
        [SERVER_REQUEST_AGAIN] = { true, SERVER_NONE, send_again },
        [SERVER_DEADLINE_DUE] = { true, SERVER_TERMINATED, NULL },
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
    [SERVER_TERMINATED] = {
        [SERVER_TRANSPORT_ERROR] = { true, SERVER_NONE, report_transport },
    },
};

static const bool allowed[SERVER_TERMINATED + 1][SERVER_TERMINATED + 1] = {
    [SERVER_NONE] = { [SERVER_TRYING] = true, [SERVER_PROCEEDING] = true },
    [SERVER_TRYING] = { [SERVER_PROCEEDING] = true,
                        [SERVER_COMPLETED] = true,
                        [SERVER_TERMINATED] = true },
    [SERVER_PROCEEDING] = { [SERVER_COMPLETED] = true,
                            [SERVER_ACCEPTED] = true,
                            [SERVER_TERMINATED] = true },
    [SERVER_COMPLETED] = { [SERVER_CONFIRMED] = true, [SERVER_TERMINATED] = true },
    [SERVER_CONFIRMED] = { [SERVER_TERMINATED] = true },
    [SERVER_ACCEPTED] = { [SERVER_TERMINATED] = true },
};

/* ---- States and timers ---- */

/* The heap has had room for this timer since server_transaction_new(): it can't fail. */
static void arm(struct server_transaction *t, struct timer *timer, uint64_t after_ms)
{
    struct worker_base *base = t->table->base;
    enum error error = timer_start(&base->timers, timer, base->now_mono_ms + after_ms);

    assert(error == ERROR_NONE);
}

static void leave_group(struct server_transaction *t)
{
    struct server_group *group = t->group;

    if (!group)
        return;
    t->group = NULL;
    DL_DELETE(group->members, t);
    if (--group->count > 0)
        return;
    HASH_DELETE(hh, t->table->groups, group);
    mem_free(group);
}

static void server_become(struct server_transaction *t, enum server_state state);

static void end_after(struct server_transaction *t, uint64_t after_ms)
{
    if (after_ms == 0)
        server_become(t, SERVER_TERMINATED);
    else
        arm(t, &t->deadline, after_ms);
}

static void enter_completed(struct server_transaction *t)
{
    uint64_t t1_ms = t->table->timing.t1_ms;

    if (!t->invite) {
        end_after(t, t->way.reliable ? 0 : 64 * t1_ms);
        return;
    }
    arm(t, &t->deadline, 64 * t1_ms);
    if (t->way.reliable)
        return;
    t->repeat_ms = (unsigned)t1_ms;
    arm(t, &t->repeat, t1_ms);
}

static void enter_terminated(struct server_transaction *t)
{
    struct worker_base *base = t->table->base;

    timer_stop(&base->timers, &t->deadline);
    timer_stop(&base->timers, &t->repeat);
    leave_group(t);
    DL_APPEND(t->table->ending, t);
    run_queue_add(&base->run_queue, &t->task);
}

static void server_become(struct server_transaction *t, enum server_state state)
{
    assert(allowed[t->state][state]);
    t->state = state;
    switch (state) {
    case SERVER_NONE:
    case SERVER_TRYING:
    case SERVER_PROCEEDING:
        break;
    case SERVER_COMPLETED:
        enter_completed(t);
        break;
    case SERVER_CONFIRMED:
        timer_stop(&t->table->base->timers, &t->repeat);
        end_after(t, t->way.reliable ? 0 : t->table->timing.t4_ms);
        break;
    case SERVER_ACCEPTED:
        arm(t, &t->deadline, 64 * (uint64_t)t->table->timing.t1_ms);
        break;
    case SERVER_TERMINATED:
        enter_terminated(t);
        break;
    }
}

static void repeat_response(struct server_transaction *t)
{
    unsigned t2_ms = t->table->timing.t2_ms;

    t->repeat_ms = t->repeat_ms > t2_ms / 2 ? t2_ms : 2 * t->repeat_ms;
    arm(t, &t->repeat, t->repeat_ms);
    send_again(t);
}

static const struct server_step *find_step(const struct server_transaction *t,
                                           enum server_event event)
{
    return t->invite ? &invite_steps[t->state][event] : &other_steps[t->state][event];
}

static void server_event(struct server_transaction *t, enum server_event event)
{
    const struct server_step *step = find_step(t, event);

    if (step->next != SERVER_NONE)
        server_become(t, step->next);
    if (step->act)
        step->act(t);
}

static void fire_repeat(struct timer *timer)
{
    server_event(CONTAINER(timer, struct server_transaction, repeat), SERVER_REPEAT_DUE);
}

static void fire_deadline(struct timer *timer)
{
    server_event(CONTAINER(timer, struct server_transaction, deadline), SERVER_DEADLINE_DUE);
}

/* ---- Matching (17.2.3, 9.2) ---- */

static struct server_group *find_group(const struct server_table *table,
                                       const struct transaction_key *key)
{
    struct server_group *group;

    HASH_FIND_BYHASHVALUE(hh, table->groups, key->bytes, key->size, key->hash, group);
    return group;
}

static struct slice method_of_transaction(const struct server_transaction *t)
{
    return (struct slice){ t->text, t->method_size };
}

static bool same_to_tag(const struct server_transaction *t, const struct transaction_id *id)
{
    return slice_equal((struct slice){ t->text + t->method_size, t->to_tag_size }, id->to_tag);
}

/* RFC 2543: the To tag of an ACK is that of the response. Seldom, so the response is read again. */
static bool acknowledges_response(const struct server_transaction *t,
                                  const struct transaction_id *ack)
{
    struct message response;
    bool same = false;

    if (!t->response)
        return false;
    message_init(&response, 0);
    if (message_parse(&response, (struct slice){ t->response, t->response_size }) == ERROR_NONE)
        same = slice_equal(message_slice(&response, response.to_tag), ack->to_tag);
    message_free(&response);
    return same;
}

static bool belongs(const struct server_transaction *t, const struct transaction_id *id, bool ack)
{
    if (ack)
        return t->invite && (!t->old || acknowledges_response(t, id));
    return slice_equal(method_of_transaction(t), id->method) && (!t->old || same_to_tag(t, id));
}

static struct server_transaction *find_member(const struct server_group *group,
                                              const struct transaction_id *id)
{
    bool ack = slice_equal(id->method, SLICE("ACK"));
    struct server_transaction *t;

    if (!group)
        return NULL;
    DL_FOREACH(group->members, t)
    if (belongs(t, id, ack))
        return t;
    return NULL;
}

struct server_transaction *server_table_find(const struct server_table *table,
                                             const struct transaction_id *id)
{
    bool ack = slice_equal(id->method, SLICE("ACK"));
    struct server_group *group;
    struct server_transaction *t;
    struct transaction_key key;

    if (!table->groups || transaction_key_of_request(&key, id) != ERROR_NONE)
        return NULL;
    group = find_group(table, &key);
    if (!group)
        return NULL;
    DL_FOREACH(group->members, t)
    if (belongs(t, id, ack))
        return t;
    return NULL;
}

struct server_transaction *server_table_find_cancelled(const struct server_table *table,
                                                       const struct transaction_id *cancel)
{
    struct server_group *group;
    struct server_transaction *t;
    struct transaction_key key;

    if (!table->groups || transaction_key_of_request(&key, cancel) != ERROR_NONE)
        return NULL;
    group = find_group(table, &key);
    if (!group)
        return NULL;
    DL_FOREACH(group->members, t)
    if (!slice_equal(method_of_transaction(t), SLICE("CANCEL")) &&
        (!t->old || same_to_tag(t, cancel)))
        return t;
    return NULL;
}

/* ---- Life ---- */

static void release(struct server_transaction *t)
{
    struct server_table *table = t->table;

    timer_stop(&table->base->timers, &t->deadline);
    timer_stop(&table->base->timers, &t->repeat);
    run_queue_remove(&table->base->run_queue, &t->task);
    table->count--;
    atomic_fetch_sub_explicit(&table->base->counters->transactions, 1, memory_order_relaxed);
    mem_free(t->response);
    mem_free(t);
}

static void run_task(struct task *task)
{
    struct server_transaction *t = CONTAINER(task, struct server_transaction, task);

    if (t->send_failed) {
        t->send_failed = false;
        server_event(t, SERVER_TRANSPORT_ERROR);
    }
    if (t->state != SERVER_TERMINATED)
        return;
    DL_DELETE(t->table->ending, t);
    if (t->user)
        t->user->ended(t->owner, t);
    release(t);
}

void server_table_init(struct server_table *table, struct worker_base *base,
                       const struct transaction_timing *timing,
                       const struct transaction_transport *transport, size_t limit)
{
    *table = (struct server_table){
        .base = base, .timing = *timing, .transport = *transport, .limit = limit
    };
}

void server_table_free(struct server_table *table)
{
    struct server_group *group, *next_group;
    struct server_transaction *t, *next;

    DL_FOREACH_SAFE(table->ending, t, next)
    release(t);
    table->ending = NULL;
    HASH_ITER(hh, table->groups, group, next_group)
    {
        DL_FOREACH_SAFE(group->members, t, next)
        release(t);
        HASH_DELETE(hh, table->groups, group);
        mem_free(group);
    }
}

static struct server_transaction *make(struct server_table *table, const struct transaction_id *id)
{
    struct server_transaction *t = mem_zero(1, sizeof(*t) + id->method.size + id->to_tag.size);

    if (!t)
        return NULL;
    t->table = table;
    t->invite = slice_equal(id->method, SLICE("INVITE"));
    t->old = transaction_id_is_old(id);
    t->deadline.fire = fire_deadline;
    t->repeat.fire = fire_repeat;
    t->task.run = run_task;
    t->method_size = id->method.size;
    memcpy(t->text, id->method.data, id->method.size);
    t->to_tag_size = id->to_tag.size;
    if (id->to_tag.size)
        memcpy(t->text + id->method.size, id->to_tag.data, id->to_tag.size);
    return t;
}

/* Takes the places in the heap that its states will need, so that no later step can fail. */
static enum error reserve_timers(struct server_transaction *t)
{
    struct timers *timers = &t->table->base->timers;

    if (!t->invite && t->way.reliable)
        return ERROR_NONE;
    if (timer_start(timers, &t->deadline, NEVER) != ERROR_NONE)
        return ERROR_MEMORY;
    if (!t->invite || t->way.reliable)
        return ERROR_NONE;
    return timer_start(timers, &t->repeat, NEVER);
}

/* Into the group of its key, which is made when there is none (NULL). */
static enum error join_group(struct server_transaction *t, const struct transaction_key *key,
                             struct server_group *group)
{
    if (!group) {
        group = mem_zero(1, sizeof(*group) + key->size);
        if (!group)
            return ERROR_MEMORY;
        group->key_size = key->size;
        memcpy(group->key, key->bytes, key->size);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, t->table->groups, group->key, group->key_size, key->hash,
                                    group);
        if (!group->hh.tbl) {
            mem_free(group);
            return ERROR_MEMORY;
        }
    }
    if (group->count >= GROUP_MAX)
        return ERROR_TOO_LARGE;
    DL_APPEND(group->members, t);
    group->count++;
    t->group = group;
    return ERROR_NONE;
}

static bool read_key(const struct transaction_id *id, struct transaction_key *key)
{
    return id->method.size <= TRANSACTION_METHOD_MAX && id->to_tag.size <= TRANSACTION_KEY_MAX &&
           transaction_key_of_request(key, id) == ERROR_NONE;
}

bool server_transaction_fits(const struct transaction_id *id)
{
    struct transaction_key key;

    return read_key(id, &key);
}

enum error server_transaction_new(struct server_table *table, const struct transaction_id *id,
                                  const struct transaction_way *from,
                                  const struct server_user *user, void *owner,
                                  struct server_transaction **out)
{
    struct server_transaction *t;
    struct server_group *group;
    struct transaction_key key;
    enum error error;

    if (id->method.size == 0 || slice_equal(id->method, SLICE("ACK")))
        return ERROR_MALFORMED;
    if (table->count >= table->limit || !read_key(id, &key))
        return ERROR_TOO_LARGE;
    group = find_group(table, &key);
    if (find_member(group, id))
        return ERROR_MALFORMED;
    t = make(table, id);
    if (!t)
        return ERROR_MEMORY;
    table->count++;
    atomic_fetch_add_explicit(&table->base->counters->transactions, 1, memory_order_relaxed);
    t->way = *from;
    error = reserve_timers(t);
    if (error == ERROR_NONE)
        error = join_group(t, &key, group);
    if (error != ERROR_NONE) {
        release(t);
        return error;
    }
    t->user = user;
    t->owner = owner;
    server_become(t, t->invite ? SERVER_PROCEEDING : SERVER_TRYING);
    *out = t;
    return ERROR_NONE;
}

/* ---- What the owner says ---- */

void server_transaction_retransmitted(struct server_transaction *t,
                                      const struct transaction_way *from)
{
    t->way.flow = from->flow;
    server_event(t, SERVER_REQUEST_AGAIN);
}

enum server_ack server_transaction_ack(struct server_transaction *t)
{
    if (t->state == SERVER_ACCEPTED)
        return SERVER_ACK_PASS;
    server_event(t, SERVER_ACK);
    return SERVER_ACK_ABSORBED;
}

static enum server_event event_of_status(unsigned status)
{
    if (status < 200)
        return SERVER_RESPOND_1XX;
    return status < 300 ? SERVER_RESPOND_2XX : SERVER_RESPOND_REFUSAL;
}

static bool may_repeat(const struct server_transaction *t, enum server_event response)
{
    if (response == SERVER_RESPOND_1XX)
        return true;
    if (t->invite)
        return response == SERVER_RESPOND_REFUSAL || t->old;
    return !t->way.reliable;
}

static enum error keep_response(struct server_transaction *t, struct slice bytes, bool keep)
{
    char *copy = NULL;

    if (keep) {
        copy = mem_alloc(bytes.size);
        if (!copy)
            return ERROR_MEMORY;
        memcpy(copy, bytes.data, bytes.size);
    }
    mem_free(t->response);
    t->response = copy;
    t->response_size = keep ? bytes.size : 0;
    return ERROR_NONE;
}

enum error server_transaction_respond(struct server_transaction *t, unsigned status,
                                      struct slice bytes)
{
    enum server_event event = event_of_status(status);

    assert(status >= 100 && status <= 699 && bytes.size > 0);
    if (!find_step(t, event)->taken)
        return ERROR_CLOSED;
    if (keep_response(t, bytes, may_repeat(t, event)) != ERROR_NONE)
        return ERROR_MEMORY;
    send_bytes(t, bytes);
    server_event(t, event);
    return ERROR_NONE;
}

void server_transaction_transport_failed(struct server_transaction *t)
{
    t->send_failed = true;
    run_queue_add(&t->table->base->run_queue, &t->task);
}

void server_transaction_detach(struct server_transaction *t)
{
    t->user = NULL;
    t->owner = NULL;
    server_event(t, SERVER_DETACH);
}

enum server_state server_transaction_state(const struct server_transaction *t)
{
    return t->state;
}

bool server_transaction_is_invite(const struct server_transaction *t)
{
    return t->invite;
}

const struct transaction_way *server_transaction_way(const struct server_transaction *t)
{
    return &t->way;
}

void *server_transaction_owner(const struct server_transaction *t)
{
    return t->owner;
}

const char *server_state_text(enum server_state state)
{
    static const char *const names[] = {
        [SERVER_NONE] = "none",
        [SERVER_TRYING] = "trying",
        [SERVER_PROCEEDING] = "proceeding",
        [SERVER_COMPLETED] = "completed",
        [SERVER_CONFIRMED] = "confirmed",
        [SERVER_ACCEPTED] = "accepted",
        [SERVER_TERMINATED] = "terminated",
    };
    return names[state];
}
