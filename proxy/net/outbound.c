/* SPDX-License-Identifier: Apache-2.0 */
/* Dialling a route. Every failure but a missing socket is told later, by `failed`, so that callers
 * have one path for it. */
#include "proxy/net/outbound.h"

#include "proxy/net/net_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

struct tls_client *outbound_client(const struct net *net, const struct config_route *route)
{
    if (route->transport != TRANSPORT_TLS)
        return NULL;
    for (size_t i = 0; i < net->newest->route_count; i++) {
        const struct config_route *newest = &net->newest->routes[i];
        if (newest->tls && strcmp(newest->name, route->name) == 0)
            return newest->tls[net->base->index];
    }
    return route->tls[net->base->index];
}

/* The server was verified as whom the route wants, by what it wants now (T20). */
static bool is_as_good(const struct connection *c, const struct config_route *route,
                       const struct tls_client *client)
{
    return c->client && c->session.domain && tls_client_same(c->client, client) &&
           slice_equal(identity_text(c->session.domain), identity_text(&route->tls_name));
}

/* A reload gives routes new addresses in memory: the same route is one of that name to that place.
 */
static bool leads_there(const struct connection *c, const struct config_route *route, size_t server,
                        const struct tls_client *client)
{
    return !c->peer_ended && strcmp(c->route->name, route->name) == 0 &&
           c->route->transport == route->transport &&
           address_equal(&c->remote, &route->servers[server]) &&
           (route->transport != TRANSPORT_TLS || is_as_good(c, route, client));
}

/* `ssl` is the connection's from here on, also on error. */
static enum error dial(struct connection *c, SSL *ssl)
{
    int one = 1;
    int fd = socket(c->remote.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        SSL_free(ssl);
        return ERROR_SYSTEM;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    int r = connect(fd, &c->remote.any, address_size(&c->remote));
    int error_number = r == 0 ? 0 : errno;
    enum error e = connection_start(c, fd, ssl, CONNECTION_CONNECTING);
    if (e != ERROR_NONE) {
        close(fd);
        return e;
    }
    if (r != 0 && error_number != EINPROGRESS && error_number != EINTR) {
        c->stream.error_number = error_number;
        connection_close(c, END_CONNECT);
    }
    return ERROR_NONE;
}

enum error outbound_connection(struct net *net, const struct config_route *route, size_t server,
                               struct connection **out)
{
    struct tls_client *client = outbound_client(net, route);
    struct connection *c;
    *out = NULL;
    DL_FOREACH(net->outbound_list, c)
    if (leads_there(c, route, server, client)) {
        *out = c;
        return ERROR_NONE;
    }
    if (net->connections >= net->slot_max)
        return ERROR_TOO_LARGE;
    c = net_add(net, net->newest);
    if (!c)
        return ERROR_MEMORY;
    c->outbound = c->recognised = true;
    c->transport = route->transport;
    c->route = route;
    c->client = client;
    c->remote = route->servers[server];
    SSL *ssl = client ? tls_client_connect(client, &route->tls_name, &c->session) : NULL;
    c->session.revoked = &net->revoked;
    enum error e = client && !ssl ? ERROR_MEMORY : dial(c, ssl);
    if (e == ERROR_NONE)
        *out = c;
    else if (c->state != CONNECTION_DEAD)
        connection_close(c, END_CONNECT);
    return e;
}
