/* SPDX-License-Identifier: Apache-2.0 */
#include "common/number.h"

/* Octets of the separator at `at`; 0: none stands there. */
static size_t separator_size(struct slice user, size_t at)
{
    if (strchr("-.()", user.data[at]) && user.data[at])
        return 1;
    return user.size - at >= 3 && memcmp(user.data + at, "%20", 3) == 0 ? 3 : 0;
}

static size_t longest_prefix(const struct number *number, struct slice international)
{
    size_t longest = 0;

    while (international.size) {
        const char *comma = memchr(international.data, ',', international.size);
        size_t size = comma ? (size_t)(comma - international.data) : international.size;

        if (size > longest && size <= number->size &&
            memcmp(number->text, international.data, size) == 0)
            longest = size;
        size += comma != NULL;
        international = (struct slice){ international.data + size, international.size - size };
    }
    return longest;
}

bool number_read(struct slice user, struct slice international, struct number *out)
{
    bool digits = false;
    size_t prefix, separator;

    *out = (struct number){ .size = 0 };
    for (size_t i = 0; i < user.size && out->size < IDENTITY_MAX; i++) {
        char c = user.data[i];
        bool digit = c >= '0' && c <= '9';

        if ((separator = separator_size(user, i))) {
            i += separator - 1;
            continue;
        }
        if (!digit && (c != '+' || out->size > 0)) {
            *out = (struct number){ .size = 0 };
            return false;
        }
        digits |= digit;
        out->text[out->size++] = c;
    }
    if (!digits || user.size > IDENTITY_MAX) {
        *out = (struct number){ .size = 0 };
        return false;
    }
    prefix = longest_prefix(out, international);
    if (prefix) {
        memmove(out->text + 1, out->text + prefix, out->size - prefix);
        out->text[0] = '+';
        memset(out->text + out->size - prefix + 1, 0, prefix - 1);
        out->size -= prefix - 1;
    }
    return true;
}
