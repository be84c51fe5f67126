/* SPDX-License-Identifier: Apache-2.0 */
/* What main hands to a worker while it runs: configuration, revocations, keys, staples, words about
 * certificates. The newest of each waits in a place of its own, so that nothing fills up; the
 * worker takes it over at its next turn. */
#include "proxy/worker_internal.h"

#include "common/mem.h"
#include "proxy/authorization/peer.h"
#include "proxy/authorization/peer_route.h"
#include "proxy/config.h"
#include "proxy/net/net.h"
#include "proxy/request/request_layer.h"
#include "proxy/tls/ocsp.h"
#include "proxy/tls/revocation.h"
#include "proxy/tls/statuses.h"
#include "proxy/tls/ticket_keys.h"

/* ---- The worker's thread ---- */

static void take_over_config(struct worker *worker, const struct config *config)
{
    if (!config)
        return;
    net_reconfigure(worker->net, config);
    peers_trust_anew(worker->peers, config);
    peers_count_as_routes_anew(worker->peers, worker->base.config, config);
    request_layer_reloaded(worker->requests);
    config_drop(worker->config);
    worker->config = config;
}

static void take_over_revoked(struct worker *worker)
{
    struct revocation_set *set = atomic_exchange(&worker->revoked, NULL);

    if (!set)
        return;
    net_set_revoked(worker->net, set);
    revocation_set_drop(set);
}

static void take_over_ticket_keys(struct worker *worker)
{
    struct ticket_keys *keys = atomic_exchange(&worker->ticket_keys, NULL);

    if (!keys)
        return;
    net_set_ticket_keys(worker->net, keys);
    ticket_keys_drop(keys);
}

static void take_over_staples(struct worker *worker)
{
    struct staples *set = atomic_exchange(&worker->staples, NULL);

    if (!set)
        return;
    net_set_staples(worker->net, set);
    staples_drop(set);
}

static void read_status_words(struct worker *worker)
{
    queue_take(&worker->status_words, &worker->status_batch);
    for (size_t i = 0; i < worker->status_batch.count; i++) {
        net_status_told(worker->net, worker->status_batch.items[i]);
        mem_free(worker->status_batch.items[i]);
    }
    worker->status_batch.count = 0;
}

static void take_over_token_keys(struct worker *worker)
{
    const struct token_keys *keys = atomic_exchange(&worker->token_keys, NULL);

    if (keys)
        request_layer_use_keys(worker->requests, keys);
}

void worker_take_news(struct worker *worker)
{
    const struct config *config;

    worker->base.edition = atomic_load(&worker->edition); /* before what it counts is taken over */
    config = atomic_exchange(&worker->reloaded, NULL);    /* its lists were handed over before it */
    take_over_revoked(worker);
    take_over_ticket_keys(worker);
    take_over_staples(worker);
    take_over_token_keys(worker);
    take_over_config(worker, config);
    read_status_words(worker);
}

static void free_status_words(struct worker *worker)
{
    queue_take(&worker->status_words, &worker->status_batch);
    for (size_t i = 0; i < worker->status_batch.count; i++)
        mem_free(worker->status_batch.items[i]);
    queue_batch_free(&worker->status_batch);
    queue_destroy(&worker->status_words);
}

void worker_drop_news(struct worker *worker)
{
    config_drop(atomic_exchange(&worker->reloaded, NULL));
    revocation_set_drop(atomic_exchange(&worker->revoked, NULL));
    ticket_keys_drop(atomic_exchange(&worker->ticket_keys, NULL));
    staples_drop(atomic_exchange(&worker->staples, NULL));
    free_status_words(worker);
}

/* ---- Main's thread ---- */

void worker_reload(struct worker *worker, const struct config *config)
{
    config_drop(atomic_exchange(&worker->reloaded, config_hold(config)));
    atomic_fetch_add(&worker->edition, 1);
    ev_async_send(worker->base.loop, &worker->mail);
}

void worker_revoke(struct worker *worker, struct revocation_set *set)
{
    revocation_set_drop(atomic_exchange(&worker->revoked, revocation_set_hold(set)));
    atomic_fetch_add(&worker->edition, 1);
    ev_async_send(worker->base.loop, &worker->mail);
}

void worker_ticket_keys(struct worker *worker, struct ticket_keys *keys)
{
    ticket_keys_drop(atomic_exchange(&worker->ticket_keys, ticket_keys_hold(keys)));
    ev_async_send(worker->base.loop, &worker->mail);
}

void worker_staple(struct worker *worker, struct staples *set)
{
    staples_drop(atomic_exchange(&worker->staples, staples_hold(set)));
    ev_async_send(worker->base.loop, &worker->mail);
}

bool worker_tell_status(struct worker *worker, const struct status_word *word)
{
    struct status_word *letter = mem_zero(1, sizeof(*letter));
    bool was_empty;

    if (!letter)
        return false;
    *letter = *word;
    if (queue_put(&worker->status_words, letter, &was_empty) != ERROR_NONE) {
        mem_free(letter);
        return false;
    }
    if (was_empty)
        ev_async_send(worker->base.loop, &worker->mail);
    return true;
}

void worker_count_edition(struct worker *worker)
{
    atomic_fetch_add(&worker->edition, 1);
    ev_async_send(worker->base.loop, &worker->mail);
}

void worker_use_keys(struct worker *worker, const struct token_keys *keys)
{
    atomic_store(&worker->token_keys, keys);
    ev_async_send(worker->base.loop, &worker->mail);
}
