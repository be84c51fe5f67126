/* SPDX-License-Identifier: Apache-2.0 */
/* Work of the hot path without sockets or clock, done COUNT times: `instructions WHAT COUNT`. Under
 * valgrind the difference of two counts gives instructions an operation, which repeat exactly. */
#include "common/policy.h"
#include "common/run_queue.h"
#include "common/timer.h"
#include "proxy/sip/message.h"
#include "proxy/transaction/client.h"
#include "proxy/transaction/server.h"

#include <stdio.h>
#include <stdlib.h>

static const char request_message[] =
    "MESSAGE sip:u000123@example.org SIP/2.0\r\n"
    "Via: SIP/2.0/TLS 192.0.2.17:49152;branch=z9hG4bK5f3a.1b.0.2c;rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:u000017@example.org>;tag=f5f3a.1b.2c\r\n"
    "Call-ID: 5f3a.1b.2c@sipload\r\n"
    "CSeq: 1 MESSAGE\r\n"
    "To: <sip:u000123@example.org>\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 14\r\n\r\nAre you there?";

static const char request_invite[] =
    "INVITE sip:bob@example.org SIP/2.0\r\n"
    "Via: SIP/2.0/TLS 192.0.2.17:49152;branch=z9hG4bK-524287-1---7c4fd9e1a0;rport\r\n"
    "Max-Forwards: 70\r\n"
    "Contact: <sip:alice@192.0.2.17:49152;transport=tls>;+sip.instance=\"<urn:uuid:1>\"\r\n"
    "To: \"Bob\" <sip:bob@example.org>\r\n"
    "From: \"Alice\" <sip:alice@example.org>;tag=86b7e4f1\r\n"
    "Call-ID: 89104NzQ4ZGFkMjY3ZGM5MTk4ZWFjNTc3\r\n"
    "CSeq: 1 INVITE\r\n"
    "Allow: OPTIONS, SUBSCRIBE, NOTIFY, INVITE, ACK, CANCEL, BYE, REFER, INFO, MESSAGE\r\n"
    "Content-Type: application/sdp\r\n"
    "Supported: replaces, outbound, gruu\r\n"
    "User-Agent: Phone 1.2.3\r\n"
    "Content-Length: 130\r\n\r\n"
    "v=0\r\no=- 1 1 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 9 8 101\r\na=rtpmap:9 G722/8000\r\na=sendrecv\r\n";

static const char response_ok[] =
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK0.aaaaaaaaaaaaaaaaaaaa\r\n"
    "Via: SIP/2.0/TLS 192.0.2.17:49152;branch=z9hG4bK5f3a.1b.0.2c;rport=49152\r\n"
    "From: <sip:u000017@example.org>;tag=f5f3a.1b.2c\r\n"
    "To: <sip:u000123@example.org>;tag=t1\r\n"
    "Call-ID: 5f3a.1b.2c@sipload\r\n"
    "CSeq: 1 MESSAGE\r\n"
    "Content-Length: 0\r\n\r\n";

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "instructions: %s\n", what);
    exit(2);
}

static void parse(unsigned long count, struct slice text)
{
    struct message m;

    message_init(&m, 0);
    while (count-- > 0)
        require(message_parse(&m, text) == ERROR_NONE, "the message is malformed");
    message_free(&m);
}

static void parse_message(unsigned long count)
{
    parse(count, slice_of(request_message));
}

static void parse_invite(unsigned long count)
{
    parse(count, slice_of(request_invite));
}

