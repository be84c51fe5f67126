/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/enforce.h"

#include "common/log.h"
#include "common/mem.h"
#include "proxy/authorization/authenticate.h"
#include "proxy/authorization/call_rates.h"
#include "proxy/config.h"

#include <assert.h>
#include <stdio.h>

/* ---- What must be known ---- */

/* A number, and an IPv6 address, is nobody's domain: not ours without a question. */
static bool may_be_ours(const struct identity *identity)
{
    struct slice domain = identity_domain(identity);

    return domain.size > 0 && domain.data[0] != '[';
}

static const struct identity *located(const struct authorize_facts *facts)
{
    return facts->to ? facts->to : facts->target;
}

static bool is_located(const struct authorize_facts *facts, const struct identity *identity)
{
    return facts->want_locate && located(facts) && located(facts)->user_size > 0 &&
           may_be_ours(located(facts)) &&
           slice_equal(identity_text(located(facts)), identity_text(identity));
}

static enum user_state rights_state(const struct authorization *a, enum authorization_slot slot)
{
    const struct answer *answer = a->waiters[slot].answer;

    return answer ? answer->rights.rights.state : USER_NONE;
}

/* What a trusted peer's word alone admits From by; empty: nothing. */
static struct slice asserted_entry(const struct authorization *a, bool foreign)
{
    const struct identity *from = a->facts.from;
    struct slice domain = identity_domain(from);

    if (!a->peer->trusted || !config_trusted_peer_asserts(a->peer->trusted, from, foreign))
        return SLICE("");
    return domain.size ? domain : identity_text(from);
}

static bool from_is_foreign(const struct authorization *a)
{
    return !may_be_ours(a->facts.from) || rights_state(a, AUTHORIZATION_FROM) == USER_FOREIGN;
}

/* Whether its domain is ours is asked at the same time, so the decision looks at it once more. */
static bool dialog_is_asserted(const struct authorization *a)
{
    struct slice entry = asserted_entry(a, true);

    return entry.size && a->facts.side->entry == token_keys_entry_hash(a->facts.keys, entry);
}

/* Nothing that it holds counts, by whatever name. */
static bool is_shut_out(enum peer_state state)
{
    return state == PEER_DISABLED || state == PEER_BLOCKED;
}

/* The device holds what the dialog's side was admitted by. Valid once PEER is answered. */
static bool dialog_entry_held(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;
    const struct peer *peer = a->peer;
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;

    if (peer->kind == PEER_ROUTE &&
        facts->side->entry == token_keys_entry_hash(facts->keys, slice_of(peer->key)))
        return true;
    for (size_t i = 0; i < peer->may_assert_count; i++) {
        if (facts->side->entry ==
            token_keys_entry_hash(facts->keys, identity_text(&peer->may_assert[i])))
            return true;
    }
    if (peer->kind == PEER_WITHOUT_CERTIFICATE)
        return facts->side->entry == token_keys_entry_hash(facts->keys, identity_text(facts->from));
    if (!answer || is_shut_out(answer->peer.state))
        return false;
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

/* Who speaks: From, but in a dialog of an anonymous one who is behind it. */
static const struct identity *speaker(const struct authorization *a)
{
    return a->hidden.size ? &a->hidden : a->facts.from;
}

static bool is_hidden(const struct authorization *a)
{
    return a->facts.side && identity_is_anonymous(a->facts.from);
}

/* Once PEER is answered; before it, nobody is asked about. */
static void look_behind(struct authorization *a)
{
    a->hidden.size = 0;
    if (is_hidden(a) && identity_from_text(&a->hidden, find_dialog_entry(a)) != ERROR_NONE)
        a->hidden.size = 0;
}

static bool peer_answered(const struct authorization *a)
{
    return a->peer->kind != PEER_DEVICE || a->waiters[AUTHORIZATION_PEER].answer != NULL;
}

/* As a new request: not in a dialog, or in one by an entry that is not held any more. */
static bool is_full_check(const struct authorization *a)
{
    return !a->facts.side || a->standing == STANDING_NOT_HELD;
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
        return may_be_ours(speaker(a)) && (!is_hidden(a) || peer_answered(a));
    case AUTHORIZATION_TO:
        return facts->to && may_be_ours(facts->to) && !is_located(facts, facts->to) &&
               !slice_equal(identity_text(facts->to), identity_text(facts->from));
    case AUTHORIZATION_TARGET:
        return facts->target && may_be_ours(facts->target) && is_full_check(a) &&
               !is_located(facts, facts->target);
    case AUTHORIZATION_LOCATE:
        return facts->want_locate && located(facts) && is_located(facts, located(facts));
    case AUTHORIZATION_SLOTS:
        break;
    }
    return false;
}

