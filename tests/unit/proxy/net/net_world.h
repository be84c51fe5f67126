/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's net on loopback with a clock that the test sets, clients that speak real TLS, and a
 * record of all that the layer above was told. Nothing sleeps: the loop is turned until a condition
 * holds. */
#ifndef HOLDLINE_TESTS_NET_WORLD_H
#define HOLDLINE_TESTS_NET_WORLD_H

#include "proxy/config.h"
#include "proxy/net/connection.h"
#include "proxy/net/outbound.h"

#include <openssl/ssl.h>

struct net_world {
    struct worker_base base;
    struct counters counters;
    const struct config *config;
    struct net *net;
    struct address tls, tcp; /* where it listens */

    /* What was told. */
    unsigned opened, messages, malformed, closed, failed;
    struct connection *last; /* of the last call but closed and failed */
    struct flow last_flow;
    enum connection_end last_end;
    enum framing_fault last_fault;
    struct buffer heard; /* all messages */

    /* What to do at a message. */
    bool echo;    /* write it back */
    size_t flood; /* write so many bytes */
    bool close_at_message, close_after_message;
    void *at_opened_peer;
};

/* `options`: lines of the configuration before its sections. */
void net_world_open(struct net_world *w, const char *options);
void net_world_close(struct net_world *w);
/* A configuration whose device store trusts another CA. The caller's reference. */
const struct config *net_world_foreign_config(void);
void net_world_turn(struct net_world *w);
/* Turns until the condition holds; 10 s of real time without are a failure. */
#define net_world_until(w, condition)                    \
    do {                                                 \
        uint64_t start_mono_ms = clock_mono_ms();        \
        while (!(condition)) {                           \
            net_world_turn(w);                           \
            if (clock_mono_ms() - start_mono_ms > 10000) \
                fail_msg("never: %s", #condition);       \
        }                                                \
    } while (0)
/* Turns often enough for what is under way on loopback to arrive, where nothing is expected to. */
void net_world_settle(struct net_world *w);
void net_world_pass(struct net_world *w, uint64_t ms);

struct net_client {
    int fd;
    SSL_CTX *context;
    SSL *ssl; /* NULL: TCP */
    bool shaken, failed, ended;
    struct buffer got;
};

/* Connects; with TLS, the client certificate is a device's. Does not turn the world. */
void net_client_connect(struct net_client *c, const struct address *to, bool tls);
/* Goes on with the handshake, reads what has come. */
void net_client_step(struct net_client *c);
void net_client_send(struct net_client *c, const char *text);
void net_client_send_bytes(struct net_client *c, struct slice bytes);
/* Connected and shaken, `opened` told. */
void net_client_open(struct net_world *w, struct net_client *c, bool tls);
void net_client_close(struct net_client *c);
/* What it got ends with this text. */
bool net_client_has(struct net_client *c, const char *text);

#define NET_MESSAGE "OPTIONS sip:example.org SIP/2.0\r\nContent-Length: 0\r\n\r\n"

#endif
