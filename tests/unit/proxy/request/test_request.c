/* SPDX-License-Identifier: Apache-2.0 */
/* Every state of a request and of a branch against every event, with the real layers from the
 * parser to mapperd's socket. Only the network is the test's: a connection is a buffer. Time stands
 * still but for pass(). */
#include "proxy/request/request_internal.h"

#include "common/mem.h"
#include "common/resp.h"
#include "proxy/authorization/ask.h"
#include "proxy/net/outbound.h"
#include "proxy/registrar/binding.h"
#include "tests/unit/proxy/authorization/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include <cmocka.h>

/* ---- The network ---- */

struct connection {
    struct flow flow;
    enum connection_state state;
    struct endpoint *endpoint;
    struct buffer out;
    struct address remote;
    char invite[4096]; /* the last request that was written to it, but ACK and CANCEL */
};

enum { ALICE, BOB, MOBILE, CONNECTIONS };
static struct connection connections[CONNECTIONS];

struct connection *net_find(struct net *net, struct flow flow)
{
    (void)net;
    for (unsigned i = 0; i < CONNECTIONS; i++)
        if (flow_equal(connections[i].flow, flow) && connections[i].state == CONNECTION_OPEN)
            return &connections[i];
    return NULL;
}

const char *net_advertised(const struct net *net, enum transport transport, const char *listener)
{
    (void)net, (void)listener;
    return transport == TRANSPORT_TLS ? "192.0.2.9:5061" : NULL;
}

const char *net_advertised_to(const struct net *net, struct flow flow)
{
    (void)net;
    return flow.listener == 2 ? "192.0.2.9:5062" : "192.0.2.9:5061";
}

const char *connection_advertised(const struct connection *c)
{
    (void)c;
    return net_advertised(NULL, TRANSPORT_TLS, NULL);
}

enum error outbound_connection(struct net *net, const struct config_route *route, size_t server,
                               struct connection **out)
{
    (void)net, (void)route, (void)server, (void)out;
    return ERROR_SYSTEM;
}

const struct config_listener *connection_listener(const struct connection *c)
{
    (void)c; /* passwords: tests/system/test_digest.py */
    return NULL;
}

struct buffer *connection_output(struct connection *c)
{
    return &c->out;
}
void connection_flush(struct connection *c)
{
    (void)c;
}
void *connection_peer(const struct connection *c)
{
    return c->endpoint;
}
struct flow connection_flow(const struct connection *c)
{
    return c->flow;
}
enum connection_state connection_state(const struct connection *c)
{
    return c->state;
}
const struct config_route *connection_route(const struct connection *c)
{
    (void)c;
    return NULL;
}

enum transport connection_transport(const struct connection *c)
{
    (void)c;
    return TRANSPORT_TLS;
}
const struct address *connection_remote(const struct connection *c)
{
    return &c->remote;
}
const char *connection_remote_text(const struct connection *c)
{
    (void)c;
    return "192.0.2.1:40000";
}
void connection_close(struct connection *c, enum connection_end end)
{
    (void)end;
    c->state = CONNECTION_DEAD;
}

/* ---- The worker and mapperd ---- */

static struct stage stage;
static struct config config = {
    .name = "proxy1",
    .timers = { .t1_ms = 500,
                .t2_ms = 4000,
                .t4_ms = 5000,
                .timer_c_ms = 181000,
                .park_deadline_ms = 3000,
                .nonfinal_100_after_ms = 3500 },
    .bounds = { .park_per_device = 64, .park_total = 1000, .park_per_trusted_peer = 100 },
    .registrar = { .expires_min_s = 60,
                   .expires_default_s = 3600,
                   .expires_max_s = 86400,
                   .contacts_max = 10 },
};
static struct counters counters;
static struct token_keys *keys;
static struct peers *peers;
static struct post_office *office;
static struct delivery *delivery;
static struct registrar *registrar;
static struct request_layer *layer;
static atomic_uint parked;
static uint64_t tags[16];
static unsigned tag_count;
static bool hold, hold_writes, alice_gone, fork_it;
static unsigned serial;
static char cn_of[CONNECTIONS][3] = { "AA", "BB", "CC" };

