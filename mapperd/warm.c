/* SPDX-License-Identifier: Apache-2.0 */
/* Walks an LMDB tree for several keys in step. */
#include "mapperd/warm.h"

#include <endian.h>
#include <string.h>

#if MDB_VERSION_MAJOR != 0 || MDB_VERSION_MINOR != 9
#error "warm.c knows the pages of LMDB 0.9; look whether they are still the same"
#endif

#define LINE        64
#define DEPTH_MAX   8
#define FLAG_BRANCH 0x01
#define FLAG_LEAF   0x02

/* As they lie in the file, host byte order. */
struct page_head {
    uint64_t number;
    uint16_t pad, flags, lower, upper;
    uint16_t nodes[]; /* offsets from the page's begin, in order of the keys */
};

/* low, high: of a leaf the value's size; of a branch, with flags, the child's number. */
struct node {
    uint16_t low, high, flags, key_size;
    char key[];
};

struct database_record {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

/* One key on its way down. */
struct walk {
    struct slice key;
    uint64_t words[3];            /* its first, second and last eight octets, if it has 16 to 24 */
    const struct page_head *page; /* NULL: it has ended */
    const struct node *middle;    /* asked for; to be compared next */
    unsigned from, to;            /* the first node whose key is above ours is in [from, to] */
};

static void fetch(const void *at)
{
    __builtin_prefetch(at, 0, 3);
}

static uint64_t word_at(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return be64toh(word);
}

static bool has_words(size_t size)
{
    return size >= 16 && size <= 24;
}

static bool sound(const struct page_head *page, size_t page_size)
{
    return (page->flags == FLAG_BRANCH || page->flags == FLAG_LEAF) &&
           page->lower > sizeof(*page) && page->lower <= page->upper && page->upper <= page_size &&
           page->lower % 2 == 0;
}

/* NULL: it would not lie within the page. */
static const struct node *node_at(const struct warm_tree *tree, const struct page_head *page,
                                  unsigned index)
{
    size_t offset = page->nodes[index];
    if (offset < page->lower || offset % 2 != 0 || offset + sizeof(struct node) > tree->page_size)
        return NULL;
    const struct node *node = (const void *)((const char *)page + offset);
    return node;
}

static bool key_fits(const struct warm_tree *tree, const struct walk *walk, const struct node *node)
{
    return node->key_size <= (size_t)((const char *)walk->page + tree->page_size - node->key);
}

static const struct page_head *page_at(const struct warm_tree *tree, uint64_t number)
{
    if (number >= tree->page_count)
        return NULL;
    return (const void *)(tree->map + number * tree->page_size);
}

/* Whether the walk's key stands before the node's. Nearly all keys of a fleet are of one size:
 * three words then decide, without a branch that nobody could foresee. */
static bool comes_before(const struct walk *walk, const struct node *node)
{
    size_t size = walk->key.size;
    if (node->key_size == size && has_words(size)) {
        uint64_t a = word_at(node->key), b = word_at(node->key + 8);
        uint64_t c = word_at(node->key + size - 8);
        unsigned equal_a = walk->words[0] == a, equal_b = walk->words[1] == b;
        return (walk->words[0] < a) |
               (equal_a & ((walk->words[1] < b) | (equal_b & (walk->words[2] < c))));
    }
    size_t least = size < node->key_size ? size : node->key_size;
    int order = memcmp(walk->key.data, node->key, least);
    return order != 0 ? order < 0 : size < node->key_size;
}

/* Asks for the node that halves what is left. */
static void ask_middle(const struct warm_tree *tree, struct walk *walk)
{
    if (walk->from >= walk->to)
        return;
    walk->middle = node_at(tree, walk->page, (walk->from + walk->to) / 2);
    if (walk->middle == NULL) {
        walk->page = NULL;
        return;
    }
    fetch(walk->middle);
    fetch((const char *)walk->middle + sizeof(struct node) + 20); /* where a MAC's key ends */
}

static void enter(const struct warm_tree *tree, struct walk *walk)
{
    if (!sound(walk->page, tree->page_size)) {
        walk->page = NULL;
        return;
    }
    /* The first key of a branch stands for everything below the second. */
    walk->from = walk->page->flags == FLAG_BRANCH;
    walk->to = (unsigned)(walk->page->lower - sizeof(struct page_head)) / 2;
    ask_middle(tree, walk);
}

static void halve(const struct warm_tree *tree, struct walk *walk)
{
    unsigned index = (walk->from + walk->to) / 2;
    if (!key_fits(tree, walk, walk->middle)) {
        walk->page = NULL;
        return;
    }
    unsigned before = comes_before(walk, walk->middle), keep = 0u - before;
    walk->to = (index & keep) | (walk->to & ~keep);
    walk->from = (walk->from & keep) | ((index + 1) & ~keep);
    ask_middle(tree, walk);
}

/* One page of each walk: a step of all, then the next step of all. */
static void search_pages(const struct warm_tree *tree, struct walk *walks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (walks[i].page != NULL)
            enter(tree, &walks[i]);
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < count; i++) {
            if (walks[i].page == NULL || walks[i].from >= walks[i].to)
                continue;
            halve(tree, &walks[i]);
            any = true;
        }
    }
}

