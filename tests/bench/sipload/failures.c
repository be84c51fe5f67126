/* SPDX-License-Identifier: Apache-2.0 */
/* See failures.h. */
#include "failures.h"

#include "text.h"

#include <stdarg.h>

static struct {
    char name[64];
    uint64_t n;
} reasons[64];
static unsigned nreasons;

void count_failure(const char *fmt, ...)
{
    char name[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    for (char *c = name; *c; c++)
        if (*c == ' ' || *c == '=')
            *c = '_';
    unsigned i = 0;
    while (i < nreasons && strcmp(reasons[i].name, name))
        i++;
    if (i == sizeof reasons / sizeof *reasons)
        i--;
    if (i == nreasons)
        memcpy(reasons[nreasons++].name, name, sizeof name);
    reasons[i].n++;
}

uint64_t total_failures(void)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < nreasons; i++)
        n += reasons[i].n;
    return n;
}

void print_failures(void)
{
    printf("failures=%llu\n", (unsigned long long)total_failures());
    for (unsigned i = 0; i < nreasons; i++)
        printf("failure \"%s\"=%llu\n", reasons[i].name, (unsigned long long)reasons[i].n);
}

void forget_failures(void)
{
    nreasons = 0;
    memset(reasons, 0, sizeof(reasons));
}
