/* SPDX-License-Identifier: Apache-2.0 */
/* A run of bytes that somebody else owns. Not NUL-terminated; may hold any byte. Passed by value.
 */
#ifndef HOLDLINE_COMMON_SLICE_H
#define HOLDLINE_COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t size;
};

#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

static inline struct slice slice_of(const char *text)
{
    return (struct slice){ text, strlen(text) };
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.size >= prefix.size && slice_equal((struct slice){ s.data, prefix.size }, prefix);
}

/* Like slice_equal(), ASCII letters without case (never the locale's). */
bool slice_equal_nocase(struct slice a, struct slice b);

/* <0, 0, >0 by byte value, a prefix sorting first: the order of COLLATE "C" and of LMDB. */
int slice_compare(struct slice a, struct slice b);

/* Without leading and trailing SP, HTAB, CR and LF. */
struct slice slice_trim(struct slice s);

/* Reads decimal digits that fill `s` whole, at most `max`. False, *value untouched, on anything
 * else. */
bool slice_to_u64(struct slice s, unsigned long long max, unsigned long long *value);

#endif
