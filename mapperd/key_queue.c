/* SPDX-License-Identifier: Apache-2.0 */
/* Queue entry: class octet and number as key; kind octet, then each word behind its length in 2
 * octets. */
#include "mapperd/key_queue.h"

#include <string.h>

enum { CLASS_SMALL = 1, CLASS_LARGE = 2 };

bool key_kind_from_text(struct slice text, enum key_kind *kind)
{
    static const struct {
        const char *text;
        enum key_kind kind;
    } KINDS[] = {
        { "peer", KEY_PEER },
        { "user", KEY_USER },
        { "group", KEY_GROUP },
        { "domain", KEY_DOMAIN },
        { "store", KEY_STORE },
        { "rules", KEY_RULES },
        { "binding", KEY_BINDING },
        { "credential", KEY_CREDENTIAL },
        { "certificate", KEY_CERTIFICATE },
    };
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (slice_equal(text, slice_of(KINDS[i].text))) {
            *kind = KINDS[i].kind;
            return true;
        }
    }
    return false;
}

size_t key_kind_words(enum key_kind kind)
{
    switch (kind) {
    case KEY_PEER:
    case KEY_CERTIFICATE:
        return 2;
    case KEY_USER:
    case KEY_CREDENTIAL:
    case KEY_GROUP:
    case KEY_DOMAIN:
    case KEY_STORE:
    case KEY_BINDING:
        return 1;
    case KEY_RULES:
    case KEY_NONE:
        return 0;
    }
    return 0;
}

static void entry_key(struct record_key *out, uint8_t class, uint64_t number)
{
    char byte = (char)class;
    record_key_start(out);
    record_key_add(out, (struct slice){ &byte, 1 });
    record_key_add_u64(out, number);
}

enum error key_queue_put(struct store_writer *writer, const struct key *key)
{
    char value[1 + 2 * (2 + RECORD_KEY_MAX)];
    size_t size = 0, words = key_kind_words(key->kind);
    value[size++] = (char)key->kind;
    for (size_t i = 0; i < words; i++) {
        struct slice word = key->words[i];
        if (word.size == 0 || word.size > RECORD_KEY_MAX - 1)
            return ERROR_TOO_LARGE;
        value[size++] = (char)(word.size >> 8);
        value[size++] = (char)(word.size & 0xff);
        memcpy(value + size, word.data, word.size);
        size += word.size;
    }
    struct record_key entry;
    entry_key(&entry, key->large ? CLASS_LARGE : CLASS_SMALL, key->number);
    store_put(writer, STORE_QUEUE, record_key_slice(&entry), (struct slice){ value, size });
    return ERROR_NONE;
}

void key_queue_remove(struct store_writer *writer, const struct key *key)
{
    struct record_key entry;
    entry_key(&entry, key->large ? CLASS_LARGE : CLASS_SMALL, key->number);
    store_delete(writer, STORE_QUEUE, record_key_slice(&entry));
}

static enum error first_of_class(struct store_writer *writer, uint8_t class, bool *found,
                                 uint64_t *number)
{
    struct store_walk walk;
    struct slice key, value;
    char from = (char)class;
    store_walk_writer(writer, STORE_QUEUE, (struct slice){ &from, 1 }, &walk);
    *found = store_walk_next(&walk, &key, &value) && key.size == 9 && key.data[0] == from;
    if (*found)
        *number = record_u64_at(key.data + 1);
    store_walk_end(&walk);
    return walk.error;
}

enum error key_queue_holds(struct store_writer *writer, uint64_t number, bool *holds)
{
    *holds = false;
    for (uint8_t class = CLASS_SMALL; class <= CLASS_LARGE; class ++) {
        bool found;
        uint64_t first = 0;
        enum error e = first_of_class(writer, class, &found, &first);
        if (e != ERROR_NONE)
            return e;
        *holds |= found && first <= number;
    }
    return ERROR_NONE;
}

/* The words stay offsets until all are in, since the memory may move while it grows. */
static enum error take_entry(struct key_batch *batch, struct slice entry, struct slice value)
{
    struct key *key = &batch->keys[batch->count];
    if (entry.size != 9 || value.size < 1)
        return ERROR_MALFORMED;
    *key = (struct key){ .kind = (enum key_kind)(uint8_t)value.data[0],
                         .large = entry.data[0] == CLASS_LARGE,
                         .number = record_u64_at(entry.data + 1) };
    size_t at = 1, words = key_kind_words(key->kind);
    if (words == 0 && key->kind != KEY_RULES)
        return ERROR_MALFORMED;
    for (size_t i = 0; i < words; i++) {
        if (value.size - at < 2)
            return ERROR_MALFORMED;
        size_t size = (size_t)(uint8_t)value.data[at] << 8 | (uint8_t)value.data[at + 1];
        at += 2;
        if (value.size - at < size)
            return ERROR_MALFORMED;
        key->words[i].size = size;
        buffer_add(&batch->memory, (struct slice){ value.data + at, size });
        at += size;
    }
    batch->count++;
    return batch->memory.failed ? ERROR_MEMORY : ERROR_NONE;
}

enum error key_queue_front(struct store_writer *writer, struct key_batch *batch)
{
    struct store_walk walk;
    struct slice key, value;
    enum error e = ERROR_NONE;
    batch->count = 0;
    buffer_reset(&batch->memory);
    store_walk_writer(writer, STORE_QUEUE, (struct slice){ "", 0 }, &walk);
    while (e == ERROR_NONE && batch->count < sizeof(batch->keys) / sizeof(batch->keys[0]) &&
           store_walk_next(&walk, &key, &value))
        e = take_entry(batch, key, value);
    store_walk_end(&walk);
    if (e == ERROR_NONE)
        e = walk.error;
    const char *at = buffer_slice(&batch->memory).data;
    for (size_t i = 0; i < batch->count; i++) {
        for (size_t w = 0; w < key_kind_words(batch->keys[i].kind); w++) {
            batch->keys[i].words[w].data = at;
            at += batch->keys[i].words[w].size;
        }
    }
    return e;
}

enum error key_queue_copy(struct store_writer *from, struct store_writer *to)
{
    struct store_walk walk;
    struct slice key, value;
    store_walk_writer(from, STORE_QUEUE, (struct slice){ "", 0 }, &walk);
    while (store_walk_next(&walk, &key, &value))
        store_put(to, STORE_QUEUE, key, value);
    store_walk_end(&walk);
    return walk.error;
}
