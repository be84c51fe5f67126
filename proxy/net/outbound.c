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

/* A reload gives routes new addresses in memory: the same route is one of that name to that place.
 */
static bool leads_there(const struct connection *c, const struct config_route *route)
{
    return !c->peer_ended && strcmp(c->route->name, route->name) == 0 &&
           c->route->transport == route->transport &&
           address_same_host(&c->remote, &route->address) &&
           address_port(&c->remote) == address_port(&route->address);
}

static enum error dial(struct connection *c)
{
    int one = 1;
    int fd = socket(c->remote.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERROR_SYSTEM;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    int r = connect(fd, &c->remote.any, address_size(&c->remote));
    int error_number = r == 0 ? 0 : errno;
    enum error e = connection_start(c, fd, NULL, CONNECTION_CONNECTING);
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

enum error outbound_connection(struct net *net, const struct config_route *route,
                               struct connection **out)
{
    struct connection *c;
    *out = NULL;
    DL_FOREACH(net->outbound_list, c)
    if (leads_there(c, route)) {
        *out = c;
        return ERROR_NONE;
    }
    if (net->connections >= net->slot_max)
        return ERROR_TOO_LARGE;
    c = net_add(net, net->base->config);
    if (!c)
        return ERROR_MEMORY;
    c->outbound = c->recognised = true;
    c->transport = route->transport;
    c->route = route;
    c->remote = route->address;
    enum error e = dial(c);
    if (e == ERROR_NONE)
        *out = c;
    else if (c->state != CONNECTION_DEAD)
        connection_close(c, END_CONNECT);
    return e;
}
