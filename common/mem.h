/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation through one door, so that tests can fail the n-th, and arenas for objects that die together. */
#ifndef HOLDLINE_COMMON_MEM_H
#define HOLDLINE_COMMON_MEM_H

#include "common/error.h"
#include "common/slice.h"

#include <stddef.h>

/* NULL on failure. Free with mem_free(). mem_zero() clears; mem_grow() is realloc, old block kept on failure. */
void *mem_alloc(size_t size) MUST_CHECK;
void *mem_zero(size_t count, size_t size) MUST_CHECK;   /* NULL on overflow too */
void *mem_grow(void *block, size_t size) MUST_CHECK;
char *mem_text(struct slice s) MUST_CHECK;              /* NUL-terminated copy */
void mem_free(void *block);

/* For tests: the n-th allocation from now (1 = the next) fails, and only that one; 0 turns it off. This thread only. */
void mem_fail_nth_for_tests(unsigned n);

/* An arena: many small pieces, freed at once. One thread. Blocks come from mem_alloc(); a piece is aligned to 16.
 * In sanitizer builds freed blocks are poisoned by free() itself. */
struct arena_block;
struct arena {
    struct arena_block *blocks;
    size_t used, limit;      /* bytes handed out; 0 = no limit */
};

void arena_init(struct arena *arena, size_t limit);
void *arena_alloc(struct arena *arena, size_t size) MUST_CHECK;     /* NULL: limit or memory */
/* A copy with a NUL behind it; data == NULL on failure. */
struct slice arena_copy(struct arena *arena, struct slice s) MUST_CHECK;
void arena_free(struct arena *arena);

#endif
