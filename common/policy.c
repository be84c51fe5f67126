/* SPDX-License-Identifier: Apache-2.0 */
/* The decision, and the text of a rule. */
#include "common/policy.h"

/* ---- Rules as text ---- */

/* The field before the next space, or the rest. False when nothing is left, or a field is empty. */
static bool next_field(struct slice *rest, char separator, struct slice *field)
{
    const char *end;

    if (rest->size == 0)
        return false;
    end = memchr(rest->data, separator, rest->size);
    *field = (struct slice){ rest->data, end ? (size_t)(end - rest->data) : rest->size };
    rest->data += field->size + (end != NULL);
    rest->size -= field->size + (end != NULL);
    /* A separator at the very end would announce one more field. */
    return field->size > 0 && (!end || rest->size > 0);
}

static bool read_effect(struct slice s, enum effect *effect)
{
    if (slice_equal(s, SLICE("allow")))
        *effect = EFFECT_ALLOW;
    else if (slice_equal(s, SLICE("deny")))
        *effect = EFFECT_DENY;
    else if (slice_equal(s, SLICE("challenge")))
        *effect = EFFECT_CHALLENGE;
    else
        return false;
    return true;
}

static bool is_any(struct slice s)
{
    return slice_equal(s, SLICE("*"));
}

/* Of a field, which is never empty. */
static bool is_store(struct slice s)
{
    if (is_any(s))
        return true;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return s.size <= STORE_NAME_MAX;
}

/* A token of RFC 3261 25.1 without lower-case letters, and without '*', which stands for any. */
static bool is_method(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && (!c || !strchr("-.!%_+`'~", c)))
            return false;
    }
    return s.size > 0;
}

static bool is_method_list(struct slice s)
{
    struct slice method;

    if (is_any(s))
        return true;
    while (s.size) {
        if (!next_field(&s, ',', &method) || !is_method(method))
            return false;
    }
    return true;
}

static bool is_number(struct slice s)
{
    size_t at = s.size && s.data[0] == '+' ? 1 : 0;

    if (at == s.size)
        return false;
    for (; at < s.size; at++) {
        if (s.data[at] < '0' || s.data[at] > '9')
            return false;
    }
    return true;
}

/* Compared byte by byte later, so another spelling would never match: it is refused here. */
static bool is_canonical(struct slice s, bool with_user)
{
    struct identity identity;

    return identity_from_text(&identity, s) == ERROR_NONE &&
           slice_equal(identity_text(&identity), s) && (identity.user_size > 0) == with_user;
}

static bool cut(struct slice s, struct slice prefix, struct slice *rest)
{
    if (s.size < prefix.size || memcmp(s.data, prefix.data, prefix.size) != 0)
        return false;
    *rest = (struct slice){ s.data + prefix.size, s.size - prefix.size };
    return true;
}

static bool read_target(struct slice s, struct policy_rule *rule)
{
    rule->target = SLICE("");
    if (is_any(s)) {
        rule->target_kind = TARGET_ANY;
        return true;
    }
    if (slice_equal(s, SLICE("ours"))) {
        rule->target_kind = TARGET_OURS;
        return true;
    }
    if (cut(s, SLICE("user:"), &rule->target)) {
        rule->target_kind = TARGET_USER;
        return is_canonical(rule->target, true);
    }
    if (cut(s, SLICE("domain:"), &rule->target)) {
        rule->target_kind = TARGET_DOMAIN;
        return is_canonical(rule->target, false);
    }
    if (cut(s, SLICE("number:"), &rule->target)) {
        rule->target_kind = TARGET_NUMBER;
        return is_number(rule->target);
    }
    if (cut(s, SLICE("service:"), &rule->target)) {
        struct identity service;

        rule->target_kind = TARGET_SERVICE;
        return identity_from_service(&service, rule->target) == ERROR_NONE &&
               slice_equal(identity_service(&service), rule->target);
    }
    return false;
}

/* "-" = open, which leaves *value as it is. */
static bool read_optional(struct slice s, unsigned long long max, unsigned long long *value)
{
    return slice_equal(s, SLICE("-")) || slice_to_u64(s, max, value);
}

enum { FIELD_COUNT = 8 };

