/* SPDX-License-Identifier: Apache-2.0 */
/* The durable queue of keys that must be read again. It lies in the store, so that it moves with
 * the log position in one transaction. Keys of small transactions come before those of large ones,
 * so that a million rows never stand before a revocation; inside a class in the order they came.
 * Feed thread. */
#ifndef HOLDLINE_MAPPERD_KEY_QUEUE_H
#define HOLDLINE_MAPPERD_KEY_QUEUE_H

#include "mapperd/record.h"
#include "mapperd/store.h"

/* Kinds of change_log, without `all`, which asks for a fill. The values are the store's format. */
enum key_kind {
    KEY_NONE = 0,
    KEY_PEER = 'p',
    KEY_USER = 'u',
    KEY_CREDENTIAL = 'c',
    KEY_CERTIFICATE = 'x',
    KEY_GROUP = 'g',
    KEY_DOMAIN = 'd',
    KEY_STORE = 's',
    KEY_RULES = 'r',
    KEY_BINDING = 'b',
};
bool key_kind_from_text(struct slice text, enum key_kind *kind);
/* Words of the key array: peer 2, rules 0, the rest 1. */
size_t key_kind_words(enum key_kind kind);

/* A transaction's first rows count as small: whatever it turns out to be, these few delay nobody.
 */
#define KEY_QUEUE_SMALL 100

struct key {
    enum key_kind kind;
    struct slice words[2];
    uint64_t number; /* of the queue entry */
    bool large;
};

/* ERROR_TOO_LARGE for words that no key of the store can have (a hostile row): nothing is queued.
 */
enum error key_queue_put(struct store_writer *writer, const struct key *key) MUST_CHECK;
void key_queue_remove(struct store_writer *writer, const struct key *key);
/* Whether an entry with a number <= `number` is left. */
enum error key_queue_holds(struct store_writer *writer, uint64_t number, bool *holds) MUST_CHECK;

/* Up to `max` keys from the front, copied; the words point into `memory`. */
struct key_batch {
    struct key keys[512];
    size_t count;
    struct buffer memory;
};
enum error key_queue_front(struct store_writer *writer, struct key_batch *batch) MUST_CHECK;
/* All entries of one store into another. */
enum error key_queue_copy(struct store_writer *from, struct store_writer *to) MUST_CHECK;

#endif
