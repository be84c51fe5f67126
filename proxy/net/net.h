/* SPDX-License-Identifier: Apache-2.0 */
/* All sockets of one worker: its listeners, its connections by slot, and the end of the loop's
 * turn, where output is written and the dead are freed. One thread: the worker's. */
#ifndef HOLDLINE_NET_NET_H
#define HOLDLINE_NET_NET_H

#include "common/buffer.h"
#include "common/error.h"
#include "proxy/net/address.h"
#include "proxy/net/flow.h"
#include "proxy/sip/framing.h"
#include "proxy/worker_base.h"

struct config;
struct config_listener;
struct connection;
struct net;
struct revocation_set;
struct staples;
struct status_wish;
struct status_word;
struct ticket_keys;

/* Why a connection ended. */
enum connection_end {
    END_NONE = 0,
    END_BY_PEER,         /* end of stream or reset */
    END_BY_US,           /* connection_close*() */
    END_CONNECT,         /* outbound: refused, unreachable or too slow */
    END_HANDSHAKE,       /* TLS refused it, or it was too slow */
    END_TLS,             /* a TLS error later on */
    END_MALFORMED,       /* framing is lost */
    END_MESSAGE_TIMEOUT, /* a message was begun and not finished */
    END_IDLE,            /* nothing received for idle_timeout */
    END_OUTPUT_FULL,     /* more than output_max waits for a peer that does not read */
    END_OUTPUT_STALLED,  /* output waits and the peer took nothing for output_timeout */
    END_EXPIRED,         /* a certificate of its chain is over */
    END_REVOKED,         /* a certificate of its chain was revoked */
    END_STATUS,          /* no answer by OCSP that its store requires */
    END_UNTRUSTED,       /* after a reload its listener, or route, would not have it any more */
    END_FLOOD,           /* pings, key updates */
    END_MEMORY,
};
const char *connection_end_text(enum connection_end end);

/* What the layer above is told. Called from the worker's loop or run queue, never from inside a
 * call of this layer's functions, so a handler may call any of them. Of the two last calls each
 * connection that was ever given out gets exactly one, and it is the last: after it the pointer is
 * gone at the end of the turn. */
struct net_user {
    void *owner;
    /* The connection may be used: accepted over TLS and verified (or, where the listener permits
     * it, without a certificate: connection_identity() is NULL then), accepted over TCP from a
     * route's address or from elsewhere (connection_route() is NULL then), or connected outward. */
    void (*opened)(void *owner, struct connection *c);
    /* One whole message, from its start-line to the end of its body. `bytes` are valid during the
     * call only. */
    void (*message)(void *owner, struct connection *c, struct slice bytes);
    /* Framing is lost but a request may be answered: `bytes` are the whole lines that have come,
     * for message_parse(), framing_fault_status() and _text() say what to answer. After the call
     * the connection is closed, once what the handler wrote is sent. */
    void (*malformed)(void *owner, struct connection *c, struct slice bytes,
                      enum framing_fault fault);
    /* What the peer came in by does not count any more: END_REVOKED, END_STATUS or END_UNTRUSTED.
     * NULL: it is closed. */
    void (*revoked)(void *owner, struct connection *c, enum connection_end why);
    void (*closed)(void *owner, struct connection *c, enum connection_end end);
    /* Outbound only, instead of `closed`: it never opened, nothing of its output was sent. */
    void (*failed)(void *owner, struct connection *c, enum connection_end end);
    /* As statuses_user has it. NULL: there is no desk, and no answer. */
    bool (*ask_status)(void *owner, struct status_wish *wish);
};

/* `base` and what `user` points to must outlive it; `user` is copied. base->config gives bounds for
 * what this worker accepts from now on. ERROR_MEMORY. */
enum error net_create(struct worker_base *base, const struct net_user *user,
                      struct net **out) MUST_CHECK;
/* Closes everything at once, calling `closed` or `failed` for each connection; frees all. */
void net_destroy(struct net *net);

/* Starts listening on a socket from listener_bind(). The descriptor is the net's from here on, also
 * on error. The listener must live as long as base->config. ERROR_SYSTEM, ERROR_MEMORY. */
enum error net_listen(struct net *net, const struct config_listener *listener, int fd) MUST_CHECK;
/* What is revoked from here on, for handshakes and for connections that are open: `revoked` is
 * called for each of these that it concerns. Takes a reference. */
void net_set_revoked(struct net *net, struct revocation_set *set);
/* The keys of session tickets from here on; until the first ones there are no tickets. Takes a
 * reference. */
void net_set_ticket_keys(struct net *net, struct ticket_keys *keys);
/* What is stapled to our certificates from here on. Takes a reference. */
void net_set_staples(struct net *net, struct staples *set);
/* The desk has said something of a certificate: connections that wait for it open or end, those
 * that are open stay or end (`revoked`). */
void net_status_told(struct net *net, const struct status_word *word);
/* Asks again what found no room; to be called a few times a second. */
void net_status_retry(struct net *net);
/* Nobody is accepted any more; what still leaves names the listeners as before. */
void net_stop_listening(struct net *net);

/* After a reload: what is accepted from now on is verified and served by the new configuration's
 * listener of the same name and transport, and what is dialled by its route of the same name and
 * transport; one that is not in it keeps the old. Of accepted connections that stand `revoked` is
 * called for each TLS one that its listener would not admit as it was admitted (tls/standing.h);
 * the others keep time-outs and bounds, and connection_listener() is the new one. The same of those
 * that we have opened, by the stores of their route; one that was shown another certificate of ours
 * than the route has now stays, but is not used for what is sent from now on. Bounds of the
 * net itself, addresses, and all else of routes stay as base->config has them. */
void net_reconfigure(struct net *net, const struct config *config);

/* "host:port" for Via and Record-Route on this transport: what the listener of that name advertises
 * (NULL: the first one), else where it is bound. NULL when there is none. */
const char *net_advertised(const struct net *net, enum transport transport, const char *listener);

/* The same for who is at the other end of a flow, this worker's or another's: of the listener that
 * it came in by; where that is not known, of the first over TLS. */
const char *net_advertised_to(const struct net *net, struct flow flow);

/* The connection of that name while it is open; NULL once it is not, and for another worker's. */
struct connection *net_find(struct net *net, struct flow flow);

/* To be called at the end of a turn, after the run queue is drained: writes what connections were
 * given, frees the dead. True: it put tasks into the run queue; drain it and call again before the
 * loop sleeps. */
bool net_flush(struct net *net) MUST_CHECK;

#endif