/* ---- Asking ---- */

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
        return lookup_rights(a->ask, waiter, identity_text(speaker(a)));
    case AUTHORIZATION_TO:
        return lookup_rights(a->ask, waiter, identity_text(facts->to));
    case AUTHORIZATION_TARGET:
        return lookup_rights(a->ask, waiter, identity_domain(facts->target));
    case AUTHORIZATION_LOCATE:
        return lookup_locate(a->ask, waiter, identity_text(located(facts)));
    case AUTHORIZATION_SLOTS:
        break;
    }
    return LOOKUP_FULL;
}

static void leave_all(struct authorization *a)
{
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++)
        lookup_leave(&a->waiters[i]);
    a->locate = NULL;
}

/* Starts what is needed and neither known nor asked; an answer that was outdated since is asked
 * again. False: it can't be asked. */
static bool ask_slots(struct authorization *a, enum authorization_slot first,
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

static bool waits(const struct authorization *a)
{
    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        if (lookup_waiting(&a->waiters[i]))
            return true;
    }
    return false;
}

/* ---- Deciding ---- */

static struct decision deny(enum reason reason)
{
    return (struct decision){
        .effect = EFFECT_DENY, .reason = reason, .entry = { "", 0 }, .edge_unix_s = UINT64_MAX
    };
}

static bool is_ours(enum user_state state)
{
    return state == USER_UNKNOWN || state == USER_KNOWN || state == USER_DISABLED;
}

static enum user_state find_target_state(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;

    if (!facts->target)
        return USER_NONE;
    if (!may_be_ours(facts->target))
        return USER_FOREIGN;
    if (a->locate && is_located(facts, facts->target))
        return a->locate->locate.state;
    return rights_state(a, AUTHORIZATION_TARGET);
}

/* What the peer holds, in one array: mapperd's entries, then the certificate's names, then what a
 * trusted peer's word is enough for. *made is to be freed. */
static bool collect_entries(const struct authorization *a, struct policy_peer *out,
                            struct slice **made)
{
    const struct answer *answer = a->waiters[AUTHORIZATION_PEER].answer;
    const struct peer_identity *certificate = a->peer->certificate;
    size_t names = certificate ? certificate->name_count : a->peer->may_assert_count;
    const struct identity *name = certificate ? certificate->names : a->peer->may_assert;
    size_t entries = peer_entry_count(a->peer, answer);
    struct slice asserted = asserted_entry(a, from_is_foreign(a));

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

static enum peer_state find_peer_state(const struct authorization *a)
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

/* Whether the listener has a say in who is admitted: not where a trusted peer's word is enough, who
 * is never challenged for it. */
static bool takes_part(const struct authorization *a)
{
    return a->peer->kind != PEER_ROUTE && a->facts.admission.digest != DIGEST_MODE_NONE &&
           asserted_entry(a, from_is_foreign(a)).size == 0;
}

/* As a new request. `rights` NULL: what the peer alone allows to say; REASON_NONE then means that
 * nothing speaks against it so far. */
static struct decision decide_new(struct authorization *a, const struct policy_rights *rights)
{
    const struct authorize_facts *facts = &a->facts;
    struct policy_peer peer = { .state = find_peer_state(a),
                                .store = a->peer->certificate
                                             ? slice_of(a->peer->certificate->store)
                                             : SLICE("") };
    struct policy_request request = { .method = facts->method,
                                      .from = facts->from,
                                      .to = facts->to,
                                      .to_ourselves = a->to_ourselves,
                                      .target = facts->target,
                                      .target_state = a->target_state,
                                      .international = a->base->config->international,
                                      .now_unix_s = a->base->now_unix_s,
                                      .admission = takes_part(a) ? &a->admission : NULL };
    struct decision decision;
    struct slice *made;

    if (a->peer->kind == PEER_ROUTE && !a->peer->inbound)
        return deny(REASON_ROUTE_INBOUND_OFF);
    if (!collect_entries(a, &peer, &made))
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
        a->peer->trusted || !may_be_ours(speaker(a)))
        return true;
    if (!ask_slots(a, AUTHORIZATION_FROM, AUTHORIZATION_FROM))
        *reason = REASON_PARK_BOUND_TOTAL;
    else if (waiter->reason != REASON_NONE)
        *reason = waiter->reason;
    if (*reason != REASON_NONE || !waiter->answer)
        return false;
    *both = is_ours(rights_state(a, AUTHORIZATION_FROM));
    return true;
}

