/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "text.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <time.h>

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("sipload: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    ERR_print_errors_fp(stderr);
    exit(2);
}

void *must(void *p)
{
    if (!p)
        die("out of memory or library failure");
    return p;
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static char *reserve(struct buf *b, size_t n)
{
    if (b->len + n > b->cap) {
        b->cap = (b->len + n) * 2 < 512 ? 512 : (b->len + n) * 2;
        b->p = must(realloc(b->p, b->cap));
    }
    return b->p + b->len;
}

void put_str(struct buf *b, struct str s)
{
    memcpy(reserve(b, s.n + 1), s.p, s.n);
    b->len += s.n;
}

void put_number(struct buf *b, uint64_t v, unsigned radix)
{
    char digits[24], *d = digits + sizeof digits;
    do
        *--d = "0123456789abcdef"[v % radix];
    while (v /= radix);
    put_str(b, (struct str){ d, (size_t)(digits + sizeof digits - d) });
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ 0 };
}
