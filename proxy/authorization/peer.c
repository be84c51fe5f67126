/* SPDX-License-Identifier: Apache-2.0 */
/* Peers of a worker: birth, evaluation, messages, death. What finds them by what they stand on is
 * in peer_follow.c. */
#include "proxy/authorization/peer.h"

#include "common/random.h"
#include "proxy/authorization/denials.h"
#include "proxy/authorization/peer_internal.h"
#include "proxy/authorization/peer_route.h"
#include "proxy/authorization/proved.h"
#include "proxy/authorization/tag.h"
#include "proxy/config.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#define FAILED_AGAIN_MS 1000

enum peer_event { PEER_EVENT_HAS, PEER_EVENT_HAS_NOT, PEER_EVENT_DISABLED, PEER_EVENT_CLOSED };

/* ---- Evaluation ---- */

static const bool allowed[][PEER_GONE + 1] = {
    [0] = { [PEER_ASKING] = true, [PEER_STRANGER] = true, [PEER_HELD] = true },
    [PEER_ASKING] = { [PEER_STRANGER] = true,
                      [PEER_HELD] = true,
                      [PEER_LOST] = true,
                      [PEER_GONE] = true },
    [PEER_STRANGER] = { [PEER_HELD] = true, [PEER_GONE] = true },
    [PEER_HELD] = { [PEER_LOST] = true, [PEER_GONE] = true },
    [PEER_LOST] = { [PEER_GONE] = true },
};

/* Alone writes the condition. */
static void peer_become(struct peer *peer, enum peer_condition condition)
{
    assert(allowed[peer->condition][condition]);
    peer->condition = condition;
}

static bool has_identity(const struct peer *peer, const struct answer *answer)
{
    switch (answer->peer.state) {
    case PEER_NONE:
    case PEER_DISABLED:
    case PEER_BLOCKED:
        return false;
    case PEER_UNKNOWN:
        return peer->kind == PEER_ROUTE || peer->trusted || peer->certificate->name_count > 0 ||
               proved_at(peer, 0);
    case PEER_KNOWN:
        return peer->kind == PEER_ROUTE || peer->trusted || proved_at(peer, 0) ||
               peer_entry_count(peer, answer) > 0 || peer->certificate->name_count > 0;
    }
    return false;
}

static bool same_entries(const struct answer *a, const struct answer *b)
{
    if (!a || a->peer.state != b->peer.state || a->peer.entry_count != b->peer.entry_count)
        return false;
    for (size_t i = 0; i < a->peer.entry_count; i++) {
        if (!slice_equal(a->peer.entries[i], b->peer.entries[i]))
            return false;
    }
    return true;
}

static void ask_later(struct peer *peer, uint64_t wait_ms)
{
    struct peers *peers = peer->peers;

    if (timer_start(&peers->base->timers, &peer->timer, peers->base->now_mono_ms + wait_ms) !=
        ERROR_NONE)
        run_queue_add(&peers->base->run_queue, &peer->task); /* without memory: at once */
}

static void learn_key(struct peer *peer, const struct answer *answer)
{
    peer_device_key(peer->certificate, answer->peer.canonical_cn, peer->key);
    peer->device = token_keys_device_hash(peer->peers->keys, slice_of(peer->key));
}

/* The row that it stands on may be another than before: its store's form of CNs may change. Without
 * memory for the table a peer is asked again every second. */
static void follow_row(struct peer *peer, const struct answer *answer)
{
    struct slice store = slice_of(peer_verified_by(peer)->store), cn = answer->peer.canonical_cn;
    uint64_t tag = cn.size ? tag_peer(store, cn) : TAG_NONE;

    if (tag == peer->tag_peer)
        return;
    peer_unindex_row(peer);
    if (tag != TAG_NONE && !peer_index_row(peer, tag))
        ask_later(peer, FAILED_AGAIN_MS);
}