static void on_evaluated(void *owner, struct peer *peer)
{
    struct endpoint *endpoint = peer->owner;

    (void)owner;
    endpoint->device = peer->device;
    delivery_flow_opened(delivery, endpoint->device, endpoint->flow);
}

static void on_lost(void *owner, struct peer *peer)
{
    (void)owner;
    request_layer_endpoint_lost(layer, peer->owner);
}

static void on_changed(uint64_t tag)
{
    registrar_changed(registrar, tag);
    peers_changed(peers, tag);
    tags[tag_count++ % 16] = tag;
}

static void on_not_sent(void *owner, const char *branch, enum delivery_outcome outcome,
                        struct flow flow)
{
    (void)owner;
    request_layer_not_sent(layer, branch, outcome, flow);
}

static void wake(void *owner)
{
    (void)owner;
}

static void write_reply(struct buffer *out, const char *const *words, size_t count, bool groups)
{
    buffer_init(out, 0);
    resp_add_array(out, 2 + count + groups);
    resp_add_integer(out, 7);
    resp_add_integer(out, serial);
    for (size_t i = 0; i < count; i++) {
        resp_add_bulk_text(out, words[i]);
        if (i == 0 && groups)
            resp_add_array(out, 0);
    }
}

static void reply(struct stage_end *end, const char *const *words, size_t count, bool groups)
{
    struct buffer out;
    struct slice s;

    write_reply(&out, words, count, groups);
    if (out.failed) { /* the allocation that was to fail was the test's own */
        buffer_free(&out);
        write_reply(&out, words, count, groups);
    }
    s = buffer_slice(&out);
    assert_int_equal(send(end->fd, s.data, s.size, MSG_NOSIGNAL), s.size);
    buffer_free(&out);
}

static const char *binding_of(unsigned who, char out[512])
{
    const struct flow_origin origin = { config.name, stage.base.proxy_epoch };
    char flow[FLOW_TEXT_MAX];

    flow_write(&origin, connections[who].flow, flow);
    snprintf(out, 512,
             "v=1 store=device cn=%s device=device:%s ground=mapping entry=bob@example.org "
             "flow=%s expires=1700009999 instance=- reg_id=0 q=1000 cseq=1 call_id=r path=- "
             "contact=sip:bob@192.0.2.%u",
             cn_of[who], cn_of[who], flow, who);
    return out;
}

static void answer(struct stage_end *end, const struct resp_command *command)
{
    struct slice name = command->args[0], key = command->args[1];
    char bindings[2][512];

    if (slice_equal(name, SLICE("PEER"))) {
        char cn = command->args[2].data[0];
        const char *known[] = { "known",
                                cn == 'A'   ? "AA"
                                : cn == 'B' ? "BB"
                                            : "CC",
                                cn == 'A' ? "alice@example.org" : "bob@example.org" };
        const char *unknown[] = { "unknown", "AA" };
        if (cn == 'A' && alice_gone)
            reply(end, unknown, 2, false);
        else
            reply(end, known, 3, false);
    } else if (slice_equal(name, SLICE("RIGHTS"))) {
        const char *user[] = { "known", "1 allow * * ours - - -" }, *domain[] = { "unknown" };
        bool is_user = memchr(key.data, '@', key.size) != NULL;
        reply(end, is_user ? user : domain, is_user ? 2 : 1, true);
    } else if (slice_equal(name, SLICE("LOCATE"))) {
        const char *bob[] = { "known", binding_of(BOB, bindings[0]),
                              binding_of(MOBILE, bindings[1]) };
        reply(end, bob, key.data[0] == 'b' ? fork_it ? 3 : 2 : 1, false);
    } else {
        const char *ok[] = { "OK" };
        reply(end, ok, 1, false);
    }
}

