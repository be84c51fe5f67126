/* SPDX-License-Identifier: Apache-2.0 */
/* Rows become records. */
#include "mapperd/rows.h"

#include "common/log.h"
#include "common/policy.h"

#include <stdio.h>
#include <string.h>

#define REALM_MAX 254 /* octets, of the username too */

void rows_init(struct rows_record *r)
{
    memset(r, 0, sizeof(*r));
    r->rows = 1;
    buffer_init(&r->value, 0);
    buffer_init(&r->scratch, 0);
}

void rows_free(struct rows_record *r)
{
    buffer_free(&r->value);
    buffer_free(&r->scratch);
}

static void report(struct rows_record *r, const char *table, struct slice key, struct slice what)
{
    struct log_line line;
    if (r->quiet)
        return;
    r->skipped++;
    log_begin(&line, LOG_WARNING, "row-skipped");
    log_word(&line, "table", table);
    log_text(&line, "key", key);
    log_text(&line, "value", what);
    log_end(&line);
}

static bool state_of(struct slice text, enum record_state *state)
{
    if (slice_equal(text, SLICE("enabled")))
        *state = RECORD_ENABLED;
    else
        *state = RECORD_DISABLED; /* a word unknown here permits nothing */
    return *state == RECORD_ENABLED || slice_equal(text, SLICE("disabled"));
}

/* Starts a record under a key of one word. */
static bool start_plain(struct rows_record *r, struct slice name, size_t max)
{
    r->words[0] = name;
    record_key_start(&r->key);
    record_key_add(&r->key, name);
    buffer_reset(&r->value);
    return name.size > 0 && name.size <= max && !r->key.failed;
}

enum rows_outcome rows_trust(const PGresult *result, int row, struct rows_record *r)
{
    struct record_store store = { 0 };
    struct database_array prefixes;
    struct slice prefix, name = database_text(result, row, 0), form = database_text(result, row, 1);
    if (!start_plain(r, name, STORE_NAME_MAX)) {
        report(r, "trust_store", name, name);
        return ROWS_SKIP;
    }
    if (database_is_null(result, row, 1))
        return ROWS_ABSENT;
    store.form = slice_equal(form, SLICE("mac"))     ? CN_FORM_MAC
                 : slice_equal(form, SLICE("exact")) ? CN_FORM_EXACT
                                                     : CN_FORM_NONE;
    bool good = state_of(database_text(result, row, 3), &store.state) &&
                store.form != CN_FORM_NONE &&
                database_array(result, row, 2, &prefixes) == ERROR_NONE;
    while (good && database_array_next(&prefixes, &prefix)) {
        good = store.prefix_count < RECORD_PREFIXES_MAX;
        if (good)
            store.prefixes[store.prefix_count++] = prefix;
    }
    if (!good) {
        report(r, "trust_store", name, form);
        return ROWS_ABSENT; /* without its store no device is known */
    }
    record_store_write(&r->value, &store);
    return ROWS_PRESENT;
}

enum rows_outcome rows_domain(const PGresult *result, int row, struct rows_record *r)
{
    enum record_state state;
    struct slice name = database_text(result, row, 0);
    if (!start_plain(r, name, IDENTITY_MAX - 1)) {
        report(r, "domain", name, name);
        return ROWS_SKIP;
    }
    if (database_is_null(result, row, 1))
        return ROWS_ABSENT;
    if (!state_of(database_text(result, row, 1), &state))
        report(r, "domain", name, database_text(result, row, 1));
    record_domain_write(&r->value, state);
    return ROWS_PRESENT;
}

/* `POSITION ID …`: the first number, and the text behind its space. */
static bool split_position(struct slice text, int64_t *position, struct slice *rest)
{
    const char *space = text.size > 0 ? memchr(text.data, ' ', text.size) : NULL;
    if (space == NULL)
        return false;
    struct slice number = { text.data, (size_t)(space - text.data) };
    bool negative = number.size > 0 && number.data[0] == '-';
    unsigned long long value;
    if (negative) {
        number.data++;
        number.size--;
    }
    if (!slice_to_u64(number, INT64_MAX, &value))
        return false;
    *position = negative ? -(int64_t)value : (int64_t)value;
    *rest = (struct slice){ space + 1, (size_t)(text.data + text.size - space - 1) };
    return true;
}