static void peer_event(struct peer *peer, enum peer_event event)
{
    switch (event) {
    case PEER_EVENT_HAS:
        if (peer->condition != PEER_HELD)
            peer_become(peer, PEER_HELD);
        break;
    case PEER_EVENT_HAS_NOT:
        if (peer->condition == PEER_HELD)
            peer_become(peer, PEER_LOST);
        else if (peer->condition == PEER_ASKING)
            peer_become(peer, PEER_STRANGER);
        break;
    case PEER_EVENT_DISABLED:
        peer_become(peer, PEER_LOST);
        break;
    case PEER_EVENT_CLOSED:
        peer_become(peer, PEER_GONE);
        break;
    }
}

void peer_has_proved(struct peer *peer, bool any)
{
    bool certified = peer->kind == PEER_DEVICE;

    if (peer->condition != PEER_STRANGER && peer->condition != PEER_HELD)
        return; /* the first evaluation will count it; or it is over */
    if (any || (certified ? has_identity(peer, peer->answer) : peer->device != 0))
        peer_event(peer, PEER_EVENT_HAS);
    else
        peer_event(peer, PEER_EVENT_HAS_NOT);
    if (peer->condition == PEER_LOST)
        peer->peers->user.lost(peer->peers->user.owner, peer);
}

static void look_again(struct peer *peer)
{
    peer->disabled_maybe = true;
    ask_later(peer, FAILED_AGAIN_MS);
}

/* Looks at one identity after the other until one is not disabled. The peer may be closed when it
 * comes back. */
static void look_for_disabled(struct peer *peer)
{
    const struct peers_user *user = &peer->peers->user;
    size_t count = peer_held_count(peer);

    while (peer->looked_at < count) {
        if (!peer->rights.answer) {
            switch (lookup_rights(peer->peers->ask, &peer->rights,
                                  peer_held_at(peer, peer->looked_at))) {
            case LOOKUP_READY:
                break;
            case LOOKUP_WAITING:
                return;
            case LOOKUP_FULL:
                look_again(peer);
                return;
            }
        }
        bool disabled = peer->rights.answer->rights.rights.state == USER_DISABLED;
        lookup_leave(&peer->rights);
        if (!disabled)
            return;
        peer->looked_at++;
    }
    peer_event(peer, PEER_EVENT_DISABLED);
    user->lost(user->owner, peer);
}

static void on_rights(struct lookup_waiter *waiter)
{
    struct peer *peer = waiter->owner;

    if (!waiter->answer) {
        lookup_leave(waiter);
        look_again(peer);
        return;
    }
    peer_hold(peer);
    look_for_disabled(peer);
    peer_release(peer);
}

/* After each evaluation: the identities may be others than those that were being looked at. */
static void begin_looking(struct peer *peer)
{
    size_t count = peer_held_count(peer);

    if (lookup_waiting(&peer->rights))
        peer->disabled_maybe = true;
    lookup_leave(&peer->rights);
    if (!peer->disabled_maybe || peer->condition != PEER_HELD || count == 0 ||
        count > PEER_FOLLOWED_MAX || proved_at(peer, 0))
        return;
    peer->disabled_maybe = false;
    peer->looked_at = 0;
    look_for_disabled(peer);
}

/* Takes the new answer over and tells what follows from it. Upcalls may close the peer. */
static void evaluate(struct peer *peer, struct answer *answer)
{
    const struct peers_user *user = &peer->peers->user;
    bool first = peer->condition == PEER_ASKING;
    bool other = !same_entries(peer->answer, answer);

    if (first && peer->kind == PEER_DEVICE)
        learn_key(peer, answer);
    answer_release(peer->answer);
    peer->answer = answer_hold(answer);
    follow_row(peer, answer);
    if ((other || !peer->links) && !peer_link_all(peer))
        ask_later(peer, FAILED_AGAIN_MS);
    if (has_identity(peer, answer))
        peer_event(peer, PEER_EVENT_HAS);
    else
        peer_event(peer, peer->kind == PEER_ROUTE ? PEER_EVENT_DISABLED : PEER_EVENT_HAS_NOT);
    if (peer->condition == PEER_LOST)
        user->lost(user->owner, peer);
    else if (first)
        user->evaluated(user->owner, peer);
    else if (other && user->changed)
        user->changed(user->owner, peer);
    if (!first)
        begin_looking(peer);
}

