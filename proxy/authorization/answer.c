/* SPDX-License-Identifier: Apache-2.0 */
/* The reply's bytes are copied once, behind the struct and its arrays; slices point into the copy.
 * Order in the block: answer, slices, rules, tags, kind octet, key, bytes of the reply. */
#include "proxy/authorization/answer.h"

#include "common/mem.h"
#include "proxy/authorization/tag.h"

#include <openssl/crypto.h>
#include <stdlib.h>

/* ---- Fields of a binding ---- */

bool answer_binding_field(struct slice binding, const char *name, struct slice *value)
{
    size_t name_size = strlen(name);

    while (binding.size) {
        const char *end = memchr(binding.data, ' ', binding.size);
        size_t size = end ? (size_t)(end - binding.data) : binding.size;
        bool to_the_end = size >= 8 && memcmp(binding.data, "contact=", 8) == 0;

        if (to_the_end)
            size = binding.size;
        if (size > name_size && memcmp(binding.data, name, name_size) == 0 &&
            binding.data[name_size] == '=') {
            *value = (struct slice){ binding.data + name_size + 1, size - name_size - 1 };
            return true;
        }
        if (size == binding.size)
            return false;
        binding.data += size + 1;
        binding.size -= size + 1;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool answer_percent_decode(struct slice text, char *out, size_t max, size_t *size)
{
    size_t to = 0;

    for (size_t i = 0; i < text.size; i++) {
        int value = (unsigned char)text.data[i];

        if (text.data[i] == '%') {
            int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;

            if (low < 0)
                return false;
            value = high * 16 + low;
            i += 2;
        }
        if (to == max)
            return false;
        out[to++] = (char)value;
    }
    *size = to;
    return true;
}

/* ---- States ---- */

/* A word of a later version is taken for the state that permits least. */
static enum peer_state read_peer_state(struct slice text)
{
    if (slice_equal(text, SLICE("known")))
        return PEER_KNOWN;
    if (slice_equal(text, SLICE("unknown")))
        return PEER_UNKNOWN;
    if (slice_equal(text, SLICE("blocked")))
        return PEER_BLOCKED;
    return PEER_DISABLED;
}

static enum user_state read_user_state(struct slice text)
{
    if (slice_equal(text, SLICE("known")))
        return USER_KNOWN;
    if (slice_equal(text, SLICE("unknown")))
        return USER_UNKNOWN;
    if (slice_equal(text, SLICE("foreign")))
        return USER_FOREIGN;
    return USER_DISABLED;
}

/* ---- The key of PEER ---- */

bool answer_peer_word(struct slice *words, struct slice *word)
{
    const char *comma;

    if (!words->data)
        return false;
    comma = memchr(words->data, ',', words->size);
    *word = (struct slice){ words->data, comma ? (size_t)(comma - words->data) : words->size };
    if (comma)
        *words = (struct slice){ comma + 1, words->size - word->size - 1 };
    else
        *words = (struct slice){ NULL, 0 };
    return true;
}

static size_t count_commas(struct slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += text.data[i] == ',';
    return count;
}

/* ---- Reading ---- */

/* What is filled while a reply is walked. */
struct reader {
    enum lookup_kind kind;
    struct answer *answer;
    struct slice rest;    /* elements not yet read */
    struct slice *slices; /* free places */
    struct policy_rule *rules;
    uint64_t *tags;
};

static bool next_bulk(struct slice *rest, struct slice *text)
{
    struct resp_value item;

    if (!resp_item(rest, &item) || item.type != RESP_BULK)
        return false;
    *text = item.text;
    return true;
}

static void add_tag(struct reader *reader, uint64_t tag)
{
    reader->tags[reader->answer->tag_count++] = tag;
}

static enum error read_peer(struct reader *reader, struct slice state)
{
    struct answer *answer = reader->answer;
    struct answer_peer *peer = &answer->peer;
    const char *space = memchr(answer->key.data, ' ', answer->key.size);
    struct slice chain = { answer->key.data, (size_t)(space - answer->key.data) };
    struct slice entry, store, certificate;

    answer_peer_word(&chain, &store);

    peer->state = read_peer_state(state);
    if (!next_bulk(&reader->rest, &peer->canonical_cn) || peer->canonical_cn.size > CN_MAX_OCTETS ||
        (peer->state == PEER_KNOWN && peer->canonical_cn.size == 0))
        return ERROR_MALFORMED;
    peer->entries = reader->slices;
    while (reader->rest.size) {
        if (!next_bulk(&reader->rest, &entry) || peer->state != PEER_KNOWN)
            return ERROR_MALFORMED;
        if (entry.size == 0 || entry.size > IDENTITY_MAX)
            return ERROR_NOT_FOUND;
        reader->slices[peer->entry_count++] = entry;
    }
    add_tag(reader, tag_store(store));
    while (answer_peer_word(&chain, &certificate))
        add_tag(reader, tag_certificate(store, certificate));
    if (peer->canonical_cn.size)
        add_tag(reader, tag_peer(store, peer->canonical_cn));
    return ERROR_NONE;
}

static void add_user_tags(struct reader *reader, struct slice user)
{
    const char *at = memchr(user.data, '@', user.size);

    add_tag(reader, tag_user(user));
    if (at)
        user = (struct slice){ at + 1, user.size - (size_t)(at + 1 - user.data) };
    add_tag(reader, tag_domain(user));
}

static void add_identity_tags(struct reader *reader)
{
    add_user_tags(reader, reader->answer->key);
}

static enum error read_groups(struct reader *reader)
{
    struct answer_rights *rights = &reader->answer->rights;
    struct resp_value array;
    struct slice rest, group;

    if (!resp_item(&reader->rest, &array) || array.type != RESP_ARRAY)
        return ERROR_MALFORMED;
    rest = array.text;
    rights->groups = reader->slices;
    while (rest.size) {
        if (!next_bulk(&rest, &group))
            return ERROR_MALFORMED;
        reader->slices[rights->group_count++] = group;
        add_tag(reader, tag_group(group));
    }
    return ERROR_NONE;
}

static enum error read_rights(struct reader *reader, struct slice state, uint64_t now_unix_s)
{
    struct answer *answer = reader->answer;
    struct policy_rights *rights = &answer->rights.rights;
    struct slice text;

    rights->state = read_user_state(state);
    if (read_groups(reader) != ERROR_NONE)
        return ERROR_MALFORMED;
    rights->rules = reader->rules;
    while (reader->rest.size) {
        if (!next_bulk(&reader->rest, &text))
            return ERROR_MALFORMED;
        if (policy_rule_parse(text, &reader->rules[rights->rule_count]) != ERROR_NONE)
            return ERROR_NOT_FOUND;
        rights->rule_count++;
    }
    answer->edge_unix_s = policy_rights_edge_unix_s(rights, now_unix_s);
    add_identity_tags(reader);
    add_tag(reader, tag_rules());
    return ERROR_NONE;
}

static bool next_group(struct slice *list, struct slice *group)
{
    const char *comma = list->size ? memchr(list->data, ',', list->size) : NULL;

    *group = (struct slice){ list->data, comma ? (size_t)(comma - list->data) : list->size };
    list->data += group->size + (comma != NULL);
    list->size -= group->size + (comma != NULL);
    return group->size > 0;
}

/* The groups of who registered it; "-" is none. */
static struct slice groups_of(struct slice binding)
{
    struct slice groups;

    if (!answer_binding_field(binding, "groups", &groups) || slice_equal(groups, SLICE("-")))
        return SLICE("");
    return groups;
}

/* Of a third party's the rights of who registered it, too, and until when they are as they are. */
static enum error add_third_party_tags(struct reader *reader, struct slice binding)
{
    struct slice user, until, group, groups = groups_of(binding);
    unsigned long long edge;

    if (!answer_binding_field(binding, "registered_by", &user))
        return ERROR_NONE;
    add_user_tags(reader, user);
    add_tag(reader, tag_rules());
    while (next_group(&groups, &group))
        add_tag(reader, tag_group(group));
    if (!answer_binding_field(binding, "until", &until))
        return ERROR_NOT_FOUND;
    if (slice_equal(until, SLICE("-")))
        return ERROR_NONE;
    if (!slice_to_u64(until, UINT64_MAX, &edge))
        return ERROR_NOT_FOUND;
    if (edge < reader->answer->edge_unix_s)
        reader->answer->edge_unix_s = edge;
    return ERROR_NONE;
}

/* The device's own rows: when its mapping goes, a call to it must not go there any more. */
static enum error add_device_tags(struct reader *reader, struct slice binding)
{
    struct slice store, text;
    char cn[CN_MAX_OCTETS];
    size_t size;

    if (!answer_binding_field(binding, "store", &store) || store.size == 0)
        return ERROR_NONE;
    add_tag(reader, tag_store(store));
    if (!answer_binding_field(binding, "cn", &text) || text.size == 0)
        return ERROR_NONE;
    if (!answer_percent_decode(text, cn, sizeof cn, &size))
        return ERROR_NOT_FOUND;
    add_tag(reader, tag_peer(store, (struct slice){ cn, size }));
    return ERROR_NONE;
}

static enum error read_locate(struct reader *reader, struct slice state)
{
    struct answer_locate *locate = &reader->answer->locate;
    struct slice binding;

    locate->state = read_user_state(state);
    locate->bindings = reader->slices;
    while (reader->rest.size) {
        if (!next_bulk(&reader->rest, &binding))
            return ERROR_MALFORMED;
        reader->slices[locate->binding_count++] = binding;
        if (add_device_tags(reader, binding) != ERROR_NONE ||
            add_third_party_tags(reader, binding) != ERROR_NONE)
            return ERROR_NOT_FOUND;
    }
    add_identity_tags(reader);
    return ERROR_NONE;
}

/* ---- Credentials ---- */

static bool read_name(struct slice text, const char *field, char out[CREDENTIAL_NAME_MAX],
                      size_t *size)
{
    struct slice value;

    return answer_binding_field(text, field, &value) &&
           answer_percent_decode(value, out, CREDENTIAL_NAME_MAX, size) && *size > 0;
}

static bool read_hash(struct slice text, const char *field, size_t digits, struct slice *out)
{
    if (!answer_binding_field(text, field, out))
        return false;
    if (slice_equal(*out, SLICE("-"))) {
        *out = SLICE("");
        return true;
    }
    for (size_t i = 0; i < out->size; i++) {
        char c = out->data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return out->size == digits;
}

static bool read_credential(struct slice text, struct credential *out)
{
    struct slice version;

    return answer_binding_field(text, "v", &version) && slice_equal(version, SLICE("1")) &&
           read_name(text, "realm", out->realm, &out->realm_size) &&
           read_name(text, "username", out->username, &out->username_size) &&
           read_hash(text, "sha256", 64, &out->ha1_sha256) &&
           read_hash(text, "md5", 32, &out->ha1_md5);
}

bool answer_credential(const struct answer *answer, size_t index, struct credential *out)
{
    return answer->kind == LOOKUP_CREDENTIAL && index < answer->credential.count &&
           read_credential(answer->credential.texts[index], out);
}

static enum error read_credentials(struct reader *reader, struct slice state)
{
    struct answer_credential *credential = &reader->answer->credential;
    struct credential row;
    struct slice text;

    credential->state = read_user_state(state);
    credential->texts = reader->slices;
    while (reader->rest.size) {
        if (!next_bulk(&reader->rest, &text) || credential->state != USER_KNOWN)
            return ERROR_MALFORMED;
        if (!read_credential(text, &row))
            return ERROR_NOT_FOUND;
        reader->slices[credential->count++] = text;
    }
    add_identity_tags(reader);
    return ERROR_NONE;
}

/* ---- The block ---- */

static size_t add_size(size_t sum, size_t count, size_t size)
{
    return sum + count * size; /* count is bounded by ASK_REPLY_ITEMS_MAX: no overflow */
}

/* Elements of the reply and, for RIGHTS, of its array of groups. */
static size_t count_elements(const struct resp_value *value)
{
    struct slice rest = value->text;
    struct resp_value item;
    size_t count = value->count;

    while (resp_item(&rest, &item)) {
        if (item.type == RESP_ARRAY)
            count += item.count;
    }
    return count;
}

/* Of each binding: store, peer; user, domain and rules of a third party, and its groups. */
static size_t count_binding_tags(const struct resp_value *value)
{
    struct slice rest = value->text;
    struct resp_value item;
    size_t count = 0;

    while (resp_item(&rest, &item)) {
        if (item.type == RESP_BULK)
            count += 6 + count_commas(groups_of(item.text));
    }
    return count;
}

static size_t count_tags(enum lookup_kind kind, struct slice key, const struct resp_value *value,
                         size_t elements)
{
    if (kind == LOOKUP_LOCATE)
        return 3 + count_binding_tags(value);
    return 3 + (kind == LOOKUP_PEER ? count_commas(key) : 2 * elements);
}

/* The block with its key and a copy of the reply; arrays empty. */
static bool make_block(struct reader *reader, struct slice key, const struct resp_value *value)
{
    size_t count = count_elements(value);
    size_t rules = reader->kind == LOOKUP_RIGHTS ? value->count : 0;
    size_t tags = count_tags(reader->kind, key, value, count);
    size_t slices_at = sizeof(struct answer);
    size_t rules_at = add_size(slices_at, count, sizeof(struct slice));
    size_t tags_at = add_size(rules_at, rules, sizeof(struct policy_rule));
    size_t key_at = add_size(tags_at, tags, sizeof(uint64_t));
    size_t size = key_at + 1 + key.size + value->text.size;
    char *block = mem_alloc(size);

    if (!block)
        return false;
    reader->answer = (struct answer *)block;
    reader->slices = (struct slice *)(block + slices_at);
    reader->rules = (struct policy_rule *)(block + rules_at);
    reader->tags = (uint64_t *)(block + tags_at);
    block[key_at] = (char)reader->kind; /* the cache's key begins here */
    memcpy(block + key_at + 1, key.data, key.size);
    if (value->text.size)
        memcpy(block + key_at + 1 + key.size, value->text.data, value->text.size);
    *reader->answer = (struct answer){ .references = 1,
                                       .kind = reader->kind,
                                       .key = { block + key_at + 1, key.size },
                                       .edge_unix_s = UINT64_MAX,
                                       .tags = reader->tags,
                                       .size = size };
    reader->rest = (struct slice){ block + key_at + 1 + key.size, value->text.size };
    return true;
}

static int compare_tags(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Sorted, each once. A text that is no key of mapperd's makes the answer unusable. */
static enum error finish_tags(struct reader *reader)
{
    struct answer *answer = reader->answer;
    size_t kept = 0;

    qsort(reader->tags, answer->tag_count, sizeof *reader->tags, compare_tags);
    if (answer->tag_count && reader->tags[0] <= TAG_ALL)
        return ERROR_NOT_FOUND;
    for (size_t i = 0; i < answer->tag_count; i++) {
        if (kept == 0 || reader->tags[i] != reader->tags[kept - 1])
            reader->tags[kept++] = reader->tags[i];
    }
    answer->tag_count = kept;
    return ERROR_NONE;
}

static enum error read_content(struct reader *reader, uint64_t now_unix_s)
{
    struct resp_value epoch, serial;
    struct slice state;
    enum error error = ERROR_MALFORMED;

    if (!resp_item(&reader->rest, &epoch) || epoch.type != RESP_INTEGER || epoch.integer <= 0 ||
        !resp_item(&reader->rest, &serial) || serial.type != RESP_INTEGER || serial.integer < 0 ||
        !next_bulk(&reader->rest, &state))
        return ERROR_MALFORMED;
    reader->answer->epoch = (uint64_t)epoch.integer;
    reader->answer->serial = (uint64_t)serial.integer;
    switch (reader->kind) {
    case LOOKUP_NONE:
        break;
    case LOOKUP_PEER:
        error = read_peer(reader, state);
        break;
    case LOOKUP_RIGHTS:
        error = read_rights(reader, state, now_unix_s);
        break;
    case LOOKUP_LOCATE:
        error = read_locate(reader, state);
        break;
    case LOOKUP_CREDENTIAL:
        error = read_credentials(reader, state);
        break;
    }
    return error == ERROR_NONE ? finish_tags(reader) : error;
}

static void free_block(struct answer *answer)
{
    if (answer->kind == LOOKUP_CREDENTIAL)
        OPENSSL_cleanse(answer, answer->size);
    mem_free(answer);
}

enum error answer_read(enum lookup_kind kind, struct slice key, const struct resp_value *value,
                       uint64_t now_unix_s, struct answer **out)
{
    struct reader reader = { .kind = kind };
    enum error error;

    *out = NULL;
    if (value->type != RESP_ARRAY || key.size > LOOKUP_KEY_MAX ||
        (kind == LOOKUP_PEER && !memchr(key.data, ' ', key.size)))
        return ERROR_MALFORMED;
    if (!make_block(&reader, key, value))
        return ERROR_MEMORY;
    error = read_content(&reader, now_unix_s);
    if (error != ERROR_NONE) {
        free_block(reader.answer);
        return error;
    }
    *out = reader.answer;
    return ERROR_NONE;
}

void answer_release(struct answer *answer)
{
    if (answer && --answer->references == 0)
        free_block(answer);
}

bool answer_is_unknown(const struct answer *answer)
{
    enum user_state state = USER_NONE;

    switch (answer->kind) {
    case LOOKUP_NONE:
        return true;
    case LOOKUP_PEER:
        return answer->peer.state != PEER_KNOWN;
    case LOOKUP_RIGHTS:
        state = answer->rights.rights.state;
        break;
    case LOOKUP_LOCATE:
        state = answer->locate.state;
        break;
    case LOOKUP_CREDENTIAL: /* without a password he is as good as unknown here */
        return answer->credential.count == 0;
    }
    return state != USER_KNOWN && state != USER_DISABLED;
}