static void serve(struct stage_end *end, bool held)
{
    struct resp_command command;
    char text[8192];
    ssize_t got;
    size_t used;

    while (end->fd >= 0 && (got = recv(end->fd, text, sizeof(text), MSG_DONTWAIT)) > 0)
        buffer_add(&end->input, (struct slice){ text, (size_t)got });
    while (!held && end->fd >= 0 && buffer_size(&end->input) &&
           resp_read_command(buffer_slice(&end->input), &command, &used) == ERROR_NONE) {
        answer(end, &command);
        buffer_consume(&end->input, used);
    }
}

static void turn(void)
{
    for (unsigned i = 0; i < 8; i++) {
        stage_turn(&stage);
        for (unsigned j = 0; j < tag_count && j < 16; j++)
            request_layer_changed(layer, tags[j]);
        tag_count = 0;
        delivery_read_box(delivery);
        run_queue_drain(&stage.base.run_queue);
        serve(&stage.questions, hold);
        serve(&stage.writes, hold || hold_writes);
    }
}

static void pass(uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = ms < 1500 ? ms : 1500;
        stage.base.now_mono_ms += step;
        ms -= step;
        stage_tick(&stage, 7, serial);
        turn();
    }
}

static void message(const char *what)
{
    char text[128];

    snprintf(text, sizeof(text), "7 %u %s", ++serial, what);
    stage_message(&stage, text);
    turn();
}

static void open_connection(unsigned who)
{
    struct connection *c = &connections[who];
    struct {
        struct peer_identity identity;
        char store[8], cn[8];
    } *block = mem_zero(1, sizeof(*block));

    *c = (struct connection){ .flow = { .slot = who, .generation = 1, .listener = 1 },
                              .state = CONNECTION_OPEN };
    assert_int_equal(address_from_text(&c->remote, SLICE("192.0.2.1:40000")), ERROR_NONE);
    buffer_init(&c->out, 0);
    c->endpoint = mem_zero(1, sizeof(*c->endpoint));
    c->endpoint->connection = c;
    c->endpoint->flow = c->flow;
    c->endpoint->certificate = 100 + who;
    snprintf(block->store, sizeof(block->store), "device");
    snprintf(block->cn, sizeof(block->cn), "%s", cn_of[who]);
    block->identity.store = block->store;
    block->identity.cn = block->cn;
    block->identity.takes_mappings = true;
    block->identity.cn_size = 2;
    assert_int_equal(peer_open_device(peers, &block->identity, c->endpoint, &c->endpoint->peer),
                     ERROR_NONE);
    turn();
    assert_int_not_equal(c->endpoint->device, 0);
}

static void close_connection(unsigned who)
{
    struct connection *c = &connections[who];
    struct endpoint *endpoint = c->endpoint;

    if (!endpoint)
        return;
    c->endpoint = NULL;
    c->state = CONNECTION_DEAD;
    endpoint->closed = true;
    if (layer)
        request_layer_endpoint_gone(layer, endpoint);
    registrar_endpoint_gone(registrar, endpoint);
    delivery_endpoint_gone(delivery, endpoint);
    delivery_flow_closed(delivery, endpoint->device, endpoint->flow);
    peer_close(endpoint->peer);
    mem_free(endpoint);
}

static void on_bindings_removed(void *owner, uint64_t tag)
{
    (void)owner; /* the only worker: it knows by itself */
    registrar_changed(registrar, tag);
}

