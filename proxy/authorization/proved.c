/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/proved.h"

#include "common/random.h"
#include "proxy/authorization/peer_internal.h"
#include "proxy/authorization/tag.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#define FAILED_AGAIN_MS 1000

struct proved_user {
    struct identity identity;
    uint64_t device; /* keyed hash of its device key; 0: the certificate's counts */
    enum digest_algorithm algorithm;
    uint64_t fingerprint; /* keyed hash of the HA1 that was proved */
    struct peer_link links[2];
};

struct passwords {
    struct peer *peer;
    struct nonces nonces;
    struct proved_user *users[PROVED_MAX];
    size_t count;
    /* Looking again, one user after the other: */
    size_t at;
    bool again; /* something changed since the first of them was looked at */
    struct lookup_waiter waiter;
    struct task task;
    struct timer timer;
};

static void look_again(struct task *task);

/* ---- Nonces ---- */

static void on_timer(struct timer *timer)
{
    struct passwords *p = (struct passwords *)((char *)timer - offsetof(struct passwords, timer));

    run_queue_add(&p->peer->peers->base->run_queue, &p->task);
}

static void on_credential(struct lookup_waiter *waiter)
{
    struct passwords *p = waiter->owner;

    run_queue_add(&p->peer->peers->base->run_queue, &p->task);
}

struct nonces *peer_nonces(struct peer *peer)
{
    struct passwords *p = peer->passwords;

    if (p || peer->condition == PEER_GONE)
        return p ? &p->nonces : NULL;
    p = mem_zero(1, sizeof(*p));
    if (!p)
        return NULL;
    p->peer = peer;
    p->nonces.connection = ++peer->peers->passwords_made;
    p->task.run = look_again;
    p->timer.fire = on_timer;
    p->waiter.done = on_credential;
    p->waiter.owner = p;
    peer->passwords = p;
    return &p->nonces;
}

/* ---- Users ---- */

void proved_device_key(const struct identity *user, char out[DEVICE_KEY_MAX + 1])
{
    snprintf(out, DEVICE_KEY_MAX + 1, "digest:%s", user->text);
}

static uint64_t fingerprint_of(struct slice ha1)
{
    return hash_bytes(ha1.data, ha1.size);
}

static void unlink_user(struct peers *peers, struct proved_user *user)
{
    for (size_t i = 0; i < 2; i++) {
        struct peer_tag *tag = peer_tag_find(peers, user->links[i].tag);

        if (!user->links[i].peer)
            continue;
        DL_DELETE(tag->links, &user->links[i]);
        peer_tag_put(peers, tag);
    }
}

static bool link_user(struct peer *peer, struct proved_user *user)
{
    const uint64_t tags[2] = { tag_user(identity_text(&user->identity)),
                               tag_domain(identity_domain(&user->identity)) };

    for (size_t i = 0; i < 2; i++) {
        struct peer_tag *tag = peer_tag_get(peer->peers, tags[i]);

        if (!tag) {
            unlink_user(peer->peers, user);
            return false;
        }
        user->links[i] =
            (struct peer_link){ .peer = peer, .tag = tags[i], .many = i == 1, .proved = true };
        DL_APPEND(tag->links, &user->links[i]);
    }
    return true;
}

static struct proved_user *find(const struct peer *peer, const struct identity *user)
{
    const struct passwords *p = peer->passwords;

    for (size_t i = 0; p && i < p->count; i++)
        if (slice_equal(identity_text(&p->users[i]->identity), identity_text(user)))
            return p->users[i];
    return NULL;
}

static void remove_at(struct passwords *p, size_t index)
{
    struct proved_user *user = p->users[index];
    const struct peers_user *upcalls = &p->peer->peers->user;

    unlink_user(p->peer->peers, user);
    p->users[index] = p->users[--p->count];
    if (user->device && upcalls->unproved)
        upcalls->unproved(upcalls->owner, p->peer, user->device);
    mem_free(user);
}

static struct proved_user *make_user(struct peer *peer, const struct identity *identity)
{
    struct proved_user *user = mem_zero(1, sizeof(*user));
    char key[DEVICE_KEY_MAX + 1];

    if (!user)
        return NULL;
    user->identity = *identity;
    if (peer->kind == PEER_WITHOUT_CERTIFICATE) {
        proved_device_key(identity, key);
        user->device = token_keys_device_hash(peer->peers->keys, slice_of(key));
    }
    if (link_user(peer, user))
        return user;
    mem_free(user);
    return NULL;
}

enum error proved_add(struct peer *peer, const struct identity *identity,
                      enum digest_algorithm algorithm, struct slice ha1)
{
    struct passwords *p = peer->passwords;
    struct proved_user *user = find(peer, identity);
    const struct peers_user *upcalls = &peer->peers->user;
    bool is_new = !user;

    if (!p || peer->condition == PEER_GONE || peer->condition == PEER_LOST)
        return ERROR_CLOSED;
    if (is_new && p->count == PROVED_MAX)
        return ERROR_TOO_LARGE;
    if (is_new)
        user = make_user(peer, identity);
    if (!user)
        return ERROR_MEMORY;
    user->algorithm = algorithm;
    user->fingerprint = fingerprint_of(ha1);
    if (!is_new)
        return ERROR_NONE;
    p->users[p->count++] = user;
    peer_has_proved(peer, true);
    if (user->device && upcalls->proved)
        upcalls->proved(upcalls->owner, peer, user->device);
    return ERROR_NONE;
}

