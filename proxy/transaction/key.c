/* SPDX-License-Identifier: Apache-2.0 */
/* Keys are made of parts with their lengths before them, so that no two rows of parts give the same
 * bytes. */
#include "proxy/transaction/key.h"

#include "common/hash.h"
#include "proxy/sip/header.h"

enum key_kind { KEY_UNIQUE_BRANCH = 1, KEY_OLD };

static void start(struct transaction_key *key)
{
    key->size = 0;
}

/* Room for `size` more bytes; NULL when the key is full, and from then on. */
static char *take(struct transaction_key *key, size_t size)
{
    char *at = key->bytes + key->size;

    if (key->size > TRANSACTION_KEY_MAX || size > TRANSACTION_KEY_MAX - key->size) {
        key->size = TRANSACTION_KEY_MAX + 1;
        return NULL;
    }
    key->size += size;
    return at;
}

static void add_number(struct transaction_key *key, uint64_t number)
{
    char *at = take(key, sizeof(number));

    if (at)
        memcpy(at, &number, sizeof(number));
}

static void add_exact(struct transaction_key *key, struct slice s)
{
    char *at;

    add_number(key, s.size);
    at = take(key, s.size);
    if (at && s.size)
        memcpy(at, s.data, s.size);
}

static void add_nocase(struct transaction_key *key, struct slice s)
{
    char *at;

    add_number(key, s.size);
    at = take(key, s.size);
    for (size_t i = 0; at && i < s.size; i++) {
        char c = s.data[i];
        at[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
}

static enum error finish(struct transaction_key *key)
{
    if (key->size > TRANSACTION_KEY_MAX)
        return ERROR_TOO_LARGE;
    HASH_VALUE(key->bytes, key->size, key->hash);
    return ERROR_NONE;
}

bool transaction_id_is_old(const struct transaction_id *id)
{
    return !via_branch_has_cookie(id->branch);
}

enum error transaction_key_of_request(struct transaction_key *key, const struct transaction_id *id)
{
    bool old = transaction_id_is_old(id);

    start(key);
    add_number(key, old ? KEY_OLD : KEY_UNIQUE_BRANCH);
    add_number(key, id->device);
    if (old) {
        add_exact(key, id->request_uri);
        add_exact(key, id->from_tag);
        add_exact(key, id->call_id);
        add_number(key, id->cseq);
        add_exact(key, id->via);
    } else {
        add_nocase(key, id->branch);
        add_nocase(key, id->sent_by_host);
        add_number(key, id->sent_by_port);
    }
    return finish(key);
}

enum error transaction_key_of_response(struct transaction_key *key, struct slice branch,
                                       struct slice method)
{
    start(key);
    add_nocase(key, branch);
    add_exact(key, method);
    return finish(key);
}