static bool read_rule(const struct slice field[FIELD_COUNT], struct policy_rule *rule)
{
    unsigned long long id, from = 0, until = UINT64_MAX, per_minute = UINT32_MAX;

    if (!slice_to_u64(field[0], UINT64_MAX, &id) || !read_effect(field[1], &rule->effect) ||
        !is_store(field[2]) || !is_method_list(field[3]) || !read_target(field[4], rule) ||
        !read_optional(field[5], UINT64_MAX, &from) ||
        !read_optional(field[6], UINT64_MAX, &until) ||
        !read_optional(field[7], UINT32_MAX - 1, &per_minute))
        return false;
    if (per_minute == 0) /* would become unlimited, the contrary of what it says */
        return false;
    rule->id = id;
    rule->store = field[2];
    rule->methods = field[3];
    rule->from_unix_s = from;
    rule->until_unix_s = until;
    rule->per_minute = per_minute == UINT32_MAX ? 0 : (uint32_t)per_minute;
    return true;
}

enum error policy_rule_parse(struct slice text, struct policy_rule *rule)
{
    struct slice field[FIELD_COUNT];

    *rule = (struct policy_rule){ .effect = EFFECT_NONE };
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!next_field(&text, ' ', &field[i]))
            return ERROR_MALFORMED;
    }
    if (text.size || !read_rule(field, rule)) {
        *rule = (struct policy_rule){ .effect = EFFECT_NONE };
        return ERROR_MALFORMED;
    }
    return ERROR_NONE;
}

uint64_t policy_rights_edge_unix_s(const struct policy_rights *rights, uint64_t now_unix_s)
{
    uint64_t edge = UINT64_MAX;

    for (size_t i = 0; i < rights->rule_count; i++) {
        const struct policy_rule *rule = &rights->rules[i];
        if (rule->from_unix_s > now_unix_s && rule->from_unix_s < edge)
            edge = rule->from_unix_s;
        if (rule->until_unix_s > now_unix_s && rule->until_unix_s < edge)
            edge = rule->until_unix_s;
    }
    return edge;
}

/* ---- The decision ---- */

static struct decision deny(enum reason reason)
{
    return (struct decision){
        .effect = EFFECT_DENY, .reason = reason, .entry = { "", 0 }, .edge_unix_s = UINT64_MAX
    };
}

static struct decision allow(void)
{
    return (struct decision){ .effect = EFFECT_ALLOW,
                              .reason = REASON_ALLOWED,
                              .entry = { "", 0 },
                              .edge_unix_s = UINT64_MAX };
}

/* The first entry that covers the identity; empty when none does. */
static struct slice covering_entry(const struct policy_peer *peer, const struct identity *identity)
{
    for (size_t i = 0; identity && i < peer->entry_count; i++) {
        if (identity_covered_by(identity, peer->entries[i]))
            return peer->entries[i];
    }
    return SLICE("");
}

static bool is_listed(struct slice method, struct slice list)
{
    struct slice one;

    if (is_any(list))
        return method.size > 0;
    while (next_field(&list, ',', &one)) {
        if (slice_equal(one, method))
            return true;
    }
    return false;
}

static bool is_looked_up(enum user_state state)
{
    switch (state) {
    case USER_FOREIGN:
    case USER_UNKNOWN:
    case USER_KNOWN:
    case USER_DISABLED:
        return true;
    case USER_NONE:
        break;
    }
    return false;
}

static bool is_ours(enum user_state state)
{
    switch (state) {
    case USER_UNKNOWN:
    case USER_KNOWN:
    case USER_DISABLED:
        return true;
    case USER_NONE:
    case USER_FOREIGN:
        break;
    }
    return false;
}

/* Without, a rule that doesn't match might be the one that denies. */
static bool knows_target(const struct policy_request *request)
{
    return request->target && request->target->size > 0 && is_looked_up(request->target_state);
}

/* sos.fire is a service of sos, and sosfire is not. */
static bool is_service_of(struct slice service, struct slice of)
{
    return slice_has_prefix(service, of) &&
           (service.size == of.size || service.data[of.size] == '.');
}

/* The rule's number is read like the request's, so that 00 or 0 in either is + in both. */
static bool is_number_of(const struct policy_rule *rule, const struct policy_request *request)
{
    struct number wanted, number;

    return number_read(identity_user(request->target), &request->plan, &number) &&
           number_read_beginning(rule->target, &request->plan, &wanted) &&
           slice_has_prefix((struct slice){ number.text, number.size },
                            (struct slice){ wanted.text, wanted.size });
}

/* A user of ours who exists by that name is none, nor one for whom somebody registers. */
static bool may_be_taken_for_number(const struct policy_request *request)
{
    return !request->third_party && request->target_state != USER_KNOWN &&
           request->target_state != USER_DISABLED;
}

/* What permits does so for plain numbers alone; nothing that a gateway might make of the user part
 * gets past what does not. */
