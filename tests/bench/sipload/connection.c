/* SPDX-License-Identifier: Apache-2.0 */
/* TLS and TCP connections: set-up, reading, writing. */
#include "connection.h"

#include "course.h"
#include "failures.h"
#include "options.h"
#include "transactions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <unistd.h>

struct ev_loop *loop;
SSL_CTX *client_ctx, *uas_ctx;
struct conn *conns, *dirty_list;
unsigned nconns, npending, *pending, in_setup;

#define READ_SIZE \
    65536 /* one TLS record is at most 16 KiB; a partial message is carried over in front of it */

void mark_dirty(struct conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->next_dirty = dirty_list;
    dirty_list = c;
}

static void watch(struct conn *c, int events)
{
    if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    ev_io_start(loop, &c->io);
}

void conn_close(struct conn *c)
{
    if (c->state == CONN_IDLE)
        return;
    ev_io_stop(loop, &c->io);
    if (c->ssl) {
        if (c->state == CONN_OPEN)
            SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
    }
    ERR_clear_error();
    close(c->io.fd);
    c->ssl = NULL;
    c->state = CONN_IDLE;
    c->ready = c->unproven = false;
    c->in.len = c->in.off = c->out.len = c->out.off = 0;
    for (unsigned i = 0; i < c->nslots; i++)
        c->slots[i].state = SLOT_FREE;
    if (c->setup)
        in_setup--;
    c->setup = false;
    if (c->role == ROLE_ACCEPTED)
        mark_dirty(c); /* callers still hold it: prepare_cb() frees it */
}

/* Name of what TLS or the socket reports now, without spaces. */
static const char *tls_error(int r, SSL *ssl)
{
    int kind = SSL_get_error(ssl, r);
    unsigned long e = ERR_peek_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    if (kind == SSL_ERROR_ZERO_RETURN)
        return "closed by peer";
    if (text)
        return text;
    return errno ? strerror(errno) : "connection lost";
}

static void flush(struct conn *c)
{
    while (c->state == CONN_OPEN && c->out.off < c->out.len) {
        const char *p = c->out.p + c->out.off;
        size_t n = c->out.len - c->out.off;
        ssize_t r = c->ssl ? SSL_write(c->ssl, p, (int)n) : send(c->io.fd, p, n, MSG_NOSIGNAL);
        if (r > 0) {
            c->out.off += (size_t)r;
            continue;
        }
        bool again =
            c->ssl ? SSL_get_error(c->ssl, (int)r) == SSL_ERROR_WANT_WRITE : errno == EAGAIN;
        if (!again) {
            conn_failed(c, "write: %s", c->ssl ? tls_error((int)r, c->ssl) : strerror(errno));
            return;
        }
        watch(c, EV_READ | EV_WRITE);
        return;
    }
    if (c->state != CONN_OPEN)
        return;
    c->out.len = c->out.off = 0;
    watch(c, EV_READ);
}

/* Hands every complete message in [p, p+n) to the transaction layer; returns the bytes used, or -1.
 */
static ssize_t deliver(struct conn *c, const char *p, size_t n)
{
    size_t used = 0;
    while (used < n && c->state == CONN_OPEN) {
        if (p[used] == '\r' || p[used] == '\n') { /* keep-alive between messages */
            if (!c->done)
                c->done = now_ns();
            used++;
            continue;
        }
        struct msg m;
        ssize_t r = parse_msg(p + used, n - used, &m);
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        on_message(c, &m);
        used += (size_t)r;
    }
    return (ssize_t)used;
}

