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

/* A number of so many digits without any prefix means + and `prefix` before it. */
struct number_local {
    size_t digits;
    struct slice prefix;
};

/* What a number that is dialled means. Digits alone; all zero: nothing. */
struct number_plan {
    struct slice international; /* prefixes that mean +, with commas between them */
    /* national, before a number within country, means + and country. Not both given: nothing. */
    struct slice national, country;
    const struct number_local *local; /* no two with the same count of digits */
    size_t local_count;
};

/* From a canonical user part, or a tel: number: without visual separators (RFC 3966 5.1.1, and the
 * space that people write); with + for the longest of the international prefixes that it begins
 * with, else with + and the country for the national prefix, else with what the plan puts before a
 * number of its length. A national prefix 0 behind + and the
 * country goes, as in +49(0)30: no number has it there. False, *out empty: it is no plain number,
 * as one with parameters is none, or is too long. */
bool number_read(struct slice user, const struct number_plan *plan, struct number *out);

/* The same for what only begins a number, as rules and routes name it: its length means nothing. */
bool number_read_beginning(struct slice user, const struct number_plan *plan, struct number *out);

/* Whether a canonical user part is, or might be taken for, a number that begins with `beginning`,
 * which the same plan has read: for rules that deny. Gateways dial what is no plain number too
 * (post-dial digits, pauses, extensions, separators of other kinds), and each drops other octets of
 * it. So all of these are read: its digits up to the first octet that a number has not, those up to
 * the first letter, and all of them. A name, which begins with a letter, is no number. */
bool number_may_begin(struct slice user, const struct number_plan *plan,
                      const struct number *beginning);

/* Whether it begins as a number, whatever comes behind. */
bool number_is_begun(struct slice user);

#endif
