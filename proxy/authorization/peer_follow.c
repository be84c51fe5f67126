/* SPDX-License-Identifier: Apache-2.0 */
#include "common/mem.h"
#include "proxy/authorization/peer_internal.h"
#include "proxy/authorization/tag.h"

#include <utlist.h>

/* ---- The table by tag ---- */

struct peer_tag *peer_tag_find(const struct peers *peers, uint64_t value)
{
    struct peer_tag *tag;

    HASH_FIND(hh, peers->by_tag, &value, sizeof value, tag);
    return tag;
}

struct peer_tag *peer_tag_get(struct peers *peers, uint64_t value)
{
    struct peer_tag *tag = peer_tag_find(peers, value);

    if (tag)
        return tag;
    tag = mem_zero(1, sizeof *tag);
    if (!tag)
        return NULL;
    tag->tag = value;
    HASH_ADD(hh, peers->by_tag, tag, sizeof tag->tag, tag);
    if (!tag->hh.tbl) {
        mem_free(tag);
        return NULL;
    }
    return tag;
}

void peer_tag_put(struct peers *peers, struct peer_tag *tag)
{
    if (tag->peers || tag->of_store || tag->links)
        return;
    HASH_DELETE(hh, peers->by_tag, tag);
    mem_free(tag);
}

bool peer_index_row(struct peer *peer, uint64_t value)
{
    struct peer_tag *tag = peer_tag_get(peer->peers, value);

    if (!tag)
        return false;
    DL_APPEND2(tag->peers, peer, same_prev, same_next);
    peer->tag_peer = value;
    return true;
}

void peer_unindex_row(struct peer *peer)
{
    struct peer_tag *tag = peer_tag_find(peer->peers, peer->tag_peer);

    if (peer->tag_peer == TAG_NONE)
        return;
    DL_DELETE2(tag->peers, peer, same_prev, same_next);
    peer->tag_peer = TAG_NONE;
    peer_tag_put(peer->peers, tag);
}

bool peer_index_store(struct peer *peer, uint64_t value)
{
    struct peer_tag *tag = peer_tag_get(peer->peers, value);

    if (!tag)
        return false;
    tag->of_store++;
    peer->tag_store = value;
    return true;
}

void peer_unindex_store(struct peer *peer)
{
    struct peer_tag *tag = peer_tag_find(peer->peers, peer->tag_store);

    tag->of_store--;
    peer->tag_store = TAG_NONE;
    peer_tag_put(peer->peers, tag);
}

void peer_unlink_all(struct peer *peer)
{
    for (size_t i = 0; i < peer->link_count; i++) {
        struct peer_tag *tag = peer_tag_find(peer->peers, peer->links[i].tag);

        DL_DELETE(tag->links, &peer->links[i]);
        peer_tag_put(peer->peers, tag);
    }
    mem_free(peer->links);
    peer->links = NULL;
    peer->link_count = 0;
}

static bool add_link(struct peer *peer, uint64_t value, bool many)
{
    struct peer_link *link = &peer->links[peer->link_count];
    struct peer_tag *tag;

    for (size_t i = 0; i < peer->link_count; i++) {
        if (peer->links[i].tag == value)
            return true;
    }
    tag = peer_tag_get(peer->peers, value);
    if (!tag)
        return false;
    *link = (struct peer_link){ .peer = peer, .tag = value, .many = many };
    DL_APPEND(tag->links, link);
    peer->link_count++;
    return true;
}

/* ---- Its identities: of its row, then of its certificate ---- */

const struct peer_identity *peer_verified_by(const struct peer *peer)
{
    return peer->certificate ? peer->certificate : peer->server_certificate;
}

size_t peer_held_count(const struct peer *peer)
{
    if (peer->kind == PEER_ROUTE)
        return 0; /* who it is says the configuration */
    return peer_entry_count(peer, peer->answer) + peer->certificate->name_count;
}

struct slice peer_held_at(const struct peer *peer, size_t index)
{
    size_t entries = peer_entry_count(peer, peer->answer);

    return index < entries ? peer->answer->peer.entries[index]
                           : identity_text(&peer->certificate->names[index - entries]);
}

static bool link_identity(struct peer *peer, struct slice identity)
{
    const char *at = memchr(identity.data, '@', identity.size);
    struct slice domain = identity;

    if (at)
        domain = (struct slice){ at + 1, identity.size - (size_t)(at + 1 - identity.data) };
    return (!at || add_link(peer, tag_user(identity), false)) &&
           add_link(peer, tag_domain(domain), true);
}

/* The certificates that it was verified by: one that is blocked ends it at once, also when it is an
 * authority's, of many. */
static bool link_chain(struct peer *peer)
{
    struct slice rest = peer_verified_by(peer)->chain, sha256;

    if (!rest.size)
        return true;
    rest.data++; /* the first comma */
    rest.size--;
    while (answer_peer_word(&rest, &sha256)) {
        if (!add_link(peer, tag_certificate(slice_of(peer_verified_by(peer)->store), sha256),
                      false))
            return false;
    }
    return true;
}

bool peer_link_all(struct peer *peer)
{
    size_t count = peer_held_count(peer);
    size_t certificates = peer_verified_by(peer)->chain.size / PEER_CHAIN_WORD;

    peer_unlink_all(peer);
    if (count > PEER_FOLLOWED_MAX)
        count = 0;
    if (count + certificates == 0)
        return true;
    peer->links = mem_zero(2 * count + certificates, sizeof *peer->links);
    if (!peer->links || !link_chain(peer)) {
        peer_unlink_all(peer);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!link_identity(peer, peer_held_at(peer, i))) {
            peer_unlink_all(peer);
            return false;
        }
    }
    return true;
}
