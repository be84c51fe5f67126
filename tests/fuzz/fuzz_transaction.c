/* SPDX-License-Identifier: Apache-2.0 */
/* Server and client transactions under any row of events, time steps, failing sends and failing
 * allocations. The input is a program: a byte chooses what happens, the next ones its arguments.
 * What must hold is checked after each step, and at the end nothing may be left. */
#include "common/mem.h"
#include "common/random.h"
#include "proxy/sip/message.h"
#include "proxy/transaction/client.h"
#include "proxy/transaction/server.h"

#include <stdio.h>
#include <stdlib.h>

#define OWNERS 32
#define LIMIT  20 /* below OWNERS, so that the bound is met */
#define T1     500

#define REQUIRE(condition)                                                                \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

/* Whoever uses a transaction; attached from its creation to detach() or ended(). */
struct owner {
    struct server_transaction *server;
    struct client_transaction *client;
    bool attached, started;
    bool detaches;  /* in its next upcall */
    unsigned final; /* INVITE: class of the final response seen, 2 or 3 */
    unsigned finals;
    bool failed;
};

static struct fuzz {
    struct worker_base base;
    struct counters counters;
    struct server_table servers;
    struct client_table clients;
    struct owner owners[OWNERS];
    bool send_fails;
    const uint8_t *at, *end;
} f;

static unsigned take(unsigned bound)
{
    return f.at < f.end ? *f.at++ % bound : 0;
}

static enum error send_bytes(void *context, const struct transaction_way *way, struct slice bytes)
{
    (void)context;
    REQUIRE(bytes.size > 0 && bytes.data && way->device < 2);
    return f.send_fails ? ERROR_CLOSED : ERROR_NONE;
}

static void leave(struct owner *owner)
{
    bool server = owner->server != NULL;
    struct server_transaction *s = owner->server;
    struct client_transaction *c = owner->client;

    memset(owner, 0, sizeof(*owner));
    if (server)
        server_transaction_detach(s);
    else
        client_transaction_detach(c);
}

static void upcall(struct owner *owner)
{
    REQUIRE(owner->attached);
    if (owner->detaches)
        leave(owner);
}

static void on_ended(struct owner *owner)
{
    REQUIRE(owner->attached);
    memset(owner, 0, sizeof(*owner));
}

static void server_acknowledged(void *owner, struct server_transaction *t)
{
    REQUIRE(((struct owner *)owner)->final == 3 && server_transaction_is_invite(t));
    upcall(owner);
}

static void server_timed_out(void *owner, struct server_transaction *t)
{
    REQUIRE(server_transaction_state(t) == SERVER_TERMINATED);
    REQUIRE(((struct owner *)owner)->final == 3);
    upcall(owner);
}

static void server_transport_failed(void *owner, struct server_transaction *t)
{
    (void)t;
    upcall(owner);
}

static void server_ended(void *owner, struct server_transaction *t)
{
    REQUIRE(server_transaction_state(t) == SERVER_TERMINATED);
    on_ended(owner);
}

static const struct server_user server_user = { server_acknowledged, server_timed_out,
                                                server_transport_failed, server_ended };

static void client_response(void *owner, struct client_transaction *t, const struct message *m)
{
    struct owner *o = owner;
    unsigned class = m->status < 200 ? 1 : m->status < 300 ? 2 : 3;

    REQUIRE(o->started && !o->failed);
    if (class > 1) {
        /* One final response, but for the 2xx of an INVITE. */
        REQUIRE(o->finals == 0 || (client_transaction_is_invite(t) && class == 2 && o->final == 2));
        o->finals++;
        o->final = class;
    } else {
        REQUIRE(o->finals == 0);
    }
    upcall(owner);
}

static void client_timed_out(void *owner, struct client_transaction *t)
{
    REQUIRE(client_transaction_state(t) == CLIENT_TERMINATED);
    REQUIRE(((struct owner *)owner)->finals == 0 && !((struct owner *)owner)->failed);
    ((struct owner *)owner)->failed = true;
    upcall(owner);
}

static void client_transport_failed(void *owner, struct client_transaction *t)
{
    REQUIRE(client_transaction_state(t) == CLIENT_TERMINATED);
    REQUIRE(!((struct owner *)owner)->failed);
    ((struct owner *)owner)->failed = true;
    upcall(owner);
}

static void client_ended(void *owner, struct client_transaction *t)
{
    REQUIRE(client_transaction_state(t) == CLIENT_TERMINATED);
    on_ended(owner);
}

static const struct client_user client_user = { client_response, client_timed_out,
                                                client_transport_failed, client_ended };

/* ---- What may happen ---- */

static const char *const methods[] = { "INVITE", "CANCEL", "MESSAGE", "REGISTER" };
static const unsigned statuses[] = { 100, 180, 200, 202, 302, 404, 486, 603 };

