/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to messages. A connection between messages owns no input memory: it reads into the
 * worker's scratch, and only what is left of an unfinished message is kept. */
#include "proxy/net/net_internal.h"

#define PINGS_ANSWERED  10  /* a second; RFC 5626 4.4.1 has one in 30 s or more */
#define PINGS_MAX       200 /* a second: beyond it is a flood (T34) */
#define KEY_UPDATES_MAX 100 /* handshake messages in the same window (T31) */
#define FLOOD_WINDOW_MS 1000

static void flood_window(struct connection *c)
{
    uint64_t now_mono_ms = c->net->base->now_mono_ms;
    if (now_mono_ms - c->flood_since_mono_ms < FLOOD_WINDOW_MS)
        return;
    c->flood_since_mono_ms = now_mono_ms;
    c->pings = 0;
    c->session.later_messages = 0;
}

static void on_ping(struct connection *c)
{
    flood_window(c);
    c->pings++;
    if (c->pings > PINGS_MAX) {
        connection_close(c, END_FLOOD);
    } else if (c->pings <= PINGS_ANSWERED) {
        buffer_add(connection_output(c), SLICE("\r\n"));
        connection_flush(c);
    }
}

static void on_lost(struct connection *c, struct slice stream, const struct framing_result *r)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "framing-lost");
    connection_log(&line, c);
    log_text(&line, "detail", slice_of(framing_fault_text(r->fault)));
    log_text(&line, "begins", stream);
    log_end(&line);
    counter_add(&c->net->base->counters->malformed);
    if (r->answerable)
        c->net->user.malformed(c->net->user.owner, c, (struct slice){ stream.data, r->size },
                               r->fault);
    connection_close_after_flush(c, END_MALFORMED);
}

/* Hands up what is whole; the number of bytes that are done with. */
static size_t hand_up(struct connection *c, struct slice stream)
{
    size_t used = 0;
    while (c->state == CONNECTION_OPEN) {
        struct slice rest = { stream.data + used, stream.size - used };
        struct framing_result r = framing_next(&c->framing, rest);
        switch (r.event) {
        case FRAMING_MORE:
            return used + r.consume;
        case FRAMING_MESSAGE:
            c->message_begun_mono_ms = 0;
            c->net->user.message(c->net->user.owner, c, (struct slice){ rest.data, r.size });
            break;
        case FRAMING_PING:
            on_ping(c);
            break;
        case FRAMING_PONG:
            break;
        case FRAMING_LOST:
            on_lost(c, rest, &r);
            return stream.size;
        }
        used += r.consume;
    }
    return stream.size;
}

/* Nothing was kept of earlier reads. */
static enum stream_result read_fresh(struct connection *c)
{
    struct net *net = c->net;
    size_t got;
    enum stream_result r = stream_read(&c->stream, net->scratch, sizeof(net->scratch), &got);
    if (r != STREAM_DONE)
        return r;
    size_t used = hand_up(c, (struct slice){ net->scratch, got });
    if (used < got)
        buffer_add(&c->input, (struct slice){ net->scratch + used, got - used });
    return r;
}

static enum stream_result read_on(struct connection *c)
{
    size_t got;
    char *room = buffer_reserve(&c->input, SCRATCH_SIZE);
    if (!room)
        return STREAM_NONE; /* input.failed says the rest */
    enum stream_result r = stream_read(&c->stream, room, SCRATCH_SIZE, &got);
    if (r != STREAM_DONE)
        return r;
    buffer_commit(&c->input, got);
    buffer_consume(&c->input, hand_up(c, buffer_slice(&c->input)));
    return r;
}

static void note_progress(struct connection *c)
{
    c->received_mono_ms = c->net->base->now_mono_ms;
    if (buffer_size(&c->input) == 0) {
        c->message_begun_mono_ms = 0;
        buffer_release(&c->input);
    } else if (!c->message_begun_mono_ms) {
        c->message_begun_mono_ms = c->received_mono_ms;
    }
}

static void on_stop(struct connection *c, enum stream_result r)
{
    switch (r) {
    case STREAM_WANTS_WRITE:
        c->read_wants_write = true;
        ev_io_start(c->net->base->loop, &c->write_io);
        break;
    case STREAM_ENDED:
        /* At the end of the turn, so that what was asked before the end is still answered. */
        c->peer_ended = true;
        ev_io_stop(c->net->base->loop, &c->read_io);
        net_mark_dirty(c->net, c);
        break;
    case STREAM_FAILED:
        connection_close(c, c->stream.error_number ? END_BY_PEER : END_TLS);
        break;
    case STREAM_NONE:
    case STREAM_DONE:
    case STREAM_WANTS_READ:
        break;
    }
}

void connection_receive(struct connection *c)
{
    enum stream_result r = STREAM_DONE;
    bool waited_to_write = c->read_wants_write;
    c->read_wants_write = false;
    while (r == STREAM_DONE && c->state == CONNECTION_OPEN) {
        r = buffer_size(&c->input) ? read_on(c) : read_fresh(c);
        if (r == STREAM_DONE)
            note_progress(c);
        if (c->input.failed)
            connection_close(c, END_MEMORY);
    }
    if (c->state != CONNECTION_OPEN)
        return;
    on_stop(c, r);
    if (c->state != CONNECTION_OPEN)
        return;
    if (c->session.later_messages > KEY_UPDATES_MAX) {
        flood_window(c);
        if (c->session.later_messages > KEY_UPDATES_MAX) {
            connection_close(c, END_FLOOD);
            return;
        }
    }
    if (waited_to_write && !c->read_wants_write && !c->output_since_mono_ms)
        ev_io_stop(c->net->base->loop, &c->write_io);
    connection_arm(c);
}
