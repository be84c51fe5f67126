/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/enforce.h"

#include "common/mem.h"
#include "proxy/authorization/authenticate.h"
#include "proxy/authorization/call_rates.h"
#include "proxy/authorization/decision_line.h"
#include "proxy/authorization/questions.h"
#include "proxy/authorization/referral.h"
#include "proxy/authorization/sender.h"
#include "proxy/authorization/standing.h"
#include "proxy/config.h"

#include <assert.h>
#include <stdio.h>

/* ---- Deciding ---- */

static struct decision deny(enum reason reason)
{
    return (struct decision){
        .effect = EFFECT_DENY, .reason = reason, .entry = { "", 0 }, .edge_unix_s = UINT64_MAX
    };
}

static enum user_state find_target_state(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;

    if (!facts->target)
        return USER_NONE;
    if (!questions_may_be_ours(facts->target))
        return USER_FOREIGN;
    if (a->locate && questions_is_located(facts, facts->target))
        return a->locate->locate.state;
    return questions_rights_state(a, AUTHORIZATION_TARGET);
}

/* Of To of a REGISTER. */
static enum user_state find_to_state(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;

    if (!facts->to)
        return USER_NONE;
    if (!questions_may_be_ours(facts->to))
        return USER_FOREIGN;
    if (a->locate && questions_is_located(facts, facts->to))
        return a->locate->locate.state;
    return questions_rights_state(a, AUTHORIZATION_TO);
}

/* Whether the listener has a say in who is admitted: not where a trusted peer's word is enough, who
 * is never challenged for it. */
static bool takes_part(const struct authorization *a)
{
    return a->peer->kind != PEER_ROUTE && a->facts.admission.digest != DIGEST_MODE_NONE &&
           sender_asserted_entry(a, questions_is_foreign(a)).size == 0;
}

/* Of who has proved nothing; NULL: not answered, or not asked. */
static const struct policy_rights *rights_of_nobody(const struct authorization *a)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_ANONYMOUS].answer;

    return answer ? &answer->rights.rights : NULL;
}

static struct policy_request request_of(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;

    return (struct policy_request){ .method = facts->method,
                                    .from = facts->from,
                                    .to = facts->to,
                                    .to_state = find_to_state(a),
                                    .to_ourselves = a->to_ourselves,
                                    .target = facts->target,
                                    .target_state = a->target_state,
                                    .plan = a->facts.plan,
                                    .now_unix_s = a->base->now_unix_s,
                                    .anonymous = rights_of_nobody(a),
                                    .admission = takes_part(a) ? &a->admission : NULL };
}

/* As a new request. `rights` NULL: what the peer alone allows to say; REASON_NONE then means that
 * nothing speaks against it so far. */
static struct decision decide_new(struct authorization *a, const struct policy_rights *rights)
{
    struct policy_peer peer = { .state = sender_state(a),
                                .store = a->peer->certificate
                                             ? slice_of(a->peer->certificate->store)
                                             : SLICE("") };
    struct policy_request request = request_of(a);
    struct decision decision;
    struct slice *made;

    if (a->peer->kind == PEER_ROUTE && !a->peer->inbound)
        return deny(REASON_ROUTE_INBOUND_OFF);
    if (!sender_entries(a, &peer, &made))
        return deny(REASON_OUT_OF_MEMORY);
    decision = decide(&peer, &request, rights);
    if (decision.entry.size > IDENTITY_MAX)
        decision = deny(REASON_INTERNAL);
    memcpy(a->entry, decision.entry.data, decision.entry.size);
    a->entry[decision.entry.size] = '\0';
    decision.entry = (struct slice){ a->entry, decision.entry.size };
    mem_free(made);
    return decision;
}

/* What the peer alone already decides; REASON_NONE: nothing yet. */
static struct decision decide_early(struct authorization *a)
{
    struct decision decision;

    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE && !takes_part(a))
        return deny(REASON_CERTIFICATE_REQUIRED);
    if (!questions_peer_answered(a))
        return deny(REASON_NONE);
    if (a->facts.side) {
        decision = deny(standing_look(a));
        if (decision.reason != REASON_NONE || a->standing != STANDING_NOT_HELD)
            return decision;
    }
    if (a->peer->trusted && !sender_is_shut_out(sender_state(a)))
        return deny(REASON_NONE); /* whether From is ours decides what its word is worth */
    decision = decide_new(a, NULL);
    return decision.effect == EFFECT_CHALLENGE ? deny(REASON_NONE) : decision;
}

/* Of From; NULL: not answered. */
static const struct policy_rights *rights_of_from(const struct authorization *a)
{
    static const struct policy_rights foreign = { .state = USER_FOREIGN };
    const struct answer *from = a->waiters[AUTHORIZATION_FROM].answer;

    if (!questions_may_be_ours(questions_speaker(a)))
        return &foreign;
    return from ? &from->rights.rights : NULL;
}

