/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/questions.h"

#include "proxy/authorization/standing.h"

bool questions_may_be_ours(const struct identity *identity)
{
    struct slice domain = identity_domain(identity);

    return domain.size > 0 && domain.data[0] != '[';
}

static const struct identity *located(const struct authorize_facts *facts)
{
    return facts->to ? facts->to : facts->target;
}

bool questions_is_located(const struct authorize_facts *facts, const struct identity *identity)
{
    return facts->want_locate && located(facts) && located(facts)->user_size > 0 &&
           questions_may_be_ours(located(facts)) &&
           slice_equal(identity_text(located(facts)), identity_text(identity));
}

enum user_state questions_rights_state(const struct authorization *a, enum authorization_slot slot)
{
    const struct answer *answer = a->waiters[slot].answer;

    return answer ? answer->rights.rights.state : USER_NONE;
}

bool questions_is_ours(enum user_state state)
{
    return state == USER_UNKNOWN || state == USER_KNOWN || state == USER_DISABLED;
}

const struct identity *questions_speaker(const struct authorization *a)
{
    return a->hidden.size ? &a->hidden : a->facts.from;
}

bool questions_is_hidden(const struct authorization *a)
{
    return a->facts.side && identity_is_anonymous(a->facts.from);
}

bool questions_peer_answered(const struct authorization *a)
{
    return a->peer->kind != PEER_DEVICE || a->waiters[AUTHORIZATION_PEER].answer != NULL;
}

bool questions_is_foreign(const struct authorization *a)
{
    return !questions_may_be_ours(a->facts.from) ||
           questions_rights_state(a, AUTHORIZATION_FROM) == USER_FOREIGN;
}

/* Unless something is shown that permits From, the rules of `anonymous` may decide. */
static bool may_be_nobody(const struct authorization *a)
{
    const struct admission_facts facts = { .digest = a->facts.admission.digest,
                                           .third_parties = a->facts.admission.third_parties,
                                           .certificate = a->facts.admission.certificate };
    enum admission admission = admission_of(&facts);

    return (admission == ADMIT_AS_STRANGER || admission == ADMIT_AS_ANONYMOUS) &&
           questions_is_foreign(a) && (standing_is_full_check(a) || a->facts.referral);
}

static bool is_needed(const struct authorization *a, enum authorization_slot slot)
{
    const struct authorize_facts *facts = &a->facts;

    switch (slot) {
    case AUTHORIZATION_PEER:
        return a->peer->kind == PEER_DEVICE;
    case AUTHORIZATION_CREDENTIAL: /* authenticate.c asks */
        return false;
    case AUTHORIZATION_FROM:
        return questions_may_be_ours(questions_speaker(a)) &&
               (!questions_is_hidden(a) || questions_peer_answered(a));
    case AUTHORIZATION_TO:
        if (a->third_party.size)
            return !standing_is_full_check(a);
        return facts->to && questions_may_be_ours(facts->to) &&
               !questions_is_located(facts, facts->to) &&
               !slice_equal(identity_text(facts->to), identity_text(facts->from));
    case AUTHORIZATION_TARGET:
        return facts->target && questions_may_be_ours(facts->target) && standing_is_full_check(a) &&
               !questions_is_located(facts, facts->target);
    case AUTHORIZATION_ANONYMOUS:
        return may_be_nobody(a);
    case AUTHORIZATION_REFERRED:
        return facts->referral && questions_may_be_ours(facts->referral->target);
    case AUTHORIZATION_LOCATE:
        return facts->want_locate && located(facts) && questions_is_located(facts, located(facts));
    case AUTHORIZATION_SLOTS:
        break;
    }
    return false;
}

static enum lookup_outcome ask_slot(struct authorization *a, enum authorization_slot slot)
{
    struct lookup_waiter *waiter = &a->waiters[slot];
    const struct authorize_facts *facts = &a->facts;
    const struct peer_identity *certificate = a->peer->certificate;

    switch (slot) {
    case AUTHORIZATION_PEER:
        return lookup_peer(a->ask, waiter, slice_of(certificate->store), certificate->chain,
                           (struct slice){ certificate->cn, certificate->cn_size });
    case AUTHORIZATION_CREDENTIAL:
        break;
    case AUTHORIZATION_FROM:
        return lookup_rights(a->ask, waiter, identity_text(questions_speaker(a)));
    case AUTHORIZATION_TO:
        return lookup_rights(a->ask, waiter,
                             identity_text(a->third_party.size ? &a->third_party : facts->to));
    case AUTHORIZATION_TARGET:
        return lookup_rights(a->ask, waiter, identity_domain(facts->target));
    case AUTHORIZATION_ANONYMOUS:
        return lookup_rights(a->ask, waiter, SLICE("anonymous.invalid"));
    case AUTHORIZATION_REFERRED:
        if (facts->referral->want_locate)
            return lookup_locate(a->ask, waiter, identity_text(facts->referral->target));
        return lookup_rights(a->ask, waiter, identity_domain(facts->referral->target));
    case AUTHORIZATION_LOCATE:
        return lookup_locate(a->ask, waiter, identity_text(located(facts)));
    case AUTHORIZATION_SLOTS:
        break;
    }
    return LOOKUP_FULL;
}

bool questions_ask(struct authorization *a, enum authorization_slot first,
                   enum authorization_slot last)
{
    for (enum authorization_slot slot = first; slot <= last; slot++) {
        struct lookup_waiter *waiter = &a->waiters[slot];

        if (waiter->answer && !lookup_holds(a->ask, waiter->answer))
            lookup_leave(waiter);
        if (!is_needed(a, slot) || waiter->answer || waiter->reason != REASON_NONE ||
            lookup_waiting(waiter))
            continue;
        if (ask_slot(a, slot) == LOOKUP_FULL)
            return false;
    }
    return true;
}

void questions_leave(struct authorization *a)
{
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++)
        lookup_leave(&a->waiters[i]);
    a->locate = NULL;
}

bool questions_wait(const struct authorization *a)
{
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        if (lookup_waiting(&a->waiters[i]))
            return true;
    }
    return false;
}