static int setup(void **state)
{
    static const struct peers_user user = { .evaluated = on_evaluated, .lost = on_lost };
    static const struct registrar_user removals = { .removed = on_bindings_removed };
    static const struct delivery_user mail = { .not_sent = on_not_sent };
    char path[128];

    (void)state;
    stage_open(&stage);
    stage.base.config = &config;
    stage.base.counters = &counters;
    stage.base.proxy_epoch = 5;
    stage.on_changed = on_changed;
    snprintf(path, sizeof(path), "%s/keys", stage.folder);
    assert_int_equal(token_keys_load(path, &keys), ERROR_NONE);
    unlink(path);
    hold = hold_writes = alice_gone = fork_it = false;
    serial = 10;
    tag_count = 0;
    atomic_store(&parked, 0);
    office = post_office_new(1);
    post_office_listen(office, 0, wake, NULL);
    assert_int_equal(peers_new(&stage.base, stage.ask, keys, &user, &peers), ERROR_NONE);
    delivery = delivery_new(&stage.base, NULL, stage.ask, office, &mail);
    registrar = registrar_new(&stage.base, NULL, stage.ask, &removals);
    layer = request_layer_new(&(struct request_layer_parts){ .base = &stage.base,
                                                             .delivery = delivery,
                                                             .ask = stage.ask,
                                                             .registrar = registrar,
                                                             .keys = keys,
                                                             .parked_total = &parked });
    assert_non_null(layer);
    stage_up(&stage, 7, serial);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        open_connection(i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    request_layer_free(layer);
    layer = NULL;
    assert_int_equal(atomic_load(&parked), 0);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        close_connection(i);
        buffer_free(&connections[i].out);
    }
    run_queue_drain(&stage.base.run_queue);
    registrar_free(registrar);
    delivery_free(delivery);
    post_office_free(office);
    peers_free(peers);
    stage_close(&stage);
    token_keys_free(keys);
    return 0;
}

/* ---- What is said ---- */

static void send_text(unsigned who, const char *text)
{
    request_layer_message(layer, &connections[who], slice_of(text));
    turn();
}

static void say(unsigned who, const char *method, const char *target, const char *more)
{
    char text[2048];
    const char *user = who == ALICE ? "alice" : "bob";

    snprintf(text, sizeof(text),
             "%s %s SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKone\r\nMax-Forwards: 70\r\n"
             "From: <sip:%s@example.org>;tag=f\r\nTo: <sip:%s@example.org>\r\nCall-ID: call\r\n"
             "CSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
             method, target, user, strcmp(method, "REGISTER") ? "bob" : user, method, more);
    send_text(who, text);
}

/* The start lines that were written to it since, as "180;" or "INVITE;". */
static const char *heard(unsigned who)
{
    static char log[512];
    struct connection *c = &connections[who];
    struct slice rest = buffer_slice(&c->out);

    log[0] = 0;
    while (rest.size) {
        const char *end = memmem(rest.data, rest.size, "\r\n\r\n", 4);
        size_t size = (size_t)(end + 4 - rest.data);
        bool response = !strncmp(rest.data, "SIP/2.0 ", 8);
        const char *word = rest.data + (response ? 8 : 0);
        size_t used = strlen(log);

        assert_non_null(end);
        snprintf(log + used, sizeof(log) - used, "%.*s;", (int)strcspn(word, " "), word);
        if (!response && strncmp(word, "ACK", 3) && strncmp(word, "CANCEL", 6))
            snprintf(c->invite, sizeof(c->invite), "%.*s", (int)size, rest.data);
        rest = (struct slice){ rest.data + size, rest.size - size };
    }
    buffer_reset(&c->out);
    return log;
}

static enum error write_answer(unsigned who, unsigned status, struct buffer *out)
{
    const struct response response = { .status = (uint16_t)status, .to_tag = SLICE("t") };
    struct message m;
    enum error error;

    message_init(&m, 0);
    buffer_init(out, 0);
    error = message_parse(&m, slice_of(connections[who].invite));
    if (error == ERROR_NONE)
        error = response_write(&m, &response, out);
    message_free(&m);
    return error;
}

static void answer_request(unsigned who, unsigned status)
{
    struct buffer out;

    if (write_answer(who, status, &out) != ERROR_NONE) { /* an allocation that was to fail */
        buffer_free(&out);
        assert_int_equal(write_answer(who, status, &out), ERROR_NONE);
    }
    request_layer_message(layer, &connections[who], buffer_slice(&out));
    turn();
    buffer_free(&out);
}

static struct request *the_request(void)
{
    return layer->requests;
}

static enum request_state state_now(void)
{
    return layer->requests ? layer->requests->state : REQUEST_NONE;
}

/* ---- States, each as a row of the table reaches it ---- */

static void reach_parked(void)
{
    hold = true;
    say(ALICE, "INVITE", "sip:bob@example.org", "");
    assert_int_equal(state_now(), REQUEST_PARKED);
    assert_string_equal(heard(ALICE), "100;");
}