/* In a dialog, PEER being answered. REASON_NONE: see a->standing; NONE there: it waits. */
static struct decision look_at_dialog(struct authorization *a)
{
    struct dialog_claim claim = { .by_certificate = a->peer->device || a->peer->certificate };
    enum reason reason;

    a->standing = STANDING_NONE;
    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE) /* a stranger that was admitted */
        claim.by_certificate = a->peer->device && a->peer->device == a->facts.side->device;
    if (claim.by_certificate && device_of(a) != a->facts.side->device)
        return deny(REASON_TOKEN_OTHER_DEVICE);
    if (is_shut_out(find_peer_state(a)))
        return deny(find_peer_state(a) == PEER_BLOCKED ? REASON_CERTIFICATE_BLOCKED
                                                       : REASON_DEVICE_DISABLED);
    if (!look_at_both(a, &claim.both, &reason))
        return deny(reason);
    claim.held = claim.by_certificate && (dialog_entry_held(a) || dialog_is_asserted(a));
    a->standing = authenticate_standing(a, &claim, &reason);
    return deny(a->standing == STANDING_OTHER ? REASON_TOKEN_OTHER_DEVICE : reason);
}

/* What the peer alone already decides; REASON_NONE: nothing yet. */
static struct decision decide_early(struct authorization *a)
{
    struct decision decision;

    if (a->peer->kind == PEER_WITHOUT_CERTIFICATE && !takes_part(a))
        return deny(REASON_CERTIFICATE_REQUIRED);
    if (!peer_answered(a))
        return deny(REASON_NONE);
    if (a->facts.side) {
        decision = look_at_dialog(a);
        if (decision.reason != REASON_NONE || a->standing != STANDING_NOT_HELD)
            return decision;
    }
    if (a->peer->trusted && !is_shut_out(find_peer_state(a)))
        return deny(REASON_NONE); /* whether From is ours decides what its word is worth */
    decision = decide_new(a, NULL);
    return decision.effect == EFFECT_CHALLENGE ? deny(REASON_NONE) : decision;
}

/* Of From; NULL: not answered. */
static const struct policy_rights *rights_of_from(const struct authorization *a)
{
    static const struct policy_rights foreign = { .state = USER_FOREIGN };
    const struct answer *from = a->waiters[AUTHORIZATION_FROM].answer;

    if (!may_be_ours(speaker(a)))
        return &foreign;
    return from ? &from->rights.rights : NULL;
}

static struct decision decide_late(struct authorization *a)
{
    const struct policy_rights *rights = rights_of_from(a);

    for (unsigned i = 0; i < AUTHORIZATION_SLOTS; i++) {
        if (a->waiters[i].reason != REASON_NONE)
            return deny(a->waiters[i].reason);
    }
    if (!rights)
        return deny(REASON_NONE);
    if (rights_state(a, AUTHORIZATION_TO) == USER_DISABLED ||
        (a->facts.to && a->locate && a->locate->locate.state == USER_DISABLED))
        return deny(REASON_USER_DISABLED);
    if (is_full_check(a) || (a->peer->trusted && !dialog_entry_held(a) &&
                             asserted_entry(a, from_is_foreign(a)).size == 0))
        return decide_new(a, rights);
    if (rights->state == USER_NONE || rights->state == USER_DISABLED)
        return deny(rights->state == USER_NONE ? REASON_NONE : REASON_USER_DISABLED);
    return (struct decision){ .effect = EFFECT_ALLOW,
                              .reason = REASON_ALLOWED,
                              .entry = { a->entry, 0 },
                              .edge_unix_s = UINT64_MAX };
}

/* F43: nobody is transferred in another's name. */
static struct decision check_referrer(struct authorization *a, struct decision decision)
{
    const struct identity *referrer = a->facts.referrer;
    struct policy_peer peer = { .state = find_peer_state(a) };
    struct slice *made;
    bool holds;

    if (decision.effect != EFFECT_ALLOW || !referrer ||
        slice_equal(identity_text(referrer), identity_text(a->facts.from)))
        return decision;
    if (!collect_entries(a, &peer, &made))
        return deny(REASON_OUT_OF_MEMORY);
    holds = policy_holds(&peer, referrer);
    mem_free(made);
    return holds ? decision : deny(REASON_REFERRED_BY_NOT_PERMITTED);
}

