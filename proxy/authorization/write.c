/* SPDX-License-Identifier: Apache-2.0 */
/* BIND and UNBIND, in order, on a connection of their own. When it is lost, what somebody still
 * waits for is sent again: both commands say how things are to be, so twice is once. */
#include "common/mem.h"
#include "proxy/authorization/ask_internal.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

struct write {
    struct write_waiter *waiter; /* NULL: nobody waits any more */
    bool sent;
    struct write *prev, *next;
    struct slice command; /* follows the struct */
};

/* ---- Ends ---- */

static void forget(struct writes *writes, struct write *write)
{
    DL_DELETE(writes->first, write);
    writes->count--;
    mem_free(write);
}

static void finish(struct writes *writes, enum write_outcome outcome, uint64_t epoch,
                   uint64_t serial)
{
    struct write_waiter *waiter = writes->first->waiter;

    forget(writes, writes->first);
    if (!waiter)
        return;
    waiter->write = NULL;
    waiter->outcome = outcome;
    waiter->epoch = epoch;
    waiter->serial = serial;
    run_queue_add(&writes->base->run_queue, &waiter->task);
}

static void waiter_run(struct task *task)
{
    struct write_waiter *waiter =
        (struct write_waiter *)((char *)task - offsetof(struct write_waiter, task));

    waiter->done(waiter);
}

void write_leave(struct write_waiter *waiter)
{
    struct write *write = waiter->write;

    if (!waiter->ask)
        return;
    if (write) {
        write->waiter = NULL;
        if (!write->sent)
            forget(ask_writes(waiter->ask), write);
    }
    run_queue_remove(&ask_writes(waiter->ask)->base->run_queue, &waiter->task);
    waiter->write = NULL;
    waiter->ask = NULL;
    waiter->outcome = WRITE_NONE;
}

/* ---- The connection ---- */

static void send_all(struct task *task)
{
    struct writes *writes = (struct writes *)((char *)task - offsetof(struct writes, sending));
    struct write *write;

    if (!writes->ready || writes->link.state != LINK_OPEN)
        return;
    DL_FOREACH(writes->first, write)
    {
        if (write->sent)
            continue;
        buffer_add(link_output(&writes->link), write->command);
        write->sent = true;
    }
    link_flush(&writes->link);
}

static void send_later(struct writes *writes)
{
    run_queue_add(&writes->base->run_queue, &writes->sending);
}

/* After a loss: what nobody waits for is dropped, the rest is unsent again. */
static void unsend(struct writes *writes)
{
    struct write *write, *next;

    DL_FOREACH_SAFE(writes->first, write, next)
    {
        if (!write->waiter)
            forget(writes, write);
        else
            write->sent = false;
    }
}

static void on_connecting(void *owner)
{
    (void)owner;
}

static void on_opened(void *owner)
{
    send_later(owner);
}

static void on_lost(void *owner, bool garbage)
{
    struct writes *writes = owner;

    if (garbage && log_limit_pass(&writes->log_limit, ASK_LOG_BURST, writes->base->now_mono_ms))
        log_write(LOG_ERROR, "mapperd-garbage", "a reply to BIND or UNBIND can't be read");
    unsend(writes);
}

static void close_link(struct writes *writes, bool garbage)
{
    link_close(&writes->link);
    on_lost(writes, garbage);
}

static void on_failure(struct writes *writes, struct slice text)
{
    struct log_line line;

    if (slice_has_prefix(text,
                         SLICE("LOADING"))) { /* it stood still for a moment: again, in order */
        close_link(writes, false);
        return;
    }
    if (slice_has_prefix(text, SLICE("UNCONFIRMED"))) {
        finish(writes, WRITE_UNCONFIRMED, 0, 0);
        return;
    }
    if (log_limit_pass(&writes->log_limit, ASK_LOG_BURST, writes->base->now_mono_ms)) {
        log_begin(&line, LOG_ERROR, "mapperd-refused");
        log_word(&line, "command", "bind");
        log_text(&line, "detail", text);
        log_end(&line);
    }
    finish(writes, WRITE_REFUSED, 0, 0);
}

static bool read_stored(const struct resp_value *value, uint64_t *epoch, uint64_t *serial)
{
    struct slice rest = value->text;
    struct resp_value item[3];

    if (value->type != RESP_ARRAY || value->count != 3)
        return false;
    for (size_t i = 0; i < 3; i++) {
        if (!resp_item(&rest, &item[i]))
            return false;
    }
    if (item[0].type != RESP_INTEGER || item[0].integer <= 0 || item[1].type != RESP_INTEGER ||
        item[1].integer < 0 || item[2].type != RESP_BULK || !slice_equal(item[2].text, SLICE("OK")))
        return false;
    *epoch = (uint64_t)item[0].integer;
    *serial = (uint64_t)item[1].integer;
    return true;
}

