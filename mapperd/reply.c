/* SPDX-License-Identifier: Apache-2.0 */
/* PEER, CREDENTIAL and EXPLAIN from one snapshot: a few reads and one append, no allocation. RIGHTS
 * is rights.c, LOCATE locate.c. */
#include "common/log.h"
#include "mapperd/reply_internal.h"

#include <string.h>

void reply_add_loading(struct buffer *out)
{
    resp_add_failure(out, "LOADING mapping data are not there yet");
}

void reply_add_head(const struct server *server, struct buffer *out)
{
    buffer_add(out, (struct slice){ server->head, server->head_size });
}

/* A record that does not read: whatever it was, it is no answer. */
bool reply_damaged(struct server *server, enum error e)
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

enum error reply_get_trust(struct server *server, struct slice store, struct record_store *record)
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

enum error reply_get_peer(struct server *server, struct slice store, struct slice cn,
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
    enum error e = reply_get_trust(server, store, &trust);
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
    e = reply_get_peer(server, store, answer->cn, &answer->peer);
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

bool reply_peer_key(struct server *server, struct slice store, struct slice cn,
                    struct record_key *key)
{
    struct record_store trust;
    char text[CN_MAX_OCTETS + 1];
    size_t size;
    if (!server_snapshot(server) || reply_get_trust(server, store, &trust) != ERROR_NONE ||
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
    if (!server_snapshot(server) || reply_damaged(server, find_peer(server, store, cn, &answer)) ||
        reply_damaged(server, find_blocked(server, store, chain, chain_count, &blocked))) {
        reply_add_loading(out);
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
    if (!server_snapshot(server) || reply_damaged(server, find_peer(server, store, *cn, &answer)))
        return DEVICE_NOT_TOLD;
    if (answer.cn.size > 0) {
        memcpy(text, answer.cn.data, answer.cn.size);
        *cn = (struct slice){ text, answer.cn.size };
    }
    return answer.peer.count > 0 ? DEVICE_MAPPED : DEVICE_UNMAPPED;
}

enum error reply_get_credentials(struct server *server, struct slice identity,
                                 struct record_peer *credentials)
{
    struct slice value;
    enum error e = store_get(&server->reader, STORE_CREDENTIAL, identity, &value);
    return e == ERROR_NONE ? record_credential_read(value, credentials) : e;
}

void reply_credential(struct server *server, struct buffer *out, struct slice identity)
{
    struct user_answer answer;
    struct record_peer credentials = { .count = 0, .bulks = SLICE("") };
    bool given =
        server_snapshot(server) && !reply_damaged(server, user_find(server, identity, &answer));
    if (given && answer.permitted && answer.user_row)
        given = !reply_damaged(
            server, reply_get_credentials(server, identity_text(&answer.identity), &credentials));
    if (!given) {
        reply_add_loading(out);
        return;
    }
    server->counts.lookups++;
    resp_add_array(out, 3 + (size_t)credentials.count);
    reply_add_head(server, out);
    resp_add_bulk(out, answer.state);
    buffer_add(out, credentials.bulks);
}

static void add_peer_lines(struct server *server, struct buffer *line, struct buffer *out,
                           size_t *count, const struct slice arguments[5])
{
    static const char *const FORMS[] = { "none", "mac", "exact" };
    struct peer_answer peer;
    struct slice rest, identity;
    if (reply_damaged(server, find_peer(server, arguments[0], arguments[1], &peer)))
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
    struct rule_sources sources;
    struct rule_extent extent;
    struct record_rule rule;
    if (reply_damaged(server, user_find(server, identity, &user)) ||
        reply_damaged(server, rules_collect(server, &user, &sources)) ||
        reply_damaged(server, rules_measure(&sources, &extent)))
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
        if (i == extent.count || rules_next(&sources, &rule) != ERROR_NONE)
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
        reply_add_loading(out);
        return;
    }
    buffer_init(&lines, 0);
    buffer_init(&line, 0);
    add_data_line(server, &line, &lines, &count);
    add_peer_lines(server, &line, &lines, &count, arguments);
    if (server->reader.store != NULL)
        add_user_lines(server, &line, &lines, &count, arguments[2]);
    if (server->reader.store != NULL &&
        !reply_damaged(server, user_find(server, arguments[4], &target))) {
        buffer_reset(&line);
        buffer_add_text(&line, "target state=");
        buffer_add(&line, target.state);
        resp_add_bulk(&lines, buffer_slice(&line));
        count++;
    }
    if (server->reader.store == NULL || lines.failed || line.failed) {
        reply_add_loading(out);
    } else {
        resp_add_array(out, 2 + count);
        reply_add_head(server, out);
        buffer_add(out, buffer_slice(&lines));
    }
    buffer_free(&lines);
    buffer_free(&line);
}