/* Only who may register for To is told that it is disabled. */
static struct decision check_to(const struct authorization *a, struct decision decision)
{
    if (decision.effect == EFFECT_ALLOW && find_to_state(a) == USER_DISABLED)
        return deny(REASON_USER_DISABLED);
    return decision;
}

/* The request itself. */
static struct decision decide_request(struct authorization *a)
{
    const struct policy_rights *rights = rights_of_from(a);

    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        if (a->waiters[i].reason != REASON_NONE)
            return deny(a->waiters[i].reason);
    }
    if (!rights)
        return deny(REASON_NONE);
    if (standing_is_full_check(a) || (a->peer->trusted && !standing_entry_held(a) &&
                                      sender_asserted_entry(a, questions_is_foreign(a)).size == 0))
        return check_to(a, decide_new(a, rights));
    if (a->third_party.size && questions_rights_state(a, AUTHORIZATION_TO) == USER_DISABLED)
        return deny(REASON_USER_DISABLED);
    if (rights->state == USER_NONE || rights->state == USER_DISABLED)
        return deny(rights->state == USER_NONE ? REASON_NONE : REASON_USER_DISABLED);
    return (struct decision){ .effect = EFFECT_ALLOW,
                              .reason = REASON_ALLOWED,
                              .entry = { a->entry, 0 },
                              .edge_unix_s = UINT64_MAX };
}

static struct decision decide_late(struct authorization *a)
{
    const struct policy_request request = request_of(a);

    return referral_check(a, &request, rights_of_from(a), decide_request(a));
}

/* F43: nobody is transferred in another's name. */
static struct decision check_referrer(struct authorization *a, struct decision decision)
{
    const struct identity *referrer = a->facts.referrer;
    struct policy_peer peer = { .state = sender_state(a) };
    struct slice *made;
    bool holds;

    if (decision.effect != EFFECT_ALLOW || !referrer ||
        slice_equal(identity_text(referrer), identity_text(a->facts.from)))
        return decision;
    if (!sender_entries(a, &peer, &made))
        return deny(REASON_OUT_OF_MEMORY);
    holds = policy_holds(&peer, referrer);
    mem_free(made);
    return holds ? decision : deny(REASON_REFERRED_BY_NOT_PERMITTED);
}

/* Whose calls are counted. The first evaluation of the peer may still be on its way. */
static struct slice caller_of(const struct authorization *a, char out[DEVICE_KEY_MAX + 8])
{
    char key[DEVICE_KEY_MAX + 1];

    if (questions_rights_state(a, AUTHORIZATION_FROM) == USER_KNOWN) {
        snprintf(out, DEVICE_KEY_MAX + 8, "user %s", a->facts.from->text);
        return slice_of(out);
    }
    authorize_device_key(a, key);
    snprintf(out, DEVICE_KEY_MAX + 8, "device %s", key);
    return slice_of(out);
}

/* The bound that the rule sets on new calls. */
static struct decision count_call(struct authorization *a, struct decision decision)
{
    char caller[DEVICE_KEY_MAX + 8];

    if (decision.effect != EFFECT_ALLOW || decision.per_minute == 0 || a->call_counted ||
        a->facts.side || !slice_equal(a->facts.method, SLICE("INVITE")))
        return decision;
    switch (call_rates_take(a->base->call_rates, decision.rule_id, caller_of(a, caller),
                            decision.per_minute, a->base->now_mono_ms)) {
    case CALL_RATE_COUNTED:
        a->call_counted = true;
        return decision;
    case CALL_RATE_OVER:
        decision.reason = REASON_CALLS_TOO_MANY;
        break;
    case CALL_RATE_NONE:
        decision.reason = REASON_OUT_OF_MEMORY;
        break;
    }
    decision.effect = EFFECT_DENY;
    return decision;
}

static void set_ground(struct authorization *a)
{
    ground_begin(&a->ground, a->ask);
    a->ground.edge_unix_s = a->decision.edge_unix_s;
    if (a->locate && a->locate->edge_unix_s < a->ground.edge_unix_s)
        a->ground.edge_unix_s = a->locate->edge_unix_s;
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        if (a->waiters[i].answer)
            ground_add(&a->ground, a->waiters[i].answer);
    }
}

/* As which device: without certificate each user is one, and a stranger's connection. */
static void set_sender(struct authorization *a)
{
    bool by_password = a->decision.admission == ADMIT_BY_PASSWORD;

    a->password_user = by_password ? &a->asked : NULL;
    if (a->decision.admission == ADMIT_AS_STRANGER || a->decision.admission == ADMIT_AS_ANONYMOUS)
        peer_admit_stranger(a->peer);
    if (a->facts.side && a->standing == STANDING_HELD)
        a->device = a->facts.side->device;
    else if (by_password && a->peer->kind == PEER_WITHOUT_CERTIFICATE)
        a->device = proved_device(a->peer, &a->asked);
    else
        a->device = a->peer->device;
}

