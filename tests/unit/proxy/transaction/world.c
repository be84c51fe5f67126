/* SPDX-License-Identifier: Apache-2.0 */
/* The helper behind world.h. */
#include "world.h"

#include "common/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define START_MONO_MS 1000000

void world_log(struct world *w, const char *format, ...)
{
    size_t used = strlen(w->log);
    va_list args;

    va_start(args, format);
    vsnprintf(w->log + used, sizeof(w->log) - used, format, args);
    va_end(args);
}

/* "SIP/2.0 180 …" is logged as 180, a request by its method. */
static enum error send_bytes(void *context, const struct transaction_way *way, struct slice bytes)
{
    struct world *w = context;
    const char *word = bytes.data;
    size_t size;

    assert_true(bytes.size > 8 && bytes.size < sizeof(w->sent));
    memcpy(w->sent, bytes.data, bytes.size);
    w->sent[bytes.size] = '\0';
    w->sent_to = *way;
    if (memcmp(word, "SIP/2.0 ", 8) == 0)
        word += 8;
    size = (size_t)((const char *)memchr(word, ' ', bytes.size - 8) - word);
    world_log(w, "%s %.*s;", w->send_fails ? "fail" : "send", (int)size, word);
    return w->send_fails ? ERROR_CLOSED : ERROR_NONE;
}

static void server_acknowledged(void *owner, struct server_transaction *t)
{
    (void)t;
    world_log(owner, "acknowledged;");
}

static void server_timed_out(void *owner, struct server_transaction *t)
{
    (void)t;
    world_log(owner, "timeout;");
}

static void server_transport_failed(void *owner, struct server_transaction *t)
{
    (void)t;
    world_log(owner, "failed;");
}

static void server_ended(void *owner, struct server_transaction *t)
{
    assert_int_equal(server_transaction_state(t), SERVER_TERMINATED);
    world_log(owner, "ended;");
}

const struct server_user world_server_user = { server_acknowledged, server_timed_out,
                                               server_transport_failed, server_ended };

static void client_response(void *owner, struct client_transaction *t,
                            const struct message *message)
{
    (void)t;
    world_log(owner, "response %u;", (unsigned)message->status);
}

static void client_timed_out(void *owner, struct client_transaction *t)
{
    (void)t;
    world_log(owner, "timeout;");
}

static void client_transport_failed(void *owner, struct client_transaction *t)
{
    (void)t;
    world_log(owner, "failed;");
}

static void client_ended(void *owner, struct client_transaction *t)
{
    assert_int_equal(client_transaction_state(t), CLIENT_TERMINATED);
    world_log(owner, "ended;");
}

const struct client_user world_client_user = { client_response, client_timed_out,
                                               client_transport_failed, client_ended };

void world_open(struct world *w)
{
    struct transaction_timing timing = { T1, T2, T4 };
    struct transaction_transport transport = { send_bytes, w };

    memset(w, 0, sizeof(*w));
    timers_init(&w->base.timers);
    run_queue_init(&w->base.run_queue);
    w->base.workers = 4;
    w->base.index = 3;
    w->base.now_mono_ms = START_MONO_MS;
    w->base.counters = &w->counters;
    server_table_init(&w->servers, &w->base, &timing, &transport, LIMIT);
    client_table_init(&w->clients, &w->base, &timing, &transport, LIMIT);
}

void world_drop(struct world *w)
{
    server_table_free(&w->servers);
    client_table_free(&w->clients);
    world_close(w);
}

void world_close(struct world *w)
{
    assert_int_equal(w->servers.count, 0);
    assert_int_equal(w->clients.count, 0);
    assert_null(w->servers.groups);
    assert_null(w->clients.all);
    assert_int_equal(w->base.timers.count, 0);
    assert_null(w->base.run_queue.first);
    assert_int_equal(atomic_load(&w->counters.transactions), 0);
    timers_free(&w->base.timers);
}

void world_drain(struct world *w)
{
    run_queue_drain(&w->base.run_queue);
}

void world_advance(struct world *w, uint64_t ms)
{
    uint64_t end = w->base.now_mono_ms + ms;

    while (timers_next_mono_ms(&w->base.timers) <= end) {
        w->base.now_mono_ms = timers_next_mono_ms(&w->base.timers);
        timers_run(&w->base.timers, w->base.now_mono_ms);
        world_drain(w);
    }
    w->base.now_mono_ms = end;
}

void world_expect_at(struct world *w, const char *expected, const char *file, int line)
{
    if (strcmp(w->log, expected) != 0) {
        print_error("expected \"%s\", got \"%s\"\n", expected, w->log);
        _fail(file, line);
    }
    w->log[0] = '\0';
}

struct transaction_way world_way(bool reliable)
{
    return (struct transaction_way){ { .worker = 3, .slot = 7, .generation = 1 }, 42, reliable };
}

struct transaction_id world_id(const char *method, const char *branch)
{
    return (struct transaction_id){
        .device = 42,
        .method = slice_of(method),
        .branch = slice_of(branch),
        .sent_by_host = SLICE("192.0.2.7"),
        .sent_by_port = 5061,
        .via = SLICE("SIP/2.0/TLS 192.0.2.7;branch=1"),
        .request_uri = SLICE("sip:bob@example.org"),
        .from_tag = SLICE("f1"),
        .call_id = SLICE("c1"),
        .cseq = 1,
    };
}

struct slice world_response(unsigned status)
{
    static char text[512];
    int size = snprintf(text, sizeof(text),
                        "SIP/2.0 %u x\r\n"
                        "Via: SIP/2.0/TLS 192.0.2.7;branch=z9hG4bK1\r\n"
                        "From: <sip:alice@example.org>;tag=f1\r\n"
                        "To: <sip:bob@example.org>;tag=t%u\r\n"
                        "Call-ID: c1\r\n"
                        "CSeq: 1 INVITE\r\n"
                        "Content-Length: 0\r\n\r\n",
                        status, status);
    return (struct slice){ text, (size_t)size };
}

struct slice world_request(const char *method, const char *branch)
{
    static char text[1024];
    int size = snprintf(text, sizeof(text),
                        "%s sip:bob@192.0.2.9:5061;transport=tls SIP/2.0\r\n"
                        "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=%s\r\n"
                        "Via: SIP/2.0/TLS 192.0.2.7;branch=z9hG4bK1\r\n"
                        "Max-Forwards: 69\r\n"
                        "Route: <sip:edge.example.org;lr>\r\n"
                        "From: <sip:alice@example.org>;tag=f1\r\n"
                        "To: <sip:bob@example.org>\r\n"
                        "Call-ID: c1\r\n"
                        "CSeq: 17 %s\r\n"
                        "Contact: <sip:alice@192.0.2.7>\r\n"
                        "Content-Type: text/plain\r\n"
                        "Content-Length: 2\r\n\r\nhi",
                        method, branch, method);
    return (struct slice){ text, (size_t)size };
}

void world_parse(struct message *m, struct slice text)
{
    message_init(m, 0);
    assert_int_equal(message_parse(m, text), ERROR_NONE);
}
