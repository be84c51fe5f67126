/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting, dialling, addresses: descriptors that run out, bounds, shared ports, routes that
 * answer or do not (T30, T41). */
#include "common/clock.h"
#include "common/mem.h"
#include "proxy/net/listener.h"
#include "proxy/net/net_internal.h"
#include "tests/unit/proxy/net/net_world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static struct net_world w;

/* ---- Addresses ---- */

static void test_addresses_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } good[] = {
        { "127.0.0.1:5060", "127.0.0.1:5060" },    { "0.0.0.0:0", "0.0.0.0:0" },
        { "[::1]:65535", "[::1]:65535" },          { "[2001:DB8::1]:5061", "[2001:db8::1]:5061" },
        { "[::ffff:192.0.2.1]:1", "192.0.2.1:1" },
    };
    static const char *const bad[] = {
        "",
        ":",
        ":5060",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:5060 ",
        "127.0.0.1: 5060",
        "::1:5060",
        "[::1]",
        "[127.0.0.1]:1",
        "[]:1",
        "example.org:5060",
        "127.1:5060",
        "127.0.0.01x:1",
        "[::1%lo]:1",
        "127.0.0.1:000080",
    };
    struct address a;
    char text[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(address_from_text(&a, slice_of(good[i].in)), ERROR_NONE);
        assert_string_equal(address_text(&a, text), good[i].out);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (address_from_text(&a, slice_of(bad[i])) != ERROR_MALFORMED)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(a.family, AF_UNSPEC);
    assert_false(address_same_host(&a, &a));
}

static void test_hosts_are_compared_without_port_and_mapping(void **state)
{
    (void)state;
    struct address a, b, c, d;
    assert_int_equal(address_from_text(&a, SLICE("192.0.2.1:1")), ERROR_NONE);
    assert_int_equal(address_from_text(&b, SLICE("[::ffff:192.0.2.1]:2")), ERROR_NONE);
    assert_int_equal(address_from_text(&c, SLICE("192.0.2.2:1")), ERROR_NONE);
    assert_int_equal(address_from_text(&d, SLICE("[2001:db8::1]:1")), ERROR_NONE);
    assert_true(address_same_host(&a, &b) && address_same_host(&b, &a));
    assert_false(address_same_host(&a, &c));
    assert_false(address_same_host(&a, &d));
    assert_true(address_same_host(&d, &d));
}

/* ---- Listening ---- */

static void test_workers_share_a_port_that_the_kernel_chose(void **state)
{
    (void)state;
    struct address wish, first, second;
    int a, b;
    assert_int_equal(address_from_text(&wish, SLICE("127.0.0.1:0")), ERROR_NONE);
    assert_int_equal(listener_bind(&wish, &first, &a), ERROR_NONE);
    assert_int_not_equal(address_port(&first), 0);
    assert_int_equal(listener_bind(&first, &second, &b), ERROR_NONE);
    assert_int_equal(address_port(&first), address_port(&second));
    close(a);
    close(b);
}

static void test_ipv6_is_listened_to_alone(void **state)
{
    (void)state;
    struct address wish, bound, again;
    int six, four;
    assert_int_equal(address_from_text(&wish, SLICE("[::1]:0")), ERROR_NONE);
    if (listener_bind(&wish, &bound, &six) != ERROR_NONE)
        skip(); /* a machine without IPv6 */
    assert_int_equal(bound.family, AF_INET6);
    close(six);
    assert_int_equal(address_from_text(&wish, SLICE("[::]:0")), ERROR_NONE);
    assert_int_equal(listener_bind(&wish, &bound, &six), ERROR_NONE);
    assert_int_equal(address_from_text(&wish, SLICE("0.0.0.0:0")), ERROR_NONE);
    address_set_port(&wish, address_port(&bound));
    assert_int_equal(listener_bind(&wish, &again, &four), ERROR_NONE);
    close(six);
    close(four);
}

static void test_a_port_of_another_program_is_an_error(void **state)
{
    (void)state;
    struct address a;
    socklen_t size = sizeof(a);
    int taken = socket(AF_INET, SOCK_STREAM, 0), fd;
    assert_int_equal(address_from_text(&a, SLICE("127.0.0.1:0")), ERROR_NONE);
    assert_int_equal(bind(taken, &a.any, address_size(&a)), 0);
    assert_int_equal(getsockname(taken, &a.any, &size), 0);
    assert_int_equal(listen(taken, 1), 0);
    struct address bound;
    assert_int_equal(listener_bind(&a, &bound, &fd), ERROR_SYSTEM);
    assert_int_equal(errno, EADDRINUSE);
    close(taken);
}

