/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the store. Numbers are big endian; a text is its length in 4 octets and its bytes. */
#include "mapperd/record.h"

#include "common/resp.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

void record_key_start(struct record_key *k)
{
    k->size = 0;
    k->failed = false;
}

void record_key_copy(struct record_key *to, const struct record_key *from)
{
    memcpy(to->bytes, from->bytes, from->size);
    to->size = from->size;
    to->failed = from->failed;
}

void record_key_add(struct record_key *k, struct slice s)
{
    if (k->failed || s.size > (size_t)(RECORD_KEY_MAX - k->size)) {
        k->failed = true;
        return;
    }
    memcpy(k->bytes + k->size, s.data, s.size);
    k->size = (uint16_t)(k->size + s.size);
}

static void put_u64(char *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--) {
        at[i] = (char)(value & 0xff);
        value >>= 8;
    }
}

uint64_t record_u64_at(const char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

void record_key_add_u64(struct record_key *k, uint64_t value)
{
    char bytes[8];
    put_u64(bytes, value);
    record_key_add(k, (struct slice){ bytes, sizeof(bytes) });
}

void record_peer_key(struct record_key *k, struct slice store, struct slice cn)
{
    record_key_start(k);
    record_key_add(k, store);
    record_key_add(k, (struct slice){ "", 1 });
    record_key_add(k, cn);
}

void record_rules_key(struct record_key *k, enum record_rules kind, struct slice who)
{
    char byte = (char)kind;
    record_key_start(k);
    record_key_add(k, (struct slice){ &byte, 1 });
    record_key_add(k, who);
}

void record_binding_prefix(struct record_key *k, struct slice aor)
{
    record_key_start(k);
    record_key_add(k, aor);
    record_key_add(k, (struct slice){ "", 1 });
}

void record_binding_key(struct record_key *k, struct slice aor, struct slice device_key,
                        struct slice instance_key)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    unsigned char both[SHA256_DIGEST_LENGTH * 2];
    /* Each hashed by itself: no separator could be forged. */
    SHA256((const unsigned char *)device_key.data, device_key.size, both);
    SHA256((const unsigned char *)instance_key.data, instance_key.size,
           both + SHA256_DIGEST_LENGTH);
    SHA256(both, sizeof(both), digest);
    record_binding_prefix(k, aor);
    record_key_add(k, (struct slice){ (const char *)digest, 16 });
}

static void add_u8(struct buffer *out, uint8_t value)
{
    buffer_add_char(out, (char)value);
}

static void add_u32(struct buffer *out, uint32_t value)
{
    char bytes[4] = { (char)(value >> 24), (char)(value >> 16), (char)(value >> 8), (char)value };
    buffer_add(out, (struct slice){ bytes, sizeof(bytes) });
}

static void add_u64(struct buffer *out, uint64_t value)
{
    char bytes[8];
    put_u64(bytes, value);
    buffer_add(out, (struct slice){ bytes, sizeof(bytes) });
}

static void add_text(struct buffer *out, struct slice s)
{
    add_u32(out, (uint32_t)s.size);
    buffer_add(out, s);
}

static bool take(struct slice *rest, size_t size, struct slice *piece)
{
    if (rest->size < size)
        return false;
    *piece = (struct slice){ rest->data, size };
    rest->data += size;
    rest->size -= size;
    return true;
}

static bool take_u8(struct slice *rest, uint8_t *value)
{
    struct slice piece;
    if (!take(rest, 1, &piece))
        return false;
    *value = (uint8_t)piece.data[0];
    return true;
}

static bool take_u32(struct slice *rest, uint32_t *value)
{
    struct slice piece;
    if (!take(rest, 4, &piece))
        return false;
    *value = (uint32_t)(uint8_t)piece.data[0] << 24 | (uint32_t)(uint8_t)piece.data[1] << 16 |
             (uint32_t)(uint8_t)piece.data[2] << 8 | (uint32_t)(uint8_t)piece.data[3];
    return true;
}

static bool take_u64(struct slice *rest, uint64_t *value)
{
    struct slice piece;
    if (!take(rest, 8, &piece))
        return false;
    *value = record_u64_at(piece.data);
    return true;
}

