/* SPDX-License-Identifier: Apache-2.0 */
/* RIGHTS: what is known of a user, and the rules that bear on it, merged in the order of decision.
 */
#include "mapperd/reply_internal.h"

#include <string.h>

/* Of one answer: a client that reads less closes the connection, and would do so again whenever
 * somebody asks. */
#define RIGHTS_RULES_MAX 8192
#define RIGHTS_BYTES_MAX (1u << 20)

/* Who is not ours is in one of two groups, which no user of ours can be in: `anonymous` (that is
 * what the proxy asks for who has proved nothing), else `foreign`. */
static void add_foreign_group(struct slice text, struct record_user *user)
{
    bool anonymous = slice_equal(text, SLICE("anonymous.invalid"));
    user->groups[0] = anonymous ? SLICE("anonymous") : SLICE("foreign");
    user->group_count = 1;
}

enum error user_find(struct server *server, struct slice text, struct user_answer *answer)
{
    struct slice value;
    enum record_state domain;
    memset(&answer->user, 0, sizeof(answer->user));
    answer->state = SLICE("foreign");
    answer->ours = answer->permitted = answer->user_row = false;
    add_foreign_group(text, &answer->user);
    if (identity_from_text(&answer->identity, text) != ERROR_NONE)
        return ERROR_NONE; /* a number without domain, or nothing at all: not one of ours */
    enum error e =
        store_get(&server->reader, STORE_DOMAIN, identity_domain(&answer->identity), &value);
    if (e != ERROR_NONE)
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    e = record_domain_read(value, &domain);
    if (e != ERROR_NONE)
        return e;
    answer->user.group_count = 0;
    answer->ours = true;
    answer->state = SLICE("unknown");
    e = store_get(&server->reader, STORE_USER, identity_text(&answer->identity), &value);
    if (e == ERROR_NONE) {
        e = record_user_read(value, &answer->user);
        answer->user_row = e == ERROR_NONE;
        answer->state = SLICE("known");
    }
    if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
        return e;
    answer->permitted =
        domain == RECORD_ENABLED && (!answer->user_row || answer->user.state == RECORD_ENABLED);
    if (!answer->permitted)
        answer->state = SLICE("disabled");
    return ERROR_NONE;
}

static enum error add_source(struct rule_sources *sources, struct slice block)
{
    sources->rest[sources->count] = block;
    enum error e =
        record_rule_next(&sources->rest[sources->count], &sources->heads[sources->count]);
    if (e == ERROR_NONE)
        sources->count++;
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

static enum error add_block(struct server *server, struct rule_sources *sources,
                            enum record_rules kind, struct slice who)
{
    struct record_key key;
    struct slice value;
    record_rules_key(&key, kind, who);
    if (key.failed)
        return ERROR_NONE;
    enum error e = store_get(&server->reader, STORE_RULES, record_key_slice(&key), &value);
    if (e != ERROR_NONE)
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    return add_source(sources, value);
}

enum error rules_collect(struct server *server, const struct user_answer *answer,
                         struct rule_sources *sources)
{
    enum error e = ERROR_NONE;
    sources->count = 0;
    if (answer->ours && !answer->permitted)
        return ERROR_NONE;
    if (answer->ours)
        e = add_block(server, sources, RECORD_RULES_EVERYONE, SLICE(""));
    if (e == ERROR_NONE && answer->ours)
        e = add_block(server, sources, RECORD_RULES_DOMAIN, identity_domain(&answer->identity));
    for (size_t i = 0; e == ERROR_NONE && i < answer->user.group_count; i++)
        e = add_block(server, sources, RECORD_RULES_GROUP, answer->user.groups[i]);
    if (e == ERROR_NONE && answer->user_row)
        e = add_source(sources, answer->user.rules);
    return e;
}

static bool comes_before(const struct record_rule *a, const struct record_rule *b)
{
    if (a->position != b->position)
        return a->position < b->position;
    return a->number != b->number ? a->number > b->number : a->id < b->id;
}

enum error rules_next(struct rule_sources *sources, struct record_rule *rule)
{
    size_t best = 0;
    if (sources->count == 0)
        return ERROR_NOT_FOUND;
    for (size_t i = 1; i < sources->count; i++)
        if (comes_before(&sources->heads[i], &sources->heads[best]))
            best = i;
    *rule = sources->heads[best];
    enum error e = record_rule_next(&sources->rest[best], &sources->heads[best]);
    if (e == ERROR_NOT_FOUND) {
        sources->count--;
        sources->heads[best] = sources->heads[sources->count];
        sources->rest[best] = sources->rest[sources->count];
        return ERROR_NONE;
    }
    return e;
}

static bool takes(struct rule_extent *extent, const struct record_rule *rule)
{
    extent->cut =
        extent->count == RIGHTS_RULES_MAX || rule->text.size > RIGHTS_BYTES_MAX - extent->bytes;
    extent->count += !extent->cut;
    extent->bytes += extent->cut ? 0 : rule->text.size;
    return !extent->cut;
}

/* Reads every block through, in whichever order. Only what does not fit is counted again in the
 * order of decision. */
enum error rules_measure(const struct rule_sources *sources, struct rule_extent *extent)
{
    struct rule_sources ordered;
    struct record_rule rule;
    enum error e = ERROR_NOT_FOUND;
    *extent = (struct rule_extent){ 0 };
    for (size_t i = 0; i < sources->count && !extent->cut; i++) {
        struct slice rest = sources->rest[i];
        rule = sources->heads[i];
        do
            e = takes(extent, &rule) ? record_rule_next(&rest, &rule) : ERROR_NOT_FOUND;
        while (e == ERROR_NONE);
        if (e != ERROR_NOT_FOUND)
            return e;
    }
    if (!extent->cut)
        return ERROR_NONE;
    *extent = (struct rule_extent){ 0 };
    ordered = *sources;
    do
        e = rules_next(&ordered, &rule);
    while (e == ERROR_NONE && takes(extent, &rule));
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

void reply_rights(struct server *server, struct buffer *out, struct slice identity)
{
    struct user_answer answer;
    struct rule_sources sources;
    struct record_rule rule;
    struct rule_extent extent;
    if (!server_snapshot(server) || reply_damaged(server, user_find(server, identity, &answer)) ||
        reply_damaged(server, rules_collect(server, &answer, &sources)) ||
        reply_damaged(server, rules_measure(&sources, &extent))) {
        reply_add_loading(out);
        return;
    }
    server->counts.lookups++;
    resp_add_array(out, 4 + extent.count + extent.cut);
    reply_add_head(server, out);
    resp_add_bulk(out, answer.state);
    size_t groups = answer.permitted || !answer.ours ? answer.user.group_count : 0;
    resp_add_array(out, groups);
    for (size_t i = 0; i < groups; i++)
        resp_add_bulk(out, answer.user.groups[i]);
    /* Measuring has read them all, so that this can't stop before its end. */
    for (size_t i = 0; i < extent.count && rules_next(&sources, &rule) == ERROR_NONE; i++)
        resp_add_bulk(out, rule.text);
    if (extent.cut)
        resp_add_bulk(out, DENY_THE_REST);
}