static void become_decided(struct authorization *a, struct decision decision)
{
    a->decision = decision;
    a->state = AUTHORIZATION_DECIDED;
    if (decision.effect == EFFECT_ALLOW) {
        set_ground(a);
        set_sender(a);
    } else { /* a denial is ground for nothing */
        a->ground = (struct ground){ 0 };
        questions_leave(a);
    }
    decision_line_log(a);
    /* That a password is asked for is the usual course, and no denial. */
    if (decision.effect != EFFECT_ALLOW && decision.reason != REASON_CREDENTIALS_REQUIRED &&
        decision.reason != REASON_CREDENTIALS_STALE)
        peer_report(a->peer, a->base, identity_text(a->facts.from), decision.reason);
}

/* Looks at the credentials as far as mapperd has answered. False: it waits, or has been decided. */
static bool prove(struct authorization *a)
{
    enum reason reason;

    switch (authenticate(a, &reason)) {
    case AUTHENTICATE_DONE:
        return true;
    case AUTHENTICATE_WAITS:
        return false;
    case AUTHENTICATE_NONE:
        break;
    }
    become_decided(a, deny(reason));
    return false;
}

/* The decision, and when it is a challenge what the credentials make of it. False: it waits, or has
 * been decided. */
static bool decide_and_prove(struct authorization *a,
                             struct decision (*decide_it)(struct authorization *),
                             struct decision *out)
{
    *out = decide_it(a);
    if (out->effect == EFFECT_CHALLENGE && a->stage != PASSWORD_STAGE_DONE) {
        if (!prove(a))
            return false;
        *out = decide_it(a);
    }
    return true;
}

/* Who sends it, and nothing of the target: whatever a rule says needs that, too. */
static struct decision decide_sender(struct authorization *a)
{
    struct decision decision = decide_new(a, rights_of_from(a));

    if (decision.rule_id ||
        (decision.effect != EFFECT_CHALLENGE && decision.reason != REASON_CREDENTIALS_BRAKED &&
         decision.reason != REASON_CERTIFICATE_REQUIRED &&
         decision.reason != REASON_FROM_NOT_PERMITTED && decision.reason != REASON_DEVICE_UNKNOWN))
        return deny(REASON_NONE);
    return decision;
}

/* In a dialog whose side is not proved on this connection. */
static struct decision decide_unproved(struct authorization *a)
{
    return policy_without_password(a->admission.password);
}

/* True: it may go on; false: it waits, or has been decided. */
static bool pass_dialog(struct authorization *a)
{
    struct decision decision;

    if (a->standing == STANDING_NONE)
        return false; /* CREDENTIAL of who proved it, or RIGHTS of From, is on its way */
    if (a->standing != STANDING_UNPROVED)
        return true;
    if (a->stage == PASSWORD_STAGE_DONE && a->admission.password == PASSWORD_RIGHT) {
        /* Proved, and it does not help: the password has changed in this very moment. */
        become_decided(a, policy_without_password(PASSWORD_WRONG));
        return false;
    }
    if (!decide_and_prove(a, decide_unproved, &decision))
        return false;
    if (a->admission.password != PASSWORD_RIGHT) {
        become_decided(a, decision);
        return false;
    }
    decision = deny(standing_look(a));
    if (decision.reason != REASON_NONE) {
        become_decided(a, decision);
        return false;
    }
    return pass_dialog(a);
}

/* True: whoever sends it may be told what his rights are. */
static bool pass_sender(struct authorization *a)
{
    struct decision decision;

    if (!takes_part(a) || !standing_is_full_check(a) ||
        (a->facts.admission.digest == DIGEST_OFF && a->peer->kind == PEER_DEVICE) ||
        decide_new(a, NULL).admission == ADMIT_BY_CERTIFICATE)
        return true;
    if (!questions_ask(a, AUTHORIZATION_FROM, AUTHORIZATION_FROM)) {
        become_decided(a, deny(REASON_PARK_BOUND_TOTAL));
        return false;
    }
    if (lookup_waiting(&a->waiters[AUTHORIZATION_FROM]))
        return false;
    if (a->waiters[AUTHORIZATION_FROM].reason != REASON_NONE) {
        become_decided(a, deny(a->waiters[AUTHORIZATION_FROM].reason));
        return false;
    }
    if (!decide_and_prove(a, decide_sender, &decision))
        return false;
    if (decision.reason == REASON_NONE)
        return true;
    become_decided(a, decision);
    return false;
}