static struct slice response_text(unsigned status)
{
    static char text[256];
    int size = snprintf(text, sizeof(text),
                        "SIP/2.0 %u x\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKa\r\n"
                        "From: <sip:a@b.example>;tag=f\r\nTo: <sip:c@d.example>;tag=%u\r\n"
                        "Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
                        status, status % 2);
    return (struct slice){ text, (size_t)size };
}

static struct slice request_text(const char *method, const char *branch)
{
    static char text[512];
    int size = snprintf(text, sizeof(text),
                        "%s sip:c@d.example SIP/2.0\r\nVia: SIP/2.0/TLS p;branch=%s\r\n"
                        "From: <sip:a@b.example>;tag=f\r\nTo: <sip:c@d.example>\r\n"
                        "Max-Forwards: 9\r\nCall-ID: c\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
                        method, branch, method);
    return (struct slice){ text, (size_t)size };
}

static struct transaction_id any_id(const char *method)
{
    static const char *const branches[] = { "z9hG4bKa", "z9hG4bKb", "Z9hg4BKa", "old", "" };
    static const char *const tags[] = { "", "0", "1" };

    return (struct transaction_id){
        .device = take(2),
        .method = slice_of(method),
        .branch = slice_of(branches[take(5)]),
        .sent_by_host = SLICE("h"),
        .sent_by_port = 5060 + take(2),
        .via = SLICE("v"),
        .request_uri = SLICE("sip:c@d.example"),
        .from_tag = SLICE("f"),
        .to_tag = slice_of(tags[take(3)]),
        .call_id = SLICE("c"),
        .cseq = take(2),
    };
}

static struct transaction_way any_way(uint64_t device)
{
    unsigned bits = take(8);

    return (struct transaction_way){ { .slot = bits >> 1, .generation = 1 }, device, bits & 1 };
}

static struct owner *free_owner(void)
{
    for (unsigned i = 0; i < OWNERS; i++)
        if (!f.owners[i].attached)
            return &f.owners[i];
    return NULL;
}

static void new_server(void)
{
    struct transaction_id id = any_id(methods[take(4)]);
    struct transaction_way way = any_way(id.device);
    struct server_transaction *found = server_table_find(&f.servers, &id);
    struct owner *owner = free_owner();

    if (found) {
        server_transaction_retransmitted(found, &way);
        return;
    }
    if (!owner)
        return;
    *owner = (struct owner){ .detaches = take(8) == 0 };
    if (server_transaction_new(&f.servers, &id, &way, &server_user, owner, &owner->server) ==
        ERROR_NONE)
        owner->attached = true;
    else
        owner->server = NULL;
}

static void send_ack(void)
{
    struct transaction_id id = any_id("ACK");
    struct server_transaction *t = server_table_find(&f.servers, &id);

    if (t)
        REQUIRE((server_transaction_ack(t) == SERVER_ACK_PASS) ==
                (server_transaction_state(t) == SERVER_ACCEPTED));
}

static void cancel_server(void)
{
    struct transaction_id id = any_id("CANCEL");
    struct server_transaction *t = server_table_find_cancelled(&f.servers, &id);

    if (t)
        REQUIRE(server_transaction_state(t) != SERVER_TERMINATED);
}

static void respond(struct owner *owner, unsigned status)
{
    struct server_transaction *t = owner->server;
    bool invite = server_transaction_is_invite(t);
    enum error error = server_transaction_respond(t, status, response_text(status));
    unsigned class = status < 200 ? 1 : status < 300 ? 2 : 3;

    if (error != ERROR_NONE)
        return;
    REQUIRE(owner->finals == 0 || (invite && class == 2 && owner->final == 2));
    if (class == 1)
        return;
    owner->finals++;
    owner->final = class;
}

static void act_on_server(struct owner *owner)
{
    switch (take(4)) {
    case 0:
        server_transaction_transport_failed(owner->server);
        break;
    case 1:
        leave(owner);
        break;
    default:
        respond(owner, statuses[take(8)]);
    }
}

static void new_client(void)
{
    const char *method = methods[take(4)];
    struct transaction_way way = any_way(take(2));
    struct owner *owner = free_owner();

    if (!owner)
        return;
    *owner = (struct owner){ .detaches = take(8) == 0 };
    if (client_transaction_new(&f.clients, slice_of(method), &way, &client_user, owner,
                               &owner->client) != ERROR_NONE) {
        owner->client = NULL;
        return;
    }
    owner->attached = true;
    if (take(8) == 0)
        return;
    owner->started =
        client_transaction_start(owner->client,
                                 request_text(method, client_transaction_branch(owner->client))) ==
        ERROR_NONE;
}

