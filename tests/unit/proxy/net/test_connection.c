/* SPDX-License-Identifier: Apache-2.0 */
/* Connections with real sockets and real TLS: messages in and out, time-outs, ends, bounds (T30,
 * T31, T34, T38). */
#include "common/clock.h"
#include "common/mem.h"
#include "proxy/net/net_internal.h"
#include "tests/unit/proxy/net/net_world.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct net_world w;
static const bool both[] = { true, false }; /* TLS, TCP */

static void test_a_message_comes_in_and_its_answer_goes_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, "");
        w.echo = true;
        net_client_open(&w, &c, both[i]);
        net_client_send(&c, NET_MESSAGE);
        net_world_until(&w, net_client_has(&c, NET_MESSAGE));
        assert_int_equal(w.messages, 1);
        assert_int_equal(w.counters.connections, 1);
        assert_int_equal(connection_transport(w.last), both[i] ? TRANSPORT_TLS : TRANSPORT_TCP);
        assert_true(address_same_host(connection_remote(w.last), &w.tls));
        assert_int_equal(address_port(connection_local(w.last)),
                         address_port(both[i] ? &w.tls : &w.tcp));
        if (both[i]) {
            assert_string_equal(connection_identity(w.last)->cn, "0004F224A6AC");
            assert_string_equal(connection_identity(w.last)->store, "device");
            assert_null(connection_route(w.last));
        } else {
            assert_null(connection_identity(w.last));
            assert_string_equal(connection_route(w.last)->name, "pbx");
        }
        net_client_close(&c);
        net_world_until(&w, w.closed == 1);
        assert_int_equal(w.last_end, END_BY_PEER);
        assert_int_equal(w.counters.connections, 0);
        net_world_close(&w);
    }
}

static void test_an_idle_connection_keeps_no_buffers(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    w.echo = true;
    net_client_open(&w, &c, true);
    net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, net_client_has(&c, NET_MESSAGE));
    assert_int_equal(w.last->input.capacity, 0);
    assert_int_equal(w.last->output.capacity, 0);
    int value = 0;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(w.last->stream.fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    assert_int_not_equal(value, 0);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T30_one_octet_at_a_time_is_one_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, "");
        net_client_open(&w, &c, both[i]);
        for (const char *at = NET_MESSAGE; *at; at++) {
            assert_int_equal(w.messages, 0);
            net_client_send_bytes(&c, (struct slice){ at, 1 });
            net_world_turn(&w);
        }
        net_world_until(&w, w.messages == 1);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_T30_a_message_that_drips_in_has_a_deadline(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "message_timeout = 10000\n");
    net_client_open(&w, &c, true);
    for (int second = 0; second < 10; second++) {
        assert_int_equal(w.closed, 0);
        net_client_send_bytes(&c, (struct slice){ &NET_MESSAGE[second], 1 });
        net_world_settle(&w);
        net_world_pass(&w, 1000);
    }
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.last_end, END_MESSAGE_TIMEOUT);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T30_the_deadline_is_each_messages_own(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "message_timeout = 10000\n");
    net_client_open(&w, &c, true);
    /* Always in the middle of a message, never long in the same. */
    for (unsigned i = 0; i < 6; i++) {
        net_client_send(&c, i ? "Content-Length: 0\r\n\r\nOPTIONS sip:example.org SIP/2.0\r\n"
                              : "OPTIONS sip:example.org SIP/2.0\r\n");
        net_world_until(&w, w.messages == i);
        net_world_settle(&w);
        net_world_pass(&w, 6000);
    }
    assert_int_equal(w.closed, 0);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T30_a_handshake_has_a_deadline(void **state)
{
    (void)state;
    struct net_client silent, slow;
    net_world_open(&w, "handshake_timeout = 10000\n");
    net_client_connect(&silent, &w.tls, false);
    net_client_connect(&slow, &w.tls, false);
    net_world_until(&w, w.net->handshakes == 2);
    net_client_send_bytes(&slow, SLICE("\x16\x03\x01\x02"));
    net_world_settle(&w);
    net_world_pass(&w, 9999);
    assert_int_equal(w.net->handshakes, 2);
    net_client_send_bytes(&slow, SLICE("\x00"));
    net_world_settle(&w);
    net_world_pass(&w, 1);
    assert_int_equal(w.net->connections, 0);
    net_world_until(&w, (net_client_step(&silent), silent.ended));
    net_world_until(&w, (net_client_step(&slow), slow.ended));
    assert_int_equal(w.opened + w.closed + w.failed, 0);
    net_client_close(&silent);
    net_client_close(&slow);
    net_world_close(&w);
}

