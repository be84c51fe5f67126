/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a connection: its states, its deadlines, its output. Events decide what to do,
 * connection_become() alone changes the state; the user hears of the end from the run queue, never
 * from inside a call of its own. */
#include "proxy/net/net_internal.h"

#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

#define OUTPUT_FIRST 2048 /* most messages fit: one allocation instead of four */
#define CLOSING_MS   5000 /* for sending what waits */
#define LINGER_MS \
    2000 /* for the peer's end after ours, so that a reset does not eat our last words */
/* The calendar's clock may be set: what ends by it is looked at so often, whatever is left. */
#define CALENDAR_MS 60000

static uint64_t now_of(const struct connection *c)
{
    return c->net->base->now_mono_ms;
}

/* ---- What others may ask ---- */

enum connection_state connection_state(const struct connection *c)
{
    return c->state;
}

struct flow connection_flow(const struct connection *c)
{
    return c->flow;
}

enum transport connection_transport(const struct connection *c)
{
    return c->transport;
}

const struct address *connection_remote(const struct connection *c)
{
    return &c->remote;
}

const struct address *connection_local(const struct connection *c)
{
    return &c->local;
}

const char *connection_remote_text(const struct connection *c)
{
    return c->remote_text;
}

bool connection_is_outbound(const struct connection *c)
{
    return c->outbound;
}

const struct config_listener *connection_listener(const struct connection *c)
{
    return c->listener;
}

const struct peer_identity *connection_identity(const struct connection *c)
{
    return c->identity;
}

struct peer_identity *connection_take_identity(struct connection *c)
{
    struct peer_identity *identity = c->identity;
    c->identity = NULL;
    return identity;
}

const char *connection_advertised(const struct connection *c)
{
    const char *listener = c->route ? c->route->listener : NULL;
    return net_advertised(c->net, c->transport, c->listener ? c->listener->name : listener);
}

const struct config_route *connection_route(const struct connection *c)
{
    return c->route;
}

void *connection_peer(const struct connection *c)
{
    return c->peer;
}

void connection_set_peer(struct connection *c, void *peer)
{
    c->peer = peer;
}

void connection_recognise(struct connection *c)
{
    c->recognised = true;
}

/* ---- States ---- */

#define TO(state) (1u << (state))
static const unsigned allowed[] = {
    [CONNECTION_NONE] = TO(CONNECTION_CONNECTING) | TO(CONNECTION_HANDSHAKING) |
                        TO(CONNECTION_OPEN) | TO(CONNECTION_DEAD),
    [CONNECTION_CONNECTING] =
        TO(CONNECTION_HANDSHAKING) | TO(CONNECTION_OPEN) | TO(CONNECTION_DEAD),
    [CONNECTION_HANDSHAKING] = TO(CONNECTION_CHECKING) | TO(CONNECTION_OPEN) |
                               TO(CONNECTION_CLOSING) | TO(CONNECTION_DEAD),
    [CONNECTION_CHECKING] = TO(CONNECTION_OPEN) | TO(CONNECTION_CLOSING) | TO(CONNECTION_DEAD),
    [CONNECTION_OPEN] = TO(CONNECTION_CLOSING) | TO(CONNECTION_DEAD),
    [CONNECTION_CLOSING] = TO(CONNECTION_DEAD),
    [CONNECTION_DEAD] = 0,
};

/* Peers' handshakes may not crowd out our own. */
static void leave_handshakes(struct connection *c)
{
    if (c->outbound)
        return;
    DL_DELETE(c->net->handshakes_list, c);
    c->net->handshakes--;
}

static void leave(struct connection *c, enum connection_state to)
{
    switch (c->state) {
    case CONNECTION_HANDSHAKING:
        if (to != CONNECTION_CHECKING)
            leave_handshakes(c);
        break;
    case CONNECTION_CHECKING:
        atomic_fetch_sub_explicit(&c->net->base->counters->ocsp_waiting, 1, memory_order_relaxed);
        leave_handshakes(c);
        break;
    case CONNECTION_OPEN:
        atomic_fetch_sub_explicit(&c->net->base->counters->connections, 1, memory_order_relaxed);
        connection_log_end(c);
        break;
    case CONNECTION_CONNECTING:
        if (to == CONNECTION_DEAD && c->end == END_CONNECT)
            connection_log_connect_failure(c);
        break;
    case CONNECTION_NONE:
    case CONNECTION_CLOSING:
    case CONNECTION_DEAD:
        break;
    }
}

