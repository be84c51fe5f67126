/* SPDX-License-Identifier: Apache-2.0 */
/* Client transactions. The tables of steps below are those of client.h; client_event() looks up
 * the step, client_become() alone writes the state and sets the timers. */
#include "proxy/transaction/client.h"

#include "common/buffer.h"
#include "common/hash.h"
#include "proxy/sip/message.h"
#include "proxy/sip/response.h"
#include "proxy/transaction/key.h"

#include <assert.h>
#include <utlist.h>

#define NEVER UINT64_MAX
/* Branch, method and their lengths. */
#define KEY_MAX (TRANSACTION_BRANCH_MAX + TRANSACTION_METHOD_MAX + 16)

enum client_event {
    CLIENT_START,
    CLIENT_1XX,
    CLIENT_2XX,
    CLIENT_REFUSAL,      /* 3xx-6xx */
    CLIENT_REPEAT_DUE,   /* timers A, E */
    CLIENT_DEADLINE_DUE, /* timers B, D, F, K, M; and the end of a detached one's patience */
    CLIENT_TRANSPORT_ERROR,
    CLIENT_DETACH,
    CLIENT_EVENTS
};

struct client_transaction {
    UT_hash_handle hh;
    struct client_table *table;
    struct client_transaction *prev, *next; /* table->ending */
    const struct client_user *user;         /* NULL: detached */
    void *owner;
    struct transaction_way way;
    enum client_state state;
    bool invite;
    bool send_failed; /* a transport error waits in the run queue */
    unsigned repeat_ms;
    struct timer deadline, repeat;
    struct task task;
    const struct message *received; /* the response being handled; during _received() only */
    char *request;                  /* for repeating; of an INVITE also to make the ACK from */
    size_t request_size;
    struct buffer ack;
    char branch[TRANSACTION_BRANCH_MAX + 1];
    size_t key_size;
    char key[KEY_MAX];
};

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* ---- What a step does ---- */

static void arm(struct client_transaction *t, struct timer *timer, uint64_t after_ms);

static void send_bytes(struct client_transaction *t, struct slice bytes)
{
    const struct transaction_transport *transport = &t->table->transport;

    if (transport->send(transport->context, &t->way, bytes) == ERROR_NONE)
        return;
    t->send_failed = true;
    run_queue_add(&t->table->base->run_queue, &t->task);
}

static void send_request_again(struct client_transaction *t)
{
    send_bytes(t, (struct slice){ t->request, t->request_size });
}

/* Timer A doubles without end, E up to T2. */
static void repeat_request(struct client_transaction *t)
{
    unsigned t2_ms = t->table->timing.t2_ms;

    if (t->invite)
        t->repeat_ms *= 2; /* at most 64*T1, then B fires */
    else if (t->state == CLIENT_PROCEEDING || t->repeat_ms > t2_ms / 2)
        t->repeat_ms = t2_ms;
    else
        t->repeat_ms *= 2;
    arm(t, &t->repeat, t->repeat_ms);
    send_request_again(t);
}

/* 17.1.1.3. Without memory there is no ACK now; the refusal comes again and it is tried anew. */
static void make_ack(struct client_transaction *t)
{
    struct message invite;

    message_init(&invite, 0);
    if (message_parse(&invite, (struct slice){ t->request, t->request_size }) == ERROR_NONE &&
        request_write_ack(&invite, t->received, &t->ack) == ERROR_NONE && !t->ack.failed) {
        mem_free(t->request);
        t->request = NULL;
    } else {
        buffer_free(&t->ack);
        buffer_init(&t->ack, 0);
    }
    message_free(&invite);
}

static void acknowledge(struct client_transaction *t)
{
    if (buffer_size(&t->ack) == 0)
        make_ack(t);
    if (buffer_size(&t->ack) > 0)
        send_bytes(t, buffer_slice(&t->ack));
}

static void report_response(struct client_transaction *t)
{
    if (t->user)
        t->user->response(t->owner, t, t->received);
}

static void acknowledge_and_report(struct client_transaction *t)
{
    acknowledge(t);
    report_response(t);
}

/* Nobody waits any more: what the callee says late is still acknowledged, but not for ever. */
static void limit_patience(struct client_transaction *t)
{
    arm(t, &t->deadline, 64 * (uint64_t)t->table->timing.t1_ms);
}

