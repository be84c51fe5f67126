/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/next_hop.h"

#include "common/log.h"
#include "common/mem.h"

#include <assert.h>

struct next_hops {
    size_t routes;
    uint64_t until_mono_ms[][ROUTE_SERVERS_MAX]; /* 0: it has not failed */
};

struct next_hops *next_hops_new(const struct config *config)
{
    struct next_hops *hops =
        mem_zero(1, sizeof(*hops) + config->route_count * sizeof(hops->until_mono_ms[0]));

    if (hops)
        hops->routes = config->route_count;
    return hops;
}

void next_hops_free(struct next_hops *hops)
{
    mem_free(hops);
}

bool next_hop_choose(const struct next_hops *hops, const struct config_route *route, unsigned tried,
                     uint64_t now_mono_ms, unsigned *server)
{
    const uint64_t *until_mono_ms = hops->until_mono_ms[route->index];
    uint64_t earliest = UINT64_MAX;

    assert(route->index < hops->routes);
    for (unsigned i = 0; i < route->server_count; i++) {
        uint64_t due = until_mono_ms[i] > now_mono_ms ? until_mono_ms[i] : 0;

        if (tried & (1u << i) || due >= earliest)
            continue;
        earliest = due;
        *server = i;
    }
    return earliest != UINT64_MAX;
}

unsigned next_hop_best(const struct next_hops *hops, const struct config_route *route,
                       uint64_t now_mono_ms)
{
    unsigned server;

    return next_hop_choose(hops, route, 0, now_mono_ms, &server) ? server : 0;
}

static void log_change(const struct config_route *route, unsigned server, const char *event)
{
    char text[ADDRESS_TEXT_MAX];
    struct log_line line;

    log_begin(&line, LOG_NOTICE, event);
    log_word(&line, "route", route->name);
    log_word(&line, "server", address_text(&route->servers[server], text));
    log_end(&line);
}

/* Where there is but one nobody is asked before it, and nothing is to be told. */
void next_hop_failed(struct next_hops *hops, const struct config_route *route, unsigned server,
                     uint64_t until_mono_ms)
{
    uint64_t *until = &hops->until_mono_ms[route->index][server];

    if (route->server_count < 2)
        return;
    if (*until == 0)
        log_change(route, server, "next-hop-failed");
    *until = until_mono_ms;
}

void next_hop_answered(struct next_hops *hops, const struct config_route *route, unsigned server)
{
    uint64_t *until = &hops->until_mono_ms[route->index][server];

    if (*until != 0)
        log_change(route, server, "next-hop-answers");
    *until = 0;
}
