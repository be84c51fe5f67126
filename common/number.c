/* SPDX-License-Identifier: Apache-2.0 */
#include "common/number.h"

/* Digits of what is read loosely: no rule names as many, and with what a plan puts before them they
 * fit. What is longer is not let off for its length. */
#define LOOSE_DIGITS_MAX 64

/* How far what is no plain number is read. */
enum loose_end { AT_STRANGER = 0, AT_LETTER, AT_END };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Octets of the separator at `at`; 0: none stands there. */
static size_t separator_size(struct slice user, size_t at)
{
    if (strchr("-.()", user.data[at]) && user.data[at])
        return 1;
    return user.size - at >= 3 && memcmp(user.data + at, "%20", 3) == 0 ? 3 : 0;
}

/* Digits, with at most one '+' before them. */
static bool read_digits(struct slice user, struct number *out)
{
    bool digits = false;
    size_t separator;

    if (user.size > IDENTITY_MAX)
        return false;
    for (size_t i = 0; i < user.size; i++) {
        char c = user.data[i];
        bool digit = is_digit(c);

        if ((separator = separator_size(user, i))) {
            i += separator - 1;
            continue;
        }
        if (!digit && (c != '+' || out->size > 0))
            return false;
        digits |= digit;
        out->text[out->size++] = c;
    }
    return digits;
}

/* Octets of the character at `at`, which may be an escape. */
static size_t character_size(struct slice user, size_t at)
{
    return user.data[at] == '%' && user.size - at >= 3 ? 3 : 1;
}

/* Where its first digit or '+' stands; at its end when a letter comes first, or neither. */
static size_t beginning_of(struct slice user)
{
    size_t at = 0;

    while (at < user.size && !is_digit(user.data[at]) && user.data[at] != '+') {
        if (is_letter(user.data[at]))
            return user.size;
        at += character_size(user, at);
    }
    return at;
}

static bool read_loosely(struct slice user, enum loose_end end, struct number *out)
{
    size_t at = beginning_of(user);
    bool digits = false;

    while (at < user.size && out->size < LOOSE_DIGITS_MAX) {
        char c = user.data[at];
        size_t separator = separator_size(user, at);

        if (is_digit(c) || (c == '+' && out->size == 0)) {
            out->text[out->size++] = c;
            digits |= is_digit(c);
        } else if (!separator && (end == AT_STRANGER || (end == AT_LETTER && is_letter(c)))) {
            break;
        }
        at += separator ? separator : character_size(user, at);
    }
    return digits;
}

/* `prefix` is not empty. */
static bool begins(const struct number *number, size_t at, struct slice prefix)
{
    return prefix.size <= number->size - at &&
           memcmp(number->text + at, prefix.data, prefix.size) == 0;
}

static size_t longest_prefix(const struct number *number, struct slice international)
{
    size_t longest = 0;

    while (international.size) {
        const char *comma = memchr(international.data, ',', international.size);
        size_t size = comma ? (size_t)(comma - international.data) : international.size;

        if (size > longest && begins(number, 0, (struct slice){ international.data, size }))
            longest = size;
        size += comma != NULL;
        international = (struct slice){ international.data + size, international.size - size };
    }
    return longest;
}

/* The first `cut` octets become + and the country; it fits. */
static void replace(struct number *number, size_t cut, struct slice country)
{
    struct number to = { .text = "+", .size = 1 + country.size };

    memcpy(to.text + 1, country.data, country.size);
    memcpy(to.text + to.size, number->text + cut, number->size - cut);
    to.size += number->size - cut;
    *number = to;
}

static void apply_international(struct number *number, struct slice international)
{
    size_t prefix = longest_prefix(number, international);

    if (prefix)
        replace(number, prefix, SLICE(""));
}

/* False: it would be too long. */
static bool apply_national(struct number *number, const struct number_plan *plan)
{
    if (plan->country.size == 0 || plan->national.size == 0 || !begins(number, 0, plan->national))
        return true;
    if (number->size - plan->national.size + 1 + plan->country.size > IDENTITY_MAX)
        return false;
    replace(number, plan->national.size, plan->country);
    return true;
}

/* False: it would be too long. */
static bool apply_local(struct number *number, const struct number_plan *plan)
{
    for (size_t i = 0; i < plan->local_count && number->text[0] != '+'; i++) {
        const struct number_local *local = &plan->local[i];

        if (number->size != local->digits)
            continue;
        if (number->size + 1 + local->prefix.size > IDENTITY_MAX)
            return false;
        replace(number, 0, local->prefix);
    }
    return true;
}

static void drop_zeros_behind_country(struct number *number, const struct number_plan *plan)
{
    size_t zeros = 1 + plan->country.size;

    if (plan->country.size == 0 || number->text[0] != '+' || !begins(number, 1, plan->country) ||
        !slice_equal(plan->national, SLICE("0")))
        return;
    while (begins(number, zeros, plan->national))
        zeros++;
    replace(number, zeros, plan->country);
}

/* False: it would be too long. */
static bool apply(struct number *number, const struct number_plan *plan, bool whole)
{
    apply_international(number, plan->international);
    if (!apply_national(number, plan) || (whole && !apply_local(number, plan)))
        return false;
    drop_zeros_behind_country(number, plan);
    return true;
}

static bool read(struct slice user, const struct number_plan *plan, bool whole, struct number *out)
{
    *out = (struct number){ .size = 0 };
    if (read_digits(user, out) && apply(out, plan, whole))
        return true;
    *out = (struct number){ .size = 0 };
    return false;
}

bool number_read(struct slice user, const struct number_plan *plan, struct number *out)
{
    return read(user, plan, true, out);
}

bool number_read_beginning(struct slice user, const struct number_plan *plan, struct number *out)
{
    return read(user, plan, false, out);
}

bool number_may_begin(struct slice user, const struct number_plan *plan,
                      const struct number *beginning)
{
    for (enum loose_end end = AT_STRANGER; end <= AT_END; end++) {
        struct number number = { .size = 0 };

        if (read_loosely(user, end, &number) && apply(&number, plan, true) &&
            begins(&number, 0, (struct slice){ beginning->text, beginning->size }))
            return true;
    }
    return false;
}

bool number_is_begun(struct slice user)
{
    return beginning_of(user) < user.size;
}
