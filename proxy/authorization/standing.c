/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/standing.h"

#include "proxy/authorization/authenticate.h"
#include "proxy/authorization/peer_route.h"
#include "proxy/authorization/questions.h"
#include "proxy/authorization/sender.h"
#include "proxy/config.h"

#include <stdio.h>

/* Whether its domain is ours is asked at the same time, so the decision looks at it once more. */
static bool dialog_is_asserted(const struct authorization *a)
{
    struct slice entry = sender_asserted_entry(a, true);

    return entry.size && a->facts.side->entry == token_keys_entry_hash(a->facts.keys, entry);
}

static bool is_entry(const struct authorization *a, const struct identity *name)
{
    return a->facts.side->entry == token_keys_entry_hash(a->facts.keys, identity_text(name));
}

/* The dialog was sent to the route, or was begun by it as somebody that it may assert. */
static bool is_entry_of_route(const struct authorization *a, const struct config_route *route)
{
    char key[DEVICE_KEY_MAX + 1];

    if (!route)
        return false;
    snprintf(key, sizeof key, "route:%s", route->name);
    if (a->facts.side->entry == token_keys_entry_hash(a->facts.keys, slice_of(key)))
        return true;
    for (size_t i = 0; i < route->may_assert_count; i++) {
        if (is_entry(a, &route->may_assert[i]))
            return true;
    }
    return false;
}

/* The dialog was begun by the same domain's certificate, on a connection of its own. */
static bool is_entry_of_server(const struct authorization *a)
{
    const struct config_route *server = a->peer->server;

    return server && (is_entry(a, &server->tls_name) || is_entry(a, &server->domain));
}

bool standing_entry_held(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;
    const struct peer *peer = a->peer;
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;

    if (peer->kind == PEER_ROUTE &&
        (facts->side->entry == token_keys_entry_hash(facts->keys, slice_of(peer->key)) ||
         is_entry_of_server(a)))
        return true;
    for (size_t i = 0; i < peer->may_assert_count; i++) {
        if (facts->side->entry ==
            token_keys_entry_hash(facts->keys, identity_text(&peer->may_assert[i])))
            return true;
    }
    if (peer->kind == PEER_WITHOUT_CERTIFICATE)
        return facts->side->entry == token_keys_entry_hash(facts->keys, identity_text(facts->from));
    if (!answer || sender_is_shut_out(answer->peer.state))
        return false;
    if (is_entry_of_route(a, peer_route_of_device(peer, facts->side->device)))
        return true;
    for (size_t i = 0; i < peer_entry_count(peer, answer); i++) {
        if (facts->side->entry == token_keys_entry_hash(facts->keys, answer->peer.entries[i]))
            return true;
    }
    for (size_t i = 0; peer->certificate && i < peer->certificate->name_count; i++) {
        if (facts->side->entry ==
            token_keys_entry_hash(facts->keys, identity_text(&peer->certificate->names[i])))
            return true;
    }
    return false;
}

/* The peer's entry that a dialog's side was admitted by. */
static struct slice find_dialog_entry(const struct authorization *a)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;
    const struct peer_identity *certificate = a->peer->certificate;

    for (size_t i = 0; i < peer_entry_count(a->peer, answer); i++) {
        if (a->facts.side->entry == token_keys_entry_hash(a->facts.keys, answer->peer.entries[i]))
            return answer->peer.entries[i];
    }
    for (size_t i = 0; certificate && i < certificate->name_count; i++) {
        struct slice name = identity_text(&certificate->names[i]);

        if (a->facts.side->entry == token_keys_entry_hash(a->facts.keys, name))
            return name;
    }
    return SLICE("");
}

void standing_look_behind(struct authorization *a)
{
    struct identity entry;

    a->hidden.size = 0;
    a->third_party.size = 0;
    if (!a->facts.side || is_entry(a, a->facts.from) ||
        identity_from_text(&entry, find_dialog_entry(a)) != ERROR_NONE)
        return;
    if (questions_is_hidden(a))
        a->hidden = entry;
    else if (entry.user_size)
        a->third_party = entry;
}

bool standing_is_full_check(const struct authorization *a)
{
    return !a->facts.side || a->standing == STANDING_NOT_HELD;
}

/* Whose hash the token holds; the first evaluation of the peer may still be on its way. */
static uint64_t device_of(const struct authorization *a)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;
    char key[DEVICE_KEY_MAX + 1];

    if (a->peer->device || !answer)
        return a->peer->device;
    peer_device_key(a->peer->certificate, answer->peer.canonical_cn, key);
    return token_keys_device_hash(a->facts.keys, slice_of(key));
}

/* Where both are asked for, of our own users alone. False: it is not known yet whose domain From's
 * is; *reason says why when it can't be. */
static bool look_at_both(struct authorization *a, bool *both, enum reason *reason)
{
    const struct lookup_waiter *waiter = &a->waiters[AUTHORIZATION_FROM];

    *both = false;
    *reason = REASON_NONE;
    if (a->facts.admission.digest != DIGEST_ALWAYS || a->peer->kind != PEER_DEVICE ||
        a->peer->trusted || !questions_may_be_ours(questions_speaker(a)))
        return true;
    if (!questions_ask(a, AUTHORIZATION_FROM, AUTHORIZATION_FROM))
        *reason = REASON_PARK_BOUND_TOTAL;
    else if (waiter->reason != REASON_NONE)
        *reason = waiter->reason;
    if (*reason != REASON_NONE || !waiter->answer)
        return false;
    *both = questions_is_ours(questions_rights_state(a, AUTHORIZATION_FROM));
    return true;
}

enum reason standing_look(struct authorization *a)
{
    struct dialog_claim claim = { .by_certificate = a->peer->device || a->peer->certificate };
    enum reason reason;

    a->standing = STANDING_NONE;
    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE) /* a stranger that was admitted */
        claim.by_certificate = a->peer->device && a->peer->device == a->facts.side->device;
    if (claim.by_certificate && device_of(a) != a->facts.side->device &&
        !peer_route_of_device(a->peer, a->facts.side->device))
        return REASON_TOKEN_OTHER_DEVICE;
    if (sender_is_shut_out(sender_state(a)))
        return sender_state(a) == PEER_BLOCKED ? REASON_CERTIFICATE_BLOCKED
                                               : REASON_DEVICE_DISABLED;
    if (!look_at_both(a, &claim.both, &reason))
        return reason;
    claim.held = claim.by_certificate && (standing_entry_held(a) || dialog_is_asserted(a));
    a->standing = authenticate_standing(a, &claim, &reason);
    return a->standing == STANDING_OTHER ? REASON_TOKEN_OTHER_DEVICE : reason;
}