static void on_value(void *owner, const struct resp_value *value)
{
    struct writes *writes = owner;
    uint64_t epoch, serial;

    if (!writes->first || !writes->first->sent) { /* a reply to nothing */
        close_link(writes, true);
    } else if (value->type == RESP_FAILURE) {
        on_failure(writes, value->text);
    } else if (read_stored(value, &epoch, &serial)) {
        link_proved(&writes->link);
        finish(writes, WRITE_STORED, epoch, serial);
    } else {
        close_link(writes, true);
    }
}

enum error writes_init(struct writes *writes, struct worker_base *base, struct ask *ask,
                       const char *path)
{
    static const struct resp_limits limits = { .value_max = 16384, .items_max = 16 };
    struct link_user user = { .owner = writes,
                              .connecting = on_connecting,
                              .opened = on_opened,
                              .value = on_value,
                              .lost = on_lost };

    *writes = (struct writes){ .base = base, .ask = ask, .sending = { .run = send_all } };
    return link_init(&writes->link, base, path, &limits, &user);
}

enum error writes_start(struct writes *writes)
{
    return link_start(&writes->link);
}

void writes_stop(struct writes *writes)
{
    if (!writes->base) /* never begun */
        return;
    link_stop(&writes->link);
    run_queue_remove(&writes->base->run_queue, &writes->sending);
    unsend(writes);
    assert(!writes->first);
}

void writes_set_ready(struct writes *writes, bool ready)
{
    writes->ready = ready;
    if (ready)
        send_later(writes);
}

/* ---- Commands ---- */

/* `command` is a whole command in RESP. */
static enum write_outcome start(struct ask *ask, struct buffer *command,
                                struct write_waiter *waiter)
{
    struct writes *writes = ask_writes(ask);
    struct slice bytes = buffer_slice(command);
    struct write *write;

    assert(!waiter->ask && !waiter->write);
    if (command->failed || writes->count >= ASK_WRITES_MAX)
        return WRITE_FULL;
    write = mem_alloc(sizeof *write + bytes.size);
    if (!write)
        return WRITE_FULL;
    memcpy(write + 1, bytes.data, bytes.size);
    *write = (struct write){ .waiter = waiter, .command = { (char *)(write + 1), bytes.size } };
    waiter->ask = ask;
    waiter->write = write;
    waiter->task.run = waiter_run;
    waiter->outcome = WRITE_WAITING;
    DL_APPEND(writes->first, write);
    writes->count++;
    send_later(writes);
    return WRITE_WAITING;
}

static void add_number(struct buffer *out, uint64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)value);

    resp_add_bulk(out, (struct slice){ text, (size_t)size });
}

enum write_outcome ask_bind(struct ask *ask, const struct bind_arguments *a,
                            struct write_waiter *waiter)
{
    struct buffer command;
    enum write_outcome outcome;

    buffer_init(&command, RESP_COMMAND_MAX);
    /* One argument less is what a mapperd that knows of no third parties takes, too. */
    resp_add_array(&command, a->registered_by.size ? 17 : 16);
    resp_add_bulk_text(&command, "BIND");
    resp_add_bulk(&command, a->aor);
    resp_add_bulk(&command, a->device_key);
    resp_add_bulk(&command, a->store);
    resp_add_bulk(&command, a->cn);
    resp_add_bulk(&command, a->ground);
    resp_add_bulk(&command, a->entry);
    resp_add_bulk(&command, a->instance);
    add_number(&command, a->reg_id);
    resp_add_bulk(&command, a->contact);
    add_number(&command, a->expires_unix_s);
    add_number(&command, a->q);
    resp_add_bulk(&command, a->call_id);
    add_number(&command, a->cseq);
    resp_add_bulk(&command, a->flow);
    resp_add_bulk(&command, a->path);
    if (a->registered_by.size)
        resp_add_bulk(&command, a->registered_by);
    outcome = start(ask, &command, waiter);
    buffer_free(&command);
    return outcome;
}

enum write_outcome ask_unbind(struct ask *ask, const struct unbind_arguments *a,
                              struct write_waiter *waiter)
{
    struct buffer command;
    enum write_outcome outcome;

    buffer_init(&command, RESP_COMMAND_MAX);
    resp_add_array(&command, 6);
    resp_add_bulk_text(&command, "UNBIND");
    resp_add_bulk(&command, a->aor);
    resp_add_bulk(&command, a->device_key);
    resp_add_bulk(&command, a->instance);
    add_number(&command, a->reg_id);
    resp_add_bulk(&command, a->contact);
    outcome = start(ask, &command, waiter);
    buffer_free(&command);
    return outcome;
}
