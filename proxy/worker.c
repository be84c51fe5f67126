/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: wires the layers together and turns the loop. A turn: libev brings events; then
 * timers and the run queue until both are still; then output is written; then it sleeps until the
 * next timer. */
#include "proxy/worker_internal.h"

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "proxy/authorization/ask.h"
#include "proxy/authorization/authenticate.h"
#include "proxy/authorization/denials.h"
#include "proxy/authorization/peer.h"
#include "proxy/authorization/peer_route.h"
#include "proxy/authorization/tag.h"
#include "proxy/config.h"
#include "proxy/delivery/delivery.h"
#include "proxy/delivery/endpoint.h"
#include "proxy/net/connection.h"
#include "proxy/net/net.h"
#include "proxy/ocsp_desk.h"
#include "proxy/registrar/registrar.h"
#include "proxy/request/request_layer.h"

#include <unistd.h>

/* How long requests under way may take to finish once a stop was asked for. */
#define DRAIN_MS 2000
/* The figures that the control socket shows are renewed so often. */
#define FIGURES_MS 250

/* ---- the loop's turn ---- */

static void read_clock(struct worker *worker)
{
    worker->base.now_mono_ms = clock_mono_ms();
    worker->base.now_unix_s = clock_unix_s();
}

static void on_turn_begin(struct ev_loop *loop, ev_check *watcher, int events)
{
    (void)loop;
    (void)events;
    read_clock(watcher->data);
}

static void arm_sleep(struct worker *worker)
{
    uint64_t due = timers_next_mono_ms(&worker->base.timers), now = clock_mono_ms();

    ev_timer_stop(worker->base.loop, &worker->sleep);
    if (due == UINT64_MAX)
        return;
    ev_now_update(worker->base.loop);
    ev_timer_set(&worker->sleep, due > now ? (double)(due - now) / 1000.0 : 0.0, 0.0);
    ev_timer_start(worker->base.loop, &worker->sleep);
}

static void finish_turn(struct worker *worker)
{
    do {
        read_clock(worker);
        timers_run(&worker->base.timers, worker->base.now_mono_ms);
        run_queue_drain(&worker->base.run_queue);
    } while (net_flush(worker->net));
    if (worker->stopping && request_layer_is_idle(worker->requests))
        ev_break(worker->base.loop, EVBREAK_ALL);
    arm_sleep(worker);
}

static void on_turn_end(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    (void)loop;
    (void)events;
    finish_turn(watcher->data);
}

static void on_sleep_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop; /* the timers run at the end of the turn */
    (void)watcher;
    (void)events;
}

static void stop(struct worker *worker);

static void on_mail(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct worker *worker = watcher->data;

    (void)loop;
    (void)events;
    worker_take_news(worker);
    delivery_read_box(worker->delivery);
    if (atomic_load(&worker->stop_wanted))
        stop(worker);
}

/* From the sender's thread. */
static void wake(void *owner)
{
    struct worker *worker = owner;

    ev_async_send(worker->base.loop, &worker->mail);
}

/* ---- connections ---- */

/* What the handshake showed, as one number: two connections with one certificate are one sender of
 * transactions. */
static uint64_t certificate_hash(const struct peer_identity *identity)
{
    uint64_t parts[2 + PEER_NAMES_MAX];
    size_t count = 0;

    parts[count++] = hash_bytes(identity->store, strlen(identity->store));
    parts[count++] = hash_bytes(identity->cn, identity->cn_size);
    for (size_t i = 0; i < identity->name_count && i < PEER_NAMES_MAX; i++)
        parts[count++] = hash_bytes(identity->names[i].text, identity->names[i].size);
    return hash_bytes(parts, count * sizeof(parts[0])) | 1;
}

/* Who shows no certificate is nobody's twin: each connection is a sender of its own. */
static uint64_t connection_hash(struct flow flow)
{
    uint64_t parts[] = { flow.worker, flow.slot, flow.generation };

    return hash_bytes(parts, sizeof(parts)) | 1;
}

