/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's surroundings without a worker, and mapperd's end of the socket played by the test: the
 * clock stands still but for stage_pass(), every turn is the test's. */
#ifndef HOLDLINE_TESTS_AUTHORIZATION_STAGE_H
#define HOLDLINE_TESTS_AUTHORIZATION_STAGE_H

#include "common/resp.h"
#include "proxy/authorization/ask.h"
#include "proxy/worker_base.h"

struct stage_end { /* one accepted connection */
    int fd;        /* -1: none */
    struct buffer input;
};

struct stage {
    struct worker_base base;
    struct ask *ask;
    char folder[64], path[96];
    int listener;
    struct stage_end questions, writes;
    uint64_t changed[64]; /* tags that ask reported */
    size_t changed_count;
    void (*on_changed)(uint64_t tag); /* may be NULL */
};

/* A listening socket and an ask that has not connected yet. */
void stage_open(struct stage *stage);
void stage_close(struct stage *stage);

/* One turn of the loop: sockets, timers, run queue; then accepts. */
void stage_turn(struct stage *stage);
void stage_pass(struct stage *stage, uint64_t ms); /* in steps of a turn */
void stage_stop_listening(struct stage *stage);
void stage_listen(struct stage *stage);

/* Up to UP: accepts, reads SUBSCRIBE, confirms, ticks with epoch and serial. */
void stage_up(struct stage *stage, unsigned epoch, unsigned serial);
void stage_hang_up(struct stage_end *end);

/* The next command must be this one (arguments with single spaces between). */
void stage_expect(struct stage_end *end, const char *command);
void stage_expect_nothing(struct stage_end *end);

/* What mapperd sends; each followed by a turn. */
void stage_send(struct stage *stage, struct stage_end *end, const char *text, size_t size);
void stage_message(struct stage *stage, const char *payload);
void stage_tick(struct stage *stage, unsigned epoch, unsigned serial);
/* words: bulk strings behind epoch and serial. */
void stage_peer(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                const char *cn, const char *identity /* NULL: none */);
void stage_rights(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                  const char *group /* NULL */, const char *rule /* NULL */);
void stage_locate(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                  const char *binding /* NULL */);

/* A waiter that counts. */
struct stage_waiter {
    struct lookup_waiter waiter;
    unsigned done;
    unsigned order; /* when it was done: 1, 2, … */
};
void stage_waiter_init(struct stage_waiter *waiter);
extern unsigned stage_order;

#endif