static void test_a_port_of_another_proxy_is_taken(void **state)
{
    (void)state;
    struct address wish, bound;
    int fd;
    assert_int_equal(address_from_text(&wish, SLICE("127.0.0.1:0")), ERROR_NONE);
    assert_false(listener_is_taken(&wish));
    assert_int_equal(listener_bind(&wish, &bound, &fd), ERROR_NONE);
    assert_int_equal(listen(fd, 1), 0);
    assert_true(listener_is_taken(&bound));
    close(fd);
    assert_false(listener_is_taken(&bound));
}

static void test_what_peers_are_told_to_send_to(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT_MAX];
    net_world_open(&w, "");
    assert_string_equal(net_advertised(w.net, TRANSPORT_TLS, NULL), address_text(&w.tls, text));
    assert_string_equal(net_advertised(w.net, TRANSPORT_TCP, "tcp"), address_text(&w.tcp, text));
    assert_null(net_advertised(w.net, TRANSPORT_UDP, NULL));
    assert_null(net_advertised(w.net, TRANSPORT_TLS, "tcp"));
    assert_string_equal(net_advertised_to(w.net, (struct flow){ .listener = 2 }),
                        address_text(&w.tcp, text));
    assert_string_equal(net_advertised_to(w.net, (struct flow){ .listener = 9 }),
                        address_text(&w.tls, text));
    net_stop_listening(w.net); /* a BYE may still pass */
    assert_false(listener_is_taken(&w.tls));
    assert_string_equal(net_advertised(w.net, TRANSPORT_TCP, "tcp"), address_text(&w.tcp, text));
    net_world_close(&w);
}

static void test_T41_without_descriptors_new_peers_are_refused_and_old_ones_served(void **state)
{
    (void)state;
    struct net_client old, late[4], after;
    struct rlimit before, none;
    net_world_open(&w, "");
    w.echo = true;
    net_client_open(&w, &old, true);
    for (size_t i = 0; i < 4; i++)
        net_client_connect(&late[i], &w.tcp, false);
    /* No descriptor that is free now may be taken: the limit is the first free one. */
    int probe = dup(0);
    assert_true(probe >= 0);
    close(probe);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)probe;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 10; i++) {
        net_world_settle(&w);
        net_world_pass(&w, 100);
    }
    assert_int_equal(w.opened, 1);
    for (size_t i = 0; i < 4; i++) {
        net_client_step(&late[i]);
        assert_true(late[i].ended);
    }
    net_client_send(&old, NET_MESSAGE);
    net_world_until(&w, net_client_has(&old, NET_MESSAGE));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    net_world_pass(&w, 100);
    net_client_open(&w, &after, true);
    net_client_close(&after);
    for (size_t i = 0; i < 4; i++)
        net_client_close(&late[i]);
    net_client_close(&old);
    net_world_close(&w);
}

static void test_T30_connections_are_bounded(void **state)
{
    (void)state;
    struct net_client c[3], over;
    net_world_open(&w, "max_connections = 3\n");
    for (size_t i = 0; i < 3; i++)
        net_client_open(&w, &c[i], i > 0);
    net_client_connect(&over, &w.tls, false);
    net_world_until(&w, (net_client_step(&over), over.ended));
    assert_int_equal(w.net->connections, 3);
    assert_int_equal(w.closed, 0);
    net_client_close(&c[0]);
    net_world_until(&w, w.closed == 1 && w.net->connections == 2);
    net_client_close(&over);
    net_client_open(&w, &over, true);
    net_client_close(&over);
    for (size_t i = 1; i < 3; i++)
        net_client_close(&c[i]);
    net_world_close(&w);
}

