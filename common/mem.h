/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation through one door, so that tests can fail the n-th, and arenas for objects that die
 * together. */
#ifndef HOLDLINE_COMMON_MEM_H
#define HOLDLINE_COMMON_MEM_H

#include "common/error.h"
#include "common/slice.h"

#include <stddef.h>

/* NULL on failure. Free with mem_free(). Size 0 gives a block of one byte. */
void *mem_alloc(size_t size) MUST_CHECK;
/* count * size bytes, cleared; NULL on overflow too. */
void *mem_zero(size_t count, size_t size) MUST_CHECK;
/* realloc(); the old block stays valid on failure. */
void *mem_grow(void *block, size_t size) MUST_CHECK;
/* A copy with a NUL behind it. */
char *mem_text(struct slice s) MUST_CHECK;
void mem_free(void *block);

/* For tests: the n-th allocation from now (1 = the next) fails, and only that one; 0 turns it off.
 * This thread only. */
void mem_fail_nth_for_tests(unsigned n);
/* Whether the failure that was ordered last has happened: the end of a loop over n. */
bool mem_failed_for_tests(void);

/* An arena: many small pieces, freed at once. One thread. A piece is aligned to 16. With
 * AddressSanitizer each piece is a block of its own, so that an overrun of one is seen. */
struct arena_block;
struct arena {
    struct arena_block *blocks; /* the one pieces are cut from stands first */
    size_t used, limit;         /* bytes handed out, rounded up; 0 = no limit */
};

void arena_init(struct arena *arena, size_t limit);
/* NULL: limit or memory. Not cleared. */
void *arena_alloc(struct arena *arena, size_t size) MUST_CHECK;
/* A copy with a NUL behind it; data == NULL on failure. */
struct slice arena_copy(struct arena *arena, struct slice s) MUST_CHECK;
/* Frees all pieces; the arena may be used again. */
void arena_free(struct arena *arena);

#endif
