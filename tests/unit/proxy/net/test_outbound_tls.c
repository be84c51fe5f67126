/* SPDX-License-Identifier: Apache-2.0 */
/* Routes over TLS with a server that each test plays: what waits reaches the verified one alone, a
 * connection is used again by whom it was made for (T20), and every wait has its ends. */
#include "common/clock.h"
#include "common/mem.h"
#include "proxy/net/net_internal.h"
#include "tests/unit/proxy/net/net_world.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct net_world w;
static struct test_certificate ca, second_ca, ours, ours_too;

/* ---- The route ---- */

struct way {
    const struct test_certificate *anchor, *own; /* own NULL: none */
    const char *ciphers;
};

static struct tls_client *client_of_way(const struct way *way)
{
    struct tls_client *client;
    const char *why;
    char *anchor = test_certificate_pem(way->anchor->certificate);
    char *certificate = way->own ? test_certificate_pem(way->own->certificate) : NULL;
    char *key = way->own ? test_key_pem(way->own->key) : NULL;
    struct tls_store_spec store = { "federation", slice_of(anchor), TRUST_RULES_USUAL };
    struct tls_own_spec own;
    struct tls_client_spec spec = { .ciphers = way->ciphers, .stores = &store, .store_count = 1 };
    if (way->own) {
        own = (struct tls_own_spec){ slice_of(certificate), slice_of(key) };
        spec.own = &own;
    }
    assert_int_equal(tls_client_create(&spec, &client, &why), ERROR_NONE);
    free(anchor);
    free(certificate);
    free(key);
    return client;
}

struct route {
    struct config_route options;
    struct tls_client *client;
};

static void route_make(struct route *r, const char *name, const char *tls_name,
                       const struct address *address, const struct way *way)
{
    *r = (struct route){ .client = client_of_way(way) };
    r->options = (struct config_route){ .name = name,
                                        .servers = { *address },
                                        .server_count = 1,
                                        .transport = TRANSPORT_TLS,
                                        .tls = &r->client };
    assert_int_equal(identity_from_text(&r->options.tls_name, slice_of(tls_name)), ERROR_NONE);
}

static void route_free(struct route *r)
{
    tls_client_free(r->client);
}

/* ---- The server ---- */

struct server {
    int listening, fd;
    SSL_CTX *context;
    SSL *ssl;
    bool shaken, failed;
    struct buffer got;
};

static void server_open(struct server *s, struct address *at, const char *names)
{
    struct test_certificate made = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "server", .alternative_names = names }, &ca);
    socklen_t size = sizeof(*at);
    *s = (struct server){ .fd = -1, .listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    assert_int_equal(address_from_text(at, SLICE("127.0.0.1:0")), ERROR_NONE);
    assert_int_equal(bind(s->listening, &at->any, address_size(at)), 0);
    assert_int_equal(listen(s->listening, 16), 0);
    assert_int_equal(getsockname(s->listening, &at->any, &size), 0);
    fcntl(s->listening, F_SETFL, O_NONBLOCK);
    s->context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->context, made.certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->context, made.key), 1);
    test_certificate_free(&made);
    buffer_init(&s->got, 0);
}

/* Takes one connection, shakes hands, reads. */
static void server_step(struct server *s)
{
    char bytes[4096];
    int n;
    if (s->fd < 0) {
        s->fd = accept4(s->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s->fd < 0)
            return;
        s->ssl = SSL_new(s->context);
        SSL_set_fd(s->ssl, s->fd);
        SSL_set_accept_state(s->ssl);
    }
    if (!s->shaken && !s->failed) {
        int r = SSL_do_handshake(s->ssl);
        int why = SSL_get_error(s->ssl, r);
        s->shaken = r == 1;
        s->failed = r != 1 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
    }
    while (s->shaken && (n = SSL_read(s->ssl, bytes, sizeof(bytes))) > 0)
        buffer_add(&s->got, (struct slice){ bytes, (size_t)n });
}

static bool server_has(struct server *s, const char *text)
{
    server_step(s);
    return slice_equal(buffer_slice(&s->got), slice_of(text));
}

