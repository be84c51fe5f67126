/* SPDX-License-Identifier: Apache-2.0 */
/* A list read in a test, and what came of it as lines of text:
 *   LINE CN|identity,identity|label|site     a device ('|label|site' when the list has a column)
 *   LINE ! what to write                     a wrong line */
#ifndef HOLDLINE_TESTS_UNIT_MAPCTL_LIST_LIST_RUN_H
#define HOLDLINE_TESTS_UNIT_MAPCTL_LIST_LIST_RUN_H

#include "mapctl/list/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Pushes `step` bytes at a time (0: all); the result is valid until the next call. */
const char *list_run(const struct list_options *options, struct slice list, size_t step);

/* The list must give this in one push, byte by byte and in pieces of 7. */
void list_must_give(const struct list_options *options, struct slice list, const char *expected);

#endif