static void enter_checking(struct connection *c)
{
    ev_io_stop(c->net->base->loop, &c->read_io);
    atomic_fetch_add_explicit(&c->net->base->counters->ocsp_waiting, 1, memory_order_relaxed);
}

static void enter_open(struct connection *c)
{
    c->opened = true;
    c->received_mono_ms = now_of(c);
    atomic_fetch_add_explicit(&c->net->base->counters->connections, 1, memory_order_relaxed);
    connection_log_opened(c);
}

/* From here on the user may not count on it. */
static void enter_end(struct connection *c)
{
    status_end(c);
    if (c->outbound && c->known && !c->told && !task_queued(&c->task))
        DL_DELETE(c->net->outbound_list, c);
    if (c->known && !c->told)
        run_queue_add(&c->net->base->run_queue, &c->task);
}

static void enter_dead(struct connection *c)
{
    ev_io_stop(c->net->base->loop, &c->read_io);
    ev_io_stop(c->net->base->loop, &c->write_io);
    timer_stop(&c->net->base->timers, &c->timer);
    net_mark_dead(c->net, c);
}

void connection_become(struct connection *c, enum connection_state to)
{
    assert(allowed[c->state] & TO(to));
    leave(c, to);
    c->state = to;
    switch (to) {
    case CONNECTION_HANDSHAKING:
        if (c->outbound)
            break;
        DL_APPEND(c->net->handshakes_list, c);
        c->net->handshakes++;
        break;
    case CONNECTION_CHECKING:
        enter_checking(c);
        break;
    case CONNECTION_CONNECTING:
        c->known = true;
        DL_APPEND(c->net->outbound_list, c);
        break;
    case CONNECTION_OPEN:
        enter_open(c);
        break;
    case CONNECTION_CLOSING:
        c->begun_mono_ms = now_of(c);
        enter_end(c);
        break;
    case CONNECTION_DEAD:
        enter_end(c);
        enter_dead(c);
        break;
    case CONNECTION_NONE:
        break;
    }
}

void connection_tell(struct connection *c)
{
    if (!c->known || c->told)
        return;
    c->told = true;
    if (c->opened)
        c->net->user.closed(c->net->user.owner, c, c->end);
    else
        c->net->user.failed(c->net->user.owner, c, c->end);
}

static void run_tell(struct task *task)
{
    connection_tell((struct connection *)((char *)task - offsetof(struct connection, task)));
}

void connection_free(struct connection *c)
{
    stream_close(&c->stream);
    tls_session_release(&c->session);
    buffer_free(&c->input);
    buffer_free(&c->output);
    peer_identity_free(c->identity);
    config_drop(c->listener_config);
    config_drop(c->config);
    mem_free(c);
}

/* ---- Deadlines ---- */

struct deadline {
    uint64_t due_mono_ms;
    enum connection_end end;
};

static void nearer(struct deadline *d, uint64_t since_mono_ms, uint64_t ms, enum connection_end end)
{
    if (since_mono_ms + ms < d->due_mono_ms)
        *d = (struct deadline){ since_mono_ms + ms, end };
}

/* OpenSSL, too, takes a certificate as over in the very second of its notAfter. */
static void nearer_expiry(struct deadline *d, const struct connection *c)
{
    uint64_t now_unix_s = c->net->base->now_unix_s;
    uint64_t left_s = c->expires_unix_s > now_unix_s ? c->expires_unix_s - now_unix_s : 0;
    if (!c->expires_unix_s)
        return;
    if (left_s > CALENDAR_MS / 1000)
        nearer(d, now_of(c), CALENDAR_MS, END_NONE);
    else
        nearer(d, now_of(c), left_s * 1000, END_EXPIRED);
}