static bool take_text(struct slice *rest, struct slice *text)
{
    uint32_t size;
    return take_u32(rest, &size) && take(rest, size, text);
}

static bool take_state(struct slice *rest, enum record_state *state)
{
    uint8_t byte;
    if (!take_u8(rest, &byte) || (byte != RECORD_ENABLED && byte != RECORD_DISABLED))
        return false;
    *state = (enum record_state)byte;
    return true;
}

void record_store_write(struct buffer *out, const struct record_store *store)
{
    add_u8(out, (uint8_t)store->state);
    add_u8(out, (uint8_t)store->form);
    add_u8(out, (uint8_t)store->prefix_count);
    for (size_t i = 0; i < store->prefix_count; i++)
        add_text(out, store->prefixes[i]);
}

enum error record_store_read(struct slice value, struct record_store *store)
{
    uint8_t form, count;
    if (!take_state(&value, &store->state) || !take_u8(&value, &form) || !take_u8(&value, &count))
        return ERROR_MALFORMED;
    if ((form != CN_FORM_MAC && form != CN_FORM_EXACT) || count > RECORD_PREFIXES_MAX)
        return ERROR_MALFORMED;
    store->form = (enum cn_form)form;
    store->prefix_count = count;
    for (size_t i = 0; i < count; i++)
        if (!take_text(&value, &store->prefixes[i]))
            return ERROR_MALFORMED;
    return value.size == 0 ? ERROR_NONE : ERROR_MALFORMED;
}

void record_domain_write(struct buffer *out, enum record_state state)
{
    add_u8(out, (uint8_t)state);
}

enum error record_domain_read(struct slice value, enum record_state *state)
{
    return take_state(&value, state) && value.size == 0 ? ERROR_NONE : ERROR_MALFORMED;
}

void record_peer_start(struct buffer *out, enum record_state state, uint32_t count)
{
    add_u8(out, (uint8_t)state);
    add_u32(out, count);
}

void record_peer_add(struct buffer *out, struct slice identity)
{
    resp_add_bulk(out, identity);
}

enum error record_peer_read(struct slice value, struct record_peer *peer)
{
    if (!take_state(&value, &peer->state) || !take_u32(&value, &peer->count))
        return ERROR_MALFORMED;
    peer->bulks = value;
    if (peer->state == RECORD_DISABLED)
        return peer->count == 0 && value.size == 0 ? ERROR_NONE : ERROR_MALFORMED;
    return peer->count > 0 && peer->count <= value.size / 7
               ? ERROR_NONE
               : ERROR_MALFORMED; /* the shortest bulk is $1 CR LF x CR LF */
}

bool record_peer_next(struct slice *rest, struct slice *identity)
{
    size_t at = 1, size = 0;
    if (rest->size < 7 || rest->data[0] != '$')
        return false;
    while (at < rest->size && rest->data[at] >= '0' && rest->data[at] <= '9' &&
           size <= IDENTITY_MAX)
        size = size * 10 + (size_t)(rest->data[at++] - '0');
    at += 2;
    if (size == 0 || size > IDENTITY_MAX || at > rest->size || rest->size - at < size + 2)
        return false;
    *identity = (struct slice){ rest->data + at, size };
    rest->data += at + size + 2;
    rest->size -= at + size + 2;
    return true;
}

void record_rule_add(struct buffer *out, const struct record_rule *rule)
{
    add_u64(out, (uint64_t)rule->position);
    add_u64(out, rule->number);
    add_u64(out, rule->id);
    add_text(out, rule->text);
}

enum error record_rule_next(struct slice *rest, struct record_rule *rule)
{
    uint64_t position;
    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    if (!take_u64(rest, &position) || !take_u64(rest, &rule->number) ||
        !take_u64(rest, &rule->id) || !take_text(rest, &rule->text))
        return ERROR_MALFORMED;
    rule->position = (int64_t)position;
    return ERROR_NONE;
}

void record_user_start(struct buffer *out, enum record_state state, uint32_t group_count)
{
    add_u8(out, (uint8_t)state);
    add_u32(out, group_count);
}

void record_user_add_group(struct buffer *out, struct slice group)
{
    add_text(out, group);
}