static void on_answer(struct peer *peer)
{
    struct answer *answer = peer->waiter.answer;

    if (answer)
        answer_hold(answer);
    lookup_leave(&peer->waiter);
    if (!answer) {
        ask_later(peer, FAILED_AGAIN_MS);
        return;
    }
    peer_hold(peer);
    evaluate(peer, answer);
    answer_release(answer);
    peer_release(peer);
}

static void on_waiter(struct lookup_waiter *waiter)
{
    on_answer(waiter->owner);
}

/* From the run queue, so that upcalls never come from inside a call into here. */
static void evaluate_again(struct task *task)
{
    struct peer *peer = (struct peer *)((char *)task - offsetof(struct peer, task));
    const struct peer_identity *certificate = peer_verified_by(peer);
    struct slice cn = { certificate->cn, certificate->cn_size };

    timer_stop(&peer->peers->base->timers, &peer->timer);
    if (lookup_waiting(&peer->waiter)) /* what comes holds when it comes */
        return;
    switch (lookup_peer(peer->peers->ask, &peer->waiter, slice_of(certificate->store),
                        certificate->chain, cn)) {
    case LOOKUP_READY:
        on_answer(peer);
        break;
    case LOOKUP_WAITING:
        break;
    case LOOKUP_FULL:
        ask_later(peer, FAILED_AGAIN_MS);
        break;
    }
}

static void on_timer(struct timer *timer)
{
    struct peer *peer = (struct peer *)((char *)timer - offsetof(struct peer, timer));

    run_queue_add(&peer->peers->base->run_queue, &peer->task);
}

/* ---- Messages ---- */

static bool is_followed(const struct peer *peer)
{
    return peer_verified_by(peer) && peer->condition != PEER_LOST;
}

/* At some moment within the next 10 s, unless it is about to be asked for anyhow. */
static void ask_soon(struct peer *peer)
{
    if (!task_queued(&peer->task) && !timer_active(&peer->timer) && peer->waiter.lookup == NULL)
        ask_later(peer, random_u64() % PEERS_SPREAD_MS);
}

static void spread(struct peers *peers, uint64_t tag)
{
    struct peer *peer;

    DL_FOREACH(peers->all, peer)
    {
        if (tag == TAG_ALL)
            passwords_changed(peer, true);
        if (!is_followed(peer) || (tag != TAG_ALL && peer->tag_store != tag))
            continue;
        peer->disabled_maybe |= tag == TAG_ALL;
        ask_soon(peer);
    }
}

/* Their own user is looked at at once, a domain of many by and by. */
static void follow_links(struct peers *peers, const struct peer_tag *found)
{
    struct peer_link *link;

    DL_FOREACH(found->links, link)
    {
        if (link->proved) {
            passwords_changed(link->peer, link->many);
            continue;
        }
        if (!is_followed(link->peer))
            continue;
        link->peer->disabled_maybe = true;
        if (link->many)
            ask_soon(link->peer);
        else
            run_queue_add(&peers->base->run_queue, &link->peer->task);
    }
}

void peers_changed(struct peers *peers, uint64_t tag)
{
    struct peer_tag *found = peer_tag_find(peers, tag);
    struct peer *peer;

    if (tag == TAG_ALL || (found && found->of_store))
        spread(peers, tag);
    if (!found)
        return;
    DL_FOREACH2(found->peers, peer, same_next)
    {
        if (is_followed(peer))
            run_queue_add(&peers->base->run_queue, &peer->task);
    }
    follow_links(peers, found);
}

/* ---- Birth and death ---- */

enum error peers_new(struct worker_base *base, struct ask *ask, const struct token_keys *keys,
                     const struct peers_user *user, struct peers **out)
{
    *out = mem_zero(1, sizeof **out);
    if (!*out)
        return ERROR_MEMORY;
    **out = (struct peers){ .base = base, .ask = ask, .keys = keys, .user = *user };
    return ERROR_NONE;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    assert(!peers->all && !peers->gone && !peers->by_tag);
    mem_free(peers);
}

static struct peer *make_peer(struct peers *peers, enum peer_kind kind, void *owner)
{
    struct peer *peer = mem_zero(1, sizeof *peer);

