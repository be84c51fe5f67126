/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a connection: a device with its certificate, a route, or a TLS peer
 * that has shown no certificate. A device is
 * asked for when its connection opens, and again when something it rests on changes: at once for
 * its own row, within 10 s for its store, `*`, a new epoch or a new subscription. Requests don't
 * wait for that: each is decided by its own lookups (enforce.h). Counted references: a request may
 * outlive the connection. One thread: the worker's.
 *
 *   ASKING    the first answer is not here: no device key yet
 *   STRANGER  it has no identity; its requests get 403, the connection stays
 *   HELD      it has identities, or names in its certificate, and is not disabled
 *   LOST      it was HELD and has nothing left, or all its users and domains were disabled: the
 *             worker closes the connection
 *   GONE      its connection is closed; no upcall any more
 *
 *   event       ASKING    STRANGER  HELD           LOST
 *   HAS         HELD      HELD      HELD           -
 *   HAS_NOT     STRANGER  STRANGER  LOST           -
 *   DISABLED    LOST      -         LOST           -
 *   FAILED      ASKING    STRANGER  HELD           -      asked again after 1 s
 *   CLOSED      GONE      GONE      GONE           GONE
 *
 * A route on TCP is HELD at once and for good. One over TLS is ASKING until it is known that no
 * certificate that its server was verified by is blocked, nor the server's CN or the store
 * disabled; it becomes LOST (DISABLED) when one is, HELD (HAS) else, whatever rows there are. Who
 * has shown no certificate is a STRANGER at once: no store, no CN, no entries, no device key;
 * nothing is asked about it. It HAS once it has proved a password (proved.h), and HAS_NOT when none
 * of these is left; each of its users is a device of its own then. Or it is admitted as a stranger:
 * a device for as long as its connection lasts. */
#ifndef HOLDLINE_AUTHORIZATION_PEER_H
#define HOLDLINE_AUTHORIZATION_PEER_H

#include "proxy/authorization/ask.h"
#include "proxy/authorization/device_key.h"
#include "proxy/authorization/dialog_token.h"
#include "proxy/net/address.h"
#include "proxy/tls/peer_identity.h"

/* Identities whose users and domains are followed; a device with more is never LOST by DISABLED,
 * its requests are refused all the same. */
#define PEER_FOLLOWED_MAX 32
/* Re-evaluations that concern many peers are spread over so long. */
#define PEERS_SPREAD_MS 10000

enum peer_condition { PEER_ASKING = 1, PEER_STRANGER, PEER_HELD, PEER_LOST, PEER_GONE };
enum peer_kind { PEER_NOBODY = 0, PEER_DEVICE, PEER_ROUTE, PEER_WITHOUT_CERTIFICATE };

/* Read only for all but peer.c and peer_follow.c. */
struct peer {
    enum peer_kind kind;
    enum peer_condition condition;
    void *owner; /* the worker's connection; not to be used when GONE */
    /* The device key, known from the first evaluation on (never changes); empty before. */
    char key[DEVICE_KEY_MAX + 1];
    uint64_t device;                          /* token_keys_device_hash() of it; 0 before */
    struct peer_identity *certificate;        /* of a device; owned */
    struct peer_identity *server_certificate; /* of a route over TLS; owned */
    const struct config_route *server;        /* the same: whom its server has proved to be */
    struct address source; /* where its connection comes from; AF_UNSPEC: not known */
    /* Of a device, the configuration's newest word on it; NULL: it is none. See peer_trust(). */
    const struct config_trusted_peer *trusted;
    struct peer_route *routes; /* of a device: see peer_route.h; owned */
    size_t route_count;
    bool inbound;                      /* of a route: may begin requests */
    const struct identity *may_assert; /* of a route; the configuration's */
    size_t may_assert_count;
    /* theirs alone: */
    struct peers *peers;
    bool store_takes_mappings; /* as the rules of its store have it */
    unsigned references;
    struct answer *answer; /* newest that held when it came; NULL before, and of a route */
    uint64_t tag_peer, tag_store;
    struct lookup_waiter waiter;
    struct task task;
    struct timer timer;
    struct peer_link *links; /* to the users and domains that it stands on; NULL: none */
    size_t link_count;
    bool disabled_maybe; /* one of them has changed since they were looked at */
    size_t looked_at;    /* so many of them are disabled */
    struct lookup_waiter rights;
    struct passwords *passwords; /* proved.c's; NULL until it is challenged */
    struct peer *prev, *next;
    struct peer *same_prev, *same_next; /* others with the same tag_peer */
};