static void test_T30_silent_peers_do_not_shut_out_others(void **state)
{
    (void)state;
    struct net_client silent[8], phone;
    net_world_open(&w, "max_handshakes = 8\n");
    for (size_t i = 0; i < 8; i++)
        net_client_connect(&silent[i], &w.tls, false);
    net_world_until(&w, w.net->handshakes == 8);
    /* All places are taken by peers that had little time yet: a new one waits a moment. */
    net_client_connect(&phone, &w.tls, true);
    for (int i = 0; i < 20; i++) {
        net_world_turn(&w);
        net_client_step(&phone);
    }
    assert_int_equal(w.opened, 0);
    net_world_pass(&w, 1300);
    net_world_until(&w, (net_client_step(&phone), phone.shaken && w.opened == 1));
    assert_int_equal(w.net->handshakes, 7);
    for (size_t i = 0; i < 8; i++)
        net_client_close(&silent[i]);
    net_client_close(&phone);
    net_world_close(&w);
}

static void test_a_refused_certificate_is_told_by_alert_and_to_nobody_above(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_connect(&c, &w.tls, true);
    SSL_certs_clear(c.ssl);
    net_world_until(&w, (net_client_step(&c), c.failed || c.ended));
    assert_int_equal(w.opened + w.closed + w.failed, 0);
    net_client_close(&c);
    net_world_until(&w, w.net->connections == 0);
    net_world_close(&w);
}

static void test_plain_text_at_a_tls_listener_is_closed(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_connect(&c, &w.tls, false);
    net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, (net_client_step(&c), c.ended));
    assert_int_equal(w.opened, 0);
    net_client_close(&c);
    net_world_until(&w, w.net->connections == 0);
    net_world_close(&w);
}