static void test_a_storm_is_taken_in_pieces_and_served(void **state)
{
    (void)state;
    enum { STORM = 200 };
    static struct net_client c[STORM];
    net_world_open(&w, "");
    for (size_t i = 0; i < STORM; i++)
        net_client_connect(&c[i], &w.tcp, false);
    net_world_turn(&w);
    assert_true(w.opened <= 32);
    net_world_until(&w, w.opened == STORM);
    for (size_t i = 0; i < STORM; i++)
        net_client_close(&c[i]);
    net_world_until(&w, w.closed == STORM && w.net->connections == 0);
    net_world_close(&w);
}

/* What came in by an anchor that is gone ends, also in the middle of its handshake. */
static void test_T19_a_reload_ends_what_it_would_not_let_in(void **state)
{
    (void)state;
    struct net_client old, plain, between, late;
    net_world_open(&w, "");
    w.echo = true;
    net_client_open(&w, &old, true);
    net_client_open(&w, &plain, false);
    net_client_connect(&between, &w.tls, true);
    net_world_until(&w, (net_client_step(&between), w.net->handshakes == 1));
    const struct config *foreign = net_world_foreign_config();
    net_reconfigure(w.net, foreign);
    config_drop(foreign);
    net_world_until(&w, (net_client_step(&old), old.ended));
    net_world_until(&w, (net_client_step(&between), between.failed || between.ended));
    net_client_connect(&late, &w.tls, true);
    net_world_until(&w, (net_client_step(&late), late.failed || late.ended));
    assert_int_equal(w.opened, 2);
    net_client_send(&plain, NET_MESSAGE);
    net_world_until(&w, net_client_has(&plain, NET_MESSAGE));
    net_client_close(&late);
    net_client_close(&between);
    net_reconfigure(w.net, w.config);
    net_client_open(&w, &late, true);
    net_client_close(&late);
    net_client_close(&plain);
    net_client_close(&old);
    net_world_close(&w);
}

static void test_no_listener_is_left_after_stopping(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, false);
    net_stop_listening(w.net);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, &w.tcp.any, address_size(&w.tcp)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    w.echo = true;
    net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, net_client_has(&c, NET_MESSAGE));
    net_client_close(&c);
    net_world_close(&w);
}

/* ---- Dialling ---- */