static void report_timeout(struct client_transaction *t)
{
    if (t->user)
        t->user->timed_out(t->owner, t);
}

static void report_transport(struct client_transaction *t)
{
    if (t->user)
        t->user->transport_failed(t->owner, t);
}

/* An absent step is: nothing happens. */
struct client_step {
    enum client_state next; /* CLIENT_NONE: stays */
    void (*act)(struct client_transaction *t);
};

typedef const struct client_step client_steps[CLIENT_TERMINATED + 1][CLIENT_EVENTS];

static client_steps invite_steps = {
    [CLIENT_NEW] = {
        [CLIENT_START] = { CLIENT_CALLING, NULL },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        [CLIENT_DETACH] = { CLIENT_TERMINATED, NULL },
    },
    [CLIENT_CALLING] = {
        [CLIENT_1XX] = { CLIENT_PROCEEDING, report_response },
        [CLIENT_2XX] = { CLIENT_ACCEPTED, report_response },
        [CLIENT_REFUSAL] = { CLIENT_COMPLETED, acknowledge_and_report },
        [CLIENT_REPEAT_DUE] = { CLIENT_NONE, repeat_request },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, report_timeout },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        /* B, which runs, ends it. */
        [CLIENT_DETACH] = { CLIENT_NONE, NULL },
    },
    [CLIENT_PROCEEDING] = {
        [CLIENT_1XX] = { CLIENT_NONE, report_response },
        [CLIENT_2XX] = { CLIENT_ACCEPTED, report_response },
        [CLIENT_REFUSAL] = { CLIENT_COMPLETED, acknowledge_and_report },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, NULL },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        [CLIENT_DETACH] = { CLIENT_NONE, limit_patience },
    },
    [CLIENT_COMPLETED] = {
        [CLIENT_REFUSAL] = { CLIENT_NONE, acknowledge },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, NULL },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
    },
    [CLIENT_ACCEPTED] = {
        [CLIENT_2XX] = { CLIENT_NONE, report_response },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, NULL },
    },
};

static client_steps other_steps = {
    [CLIENT_NEW] = {
        [CLIENT_START] = { CLIENT_TRYING, NULL },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        [CLIENT_DETACH] = { CLIENT_TERMINATED, NULL },
    },
    [CLIENT_TRYING] = {
        [CLIENT_1XX] = { CLIENT_PROCEEDING, report_response },
        [CLIENT_2XX] = { CLIENT_COMPLETED, report_response },
        [CLIENT_REFUSAL] = { CLIENT_COMPLETED, report_response },
        [CLIENT_REPEAT_DUE] = { CLIENT_NONE, repeat_request },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, report_timeout },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        [CLIENT_DETACH] = { CLIENT_TERMINATED, NULL },
    },
    [CLIENT_PROCEEDING] = {
        [CLIENT_1XX] = { CLIENT_NONE, report_response },
        [CLIENT_2XX] = { CLIENT_COMPLETED, report_response },
        [CLIENT_REFUSAL] = { CLIENT_COMPLETED, report_response },
        [CLIENT_REPEAT_DUE] = { CLIENT_NONE, repeat_request },
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, report_timeout },
        [CLIENT_TRANSPORT_ERROR] = { CLIENT_TERMINATED, report_transport },
        [CLIENT_DETACH] = { CLIENT_TERMINATED, NULL },
    },
    [CLIENT_COMPLETED] = {
        [CLIENT_DEADLINE_DUE] = { CLIENT_TERMINATED, NULL },
    },
};

static const bool allowed[CLIENT_TERMINATED + 1][CLIENT_TERMINATED + 1] = {
    [CLIENT_NONE] = { [CLIENT_NEW] = true },
    [CLIENT_NEW] = { [CLIENT_CALLING] = true, [CLIENT_TRYING] = true, [CLIENT_TERMINATED] = true },
    [CLIENT_CALLING] = { [CLIENT_PROCEEDING] = true,
                         [CLIENT_COMPLETED] = true,
                         [CLIENT_ACCEPTED] = true,
                         [CLIENT_TERMINATED] = true },
    [CLIENT_TRYING] = { [CLIENT_PROCEEDING] = true,
                        [CLIENT_COMPLETED] = true,
                        [CLIENT_TERMINATED] = true },
    [CLIENT_PROCEEDING] = { [CLIENT_COMPLETED] = true,
                            [CLIENT_ACCEPTED] = true,
                            [CLIENT_TERMINATED] = true },
    [CLIENT_COMPLETED] = { [CLIENT_TERMINATED] = true },
    [CLIENT_ACCEPTED] = { [CLIENT_TERMINATED] = true },
};

