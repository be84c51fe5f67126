/* SPDX-License-Identifier: Apache-2.0 */
/* The world of net's tests. */
#include "tests/unit/proxy/net/net_world.h"

#include "common/clock.h"
#include "proxy/net/listener.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct test_certificate ca, server, device;

/* ---- The configuration ---- */

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fputs(text, file);
    fclose(file);
}

static void make_certificates(void)
{
    if (ca.certificate)
        return;
    ca = test_certificate_make(&(struct test_certificate_spec){ .cn = "CA", .ca = TEST_CA }, NULL);
    server = test_certificate_make(&(struct test_certificate_spec){ .cn = "proxy" }, &ca);
    device = test_certificate_make(&(struct test_certificate_spec){ .cn = "0004F224A6AC" }, &ca);
}

__attribute__((destructor)) static void free_certificates(void)
{
    test_certificate_free(&ca);
    test_certificate_free(&server);
    test_certificate_free(&device);
}

static const struct config *make_config(const char *options, X509 *anchor)
{
    static const char *const names[] = { "ca.pem", "server.pem", "server.key", "conf" };
    char folder[] = "/tmp/holdline-net-XXXXXX", text[4096];
    struct config *config;
    assert_non_null(mkdtemp(folder));
    char *pems[] = { test_certificate_pem(anchor), test_certificate_pem(server.certificate),
                     test_key_pem(server.key) };
    for (size_t i = 0; i < 3; i++) {
        write_file(folder, names[i], pems[i]);
        free(pems[i]);
    }
    snprintf(text, sizeof(text),
             "workers = 1\n%s\ntrust_store device { ca = \"%s/ca.pem\" }\n"
             "listener tls { address = \"127.0.0.1:0\"\n certificate = \"%s/server.pem\"\n"
             " key = \"%s/server.key\"\n trust_stores = {\"device\"} }\n"
             "listener tcp { address = \"127.0.0.1:0\"\n transport = \"tcp\" }\n"
             "route pbx { domain = \"pbx.example.org\"\n address = \"127.0.0.1:5080\" }\n",
             options, folder, folder, folder);
    write_file(folder, "conf", text);
    snprintf(text, sizeof(text), "%s/conf", folder);
    assert_int_equal(config_load(text, &config), ERROR_NONE);
    for (size_t i = 0; i < 4; i++) {
        snprintf(text, sizeof(text), "%s/%s", folder, names[i]);
        unlink(text);
    }
    rmdir(folder);
    return config;
}

/* ---- What the net tells ---- */

static void told_opened(void *owner, struct connection *c)
{
    struct net_world *w = owner;
    w->opened++;
    w->last = c;
    w->last_flow = connection_flow(c);
    assert_null(connection_peer(c));
    connection_set_peer(c, w);
}

static void answer(struct net_world *w, struct connection *c, struct slice bytes)
{
    if (w->echo)
        buffer_add(connection_output(c), bytes);
    for (size_t i = 0; i < w->flood; i += 1024)
        buffer_add_format(connection_output(c), "%1024s", "");
    if (w->echo || w->flood)
        connection_flush(c);
    if (w->close_at_message)
        connection_close(c, END_BY_US);
    if (w->close_after_message)
        connection_close_after_flush(c, END_BY_US);
}

static void told_message(void *owner, struct connection *c, struct slice bytes)
{
    struct net_world *w = owner;
    w->messages++;
    w->last = c;
    assert_ptr_equal(connection_peer(c), w);
    assert_int_equal(connection_state(c), CONNECTION_OPEN);
    buffer_add(&w->heard, bytes);
    answer(w, c, bytes);
}

static void told_malformed(void *owner, struct connection *c, struct slice bytes,
                           enum framing_fault fault)
{
    struct net_world *w = owner;
    (void)bytes;
    w->malformed++;
    w->last_fault = fault;
    buffer_add_text(connection_output(c), "SIP/2.0 400 Bad Request\r\n\r\n");
    connection_flush(c);
}

static void told_closed(void *owner, struct connection *c, enum connection_end end)
{
    struct net_world *w = owner;
    assert_ptr_equal(connection_peer(c), w);
    connection_set_peer(c, NULL); /* a second call would show */
    if (w->last == c)
        w->last = NULL;
    w->closed++;
    w->last_end = end;
}

static void told_failed(void *owner, struct connection *c, enum connection_end end)
{
    struct net_world *w = owner;
    assert_null(connection_peer(c));
    w->failed++;
    w->last_end = end;
}

/* ---- The world ---- */

static void listen_on(struct net_world *w, size_t index, struct address *bound)
{
    const struct config_listener *options = &w->config->listeners[index];
    int fd;
    assert_int_equal(listener_bind(&options->address, bound, &fd), ERROR_NONE);
    assert_int_equal(net_listen(w->net, options, fd), ERROR_NONE);
}