static enum error open_peer(struct worker *worker, struct connection *c, struct endpoint *endpoint)
{
    const struct config_route *route = connection_route(c);
    struct peer_identity *identity;
    enum error error;

    if (!route && connection_transport(c) == TRANSPORT_TLS) {
        identity = connection_take_identity(c);
        if (!identity) {
            endpoint->certificate = connection_hash(endpoint->flow);
            return peer_open_without_certificate(worker->peers, endpoint, &endpoint->peer);
        }
        endpoint->certificate = certificate_hash(identity);
        error = peer_open_device(worker->peers, identity, endpoint, &endpoint->peer);
        if (error != ERROR_NONE)
            return error;
        peer_trust(endpoint->peer, config_trusted_peer_of(worker->config, identity));
        error = peer_count_as_routes(endpoint->peer, worker->base.config, worker->config);
        if (error != ERROR_NONE)
            return error;
        peer_look_now(endpoint->peer); /* a request may come with this very read */
        return ERROR_NONE;
    }
    if (!route)
        return ERROR_NONE; /* a stranger on the routes' listener: everything of it gets 403 */
    if (connection_transport(c) == TRANSPORT_TLS)
        error = peer_open_server(worker->peers, route, connection_take_identity(c), endpoint,
                                 &endpoint->peer);
    else
        error = peer_open_route(worker->peers, route->name, route->inbound, route->may_assert,
                                route->may_assert_count, endpoint, &endpoint->peer);
    if (error != ERROR_NONE)
        return error;
    endpoint->device = endpoint->peer->device;
    endpoint->certificate = endpoint->device;
    peer_look_now(endpoint->peer); /* over TLS */
    return ERROR_NONE;
}

static void on_opened(void *owner, struct connection *c)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = mem_zero(1, sizeof(*endpoint));

    if (!endpoint) {
        connection_close(c, END_MEMORY);
        return;
    }
    endpoint->connection = c;
    endpoint->flow = connection_flow(c);
    connection_set_peer(c, endpoint);
    if (open_peer(worker, c, endpoint) != ERROR_NONE) {
        connection_close(c, END_MEMORY);
        return;
    }
    if (endpoint->peer)
        endpoint->peer->source = *connection_remote(c);
    if (connection_is_outbound(c) && endpoint->peer->condition == PEER_HELD)
        request_layer_connected(worker->requests, endpoint->flow, true);
}

static void on_message(void *owner, struct connection *c, struct slice bytes)
{
    request_layer_message(((struct worker *)owner)->requests, c, bytes);
}

static void on_malformed(void *owner, struct connection *c, struct slice bytes,
                         enum framing_fault fault)
{
    request_layer_malformed(((struct worker *)owner)->requests, c, bytes, fault);
}

static void on_closed(void *owner, struct connection *c, enum connection_end end)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = connection_peer(c);

    (void)end; /* net has logged it */
    if (!endpoint)
        return;
    connection_set_peer(c, NULL);
    endpoint->closed = true;
    if (worker->requests && connection_is_outbound(c))
        request_layer_connected(worker->requests, endpoint->flow, false);
    if (worker->requests)
        request_layer_endpoint_gone(worker->requests, endpoint);
    registrar_endpoint_gone(worker->registrar, endpoint);
    delivery_endpoint_gone(worker->delivery, endpoint);
    if (endpoint->peer) {
        uint64_t device;

        for (size_t i = 0; endpoint->peer->kind != PEER_ROUTE &&
                           (device = peer_device_at(endpoint->peer, i)) != 0;
             i++)
            delivery_flow_closed(worker->delivery, device, endpoint->flow);
        peer_close(endpoint->peer);
    }
    mem_free(endpoint);
}

/* As if it had lost everything: what waits or rings for it ends, then the connection. */
static void on_revoked(void *owner, struct connection *c, enum connection_end why)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = connection_peer(c);
    struct log_line line;

    log_begin(&line, LOG_NOTICE, connection_end_text(why));
    connection_log(&line, c);
    if (endpoint && endpoint->peer)
        log_text(&line, "device", slice_of(endpoint->peer->key));
    log_end(&line);
    if (endpoint) {
        request_layer_endpoint_lost(worker->requests, endpoint);
        endpoint->closed = true;
    }
    connection_close_after_flush(c, why);
}