/* Whose calls are counted. The first evaluation of the peer may still be on its way. */
static struct slice caller_of(const struct authorization *a, char out[DEVICE_KEY_MAX + 8])
{
    char key[DEVICE_KEY_MAX + 1];

    if (rights_state(a, AUTHORIZATION_FROM) == USER_KNOWN) {
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

static const char *effect_name(enum effect effect)
{
    switch (effect) {
    case EFFECT_ALLOW:
        return "allow";
    case EFFECT_NONE:
    case EFFECT_DENY:
        break;
    case EFFECT_CHALLENGE:
        return "challenge";
    }
    return "deny";
}

/* Which of the certificates with this CN, for who has to find it. */
static void log_certificate(struct log_line *line, const struct peer_identity *certificate)
{
    if (certificate->serial && certificate->serial[0])
        log_word(line, "certificate_serial", certificate->serial);
    if (certificate->issuer && certificate->issuer[0])
        log_text(line, "issuer", slice_of(certificate->issuer));
}

static void log_decision(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;
    const struct peer_identity *certificate = a->peer->certificate;
    const struct identity *to = facts->to ? facts->to : facts->target;
    struct log_line line;

    log_begin(&line, LOG_INFO, "decision");
    log_word(&line, "effect", effect_name(a->decision.effect));
    log_word(&line, "reason", reason_name(a->decision.reason));
    if (certificate) {
        log_word(&line, "store", certificate->store);
        log_text(&line, "cn", (struct slice){ certificate->cn, certificate->cn_size });
        if (a->decision.effect != EFFECT_ALLOW)
            log_certificate(&line, certificate);
    } else if (a->peer->key[0]) {
        log_text(&line, "peer", slice_of(a->peer->key));
    }
    if (a->peer->trusted)
        log_word(&line, "trusted", a->peer->trusted->name);
    if (a->admission.user.size)
        log_text(&line, "password_of", a->admission.user);
    else if (a->facts.credentials && a->admission.password != PASSWORD_NONE)
        log_text(
            &line, "username",
            (struct slice){ a->facts.credentials->username, a->facts.credentials->username_size });
    log_text(&line, "from", identity_text(facts->from));
    if (to)
        log_text(&line, "to", identity_text(to));
    log_text(&line, "method", facts->method);
    log_text(&line, "call_id", facts->call_id);
    if (a->decision.rule_id)
        log_number(&line, "rule", (long long)a->decision.rule_id);
    log_end(&line);
}

static void set_ground(struct authorization *a)
{
    ground_begin(&a->ground, a->ask);
    a->ground.edge_unix_s = a->decision.edge_unix_s;
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
    if (a->decision.admission == ADMIT_AS_STRANGER)
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
        leave_all(a);
    }
    log_decision(a);
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
    decision = look_at_dialog(a);
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

    if (!takes_part(a) || !is_full_check(a) ||
        (a->facts.admission.digest == DIGEST_OFF && a->peer->kind == PEER_DEVICE) ||
        decide_new(a, NULL).admission == ADMIT_BY_CERTIFICATE)
        return true;
    if (!ask_slots(a, AUTHORIZATION_FROM, AUTHORIZATION_FROM)) {
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
    if (!ask_slots(a, AUTHORIZATION_PEER, AUTHORIZATION_PEER)) {
        become_decided(a, deny(REASON_PARK_BOUND_TOTAL));
        return;
    }
    if (peer_answered(a))
        look_behind(a);
    decision = decide_early(a);
    if (decision.reason != REASON_NONE) {
        become_decided(a, decision);
        return;
    }
    if (peer_answered(a) && ((a->facts.side && !pass_dialog(a)) || !pass_sender(a)))
        return;
    if (!ask_slots(a, AUTHORIZATION_FROM, AUTHORIZATION_LOCATE)) {
        become_decided(a, deny(REASON_PARK_BOUND_TOTAL));
        return;
    }
    if (waits(a))
        return;
    a->locate = a->waiters[AUTHORIZATION_LOCATE].answer;
    a->target_state = find_target_state(a);
    a->to_ourselves =
        a->facts.target && a->facts.target->user_size == 0 && is_ours(a->target_state);
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
    leave_all(a);
    peer_release(a->peer);
    a->peer = NULL;
    a->state = AUTHORIZATION_IDLE;
}