static void test_pipelined_messages_are_all_heard_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        struct buffer all;
        net_world_open(&w, "");
        buffer_init(&all, 0);
        /* More than a turn reads, so that it takes several. */
        for (unsigned n = 0; n < 2000; n++)
            buffer_add_format(
                &all, "OPTIONS sip:%u@example.org SIP/2.0\r\nContent-Length: 4\r\n\r\nbody%s", n,
                n % 3 ? "" : "\r\n");
        net_client_open(&w, &c, both[i]);
        size_t size = buffer_size(&all);
        for (size_t sent = 0; sent < size;) {
            size_t piece = size - sent < 5000 ? size - sent : 5000;
            net_client_send_bytes(&c, (struct slice){ all.data + sent, piece });
            sent += piece;
            if (sent > 200000)
                net_world_turn(&w);
        }
        net_world_until(&w, w.messages == 2000);
        unsigned seen = 0;
        for (char *at = w.heard.data; seen < 2000; seen++) {
            char want[64];
            snprintf(want, sizeof(want), "OPTIONS sip:%u@", seen);
            at = memmem(at, (size_t)(w.heard.data + w.heard.to - at), want, strlen(want));
            assert_non_null(at);
        }
        buffer_free(&all);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_a_large_message_is_heard_whole(void **state)
{
    (void)state;
    struct net_client c;
    struct buffer text;
    net_world_open(&w, "");
    buffer_init(&text, 0);
    buffer_add_text(&text, "MESSAGE sip:a@example.org SIP/2.0\r\nContent-Length: 60000\r\n\r\n");
    for (int i = 0; i < 60000; i++)
        buffer_add_char(&text, 'x');
    net_client_open(&w, &c, true);
    for (size_t sent = 0; sent < buffer_size(&text);) {
        size_t piece = buffer_size(&text) - sent < 7000 ? buffer_size(&text) - sent : 7000;
        net_client_send_bytes(&c, (struct slice){ text.data + sent, piece });
        net_world_turn(&w);
        sent += piece;
    }
    net_world_until(&w, w.messages == 1);
    assert_int_equal(buffer_size(&w.heard), buffer_size(&text));
    assert_int_equal(w.last->input.capacity, 0);
    buffer_free(&text);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_a_ping_is_answered(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    net_client_send(&c, "\r\n\r\n");
    net_world_until(&w, net_client_has(&c, "\r\n"));
    net_client_send(&c, "\r\n" NET_MESSAGE "\r\n\r\n" NET_MESSAGE);
    net_world_until(&w, w.messages == 2);
    net_world_until(&w, net_client_has(&c, "\r\n\r\n"));
    assert_int_equal(buffer_size(&c.got), 4);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T34_a_flood_of_pings_is_bounded_then_closed(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    for (int i = 0; i < 100; i++)
        net_client_send(&c, "\r\n\r\n");
    net_world_settle(&w);
    net_client_step(&c);
    assert_int_equal(buffer_size(&c.got), 20);
    assert_int_equal(w.closed, 0);
    net_world_pass(&w, 1000);
    net_client_send(&c, "\r\n\r\n");
    net_world_until(&w, (net_client_step(&c), buffer_size(&c.got) == 22));
    for (int i = 0; i < 300; i++)
        net_client_send(&c, "\r\n\r\n");
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.last_end, END_FLOOD);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T34_garbage_is_closed(void **state)
{
    (void)state;
    static const struct {
        struct slice bytes;
    } garbage[] = { { { "\0\1\2\3", 4 } }, { { "\x80\xff", 2 } }, { { "{\"json\": 1}\r\n", 13 } } };
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        struct net_client c;
        net_world_open(&w, "message_timeout = 10000\n");
        net_client_open(&w, &c, true);
        net_client_send(&c, NET_MESSAGE);
        net_client_send_bytes(&c, garbage[i].bytes);
        net_world_settle(&w);
        net_world_pass(&w, 10000);
        net_world_until(&w, (net_client_step(&c), c.ended));
        assert_int_equal(w.messages, 1);
        assert_int_equal(w.closed, 1);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_lost_framing_is_answered_then_closed(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    net_client_send(&c,
                    "OPTIONS sip:example.org SIP/2.0\r\nContent-Length: -1\r\n\r\n" NET_MESSAGE);
    net_world_until(&w, (net_client_step(&c), c.ended));
    assert_true(net_client_has(&c, "SIP/2.0 400 Bad Request\r\n\r\n"));
    assert_int_equal(w.malformed, 1);
    assert_int_equal(w.last_fault, FRAMING_LENGTH_MALFORMED);
    assert_int_equal(w.messages, 0);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.last_end, END_MALFORMED);
    assert_int_equal(w.counters.malformed, 1);
    net_client_close(&c);
    net_world_until(&w, w.net->connections == 0);
    net_world_close(&w);
}

static void test_our_last_words_survive_what_the_peer_still_sends(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    w.echo = w.close_after_message = true;
    net_client_open(&w, &c, false);
    net_client_send(&c, NET_MESSAGE);
    for (int i = 0; i < 100; i++)
        net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, (net_client_step(&c), c.ended));
    assert_true(net_client_has(&c, NET_MESSAGE));
    assert_int_equal(buffer_size(&c.got), strlen(NET_MESSAGE));
    assert_int_equal(w.messages, 1);
    assert_int_equal(w.closed, 1);
    /* The peer does not end: it is not waited for long. */
    assert_int_equal(w.net->connections, 1);
    net_world_pass(&w, 2000);
    assert_int_equal(w.net->connections, 0);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T38_a_peer_that_does_not_read_is_closed_and_nobody_waits_for_it(void **state)
{
    (void)state;
    struct net_client slow, other;
    net_world_open(&w, "output_max = 131072\n");
    w.flood = 65536;
    net_client_open(&w, &slow, true);
    net_client_open(&w, &other, true);
    for (int i = 0; i < 400 && !w.closed; i++) {
        net_client_send(&slow, NET_MESSAGE);
        net_world_turn(&w);
        net_world_turn(&w);
        if (w.last)
            assert_true(w.last->output.capacity <= 2 * 131072);
    }
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.last_end, END_OUTPUT_FULL);
    w.flood = 0;
    w.echo = true;
    net_client_send(&other, NET_MESSAGE);
    net_world_until(&w, net_client_has(&other, NET_MESSAGE));
    net_client_close(&slow);
    net_client_close(&other);
    net_world_close(&w);
}

static void test_T38_output_that_is_not_taken_has_a_deadline(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "output_timeout = 30000\noutput_max = 33554432\n");
    w.flood = 16777216;
    net_client_open(&w, &c, true);
    net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, w.messages == 1);
    net_world_settle(&w);
    assert_true(buffer_size(&w.last->output) > 0);
    net_world_pass(&w, 29000);
    assert_int_equal(w.closed, 0);
    /* It takes some: the deadline starts anew. */
    net_client_step(&c);
    net_world_settle(&w);
    net_world_pass(&w, 29000);
    assert_int_equal(w.closed, 0);
    net_world_pass(&w, 1001);
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.last_end, END_OUTPUT_STALLED);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_a_slow_reader_gets_everything_in_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, "output_max = 33554432\n");
        w.flood = 8 << 20;
        net_client_open(&w, &c, both[i]);
        net_client_send(&c, NET_MESSAGE);
        net_world_until(&w, w.messages == 1);
        net_world_settle(&w);
        net_world_until(&w, (net_client_step(&c), buffer_size(&c.got) == w.flood));
        assert_int_equal(w.last->output.capacity, 0);
        assert_false(ev_is_active(&w.last->write_io));
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_T30_a_half_closed_connection_gets_its_answer_and_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, "");
        w.echo = true;
        net_client_open(&w, &c, both[i]);
        net_client_send(&c, NET_MESSAGE);
        if (c.ssl)
            SSL_shutdown(c.ssl);
        shutdown(c.fd, SHUT_WR);
        net_world_until(&w, (net_client_step(&c), c.ended));
        assert_true(net_client_has(&c, NET_MESSAGE));
        assert_int_equal(w.closed, 1);
        assert_int_equal(w.last_end, END_BY_PEER);
        net_world_until(&w, w.net->connections == 0);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_silence_ends_a_connection_only_where_it_is_configured(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, i ? "idle_timeout = 0\n" : "idle_timeout = 60000\n");
        net_client_open(&w, &c, true);
        net_world_pass(&w, 59000);
        net_client_send(&c, "\r\n\r\n");
        net_world_until(&w, net_client_has(&c, "\r\n"));
        net_world_pass(&w, 59999);
        assert_int_equal(w.closed, 0);
        net_world_pass(&w, 1);
        assert_int_equal(w.closed, i ? 0 : 1);
        if (!i)
            assert_int_equal(w.last_end, END_IDLE);
        net_world_pass(&w, 86400000);
        assert_int_equal(w.closed, i ? 0 : 1);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_T30_a_stranger_on_tcp_holds_no_place_for_long(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "message_timeout = 10000\n");
    net_client_open(&w, &c, false);
    w.last->recognised = false; /* as from an address that is no route's */
    timer_stop(&w.base.timers, &w.last->timer);
    connection_arm(w.last);
    net_world_pass(&w, 9999);
    assert_int_equal(w.closed, 0);
    net_world_pass(&w, 1);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.last_end, END_IDLE);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_a_stale_flow_finds_nothing(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    struct flow first = w.last_flow, other = first;
    assert_ptr_equal(net_find(w.net, first), w.last);
    other.worker++;
    assert_null(net_find(w.net, other));
    other = first;
    other.slot = 1000000;
    assert_null(net_find(w.net, other));
    assert_null(net_find(w.net, (struct flow){ 0 }));
    connection_close_after_flush(w.last, END_BY_US);
    assert_null(net_find(w.net, first));
    net_client_close(&c);
    net_world_until(&w, w.net->connections == 0);
    net_client_open(&w, &c, true);
    assert_int_equal(w.last_flow.slot, first.slot);
    assert_int_not_equal(w.last_flow.generation, first.generation);
    assert_null(net_find(w.net, first));
    assert_non_null(net_find(w.net, w.last_flow));
    net_client_close(&c);
    net_world_close(&w);
}

