/* SPDX-License-Identifier: Apache-2.0 */
/* One stream to a peer, over TLS or TCP: handshake, framing into SIP messages, output with a bound,
 * time-outs, end.
 *
 *   NONE → CONNECTING (outbound) ─────────────────────────────┐
 *             └→ HANDSHAKING (outbound TLS) ──┬──────────────┤
 *   NONE → HANDSHAKING (TLS accepted) ────────┴→ (CHECKING →)┼→ OPEN → CLOSING → DEAD
 *   NONE → OPEN (TCP accepted) ──────────────────────────────┘
 *
 * What is written into a connection that we open waits until it is OPEN: over TLS until the server
 * has been verified, and is thrown away when it is not. CHECKING: the handshake is done, and an
 * OCSP responder is asked about the peer's certificate (status.c). Nothing is read and nobody above
 * knows of it; it has what is left of handshake_timeout, ocsp_timeout at most, counts as a
 * handshake at once (max_handshakes), and that the peer has gone is seen when the answer or the
 * time comes. CLOSING: what waits is sent, then the peer's end is awaited for a moment. From any
 * state to DEAD, which is freed at the end of the turn.
 *
 * One thread: the worker's; another thread holds a struct flow. Limits, all from config->bounds and
 * config->timers: one message max_message; output output_max; connect and handshake
 * handshake_timeout together; a message that was begun message_timeout; silence idle_timeout;
 * output that the peer does not take output_timeout; 64 KiB read in a turn; 10 pings answered in a
 * second. */
#ifndef HOLDLINE_NET_CONNECTION_H
#define HOLDLINE_NET_CONNECTION_H

#include "proxy/net/address.h"
#include "proxy/net/net.h"

struct config_route;
struct log_line;
struct peer_identity;

enum connection_state {
    CONNECTION_NONE = 0,
    CONNECTION_CONNECTING,
    CONNECTION_HANDSHAKING,
    CONNECTION_CHECKING,
    CONNECTION_OPEN,
    CONNECTION_CLOSING,
    CONNECTION_DEAD,
};

enum connection_state connection_state(const struct connection *c);
struct flow connection_flow(const struct connection *c);
enum transport connection_transport(const struct connection *c);
const struct address *connection_remote(const struct connection *c); /* of the peer */
const struct address *
connection_local(const struct connection *c); /* our end: what Via and Record-Route name */
const char *connection_remote_text(const struct connection *c); /* "192.0.2.1:40000", for logs */
bool connection_is_outbound(const struct connection *c);
/* Adds the fields that every line about a connection has: connection=worker/slot/generation,
 * remote. */
void connection_log(struct log_line *line, const struct connection *c);

/* The listener that accepted it, as the newest reload has it; NULL when outbound. Valid until the
 * next net_reconfigure(), at most as long as the connection. */
const struct config_listener *connection_listener(const struct connection *c);
/* TLS: what the peer's certificate says, until it is taken. NULL on TCP, and over TLS when the peer
 * has shown none, which the listener must permit. */
const struct peer_identity *connection_identity(const struct connection *c);
/* Hands it over: the caller frees it, the connection has none from here on. */
struct peer_identity *connection_take_identity(struct connection *c);
/* The route that was dialled; TCP accepted: the one whose address is the peer's (any port); NULL
 * when none is. */
const struct config_route *connection_route(const struct connection *c);

/* Where its peer reaches us: net_advertised() of its listener; of one that we have opened, of the
 * listener that its route names. */
const char *connection_advertised(const struct connection *c);

/* It has proved by other means who it is: from here on it may be quiet for idle_timeout instead of
 * message_timeout. */
void connection_recognise(struct connection *c);

/* The upper layer's object; NULL at first. Not freed by this layer. */
void *connection_peer(const struct connection *c);
void connection_set_peer(struct connection *c, void *peer);

/* Bytes waiting to be sent: serialise into it, then call connection_flush(). When an append fails
 * (more than output_max waits, or no memory) the connection is closed by connection_flush(). Never
 * NULL; what is written into a connection that is no longer open goes nowhere. */
struct buffer *connection_output(struct connection *c);
void connection_flush(struct connection *c);

/* Stops reading; sends what waits, then ends. */
void connection_close_after_flush(struct connection *c, enum connection_end end);
/* Ends at once; what waits is lost. */
void connection_close(struct connection *c, enum connection_end end);

#endif