static void on_failed(void *owner, struct connection *c, enum connection_end end)
{
    struct worker *worker = owner;

    (void)end;
    if (worker->requests)
        request_layer_connected(worker->requests, connection_flow(c), false);
}

static bool on_ask_status(void *owner, struct status_wish *wish)
{
    return ocsp_desk_wish(((struct worker *)owner)->shared->desk, wish);
}

/* ---- peers ---- */

static void on_peer_evaluated(void *owner, struct peer *peer)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = peer->owner;

    if (peer->kind == PEER_ROUTE) {
        request_layer_connected(worker->requests, endpoint->flow, true);
        return;
    }
    endpoint->device = peer->device;
    delivery_flow_opened(worker->delivery, endpoint->device, endpoint->flow);
}

static void on_peer_proved(void *owner, struct peer *peer, uint64_t device)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = peer->owner;

    connection_recognise(endpoint->connection);
    delivery_flow_opened(worker->delivery, device, endpoint->flow);
}

static void on_peer_unproved(void *owner, struct peer *peer, uint64_t device)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = peer->owner;

    delivery_flow_closed(worker->delivery, device, endpoint->flow);
}

static void on_peer_lost(void *owner, struct peer *peer)
{
    struct worker *worker = owner;
    struct endpoint *endpoint = peer->owner;
    struct log_line line;

    log_begin(&line, LOG_NOTICE, "permission-lost");
    log_text(&line, "device", slice_of(peer->key));
    log_word(&line, "peer", connection_remote_text(endpoint->connection));
    log_end(&line);
    request_layer_endpoint_lost(worker->requests, endpoint);
    endpoint->closed = true;
    connection_close_after_flush(endpoint->connection, END_BY_US);
}

/* ---- changes ---- */

static void run_changes(struct task *task)
{
    struct worker *worker = (struct worker *)((char *)task - offsetof(struct worker, change_task));
    unsigned count = worker->change_count;
    uint64_t tags[CHANGES_MAX];

    memcpy(tags, worker->changes, count * sizeof(tags[0]));
    worker->change_count = 0;
    for (unsigned i = 0; i < count && worker->requests; i++)
        request_layer_changed(worker->requests, tags[i]);
}

static void on_changed(void *owner, uint64_t tag)
{
    struct worker *worker = owner;

    registrar_changed(worker->registrar, tag);
    peers_changed(worker->peers, tag);
    if (worker->change_count == CHANGES_MAX) {
        worker->changes[0] = TAG_ALL;
        worker->change_count = 1;
    } else {
        worker->changes[worker->change_count++] = tag;
    }
    run_queue_add(&worker->base.run_queue, &worker->change_task);
}

static void on_link(void *owner, enum ask_state state)
{
    struct worker *worker = owner;

    atomic_store_explicit(&worker->counters.link, (unsigned)state, memory_order_relaxed);
}

static void on_figures(struct timer *timer)
{
    struct worker *worker = (struct worker *)((char *)timer - offsetof(struct worker, figures));
    struct ask_status status;

    ask_get_status(worker->ask, &status);
    atomic_store_explicit(&worker->counters.link, (unsigned)status.state, memory_order_relaxed);
    atomic_store_explicit(&worker->counters.mapperd_age_known, status.age_known,
                          memory_order_relaxed);
    atomic_store_explicit(&worker->counters.mapperd_age_ms, status.age_ms, memory_order_relaxed);
    atomic_store_explicit(&worker->counters.cached, status.cached + status.cached_unknown,
                          memory_order_relaxed);
    atomic_store_explicit(&worker->counters.lookups_waiting, status.lookups, memory_order_relaxed);
    net_status_retry(worker->net);
    request_layer_look_at_windows(worker->requests);
    if (timer_start(&worker->base.timers, timer, worker->base.now_mono_ms + FIGURES_MS) !=
        ERROR_NONE)
        log_write(LOG_WARNING, "figures-stopped", "out of memory");
}

/* ---- letters ---- */