enum error record_user_read(struct slice value, struct record_user *user)
{
    uint32_t count;
    if (!take_state(&value, &user->state) || !take_u32(&value, &count) || count > RECORD_GROUPS_MAX)
        return ERROR_MALFORMED;
    user->group_count = count;
    for (size_t i = 0; i < count; i++)
        if (!take_text(&value, &user->groups[i]))
            return ERROR_MALFORMED;
    user->rules = value;
    return ERROR_NONE;
}

int record_version_compare(struct record_version a, struct record_version b)
{
    if (a.unix_ms != b.unix_ms)
        return a.unix_ms < b.unix_ms ? -1 : 1;
    return a.by == b.by ? 0 : a.by < b.by ? -1 : 1;
}

uint64_t record_version_next(uint64_t now_unix_ms, uint64_t seen_unix_ms)
{
    return now_unix_ms > seen_unix_ms ? now_unix_ms : seen_unix_ms + 1;
}

static const char *const GROUND_TEXTS[] = { "", "mapping", "name", "digest" };

bool record_ground_from_text(struct slice text, enum record_ground *ground)
{
    for (int i = GROUND_MAPPING; i <= GROUND_DIGEST; i++) {
        if (slice_equal(text, slice_of(GROUND_TEXTS[i]))) {
            *ground = (enum record_ground)i;
            return true;
        }
    }
    return false;
}

const char *record_ground_text(enum record_ground ground)
{
    return GROUND_TEXTS[ground];
}

/* The second octet. What a third party has registered is one text longer; what is older than that,
 * in the journal for one, reads as it always did. */
enum living { LIVING_REMOVED = 1, LIVING_OWN, LIVING_REMOVED_OF_THIRD, LIVING_OF_THIRD };

void record_binding_write(struct buffer *out, const struct record_binding *b)
{
    bool of_third = b->registered_by.size > 0;
    add_u8(out, (uint8_t)b->ground);
    add_u8(out, of_third     ? b->removed ? LIVING_REMOVED_OF_THIRD : LIVING_OF_THIRD
                : b->removed ? LIVING_REMOVED
                             : LIVING_OWN);
    add_u64(out, b->version.unix_ms);
    add_u32(out, b->version.by);
    add_u64(out, b->expires_unix_s);
    add_u64(out, b->reg_id);
    add_u64(out, b->cseq);
    add_u32(out, b->q);
    const struct slice texts[] = { b->aor,     b->device_key, b->instance_key, b->store,
                                   b->cn,      b->entry,      b->instance,     b->contact,
                                   b->call_id, b->flow,       b->path };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        add_text(out, texts[i]);
    if (of_third)
        add_text(out, b->registered_by);
}

enum error record_binding_read(struct slice value, struct record_binding *b)
{
    uint8_t ground, living;
    if (!take_u8(&value, &ground) || !take_u8(&value, &living) ||
        !take_u64(&value, &b->version.unix_ms) || !take_u32(&value, &b->version.by) ||
        !take_u64(&value, &b->expires_unix_s) || !take_u64(&value, &b->reg_id) ||
        !take_u64(&value, &b->cseq) || !take_u32(&value, &b->q))
        return ERROR_MALFORMED;
    if (ground < GROUND_MAPPING || ground > GROUND_DIGEST || living < LIVING_REMOVED ||
        living > LIVING_OF_THIRD)
        return ERROR_MALFORMED;
    b->ground = (enum record_ground)ground;
    b->removed = living == LIVING_REMOVED || living == LIVING_REMOVED_OF_THIRD;
    b->registered_by = SLICE("");
    struct slice *const texts[] = { &b->aor,     &b->device_key, &b->instance_key, &b->store,
                                    &b->cn,      &b->entry,      &b->instance,     &b->contact,
                                    &b->call_id, &b->flow,       &b->path };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!take_text(&value, texts[i]))
            return ERROR_MALFORMED;
    /* Empty it would be the address of record's own. */
    if (living >= LIVING_REMOVED_OF_THIRD &&
        (!take_text(&value, &b->registered_by) || b->registered_by.size == 0))
        return ERROR_MALFORMED;
    return value.size == 0 ? ERROR_NONE : ERROR_MALFORMED;
}