static int listen_as_route(struct config_route *route, int backlog)
{
    socklen_t size = sizeof(route->servers[0]);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    *route = (struct config_route){ .name = "far", .transport = TRANSPORT_TCP };
    assert_int_equal(address_from_text(&route->servers[0], SLICE("127.0.0.1:0")), ERROR_NONE);
    assert_int_equal(bind(fd, &route->servers[0].any, address_size(&route->servers[0])), 0);
    assert_int_equal(getsockname(fd, &route->servers[0].any, &size), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static void write_text(struct connection *c, const char *text)
{
    buffer_add_text(connection_output(c), text);
    connection_flush(c);
}

static void test_a_route_is_dialled_once_and_gets_what_waited(void **state)
{
    (void)state;
    struct config_route route;
    struct connection *c, *again;
    char got[64];
    net_world_open(&w, "");
    int listening = listen_as_route(&route, 5), fd = -1;
    assert_int_equal(outbound_connection(w.net, &route, 0, &c), ERROR_NONE);
    assert_true(connection_is_outbound(c));
    assert_ptr_equal(connection_route(c), &route);
    assert_null(connection_listener(c));
    assert_null(net_find(w.net, connection_flow(c)));
    write_text(c, "one ");
    assert_int_equal(outbound_connection(w.net, &route, 0, &again), ERROR_NONE);
    assert_ptr_equal(c, again);
    write_text(c, "two ");
    net_world_until(&w, w.opened == 1);
    assert_ptr_equal(net_find(w.net, connection_flow(c)), c);
    assert_int_equal(outbound_connection(w.net, &route, 0, &again), ERROR_NONE);
    assert_ptr_equal(c, again);
    write_text(c, "three");
    net_world_until(&w, (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    size_t size = 0;
    net_world_until(&w, ({
        ssize_t n = recv(fd, got + size, sizeof(got) - size, 0);
        size += n > 0 ? (size_t)n : 0;
        size == 13;
    }));
    assert_memory_equal(got, "one two three", 13);
    assert_int_equal(send(fd, NET_MESSAGE, sizeof(NET_MESSAGE) - 1, 0), sizeof(NET_MESSAGE) - 1);
    net_world_until(&w, w.messages == 1);
    close(fd);
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.failed, 0);
    assert_int_equal(outbound_connection(w.net, &route, 0, &again), ERROR_NONE);
    net_world_until(&w, w.opened == 2);
    net_world_close(&w);
    assert_int_equal(w.closed, 2);
    close(listening);
}

static void test_a_route_that_refuses_is_told_once_and_later(void **state)
{
    (void)state;
    struct config_route route;
    struct connection *c;
    net_world_open(&w, "");
    int bound = listen_as_route(&route, -1);
    assert_int_equal(outbound_connection(w.net, &route, 0, &c), ERROR_NONE);
    write_text(c, "nobody hears");
    assert_int_equal(w.failed, 0);
    net_world_until(&w, w.failed == 1);
    assert_int_equal(w.last_end, END_CONNECT);
    net_world_settle(&w);
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.closed + w.opened, 0);
    assert_int_equal(w.net->connections, 0);
    net_world_close(&w);
    close(bound);
}

static void test_a_route_that_is_silent_has_a_deadline(void **state)
{
    (void)state;
    struct config_route route;
    struct connection *c;
    int filler[8];
    net_world_open(&w, "handshake_timeout = 10000\n");
    /* With its queue full, the kernel drops what asks for a connection. */
    int listening = listen_as_route(&route, 0);
    for (size_t i = 0; i < 8; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(filler[i], &route.servers[0].any, address_size(&route.servers[0]));
    }
    assert_int_equal(outbound_connection(w.net, &route, 0, &c), ERROR_NONE);
    net_world_settle(&w);
    net_world_pass(&w, 9999);
    assert_int_equal(w.failed + w.opened, 0);
    assert_int_equal(connection_state(c), CONNECTION_CONNECTING);
    net_world_pass(&w, 1);
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.last_end, END_CONNECT);
    for (size_t i = 0; i < 8; i++)
        close(filler[i]);
    close(listening);
    net_world_close(&w);
}

static void test_too_much_output_while_connecting_fails(void **state)
{
    (void)state;
    struct config_route route;
    struct connection *c;
    net_world_open(&w, "output_max = 131072\n");
    int listening = listen_as_route(&route, 5);
    assert_int_equal(outbound_connection(w.net, &route, 0, &c), ERROR_NONE);
    for (int i = 0; i < 200; i++)
        buffer_add_format(connection_output(c), "%1024s", "");
    connection_flush(c);
    net_world_until(&w, w.failed == 1);
    assert_int_equal(w.last_end, END_OUTPUT_FULL);
    assert_int_equal(w.opened, 0);
    net_world_close(&w);
    close(listening);
}

static void test_the_end_of_the_net_fails_what_is_being_dialled(void **state)
{
    (void)state;
    struct config_route route;
    struct connection *c;
    net_world_open(&w, "");
    int listening = listen_as_route(&route, 5);
    assert_int_equal(outbound_connection(w.net, &route, 0, &c), ERROR_NONE);
    net_world_close(&w);
    assert_int_equal(w.failed, 1);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read_and_written),
        cmocka_unit_test(test_hosts_are_compared_without_port_and_mapping),
        cmocka_unit_test(test_workers_share_a_port_that_the_kernel_chose),
        cmocka_unit_test(test_ipv6_is_listened_to_alone),
        cmocka_unit_test(test_a_port_of_another_proxy_is_taken),
        cmocka_unit_test(test_a_port_of_another_program_is_an_error),
        cmocka_unit_test(test_what_peers_are_told_to_send_to),
        cmocka_unit_test(test_T41_without_descriptors_new_peers_are_refused_and_old_ones_served),
        cmocka_unit_test(test_T30_connections_are_bounded),
        cmocka_unit_test(test_a_storm_is_taken_in_pieces_and_served),
        cmocka_unit_test(test_T19_a_reload_ends_what_it_would_not_let_in),
        cmocka_unit_test(test_no_listener_is_left_after_stopping),
        cmocka_unit_test(test_a_route_is_dialled_once_and_gets_what_waited),
        cmocka_unit_test(test_a_route_that_refuses_is_told_once_and_later),
        cmocka_unit_test(test_a_route_that_is_silent_has_a_deadline),
        cmocka_unit_test(test_too_much_output_while_connecting_fails),
        cmocka_unit_test(test_the_end_of_the_net_fails_what_is_being_dialled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
