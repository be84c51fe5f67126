/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of the store as keys of the database. */
#include "mapperd/range.h"

#include <string.h>

/* Up to the first NUL, and what is behind it; false: there is none. */
static bool split(struct slice key, struct slice *first, struct slice *rest)
{
    const char *end = key.size > 0 ? memchr(key.data, '\0', key.size) : NULL;
    if (end == NULL)
        return false;
    *first = (struct slice){ key.data, (size_t)(end - key.data) };
    *rest = (struct slice){ end + 1, key.size - first->size - 1 };
    return true;
}

struct slice range_place(enum store_table table, struct slice key)
{
    struct slice aor, hash;
    if (table == STORE_BINDING && split(key, &aor, &hash))
        key.size = aor.size + 1;
    return key;
}

static bool rules_of(struct slice key, enum record_rules *kind, struct slice *who)
{
    if (key.size == 0)
        return false;
    *kind = (enum record_rules)(unsigned char)key.data[0];
    *who = (struct slice){ key.data + 1, key.size - 1 };
    return *kind == RECORD_RULES_EVERYONE || *kind == RECORD_RULES_DOMAIN ||
           *kind == RECORD_RULES_GROUP;
}

size_t range_words(enum store_table table, struct slice key, struct slice words[3])
{
    enum record_rules kind;
    struct slice rest;
    switch (table) {
    case STORE_TRUST:
    case STORE_DOMAIN:
    case STORE_USER:
    case STORE_CREDENTIAL:
        words[0] = key;
        return key.size > 0;
    case STORE_RULES:
        if (!rules_of(key, &kind, &words[1]))
            return 0;
        words[0] = kind == RECORD_RULES_EVERYONE ? SLICE("everyone")
                   : kind == RECORD_RULES_DOMAIN ? SLICE("domain")
                                                 : SLICE("group");
        return 2;
    case STORE_PEER:
    case STORE_BLOCKED:
        return split(key, &words[0], &words[1]) ? 2 : 0;
    case STORE_BINDING:
        return split(key, &words[0], &rest) ? 1 : 0;
    case STORE_META:
    case STORE_QUEUE:
    case STORE_RECENT:
    case STORE_TABLE_COUNT:
        break;
    }
    return 0;
}

static enum key_kind kind_of(enum store_table table, struct slice key)
{
    enum record_rules kind;
    struct slice who;
    switch (table) {
    case STORE_TRUST:
        return KEY_STORE;
    case STORE_DOMAIN:
        return KEY_DOMAIN;
    case STORE_USER:
        return KEY_USER;
    case STORE_CREDENTIAL:
        return KEY_CREDENTIAL;
    case STORE_RULES:
        if (!rules_of(key, &kind, &who))
            return KEY_NONE;
        return kind == RECORD_RULES_EVERYONE ? KEY_RULES
               : kind == RECORD_RULES_DOMAIN ? KEY_DOMAIN
                                             : KEY_GROUP;
    case STORE_PEER:
        return KEY_PEER;
    case STORE_BLOCKED:
        return KEY_CERTIFICATE;
    case STORE_BINDING:
        return KEY_BINDING;
    case STORE_META:
    case STORE_QUEUE:
    case STORE_RECENT:
    case STORE_TABLE_COUNT:
        break;
    }
    return KEY_NONE;
}

bool range_key(enum store_table table, struct slice key, struct key *out)
{
    struct slice words[3];
    size_t count = range_words(table, key, words);
    *out = (struct key){ .kind = kind_of(table, key) };
    if (count == 0 || out->kind == KEY_NONE)
        return false;
    if (table == STORE_RULES)
        out->words[0] = words[1]; /* a kind has its own; everyone's rules have no word */
    else
        for (size_t i = 0; i < count && i < 2; i++)
            out->words[i] = words[i];
    return true;
}