/* Upcalls, from the run queue. Each may close connections and remove peers. */
struct peers_user {
    void *owner;
    void (*evaluated)(void *owner, struct peer *peer); /* the first time: the key is known now */
    /* Its entries are others than before. May be NULL. */
    void (*changed)(void *owner, struct peer *peer);
    void (*lost)(void *owner, struct peer *peer); /* nothing left */
    /* Without certificate: it is one more device from now on, or one less. At once, from inside of
     * authorize_begin() too. May be NULL. */
    void (*proved)(void *owner, struct peer *peer, uint64_t device);
    void (*unproved)(void *owner, struct peer *peer, uint64_t device);
};

struct config;
struct config_route;
struct config_trusted_peer;
struct peer_route;
struct peers;

/* `keys` and `ask` outlive it. */
enum error peers_new(struct worker_base *base, struct ask *ask, const struct token_keys *keys,
                     const struct peers_user *user, struct peers **out) MUST_CHECK;
/* All peers must have been closed and released. */
void peers_free(struct peers *peers);

/* To be called by ask_user.changed for every tag. */
void peers_changed(struct peers *peers, uint64_t tag);

/* Both give one reference, the connection's. Takes `certificate` over, also on failure. */
enum error peer_open_device(struct peers *peers, struct peer_identity *certificate, void *owner,
                            struct peer **out) MUST_CHECK;
/* The configuration trusts this device: an identity is what it says. To be called before its first
 * evaluation. `trusted` is valid until peers_trust_anew() has found another. */
void peer_trust(struct peer *peer, const struct config_trusted_peer *trusted);
/* After a reload: each peer has what `config` says from here on, also those that are GONE and still
 * held by requests. Whose standing becomes another is evaluated again. `config` must live until the
 * next call. */
void peers_trust_anew(struct peers *peers, const struct config *config);
/* Its first evaluation, now instead of from the run queue: an answer in the cache gives the device
 * key before the first request is read. evaluated() may be called from inside. */
void peer_look_now(struct peer *peer);
/* name, may_assert: the configuration's, which outlives the peer. */
enum error peer_open_route(struct peers *peers, const char *name, bool inbound,
                           const struct identity *may_assert, size_t may_assert_count, void *owner,
                           struct peer **out) MUST_CHECK;

/* A route over TLS: takes over what its server was verified by, also on failure. `route` outlives
 * the peer. */
enum error peer_open_server(struct peers *peers, const struct config_route *route,
                            struct peer_identity *certificate, void *owner,
                            struct peer **out) MUST_CHECK;

/* On a listener that lets peers in without a certificate. */
enum error peer_open_without_certificate(struct peers *peers, void *owner,
                                         struct peer **out) MUST_CHECK;

/* Tells mapperd that something of this peer was denied (denials.h). `from` empty: not known. */
void peer_report(const struct peer *peer, struct worker_base *base, struct slice from,
                 enum reason reason);

/* The connection is closed: GONE, its lookup is left, the connection's reference given back. */
void peer_close(struct peer *peer);

struct peer *peer_hold(struct peer *peer);
void peer_release(struct peer *peer); /* NULL is harmless */

/* Who has shown no certificate may send as a stranger: gives it a device key. */
void peer_admit_stranger(struct peer *peer);

/* All the devices that it is, one after the other; 0 at the end. Of routes that it is inside
 * dialogs, these too. */
uint64_t peer_device_at(const struct peer *peer, size_t index);
bool peer_is_device(const struct peer *peer, uint64_t device);

/* Whether, by its newest evaluation, it holds an entry that covers the identity. For choosing among
 * a device's connections; permission is authorize_begin()'s. */
bool peer_covers(const struct peer *peer, const struct identity *identity);

/* How many entries of its PEER answer (NULL: none) count: none where its store takes no mappings.
 */
static inline size_t peer_entry_count(const struct peer *peer, const struct answer *answer)
{
    return answer && peer->certificate && peer->certificate->takes_mappings
               ? answer->peer.entry_count
               : 0;
}

#endif