bool proved_has(const struct peer *peer, const struct identity *user)
{
    return find(peer, user) != NULL;
}

uint64_t proved_device(const struct peer *peer, const struct identity *user)
{
    const struct proved_user *found = find(peer, user);

    return found ? found->device : 0;
}

const struct proved_user *proved_at(const struct peer *peer, size_t index)
{
    const struct passwords *p = peer->passwords;

    return p && index < p->count ? p->users[index] : NULL;
}

uint64_t proved_device_at(const struct peer *peer, size_t index)
{
    const struct proved_user *user = proved_at(peer, index);

    return user ? user->device : 0;
}

const struct proved_user *proved_find_device(const struct peer *peer, uint64_t device)
{
    const struct proved_user *user;

    for (size_t i = 0; device && (user = proved_at(peer, i)); i++)
        if (user->device == device)
            return user;
    return NULL;
}

const struct proved_user *proved_find_entry(const struct peer *peer, const struct token_keys *keys,
                                            uint64_t entry)
{
    const struct proved_user *user;

    for (size_t i = 0; entry && (user = proved_at(peer, i)); i++)
        if (token_keys_entry_hash(keys, identity_text(&user->identity)) == entry)
            return user;
    return NULL;
}

const struct identity *proved_identity(const struct proved_user *user)
{
    return &user->identity;
}

static struct slice ha1_of(const struct credential *row, enum digest_algorithm algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA_256:
        return row->ha1_sha256;
    case DIGEST_MD5:
        return row->ha1_md5;
    case DIGEST_ALGORITHM_NONE:
        break;
    }
    return SLICE("");
}

bool proved_holds(const struct proved_user *user, const struct answer *answer)
{
    struct credential row;

    for (size_t i = 0; answer_credential(answer, i, &row); i++) {
        struct slice ha1 = ha1_of(&row, user->algorithm);

        if (ha1.size && fingerprint_of(ha1) == user->fingerprint)
            return true;
    }
    return false;
}

/* ---- Looking again ---- */

static void look_later(struct passwords *p, uint64_t wait_ms)
{
    struct worker_base *base = p->peer->peers->base;

    if (timer_start(&base->timers, &p->timer, base->now_mono_ms + wait_ms) != ERROR_NONE)
        run_queue_add(&base->run_queue, &p->task); /* without memory: at once */
}

void passwords_changed(struct peer *peer, bool many)
{
    struct passwords *p = peer->passwords;

    if (!p || p->count == 0)
        return;
    p->again = true;
    if (task_queued(&p->task) || lookup_waiting(&p->waiter))
        return;
    if (!many)
        run_queue_add(&peer->peers->base->run_queue, &p->task);
    else if (!timer_active(&p->timer))
        look_later(p, random_u64() % PEERS_SPREAD_MS);
}

/* False: the answer is on its way, or it is looked again later. */
static bool ask_for(struct passwords *p, const struct proved_user *user)
{
    if (p->waiter.answer)
        return true;
    if (lookup_waiting(&p->waiter))
        return false;
    if (p->waiter.ask) { /* it failed */
        lookup_leave(&p->waiter);
        look_later(p, FAILED_AGAIN_MS);
        return false;
    }
    switch (lookup_credential(p->peer->peers->ask, &p->waiter, identity_text(&user->identity))) {
    case LOOKUP_READY:
        return true;
    case LOOKUP_WAITING:
        return false;
    case LOOKUP_FULL:
        break;
    }
    look_later(p, FAILED_AGAIN_MS);
    return false;
}

/* True: through with all of them. */
static bool look_at_all(struct passwords *p)
{
    while (p->at < p->count) {
        bool holds;

        if (!ask_for(p, p->users[p->at]))
            return false;
        holds = proved_holds(p->users[p->at], p->waiter.answer);
        lookup_leave(&p->waiter);
        if (holds)
            p->at++;
        else
            remove_at(p, p->at);
    }
    return true;
}

/* From the run queue. The peer may be closed by what follows from it. */
static void look_again(struct task *task)
{
    struct passwords *p = (struct passwords *)((char *)task - offsetof(struct passwords, task));
    struct peer *peer = p->peer;
    bool had = p->count > 0;

    timer_stop(&peer->peers->base->timers, &p->timer);
    if (p->at == 0)
        p->again = false;
    if (!look_at_all(p))
        return;
    p->at = 0;
    if (p->again)
        run_queue_add(&peer->peers->base->run_queue, &p->task);
    if (had && p->count == 0)
        peer_has_proved(peer, false);
}

/* ---- Death ---- */

void passwords_close(struct peer *peer)
{
    struct passwords *p = peer->passwords;

    if (!p)
        return;
    lookup_leave(&p->waiter);
    timer_stop(&peer->peers->base->timers, &p->timer);
    run_queue_remove(&peer->peers->base->run_queue, &p->task);
    for (size_t i = 0; i < p->count; i++) {
        unlink_user(peer->peers, p->users[i]);
        mem_free(p->users[i]);
    }
    p->count = 0;
}

void passwords_free(struct peer *peer)
{
    mem_free(peer->passwords);
    peer->passwords = NULL;
}
