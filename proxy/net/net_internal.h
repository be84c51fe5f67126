/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the worker's net, a connection, a listener. */
#ifndef HOLDLINE_NET_NET_INTERNAL_H
#define HOLDLINE_NET_NET_INTERNAL_H

#include "common/log.h"
#include "proxy/config.h"
#include "proxy/net/connection.h"
#include "proxy/net/stream.h"
#include "proxy/tls/client.h"
#include "proxy/tls/context.h"
#include "proxy/tls/statuses.h"

#include <ev.h>

#define SCRATCH_SIZE 16640 /* a TLS record */

struct slot {
    struct connection *connection; /* NULL: free */
    uint32_t generation;           /* of the connection, or of the next one */
    uint32_t next_free;            /* 1 + index; 0 = none */
};

struct listener {
    ev_io io; /* first, so that a watcher is its listener */
    struct net *net;
    const struct config *config; /* held */
    const struct config_listener *options;
    uint32_t number; /* struct flow's: 1 + index in base->config */
    struct address bound;
    char bound_text[ADDRESS_TEXT_MAX];
    const char *advertised; /* base->config's, or bound_text */
    bool closed;
    struct listener *next;
};

struct net {
    struct worker_base *base;
    struct net_user user;
    BIO_METHOD *stream_method;
    struct slot *slots;
    size_t slot_count; /* in use at some time */
    size_t slot_max;   /* this worker's share of max_connections */
    uint32_t first_free;
    size_t connections; /* not yet freed */
    size_t handshakes, handshake_max;
    struct connection *handshakes_list; /* oldest first (utlist DL) */
    struct connection *outbound_list;
    struct connection *dirty; /* with output to be written at the end of the turn */
    struct connection *dead;
    struct listener *listeners;
    struct revocation_set *revoked;  /* a reference; NULL: nothing is known to be */
    struct ticket_keys *ticket_keys; /* the same */
    struct staples *staples;         /* the same */
    struct statuses *statuses;       /* of certificates, by OCSP */
    const struct config *newest;     /* for connections that we open; held */
    struct timer accept_timer;       /* accepting pauses until it fires */
    int spare_fd;          /* given up to accept and refuse when there are no others (T41) */
    struct buffer nowhere; /* output of the dead */
    struct log_limit refused_limit, handshake_limit, dial_limit, status_limit;
    char scratch[SCRATCH_SIZE];
};

/* How a connection's store has the status of its certificate asked for. */
struct status_asking {
    enum ocsp_rule rule;
    uint64_t responder; /* a hash of the URL; 0: the certificate's own */
};

struct connection {
    ev_io read_io, write_io; /* data points to the connection */
    struct timer timer;
    struct task task; /* says `closed` or `failed` */
    struct net *net;
    struct connection *next_dirty, *next_dead;
    struct connection *prev, *next; /* in handshakes_list, or in outbound_list */
    enum connection_state state;
    enum connection_end end;
    enum transport transport;
    bool outbound;
    bool recognised; /* something says who it is: certificate, route, or the user above */
    bool known;      /* the user was given it: it gets one of the last two calls */
    bool opened;
    bool told; /* and has had it */
    bool dirty;
    bool ended_sending; /* CLOSING: all is sent, the peer's end is awaited */
    bool peer_ended;    /* it sends no more */
    bool read_wants_write, write_wants_read;
    struct stream stream;
    struct tls_session session;
    struct framing framing;
    struct buffer input, output;
    struct flow flow;
    struct address remote, local;
    const struct config *config; /* held: that it was accepted under */
    const struct config
        *listener_config; /* held: that `listener` is of after a reload; else NULL */
    const struct config_listener *listener;
    const struct config_route *route;
    const struct tls_client *client; /* outbound over TLS: by which it was verified */
    struct peer_identity *identity;
    struct status_asking asking;
    struct status_holder status; /* unless nobody is asked */
    uint64_t status_by_mono_ms;  /* until when an answer is awaited; 0: no more */
    bool status_anew;            /* within a reload */
    void *peer;
    uint64_t begun_mono_ms; /* accepted, dialled; CLOSING: since then */
    uint64_t received_mono_ms;
    uint64_t message_begun_mono_ms; /* 0: none */
    uint64_t expires_unix_s;        /* the earliest notAfter of its chain; 0: it has none */
    uint64_t output_since_mono_ms;  /* the peer takes nothing since then; 0: nothing waits */
    uint64_t flood_since_mono_ms;
    unsigned pings; /* since then */
    char remote_text[ADDRESS_TEXT_MAX];
};