/* Of an answer that is awaited, or that its store requires; status_look() acts on it. */
static void nearer_status(struct deadline *d, const struct connection *c)
{
    uint64_t now_unix_s = c->net->base->now_unix_s;
    bool over;
    if (!c->status.entry)
        return;
    if (c->status_by_mono_ms) {
        nearer(d, c->status_by_mono_ms, 0, END_STATUS);
    } else if (c->asking.rule == OCSP_REQUIRED) {
        uint64_t until_unix_s = status_known(&c->status, &over)->until_unix_s;
        uint64_t left_s = until_unix_s > now_unix_s ? until_unix_s - now_unix_s : 0;
        nearer(d, now_of(c), left_s > CALENDAR_MS / 1000 ? CALENDAR_MS : left_s * 1000, END_STATUS);
    }
}

/* A stranger (on the routes' listener, or over TLS without certificate) gets nothing but 403: it
 * shall not hold a place for long. */
static struct deadline next_deadline(const struct connection *c)
{
    const struct config_timers *t = &c->config->timers;
    struct deadline d = { UINT64_MAX, END_NONE };
    switch (c->state) {
    case CONNECTION_CONNECTING:
        nearer(&d, c->begun_mono_ms, t->handshake_timeout_ms, END_CONNECT);
        break;
    case CONNECTION_HANDSHAKING:
        nearer(&d, c->begun_mono_ms, t->handshake_timeout_ms, END_HANDSHAKE);
        break;
    case CONNECTION_CHECKING:
        nearer_status(&d, c);
        break;
    case CONNECTION_OPEN:
        nearer_status(&d, c);
        if (!c->recognised)
            nearer(&d, c->received_mono_ms, t->message_timeout_ms, END_IDLE);
        else if (t->idle_timeout_ms)
            nearer(&d, c->received_mono_ms, t->idle_timeout_ms, END_IDLE);
        nearer_expiry(&d, c);
        if (c->message_begun_mono_ms)
            nearer(&d, c->message_begun_mono_ms, t->message_timeout_ms, END_MESSAGE_TIMEOUT);
        if (c->output_since_mono_ms)
            nearer(&d, c->output_since_mono_ms, t->output_timeout_ms, END_OUTPUT_STALLED);
        break;
    case CONNECTION_CLOSING:
        nearer(&d, c->begun_mono_ms, c->ended_sending ? LINGER_MS : CLOSING_MS, c->end);
        break;
    case CONNECTION_NONE:
    case CONNECTION_DEAD:
        break;
    }
    return d;
}

/* A timer that is due too early only looks again, so that a message costs no work in the heap. */
void connection_arm(struct connection *c)
{
    struct deadline d = next_deadline(c);
    if (d.due_mono_ms == UINT64_MAX)
        return;
    if (timer_active(&c->timer) && c->timer.due_mono_ms <= d.due_mono_ms)
        return;
    if (timer_start(&c->net->base->timers, &c->timer, d.due_mono_ms) != ERROR_NONE)
        connection_close(c, END_MEMORY);
}

static void on_timer(struct connection *c)
{
    bool has_status = c->state == CONNECTION_OPEN && c->status.entry;
    if ((c->state == CONNECTION_CHECKING || has_status) && status_look(c))
        return;
    struct deadline d = next_deadline(c);
    if (d.due_mono_ms > now_of(c)) {
        connection_arm(c);
        return;
    }
    if (c->state == CONNECTION_HANDSHAKING)
        connection_log_handshake_failure(c, "too slow");
    if (d.end == END_IDLE || d.end == END_EXPIRED)
        connection_close_after_flush(c, d.end); /* it may only be quiet: it gets a proper end */
    else
        connection_close(c, d.end);
}

/* ---- Output ---- */

struct buffer *connection_output(struct connection *c)
{
    if (c->state != CONNECTION_OPEN && c->state != CONNECTION_CONNECTING &&
        !(connection_is_coming(c) && c->outbound) &&
        !(c->state == CONNECTION_CLOSING && c->opened && !c->ended_sending)) {
        buffer_reset(&c->net->nowhere);
        return &c->net->nowhere;
    }
    if (buffer_size(&c->output) == 0 && !c->output.failed && !c->output.data)
        (void)buffer_reserve(&c->output, OUTPUT_FIRST);
    return &c->output;
}

