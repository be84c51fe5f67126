/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation through one door, and arenas. */
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define PIECE_IS_BLOCK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PIECE_IS_BLOCK 1
#endif
#endif
#ifndef PIECE_IS_BLOCK
#define PIECE_IS_BLOCK 0
#endif

/* A request with its message is 1 to 3 KiB: one block, seldom two. */
#define BLOCK_FIRST 2048
#define BLOCK_NEXT  4096
#define ALIGNMENT   16

static _Thread_local unsigned fail_in;
static _Thread_local bool failed;

void mem_fail_nth_for_tests(unsigned n)
{
    fail_in = n;
    failed = false;
}

bool mem_failed_for_tests(void)
{
    return failed;
}

static bool must_fail(void)
{
    if (__builtin_expect(fail_in == 0, 1) || --fail_in > 0)
        return false;
    failed = true;
    return true;
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *mem_zero(size_t count, size_t size)
{
    size_t total;

    if (must_fail() || __builtin_mul_overflow(count, size, &total))
        return NULL;
    return calloc(1, total ? total : 1);
}

void *mem_grow(void *block, size_t size)
{
    return must_fail() ? NULL : realloc(block, size ? size : 1);
}

char *mem_text(struct slice s)
{
    char *copy = s.size < SIZE_MAX ? mem_alloc(s.size + 1) : NULL;

    if (!copy)
        return NULL;
    if (s.size)
        memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return copy;
}

void mem_free(void *block)
{
    free(block);
}

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of data */
    _Alignas(ALIGNMENT) unsigned char data[];
};

void arena_init(struct arena *arena, size_t limit)
{
    *arena = (struct arena){ .limit = limit };
}

static struct arena_block *add_block(struct arena *arena, size_t size)
{
    struct arena_block *block, *first = arena->blocks;
    size_t room = first ? BLOCK_NEXT : BLOCK_FIRST;

    room -= sizeof(*block);
    if (PIECE_IS_BLOCK || room < size)
        room = size;
    if (room > SIZE_MAX - sizeof(*block))
        return NULL;
    block = mem_alloc(sizeof(*block) + room);
    if (!block)
        return NULL;
    block->size = room;
    block->used = 0;
    if (first && room == size) { /* filled by this piece: what is left of the first stays in use */
        block->next = first->next;
        first->next = block;
    } else {
        block->next = first;
        arena->blocks = block;
    }
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    struct arena_block *block = arena->blocks;
    size_t rounded;
    void *piece;

    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->limit && (arena->used > arena->limit || rounded > arena->limit - arena->used))
        return NULL;
    if (PIECE_IS_BLOCK || !block || block->size - block->used < rounded) {
        block = add_block(arena, PIECE_IS_BLOCK ? size : rounded);
        if (!block)
            return NULL;
    }
    piece = block->data + block->used;
    block->used = PIECE_IS_BLOCK ? size : block->used + rounded;
    arena->used += rounded;
    return piece;
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
    char *copy = s.size < SIZE_MAX ? arena_alloc(arena, s.size + 1) : NULL;

    if (!copy)
        return (struct slice){ NULL, 0 };
    if (s.size)
        memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return (struct slice){ copy, s.size };
}

void arena_free(struct arena *arena)
{
    struct arena_block *block = arena->blocks;

    while (block) {
        struct arena_block *next = block->next;
        mem_free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->used = 0;
}