static void reach_storing(void)
{
    hold_writes = true;
    say(ALICE, "REGISTER", "sip:example.org", "Contact: <sip:alice@192.0.2.1>\r\n");
    assert_int_equal(state_now(), REQUEST_STORING);
    assert_string_equal(heard(ALICE), "");
}

static void reach_trying(void)
{
    say(ALICE, "INVITE", "sip:bob@example.org", "");
    assert_int_equal(state_now(), REQUEST_FORWARDED);
    assert_string_equal(heard(ALICE), "100;");
    assert_string_equal(heard(BOB), "INVITE;");
}

static void reach_ringing(void)
{
    reach_trying();
    answer_request(BOB, 180);
    assert_string_equal(heard(ALICE), "180;");
}

static void reach_rechecking(void)
{
    reach_ringing();
    hold = true;
    message("user alice@example.org");
    assert_int_equal(state_now(), REQUEST_RECHECKING);
}

static void reach_answered(void)
{
    reach_ringing();
    answer_request(BOB, 200);
    assert_int_equal(state_now(), REQUEST_DONE);
    assert_string_equal(heard(ALICE), "200;");
}

static void reach_refused(void)
{
    reach_ringing();
    alice_gone = true;
    message("peer device AA");
    assert_int_equal(state_now(), REQUEST_REFUSED);
    assert_string_equal(heard(ALICE), "403;");
    assert_string_equal(heard(BOB), "CANCEL;");
}

/* ---- Events ---- */

static void event_permitted(void)
{
    hold = hold_writes = false;
    turn();
}

static void event_denied(void)
{
    alice_gone = true;
    hold = false;
    message("peer device AA");
}

static void event_named(void)
{
    message("user alice@example.org");
}

static void event_cancel(void)
{
    say(ALICE, "CANCEL", "sip:bob@example.org", "");
}

static void event_deadline(void)
{
    pass(3200);
}

static void event_gone(void)
{
    close_connection(ALICE);
    turn();
}

static void event_lost(void)
{
    request_layer_endpoint_lost(layer, connections[ALICE].endpoint);
    turn();
}

static void event_stop(void)
{
    request_layer_stop(layer);
    turn();
}

static void event_refusal(void)
{
    answer_request(BOB, 486);
}

static void event_success(void)
{
    answer_request(BOB, 200);
}

static void event_outdated(void)
{
    char id[TRANSACTION_BRANCH_MAX + 1];

    snprintf(id, sizeof(id), "%s", the_request()->branches->id);
    connections[BOB].endpoint->last_group = 0; /* as if nothing had been written */
    request_layer_not_sent(layer, id, DELIVERY_OUTDATED, (struct flow){ 0 });
    turn();
}

static void event_unreached(void)
{
    char id[TRANSACTION_BRANCH_MAX + 1];

    snprintf(id, sizeof(id), "%s", the_request()->branches->id);
    request_layer_not_sent(layer, id, DELIVERY_GONE, (struct flow){ 0 });
    turn();
}

static void event_callee_leaves(void)
{
    close_connection(BOB);
    turn();
    pass(4400);
}

struct pair {
    const char *name;
    void (*reach)(void);
    void (*event)(void);
    enum request_state state; /* afterwards; NONE: it is freed */
    const char *alice, *bob;  /* what they hear */
};