static uint64_t number_size(const struct policy_rule *rule)
{
    return rule->target_kind == TARGET_NUMBER ? rule->target.size : 0;
}

static void add_rule(struct rows_record *r, struct slice owner, struct slice text)
{
    struct record_rule rule = { 0 };
    struct policy_rule parsed;
    char stand_in[64];
    if (split_position(text, &rule.position, &rule.text) &&
        policy_rule_parse(rule.text, &parsed) == ERROR_NONE) {
        rule.id = parsed.id;
        rule.number = number_size(&parsed);
        record_rule_add(&r->value, &rule);
        return;
    }
    /* Leaving out a rule that allows takes something away; leaving out one that denies would give.
     */
    report(r, "rights_rule", owner, text);
    struct slice id = rule.text, effect;
    unsigned long long number = 0;
    const char *space = id.size > 0 ? memchr(id.data, ' ', id.size) : NULL;
    if (space != NULL) {
        id.size = (size_t)(space - id.data);
        effect = (struct slice){ space + 1, rule.text.size - id.size - 1 };
        if (slice_to_u64(id, INT64_MAX, &number) && effect.size > 6 &&
            memcmp(effect.data, "allow ", 6) == 0)
            return;
    }
    int size = snprintf(stand_in, sizeof(stand_in), "%llu deny * * * - - -", number);
    rule.id = number;
    rule.number = UINT64_MAX; /* before whatever else stands at this position */
    rule.text = (struct slice){ stand_in, (size_t)size };
    record_rule_add(&r->value, &rule);
}

/* The rules end before this one, which could be the one that denies: here all is denied. */
static void add_end(struct rows_record *r, struct slice owner, struct slice text)
{
    struct record_rule rule = { .text = SLICE("0 deny * * * - - -") };
    struct slice rest;
    report(r, "rights_rule", owner, SLICE("more than 4096 rules"));
    if (!split_position(text, &rule.position, &rest))
        rule.position = INT64_MIN;
    rule.number = UINT64_MAX;
    record_rule_add(&r->value, &rule);
}

static void add_rules(const PGresult *result, int row, int column, struct slice owner,
                      struct rows_record *r)
{
    struct database_array rules;
    struct slice text;
    if (database_array(result, row, column, &rules) != ERROR_NONE) {
        report(r, "rights_rule", owner, SLICE("unreadable"));
        add_rule(r, owner, SLICE(""));
        return;
    }
    for (size_t i = 0; database_array_next(&rules, &text); i++) {
        if (i == RECORD_RULES_MAX) {
            add_end(r, owner, text);
            return;
        }
        add_rule(r, owner, text);
    }
}

enum rows_outcome rows_rules(const PGresult *result, int row, struct rows_record *r)
{
    struct slice kind = database_text(result, row, 0), who = database_text(result, row, 1);
    enum record_rules rules = slice_equal(kind, SLICE("everyone")) ? RECORD_RULES_EVERYONE
                              : slice_equal(kind, SLICE("domain")) ? RECORD_RULES_DOMAIN
                                                                   : RECORD_RULES_GROUP;
    r->words[0] = kind;
    r->words[1] = who;
    record_rules_key(&r->key, rules, who);
    buffer_reset(&r->value);
    if (r->key.failed || (who.size == 0 && rules != RECORD_RULES_EVERYONE)) {
        report(r, "rights_rule", kind, who);
        return ROWS_SKIP;
    }
    add_rules(result, row, 2, who, r);
    return buffer_size(&r->value) > 0 || r->value.failed ? ROWS_PRESENT : ROWS_ABSENT;
}

static bool good_group(struct slice name)
{
    if (name.size == 0 || name.size > 64)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
            return false;
    return true;
}

