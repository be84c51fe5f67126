/* SPDX-License-Identifier: Apache-2.0 */
/* LOCATE: the bindings of an address of record that hold now, from store and journal.
 *
 *   a binding    holds while it has not expired, the AoR is of an enabled domain of ours and not
 *                disabled, and
 *   mapping      its device is mapped to `entry`, which covers the holder, and neither device nor
 *                store is disabled
 *   name         neither device nor store is disabled (its expiry ends with the certificate)
 *   digest       `entry` is the holder, who has a credential
 *   third party  the holder, which is who registered it, is of an enabled domain of ours and not
 *                disabled, and its rules, decided by decide() in this moment, let it register for
 * the AoR; where that is a rule `challenge`, it has a credential
 *
 * The holder is the AoR itself but for third parties. */
#include "common/policy.h"
#include "mapperd/reply_internal.h"

#include <string.h>

#define LOCATE_MAX 1024 /* above any contacts_max of the proxy */

/* A password is one user's, so it grounds bindings that this user has registered alone, whose state
 * has been looked at. */
static enum error credential_held(struct server *server, const struct record_binding *b,
                                  const struct identity *holder, bool *holds)
{
    struct record_peer credentials;
    if (!slice_equal(b->entry, identity_text(holder)))
        return ERROR_NONE;
    enum error e = reply_get_credentials(server, b->entry, &credentials);
    *holds = e == ERROR_NONE;
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

/* Whether what the binding stands on still holds, now and in this snapshot, for who registered it:
 * the AoR itself, or a third party. */
static enum error ground_holds(struct server *server, const struct record_binding *b,
                               const struct identity *holder, bool *holds)
{
    struct record_store trust;
    struct record_peer peer;
    struct slice identity;
    bool named = b->ground == GROUND_NAME && identity_covered_by(holder, b->entry);
    *holds = false;
    if (b->ground == GROUND_DIGEST)
        return credential_held(server, b, holder, holds);
    enum error e = reply_get_trust(server, b->store, &trust);
    if (e != ERROR_NONE || trust.state != RECORD_ENABLED)
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    e = reply_get_peer(server, b->store, b->cn, &peer);
    if (e == ERROR_NOT_FOUND) {
        *holds = named; /* of the certificate: it needs no row */
        return ERROR_NONE;
    }
    if (e != ERROR_NONE || peer.state != RECORD_ENABLED)
        return e;
    *holds = named;
    while (!*holds && record_peer_next(&peer.bulks, &identity))
        *holds = slice_equal(identity, b->entry) && identity_covered_by(holder, identity);
    return ERROR_NONE;
}

/* ---- Third parties ---- */

/* The rules of a user, read; NULL: they can't be, and none of them counts then. */
static const struct policy_rule *read_rules(struct server *server, struct rule_sources *sources,
                                            const struct rule_extent *extent)
{
    struct policy_rule *rules;
    struct record_rule rule;
    buffer_reset(&server->rules);
    rules = (struct policy_rule *)(void *)buffer_reserve(&server->rules,
                                                         (extent->count + 1) * sizeof(*rules));
    for (size_t i = 0; rules != NULL && i < extent->count; i++)
        if (rules_next(sources, &rule) != ERROR_NONE ||
            policy_rule_parse(rule.text, &rules[i]) != ERROR_NONE)
            return NULL;
    if (rules != NULL && extent->cut &&
        policy_rule_parse(DENY_THE_REST, &rules[extent->count]) != ERROR_NONE)
        return NULL;
    return rules;
}

/* Who registered it has proved what it stands on, as ground_holds() knows; a rule `challenge` was
 * met by his password besides, so there must be one still. */
static struct decision decide_third_party(const struct record_binding *b,
                                          const struct user_answer *user,
                                          const struct identity *aor,
                                          const struct policy_rights *rights, bool has_password,
                                          uint64_t now_unix_s)
{
    const struct slice by = identity_text(&user->identity);
    const struct policy_admission admission = {
        .digest = DIGEST_FALLBACK,
        .third_parties = THIRD_PARTIES_REFUSE,
        .certificate = CERTIFICATE_VALID,
        .password = has_password ? PASSWORD_RIGHT : PASSWORD_NONE,
        .user = has_password ? by : SLICE(""),
    };
    const struct policy_peer peer = {
        .state = PEER_KNOWN, .store = b->store, .entries = &by, .entry_count = 1
    };
    const struct policy_request request = {
        .method = SLICE("REGISTER"),
        .from = &user->identity,
        .to = aor,
        .to_ourselves = true,
        .to_state = USER_KNOWN, /* it is ours, and not disabled: find_bindings() */
        .now_unix_s = now_unix_s,
        .admission = &admission,
    };
    return decide(&peer, &request, rights);
}

/* Whether who registered it for the AoR may still do so, until *until_unix_s at most. */
static enum error third_party_holds(struct server *server, const struct record_binding *b,
                                    const struct identity *aor, uint64_t now_unix_s, bool *holds,
                                    uint64_t *until_unix_s)
{
    struct user_answer user;
    struct rule_sources sources;
    struct rule_extent extent;
    struct record_peer credentials;
    struct policy_rights rights = { .state = USER_KNOWN };
    struct decision decision;
    *holds = false;
    enum error e = user_find(server, b->registered_by, &user);
    if (e != ERROR_NONE || !user.permitted || user.identity.user_size == 0)
        return e;
    e = ground_holds(server, b, &user.identity, holds);
    if (e == ERROR_NONE && *holds)
        e = rules_collect(server, &user, &sources);
    if (e == ERROR_NONE && *holds)
        e = rules_measure(&sources, &extent);
    if (e != ERROR_NONE || !*holds)
        return e;
    rights.rules = read_rules(server, &sources, &extent);
    rights.rule_count = rights.rules != NULL ? extent.count + extent.cut : 0;
    e = reply_get_credentials(server, b->registered_by, &credentials);
    if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
        return e;
    decision = decide_third_party(b, &user, aor, &rights, e == ERROR_NONE, now_unix_s);
    *holds = decision.effect == EFFECT_ALLOW && decision.third_party;
    *until_unix_s = decision.edge_unix_s;
    return ERROR_NONE;
}

/* What may be given away of an AoR: values in the map, good for as long as the snapshot. */
struct found {
    size_t count;
    struct {
        struct record_version version;
        struct slice value;
        uint64_t until_unix_s; /* of a third party: until when its rules let it */
    } at[LOCATE_MAX];
};

/* Newest first; of more than there is room for, the oldest are left out. */
static void keep_newest(struct found *found, struct record_version version, struct slice value,
                        uint64_t until_unix_s)
{
    size_t i = found->count < LOCATE_MAX ? found->count++ : LOCATE_MAX - 1;
    if (i == LOCATE_MAX - 1 && found->at[i].value.data != NULL &&
        record_version_compare(version, found->at[i].version) < 0)
        return;
    for (; i > 0 && record_version_compare(found->at[i - 1].version, version) < 0; i--)
        found->at[i] = found->at[i - 1];
    found->at[i].version = version;
    found->at[i].value = value;
    found->at[i].until_unix_s = until_unix_s;
}

/* Keeps the binding if it may be given away now. */
static enum error consider(struct server *server, const struct identity *aor, uint64_t now_unix_s,
                           struct slice value, const struct record_binding *b, struct found *found)
{
    bool holds = false;
    uint64_t until_unix_s = UINT64_MAX;
    if (b->removed || b->expires_unix_s <= now_unix_s)
        return ERROR_NONE;
    enum error e = b->registered_by.size > 0
                       ? third_party_holds(server, b, aor, now_unix_s, &holds, &until_unix_s)
                       : ground_holds(server, b, aor, &holds);
    if (e == ERROR_NONE && holds)
        keep_newest(found, b->version, value, until_unix_s);
    return e;
}

static enum error find_stored(struct server *server, const struct identity *aor,
                              uint64_t now_unix_s, struct found *found)
{
    struct record_key prefix;
    struct store_walk walk;
    struct slice key, value;
    struct record_binding b;
    enum error e = ERROR_NONE;
    record_binding_prefix(&prefix, identity_text(aor));
    store_walk_reader(&server->reader, STORE_BINDING, record_key_slice(&prefix), &walk);
    while (e == ERROR_NONE && store_walk_next(&walk, &key, &value) && key.size >= prefix.size &&
           memcmp(key.data, prefix.bytes, prefix.size) == 0) {
        e = record_binding_read(value, &b);
        if (e == ERROR_NONE && !journal_hides(&server->journal, &b))
            e = consider(server, aor, now_unix_s, value, &b, found);
    }
    store_walk_end(&walk);
    return e != ERROR_NONE ? e : walk.error;
}

/* Whether the store has this very binding in the same or a higher version. */
static enum error stands(struct server *server, const struct record_binding *b, bool *stands)
{
    struct record_key key;
    struct slice value;
    struct record_binding stored;
    *stands = false;
    record_binding_key(&key, b->aor, b->device_key, b->instance_key);
    enum error e = store_get(&server->reader, STORE_BINDING, record_key_slice(&key), &value);
    if (e == ERROR_NOT_FOUND)
        return ERROR_NONE;
    if (e == ERROR_NONE)
        e = record_binding_read(value, &stored);
    *stands = e == ERROR_NONE && record_version_compare(stored.version, b->version) >= 0;
    return e;
}

static enum error find_journalled(struct server *server, const struct identity *aor,
                                  uint64_t now_unix_s, struct found *found)
{
    struct journal_walk walk;
    struct slice value;
    struct record_binding b;
    enum error e = ERROR_NONE;
    journal_walk_start(&server->journal, identity_text(aor), &walk);
    while (e == ERROR_NONE && journal_walk_next(&walk, &value)) {
        bool stored = false;
        if (record_binding_read(value, &b) != ERROR_NONE || journal_hides(&server->journal, &b))
            continue;
        e = stands(server, &b, &stored);
        if (e == ERROR_NONE && !stored)
            e = consider(server, aor, now_unix_s, value, &b, found);
    }
    journal_walk_end(&walk);
    return e;
}

static enum error find_bindings(struct server *server, const struct user_answer *answer,
                                uint64_t now_unix_s, struct found *found)
{
    found->count = 0;
    if (!answer->permitted || answer->identity.user_size == 0)
        return ERROR_NONE;
    found->at[LOCATE_MAX - 1].value.data = NULL;
    enum error e = find_stored(server, &answer->identity, now_unix_s, found);
    if (e == ERROR_NONE)
        e = find_journalled(server, &answer->identity, now_unix_s, found);
    return e;
}

/* The text is made in a buffer of the server's, which keeps its memory, since a bulk's length comes
 * first. */
static void add_binding(struct server *server, struct buffer *out, struct slice value,
                        uint64_t until_unix_s)
{
    struct record_binding b;
    struct user_answer user;
    bool of_third = false;
    if (record_binding_read(value, &b) == ERROR_NONE)
        of_third = b.registered_by.size > 0;
    else
        out->failed = true;
    if (of_third && user_find(server, b.registered_by, &user) != ERROR_NONE)
        out->failed = true;
    if (out->failed) /* all of it has been read before */
        return;
    const struct record_third_party third_party = { of_third ? user.user.groups : NULL,
                                                    of_third ? user.user.group_count : 0,
                                                    until_unix_s };
    buffer_reset(&server->text);
    record_binding_text(&server->text, &b, of_third ? &third_party : NULL);
    out->failed |= server->text.failed;
    resp_add_bulk(out, buffer_slice(&server->text));
}

void reply_locate(struct server *server, struct buffer *out, struct slice identity,
                  uint64_t now_unix_s)
{
    struct user_answer answer;
    struct found found;
    if (!server_snapshot(server) || reply_damaged(server, user_find(server, identity, &answer)) ||
        reply_damaged(server, find_bindings(server, &answer, now_unix_s, &found))) {
        reply_add_loading(out);
        return;
    }
    server->counts.lookups++;
    resp_add_array(out, 3 + found.count);
    reply_add_head(server, out);
    resp_add_bulk(out, answer.state);
    for (size_t i = 0; i < found.count; i++)
        add_binding(server, out, found.at[i].value, found.at[i].until_unix_s);
}
