/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/peer_route.h"

#include "common/mem.h"
#include "proxy/authorization/peer_internal.h"
#include "proxy/config.h"

#include <stdio.h>
#include <utlist.h>

/* A reload may have given it other stores. */
static const struct config_route *newest_of(const struct config_route *route,
                                            const struct config *newest)
{
    for (size_t i = 0; i < newest->route_count; i++)
        if (newest->routes[i].transport == TRANSPORT_TLS &&
            strcmp(newest->routes[i].name, route->name) == 0)
            return &newest->routes[i];
    return route;
}

static bool trusts(const struct config_route *route, const char *store)
{
    for (size_t i = 0; i < route->trust_store_count; i++)
        if (strcmp(route->trust_stores[i], store) == 0)
            return true;
    return false;
}

static bool is_named(const struct peer_identity *certificate, const struct identity *domain)
{
    for (size_t i = 0; i < certificate->name_count; i++)
        if (slice_equal(identity_text(&certificate->names[i]), identity_text(domain)))
            return true;
    return false;
}

static enum error add(struct peer *peer, const struct config_route *route)
{
    char key[DEVICE_KEY_MAX + 1];
    struct peer_route *grown =
        mem_grow(peer->routes, (peer->route_count + 1) * sizeof(*peer->routes));
    if (!grown)
        return ERROR_MEMORY;
    peer->routes = grown;
    snprintf(key, sizeof(key), "route:%s", route->name);
    peer->routes[peer->route_count++] =
        (struct peer_route){ .route = route,
                             .device = token_keys_device_hash(peer->peers->keys, slice_of(key)) };
    return ERROR_NONE;
}

enum error peer_count_as_routes(struct peer *peer, const struct config *config,
                                const struct config *newest)
{
    enum error e = ERROR_NONE;
    for (size_t i = 0; e == ERROR_NONE && i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        if (route->transport == TRANSPORT_TLS && is_named(peer->certificate, &route->tls_name) &&
            trusts(newest_of(route, newest), peer->certificate->store))
            e = add(peer, route);
    }
    return e;
}

static void count_anew(struct peer *peer, const struct config *config, const struct config *newest)
{
    if (peer->kind != PEER_DEVICE)
        return;
    mem_free(peer->routes);
    peer->routes = NULL;
    peer->route_count = 0;
    if (peer_count_as_routes(peer, config, newest) != ERROR_NONE)
        peer->route_count = 0;
}

void peers_count_as_routes_anew(struct peers *peers, const struct config *config,
                                const struct config *newest)
{
    struct peer *peer;

    DL_FOREACH(peers->all, peer)
    count_anew(peer, config, newest);
    DL_FOREACH(peers->gone, peer)
    count_anew(peer, config, newest);
}

const struct config_route *peer_route_of_device(const struct peer *peer, uint64_t device)
{
    for (size_t i = 0; device && i < peer->route_count; i++)
        if (peer->routes[i].device == device)
            return peer->routes[i].route;
    return NULL;
}

uint64_t peer_route_to_domain(const struct peer *peer, struct slice domain)
{
    for (size_t i = 0; i < peer->route_count; i++)
        if (slice_equal(identity_text(&peer->routes[i].route->domain), domain))
            return peer->routes[i].device;
    return 0;
}
