/* SPDX-License-Identifier: Apache-2.0 */
/* Tags are hashed over the text that mapperd's messages carry, so that a message needs no parsing
 * beyond its kind. */
#include "proxy/authorization/tag.h"

#include "common/hash.h"
#include "common/identity.h"

#include <stdbool.h>

/* "domain " and an identity, "peer ", a store, a space and a CN, or "certificate ", a store, a
 * space and its SHA-256: nothing longer is a key. */
#define TAG_TEXT_MAX (12 + STORE_NAME_MAX + 1 + IDENTITY_MAX)

static uint64_t tag_of_bytes(const char *text, size_t size)
{
    uint64_t tag = hash_bytes(text, size);

    return tag > TAG_ALL ? tag : tag + 2;
}

/* kind SP key; too long for any key: TAG_ALL, so that it is never missed. */
static uint64_t tag_of_two(struct slice kind, struct slice key)
{
    char text[TAG_TEXT_MAX];

    if (kind.size + 1 + key.size > sizeof text)
        return TAG_ALL;
    memcpy(text, kind.data, kind.size);
    text[kind.size] = ' ';
    memcpy(text + kind.size + 1, key.data, key.size);
    return tag_of_bytes(text, kind.size + 1 + key.size);
}

static uint64_t tag_of_three(struct slice kind, struct slice store, struct slice name)
{
    char key[STORE_NAME_MAX + 1 + CN_MAX_OCTETS];

    if (store.size > STORE_NAME_MAX || name.size > CN_MAX_OCTETS)
        return TAG_ALL;
    memcpy(key, store.data, store.size);
    key[store.size] = ' ';
    memcpy(key + store.size + 1, name.data, name.size);
    return tag_of_two(kind, (struct slice){ key, store.size + 1 + name.size });
}

uint64_t tag_peer(struct slice store, struct slice canonical_cn)
{
    return tag_of_three(SLICE("peer"), store, canonical_cn);
}

uint64_t tag_certificate(struct slice store, struct slice sha256)
{
    return tag_of_three(SLICE("certificate"), store, sha256);
}

uint64_t tag_store(struct slice store)
{
    return tag_of_two(SLICE("store"), store);
}

uint64_t tag_user(struct slice identity)
{
    return tag_of_two(SLICE("user"), identity);
}

uint64_t tag_domain(struct slice domain)
{
    return tag_of_two(SLICE("domain"), domain);
}

uint64_t tag_group(struct slice group)
{
    return tag_of_two(SLICE("group"), group);
}

uint64_t tag_rules(void)
{
    return tag_of_bytes("rules", 5);
}

static bool is_kind_with_key(struct slice text)
{
    static const struct slice kinds[] = {
        { "peer ", 5 },  { "user ", 5 },   { "group ", 6 },
        { "store ", 6 }, { "domain ", 7 }, { "certificate ", 12 }
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (text.size > kinds[i].size && memcmp(text.data, kinds[i].data, kinds[i].size) == 0)
            return true;
    }
    return false;
}

uint64_t tag_of_message(struct slice text)
{
    if (slice_equal(text, SLICE("rules")))
        return tag_rules();
    if (text.size > TAG_TEXT_MAX || !is_kind_with_key(text))
        return TAG_ALL;
    return tag_of_bytes(text.data, text.size);
}
