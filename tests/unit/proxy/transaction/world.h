/* SPDX-License-Identifier: Apache-2.0 */
/* A worker without a loop for tests of transactions: its time is set by hand, and all that a
 * transaction does is written into one text, in order: "send 180;", "response 200;", "timeout;". */
#ifndef HOLDLINE_TESTS_TRANSACTION_WORLD_H
#define HOLDLINE_TESTS_TRANSACTION_WORLD_H

#include "proxy/sip/message.h"
#include "proxy/transaction/client.h"
#include "proxy/transaction/server.h"

#define T1    500
#define T2    4000
#define T4    5000
#define LIMIT 100

struct world {
    struct worker_base base;
    struct counters counters;
    struct server_table servers;
    struct client_table clients;
    bool send_fails;
    struct transaction_way sent_to; /* the last one */
    char sent[4096];                /* the bytes last sent */
    char log[8192];
};

void world_open(struct world *w);
/* Fails the test when a transaction, a timer or a task is left. */
void world_close(struct world *w);
/* Frees what is left, whatever it is. */
void world_drop(struct world *w);
void world_log(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Moves the clock on, firing each timer at its own time. */
void world_advance(struct world *w, uint64_t ms);
void world_drain(struct world *w);
/* Compares the log with `expected` and empties it. */
#define world_expect(w, expected) world_expect_at(w, expected, __FILE__, __LINE__)
void world_expect_at(struct world *w, const char *expected, const char *file, int line);

/* The owner of each is the world. */
extern const struct server_user world_server_user;
extern const struct client_user world_client_user;

struct transaction_way world_way(bool reliable);
struct transaction_id world_id(const char *method, const char *branch);
/* "SIP/2.0 180 x" and headers. Static memory, overwritten by the next call. */
struct slice world_response(unsigned status);
struct slice world_request(const char *method, const char *branch);
/* Parses world_response(status); the message must be freed. */
void world_parse(struct message *m, struct slice text);

#endif