static bool number_matches(const struct policy_rule *rule, const struct policy_request *request)
{
    struct number wanted;

    if (is_number_of(rule, request))
        return true;
    return rule->effect != EFFECT_ALLOW && may_be_taken_for_number(request) &&
           number_read_beginning(rule->target, &request->plan, &wanted) &&
           number_may_begin(identity_user(request->target), &request->plan, &wanted);
}

static bool target_matches(const struct policy_rule *rule, const struct policy_request *request)
{
    const struct identity *target = request->target;

    switch (rule->target_kind) {
    case TARGET_ANY:
        return true;
    case TARGET_OURS:
        return is_ours(request->target_state);
    case TARGET_USER:
        return slice_equal(identity_text(target), rule->target);
    case TARGET_DOMAIN:
        return slice_equal(identity_domain(target), rule->target);
    case TARGET_NUMBER:
        return number_matches(rule, request);
    case TARGET_SERVICE:
        return is_service_of(identity_service(target), rule->target);
    case TARGET_NONE:
        break;
    }
    return false;
}

/* All but its validity window. */
static bool rule_matches(const struct policy_rule *rule, const struct policy_peer *peer,
                         const struct policy_request *request)
{
    return (is_any(rule->store) || slice_equal(rule->store, peer->store)) &&
           is_listed(request->method, rule->methods) && target_matches(rule, request);
}

/* ---- Passwords ---- */

static struct decision challenge(enum reason reason)
{
    struct decision decision = deny(reason);

    decision.effect = EFFECT_CHALLENGE;
    return decision;
}

struct decision policy_without_password(enum password_outcome outcome)
{
    switch (outcome) {
    case PASSWORD_NONE:
        return challenge(REASON_CREDENTIALS_REQUIRED);
    case PASSWORD_WRONG:
        return challenge(REASON_CREDENTIALS_WRONG);
    case PASSWORD_STALE:
        return challenge(REASON_CREDENTIALS_STALE);
    case PASSWORD_REPLAYED:
        return challenge(REASON_CREDENTIALS_REPLAYED);
    case PASSWORD_BRAKED:
        return deny(REASON_CREDENTIALS_BRAKED);
    case PASSWORD_RIGHT:
        break;
    }
    return deny(REASON_NONE);
}

/* Whether the password that was proved is that of somebody who may use From: himself. Needs
 * request->admission. */
static bool password_permits(const struct policy_request *request)
{
    const struct policy_admission *admission = request->admission;

    return admission->password == PASSWORD_RIGHT && admission->user.size > 0 &&
           slice_equal(identity_text(request->from), admission->user);
}

static bool takes_passwords(const struct policy_admission *admission)
{
    return admission &&
           (admission->digest == DIGEST_FALLBACK || admission->digest == DIGEST_ALWAYS);
}

static void apply_challenge(struct decision *decision, const struct policy_request *request)
{
    if (password_permits(request)) {
        decision->effect = EFFECT_ALLOW;
        decision->reason = REASON_ALLOWED;
    } else if (request->admission->password == PASSWORD_RIGHT) {
        *decision = deny(REASON_FROM_NOT_PERMITTED);
    } else {
        *decision = policy_without_password(request->admission->password);
    }
}

/* Not by a word that was said about everything. */
static bool grants(const struct policy_rule *rule, const struct policy_request *request)
{
    return !request->third_party || !is_any(rule->methods);
}

/* A password makes no number of what might only be taken for one. */
static bool may_challenge(const struct policy_rule *rule, const struct policy_request *request)
{
    return takes_passwords(request->admission) && grants(rule, request) &&
           (rule->target_kind != TARGET_NUMBER || is_number_of(rule, request));
}

static void apply_rule(struct decision *decision, const struct policy_rule *rule,
                       const struct policy_request *request)
{
    uint64_t edge_unix_s = decision->edge_unix_s;

    *decision = deny(REASON_RULE_DENIES);
    switch (rule->effect) {
    case EFFECT_ALLOW:
        *decision = allow();
        break;
    case EFFECT_CHALLENGE:
        if (may_challenge(rule, request))
            apply_challenge(decision, request);
        break;
    case EFFECT_NONE:
    case EFFECT_DENY:
        break;
    }
    decision->edge_unix_s = edge_unix_s;
    decision->rule_id = rule->id;
    decision->per_minute = rule->per_minute;
}

/* ---- Rules ---- */