enum rows_outcome rows_user(const PGresult *result, int row, struct rows_record *r)
{
    struct slice groups[RECORD_GROUPS_MAX], group, identity = database_text(result, row, 0);
    size_t count = 0;
    enum record_state state;
    struct database_array array;
    if (!start_plain(r, identity, IDENTITY_MAX)) {
        report(r, "sip_user", identity, identity);
        return ROWS_SKIP;
    }
    if (database_is_null(result, row, 1))
        return ROWS_ABSENT;
    bool good = state_of(database_text(result, row, 1), &state) &&
                identity_is_canonical(identity) &&
                database_array(result, row, 2, &array) == ERROR_NONE;
    while (good && database_array_next(&array, &group)) {
        good = count < RECORD_GROUPS_MAX && good_group(group);
        if (good)
            groups[count++] = group;
    }
    if (!good) {
        /* A group left out could be the one whose rule denies. */
        report(r, "sip_user", identity, database_text(result, row, 1));
        state = RECORD_DISABLED;
    }
    record_user_start(&r->value, state, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        record_user_add_group(&r->value, groups[i]);
    add_rules(result, row, 3, identity, r);
    return ROWS_PRESENT;
}

/* Of a device's row, which may be missing. A word unknown here permits nothing. */
static bool is_disabled(const PGresult *result, int row, int column, struct slice cn,
                        struct rows_record *r)
{
    struct slice state = database_text(result, row, column);
    if (database_is_null(result, row, column) || slice_equal(state, SLICE("known")))
        return false;
    if (!slice_equal(state, SLICE("disabled")))
        report(r, "device_info", cn, state);
    return true;
}

/* The key; false: not one that the store could hold. */
static bool start_peer(const PGresult *result, int row, struct rows_record *r)
{
    struct slice store = database_text(result, row, 0), cn = database_text(result, row, 1);
    r->words[0] = store;
    r->words[1] = cn;
    record_peer_key(&r->key, store, cn);
    buffer_reset(&r->value);
    if (!r->key.failed && store.size > 0 && store.size <= STORE_NAME_MAX && cn.size > 0 &&
        cn.size <= CN_MAX_OCTETS && text_is_clean_utf8(cn))
        return true;
    report(r, "cn_mapping", store, cn);
    return false;
}

enum rows_outcome rows_peer(const PGresult *result, int row, struct rows_record *r)
{
    struct database_array identities, again;
    struct slice identity;
    uint32_t count = 0;
    if (!start_peer(result, row, r))
        return ROWS_SKIP;
    if (is_disabled(result, row, 3, r->words[1], r)) {
        record_peer_start(&r->value, RECORD_DISABLED, 0);
        return ROWS_PRESENT;
    }
    if (database_array(result, row, 2, &identities) != ERROR_NONE) {
        report(r, "cn_mapping", r->words[1], SLICE("unreadable"));
        return ROWS_ABSENT;
    }
    again = identities;
    while (database_array_next(&identities, &identity)) {
        if (!identity_is_canonical(identity)) {
            report(r, "cn_mapping", r->words[1], identity);
        } else if (count == RECORD_IDENTITIES_MAX) {
            report(r, "cn_mapping", r->words[1], SLICE("more than 4096 identities"));
            break;
        } else {
            count++;
        }
    }
    if (count == 0)
        return ROWS_ABSENT;
    record_peer_start(&r->value, RECORD_ENABLED, count);
    while (count > 0 && database_array_next(&again, &identity)) {
        if (identity_is_canonical(identity)) {
            record_peer_add(&r->value, identity);
            count--;
        }
    }
    return ROWS_PRESENT;
}

bool rows_peer_same(const PGresult *result, int row, int other)
{
    return slice_equal(database_text(result, row, 1), database_text(result, other, 1)) &&
           slice_equal(database_text(result, row, 0), database_text(result, other, 0));
}

/* The row behind the last one of the device whose key was begun. */
static int end_of_peer(const PGresult *result, int row, const struct rows_record *r)
{
    int rows = PQntuples(result);
    do
        row++;
    while (row < rows && slice_equal(r->words[1], database_text(result, row, 1)) &&
           slice_equal(r->words[0], database_text(result, row, 0)));
    return row;
}

enum rows_outcome rows_peer_range(const PGresult *result, int row, struct rows_record *r)
{
    bool good_key = start_peer(result, row, r);
    int end = end_of_peer(result, row, r);
    uint32_t count = 0;
    bool all = true;
    r->rows = end - row;
    if (!good_key)
        return ROWS_SKIP;
    for (int i = row; i < end; i++) {
        if (is_disabled(result, i, 3, r->words[1], r)) {
            record_peer_start(&r->value, RECORD_DISABLED, 0);
            return ROWS_PRESENT;
        }
        if (database_is_null(result, i, 2))
            continue;
        bool good = identity_is_canonical(database_text(result, i, 2));
        all &= good;
        if (!good)
            report(r, "cn_mapping", r->words[1], database_text(result, i, 2));
        else if (++count == RECORD_IDENTITIES_MAX + 1)
            report(r, "cn_mapping", r->words[1], SLICE("more than 4096 identities"));
    }
    if (count == 0)
        return ROWS_ABSENT;
    if (count > RECORD_IDENTITIES_MAX)
        count = RECORD_IDENTITIES_MAX;
    record_peer_start(&r->value, RECORD_ENABLED, count);
    for (int i = row; i < end && count > 0; i++) {
        if (!database_is_null(result, i, 2) &&
            (all || identity_is_canonical(database_text(result, i, 2)))) {
            record_peer_add(&r->value, database_text(result, i, 2));
            count--;
        }
    }
    return ROWS_PRESENT;
}

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.data[i] <= ' ' || s.data[i] == 0x7f)
            return false;
    return true;
}