/* ---- States and timers ---- */

/* The heap has had room for this timer since client_transaction_new(): it can't fail. */
static void arm(struct client_transaction *t, struct timer *timer, uint64_t after_ms)
{
    struct worker_base *base = t->table->base;
    uint64_t due = after_ms == NEVER ? NEVER : base->now_mono_ms + after_ms;
    enum error error = timer_start(&base->timers, timer, due);

    assert(error == ERROR_NONE);
}

static void client_become(struct client_transaction *t, enum client_state state);

static void end_after(struct client_transaction *t, uint64_t after_ms)
{
    if (after_ms == 0)
        client_become(t, CLIENT_TERMINATED);
    else
        arm(t, &t->deadline, after_ms);
}

static void enter_first(struct client_transaction *t)
{
    unsigned t1_ms = t->table->timing.t1_ms;

    arm(t, &t->deadline, 64 * (uint64_t)t1_ms);
    if (t->way.reliable)
        return;
    t->repeat_ms = t1_ms;
    arm(t, &t->repeat, t1_ms);
}

/* An INVITE waits without limit here, as long as somebody waits for it; others keep E and F. */
static void enter_proceeding(struct client_transaction *t)
{
    if (!t->invite)
        return;
    timer_stop(&t->table->base->timers, &t->repeat);
    if (t->user)
        arm(t, &t->deadline, NEVER);
}

static void enter_completed(struct client_transaction *t)
{
    const struct transaction_timing *timing = &t->table->timing;
    uint64_t wait_ms = t->invite ? 64 * (uint64_t)timing->t1_ms : timing->t4_ms;

    timer_stop(&t->table->base->timers, &t->repeat);
    end_after(t, t->way.reliable ? 0 : wait_ms);
}

static void enter_terminated(struct client_transaction *t)
{
    struct client_table *table = t->table;

    timer_stop(&table->base->timers, &t->deadline);
    timer_stop(&table->base->timers, &t->repeat);
    HASH_DELETE(hh, table->all, t);
    DL_APPEND(table->ending, t);
    run_queue_add(&table->base->run_queue, &t->task);
}

static void client_become(struct client_transaction *t, enum client_state state)
{
    assert(allowed[t->state][state]);
    t->state = state;
    switch (state) {
    case CLIENT_NONE:
    case CLIENT_NEW:
        break;
    case CLIENT_CALLING:
    case CLIENT_TRYING:
        enter_first(t);
        break;
    case CLIENT_PROCEEDING:
        enter_proceeding(t);
        break;
    case CLIENT_COMPLETED:
        enter_completed(t);
        break;
    case CLIENT_ACCEPTED:
        timer_stop(&t->table->base->timers, &t->repeat);
        arm(t, &t->deadline, 64 * (uint64_t)t->table->timing.t1_ms);
        break;
    case CLIENT_TERMINATED:
        enter_terminated(t);
        break;
    }
}

static void client_event(struct client_transaction *t, enum client_event event)
{
    const struct client_step *step =
        t->invite ? &invite_steps[t->state][event] : &other_steps[t->state][event];

    if (step->next != CLIENT_NONE)
        client_become(t, step->next);
    if (step->act)
        step->act(t);
}

static void fire_repeat(struct timer *timer)
{
    client_event(CONTAINER(timer, struct client_transaction, repeat), CLIENT_REPEAT_DUE);
}

static void fire_deadline(struct timer *timer)
{
    client_event(CONTAINER(timer, struct client_transaction, deadline), CLIENT_DEADLINE_DUE);
}

/* ---- Life ---- */