void connection_flush(struct connection *c)
{
    if (c->state == CONNECTION_DEAD)
        return;
    if (c->output.failed)
        connection_close(c, END_OUTPUT_FULL);
    else if (c->state == CONNECTION_OPEN || c->state == CONNECTION_CLOSING)
        net_mark_dirty(c->net, c);
}

static void end_sending(struct connection *c)
{
    if (c->ended_sending)
        return;
    c->ended_sending = true;
    c->begun_mono_ms = now_of(c);
    stream_end(&c->stream);
    ev_io_start(c->net->base->loop, &c->read_io);
    if (c->stream.ended || c->stream.error_number == EPIPE)
        connection_become(c, CONNECTION_DEAD);
    else
        connection_arm(c);
}

static void all_written(struct connection *c)
{
    c->output_since_mono_ms = 0;
    c->write_wants_read = false;
    buffer_release(&c->output);
    if (!c->read_wants_write)
        ev_io_stop(c->net->base->loop, &c->write_io);
    if (c->state == CONNECTION_CLOSING)
        end_sending(c);
}

static void wait_to_write(struct connection *c, bool progress, bool for_reading)
{
    if (progress || !c->output_since_mono_ms)
        c->output_since_mono_ms = now_of(c);
    c->write_wants_read = for_reading;
    if (!for_reading)
        ev_io_start(c->net->base->loop, &c->write_io);
    connection_arm(c);
}

void connection_write(struct connection *c)
{
    bool progress = false;
    if (c->state == CONNECTION_OPEN && c->peer_ended)
        connection_close_after_flush(c, END_BY_PEER);
    if ((c->state != CONNECTION_OPEN && c->state != CONNECTION_CLOSING) || c->ended_sending)
        return;
    if (c->output.failed) {
        connection_close(c, END_OUTPUT_FULL);
        return;
    }
    while (buffer_size(&c->output) > 0) {
        size_t sent;
        enum stream_result r = stream_write(&c->stream, buffer_slice(&c->output), &sent);
        if (r == STREAM_WANTS_WRITE || r == STREAM_WANTS_READ) {
            wait_to_write(c, progress, r == STREAM_WANTS_READ);
            return;
        }
        if (r != STREAM_DONE) {
            connection_close(c, c->stream.error_number ? END_BY_PEER : END_TLS);
            return;
        }
        buffer_consume(&c->output, sent);
        progress = true;
    }
    all_written(c);
}

/* ---- Ends ---- */

void connection_close_after_flush(struct connection *c, enum connection_end end)
{
    if (c->state == CONNECTION_CLOSING || c->state == CONNECTION_DEAD)
        return;
    if (c->state != CONNECTION_OPEN && !connection_is_coming(c)) {
        connection_close(c, end);
        return;
    }
    c->end = end;
    if (!c->opened)
        buffer_reset(&c->output); /* nobody was verified who may have it */
    connection_become(c, CONNECTION_CLOSING);
    connection_arm(c);
    if (c->state == CONNECTION_CLOSING)
        net_mark_dirty(c->net, c);
}

void connection_close(struct connection *c, enum connection_end end)
{
    if (c->state == CONNECTION_DEAD)
        return;
    if (c->state != CONNECTION_CLOSING)
        c->end = end;
    connection_become(c, CONNECTION_DEAD);
}

/* ---- Events ---- */

static void open_for_user(struct connection *c)
{
    c->known = true;
    connection_become(c, CONNECTION_OPEN);
    connection_arm(c);
    if (c->state == CONNECTION_OPEN)
        c->net->user.opened(c->net->user.owner, c);
}

void connection_open(struct connection *c)
{
    if (c->state == CONNECTION_CHECKING) { /* else this turn's reading goes on */
        ev_io_start(c->net->base->loop, &c->read_io);
        stream_begin_turn(&c->stream);
    }
    open_for_user(c);
    if (c->outbound)
        connection_flush(c);
    /* The first request may have come with the last message of the handshake. */
    if (c->state == CONNECTION_OPEN)
        connection_receive(c);
}

