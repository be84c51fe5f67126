/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/kill_point.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void kill_point(const char *name)
{
    static atomic_ulong passed; /* of the one that is wanted; several threads come by */
    const char *wanted = getenv("HOLDLINE_KILL_AT");
    size_t size = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, size) != 0 ||
        (wanted[size] != '\0' && wanted[size] != ':'))
        return;
    unsigned long number = wanted[size] == ':' ? strtoul(wanted + size + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&passed, 1) + 1 >= number)
        raise(SIGKILL);
}

#endif