/* The edge: a matching rule before the one that decides could come into force, or that one end. */
static struct decision decide_by_rules(const struct policy_peer *peer,
                                       const struct policy_request *request,
                                       const struct policy_rights *rights)
{
    struct decision decision = deny(REASON_NO_RIGHT);
    uint64_t now_unix_s = request->now_unix_s;

    for (size_t i = 0; i < rights->rule_count; i++) {
        const struct policy_rule *rule = &rights->rules[i];
        bool over = rule->until_unix_s <= now_unix_s || rule->until_unix_s <= rule->from_unix_s;

        if (over || !rule_matches(rule, peer, request) ||
            (rule->effect == EFFECT_ALLOW && !grants(rule, request)))
            continue;
        if (rule->from_unix_s > now_unix_s) {
            if (rule->from_unix_s < decision.edge_unix_s)
                decision.edge_unix_s = rule->from_unix_s;
            continue;
        }
        if (rule->until_unix_s < decision.edge_unix_s)
            decision.edge_unix_s = rule->until_unix_s;
        apply_rule(&decision, rule, request);
        return decision;
    }
    return decision;
}

static struct decision decide_by_rights(const struct policy_peer *peer,
                                        const struct policy_request *request,
                                        const struct policy_rights *rights)
{
    if (!rights || !is_looked_up(rights->state))
        return deny(REASON_NONE);
    if (rights->state == USER_DISABLED)
        return deny(REASON_USER_DISABLED);
    if (request->to_ourselves)
        return allow();
    if (!knows_target(request))
        return deny(REASON_NONE);
    return decide_by_rules(peer, request, rights);
}

/* `request` comes from somebody who may use From, and not To. */
static struct decision decide_third_party(const struct policy_peer *peer,
                                          const struct policy_request *request,
                                          const struct policy_rights *rights)
{
    struct policy_request registers = *request;
    struct decision decision;

    if (!request->to || request->to->user_size == 0 || request->from->user_size == 0)
        return deny(REASON_TO_NOT_PERMITTED);
    if (!rights || !is_looked_up(rights->state))
        return deny(REASON_NONE);
    if (rights->state == USER_DISABLED)
        return deny(REASON_USER_DISABLED);
    if (!is_ours(rights->state) || !request->to_ourselves)
        return deny(REASON_TO_NOT_PERMITTED);
    if (!is_looked_up(request->to_state))
        return deny(REASON_NONE);
    if (!is_ours(request->to_state))
        return deny(REASON_TO_NOT_PERMITTED);
    registers.third_party = true;
    registers.method = SLICE("REGISTER");
    registers.target = request->to;
    registers.target_state = request->to_state;
    registers.plan = (struct number_plan){ .international = SLICE(NUMBER_INTERNATIONAL) };
    decision = decide_by_rules(peer, &registers, rights);
    decision.third_party = decision.effect == EFFECT_ALLOW;
    if (decision.reason == REASON_NO_RIGHT || decision.reason == REASON_RULE_DENIES)
        decision.reason = REASON_TO_NOT_PERMITTED;
    return decision;
}

/* ---- Who may use From ---- */

/* Nobody vouches for From, which is of another domain. */
static struct decision decide_unknown(const struct policy_peer *peer,
                                      const struct policy_request *request, bool stranger)
{
    const struct policy_rights *rules = request->anonymous;
    struct decision decision;

    if (request->to || slice_equal(request->method, SLICE("REGISTER")))
        return deny(stranger ? REASON_TO_NOT_PERMITTED : REASON_CERTIFICATE_REQUIRED);
    if (request->to_ourselves)
        return stranger ? allow() : deny(REASON_CERTIFICATE_REQUIRED);
    if (!knows_target(request) || !rules || !is_looked_up(rules->state))
        return deny(REASON_NONE);
    decision = decide_by_rules(peer, request, rules);
    if (decision.rule_id != 0)
        return decision;
    if (!stranger)
        decision.reason = REASON_CERTIFICATE_REQUIRED;
    else if (is_ours(request->target_state)) {
        decision.effect = EFFECT_ALLOW;
        decision.reason = REASON_ALLOWED;
    }
    return decision;
}

static struct decision decide_as_nobody(const struct policy_peer *peer,
                                        const struct policy_request *request, bool stranger)
{
    struct decision decision = decide_unknown(peer, request, stranger);

    if (decision.effect == EFFECT_ALLOW)
        decision.entry = identity_text(request->from);
    return decision;
}

/* From is permitted, by `entry`. `user`: whose password admits it, empty when none has to. */
static struct decision decide_permitted(const struct policy_peer *peer,
                                        const struct policy_request *request,
                                        const struct policy_rights *rights, struct slice user,
                                        enum admission admission)
{
    struct decision decision;
    struct slice entry = covering_entry(peer, request->from);
    bool registers = request->to || slice_equal(request->method, SLICE("REGISTER"));
    bool to_permitted = true;