/* The node before the place that the search has found, if it is the key's and its value lies behind
 * it. The search has looked at it: its key fits. */
static void take_value(const struct warm_tree *tree, const struct walk *walk, MDB_val *found)
{
    const struct node *node = walk->from > 0 ? node_at(tree, walk->page, walk->from - 1) : NULL;
    if (node == NULL || node->flags != 0 ||
        !slice_equal(walk->key, (struct slice){ node->key, node->key_size }))
        return;
    const char *value = node->key + node->key_size;
    size_t size = node->low | (size_t)node->high << 16;
    if (size > (size_t)((const char *)walk->page + tree->page_size - value))
        return;
    *found = (MDB_val){ size, (void *)(uintptr_t)value };
}

static void descend(const struct warm_tree *tree, struct walk *walk)
{
    const struct node *node = node_at(tree, walk->page, walk->from - 1);
    walk->page =
        node == NULL
            ? NULL
            : page_at(tree, node->low | (uint64_t)node->high << 16 | (uint64_t)node->flags << 32);
    if (walk->page == NULL)
        return;
    for (size_t line = 0; line < 4; line++) /* the head and the offsets of 120 nodes */
        fetch((const char *)walk->page + line * LINE);
}

void warm_keys(const struct warm_tree *tree, const struct slice *keys, size_t count, MDB_val *found)
{
    struct walk walks[WARM_KEYS_MAX];
    const struct page_head *root = tree->map != NULL ? page_at(tree, tree->root) : NULL;
    bool any = root != NULL;
    for (size_t i = 0; i < count; i++) {
        struct slice key = keys[i];
        found[i] = (MDB_val){ 0, NULL };
        walks[i] = (struct walk){ .key = key, .page = root };
        if (has_words(key.size)) {
            walks[i].words[0] = word_at(key.data);
            walks[i].words[1] = word_at(key.data + 8);
            walks[i].words[2] = word_at(key.data + key.size - 8);
        }
    }
    for (int depth = 0; any && depth < DEPTH_MAX; depth++) {
        search_pages(tree, walks, count);
        any = false;
        for (size_t i = 0; i < count; i++) {
            if (walks[i].page == NULL)
                continue;
            if (walks[i].page->flags == FLAG_LEAF) {
                take_value(tree, &walks[i], &found[i]);
                walks[i].page = NULL;
                continue;
            }
            descend(tree, &walks[i]);
            any = true;
        }
    }
}

void warm_find(MDB_txn *txn, const char *table, struct warm_tree *tree)
{
    MDB_dbi names;
    MDB_val key = { strlen(table), (void *)(uintptr_t)table }, value;
    MDB_cursor *cursor;
    MDB_envinfo info;
    MDB_stat stat;
    struct database_record record;
    MDB_env *env = mdb_txn_env(txn);
    tree->map = NULL;
    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat) != 0 ||
        mdb_dbi_open(txn, NULL, 0, &names) != 0 || mdb_cursor_open(txn, names, &cursor) != 0)
        return;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    mdb_cursor_close(cursor);
    if (code != 0 || value.mv_size != sizeof(record))
        return;
    memcpy(&record, value.mv_data, sizeof(record));
    /* Pages are aligned to their size, and each begins with its own number. */
    const struct page_head *page =
        (const void *)((uintptr_t)value.mv_data & ~((uintptr_t)stat.ms_psize - 1));
    if (page->flags != FLAG_LEAF || page->number > info.me_last_pgno ||
        record.root > info.me_last_pgno)
        return;
    tree->map = (const char *)page - page->number * stat.ms_psize;
    tree->page_size = stat.ms_psize;
    tree->page_count = info.me_last_pgno + 1;
    tree->root = record.root;
}