enum rows_outcome rows_blocked(const PGresult *result, int row, struct rows_record *r)
{
    struct slice store = database_text(result, row, 0), sha256 = database_text(result, row, 1);
    r->words[0] = store;
    r->words[1] = sha256;
    record_peer_key(&r->key, store, sha256);
    buffer_reset(&r->value);
    if (r->key.failed || store.size == 0 || store.size > STORE_NAME_MAX ||
        !record_is_sha256(sha256)) {
        report(r, "blocked_certificate", store, sha256);
        return ROWS_SKIP; /* no certificate has it */
    }
    if (database_is_null(result, row, 2))
        return ROWS_ABSENT;
    buffer_add_char(&r->value, 'b');
    return ROWS_PRESENT;
}

static bool is_hash(struct slice s, size_t digits)
{
    if (s.size == 0)
        return true;
    for (size_t i = 0; i < s.size; i++)
        if (!(s.data[i] >= '0' && s.data[i] <= '9') && !(s.data[i] >= 'a' && s.data[i] <= 'f'))
            return false;
    return s.size == digits;
}

static bool good_credential(const struct record_credential *c)
{
    return c->realm.size > 0 && c->realm.size <= REALM_MAX && text_is_clean_utf8(c->realm) &&
           c->username.size > 0 && c->username.size <= REALM_MAX &&
           text_is_clean_utf8(c->username) && is_hash(c->sha256, 64) && is_hash(c->md5, 32) &&
           c->sha256.size + c->md5.size > 0;
}

/* What is reported is the realm, never a hash. */
enum rows_outcome rows_credential(const PGresult *result, int row, struct rows_record *r)
{
    struct record_credential good[RECORD_REALMS_MAX], c;
    struct database_array columns[4];
    struct slice identity = database_text(result, row, 0);
    uint32_t count = 0;
    bool readable = true;
    if (!start_plain(r, identity, IDENTITY_MAX)) {
        report(r, "credential", identity, identity);
        return ROWS_SKIP;
    }
    if (database_is_null(result, row, 1))
        return ROWS_ABSENT;
    for (int i = 0; i < 4; i++)
        readable &= database_array(result, row, i + 1, &columns[i]) == ERROR_NONE;
    while (readable && database_array_next(&columns[0], &c.realm)) {
        readable = database_array_next(&columns[1], &c.username) &&
                   database_array_next(&columns[2], &c.sha256) &&
                   database_array_next(&columns[3], &c.md5);
        if (readable && count < RECORD_REALMS_MAX && good_credential(&c))
            good[count++] = c;
        else
            report(r, "credential", identity, c.realm);
    }
    if (!readable || count == 0) {
        report(r, "credential", identity, SLICE("unreadable"));
        return ROWS_ABSENT;
    }
    record_credential_start(&r->value, count);
    for (uint32_t i = 0; i < count; i++)
        record_credential_add(&r->value, &r->scratch, &good[i]);
    return ROWS_PRESENT;
}

