/* SPDX-License-Identifier: Apache-2.0 */
/* PEER, RIGHTS, LOCATE and EXPLAIN from one snapshot: a few reads and one append, no allocation. */
#include "common/identity.h"
#include "common/log.h"
#include "mapperd/record.h"
#include "mapperd/server.h"

#include <string.h>

#define SOURCES_MAX (RECORD_GROUPS_MAX + 3)
#define LOCATE_MAX  1024 /* above any contacts_max of the proxy */

/* Of one answer: a client that reads less closes the connection, and would do so again whenever
 * somebody asks. */
#define RIGHTS_RULES_MAX 8192
#define RIGHTS_BYTES_MAX (1u << 20)
#define DENY_THE_REST    SLICE("0 deny * * * - - -") /* one left out might be the one that denies */

static void add_loading(struct buffer *out)
{
    resp_add_failure(out, "LOADING mapping data are not there yet");
}

void reply_add_head(const struct server *server, struct buffer *out)
{
    buffer_add(out, (struct slice){ server->head, server->head_size });
}

/* A record that does not read: whatever it was, it is no answer. */
static bool damaged(struct server *server, enum error e)
{
    if (e == ERROR_NONE || e == ERROR_NOT_FOUND)
        return false;
    server_damaged(server);
    return true;
}

/* Whether the cache holds this store as it is in this very snapshot. */
static bool cached_trust(struct server *server, struct slice store, struct record_store *record)
{
    const struct trust_cache *c = &server->trust;
    if (c->serial.serial != server->reader.serial.serial ||
        c->serial.epoch != server->reader.serial.epoch || c->generation == 0 ||
        !slice_equal(store, (struct slice){ c->name, c->name_size }))
        return false;
    record->state = c->state;
    record->form = c->form;
    record->prefix_count = c->prefix_count;
    for (size_t i = 0; i < c->prefix_count; i++)
        record->prefixes[i] = c->prefixes[i];
    return true;
}

/* The map's bytes go with the snapshot: what is kept is copied. */
static void keep_trust(struct server *server, struct slice store, const struct record_store *record)
{
    struct trust_cache *c = &server->trust;
    size_t used = 0;
    c->generation = 0;
    if (record->prefix_count > sizeof(c->prefixes) / sizeof(c->prefixes[0]))
        return;
    for (size_t i = 0; i < record->prefix_count; i++) {
        struct slice prefix = record->prefixes[i];
        if (prefix.size > sizeof(c->text) - used)
            return;
        memcpy(c->text + used, prefix.data, prefix.size);
        c->prefixes[i] = (struct slice){ c->text + used, prefix.size };
        used += prefix.size;
    }
    memcpy(c->name, store.data, store.size);
    c->name_size = store.size;
    c->state = record->state;
    c->form = record->form;
    c->prefix_count = record->prefix_count;
    c->serial = server->reader.serial;
    c->generation = store_generation(server->reader.store);
}

static enum error get_trust(struct server *server, struct slice store, struct record_store *record)
{
    struct slice value;
    if (store.size == 0 || store.size > STORE_NAME_MAX)
        return ERROR_NOT_FOUND;
    if (cached_trust(server, store, record))
        return ERROR_NONE;
    enum error e = store_get(&server->reader, STORE_TRUST, store, &value);
    if (e == ERROR_NONE)
        e = record_store_read(value, record);
    if (e == ERROR_NONE)
        keep_trust(server, store, record);
    return e;
}

static enum error get_peer(struct server *server, struct slice store, struct slice cn,
                           struct record_peer *peer)
{
    struct record_key key;
    struct slice value;
    record_peer_key(&key, store, cn);
    if (key.failed)
        return ERROR_NOT_FOUND;
    enum error e = store_get(&server->reader, STORE_PEER, record_key_slice(&key), &value);
    return e == ERROR_NONE ? record_peer_read(value, peer) : e;
}

struct peer_answer {
    enum record_state store; /* RECORD_NONE: no such store */
    enum cn_form form;
    struct slice cn;         /* canonical; empty: not of the store's form */
    struct record_peer peer; /* count 0: unknown or disabled, by its state */
    char text[CN_MAX_OCTETS + 1];
};

