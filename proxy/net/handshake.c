/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's TLS handshake, until it is known who the peer is: what fails here never comes to
 * be the user's. */
#include "proxy/net/net_internal.h"

#include <string.h>

static const char *handshake_failure(struct connection *c)
{
    if (c->session.verify_error != X509_V_OK)
        return X509_verify_cert_error_string(c->session.verify_error);
    if (c->stream.ended)
        return "the peer closed";
    return c->stream.error_number ? strerror(c->stream.error_number) : tls_error_text();
}

/* What our alert says must reach the peer: no reset while its bytes wait unread. */
static void handshake_failed(struct connection *c)
{
    connection_log_handshake_failure(c, handshake_failure(c));
    tls_session_release(&c->session);
    tls_error_text();
    if (c->stream.ended || c->stream.error_number)
        connection_close(c, END_HANDSHAKE);
    else
        connection_close_after_flush(c, END_HANDSHAKE);
}

static void count_handshake(const struct connection *c)
{
    struct counters *counters = c->net->base->counters;
    if (c->outbound)
        return;
    counter_add(&counters->handshakes);
    if (SSL_session_reused(c->stream.ssl))
        counter_add(&counters->resumed);
}

void connection_refuse(struct connection *c, const char *why, enum connection_end end)
{
    connection_log_handshake_failure(c, why);
    connection_close_after_flush(c, end);
}

static void handshake_done(struct connection *c)
{
    ev_io_stop(c->net->base->loop, &c->write_io);
    if (tls_session_identity(&c->session, c->stream.ssl, &c->identity) != ERROR_NONE) {
        connection_log_handshake_failure(c, "no identity in the certificate");
        connection_close(c, END_HANDSHAKE);
        return;
    }
    if (tls_session_is_revoked(&c->session)) { /* since it was verified, a moment ago */
        connection_log_handshake_failure(c, X509_verify_cert_error_string(X509_V_ERR_CERT_REVOKED));
        connection_close(c, END_HANDSHAKE);
        return;
    }
    if (!connection_stands(c)) {
        connection_log_handshake_failure(
            c, "not admitted by the configuration that was read meanwhile");
        connection_close(c, END_HANDSHAKE);
        return;
    }
    c->session.established = true;
    c->recognised |= c->identity != NULL;
    count_handshake(c);
    c->expires_unix_s = c->identity ? c->identity->not_after_unix_s : 0;
    status_begin(c);
}

void handshake_continue(struct connection *c)
{
    switch (stream_handshake(&c->stream)) {
    case STREAM_DONE:
        handshake_done(c);
        break;
    case STREAM_WANTS_READ:
        ev_io_stop(c->net->base->loop, &c->write_io);
        break;
    case STREAM_WANTS_WRITE:
        ev_io_start(c->net->base->loop, &c->write_io);
        break;
    case STREAM_NONE:
    case STREAM_ENDED:
    case STREAM_FAILED:
        handshake_failed(c);
        break;
    }
}