static void new_cancel(struct client_transaction *invite)
{
    struct owner *owner = free_owner();

    if (!owner)
        return;
    memset(owner, 0, sizeof(*owner));
    if (client_transaction_new_cancel(invite, &client_user, owner, &owner->client) != ERROR_NONE) {
        owner->client = NULL;
        return;
    }
    owner->attached = true;
    owner->started =
        client_transaction_start(
            owner->client, request_text("CANCEL", client_transaction_branch(invite))) == ERROR_NONE;
}

static void receive(struct client_transaction *t, unsigned status)
{
    struct message m;
    struct slice text = response_text(status);
    struct client_transaction *found;

    message_init(&m, 0);
    if (message_parse(&m, text) == ERROR_NONE) {
        found =
            client_table_find(&f.clients, slice_of(client_transaction_branch(t)),
                              client_transaction_is_invite(t) ? SLICE("INVITE") : SLICE("MESSAGE"),
                              client_transaction_way(t)->device);
        if (found)
            client_transaction_received(found, &m);
    }
    message_free(&m);
}

static void act_on_client(struct owner *owner)
{
    switch (take(6)) {
    case 0:
        client_transaction_transport_failed(owner->client);
        break;
    case 1:
        leave(owner);
        break;
    case 2:
        if (client_transaction_may_cancel(owner->client))
            new_cancel(owner->client);
        break;
    default:
        receive(owner->client, statuses[take(8)]);
    }
}

static void act_on_owner(void)
{
    struct owner *owner = &f.owners[take(OWNERS)];

    if (!owner->attached)
        return;
    if (owner->server)
        act_on_server(owner);
    else
        act_on_client(owner);
}

static void pass_time(uint64_t ms)
{
    f.base.now_mono_ms += ms;
    timers_run(&f.base.timers, f.base.now_mono_ms);
}

static void step(void)
{
    switch (take(10)) {
    case 0:
        new_server();
        break;
    case 1:
        send_ack();
        break;
    case 2:
        cancel_server();
        break;
    case 3:
        new_client();
        break;
    case 4:
        pass_time(1ull << take(17));
        break;
    case 5:
        f.send_fails = take(4) == 0;
        break;
    case 6:
        mem_fail_nth_for_tests(take(16));
        break;
    default:
        act_on_owner();
    }
}

/* ---- What must hold between turns ---- */

static void check(void)
{
    size_t attached = 0, count = f.servers.count + f.clients.count;

    REQUIRE(!f.base.run_queue.first && !f.servers.ending && !f.clients.ending);
    REQUIRE(f.servers.count <= LIMIT && f.clients.count <= LIMIT);
    REQUIRE(atomic_load(&f.counters.transactions) == count);
    REQUIRE(f.base.timers.count <= 2 * count);
    for (unsigned i = 0; i < OWNERS; i++) {
        struct owner *owner = &f.owners[i];
        if (!owner->attached)
            continue;
        attached++;
        if (owner->server)
            REQUIRE(server_transaction_owner(owner->server) == owner &&
                    server_transaction_state(owner->server) != SERVER_TERMINATED);
        else
            REQUIRE(client_transaction_owner(owner->client) == owner &&
                    client_transaction_state(owner->client) != CLIENT_TERMINATED);
    }
    REQUIRE(attached <= count);
}

static void finish(void)
{
    mem_fail_nth_for_tests(0);
    for (unsigned i = 0; i < OWNERS; i++)
        if (f.owners[i].attached)
            leave(&f.owners[i]);
    run_queue_drain(&f.base.run_queue);
    for (unsigned i = 0; i < 3; i++) {
        pass_time(64 * T1);
        run_queue_drain(&f.base.run_queue);
    }
    REQUIRE(f.servers.count == 0 && f.clients.count == 0 && f.base.timers.count == 0);
    REQUIRE(!f.servers.groups && !f.clients.all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transaction_timing timing = { T1, 4000, 5000 };
    struct transaction_transport transport = { send_bytes, NULL };
    bool drop;

    memset(&f, 0, sizeof(f));
    random_seed_for_tests(1);
    timers_init(&f.base.timers);
    run_queue_init(&f.base.run_queue);
    f.base.counters = &f.counters;
    f.base.now_mono_ms = 1;
    f.at = data;
    f.end = data + size;
    server_table_init(&f.servers, &f.base, &timing, &transport, LIMIT);
    client_table_init(&f.clients, &f.base, &timing, &transport, LIMIT);
    drop = take(8) == 0;
    while (f.at < f.end) {
        step();
        run_queue_drain(&f.base.run_queue);
        check();
    }
    if (!drop)
        finish();
    mem_fail_nth_for_tests(0);
    /* A worker may also end with all of it in flight: ASan then sees what is left. */
    server_table_free(&f.servers);
    client_table_free(&f.clients);
    REQUIRE(f.base.timers.count == 0 && !f.base.run_queue.first);
    timers_free(&f.base.timers);
    return 0;
}