static void release(struct client_transaction *t)
{
    struct client_table *table = t->table;

    timer_stop(&table->base->timers, &t->deadline);
    timer_stop(&table->base->timers, &t->repeat);
    run_queue_remove(&table->base->run_queue, &t->task);
    table->count--;
    atomic_fetch_sub_explicit(&table->base->counters->transactions, 1, memory_order_relaxed);
    mem_free(t->request);
    buffer_free(&t->ack);
    mem_free(t);
}

static void run_task(struct task *task)
{
    struct client_transaction *t = CONTAINER(task, struct client_transaction, task);

    if (t->send_failed) {
        t->send_failed = false;
        client_event(t, CLIENT_TRANSPORT_ERROR);
    }
    if (t->state != CLIENT_TERMINATED)
        return;
    DL_DELETE(t->table->ending, t);
    if (t->user)
        t->user->ended(t->owner, t);
    release(t);
}

void client_table_init(struct client_table *table, struct worker_base *base,
                       const struct transaction_timing *timing,
                       const struct transaction_transport *transport, size_t limit)
{
    *table = (struct client_table){
        .base = base, .timing = *timing, .transport = *transport, .limit = limit
    };
}

void client_table_free(struct client_table *table)
{
    struct client_transaction *t, *next;

    DL_FOREACH_SAFE(table->ending, t, next)
    release(t);
    table->ending = NULL;
    HASH_ITER(hh, table->all, t, next)
    {
        HASH_DELETE(hh, table->all, t);
        release(t);
    }
}

/* Takes the places in the heap that its states will need, so that no later step can fail. */
static enum error reserve_timers(struct client_transaction *t)
{
    struct timers *timers = &t->table->base->timers;

    if (timer_start(timers, &t->deadline, NEVER) != ERROR_NONE)
        return ERROR_MEMORY;
    return t->way.reliable ? ERROR_NONE : timer_start(timers, &t->repeat, NEVER);
}

static enum error enter_table(struct client_transaction *t, struct slice method)
{
    struct transaction_key key;
    struct client_transaction *same;

    if (transaction_key_of_response(&key, slice_of(t->branch), method) != ERROR_NONE ||
        key.size > KEY_MAX)
        return ERROR_TOO_LARGE;
    HASH_FIND_BYHASHVALUE(hh, t->table->all, key.bytes, key.size, key.hash, same);
    if (same)
        return ERROR_MALFORMED;
    memcpy(t->key, key.bytes, key.size);
    t->key_size = key.size;
    HASH_ADD_BYHASHVALUE(hh, t->table->all, key[0], t->key_size, key.hash, t);
    return t->hh.tbl ? ERROR_NONE : ERROR_MEMORY;
}

static enum error make(struct client_table *table, struct slice method, const char *branch,
                       const struct transaction_way *way, struct client_transaction **out)
{
    struct client_transaction *t;
    enum error error;

    if (method.size == 0 || slice_equal(method, SLICE("ACK")))
        return ERROR_MALFORMED;
    if (table->count >= table->limit || method.size > TRANSACTION_METHOD_MAX)
        return ERROR_TOO_LARGE;
    t = mem_zero(1, sizeof(*t));
    if (!t)
        return ERROR_MEMORY;
    table->count++;
    atomic_fetch_add_explicit(&table->base->counters->transactions, 1, memory_order_relaxed);
    t->table = table;
    t->invite = slice_equal(method, SLICE("INVITE"));
    t->way = *way;
    t->deadline.fire = fire_deadline;
    t->repeat.fire = fire_repeat;
    t->task.run = run_task;
    buffer_init(&t->ack, 0);
    if (branch)
        memcpy(t->branch, branch, strlen(branch) + 1);
    else
        transaction_branch_make(t->branch, table->base->index);
    error = reserve_timers(t);
    if (error == ERROR_NONE)
        error = enter_table(t, method);
    if (error != ERROR_NONE) {
        release(t);
        return error;
    }
    client_become(t, CLIENT_NEW);
    *out = t;
    return ERROR_NONE;
}

enum error client_transaction_new(struct client_table *table, struct slice method,
                                  const struct transaction_way *way, const struct client_user *user,
                                  void *owner, struct client_transaction **out)
{
    enum error error = make(table, method, NULL, way, out);

    if (error != ERROR_NONE)
        return error;
    (*out)->user = user;
    (*out)->owner = owner;
    return ERROR_NONE;
}

