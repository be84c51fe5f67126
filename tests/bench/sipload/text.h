/* SPDX-License-Identifier: Apache-2.0 */
/* Growing bytes, slices of them, and what every part needs: die(), must(), the clock. */
#ifndef HOLDLINE_BENCH_SIPLOAD_TEXT_H
#define HOLDLINE_BENCH_SIPLOAD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define NS 1000000000ull

void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void *must(void *p); /* ends the program on NULL */
uint64_t now_ns(void);

struct buf {
    char *p;
    size_t len, cap, off; /* bytes [off, len) are not yet consumed */
};
struct str {
    const char *p;
    size_t n;
};

static inline struct str str_of(const char *s)
{
    return (struct str){ s, strlen(s) };
}

void put_str(struct buf *b, struct str s);
static inline void put(struct buf *b, const char *s)
{
    put_str(b, str_of(s));
}
void put_number(struct buf *b, uint64_t v, unsigned radix);
void buf_free(struct buf *b);

#endif