/* It has not been OPEN yet, and may come to be. */
static inline bool connection_is_coming(const struct connection *c)
{
    return c->state == CONNECTION_HANDSHAKING || c->state == CONNECTION_CHECKING;
}

/* ---- net.c ---- */

/* A slot and the struct in state NONE, with the configuration held; NULL: no memory or no slot. */
struct connection *net_add(struct net *net, const struct config *config);
void net_mark_dirty(struct net *net, struct connection *c);
void net_mark_dead(struct net *net, struct connection *c);

/* ---- connection.c ---- */

enum connection_event { CONNECTION_READABLE, CONNECTION_WRITABLE, CONNECTION_TIMER };

/* Alone writes c->state, starts and stops watchers and timer. */
void connection_become(struct connection *c, enum connection_state to);
/* Takes a fresh connection (state NONE) and its socket to its first state. `ssl` NULL: TCP. On
 * error the caller closes fd; the connection is dead. */
enum error connection_start(struct connection *c, int fd, SSL *ssl,
                            enum connection_state first) MUST_CHECK;
/* Writes what it can of the output; for net_flush(). */
void connection_write(struct connection *c);
/* Re-arms the timer for the nearest deadline. */
void connection_arm(struct connection *c);
/* Calls `closed` or `failed`, once. */
void connection_tell(struct connection *c);
void connection_free(struct connection *c);

/* What was HANDSHAKING or CHECKING is OPEN: tells the user, takes what has come meanwhile. */
void connection_open(struct connection *c);

/* ---- connection_log.c ---- */

void connection_log_opened(const struct connection *c);
void connection_log_end(const struct connection *c);
void connection_log_connect_failure(const struct connection *c);
void connection_log_handshake_failure(struct connection *c, const char *why);
/* Adds how many lines of that limit were left out since the last one. */
void connection_log_suppressed(struct log_line *line, struct log_limit *limit);
/* Store, CN, serial number and issuer of the peer's certificate, as far as it has one. */
void connection_log_certificate(struct log_line *line, const struct connection *c);

/* ---- handshake.c ---- */

/* Reads and writes what it can of a HANDSHAKING one. */
void handshake_continue(struct connection *c);
/* It comes to nothing: says why, and ends. */
void connection_refuse(struct connection *c, const char *why, enum connection_end end);

/* ---- status.c ---- */

/* After the handshake: opens, refuses, or leaves it CHECKING until an answer comes. */
void status_begin(struct connection *c);
/* Judges anew what holds a status; true: it is in another state now. */
bool status_look(struct connection *c);
void status_end(struct connection *c); /* harmless when it holds none */
enum error status_create(struct net *net) MUST_CHECK;
/* After a reload, when connections have their new listeners. */
void status_reconfigure(struct net *net);

/* ---- reconfigure.c ---- */

/* The store that verified the peer, as the newest configuration has it; NULL: it has none. */
const struct trust_store *connection_store_now(const struct connection *c);
/* What it came in by counts no more. */
void connection_tell_revoked(struct connection *c, enum connection_end why);

/* Whether the listener as it is now would admit it as it was admitted. */
bool connection_stands(const struct connection *c);

/* ---- receive.c ---- */

/* Reads, frames and hands up until nothing more is there or the connection is no longer open. */
void connection_receive(struct connection *c);

/* ---- outbound.c ---- */

/* What a server must be and is shown by the newest configuration. NULL on TCP. */
struct tls_client *outbound_client(const struct net *net, const struct config_route *route);

/* ---- listener.c ---- */

void listener_pause(struct net *net, uint64_t ms);
void listener_timer_fired(struct timer *timer);
void listener_close(struct listener *listener); /* again is harmless */
void listener_free(struct listener *listener);

#endif