static void test_closing_inside_a_handler_is_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct net_client c;
        net_world_open(&w, "");
        w.echo = true;
        w.close_at_message = true;
        net_client_open(&w, &c, both[i]);
        net_client_send(&c, NET_MESSAGE NET_MESSAGE NET_MESSAGE);
        net_world_until(&w, w.closed == 1);
        assert_int_equal(w.messages, 1);
        net_world_until(&w, (net_client_step(&c), c.ended));
        assert_int_equal(w.closed, 1);
        net_client_close(&c);
        net_world_close(&w);
    }
}

static void test_output_of_a_dead_connection_goes_nowhere(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    struct connection *dead = w.last;
    connection_close(dead, END_BY_US);
    buffer_add_text(connection_output(dead), "too late");
    connection_flush(dead);
    connection_close_after_flush(dead, END_BY_US);
    net_world_turn(&w);
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.net->connections, 0);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_T31_a_flood_of_key_updates_is_closed(void **state)
{
    (void)state;
    struct net_client c;
    net_world_open(&w, "");
    net_client_open(&w, &c, true);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(c.ssl), 1);
    }
    net_client_send(&c, NET_MESSAGE);
    net_world_until(&w, w.messages == 1);
    assert_int_equal(w.closed, 0);
    net_world_pass(&w, 1000);
    for (int i = 0; i < 400 && !w.closed; i++) {
        assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        (void)SSL_do_handshake(c.ssl);
        net_world_turn(&w);
        net_client_step(&c);
    }
    net_world_until(&w, w.closed == 1);
    assert_int_equal(w.last_end, END_FLOOD);
    net_client_close(&c);
    net_world_close(&w);
}

