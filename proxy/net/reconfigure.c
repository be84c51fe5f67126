/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload, and what is newly revoked, does to listeners and to connections that stand. */
#include "proxy/net/net_internal.h"
#include "proxy/tls/standing.h"

#include <string.h>

static void tell_revoked(struct net *net, struct connection *c, enum connection_end why)
{
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

bool connection_stands(const struct connection *c)
{
    const struct config_listener *listener = c->listener;
    if (c->client)
        return tls_session_server_stands(&c->session, outbound_client(c->net, c->route));
    return c->transport != TRANSPORT_TLS || !listener || !c->listener_config ||
           tls_session_stands(&c->session, listener->tls[c->net->base->index],
                              listener->client_certificate);
}

/* One in its handshake is looked at when that is done. */
static void renew_connection(struct connection *c, const struct config *config)
{
    const struct config_listener *listener =
        c->listener ? same_listener(config, c->listener) : NULL;
    if (c->client && c->state == CONNECTION_OPEN && !connection_stands(c))
        tell_revoked(c->net, c, END_UNTRUSTED);
    if (!listener || (c->state != CONNECTION_OPEN && c->state != CONNECTION_HANDSHAKING))
        return;
    config_drop(c->listener_config);
    c->listener_config = config_hold(config);
    c->listener = listener;
    if (c->state == CONNECTION_OPEN && !connection_stands(c))
        tell_revoked(c->net, c, END_UNTRUSTED);
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
}

void net_set_revoked(struct net *net, struct revocation_set *set)
{
    struct revocation_set *old = net->revoked;
    net->revoked = revocation_set_hold(set);
    revocation_set_drop(old);
    for (size_t i = 0; i < net->slot_count; i++) {
        struct connection *c = net->slots[i].connection;
        if (c && c->state == CONNECTION_OPEN && tls_session_is_revoked(&c->session))
            tell_revoked(net, c, END_REVOKED);
    }
}
