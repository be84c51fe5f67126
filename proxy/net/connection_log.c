/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of a connection in the log. */
#include "proxy/net/net_internal.h"

#include <stdio.h>
#include <string.h>

#define LOG_BURST 20 /* lines a second about failed handshakes */

void connection_log(struct log_line *line, const struct connection *c)
{
    char name[40];
    snprintf(name, sizeof(name), "%u/%u/%u", c->flow.worker, c->flow.slot, c->flow.generation);
    log_word(line, "connection", name);
    log_word(line, "remote", c->remote_text);
}

void connection_log_end(const struct connection *c)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "connection-closed");
    connection_log(&line, c);
    log_word(&line, "end", connection_end_text(c->end));
    if (c->end == END_TLS) /* such as its alert about our certificate */
        log_text(&line, "detail", slice_of(tls_error_text()));
    log_end(&line);
}

/* A ticket that was shown and is not good for the session any more says why. */
static void log_tls(struct log_line *line, const struct connection *c)
{
    bool resumed = SSL_session_reused(c->stream.ssl) == 1;
    log_word(line, "tls", SSL_get_version(c->stream.ssl));
    log_word(line, "resumed", resumed ? "yes" : "no");
    if (!resumed && c->session.resumption.verdict != TICKET_NONE)
        log_word(line, "ticket", ticket_verdict_text(c->session.resumption.verdict));
}

void connection_log_opened(const struct connection *c)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "connection-opened");
    connection_log(&line, c);
    if (c->listener)
        log_word(&line, "listener", c->listener->name);
    if (c->route)
        log_word(&line, "route", c->route->name);
    if (c->identity) {
        int level = trust_store_rules(c->session.store)->security_level;
        log_word(&line, "store", c->identity->store);
        if (level < TRUST_LEVEL_USUAL)
            log_number(&line, "security_level", level);
        log_text(&line, "cn", (struct slice){ c->identity->cn, c->identity->cn_size });
    } else if (c->stream.ssl) {
        log_word(&line, "certificate", "none");
    }
    if (c->session.domain)
        log_text(&line, "name", identity_text(c->session.domain));
    if (c->stream.ssl)
        log_tls(&line, c);
    log_end(&line);
}

void connection_log_connect_failure(const struct connection *c)
{
    struct log_line line;
    log_begin(&line, LOG_WARNING, "connect-failed");
    connection_log(&line, c);
    log_word(&line, "route", c->route->name);
    log_text(&line, "detail",
             slice_of(c->stream.error_number ? strerror(c->stream.error_number) : "too slow"));
    log_end(&line);
}

void connection_log_suppressed(struct log_line *line, struct log_limit *limit)
{
    unsigned suppressed = log_limit_suppressed(limit);
    if (suppressed)
        log_number(line, "suppressed", suppressed);
}

void connection_log_certificate(struct log_line *line, const struct connection *c)
{
    if (!c->identity)
        return;
    log_word(line, "store", c->identity->store);
    log_text(line, "cn", (struct slice){ c->identity->cn, c->identity->cn_size });
    if (c->identity->serial)
        log_text(line, "serial", slice_of(c->identity->serial));
    if (c->identity->issuer)
        log_text(line, "issuer", slice_of(c->identity->issuer));
}

/* Of a server also whom it had to be and what its certificate names instead. */
static void log_refused(struct log_line *line, const struct connection *c)
{
    char cn[CN_MAX_OCTETS + 1], names[CERTIFICATE_NAMES_MAX];
    if (c->session.domain)
        log_text(line, "wanted", identity_text(c->session.domain));
    connection_log_certificate(line, c);
    if (!c->session.refused)
        return;
    log_text(line, "cn", (struct slice){ cn, tls_session_refused_cn(&c->session, cn) });
    if (c->session.domain)
        log_text(line, "names",
                 (struct slice){ names, tls_session_refused_names(&c->session, names) });
}

void connection_log_handshake_failure(struct connection *c, const char *why)
{
    struct log_limit *limit = c->outbound ? &c->net->dial_limit : &c->net->handshake_limit;
    struct log_line line;
    if (!log_limit_pass(limit, LOG_BURST, c->net->base->now_mono_ms))
        return;
    log_begin(&line, c->outbound ? LOG_WARNING : LOG_NOTICE, "handshake-failed");
    connection_log(&line, c);
    if (c->listener)
        log_word(&line, "listener", c->listener->name);
    if (c->route)
        log_word(&line, "route", c->route->name);
    log_text(&line, "detail", slice_of(why));
    log_refused(&line, c);
    connection_log_suppressed(&line, limit);
    log_end(&line);
}
