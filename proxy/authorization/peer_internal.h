/* SPDX-License-Identifier: Apache-2.0 */
/* What peer.c, peer_follow.c and proved.c share: the table that finds peers by what they stand on,
 * so that a message finds its device among 10,000 at once. For one about a store all are walked. */
#ifndef HOLDLINE_AUTHORIZATION_PEER_INTERNAL_H
#define HOLDLINE_AUTHORIZATION_PEER_INTERNAL_H

#include "common/hash.h"
#include "proxy/authorization/peer.h"

/* A user or domain that one of a peer's identities stands on. */
struct peer_link {
    struct peer *peer;
    uint64_t tag;
    bool many;   /* a domain: many peers may stand on it */
    bool proved; /* of a password that was proved, see proved.h */
    struct peer_link *prev, *next;
};

/* A tag that peers stand on: their own row, their store, their users and domains. */
struct peer_tag {
    uint64_t tag;
    struct peer_link *links;
    struct peer *peers; /* whose own row it is; by same_prev, same_next */
    size_t of_store;    /* how many have it as their store's */
    UT_hash_handle hh;
};

struct peers {
    struct worker_base *base;
    struct ask *ask;
    const struct token_keys *keys;
    struct peers_user user;
    struct peer *all;  /* but those that are GONE */
    struct peer *gone; /* closed, and held by requests */
    struct peer_tag *by_tag;
    uint64_t passwords_made; /* so many connections have been challenged */
};

/* NULL without memory; put back when nothing stands on it any more. */
struct peer_tag *peer_tag_get(struct peers *peers, uint64_t value);
struct peer_tag *peer_tag_find(const struct peers *peers, uint64_t value);
void peer_tag_put(struct peers *peers, struct peer_tag *tag);

/* Into the table and out of it: its own row, its store, and the users, domains and certificates
 * that it stands on (its links). False: no memory, and nothing of it is in the table. Taking out
 * what is not there is harmless, but for a store. */
bool peer_index_row(struct peer *peer, uint64_t value) MUST_CHECK;
void peer_unindex_row(struct peer *peer);
bool peer_index_store(struct peer *peer, uint64_t value) MUST_CHECK;
void peer_unindex_store(struct peer *peer);
bool peer_link_all(struct peer *peer) MUST_CHECK;
void peer_unlink_all(struct peer *peer);

/* What it was verified by; NULL: nothing. */
const struct peer_identity *peer_verified_by(const struct peer *peer);
/* Its identities: of its row, then of its certificate. */
size_t peer_held_count(const struct peer *peer);
struct slice peer_held_at(const struct peer *peer, size_t index);

/* It has proved a password, or none that it had proved is left. */
void peer_has_proved(struct peer *peer, bool any);

/* Of proved.c, for peer.c. A change names one of the users, or the domain of many (`many`). */
void passwords_changed(struct peer *peer, bool many);
void passwords_close(struct peer *peer);
void passwords_free(struct peer *peer);

#endif