static void on_not_sent(void *owner, const char *branch, enum delivery_outcome outcome,
                        struct flow flow)
{
    request_layer_not_sent(((struct worker *)owner)->requests, branch, outcome, flow);
}

static void on_response(void *owner, struct slice bytes, uint64_t device)
{
    request_layer_response(((struct worker *)owner)->requests, bytes, device);
}

static void on_removed(void *owner, uint64_t tag)
{
    registrar_changed(((struct worker *)owner)->registrar, tag);
}

/* By a phone of this worker: all workers are to know. */
static void on_bindings_removed(void *owner, uint64_t tag)
{
    struct worker *worker = owner;

    registrar_changed(worker->registrar, tag);
    delivery_tell_removed(worker->delivery, tag);
}

static void on_cancel(void *owner, struct letter *letter)
{
    request_layer_cancel(((struct worker *)owner)->requests, letter);
}

static void on_drained(struct timer *timer)
{
    struct worker *worker = (struct worker *)((char *)timer - offsetof(struct worker, drain));

    ev_break(worker->base.loop, EVBREAK_ALL);
}

static void stop(struct worker *worker)
{
    if (worker->stopping)
        return;
    worker->stopping = true;
    net_stop_listening(worker->net);
    request_layer_stop(worker->requests);
    if (timer_start(&worker->base.timers, &worker->drain, worker->base.now_mono_ms + DRAIN_MS) !=
        ERROR_NONE)
        ev_break(worker->base.loop, EVBREAK_ALL);
}

/* ---- making and ending ---- */

static void init_watchers(struct worker *worker)
{
    ev_init(&worker->sleep, on_sleep_over);
    ev_prepare_init(&worker->turn_end, on_turn_end);
    ev_check_init(&worker->turn_begin, on_turn_begin);
    ev_set_priority(&worker->turn_begin, EV_MAXPRI);
    ev_async_init(&worker->mail, on_mail);
    worker->turn_end.data = worker->turn_begin.data = worker->mail.data = worker;
    ev_prepare_start(worker->base.loop, &worker->turn_end);
    ev_check_start(worker->base.loop, &worker->turn_begin);
    ev_async_start(worker->base.loop, &worker->mail);
}

static enum error make_net(struct worker *worker, const int *listening)
{
    const struct config *config = worker->base.config;
    const struct net_user user = { worker,     on_opened, on_message, on_malformed,
                                   on_revoked, on_closed, on_failed,  on_ask_status };
    enum error error = net_create(&worker->base, &user, &worker->net);

    for (size_t i = 0; i < config->listener_count; i++) {
        if (error == ERROR_NONE)
            error = net_listen(worker->net, &config->listeners[i], listening[i]);
        else
            close(listening[i]);
    }
    return error;
}

static enum error make_authorization(struct worker *worker)
{
    const struct config *config = worker->base.config;
    const struct ask_options options = { config->mapperd_socket, config->bounds.cache_entries };
    const struct ask_user user = { worker, on_changed, on_link };
    const struct peers_user peers_user = { .owner = worker,
                                           .evaluated = on_peer_evaluated,
                                           .lost = on_peer_lost,
                                           .proved = on_peer_proved,
                                           .unproved = on_peer_unproved };
    const struct config_passwords *passwords = &config->passwords;
    enum error error = ask_new(&worker->base, &options, &user, &worker->ask);

    if (error == ERROR_NONE)
        error = denials_new(&worker->base, config->mapperd_socket, &worker->base.denials);
    if (error == ERROR_NONE)
        error = password_desk_new(passwords->failures, passwords->failures_per_minute,
                                  passwords->nonce_lifetime_ms, &worker->base.desk);
    if (error == ERROR_NONE)
        error = peers_new(&worker->base, worker->ask, worker->shared->keys, &peers_user,
                          &worker->peers);
    return error;
}

static enum error make_requests(struct worker *worker)
{
    const struct registrar_user removals = { worker, on_bindings_removed };
    const struct delivery_user user = { worker, on_not_sent, on_response, on_cancel, on_removed };
    struct request_layer_parts parts = {
        .base = &worker->base,
        .net = worker->net,
        .ask = worker->ask,
        .keys = worker->shared->keys,
        .parked_total = &worker->shared->parked_total,
    };