static enum error find_peer(struct server *server, struct slice store, struct slice cn,
                            struct peer_answer *answer)
{
    struct record_store trust;
    size_t size;
    answer->store = RECORD_NONE;
    answer->cn = SLICE("");
    answer->peer = (struct record_peer){ .state = RECORD_NONE, .bulks = SLICE("") };
    enum error e = get_trust(server, store, &trust);
    if (e != ERROR_NONE)
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    answer->store = trust.state;
    answer->form = trust.form;
    if (cn_canonical(trust.form, trust.prefixes, trust.prefix_count, cn, answer->text, &size) !=
        ERROR_NONE)
        return ERROR_NONE;
    answer->cn = (struct slice){ answer->text, size };
    if (trust.state != RECORD_ENABLED)
        return ERROR_NONE;
    e = get_peer(server, store, answer->cn, &answer->peer);
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

bool reply_peer_key(struct server *server, struct slice store, struct slice cn,
                    struct record_key *key)
{
    struct record_store trust;
    char text[CN_MAX_OCTETS + 1];
    size_t size;
    if (!server_snapshot(server) || get_trust(server, store, &trust) != ERROR_NONE ||
        trust.state != RECORD_ENABLED ||
        cn_canonical(trust.form, trust.prefixes, trust.prefix_count, cn, text, &size) != ERROR_NONE)
        return false;
    record_peer_key(key, store, (struct slice){ text, size });
    return !key->failed;
}

static struct slice peer_state(const struct peer_answer *answer)
{
    if (answer->store == RECORD_DISABLED || answer->peer.state == RECORD_DISABLED)
        return SLICE("disabled");
    return answer->peer.count > 0 ? SLICE("known") : SLICE("unknown");
}

/* Whether one of them is blocked. */
static enum error find_blocked(struct server *server, struct slice store, const struct slice *chain,
                               size_t count, bool *blocked)
{
    struct record_key key;
    struct slice value;
    *blocked = false;
    for (size_t i = 0; i < count && !*blocked; i++) {
        record_peer_key(&key, store, chain[i]);
        if (key.failed)
            return ERROR_NONE; /* no store has such a name */
        enum error e = store_get(&server->reader, STORE_BLOCKED, record_key_slice(&key), &value);
        if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
            return e;
        *blocked = e == ERROR_NONE;
    }
    return ERROR_NONE;
}

void reply_peer(struct server *server, struct buffer *out, struct slice store, struct slice cn,
                const struct slice *chain, size_t chain_count)
{
    struct peer_answer answer;
    bool blocked;
    if (!server_snapshot(server) || damaged(server, find_peer(server, store, cn, &answer)) ||
        damaged(server, find_blocked(server, store, chain, chain_count, &blocked))) {
        add_loading(out);
        return;
    }
    if (blocked)
        answer.peer = (struct record_peer){ .state = RECORD_NONE, .bulks = SLICE("") };
    server->counts.lookups++;
    if (answer.peer.count > 0)
        server->counts.known++;
    else
        server->counts.unknown++;
    resp_add_array(out, 4 + (size_t)answer.peer.count);
    reply_add_head(server, out);
    resp_add_bulk(out, blocked ? SLICE("blocked") : peer_state(&answer));
    resp_add_bulk(out, answer.cn);
    buffer_add(out, answer.peer.bulks);
}

enum device_standing reply_device(struct server *server, struct slice store, struct slice *cn,
                                  char text[CN_MAX_OCTETS + 1])
{
    struct peer_answer answer;
    if (!server_snapshot(server) || damaged(server, find_peer(server, store, *cn, &answer)))
        return DEVICE_NOT_TOLD;
    if (answer.cn.size > 0) {
        memcpy(text, answer.cn.data, answer.cn.size);
        *cn = (struct slice){ text, answer.cn.size };
    }
    return answer.peer.count > 0 ? DEVICE_MAPPED : DEVICE_UNMAPPED;
}

/* What is known of an identity: its domain, its user. */
struct user_answer {
    struct slice state;   /* as the wire says it */
    bool ours, permitted; /* permitted: rules apply, bindings may be given */
    struct identity identity;
    struct record_user user; /* foreign: the group of who is not ours */
    bool user_row;
};

/* Who is not ours is in one of two groups, which no user of ours can be in: `anonymous` (that is
 * what the proxy asks for who has proved nothing), else `foreign`. */
static void add_foreign_group(struct slice text, struct record_user *user)
{
    bool anonymous = slice_equal(text, SLICE("anonymous.invalid"));
    user->groups[0] = anonymous ? SLICE("anonymous") : SLICE("foreign");
    user->group_count = 1;
}

static enum error find_user(struct server *server, struct slice text, struct user_answer *answer)
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

/* The blocks that bear on a user, each in order; the merge takes the lowest head. */
struct sources {
    struct slice rest[SOURCES_MAX];
    struct record_rule heads[SOURCES_MAX];
    size_t count;
};

static enum error add_source(struct sources *sources, struct slice block)
{
    sources->rest[sources->count] = block;
    enum error e =
        record_rule_next(&sources->rest[sources->count], &sources->heads[sources->count]);
    if (e == ERROR_NONE)
        sources->count++;
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

static enum error add_block(struct server *server, struct sources *sources, enum record_rules kind,
                            struct slice who)
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

static enum error collect(struct server *server, const struct user_answer *answer,
                          struct sources *sources)
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

/* The next rule of all; NOT_FOUND at the end. */
static enum error next_rule(struct sources *sources, struct record_rule *rule)
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

/* How many of the rules an answer has; `cut`: DENY_THE_REST follows them. */
struct extent {
    size_t count, bytes;
    bool cut;
};

static bool takes(struct extent *extent, const struct record_rule *rule)
{
    extent->cut =
        extent->count == RIGHTS_RULES_MAX || rule->text.size > RIGHTS_BYTES_MAX - extent->bytes;
    extent->count += !extent->cut;
    extent->bytes += extent->cut ? 0 : rule->text.size;
    return !extent->cut;
}

/* Reads every block through, in whichever order. Only what does not fit is counted again in the
 * order of decision. */
static enum error measure(const struct sources *sources, struct extent *extent)
{
    struct sources ordered;
    struct record_rule rule;
    enum error e = ERROR_NOT_FOUND;
    *extent = (struct extent){ 0 };
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
    *extent = (struct extent){ 0 };
    ordered = *sources;
    do
        e = next_rule(&ordered, &rule);
    while (e == ERROR_NONE && takes(extent, &rule));
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

void reply_rights(struct server *server, struct buffer *out, struct slice identity)
{
    struct user_answer answer;
    struct sources sources;
    struct record_rule rule;
    struct extent extent;
    if (!server_snapshot(server) || damaged(server, find_user(server, identity, &answer)) ||
        damaged(server, collect(server, &answer, &sources)) ||
        damaged(server, measure(&sources, &extent))) {
        add_loading(out);
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
    for (size_t i = 0; i < extent.count && next_rule(&sources, &rule) == ERROR_NONE; i++)
        resp_add_bulk(out, rule.text);
    if (extent.cut)
        resp_add_bulk(out, DENY_THE_REST);
}

static enum error get_credentials(struct server *server, struct slice identity,
                                  struct record_peer *credentials)
{
    struct slice value;
    enum error e = store_get(&server->reader, STORE_CREDENTIAL, identity, &value);
    return e == ERROR_NONE ? record_credential_read(value, credentials) : e;
}

/* A password is one user's, so it grounds bindings of that user alone, whose state has been looked
 * at. */
static enum error credential_held(struct server *server, const struct record_binding *b,
                                  const struct identity *aor, bool *holds)
{
    struct record_peer credentials;
    if (!slice_equal(b->entry, identity_text(aor)))
        return ERROR_NONE;
    enum error e = get_credentials(server, b->entry, &credentials);
    *holds = e == ERROR_NONE;
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

void reply_credential(struct server *server, struct buffer *out, struct slice identity)
{
    struct user_answer answer;
    struct record_peer credentials = { .count = 0, .bulks = SLICE("") };
    bool given = server_snapshot(server) && !damaged(server, find_user(server, identity, &answer));
    if (given && answer.permitted && answer.user_row)
        given = !damaged(server,
                         get_credentials(server, identity_text(&answer.identity), &credentials));
    if (!given) {
        add_loading(out);
        return;
    }
    server->counts.lookups++;
    resp_add_array(out, 3 + (size_t)credentials.count);
    reply_add_head(server, out);
    resp_add_bulk(out, answer.state);
    buffer_add(out, credentials.bulks);
}

/* Whether what the binding stands on still holds, now and in this snapshot. */
static enum error ground_holds(struct server *server, const struct record_binding *b,
                               const struct identity *aor, bool *holds)
{
    struct record_store trust;
    struct record_peer peer;
    struct slice identity;
    *holds = false;
    if (b->ground == GROUND_DIGEST)
        return credential_held(server, b, aor, holds);
    enum error e = get_trust(server, b->store, &trust);
    if (e != ERROR_NONE || trust.state != RECORD_ENABLED)
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    e = get_peer(server, b->store, b->cn, &peer);
    if (e == ERROR_NOT_FOUND) {
        *holds = b->ground == GROUND_NAME; /* of the certificate: it needs no row */
        return ERROR_NONE;
    }
    if (e != ERROR_NONE || peer.state != RECORD_ENABLED)
        return e;
    *holds = b->ground == GROUND_NAME;
    while (!*holds && record_peer_next(&peer.bulks, &identity))
        *holds = slice_equal(identity, b->entry) && identity_covered_by(aor, identity);
    return ERROR_NONE;
}

/* What may be given away of an AoR: values in the map, good for as long as the snapshot. */
struct found {
    size_t count;
    struct {
        struct record_version version;
        struct slice value;
    } at[LOCATE_MAX];
};

/* Newest first; of more than there is room for, the oldest are left out. */
static void keep_newest(struct found *found, struct record_version version, struct slice value)
{
    size_t i = found->count < LOCATE_MAX ? found->count++ : LOCATE_MAX - 1;
    if (i == LOCATE_MAX - 1 && found->at[i].value.data != NULL &&
        record_version_compare(version, found->at[i].version) < 0)
        return;
    for (; i > 0 && record_version_compare(found->at[i - 1].version, version) < 0; i--)
        found->at[i] = found->at[i - 1];
    found->at[i].version = version;
    found->at[i].value = value;
}

/* Keeps the binding if it may be given away now. */
static enum error consider(struct server *server, const struct identity *aor, uint64_t now_unix_s,
                           struct slice value, const struct record_binding *b, struct found *found)
{
    bool holds = false;
    if (b->removed || b->expires_unix_s <= now_unix_s)
        return ERROR_NONE;
    enum error e = ground_holds(server, b, aor, &holds);
    if (e == ERROR_NONE && holds)
        keep_newest(found, b->version, value);
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
static void add_binding(struct server *server, struct buffer *out, struct slice value)
{
    struct record_binding b;
    if (record_binding_read(value, &b) != ERROR_NONE) {
        out->failed = true; /* it has been read before */
        return;
    }
    buffer_reset(&server->text);
    record_binding_text(&server->text, &b);
    out->failed |= server->text.failed;
    resp_add_bulk(out, buffer_slice(&server->text));
}

void reply_locate(struct server *server, struct buffer *out, struct slice identity,
                  uint64_t now_unix_s)
{
    struct user_answer answer;
    struct found found;
    if (!server_snapshot(server) || damaged(server, find_user(server, identity, &answer)) ||
        damaged(server, find_bindings(server, &answer, now_unix_s, &found))) {
        add_loading(out);
        return;
    }
    server->counts.lookups++;
    resp_add_array(out, 3 + found.count);
    reply_add_head(server, out);
    resp_add_bulk(out, answer.state);
    for (size_t i = 0; i < found.count; i++)
        add_binding(server, out, found.at[i].value);
}

static void add_peer_lines(struct server *server, struct buffer *line, struct buffer *out,
                           size_t *count, const struct slice arguments[5])
{
    static const char *const FORMS[] = { "none", "mac", "exact" };
    struct peer_answer peer;
    struct slice rest, identity;
    if (damaged(server, find_peer(server, arguments[0], arguments[1], &peer)))
        return;
    buffer_reset(line);
    buffer_add_text(line, "peer state=");
    buffer_add(line, peer_state(&peer));
    buffer_add_text(line, " cn=");
    buffer_add(line, peer.cn);
    resp_add_bulk(out, buffer_slice(line));
    rest = peer.peer.bulks;
    for (*count += 1; record_peer_next(&rest, &identity); ++*count) {
        buffer_reset(line);
        buffer_add_text(line, "entry identity=");
        buffer_add(line, identity);
        resp_add_bulk(out, buffer_slice(line));
    }
    buffer_reset(line);
    buffer_add_text(line, "store state=");
    buffer_add_text(line, peer.store == RECORD_ENABLED    ? "enabled"
                          : peer.store == RECORD_DISABLED ? "disabled"
                                                          : "none");
    buffer_add_text(line, " cn_form=");
    buffer_add_text(line, peer.store == RECORD_NONE ? "none" : FORMS[peer.form]);
    resp_add_bulk(out, buffer_slice(line));
    ++*count;
}

static void add_user_lines(struct server *server, struct buffer *line, struct buffer *out,
                           size_t *count, struct slice identity)
{
    struct user_answer user;
    struct sources sources;
    struct extent extent;
    struct record_rule rule;
    if (damaged(server, find_user(server, identity, &user)) ||
        damaged(server, collect(server, &user, &sources)) ||
        damaged(server, measure(&sources, &extent)))
        return;
    buffer_reset(line);
    buffer_add_text(line, "user state=");
    buffer_add(line, user.state);
    buffer_add_text(line, " groups=");
    for (size_t i = 0; i < user.user.group_count; i++) {
        if (i > 0)
            buffer_add_char(line, ',');
        buffer_add(line, user.user.groups[i]);
    }
    resp_add_bulk(out, buffer_slice(line));
    for (size_t i = 0; i < extent.count + extent.cut; i++) {
        if (i == extent.count || next_rule(&sources, &rule) != ERROR_NONE)
            rule.text = DENY_THE_REST;
        buffer_reset(line);
        buffer_add_text(line, "rule ");
        buffer_add(line, rule.text);
        resp_add_bulk(out, buffer_slice(line));
    }
    *count += 1 + extent.count + extent.cut;
}

/* For an operator, one at a time: it may allocate. */
/* Only when that alone refuses. */
static void add_data_line(const struct server *server, struct buffer *line, struct buffer *lines,
                          size_t *count)
{
    uint64_t age_ms = server_age_ms(server);
    if (!server_stale(server))
        return;
    buffer_reset(line);
    buffer_add_text(line, "data state=stale age_ms=");
    if (age_ms == UINT64_MAX)
        buffer_add_text(line, "unknown");
    else
        buffer_add_u64(line, age_ms);
    buffer_add_text(line, " bound_ms=");
    buffer_add_u64(line, server_live(server)->staleness_bound_ms);
    resp_add_bulk(lines, buffer_slice(line));
    (*count)++;
}

void reply_explain(struct server *server, struct buffer *out, const struct slice arguments[5])
{
    struct user_answer target;
    struct buffer lines, line;
    size_t count = 0;
    if (!server_snapshot(server)) {
        add_loading(out);
        return;
    }
    buffer_init(&lines, 0);
    buffer_init(&line, 0);
    add_data_line(server, &line, &lines, &count);
    add_peer_lines(server, &line, &lines, &count, arguments);
    if (server->reader.store != NULL)
        add_user_lines(server, &line, &lines, &count, arguments[2]);
    if (server->reader.store != NULL &&
        !damaged(server, find_user(server, arguments[4], &target))) {
        buffer_reset(&line);
        buffer_add_text(&line, "target state=");
        buffer_add(&line, target.state);
        resp_add_bulk(&lines, buffer_slice(&line));
        count++;
    }
    if (server->reader.store == NULL || lines.failed || line.failed) {
        add_loading(out);
    } else {
        resp_add_array(out, 2 + count);
        reply_add_head(server, out);
        buffer_add(out, buffer_slice(&lines));
    }
    buffer_free(&lines);
    buffer_free(&line);
}
