/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload, and what is newly revoked, does to listeners and to connections that stand. */
#include "proxy/net/net_internal.h"
#include "proxy/tls/standing.h"

#include <string.h>

void connection_tell_revoked(struct connection *c, enum connection_end why)
{
    struct net *net = c->net;
    if (net->user.revoked)
        net->user.revoked(net->user.owner, c, why);
    else
        connection_close_after_flush(c, why);
}

static const struct config_listener *same_listener(const struct config *config,
                                                   const struct config_listener *old)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *options = &config->listeners[i];
        if (strcmp(options->name, old->name) == 0 && options->transport == old->transport)
            return options;
    }
    return NULL;
}

static void renew_listeners(struct net *net, const struct config *config)
{
    for (struct listener *l = net->listeners; l; l = l->next) {
        const struct config_listener *options = same_listener(config, l->options);
        const struct config *old = l->config;
        if (!options)
            continue;
        l->config = config_hold(config);
        l->options = options;
        config_drop(old);
    }
}

const struct trust_store *connection_store_now(const struct connection *c)
{
    if (c->client)
        return tls_session_server_store_now(&c->session, outbound_client(c->net, c->route));
    return c->listener && c->transport == TRANSPORT_TLS
               ? tls_session_store_now(&c->session, c->listener->tls[c->net->base->index])
               : NULL;
}

bool connection_stands(const struct connection *c)
{
    const struct config_listener *listener = c->listener;
    if (c->client)
        return tls_session_server_stands(&c->session, outbound_client(c->net, c->route));
    return c->transport != TRANSPORT_TLS || !listener || !c->listener_config ||
           tls_session_stands(&c->session, listener->tls[c->net->base->index],
                              listener->client_certificate);
}

static void judge_anew(struct connection *c)
{
    const struct trust_store *store = connection_store_now(c);
    if (connection_stands(c)) {
        if (store)
            tls_session_judged(&c->session, trust_store_rules(store));
        return;
    }
    if (c->state == CONNECTION_OPEN)
        connection_tell_revoked(c, END_UNTRUSTED);
    else if (c->state == CONNECTION_CHECKING)
        connection_refuse(c, "not admitted by the configuration that was read meanwhile",
                          END_UNTRUSTED);
}

/* One in its handshake is looked at when that is done. */
static bool is_done(const struct connection *c)
{
    return c->state == CONNECTION_OPEN || c->state == CONNECTION_CHECKING;
}

static void renew_connection(struct connection *c, const struct config *config)
{
    const struct config_listener *listener =
        c->listener ? same_listener(config, c->listener) : NULL;
    if (c->client && is_done(c))
        judge_anew(c);
    if (!listener || (c->state != CONNECTION_OPEN && !connection_is_coming(c)))
        return;
    config_drop(c->listener_config);
    c->listener_config = config_hold(config);
    c->listener = listener;
    if (is_done(c))
        judge_anew(c);
}

void net_reconfigure(struct net *net, const struct config *config)
{
    const struct config *before = net->newest;
    net->newest = config_hold(config);
    config_drop(before);
    renew_listeners(net, config);
    for (size_t i = 0; i < net->slot_count; i++)
        if (net->slots[i].connection)
            renew_connection(net->slots[i].connection, config);
    status_reconfigure(net);
}

void net_set_revoked(struct net *net, struct revocation_set *set)
{
    struct revocation_set *old = net->revoked;
    net->revoked = revocation_set_hold(set);
    revocation_set_drop(old);
    for (size_t i = 0; i < net->slot_count; i++) {
        struct connection *c = net->slots[i].connection;
        if (!c || !tls_session_is_revoked(&c->session))
            continue;
        if (c->state == CONNECTION_OPEN)
            connection_tell_revoked(c, END_REVOKED);
        else if (c->state == CONNECTION_CHECKING)
            connection_refuse(c, X509_verify_cert_error_string(X509_V_ERR_CERT_REVOKED),
                              END_REVOKED);
    }
}