/* Once LOCATE has answered: whom it reaches, for good. */
static void choose_target(struct authorization *a)
{
    struct authorize_facts *facts = &a->facts;

    if (facts->number && a->locate && a->locate->locate.state == USER_UNKNOWN &&
        a->locate->locate.binding_count == 0) {
        facts->target = facts->number;
        facts->plan = facts->number_plan;
        facts->want_locate = false;
        a->leaves_as_number = true;
        a->locate = NULL;
    }
    facts->number = NULL;
}

/* One step: asks, waits or decides. PEER goes first, since it may refuse alone. */
static void advance(struct authorization *a)
{
    const struct answer *credential = a->waiters[AUTHORIZATION_CREDENTIAL].answer;
    struct decision decision;

    a->entry[0] = '\0';
    a->state = AUTHORIZATION_WAITING;
    if (credential && !lookup_holds(a->ask, credential)) { /* changed while others were awaited */
        lookup_leave(&a->waiters[AUTHORIZATION_CREDENTIAL]);
        authenticate_again(a);
    }
    if (!questions_ask(a, AUTHORIZATION_PEER, AUTHORIZATION_PEER)) {
        become_decided(a, deny(REASON_PARK_BOUND_TOTAL));
        return;
    }
    if (questions_peer_answered(a))
        standing_look_behind(a);
    decision = decide_early(a);
    if (decision.reason != REASON_NONE) {
        become_decided(a, decision);
        return;
    }
    if (questions_peer_answered(a) && ((a->facts.side && !pass_dialog(a)) || !pass_sender(a)))
        return;
    if (!questions_ask(a, AUTHORIZATION_FROM, AUTHORIZATION_LOCATE)) {
        become_decided(a, deny(REASON_PARK_BOUND_TOTAL));
        return;
    }
    if (questions_wait(a))
        return;
    a->locate = a->facts.want_locate ? a->waiters[AUTHORIZATION_LOCATE].answer : NULL;
    choose_target(a);
    a->target_state = find_target_state(a);
    a->to_ourselves =
        a->facts.target && a->facts.target->user_size == 0 && questions_is_ours(a->target_state);
    if (decide_and_prove(a, decide_late, &decision))
        become_decided(a, count_call(a, check_referrer(a, decision)));
}

static void on_answer(struct lookup_waiter *waiter)
{
    struct authorization *a = waiter->owner;

    assert(a->state == AUTHORIZATION_WAITING);
    advance(a);
    if (a->state == AUTHORIZATION_DECIDED)
        a->done(a);
}

enum authorization_state authorize_begin(struct authorization *a, struct worker_base *base,
                                         struct ask *ask, struct peer *peer,
                                         const struct authorize_facts *facts)
{
    assert(a->state == AUTHORIZATION_IDLE);
    a->base = base;
    a->ask = ask;
    a->peer = peer_hold(peer);
    a->facts = *facts;
    a->call_counted = false;
    a->leaves_as_number = false;
    a->admission = facts->admission;
    a->admission.password = PASSWORD_NONE;
    a->stage = PASSWORD_STAGE_NEW;
    a->nonce_spent = false;
    a->standing = STANDING_NONE;
    a->device = 0;
    a->password_user = NULL;
    a->to_ourselves = false;
    a->target_state = USER_NONE;
    a->locate = NULL;
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        a->waiters[i].done = on_answer;
        a->waiters[i].owner = a;
    }
    advance(a);
    return a->state;
}

enum authorization_state authorize_again(struct authorization *a)
{
    assert(a->state == AUTHORIZATION_DECIDED);
    lookup_leave(&a->waiters[AUTHORIZATION_LOCATE]);
    if (a->facts.referral && a->facts.referral->want_locate)
        lookup_leave(&a->waiters[AUTHORIZATION_REFERRED]);
    authenticate_again(a);
    a->standing = STANDING_NONE;
    a->locate = NULL;
    a->to_ourselves = false;
    a->target_state = USER_NONE;
    advance(a);
    return a->state;
}

const struct answer *authorize_peer(const struct authorization *a)
{
    return a->waiters[AUTHORIZATION_PEER].answer;
}

void authorize_device_key(const struct authorization *a, char out[DEVICE_KEY_MAX + 1])
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;

    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE && a->admission.user.size)
        proved_device_key(&a->asked, out);
    else if (a->peer->key[0])
        memcpy(out, a->peer->key, sizeof a->peer->key);
    else if (a->peer->certificate && answer)
        peer_device_key(a->peer->certificate, answer->peer.canonical_cn, out);
    else
        out[0] = '\0';
}

void authorize_end(struct authorization *a)
{
    if (a->state == AUTHORIZATION_IDLE)
        return;
    questions_leave(a);
    peer_release(a->peer);
    a->peer = NULL;
    a->state = AUTHORIZATION_IDLE;
}