    worker->delivery =
        delivery_new(&worker->base, worker->net, worker->ask, worker->shared->office, &user);
    worker->registrar = registrar_new(&worker->base, worker->net, worker->ask, &removals);
    if (!worker->delivery || !worker->registrar)
        return ERROR_MEMORY;
    parts.delivery = worker->delivery;
    parts.registrar = worker->registrar;
    worker->requests = request_layer_new(&parts);
    return worker->requests ? ERROR_NONE : ERROR_MEMORY;
}

static void init_base(struct worker *worker, unsigned index)
{
    worker->base = (struct worker_base){
        .index = index,
        .workers = worker->shared->config->workers,
        .proxy_epoch = worker->shared->proxy_epoch,
        .config = worker->shared->config,
        .counters = &worker->counters,
        .call_rates = worker->shared->call_rates,
    };
    timers_init(&worker->base.timers);
    run_queue_init(&worker->base.run_queue);
    read_clock(worker);
    worker->change_task.run = run_changes;
    worker->drain.fire = on_drained;
    worker->figures.fire = on_figures;
}

enum error worker_new(struct worker_shared *shared, unsigned index, const int *listening,
                      struct worker **out)
{
    struct worker *worker = mem_zero(1, sizeof(*worker));
    enum error error = ERROR_MEMORY;

    *out = worker;
    if (!worker)
        return ERROR_MEMORY;
    worker->shared = shared;
    worker->config = config_hold(shared->config);
    init_base(worker, index);
    worker->base.loop = ev_loop_new(EVFLAG_AUTO);
    if (!worker->base.loop)
        return ERROR_SYSTEM;
    error = queue_init(&worker->status_words, WORKER_STATUS_WORDS_MAX);
    if (error != ERROR_NONE)
        return error;
    init_watchers(worker);
    post_office_listen(shared->office, index, wake, worker);
    error = make_net(worker, listening);
    if (error == ERROR_NONE)
        error = make_authorization(worker);
    if (error == ERROR_NONE)
        error = make_requests(worker);
    if (error == ERROR_NONE)
        error = timer_start(&worker->base.timers, &worker->figures, worker->base.now_mono_ms);
    return error;
}

static void *run(void *argument)
{
    struct worker *worker = argument;

    atomic_store(&worker->counters.listening, 1);
    ev_run(worker->base.loop, 0);
    atomic_store(&worker->counters.listening, 0);
    return NULL;
}

enum error worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, run, worker) != 0)
        return ERROR_SYSTEM;
    worker->started = true;
    return ERROR_NONE;
}

/* No letter: a worker must end also when its box is full or memory is short. */
void worker_stop(struct worker *worker)
{
    atomic_store(&worker->stop_wanted, true);
    ev_async_send(worker->base.loop, &worker->mail);
}

void worker_join(struct worker *worker)
{
    if (worker->started)
        pthread_join(worker->thread, NULL);
    worker->started = false;
}

/* Requests first, without a word to anybody; then connections, whose end still tells the layers
 * that are left. */
void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    request_layer_free(worker->requests);
    worker->requests = NULL;
    if (worker->net)
        net_destroy(worker->net);
    run_queue_drain(&worker->base.run_queue);
    registrar_free(worker->registrar);
    delivery_free(worker->delivery);
    if (worker->peers)
        peers_free(worker->peers);
    if (worker->ask)
        ask_free(worker->ask);
    password_desk_free(worker->base.desk);
    denials_free(worker->base.denials);
    config_drop(worker->config);
    worker_drop_news(worker);
    timer_stop(&worker->base.timers, &worker->drain);
    timer_stop(&worker->base.timers, &worker->figures);
    timers_free(&worker->base.timers);
    if (worker->base.loop)
        ev_loop_destroy(worker->base.loop);
    mem_free(worker);
}

const struct counters *worker_counters(const struct worker *worker)
{
    return &worker->counters;
}