void net_world_open(struct net_world *w, const char *options)
{
    signal(SIGPIPE, SIG_IGN); /* as the program does; OpenSSL's own socket BIO needs it */
    make_certificates();
    *w = (struct net_world){ .config = make_config(options, ca.certificate) };
    w->base = (struct worker_base){ .workers = 1,
                                    .loop = ev_loop_new(EVFLAG_AUTO),
                                    .now_mono_ms = 1000000,
                                    .config = w->config,
                                    .counters = &w->counters };
    timers_init(&w->base.timers);
    run_queue_init(&w->base.run_queue);
    buffer_init(&w->heard, 0);
    struct net_user user = { w,    told_opened, told_message, told_malformed,
                             NULL, told_closed, told_failed,  NULL };
    assert_int_equal(net_create(&w->base, &user, &w->net), ERROR_NONE);
    listen_on(w, 0, &w->tls);
    listen_on(w, 1, &w->tcp);
}

const struct config *net_world_foreign_config(void)
{
    struct test_certificate foreign = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Foreign", .ca = TEST_CA }, NULL);
    const struct config *config = make_config("", foreign.certificate);
    test_certificate_free(&foreign);
    return config;
}

void net_world_close(struct net_world *w)
{
    net_destroy(w->net);
    assert_int_equal(w->base.timers.count, 0);
    assert_null(w->base.run_queue.first);
    assert_int_equal(w->counters.connections, 0);
    ev_loop_destroy(w->base.loop);
    timers_free(&w->base.timers);
    config_drop(w->config);
    buffer_free(&w->heard);
}

void net_world_turn(struct net_world *w)
{
    ev_run(w->base.loop, EVRUN_NOWAIT);
    timers_run(&w->base.timers, w->base.now_mono_ms);
    do {
        run_queue_drain(&w->base.run_queue);
    } while (net_flush(w->net));
}

void net_world_settle(struct net_world *w)
{
    for (int i = 0; i < 50; i++)
        net_world_turn(w);
}

void net_world_pass(struct net_world *w, uint64_t ms)
{
    w->base.now_mono_ms += ms;
    net_world_turn(w);
}

/* ---- Clients ---- */

void net_client_connect(struct net_client *c, const struct address *to, bool tls)
{
    *c = (struct net_client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_true(c->fd >= 0);
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    buffer_init(&c->got, 0);
    assert_int_equal(connect(c->fd, &to->any, address_size(to)), 0);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (!tls)
        return;
    c->context = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_use_certificate(c->context, device.certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(c->context, device.key), 1);
    SSL_CTX_set_mode(c->context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    c->ssl = SSL_new(c->context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
}

static void read_tcp(struct net_client *c)
{
    char bytes[4096];
    ssize_t n;
    while ((n = recv(c->fd, bytes, sizeof(bytes), 0)) > 0)
        buffer_add(&c->got, (struct slice){ bytes, (size_t)n });
    c->ended = c->ended || n == 0 || (n < 0 && errno != EAGAIN);
}

void net_client_step(struct net_client *c)
{
    char bytes[4096];
    int n;
    if (!c->ssl) {
        read_tcp(c);
        return;
    }
    ERR_clear_error();
    if (!c->shaken) {
        int r = SSL_do_handshake(c->ssl);
        c->shaken = r == 1;
        int why = SSL_get_error(c->ssl, r);
        c->failed = !c->shaken && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
        if (!c->shaken)
            return;
    }
    while ((n = SSL_read(c->ssl, bytes, sizeof(bytes))) > 0)
        buffer_add(&c->got, (struct slice){ bytes, (size_t)n });
    c->ended = c->ended || SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ;
}

void net_client_send_bytes(struct net_client *c, struct slice bytes)
{
    if (c->ssl)
        assert_int_equal(SSL_write(c->ssl, bytes.data, (int)bytes.size), bytes.size);
    else
        assert_int_equal(send(c->fd, bytes.data, bytes.size, MSG_NOSIGNAL), bytes.size);
}

void net_client_send(struct net_client *c, const char *text)
{
    net_client_send_bytes(c, slice_of(text));
}

void net_client_open(struct net_world *w, struct net_client *c, bool tls)
{
    unsigned before = w->opened;
    net_client_connect(c, tls ? &w->tls : &w->tcp, tls);
    net_world_until(w, (net_client_step(c), w->opened > before && (!tls || c->shaken)));
}

void net_client_close(struct net_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buffer_free(&c->got);
}

bool net_client_has(struct net_client *c, const char *text)
{
    struct slice got, want = slice_of(text);
    net_client_step(c);
    got = buffer_slice(&c->got);
    return got.size >= want.size &&
           memcmp(got.data + got.size - want.size, want.data, want.size) == 0;
}