static void read_all(struct conn *c)
{
    static char data[MSG_MAX + READ_SIZE];
    while (c->state == CONN_OPEN) {
        size_t had = c->in.len;
        if (had)
            memcpy(data, c->in.p, had);
        ssize_t r = c->ssl ? SSL_read(c->ssl, data + had, READ_SIZE)
                           : recv(c->io.fd, data + had, READ_SIZE, 0);
        if (r <= 0) {
            bool again = c->ssl ? SSL_get_error(c->ssl, (int)r) == SSL_ERROR_WANT_READ
                                : r < 0 && errno == EAGAIN;
            if (!again)
                conn_failed(c, "read: %s",
                            c->ssl ? tls_error((int)r, c->ssl)
                            : r    ? strerror(errno)
                                   : "closed by peer");
            else if (c->unproven && c->done)
                conn_ready(c);
            return;
        }
        size_t n = had + (size_t)r;
        ssize_t used = deliver(c, data, n);
        if (c->state != CONN_OPEN)
            return;
        if (used < 0) {
            conn_failed(c, "not SIP");
            return;
        }
        if (c->unproven && c->done) {
            conn_ready(c);
            return;
        }
        c->in.len = 0;
        if ((size_t)used < n)
            put_str(&c->in, (struct str){ data + used, n - (size_t)used });
        else if (c->in.p && opt.mode == MODE_IDLE)
            buf_free(&c->in);
    }
}

/* Over TLS 1.3 our side finishes before the target has looked at our certificate. Proof that it was
 * accepted is the first thing it says after that: a session ticket (on_session), or the pong to a
 * SIP keep-alive with --ping. */
static void handshake_done(struct conn *c)
{
    c->state = CONN_OPEN;
    watch(c, EV_READ);
    if (c->role == ROLE_ACCEPTED) {
        read_all(c);
    } else if (opt.first != FIRST_NONE) {
        seen.handshakes += counting;
        seen.resumed += counting && SSL_session_reused(c->ssl);
        send_first(c);
    } else if (opt.mode == MODE_HANDSHAKE && SSL_version(c->ssl) >= TLS1_3_VERSION && !c->done) {
        c->unproven = true;
        if (opt.ping)
            put(&c->out, "\r\n\r\n"), mark_dirty(c);
        read_all(c);
    } else {
        conn_ready(c);
    }
}

static void handshake_step(struct conn *c)
{
    errno = 0;
    int r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        handshake_done(c);
        return;
    }
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        watch(c, EV_READ);
        return;
    case SSL_ERROR_WANT_WRITE:
        watch(c, EV_WRITE);
        return;
    default:
        conn_failed(c, "handshake: %s", tls_error(r, c->ssl));
    }
}

void set_local(struct conn *c)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char host[48], port[8];
    getsockname(c->io.fd, (struct sockaddr *)&a, &n);
    getnameinfo((struct sockaddr *)&a, n, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(c->local, sizeof c->local, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static void start_tls(struct conn *c, SSL_CTX *ctx)
{
    c->ssl = must(SSL_new(ctx));
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, c->io.fd);
    c->state = CONN_HANDSHAKE;
}

static void connected(struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        conn_failed(c, "connect: %s", strerror(error));
        return;
    }
    set_local(c);
    start_tls(c, client_ctx);
    SSL_use_certificate(c->ssl, c->phone->cert);
    SSL_use_PrivateKey(c->ssl, c->phone->key);
    SSL_set_tlsext_host_name(c->ssl, opt.sni);
    if (opt.resume && c->phone->session)
        SSL_set_session(c->ssl, c->phone->session);
    SSL_set_connect_state(c->ssl);
    handshake_step(c);
}

static void io_cb(struct ev_loop *l, ev_io *w, int events)
{
    (void)l;
    struct conn *c = w->data;
    if (c->state == CONN_CONNECTING)
        connected(c);
    else if (c->state == CONN_HANDSHAKE)
        handshake_step(c);
    else {
        if (events & EV_WRITE)
            flush(c);
        if (c->state == CONN_OPEN && events & EV_READ)
            read_all(c);
    }
}

static void set_nodelay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Phones spread over 127.0.x.y, so that neither ports nor per-address limits of the target run out.
 */
static void bind_source(int fd, unsigned index)
{
    const struct sockaddr_in *t = (const struct sockaddr_in *)&opt.target;
    if (t->sin_family != AF_INET || ntohl(t->sin_addr.s_addr) >> 24 != 127)
        return;
    unsigned i = index % opt.sources;
    struct sockaddr_in src = { .sin_family = AF_INET };
    src.sin_addr.s_addr = htonl(127u << 24 | (i / 250 + 1) << 8 | (i % 250 + 1));
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&src, sizeof src))
        die("bind: %s", strerror(errno));
}