/* Fields end at a space, so that no value may hold one; '-' alone stands for empty. */
static void add_escaped(struct buffer *out, const char *name, struct slice s, bool dash)
{
    static const char HEX[] = "0123456789ABCDEF";
    buffer_add_char(out, ' ');
    buffer_add_text(out, name);
    buffer_add_char(out, '=');
    if (dash && s.size == 0)
        buffer_add_char(out, '-');
    if (dash && s.size == 1 && s.data[0] == '-') {
        buffer_add_text(out, "%2D");
        return;
    }
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c > 0x20 && c < 0x7f && c != '%') {
            buffer_add_char(out, (char)c);
        } else {
            buffer_add_char(out, '%');
            buffer_add_char(out, HEX[c >> 4]);
            buffer_add_char(out, HEX[c & 15]);
        }
    }
}

static void add_field(struct buffer *out, const char *name, struct slice s)
{
    buffer_add_char(out, ' ');
    buffer_add_text(out, name);
    buffer_add_char(out, '=');
    buffer_add(out, s);
}

static void add_number(struct buffer *out, const char *name, uint64_t value)
{
    add_field(out, name, SLICE(""));
    buffer_add_u64(out, value);
}

bool record_is_sha256(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (!(text.data[i] >= '0' && text.data[i] <= '9') &&
            !(text.data[i] >= 'a' && text.data[i] <= 'f'))
            return false;
    return text.size == 64;
}

void record_credential_start(struct buffer *out, uint32_t count)
{
    add_u32(out, count);
}

void record_credential_add(struct buffer *out, struct buffer *scratch,
                           const struct record_credential *c)
{
    buffer_reset(scratch);
    buffer_add_text(scratch, "v=1");
    add_escaped(scratch, "realm", c->realm, false);
    add_escaped(scratch, "username", c->username, false);
    add_escaped(scratch, "sha256", c->sha256, true);
    add_escaped(scratch, "md5", c->md5, true);
    out->failed |= scratch->failed;
    resp_add_bulk(out, buffer_slice(scratch));
}

enum error record_credential_read(struct slice value, struct record_peer *credentials)
{
    if (!take_u32(&value, &credentials->count) || credentials->count == 0 ||
        credentials->count > RECORD_REALMS_MAX || credentials->count > value.size / 7)
        return ERROR_MALFORMED;
    credentials->bulks = value;
    return ERROR_NONE;
}

static void add_third_party(struct buffer *out, const struct record_binding *b,
                            const struct record_third_party *third_party)
{
    add_field(out, "registered_by", b->registered_by);
    add_field(out, "groups", third_party->group_count > 0 ? SLICE("") : SLICE("-"));
    for (size_t i = 0; i < third_party->group_count; i++) {
        if (i > 0)
            buffer_add_char(out, ',');
        buffer_add(out, third_party->groups[i]);
    }
    if (third_party->until_unix_s == UINT64_MAX)
        add_field(out, "until", SLICE("-"));
    else
        add_number(out, "until", third_party->until_unix_s);
}

void record_binding_text(struct buffer *out, const struct record_binding *b,
                         const struct record_third_party *third_party)
{
    buffer_add_text(out, "v=1");
    add_field(out, "store", b->store);
    add_escaped(out, "cn", b->cn, false);
    add_escaped(out, "device", b->device_key, false);
    add_field(out, "ground", slice_of(record_ground_text(b->ground)));
    add_field(out, "entry", b->entry);
    add_escaped(out, "flow", b->flow, false);
    add_number(out, "expires", b->expires_unix_s);
    add_escaped(out, "instance", b->instance, true);
    add_number(out, "reg_id", b->reg_id);
    add_number(out, "q", b->q);
    add_number(out, "cseq", b->cseq);
    add_escaped(out, "call_id", b->call_id, false);
    add_escaped(out, "path", b->path, true);
    if (third_party)
        add_third_party(out, b, third_party);
    add_field(out, "contact", b->contact);
}

void record_instance_key(struct buffer *out, struct slice instance, uint64_t reg_id,
                         struct slice contact)
{
    if (instance.size > 0) {
        buffer_add_text(out, "i:");
        buffer_add(out, instance);
        buffer_add_char(out, ':');
        buffer_add_u64(out, reg_id);
        return;
    }
    buffer_add_text(out, "c:");
    buffer_add(out, contact);
}