enum error client_transaction_new_cancel(struct client_transaction *invite,
                                         const struct client_user *user, void *owner,
                                         struct client_transaction **out)
{
    enum error error;

    if (!invite->invite)
        return ERROR_MALFORMED;
    error = make(invite->table, SLICE("CANCEL"), invite->branch, &invite->way, out);
    if (error != ERROR_NONE)
        return error;
    (*out)->user = user;
    (*out)->owner = owner;
    return ERROR_NONE;
}

/* ---- Matching (17.1.3) ---- */

struct client_transaction *client_table_find(const struct client_table *table, struct slice branch,
                                             struct slice cseq_method, uint64_t device)
{
    struct client_transaction *t;
    struct transaction_key key;

    if (!table->all || branch.size > TRANSACTION_BRANCH_MAX ||
        transaction_key_of_response(&key, branch, cseq_method) != ERROR_NONE)
        return NULL;
    HASH_FIND_BYHASHVALUE(hh, table->all, key.bytes, key.size, key.hash, t);
    if (!t || t->way.device != device || t->state == CLIENT_NEW)
        return NULL;
    return t;
}

/* ---- What the owner says ---- */

static enum error keep_request(struct client_transaction *t, struct slice request)
{
    char *copy;

    if (!t->invite && t->way.reliable)
        return ERROR_NONE;
    copy = mem_alloc(request.size);
    if (!copy)
        return ERROR_MEMORY;
    memcpy(copy, request.data, request.size);
    mem_free(t->request);
    t->request = copy;
    t->request_size = request.size;
    return ERROR_NONE;
}

enum error client_transaction_start(struct client_transaction *t, struct slice request)
{
    enum error error;

    assert(t->state == CLIENT_NEW && request.size > 0);
    error = keep_request(t, request);
    if (error == ERROR_NONE)
        client_event(t, CLIENT_START);
    return error;
}

enum error client_transaction_rewrite(struct client_transaction *t, struct slice request)
{
    return t->state == CLIENT_CALLING || t->state == CLIENT_TRYING ? keep_request(t, request)
                                                                   : ERROR_NONE;
}

struct slice client_transaction_request(const struct client_transaction *t)
{
    return (struct slice){ t->request, t->request_size };
}

void client_transaction_set_way(struct client_transaction *t, const struct transaction_way *way)
{
    t->way.flow = way->flow;
}

static enum client_event event_of_status(unsigned status)
{
    if (status < 200)
        return CLIENT_1XX;
    return status < 300 ? CLIENT_2XX : CLIENT_REFUSAL;
}

void client_transaction_received(struct client_transaction *t, const struct message *response)
{
    assert(!response->is_request && response->status >= 100);
    t->received = response;
    client_event(t, event_of_status(response->status));
    t->received = NULL;
}

void client_transaction_transport_failed(struct client_transaction *t)
{
    t->send_failed = true;
    run_queue_add(&t->table->base->run_queue, &t->task);
}

void client_transaction_detach(struct client_transaction *t)
{
    t->user = NULL;
    t->owner = NULL;
    client_event(t, CLIENT_DETACH);
}

const char *client_transaction_branch(const struct client_transaction *t)
{
    return t->branch;
}

bool client_transaction_may_cancel(const struct client_transaction *t)
{
    return t->invite && t->state == CLIENT_PROCEEDING;
}

enum client_state client_transaction_state(const struct client_transaction *t)
{
    return t->state;
}

bool client_transaction_is_invite(const struct client_transaction *t)
{
    return t->invite;
}

const struct transaction_way *client_transaction_way(const struct client_transaction *t)
{
    return &t->way;
}

void *client_transaction_owner(const struct client_transaction *t)
{
    return t->owner;
}

const char *client_state_text(enum client_state state)
{
    static const char *const names[] = {
        [CLIENT_NONE] = "none",
        [CLIENT_NEW] = "new",
        [CLIENT_CALLING] = "calling",
        [CLIENT_TRYING] = "trying",
        [CLIENT_PROCEEDING] = "proceeding",
        [CLIENT_COMPLETED] = "completed",
        [CLIENT_ACCEPTED] = "accepted",
        [CLIENT_TERMINATED] = "terminated",
    };
    return names[state];
}