static const struct pair pairs[] = {
    { "parked permitted", reach_parked, event_permitted, REQUEST_FORWARDED, "", "INVITE;" },
    { "parked denied", reach_parked, event_denied, REQUEST_NONE, "403;", "" },
    { "parked named", reach_parked, event_named, REQUEST_PARKED, "", "" },
    { "parked cancel", reach_parked, event_cancel, REQUEST_NONE, "200;487;", "" },
    { "parked deadline", reach_parked, event_deadline, REQUEST_NONE, "503;", "" },
    { "parked gone", reach_parked, event_gone, REQUEST_NONE, "", "" },
    { "parked lost", reach_parked, event_lost, REQUEST_NONE, "403;", "" },
    { "parked stop", reach_parked, event_stop, REQUEST_NONE, "503;", "" },
    { "storing stored", reach_storing, event_permitted, REQUEST_NONE, "200;", "" },
    { "storing named", reach_storing, event_named, REQUEST_STORING, "", "" },
    { "storing cancel", reach_storing, event_cancel, REQUEST_STORING, "200;", "" },
    { "storing deadline", reach_storing, event_deadline, REQUEST_NONE, "503;", "" },
    { "storing gone", reach_storing, event_gone, REQUEST_NONE, "", "" },
    { "storing lost", reach_storing, event_lost, REQUEST_NONE, "403;", "" },
    { "storing stop", reach_storing, event_stop, REQUEST_NONE, "503;", "" },
    { "trying named", reach_trying, event_named, REQUEST_FORWARDED, "", "" },
    { "trying denied", reach_trying, event_denied, REQUEST_REFUSED, "403;", "" },
    { "trying cancel", reach_trying, event_cancel, REQUEST_FORWARDED, "200;", "" },
    { "trying time", reach_trying, event_deadline, REQUEST_FORWARDED, "", "" },
    { "trying gone", reach_trying, event_gone, REQUEST_FORWARDED, "", "" },
    { "trying lost", reach_trying, event_lost, REQUEST_REFUSED, "403;", "" },
    { "trying stop", reach_trying, event_stop, REQUEST_FORWARDED, "", "" },
    { "trying refusal", reach_trying, event_refusal, REQUEST_NONE, "486;", "ACK;" },
    { "trying success", reach_trying, event_success, REQUEST_DONE, "200;", "" },
    { "trying unreached", reach_trying, event_unreached, REQUEST_NONE, "480;", "" },
    { "trying callee leaves", reach_trying, event_callee_leaves, REQUEST_NONE, "480;", "" },
    { "ringing named", reach_ringing, event_named, REQUEST_FORWARDED, "", "" },
    { "ringing denied", reach_ringing, event_denied, REQUEST_REFUSED, "403;", "CANCEL;" },
    { "ringing cancel", reach_ringing, event_cancel, REQUEST_FORWARDED, "200;", "CANCEL;" },
    { "ringing gone", reach_ringing, event_gone, REQUEST_FORWARDED, "", "" },
    { "ringing lost", reach_ringing, event_lost, REQUEST_REFUSED, "403;", "CANCEL;" },
    { "ringing refusal", reach_ringing, event_refusal, REQUEST_NONE, "486;", "ACK;" },
    { "ringing outdated", reach_ringing, event_outdated, REQUEST_FORWARDED, "", "" },
    { "ringing unreached", reach_ringing, event_unreached, REQUEST_FORWARDED, "", "" },
    { "ringing callee leaves", reach_ringing, event_callee_leaves, REQUEST_NONE, "480;", "" },
    { "rechecking permitted", reach_rechecking, event_permitted, REQUEST_FORWARDED, "", "" },
    { "rechecking denied", reach_rechecking, event_denied, REQUEST_REFUSED, "403;", "CANCEL;" },
    { "rechecking named", reach_rechecking, event_named, REQUEST_RECHECKING, "", "" },
    { "rechecking cancel", reach_rechecking, event_cancel, REQUEST_RECHECKING, "200;", "CANCEL;" },
    { "rechecking deadline", reach_rechecking, event_deadline, REQUEST_REFUSED, "503;", "CANCEL;" },
    { "rechecking gone", reach_rechecking, event_gone, REQUEST_REFUSED, "", "CANCEL;" },
    { "rechecking lost", reach_rechecking, event_lost, REQUEST_REFUSED, "403;", "CANCEL;" },
    { "rechecking stop", reach_rechecking, event_stop, REQUEST_REFUSED, "503;", "CANCEL;" },
    { "rechecking refusal", reach_rechecking, event_refusal, REQUEST_NONE, "486;", "ACK;" },
    { "rechecking success", reach_rechecking, event_success, REQUEST_DONE, "200;", "" },
    { "answered again", reach_answered, event_success, REQUEST_DONE, "200;", "" },
    { "answered cancel", reach_answered, event_cancel, REQUEST_DONE, "200;", "" },
    { "answered named", reach_answered, event_named, REQUEST_DONE, "", "" },
    { "answered gone", reach_answered, event_gone, REQUEST_DONE, "", "" },
    { "answered lost", reach_answered, event_lost, REQUEST_DONE, "", "" },
    { "answered stop", reach_answered, event_stop, REQUEST_DONE, "", "" },
    { "refused final", reach_refused, event_refusal, REQUEST_NONE, "", "ACK;" },
    { "refused cancel", reach_refused, event_cancel, REQUEST_REFUSED, "200;", "" },
    { "refused gone", reach_refused, event_gone, REQUEST_REFUSED, "", "" },
    { "refused named", reach_refused, event_named, REQUEST_REFUSED, "", "" },
    { "refused lost", reach_refused, event_lost, REQUEST_REFUSED, "", "" },
};