static void server_close(struct server *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->context);
    if (s->fd >= 0)
        close(s->fd);
    close(s->listening);
    buffer_free(&s->got);
}

static struct connection *dial(const struct route *r)
{
    struct connection *c;
    assert_int_equal(outbound_connection(w.net, &r->options, 0, &c), ERROR_NONE);
    return c;
}

static void write_text(struct connection *c, const char *text)
{
    buffer_add_text(connection_output(c), text);
    connection_flush(c);
}

/* ---- Tests ---- */

static void test_what_waits_reaches_the_verified_server(void **state)
{
    (void)state;
    struct address at;
    struct server server;
    struct route route;
    net_world_open(&w, "");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
    struct connection *c = dial(&route);
    write_text(c, "one ");
    assert_int_equal(connection_state(c), CONNECTION_CONNECTING);
    net_world_until(&w, connection_state(c) == CONNECTION_HANDSHAKING);
    write_text(c, "two ");
    assert_ptr_equal(dial(&route), c);
    assert_int_equal(w.opened, 0);
    net_world_until(&w, (server_step(&server), w.opened == 1));
    write_text(c, "three");
    net_world_until(&w, server_has(&server, "one two three"));
    assert_string_equal(connection_identity(c)->store, "federation");
    assert_ptr_equal(connection_route(c), &route.options);
    net_world_close(&w);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.failed, 0);
    route_free(&route);
    server_close(&server);
}

static void test_T20_another_server_gets_nothing_of_what_waits(void **state)
{
    (void)state;
    static const char *const names[] = { "DNS:evil.example", "DNS:*.example",
                                         "URI:sip:bob@other.example" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct address at;
        struct server server;
        struct route route;
        net_world_open(&w, "");
        server_open(&server, &at, names[i]);
        route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
        struct connection *c = dial(&route);
        write_text(c, "a secret");
        net_world_until(&w, (server_step(&server), w.failed == 1));
        assert_int_equal(w.last_end, END_HANDSHAKE);
        write_text(c, "another"); /* goes nowhere */
        for (int k = 0; k < 50; k++) {
            server_step(&server);
            net_world_settle(&w);
        }
        assert_int_equal(buffer_size(&server.got), 0);
        assert_int_equal(w.opened + w.closed, 0);
        assert_int_equal(w.failed, 1);
        net_world_close(&w);
        route_free(&route);
        server_close(&server);
    }
}

/* Without a server: what is being dialled is there to be used again. */
static void test_T20_a_connection_serves_whom_it_was_made_for(void **state)
{
    (void)state;
    const struct way way = { .anchor = &ca, .own = &ours };
    struct server server;
    struct address at, elsewhere;
    struct route route, other;
    const struct {
        const char *name, *tls_name;
        struct way way;
        bool same;
    } rows[] = {
        { "other", "other.example", way, true },
        { "other", "OTHER.example.", way, true },
        { "third", "other.example", way, false },
        { "other", "third.example", way, false },
        { "other", "other.example", { &second_ca, &ours, NULL }, false },
        { "other", "other.example", { &ca, &ours_too, NULL }, false },
        { "other", "other.example", { &ca, NULL, NULL }, false },
        { "other", "other.example", { &ca, &ours, "ECDHE+AESGCM" }, false },
    };
    net_world_open(&w, "");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &way);
    struct connection *c = dial(&route);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        route_make(&other, rows[i].name, rows[i].tls_name, &at, &rows[i].way);
        struct connection *again = dial(&other);
        if ((again == c) != rows[i].same)
            fail_msg("row %zu", i);
        if (again != c)
            connection_close(again, END_BY_US);
        net_world_turn(&w);
        route_free(&other);
    }
    elsewhere = at;
    elsewhere.v4.sin_port ^= 1;
    route_make(&other, "other", "other.example", &elsewhere, &way);
    assert_ptr_not_equal(dial(&other), c);
    net_world_close(&w);
    route_free(&other);
    route_free(&route);
    server_close(&server);
}