/* From and target are made canonical, then decided with the shipped rule. */
static void decide_message(unsigned long count)
{
    const struct slice entries[] = { SLICE("u000017@example.org"), SLICE("alt000017@example.org") };
    struct policy_peer peer = { PEER_KNOWN, SLICE("device"), entries, 2 };
    struct policy_rule rule;
    struct policy_rights rights = { USER_KNOWN, &rule, 1 };
    struct identity from, target;
    struct policy_request request = { .method = SLICE("MESSAGE"),
                                      .from = &from,
                                      .target = &target,
                                      .target_state = USER_KNOWN,
                                      .now_unix_s = 1 };

    require(policy_rule_parse(SLICE("1 allow * * ours - - -"), &rule) == ERROR_NONE, "rule");
    while (count-- > 0) {
        require(identity_from_parts(&from, SLICE("u000017"), SLICE("example.org"), false) ==
                        ERROR_NONE &&
                    identity_from_parts(&target, SLICE("u000123"), SLICE("example.org"), false) ==
                        ERROR_NONE,
                "an identity is malformed");
        require(decide(&peer, &request, &rights).effect == EFFECT_ALLOW, "the request is denied");
    }
}

/* ---- A proxied MESSAGE's two transactions, from request to response ---- */

static enum error send_nothing(void *context, const struct transaction_way *way, struct slice bytes)
{
    (void)context, (void)way, (void)bytes;
    return ERROR_NONE;
}

static void server_ignore(void *owner, struct server_transaction *t)
{
    (void)owner, (void)t;
}

static void client_ignore(void *owner, struct client_transaction *t)
{
    (void)owner, (void)t;
}

static void response_ignore(void *owner, struct client_transaction *t, const struct message *m)
{
    (void)owner, (void)t, (void)m;
}

static const struct server_user server_user = { server_ignore, server_ignore, server_ignore,
                                                server_ignore };
static const struct client_user client_user = { response_ignore, client_ignore, client_ignore,
                                                client_ignore };

static void transact(struct server_table *servers, struct client_table *clients,
                     const struct message *request, const struct message *response)
{
    struct transaction_way way = { { .slot = 1, .generation = 1 }, 7, true };
    struct server_transaction *server;
    struct client_transaction *client;
    struct transaction_id id;
    struct slice method = message_method(request);

    transaction_id_of(&id, request, way.device);
    require(!server_table_find(servers, &id) &&
                server_transaction_new(servers, &id, &way, &server_user, NULL, &server) ==
                    ERROR_NONE &&
                client_transaction_new(clients, method, &way, &client_user, NULL, &client) ==
                    ERROR_NONE &&
                client_transaction_start(client, message_text(request)) == ERROR_NONE,
            "no transaction");
    require(client == client_table_find(clients, slice_of(client_transaction_branch(client)),
                                        method, way.device),
            "the response matches nothing");
    client_transaction_received(client, response);
    require(server_transaction_respond(server, 200, message_text(response)) == ERROR_NONE,
            "no response");
}

static void transactions(unsigned long count)
{
    static struct counters counters;
    struct worker_base base = { .workers = 1, .counters = &counters };
    struct transaction_timing timing = { 500, 4000, 5000 };
    struct transaction_transport transport = { send_nothing, NULL };
    struct server_table servers;
    struct client_table clients;
    struct message request, response;

    timers_init(&base.timers);
    run_queue_init(&base.run_queue);
    server_table_init(&servers, &base, &timing, &transport, 1000);
    client_table_init(&clients, &base, &timing, &transport, 1000);
    message_init(&request, 0);
    message_init(&response, 0);
    require(message_parse(&request, slice_of(request_message)) == ERROR_NONE &&
                message_parse(&response, slice_of(response_ok)) == ERROR_NONE,
            "a message is malformed");
    while (count-- > 0) {
        transact(&servers, &clients, &request, &response);
        run_queue_drain(&base.run_queue);
    }
    message_free(&request);
    message_free(&response);
    server_table_free(&servers);
    client_table_free(&clients);
    timers_free(&base.timers);
}

static const struct {
    const char *name;
    void (*run)(unsigned long count);
} works[] = {
    { "parse-message", parse_message },
    { "parse-invite", parse_invite },
    { "decide", decide_message },
    { "transactions", transactions },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof(works) / sizeof(*works); i++)
        if (strcmp(argv[1], works[i].name) == 0) {
            works[i].run(strtoul(argv[2], NULL, 10));
            return 0;
        }
    fprintf(stderr, "usage: instructions parse-message|parse-invite|decide|transactions COUNT\n");
    return 2;
}