static void test_every_state_against_every_event(void **state)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct pair *pair = &pairs[i];
        char alice[512], bob[512];

        setup(state);
        pair->reach();
        pair->event();
        snprintf(alice, sizeof(alice), "%s", heard(ALICE));
        snprintf(bob, sizeof(bob), "%s", heard(BOB));
        if (state_now() != pair->state || strcmp(alice, pair->alice) || strcmp(bob, pair->bob))
            fail_msg("%s: %s, alice heard %s, bob %s", pair->name, request_state_name(state_now()),
                     alice, bob);
        teardown(state);
    }
}

/* Whatever happens, all of it is over once the longest timer has run. */
static void test_nothing_stays_for_ever(void **state)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        setup(state);
        pairs[i].reach();
        pairs[i].event();
        hold = hold_writes = false;
        pass(181000 + 4 * 64 * 500);
        if (layer->requests || layer->clients.count || layer->servers.count || layer->loads)
            fail_msg("%s: something is left", pairs[i].name);
        assert_int_equal(atomic_load(&counters.parked), 0);
        teardown(state);
    }
}

static void test_a_cancelled_branch_waits_for_its_provisional(void **state)
{
    (void)state;
    reach_trying();
    event_cancel();
    assert_string_equal(heard(BOB), "");
    answer_request(BOB, 180);
    assert_string_equal(heard(BOB), "CANCEL;");
    answer_request(BOB, 487);
    assert_string_equal(heard(ALICE), "200;487;");
    assert_int_equal(state_now(), REQUEST_NONE);
}

static void test_a_success_that_crosses_the_cancel_goes_up(void **state)
{
    (void)state;
    reach_ringing();
    event_cancel();
    answer_request(BOB, 200);
    assert_string_equal(heard(ALICE), "200;200;");
}

static void test_timer_c_cancels_what_rings_too_long(void **state)
{
    (void)state;
    reach_ringing();
    pass(100000);
    answer_request(BOB, 180);
    pass(180000);
    assert_string_equal(heard(BOB), "");
    pass(2000);
    assert_string_equal(heard(BOB), "CANCEL;");
    pass(33000);
    assert_string_equal(heard(ALICE), "180;487;");
}

static void test_a_branch_that_comes_back_outdated_pauses_and_goes_again(void **state)
{
    (void)state;
    reach_trying();
    event_outdated();
    assert_int_equal(state_now(), REQUEST_RECHECKING);
    assert_string_equal(heard(BOB), "");
    pass(20);
    assert_int_equal(state_now(), REQUEST_FORWARDED);
    assert_string_equal(heard(BOB), "INVITE;");
    answer_request(BOB, 200);
    assert_string_equal(heard(ALICE), "200;");
}

