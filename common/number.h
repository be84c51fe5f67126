/* SPDX-License-Identifier: Apache-2.0 */
/* A telephone number as the rules about numbers see it: however a user part spells it, one text, so
 * that no spelling makes another decision (T21). Pure. */
#ifndef HOLDLINE_COMMON_NUMBER_H
#define HOLDLINE_COMMON_NUMBER_H

#include "common/identity.h"

/* International prefixes that are known if nothing else is said: most of the world, North America.
 */
#define NUMBER_INTERNATIONAL "00,011"

struct number {
    char text[IDENTITY_MAX + 1]; /* digits with at most one leading '+' */
    size_t size;
};

/* From a canonical user part, or a tel: number: without visual separators (RFC 3966 5.1.1, and the
 * space that people write), and with + for the longest of the international prefixes that it begins
 * with. `international`: digits with commas between them; empty: none. False, *out empty: it is no
 * plain number, as one with parameters is none. */
bool number_read(struct slice user, struct slice international, struct number *out);

#endif