static void continue_connect(struct connection *c)
{
    int error_number = 0;
    socklen_t size = sizeof(error_number);
    if (getsockopt(c->stream.fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0 || error_number) {
        c->stream.error_number = error_number;
        connection_close(c, END_CONNECT);
        return;
    }
    size = sizeof(c->local);
    getsockname(c->stream.fd, &c->local.any, &size);
    ev_io_stop(c->net->base->loop, &c->write_io);
    ev_io_start(c->net->base->loop, &c->read_io);
    if (c->stream.ssl) {
        connection_become(c, CONNECTION_HANDSHAKING);
        connection_arm(c);
        if (c->state == CONNECTION_HANDSHAKING)
            handshake_continue(c);
        return;
    }
    open_for_user(c);
    connection_flush(c);
}

static void discard_input(struct connection *c)
{
    struct net *net = c->net;
    if (!c->ended_sending) {
        /* Not read while output still waits: reading it would let the peer keep us busy. */
        ev_io_stop(net->base->loop, &c->read_io);
        return;
    }
    if (stream_discard(&c->stream, net->scratch, sizeof(net->scratch)) != STREAM_WANTS_READ)
        connection_become(c, CONNECTION_DEAD);
}

static void on_open_io(struct connection *c, enum connection_event event)
{
    if (event == CONNECTION_WRITABLE)
        connection_write(c);
    if (c->state == CONNECTION_OPEN && (event == CONNECTION_READABLE || c->read_wants_write))
        connection_receive(c);
    if (c->state == CONNECTION_OPEN && c->write_wants_read)
        net_mark_dirty(c->net, c);
}

static void connection_event(struct connection *c, enum connection_event event)
{
    if (event == CONNECTION_TIMER) {
        on_timer(c);
        return;
    }
    stream_begin_turn(&c->stream);
    switch (c->state) {
    case CONNECTION_CONNECTING:
        continue_connect(c);
        break;
    case CONNECTION_HANDSHAKING:
        handshake_continue(c);
        break;
    case CONNECTION_OPEN:
        on_open_io(c, event);
        break;
    case CONNECTION_CLOSING:
        if (event == CONNECTION_WRITABLE)
            connection_write(c);
        else
            discard_input(c);
        break;
    case CONNECTION_NONE:
    case CONNECTION_CHECKING:
    case CONNECTION_DEAD:
        break;
    }
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    connection_event(io->data, CONNECTION_READABLE);
}

static void on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)events;
    connection_event(io->data, CONNECTION_WRITABLE);
}

static void on_due(struct timer *timer)
{
    connection_event((struct connection *)((char *)timer - offsetof(struct connection, timer)),
                     CONNECTION_TIMER);
}

/* ---- Start ---- */

enum error connection_start(struct connection *c, int fd, SSL *ssl, enum connection_state first)
{
    struct ev_loop *loop = c->net->base->loop;
    enum error e = stream_open(&c->stream, fd, ssl, c->net->stream_method);
    if (e != ERROR_NONE) {
        SSL_free(ssl);
        c->stream = (struct stream){ .fd = -1 };
        connection_become(c, CONNECTION_DEAD);
        return e;
    }
    address_text(&c->remote, c->remote_text);
    c->begun_mono_ms = now_of(c);
    c->timer.fire = on_due;
    c->task.run = run_tell;
    framing_init(&c->framing, (uint32_t)c->config->bounds.max_message);
    buffer_init(&c->input, c->config->bounds.max_message + 2 * SCRATCH_SIZE);
    buffer_init(&c->output, c->config->bounds.output_max);
    ev_io_init(&c->read_io, on_readable, fd, EV_READ);
    ev_io_init(&c->write_io, on_writable, fd, EV_WRITE);
    c->read_io.data = c->write_io.data = c;
    if (first == CONNECTION_CONNECTING)
        ev_io_start(loop, &c->write_io);
    else
        ev_io_start(loop, &c->read_io);
    if (first == CONNECTION_OPEN) {
        open_for_user(c);
    } else {
        connection_become(c, first);
        connection_arm(c);
    }
    return ERROR_NONE;
}