    if (!peer)
        return NULL;
    peer->kind = kind;
    peer->owner = owner;
    peer->peers = peers;
    peer->references = 1;
    peer->task.run = evaluate_again;
    peer->timer.fire = on_timer;
    peer->waiter.done = on_waiter;
    peer->waiter.owner = peer;
    peer->rights.done = on_rights;
    peer->rights.owner = peer;
    return peer;
}

enum error peer_open_device(struct peers *peers, struct peer_identity *certificate, void *owner,
                            struct peer **out)
{
    struct peer *peer = make_peer(peers, PEER_DEVICE, owner);

    *out = NULL;
    if (!peer || !peer_index_store(peer, tag_store(slice_of(certificate->store)))) {
        mem_free(peer);
        peer_identity_free(certificate);
        return ERROR_MEMORY;
    }
    peer->certificate = certificate;
    peer->store_takes_mappings = certificate->takes_mappings;
    peer_become(peer, PEER_ASKING);
    DL_APPEND(peers->all, peer);
    run_queue_add(&peers->base->run_queue, &peer->task);
    *out = peer;
    return ERROR_NONE;
}

/* Where the whole store is trusted, the database has no say. */
static void set_trusted(struct peer *peer, const struct config_trusted_peer *trusted)
{
    peer->trusted = trusted;
    peer->certificate->takes_mappings =
        peer->store_takes_mappings && (!trusted || trusted->cn[0] || trusted->san.size);
}

void peer_trust(struct peer *peer, const struct config_trusted_peer *trusted)
{
    assert(peer->condition == PEER_ASKING);
    set_trusted(peer, trusted);
}

static void trust_anew(struct peer *peer, const struct config *config)
{
    bool was_trusted = peer->trusted != NULL, took_mappings;

    if (peer->kind != PEER_DEVICE)
        return;
    took_mappings = peer->certificate->takes_mappings;
    set_trusted(peer, config_trusted_peer_of(config, peer->certificate));
    if (is_followed(peer) && peer->condition != PEER_GONE &&
        (was_trusted != (peer->trusted != NULL) ||
         took_mappings != peer->certificate->takes_mappings))
        run_queue_add(&peer->peers->base->run_queue, &peer->task);
}

void peers_trust_anew(struct peers *peers, const struct config *config)
{
    struct peer *peer;

    DL_FOREACH(peers->all, peer)
    trust_anew(peer, config);
    DL_FOREACH(peers->gone, peer)
    trust_anew(peer, config);
}

void peer_look_now(struct peer *peer)
{
    if (!task_queued(&peer->task))
        return;
    run_queue_remove(&peer->peers->base->run_queue, &peer->task);
    evaluate_again(&peer->task);
}

static struct peer *make_route(struct peers *peers, const char *name, void *owner)
{
    struct peer *peer = make_peer(peers, PEER_ROUTE, owner);

    if (!peer)
        return NULL;
    snprintf(peer->key, sizeof peer->key, "route:%s", name);
    peer->device = token_keys_device_hash(peers->keys, slice_of(peer->key));
    return peer;
}

enum error peer_open_route(struct peers *peers, const char *name, bool inbound,
                           const struct identity *may_assert, size_t may_assert_count, void *owner,
                           struct peer **out)
{
    struct peer *peer = make_route(peers, name, owner);

    *out = peer;
    if (!peer)
        return ERROR_MEMORY;
    peer->inbound = inbound;
    peer->may_assert = may_assert;
    peer->may_assert_count = may_assert_count;
    peer_become(peer, PEER_HELD);
    DL_APPEND(peers->all, peer);
    return ERROR_NONE;
}

enum error peer_open_server(struct peers *peers, const struct config_route *route,
                            struct peer_identity *certificate, void *owner, struct peer **out)
{
    struct peer *peer = make_route(peers, route->name, owner);

    *out = NULL;
    if (!peer || !peer_index_store(peer, tag_store(slice_of(certificate->store)))) {
        mem_free(peer);
        peer_identity_free(certificate);
        return ERROR_MEMORY;
    }
    peer->inbound = route->inbound;
    peer->may_assert = route->may_assert;
    peer->may_assert_count = route->may_assert_count;
    peer->server = route;
    peer->server_certificate = certificate;
    peer_become(peer, PEER_ASKING);
    DL_APPEND(peers->all, peer);
    run_queue_add(&peers->base->run_queue, &peer->task);
    *out = peer;
    return ERROR_NONE;
}