static void test_everything_ends_with_the_net(void **state)
{
    (void)state;
    struct net_client c[4];
    net_world_open(&w, "");
    net_client_open(&w, &c[0], true);
    net_client_open(&w, &c[1], false);
    net_client_connect(&c[2], &w.tls, false);
    net_client_connect(&c[3], &w.tls, true);
    net_world_until(&w, w.net->handshakes == 2);
    buffer_add_text(connection_output(w.last), "unsent");
    connection_flush(w.last);
    net_world_close(&w);
    assert_int_equal(w.closed, 2);
    for (size_t i = 0; i < 4; i++)
        net_client_close(&c[i]);
}

/* Each allocation of ours fails once, from the accept to the answer: the connection may end,
 * nothing else. */
static void test_without_memory_a_connection_ends_and_no_more(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        struct net_client c, after;
        net_world_open(&w, "");
        w.echo = true;
        net_client_connect(&c, &w.tls, true);
        mem_fail_nth_for_tests(n);
        for (int i = 0; i < 30; i++) {
            net_world_turn(&w);
            net_client_step(&c);
            if (c.shaken && i == 15)
                (void)SSL_write(c.ssl, NET_MESSAGE, sizeof(NET_MESSAGE) - 1);
        }
        mem_fail_nth_for_tests(0);
        w.echo = true;
        net_client_open(&w, &after, true);
        net_client_send(&after, NET_MESSAGE);
        net_world_until(&w, net_client_has(&after, NET_MESSAGE));
        net_client_close(&after);
        net_client_close(&c);
        net_world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_comes_in_and_its_answer_goes_out),
        cmocka_unit_test(test_an_idle_connection_keeps_no_buffers),
        cmocka_unit_test(test_T30_one_octet_at_a_time_is_one_message),
        cmocka_unit_test(test_T30_a_message_that_drips_in_has_a_deadline),
        cmocka_unit_test(test_T30_the_deadline_is_each_messages_own),
        cmocka_unit_test(test_T30_a_handshake_has_a_deadline),
        cmocka_unit_test(test_T30_silent_peers_do_not_shut_out_others),
        cmocka_unit_test(test_a_refused_certificate_is_told_by_alert_and_to_nobody_above),
        cmocka_unit_test(test_plain_text_at_a_tls_listener_is_closed),
        cmocka_unit_test(test_pipelined_messages_are_all_heard_in_order),
        cmocka_unit_test(test_a_large_message_is_heard_whole),
        cmocka_unit_test(test_a_ping_is_answered),
        cmocka_unit_test(test_T34_a_flood_of_pings_is_bounded_then_closed),
        cmocka_unit_test(test_T34_garbage_is_closed),
        cmocka_unit_test(test_lost_framing_is_answered_then_closed),
        cmocka_unit_test(test_our_last_words_survive_what_the_peer_still_sends),
        cmocka_unit_test(test_T38_a_peer_that_does_not_read_is_closed_and_nobody_waits_for_it),
        cmocka_unit_test(test_T38_output_that_is_not_taken_has_a_deadline),
        cmocka_unit_test(test_a_slow_reader_gets_everything_in_the_end),
        cmocka_unit_test(test_T30_a_half_closed_connection_gets_its_answer_and_ends),
        cmocka_unit_test(test_silence_ends_a_connection_only_where_it_is_configured),
        cmocka_unit_test(test_T30_a_stranger_on_tcp_holds_no_place_for_long),
        cmocka_unit_test(test_a_stale_flow_finds_nothing),
        cmocka_unit_test(test_closing_inside_a_handler_is_safe),
        cmocka_unit_test(test_output_of_a_dead_connection_goes_nowhere),
        cmocka_unit_test(test_T31_a_flood_of_key_updates_is_closed),
        cmocka_unit_test(test_everything_ends_with_the_net),
        cmocka_unit_test(test_without_memory_a_connection_ends_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