static void conn_start(struct conn *c)
{
    int fd = socket(opt.target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket: %s (open files: see ulimit -n)", strerror(errno));
    set_nodelay(fd);
    bind_source(fd, (unsigned)(c->phone - phones));
    ev_io_init(&c->io, io_cb, fd, EV_WRITE);
    c->io.data = c;
    c->state = CONN_CONNECTING;
    c->setup = true;
    c->t0 = now_ns();
    c->done = 0;
    in_setup++;
    if (connect(fd, (struct sockaddr *)&opt.target, opt.target_len) && errno != EINPROGRESS) {
        conn_failed(c, "connect: %s", strerror(errno));
        return;
    }
    ev_io_start(loop, &c->io);
}

void start_later(struct conn *c)
{
    pending[npending++] = c->index;
}

void conns_turn(void)
{
    unsigned started = 0, due = npending; /* one that fails at once waits for the next round */
    while (started < due && in_setup < opt.ramp)
        conn_start(&conns[pending[started++]]);
    memmove(pending, pending + started, (npending -= started) * sizeof *pending);
    while (dirty_list) {
        struct conn *c = dirty_list;
        dirty_list = c->next_dirty;
        c->dirty = false;
        if (c->state == CONN_OPEN)
            flush(c);
        else if (c->role == ROLE_ACCEPTED && c->state == CONN_IDLE) {
            buf_free(&c->in);
            buf_free(&c->out);
            free(c);
        }
    }
}

void conn_accepted(int fd)
{
    struct conn *c = must(calloc(1, sizeof *c));
    c->role = ROLE_ACCEPTED;
    ev_io_init(&c->io, io_cb, fd, EV_READ);
    c->io.data = c;
    set_nodelay(fd);
    set_local(c);
    c->state = CONN_OPEN;
    ev_io_start(loop, &c->io);
    if (opt.uas != UAS_TLS)
        return;
    start_tls(c, uas_ctx);
    SSL_set_accept_state(c->ssl);
}

/* The target's proof that it took our certificate, and what --resume needs. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct conn *c = SSL_get_app_data(ssl);
    if (SSL_version(ssl) >= TLS1_3_VERSION && !c->done)
        c->done = now_ns();
    if (!opt.resume || !c->phone || !SSL_SESSION_is_resumable(session))
        return 0;
    SSL_SESSION_free(c->phone->session);
    c->phone->session = session;
    return 1;
}

void make_contexts(void)
{
    client_ctx = must(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(client_ctx, TLS1_2_VERSION);
    if (opt.tls) {
        int v = !strcmp(opt.tls, "1.2")   ? TLS1_2_VERSION
                : !strcmp(opt.tls, "1.3") ? TLS1_3_VERSION
                                          : 0;
        if (!v)
            die("--tls takes 1.2 or 1.3");
        SSL_CTX_set_min_proto_version(client_ctx, v);
        SSL_CTX_set_max_proto_version(client_ctx, v);
    }
    SSL_CTX_set_mode(client_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(
        client_ctx, 1); /* fewer system calls; no unread ticket turns our close into a reset */
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, on_session);
    if (opt.server_ca) {
        if (SSL_CTX_load_verify_locations(client_ctx, opt.server_ca, NULL) != 1)
            die("%s: no CA", opt.server_ca);
        SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    }
    if (opt.uas != UAS_TLS)
        return;
    uas_ctx = must(SSL_CTX_new(TLS_server_method()));
    if (!opt.uas_cert || SSL_CTX_use_certificate_chain_file(uas_ctx, opt.uas_cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(uas_ctx, opt.uas_cert, SSL_FILETYPE_PEM) != 1)
        die("--uas tls:... needs --uas-cert FILE with certificate and key");
    SSL_CTX_set_mode(uas_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void make_conns(unsigned n, unsigned window)
{
    conns = must(calloc(n, sizeof *conns));
    pending = must(calloc(2 * n, sizeof *pending));
    nconns = n;
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = &conns[i];
        c->index = i;
        c->phone = &phones[i];
        c->role = opt.mode == MODE_REQUESTS && i >= opt.connections ? ROLE_UAS : ROLE_UAC;
        c->nslots = c->role == ROLE_UAC ? window : 1;
        c->slots = must(calloc(c->nslots, sizeof *c->slots));
        start_later(c);
    }
}