enum error peer_open_without_certificate(struct peers *peers, void *owner, struct peer **out)
{
    struct peer *peer = make_peer(peers, PEER_WITHOUT_CERTIFICATE, owner);

    *out = peer;
    if (!peer)
        return ERROR_MEMORY;
    peer_become(peer, PEER_STRANGER);
    DL_APPEND(peers->all, peer);
    return ERROR_NONE;
}

void peer_admit_stranger(struct peer *peer)
{
    struct peers *peers = peer->peers;

    if (peer->kind != PEER_WITHOUT_CERTIFICATE || peer->device ||
        (peer->condition != PEER_STRANGER && peer->condition != PEER_HELD))
        return;
    snprintf(peer->key, sizeof peer->key, "connection:%016" PRIx64 "%016" PRIx64, random_u64(),
             random_u64());
    peer->device = token_keys_device_hash(peers->keys, slice_of(peer->key));
    peer_event(peer, PEER_EVENT_HAS);
    peers->user.evaluated(peers->user.owner, peer);
}

uint64_t peer_device_at(const struct peer *peer, size_t index)
{
    size_t first = peer->device != 0;

    if (index < first)
        return peer->device;
    if (index - first < peer->route_count)
        return peer->routes[index - first].device;
    return proved_device_at(peer, index - first - peer->route_count);
}

bool peer_is_device(const struct peer *peer, uint64_t device)
{
    return device && (peer->device == device || peer_route_of_device(peer, device) ||
                      proved_find_device(peer, device));
}

void peer_close(struct peer *peer)
{
    struct peers *peers = peer->peers;

    peer_event(peer, PEER_EVENT_CLOSED);
    lookup_leave(&peer->waiter);
    lookup_leave(&peer->rights);
    peer_unlink_all(peer);
    passwords_close(peer);
    run_queue_remove(&peers->base->run_queue, &peer->task);
    timer_stop(&peers->base->timers, &peer->timer);
    peer_unindex_row(peer);
    if (peer_verified_by(peer))
        peer_unindex_store(peer);
    DL_DELETE(peers->all, peer);
    DL_APPEND(peers->gone, peer);
    peer->owner = NULL;
    peer_release(peer);
}

struct peer *peer_hold(struct peer *peer)
{
    peer->references++;
    return peer;
}

void peer_release(struct peer *peer)
{
    if (!peer || --peer->references > 0)
        return;
    assert(peer->condition == PEER_GONE);
    DL_DELETE(peer->peers->gone, peer);
    answer_release(peer->answer);
    peer_identity_free(peer->certificate);
    peer_identity_free(peer->server_certificate);
    mem_free(peer->routes);
    passwords_free(peer);
    mem_free(peer);
}

bool peer_covers(const struct peer *peer, const struct identity *identity)
{
    if (peer->condition != PEER_HELD)
        return false;
    if (proved_has(peer, identity))
        return true;
    for (size_t i = 0; i < peer->may_assert_count; i++) {
        if (identity_covered_by(identity, identity_text(&peer->may_assert[i])))
            return true;
    }
    for (size_t i = 0; i < peer_entry_count(peer, peer->answer); i++) {
        if (identity_covered_by(identity, peer->answer->peer.entries[i]))
            return true;
    }
    for (size_t i = 0; peer->certificate && i < peer->certificate->name_count; i++) {
        if (identity_covered_by(identity, identity_text(&peer->certificate->names[i])))
            return true;
    }
    return false;
}

void peer_report(const struct peer *peer, struct worker_base *base, struct slice from,
                 enum reason reason)
{
    char address[ADDRESS_TEXT_MAX] = "";
    const struct peer_identity *certificate = peer->certificate;
    struct denial denial = { .store = SLICE(""), .cn = SLICE(""), .from = from, .reason = reason };

    if (certificate) {
        denial.store = slice_of(certificate->store);
        denial.cn = (struct slice){ certificate->cn, certificate->cn_size };
    }
    if (peer->source.family != AF_UNSPEC)
        address_host_text(&peer->source, address);
    denial.address = slice_of(address);
    denials_add(base->denials, &denial);
}
