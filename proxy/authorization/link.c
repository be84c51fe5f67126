/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/link.h"

#include "common/log.h"
#include "common/random.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* What one turn reads: some hundred replies, each of which may wake a request that is decided and
 * written before the loop comes round to the other connections. A reply that is larger is read in
 * larger pieces. */
#define READ_CHUNK       (8u << 10)
#define READ_CHUNK_LARGE (64u << 10)

/* An output beyond this belongs to a server that doesn't read: ASK_LOOKUPS_MAX questions fit. */
#define OUTPUT_MAX (64u << 20)

/* When there is nothing to try again: the timer's next turn, which does nothing. */
#define IDLE_MS 3600000

static const bool allowed[][LINK_OPEN + 1] = {
    [LINK_STOPPED] = { [LINK_CLOSED] = true },
    [LINK_CLOSED] = { [LINK_CONNECTING] = true, [LINK_STOPPED] = true },
    [LINK_CONNECTING] = { [LINK_OPEN] = true, [LINK_CLOSED] = true, [LINK_STOPPED] = true },
    [LINK_OPEN] = { [LINK_CLOSED] = true, [LINK_STOPPED] = true },
};

/* Alone writes the state; leaving a connection behind closes it. */
static void link_become(struct link *link, enum link_state state)
{
    assert(allowed[link->state][state]);
    link->state = state;
    if (state == LINK_CONNECTING || state == LINK_OPEN)
        return;
    if (link->fd >= 0) {
        ev_io_stop(link->base->loop, &link->reading);
        ev_io_stop(link->base->loop, &link->writing);
        close(link->fd);
        link->fd = -1;
    }
    buffer_reset(&link->input);
    buffer_reset(&link->output);
}

/* The timer is armed all the time but in STOPPED: moving an active one takes no memory, so that a
 * lost connection can always be tried again. */
static void arm(struct link *link, uint64_t wait_ms)
{
    enum error error =
        timer_start(&link->base->timers, &link->retry, link->base->now_mono_ms + wait_ms);

    assert(error == ERROR_NONE);
    (void)error;
}

static void retry_later(struct link *link)
{
    uint64_t half_ms = link->retry_ms / 2;

    arm(link, half_ms + random_u64() % (half_ms + 1));
    link->retry_ms =
        link->retry_ms * 2 < LINK_RETRY_MAX_MS ? link->retry_ms * 2 : LINK_RETRY_MAX_MS;
}

void link_close(struct link *link)
{
    if (link->state != LINK_CONNECTING && link->state != LINK_OPEN)
        return;
    link_become(link, LINK_CLOSED);
    retry_later(link);
}

static void lose(struct link *link, bool garbage)
{
    link_close(link);
    link->user.lost(link->user.owner, garbage);
}

/* ---- Reading ---- */

/* Hands on every whole reply, until the link is closed meanwhile. */
static void read_values(struct link *link)
{
    struct resp_value value;
    size_t used;

    while (buffer_size(&link->input)) {
        enum error error =
            resp_read_value(buffer_slice(&link->input), &link->limits, &value, &used);

        if (error == ERROR_INCOMPLETE)
            return;
        if (error != ERROR_NONE) {
            lose(link, true);
            return;
        }
        link->user.value(link->user.owner, &value);
        if (link->state != LINK_OPEN)
            return;
        buffer_consume(&link->input, used);
    }
    buffer_release(&link->input);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct link *link = watcher->data;
    size_t size = buffer_size(&link->input) < READ_CHUNK ? READ_CHUNK : READ_CHUNK_LARGE;
    char *place = buffer_reserve(&link->input, size);
    ssize_t got;

    (void)loop, (void)events;
    if (!place) { /* no memory: begin anew, with an empty buffer */
        lose(link, false);
        return;
    }
    got = read(link->fd, place, size);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        lose(link, false);
        return;
    }
    buffer_commit(&link->input, (size_t)got);
    read_values(link);
}

/* ---- Writing ---- */

/* False: the connection is broken; reading, which goes on, will find it out and report it. */
static bool write_some(struct link *link)
{
    while (buffer_size(&link->output)) {
        struct slice out = buffer_slice(&link->output);
        ssize_t put = send(link->fd, out.data, out.size, MSG_NOSIGNAL);

        if (put < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        buffer_consume(&link->output, (size_t)put);
    }
    buffer_release(&link->output);
    return true;
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct link *link = watcher->data;

    (void)loop, (void)events;
    if (!write_some(link) || link->output.failed)
        lose(link, false);
    else if (!buffer_size(&link->output))
        ev_io_stop(link->base->loop, &link->writing);
}

struct buffer *link_output(struct link *link)
{
    assert(link->state == LINK_OPEN);
    return &link->output;
}

void link_flush(struct link *link)
{
    assert(link->state == LINK_OPEN);
    if (link->output.failed || !write_some(link) || buffer_size(&link->output))
        ev_io_start(link->base->loop, &link->writing);
}

/* ---- Connecting ---- */

/* The descriptor, or -1. A unix socket connects at once or not at all: EAGAIN is a full backlog. */
static int connect_now(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void try_connect(struct link *link)
{
    link_become(link, LINK_CONNECTING);
    link->user.connecting(link->user.owner);
    link->fd = connect_now(&link->address);
    if (link->fd < 0) {
        lose(link, false);
        return;
    }
    ev_io_set(&link->reading, link->fd, EV_READ);
    ev_io_set(&link->writing, link->fd, EV_WRITE);
    ev_io_start(link->base->loop, &link->reading);
    link->connects++;
    link_become(link, LINK_OPEN);
    link->user.opened(link->user.owner);
}

static void on_retry(struct timer *timer)
{
    struct link *link = (struct link *)((char *)timer - offsetof(struct link, retry));

    arm(link, IDLE_MS);
    if (link->state == LINK_CLOSED)
        try_connect(link);
}

enum error link_init(struct link *link, struct worker_base *base, const char *path,
                     const struct resp_limits *limits, const struct link_user *user)
{
    *link = (struct link){ .base = base, .user = *user, .limits = *limits, .fd = -1 };
    link->address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof link->address.sun_path)
        return ERROR_TOO_LARGE;
    memcpy(link->address.sun_path, path, strlen(path) + 1);
    buffer_init(&link->input, limits->value_max + READ_CHUNK_LARGE);
    buffer_init(&link->output, OUTPUT_MAX);
    ev_init(&link->reading, on_readable);
    ev_init(&link->writing, on_writable);
    link->reading.data = link->writing.data = link;
    link->retry.fire = on_retry;
    link->retry_ms = LINK_RETRY_MIN_MS;
    return ERROR_NONE;
}

enum error link_start(struct link *link)
{
    if (timer_start(&link->base->timers, &link->retry, link->base->now_mono_ms) != ERROR_NONE)
        return ERROR_MEMORY;
    link_become(link, LINK_CLOSED);
    return ERROR_NONE;
}

void link_stop(struct link *link)
{
    timer_stop(&link->base->timers, &link->retry);
    if (link->state != LINK_STOPPED)
        link_become(link, LINK_STOPPED);
    buffer_free(&link->input);
    buffer_free(&link->output);
}

void link_proved(struct link *link)
{
    link->retry_ms = LINK_RETRY_MIN_MS;
}