static bool binding_numbers(const PGresult *result, int row, struct record_binding *b)
{
    uint64_t q, by;
    if (database_u64(result, row, 8, &b->reg_id) != ERROR_NONE ||
        database_u64(result, row, 10, &b->expires_unix_s) != ERROR_NONE ||
        database_u64(result, row, 11, &q) != ERROR_NONE ||
        database_u64(result, row, 13, &b->cseq) != ERROR_NONE ||
        database_u64(result, row, 16, &b->version.unix_ms) != ERROR_NONE ||
        database_u64(result, row, 17, &by) != ERROR_NONE)
        return false;
    b->q = (uint32_t)q;
    b->version.by = (uint32_t)by;
    return q <= 1000 && by <= INT32_MAX && b->version.unix_ms <= INT64_MAX;
}

/* Whatever else it were, the binding would seem to be the address of record's own. */
static bool is_another_user(struct slice user, struct slice aor)
{
    return identity_is_canonical(user) && memchr(user.data, '@', user.size) != NULL &&
           !slice_equal(user, aor);
}

enum rows_outcome rows_binding(const PGresult *result, int row, struct rows_record *r)
{
    struct record_binding *b = &r->binding;
    *b = (struct record_binding){ .aor = database_text(result, row, 0) };
    r->words[0] = b->aor;
    buffer_reset(&r->value);
    record_binding_prefix(&r->key, b->aor);
    if (database_is_null(result, row, 1))
        return ROWS_ABSENT; /* no binding of this address of record */
    b->device_key = r->words[1] = database_text(result, row, 1);
    b->instance_key = r->words[2] = database_text(result, row, 2);
    b->store = database_text(result, row, 3);
    b->cn = database_text(result, row, 4);
    b->entry = database_text(result, row, 6);
    b->instance = database_text(result, row, 7);
    b->contact = database_text(result, row, 9);
    b->call_id = database_text(result, row, 12);
    b->flow = database_text(result, row, 14);
    b->path = database_text(result, row, 15);
    struct slice removed = database_text(result, row, 18);
    b->removed = removed.size != 1 || removed.data[0] != 0; /* anything but a plain no */
    b->registered_by = database_text(result, row, 19);
    bool of_third = !database_is_null(result, row, 19);
    if (b->aor.size == 0 || b->aor.size > IDENTITY_MAX || !binding_numbers(result, row, b) ||
        !record_ground_from_text(database_text(result, row, 5), &b->ground) ||
        !is_printable(b->contact) || !is_printable(b->entry) || !is_printable(b->store) ||
        (of_third && !is_another_user(b->registered_by, b->aor))) {
        report(r, "binding", b->aor, b->contact);
        return ROWS_SKIP;
    }
    record_binding_key(&r->key, b->aor, b->device_key, b->instance_key);
    record_binding_write(&r->value, b);
    return ROWS_PRESENT;
}

enum error rows_put_binding(struct store_writer *writer, struct slice key, struct slice value,
                            struct record_version version, bool *newer)
{
    struct slice old;
    struct record_binding standing;
    *newer = true;
    enum error e = store_writer_get(writer, STORE_BINDING, key, &old);
    if (e != ERROR_NONE && e != ERROR_NOT_FOUND)
        return e;
    if (e == ERROR_NONE && record_binding_read(old, &standing) == ERROR_NONE)
        *newer = record_version_compare(version, standing.version) > 0;
    if (*newer)
        store_put(writer, STORE_BINDING, key, value);
    return ERROR_NONE;
}
