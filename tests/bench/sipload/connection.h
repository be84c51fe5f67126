/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of phones over TLS, and of the far end over anything. One thread, one loop. */
#ifndef HOLDLINE_BENCH_SIPLOAD_CONNECTION_H
#define HOLDLINE_BENCH_SIPLOAD_CONNECTION_H

#include "histogram.h"
#include "message.h"
#include "phones.h"

#include <ev.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

enum conn_state { CONN_IDLE, CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN };
enum role { ROLE_UAC, ROLE_UAS, ROLE_ACCEPTED };

/* A client transaction, or for INVITE one call: INVITE, ACK, BYE on the same slot one after the
 * other. */
enum slot_state { SLOT_FREE, SLOT_FIRST, SLOT_PLAIN, SLOT_INVITE, SLOT_BYE };
struct slot {
    enum slot_state state;
    bool forged;
    uint32_t seq, call; /* seq makes the branch unique, call the Call-ID and From tag */
    uint64_t t0;
};

struct conn {
    ev_io io;
    enum conn_state state;
    enum role role;
    unsigned index;      /* place in conns[]; part of every branch */
    struct phone *phone; /* NULL: accepted by the next-hop listener */
    SSL *ssl;            /* NULL: plain TCP, or UDP */
    struct sockaddr_storage udp_peer;
    bool udp, ready, setup, dirty, unproven;
    uint64_t t0, done, retry_at;
    struct buf in, out;
    struct conn *next_dirty;
    char local[64]; /* address:port for Via and Contact */
    struct slot *slots;
    unsigned nslots, next_free;
    uint32_t seq, reg_cseq;
};

extern struct ev_loop *loop;
extern SSL_CTX *client_ctx, *uas_ctx;
extern struct conn *conns, *dirty_list;
extern unsigned nconns, npending, *pending, in_setup;

void make_contexts(void);
/* Phones 0..n-1 are to be connected, callers first. */
void make_conns(unsigned n, unsigned window);
void start_later(struct conn *c);
/* Starts what is due as far as --ramp allows, writes what this round produced: before each wait. */
void conns_turn(void);
void mark_dirty(struct conn *c);
void conn_close(struct conn *c);
/* The far end: a connection that was accepted, or a UDP socket. */
void conn_accepted(int fd);
void set_local(struct conn *c);

/* Told by connection.c; course.c, requests.c and answers.c have them. */
void conn_ready(struct conn *c);
void conn_failed(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void on_message(struct conn *c, const struct msg *m);
void send_first(struct conn *c);

#endif