/* bob is at listener 1, whatever the branch is told. */
static void test_a_branch_that_names_another_listener_is_written_anew_but_not_for_ever(void **state)
{
    const struct flow elsewhere = { .listener = 2 };
    char id[TRANSACTION_BRANCH_MAX + 1];

    (void)state;
    reach_trying();
    snprintf(id, sizeof(id), "%s", the_request()->branches->id);
    connections[BOB].endpoint->last_group = 0; /* as if nothing had been written */
    request_layer_not_sent(layer, id, DELIVERY_MOVED, elsewhere);
    assert_string_equal(heard(BOB), "");
    turn();
    assert_string_equal(heard(BOB), "INVITE;");
    assert_non_null(strstr(connections[BOB].invite, "TLS 192.0.2.9:5061;branch"));
    assert_non_null(strstr(connections[BOB].invite, id));
    connections[BOB].endpoint->last_group = 0;
    request_layer_not_sent(layer, id, DELIVERY_MOVED, elsewhere);
    turn();
    assert_string_equal(heard(BOB), "");
    assert_string_equal(heard(ALICE), "480;");
}

static void test_a_fork_ends_with_the_best_and_cancels_the_rest(void **state)
{
    (void)state;
    fork_it = true;
    reach_trying();
    assert_string_equal(heard(MOBILE), "INVITE;");
    answer_request(BOB, 404);
    assert_string_equal(heard(ALICE), "");
    answer_request(MOBILE, 180);
    answer_request(MOBILE, 603);
    assert_string_equal(heard(ALICE), "180;603;");
}

static void test_a_fork_is_answered_once_and_the_rest_cancelled(void **state)
{
    (void)state;
    fork_it = true;
    reach_ringing();
    assert_string_equal(heard(MOBILE), "INVITE;");
    answer_request(MOBILE, 200);
    assert_string_equal(heard(ALICE), "200;");
    assert_string_equal(heard(BOB), "CANCEL;");
    answer_request(BOB, 487);
    assert_string_equal(heard(ALICE), "");
}

static void test_a_non_invite_gets_100_late_and_never_408(void **state)
{
    (void)state;
    say(ALICE, "MESSAGE", "sip:bob@example.org", "");
    assert_string_equal(heard(BOB), "MESSAGE;");
    answer_request(BOB, 183);
    pass(3400);
    assert_string_equal(heard(ALICE), "");
    pass(200);
    assert_string_equal(heard(ALICE), "100;");
    pass(40000);
    assert_string_equal(heard(ALICE), "");
    assert_int_equal(state_now(), REQUEST_NONE);
}

/* One request of each kind with the n-th allocation failing: answered or dropped, nothing left. */
static void fail_each(void **state, const char *method, const char *target, const char *more,
                      unsigned enough)
{
    unsigned n = 0;
    bool failed = true;

    for (n = 1; failed && n < 1000; n++) {
        setup(state);
        mem_fail_nth_for_tests(n);
        say(ALICE, method, target, more);
        heard(BOB);
        if (connections[BOB].invite[0])
            answer_request(BOB, 200);
        failed = mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        pass(181000 + 4 * 64 * 500);
        if (layer->requests || layer->clients.count || layer->servers.count || layer->loads)
            fail_msg("%s: allocation %u: something is left", method, n);
        teardown(state);
    }
    assert_true(n > enough && n < 1000);
}

static void test_each_allocation_may_fail(void **state)
{
    fail_each(state, "MESSAGE", "sip:bob@example.org", "", 10);
    fail_each(state, "INVITE", "sip:bob@example.org", "", 10);
    fail_each(state, "REGISTER", "sip:example.org", "Contact: <sip:alice@192.0.2.1>\r\n", 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_against_every_event),
        cmocka_unit_test(test_nothing_stays_for_ever),
        cmocka_unit_test_setup_teardown(test_a_cancelled_branch_waits_for_its_provisional, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_success_that_crosses_the_cancel_goes_up, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_timer_c_cancels_what_rings_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_branch_that_comes_back_outdated_pauses_and_goes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_a_branch_that_names_another_listener_is_written_anew_but_not_for_ever, setup,
            teardown),
        cmocka_unit_test_setup_teardown(test_a_fork_ends_with_the_best_and_cancels_the_rest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_fork_is_answered_once_and_the_rest_cancelled, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_non_invite_gets_100_late_and_never_408, setup,
                                        teardown),
        cmocka_unit_test(test_each_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
