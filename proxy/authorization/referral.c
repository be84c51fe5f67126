/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/referral.h"

#include "proxy/authorization/questions.h"
#include "proxy/authorization/standing.h"

static enum user_state state_of_target(const struct authorization *a)
{
    const struct authorize_referral *referral = a->facts.referral;
    const struct answer *answer = a->waiters[AUTHORIZATION_REFERRED].answer;

    if (!questions_may_be_ours(referral->target))
        return USER_FOREIGN;
    if (!answer)
        return USER_NONE;
    return referral->want_locate ? answer->locate.state : answer->rights.rights.state;
}

/* As an INVITE there would: a number at a domain of ours that nobody has leaves as that number. */
static bool leaves_as_number(const struct authorization *a, enum user_state state)
{
    const struct authorize_referral *referral = a->facts.referral;
    const struct answer *answer = a->waiters[AUTHORIZATION_REFERRED].answer;

    return referral->number && referral->want_locate && answer && state == USER_UNKNOWN &&
           answer->locate.binding_count == 0;
}

static bool is_own_domain(const struct authorization *a, const struct identity *target)
{
    struct slice domain = identity_domain(target);

    return domain.size > 0 && questions_is_foreign(a) &&
           slice_equal(domain, identity_domain(a->facts.from));
}

/* In a dialog nothing says any more how its side was let in: a connection that is a device by
 * itself has proved nothing. */
static enum admission admission_of_sender(const struct authorization *a,
                                          const struct decision *decision)
{
    if (!standing_is_full_check(a) && a->peer->kind == PEER_WITHOUT_CERTIFICATE &&
        a->peer->device && a->peer->device == a->facts.side->device)
        return ADMIT_AS_ANONYMOUS;
    return decision->admission;
}

static const struct policy_rights *rights_of_sender(const struct authorization *a,
                                                    const struct policy_rights *from)
{
    const struct answer *third_party = a->waiters[AUTHORIZATION_TO].answer;

    if (standing_is_full_check(a) || !a->third_party.size)
        return from;
    return third_party ? &third_party->rights.rights : NULL;
}

static enum reason reason_of_denial(enum reason reason)
{
    return reason == REASON_NO_RIGHT || reason == REASON_RULE_DENIES ||
                   reason == REASON_CERTIFICATE_REQUIRED
               ? REASON_REFER_TO_NOT_PERMITTED
               : reason;
}

struct decision referral_check(const struct authorization *a, const struct policy_request *request,
                               const struct policy_rights *from, struct decision decision)
{
    const struct authorize_referral *referral = a->facts.referral;
    struct policy_request call = *request;
    struct policy_peer peer = { .store = a->peer->certificate
                                             ? slice_of(a->peer->certificate->store)
                                             : SLICE("") };
    struct decision asked;

    if (decision.effect != EFFECT_ALLOW || !referral || is_own_domain(a, referral->target))
        return decision;
    call.method = SLICE("INVITE");
    call.target = referral->target;
    call.target_state = state_of_target(a);
    call.plan = referral->plan;
    call.to_ourselves = referral->target->user_size == 0 && questions_is_ours(call.target_state);
    if (leaves_as_number(a, call.target_state)) {
        call.target = referral->number;
        call.target_state = USER_FOREIGN;
        call.plan = referral->number_plan;
    }
    asked =
        decide_admitted(&peer, &call, rights_of_sender(a, from), admission_of_sender(a, &decision));
    if (asked.effect != EFFECT_ALLOW) {
        asked.reason = reason_of_denial(asked.reason);
        return asked;
    }
    if (asked.edge_unix_s < decision.edge_unix_s)
        decision.edge_unix_s = asked.edge_unix_s;
    return decision;
}
