/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting. A worker takes a bounded number in a turn, so that those who are there already are
 * served in between; the kernel's queue holds the rest of a storm. */
#include "proxy/net/listener.h"

#include "common/mem.h"
#include "proxy/net/net_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include <utlist.h>

#define ACCEPTS_A_TURN 32
#define BACKLOG        4096 /* the kernel's own limit, net.core.somaxconn, may be lower */
#define PAUSE_FULL_MS  20   /* while the handshakes at work are at their bound */
#define PAUSE_ERROR_MS 100  /* without descriptors or memory */
#define LOG_BURST      2
/* Of its time a handshake has this part for itself even when others wait for its place: more than a
 * slow phone needs for a signature, and a full queue of silent peers passes in a few times that. */
#define ROOM_FRACTION 8

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* Set here, they pass to every accepted socket without a call of its own. */
static bool set_options(int fd, sa_family_t family)
{
    if (family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))
        return false;
    return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
           set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
           set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
           set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 180) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 20) &&
           set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

enum error listener_bind(const struct address *address, struct address *bound, int *fd)
{
    *fd = socket(address->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return ERROR_SYSTEM;
    socklen_t size = sizeof(*bound);
    memset(bound, 0, sizeof(*bound));
    if (set_options(*fd, address->family) && bind(*fd, &address->any, address_size(address)) == 0 &&
        getsockname(*fd, &bound->any, &size) == 0)
        return ERROR_NONE;
    int error_number = errno;
    close(*fd);
    *fd = -1;
    errno = error_number;
    return ERROR_SYSTEM;
}

bool listener_is_taken(const struct address *address)
{
    struct address own;
    socklen_t size = sizeof(own);
    struct timeval wait = { .tv_sec = 1 };
    bool taken = false;

    if (address_port(address) == 0)
        return false;
    int fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    /* A socket that happens to get this very port connects with itself. */
    if (connect(fd, &address->any, address_size(address)) == 0 || errno == EINPROGRESS)
        taken =
            getsockname(fd, &own.any, &size) == 0 && address_port(&own) != address_port(address);
    close(fd);
    return taken;
}

/* ---- Pausing ---- */

void listener_pause(struct net *net, uint64_t ms)
{
    if (timer_start(&net->base->timers, &net->accept_timer, net->base->now_mono_ms + ms) !=
        ERROR_NONE)
        return; /* goes on at once: worse for others, but it goes on */
    for (struct listener *l = net->listeners; l; l = l->next)
        ev_io_stop(net->base->loop, &l->io);
}

void listener_timer_fired(struct timer *timer)
{
    struct net *net = (struct net *)((char *)timer - offsetof(struct net, accept_timer));
    if (net->spare_fd < 0)
        net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (struct listener *l = net->listeners; l; l = l->next)
        ev_io_start(net->base->loop, &l->io);
}

static void log_refused(struct net *net, const struct listener *l, const char *why)
{
    struct log_line line;
    if (!log_limit_pass(&net->refused_limit, LOG_BURST, net->base->now_mono_ms))
        return;
    log_begin(&line, LOG_WARNING, "connections-refused");
    log_word(&line, "listener", l->options->name);
    log_text(&line, "detail", slice_of(why));
    log_number(&line, "connections", (long long)net->connections);
    connection_log_suppressed(&line, &net->refused_limit);
    log_end(&line);
}

/* The peer hears a close instead of silence, and the kernel's queue empties. */
static void refuse_with_spare(struct net *net, const struct listener *l)
{
    if (net->spare_fd >= 0)
        close(net->spare_fd);
    int fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- Accepting ---- */

static void local_address(const struct listener *l, int fd, struct address *local)
{
    socklen_t size = sizeof(*local);
    if (!address_is_wildcard(&l->bound))
        *local = l->bound;
    else if (getsockname(fd, &local->any, &size) != 0)
        memset(local, 0, sizeof(*local));
}

static void take(struct net *net, struct listener *l, int fd, const struct address *remote)
{
    struct connection *c = net_add(net, l->config);
    SSL *ssl = NULL;
    if (!c) {
        log_refused(net, l, "max_connections is reached");
        close(fd);
        return;
    }
    c->listener = l->options;
    c->flow.listener = l->number;
    c->transport = l->options->transport;
    c->remote = *remote;
    local_address(l, fd, &c->local);
    if (c->transport == TRANSPORT_TLS)
        ssl = tls_context_accept(l->options->tls[net->base->index], &c->session);
    else
        c->route = config_route_of_host(net->base->config, remote);
    c->recognised = c->route != NULL;
    c->session.revoked = &net->revoked;
    c->session.resumption.keys = &net->ticket_keys;
    c->session.staples = &net->staples;
    c->session.statuses = net->statuses;
    bool ready = ssl || c->transport != TRANSPORT_TLS;
    if (!ready)
        connection_close(c, END_MEMORY);
    if (!ready || connection_start(c, fd, ssl, ssl ? CONNECTION_HANDSHAKING : CONNECTION_OPEN) !=
                      ERROR_NONE) {
        log_refused(net, l, "out of memory");
        close(fd);
    }
}

/* Handshakes are at their bound, and every one of them is young: a new one has to wait. */
static bool is_full(const struct net *net, const struct listener *l)
{
    const struct connection *oldest = net->handshakes_list;
    return l->options->transport == TRANSPORT_TLS && net->handshakes >= net->handshake_max &&
           oldest &&
           net->base->now_mono_ms - oldest->begun_mono_ms <
               oldest->config->timers.handshake_timeout_ms / ROOM_FRACTION;
}

/* A handshake that the peer has kept waiting for a good part of its time gives its place to a new
 * one, so that a few thousand silent peers do not shut out the others (T30). */
static void make_room(struct net *net, const struct listener *l)
{
    if (l->options->transport != TRANSPORT_TLS || net->handshakes < net->handshake_max)
        return;
    log_refused(net, l, "max_handshakes is reached: the oldest make room");
    connection_close(net->handshakes_list, END_HANDSHAKE);
}

/* True: try the next one. */
static bool accept_failed(struct net *net, struct listener *l, int error_number)
{
    switch (error_number) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        log_refused(net, l, "no descriptors: raise the limit of open files");
        refuse_with_spare(net, l);
        listener_pause(net, PAUSE_ERROR_MS);
        return false;
    case ENOMEM:
    case ENOBUFS:
        log_refused(net, l, "out of memory");
        listener_pause(net, PAUSE_ERROR_MS);
        return false;
    default: /* of that one connection: ECONNABORTED, a network error, a signal */
        return true;
    }
}

static void on_acceptable(struct ev_loop *loop, ev_io *io, int events)
{
    struct listener *l = (struct listener *)io;
    struct net *net = l->net;
    (void)loop, (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct address remote;
        socklen_t size = sizeof(remote);
        if (is_full(net, l)) {
            listener_pause(net, PAUSE_FULL_MS);
            return;
        }
        memset(&remote, 0, sizeof(remote));
        int fd = accept4(io->fd, &remote.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            make_room(net, l);
            take(net, l, fd, &remote);
        } else if (!accept_failed(net, l, errno)) {
            return;
        }
    }
}

/* ---- Life ---- */

enum error net_listen(struct net *net, const struct config_listener *options, int fd)
{
    struct listener *l = mem_zero(1, sizeof(*l));
    enum error e = ERROR_MEMORY;
    if (!l)
        goto fail;
    socklen_t size = sizeof(l->bound);
    e = ERROR_SYSTEM;
    if (getsockname(fd, &l->bound.any, &size) != 0 || listen(fd, BACKLOG) != 0)
        goto fail;
    address_text(&l->bound, l->bound_text);
    l->advertised = options->advertise ? options->advertise : l->bound_text;
    l->net = net;
    l->config = config_hold(net->base->config);
    l->options = options;
    l->number = options->index + 1;
    ev_io_init(&l->io, on_acceptable, fd, EV_READ);
    LL_APPEND(net->listeners, l);
    ev_io_start(net->base->loop, &l->io);
    return ERROR_NONE;
fail:
    close(fd);
    mem_free(l);
    return e;
}

void listener_close(struct listener *listener)
{
    if (listener->closed)
        return;
    listener->closed = true;
    ev_io_stop(listener->net->base->loop, &listener->io);
    close(listener->io.fd);
}

void listener_free(struct listener *listener)
{
    listener_close(listener);
    config_drop(listener->config);
    mem_free(listener);
}
