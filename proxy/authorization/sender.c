/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/sender.h"

#include "common/mem.h"
#include "proxy/authorization/questions.h"
#include "proxy/config.h"

struct slice sender_asserted_entry(const struct authorization *a, bool foreign)
{
    const struct identity *from = a->facts.from;
    struct slice domain = identity_domain(from);

    if (!a->peer->trusted || !config_trusted_peer_asserts(a->peer->trusted, from, foreign))
        return SLICE("");
    return domain.size ? domain : identity_text(from);
}

bool sender_is_shut_out(enum peer_state state)
{
    return state == PEER_DISABLED || state == PEER_BLOCKED;
}

bool sender_entries(const struct authorization *a, struct policy_peer *out, struct slice **made)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;
    const struct peer_identity *certificate = a->peer->certificate;
    size_t names = certificate ? certificate->name_count : a->peer->may_assert_count;
    const struct identity *name = certificate ? certificate->names : a->peer->may_assert;
    size_t entries = peer_entry_count(a->peer, answer);
    struct slice asserted = sender_asserted_entry(a, questions_is_foreign(a));

    *made = NULL;
    if (names == 0 && asserted.size == 0) {
        out->entries = answer ? answer->peer.entries : NULL;
        out->entry_count = entries;
        return true;
    }
    *made = mem_alloc((entries + names + 1) * sizeof **made);
    if (!*made)
        return false;
    for (size_t i = 0; i < entries; i++)
        (*made)[i] = answer->peer.entries[i];
    for (size_t i = 0; i < names; i++)
        (*made)[entries + i] = identity_text(&name[i]);
    (*made)[entries + names] = asserted;
    out->entries = *made;
    out->entry_count = entries + names + (asserted.size > 0);
    return true;
}

enum peer_state sender_state(const struct authorization *a)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;

    if (a->peer->kind == PEER_ROUTE)
        return PEER_KNOWN;
    if (answer && answer->peer.state == PEER_UNKNOWN && a->peer->trusted)
        return PEER_KNOWN; /* by the configuration */
    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE)
        return PEER_UNKNOWN;
    return answer ? answer->peer.state : PEER_NONE;
}