static void test_a_server_that_is_silent_has_a_deadline(void **state)
{
    (void)state;
    struct address at;
    struct server server;
    struct route route;
    net_world_open(&w, "handshake_timeout = 10000\n");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
    struct connection *c = dial(&route);
    net_world_pass(&w, 4000); /* connecting counts */
    net_world_until(&w, connection_state(c) == CONNECTION_HANDSHAKING);
    net_world_pass(&w, 5999);
    assert_int_equal(w.failed, 0);
    net_world_pass(&w, 1);
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.last_end, END_HANDSHAKE);
    net_world_close(&w);
    route_free(&route);
    server_close(&server);
}

static void test_T30_peers_handshakes_do_not_take_the_place_of_ours(void **state)
{
    (void)state;
    struct address at;
    struct server server;
    struct route route;
    struct net_client clients[4];
    net_world_open(&w, "max_handshakes = 1\n");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
    struct connection *c = dial(&route);
    net_world_until(&w, connection_state(c) == CONNECTION_HANDSHAKING);
    assert_int_equal(w.net->handshakes, 0);
    for (size_t i = 0; i < 4; i++) {
        net_client_connect(&clients[i], &w.tls, true);
        net_world_settle(&w);
        net_world_pass(&w, 2000); /* the oldest makes room */
    }
    assert_int_equal(connection_state(c), CONNECTION_HANDSHAKING);
    net_world_until(&w, (server_step(&server), connection_state(c) == CONNECTION_OPEN));
    for (size_t i = 0; i < 4; i++)
        net_client_close(&clients[i]);
    net_world_close(&w);
    route_free(&route);
    server_close(&server);
}

static void test_too_much_output_while_shaking_fails(void **state)
{
    (void)state;
    struct address at;
    struct server server;
    struct route route;
    net_world_open(&w, "output_max = 131072\n");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
    struct connection *c = dial(&route);
    net_world_until(&w, connection_state(c) == CONNECTION_HANDSHAKING);
    for (int i = 0; i < 200; i++)
        buffer_add_format(connection_output(c), "%1024s", "");
    connection_flush(c);
    net_world_until(&w, w.failed == 1);
    assert_int_equal(w.last_end, END_OUTPUT_FULL);
    net_world_close(&w);
    route_free(&route);
    server_close(&server);
}

static void test_the_end_of_the_net_fails_what_is_shaking(void **state)
{
    (void)state;
    struct address at;
    struct server server;
    struct route route;
    net_world_open(&w, "");
    server_open(&server, &at, "DNS:other.example");
    route_make(&route, "other", "other.example", &at, &(struct way){ .anchor = &ca });
    struct connection *c = dial(&route);
    net_world_until(&w, connection_state(c) == CONNECTION_HANDSHAKING);
    net_world_close(&w);
    assert_int_equal(w.failed, 1);
    route_free(&route);
    server_close(&server);
}

static int set_up(void **state)
{
    (void)state;
    ca = test_certificate_make(&(struct test_certificate_spec){ .cn = "CA", .ca = TEST_CA }, NULL);
    second_ca =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "CA", .ca = TEST_CA }, NULL);
    ours = test_certificate_make(&(struct test_certificate_spec){ .cn = "us" }, &ca);
    ours_too = test_certificate_make(&(struct test_certificate_spec){ .cn = "us" }, &ca);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_certificate_free(&ca);
    test_certificate_free(&second_ca);
    test_certificate_free(&ours);
    test_certificate_free(&ours_too);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_reaches_the_verified_server),
        cmocka_unit_test(test_T20_another_server_gets_nothing_of_what_waits),
        cmocka_unit_test(test_T20_a_connection_serves_whom_it_was_made_for),
        cmocka_unit_test(test_a_server_that_is_silent_has_a_deadline),
        cmocka_unit_test(test_T30_peers_handshakes_do_not_take_the_place_of_ours),
        cmocka_unit_test(test_too_much_output_while_shaking_fails),
        cmocka_unit_test(test_the_end_of_the_net_fails_what_is_shaking),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