    if (registers && admission != ADMIT_BY_PASSWORD)
        to_permitted = covering_entry(peer, request->to).size > 0;
    if (registers && user.size)
        to_permitted = to_permitted && request->to && slice_equal(identity_text(request->to), user);
    if (admission == ADMIT_BY_PASSWORD)
        entry = user;
    decision = to_permitted ? decide_by_rights(peer, request, rights)
                            : decide_third_party(peer, request, rights);
    decision.entry = entry;
    return decision;
}

bool policy_holds(const struct policy_peer *peer, const struct identity *identity)
{
    return covering_entry(peer, identity).size > 0;
}

static struct decision decide_by_password(const struct policy_peer *peer,
                                          const struct policy_request *request,
                                          const struct policy_rights *rights,
                                          enum admission admission)
{
    const struct policy_admission *shown = request->admission;

    if (shown->password != PASSWORD_RIGHT)
        return policy_without_password(shown->password);
    if (!password_permits(request))
        return deny(REASON_FROM_NOT_PERMITTED);
    return decide_permitted(peer, request, rights, shown->user, admission);
}

static enum reason reason_of_refusal(const struct policy_peer *peer)
{
    return peer->state == PEER_UNKNOWN && peer->entry_count == 0 ? REASON_DEVICE_UNKNOWN
                                                                 : REASON_FROM_NOT_PERMITTED;
}

/* With rights NULL: whether From's domain is ours is not known yet, so only what is the same for
 * both is decided; REASON_NONE: nothing is. */
static struct decision decide_by_admission(const struct policy_peer *peer,
                                           const struct policy_request *request,
                                           const struct policy_rights *rights)
{
    const struct policy_admission *shown = request->admission;
    struct admission_facts facts = {
        .digest = shown->digest,
        .third_parties = shown->third_parties,
        .certificate = shown->certificate,
        .permitted =
            shown->certificate == CERTIFICATE_VALID && covering_entry(peer, request->from).size > 0,
        .from_ours = rights && is_ours(rights->state),
    };
    enum admission admission = admission_of(&facts);
    struct decision decision = deny(REASON_NONE);

    if (!rights) {
        facts.from_ours = true;
        if (admission_of(&facts) != admission)
            return decision;
    } else if (!is_looked_up(rights->state)) {
        return decision;
    }
    if (admission == ADMIT_BY_CERTIFICATE)
        decision = decide_permitted(peer, request, rights, SLICE(""), admission);
    else if (admission == ADMIT_BY_PASSWORD || admission == ADMIT_BY_BOTH)
        decision = decide_by_password(peer, request, rights, admission);
    else if (admission == ADMIT_AS_STRANGER || admission == ADMIT_AS_ANONYMOUS)
        decision = decide_as_nobody(peer, request, admission == ADMIT_AS_STRANGER);
    else if (admission == REFUSE_FROM)
        decision = deny(reason_of_refusal(peer));
    else if (admission == REFUSE_WITHOUT_CERTIFICATE)
        decision = deny(REASON_CERTIFICATE_REQUIRED);
    decision.admission = admission;
    return decision;
}

static struct decision decide_by_entries(const struct policy_peer *peer,
                                         const struct policy_request *request,
                                         const struct policy_rights *rights)
{
    if (covering_entry(peer, request->from).size == 0)
        return deny(reason_of_refusal(peer));
    return decide_permitted(peer, request, rights, SLICE(""), ADMISSION_NONE);
}

struct decision decide(const struct policy_peer *peer, const struct policy_request *request,
                       const struct policy_rights *rights)
{
    switch (peer->state) {
    case PEER_DISABLED:
        return deny(REASON_DEVICE_DISABLED);
    case PEER_BLOCKED:
        return deny(REASON_CERTIFICATE_BLOCKED);
    case PEER_UNKNOWN: /* the names in its certificate remain */
    case PEER_KNOWN:
        if (!request->from || request->from->size == 0)
            break;
        return request->admission ? decide_by_admission(peer, request, rights)
                                  : decide_by_entries(peer, request, rights);
    case PEER_NONE:
        break;
    }
    return deny(REASON_NONE);
}

struct decision decide_admitted(const struct policy_peer *peer,
                                const struct policy_request *request,
                                const struct policy_rights *rights, enum admission admission)
{
    if (admission == ADMIT_AS_STRANGER || admission == ADMIT_AS_ANONYMOUS)
        return decide_unknown(peer, request, admission == ADMIT_AS_STRANGER);
    return decide_by_rights(peer, request, rights);
}
