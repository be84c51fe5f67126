/* SPDX-License-Identifier: Apache-2.0 */
/* Templates and sequences of identities. */
#include "mapctl/list/template.h"

#include <stdio.h>

/* Far below what overflows when a list of any length counts up from it. */
#define SEQUENCE_DIGITS_MAX 15

static bool add_piece(struct list_template *out, enum list_piece_kind kind, struct slice text)
{
    if (text.size == 0)
        return true;
    if (out->count == LIST_TEMPLATE_PIECES)
        return false;
    out->pieces[out->count].kind = kind;
    out->pieces[out->count++].text = text;
    return true;
}

static enum list_piece_kind kind_of(struct slice name)
{
    if (slice_equal_nocase(name, SLICE("mac")) || slice_equal_nocase(name, SLICE("cn")))
        return LIST_PIECE_CN;
    if (slice_equal_nocase(name, SLICE("mac-lower")) || slice_equal_nocase(name, SLICE("cn-lower")))
        return LIST_PIECE_CN_LOWER;
    return LIST_PIECE_COLUMN;
}

static bool refuse(struct slice text, const char *reason, char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX];

    snprintf(why, LIST_WHY_MAX, "%s %s", list_shown(text, shown), reason);
    return false;
}

bool list_template_read(struct slice text, struct list_template *out, char why[LIST_WHY_MAX])
{
    struct slice rest = text;

    *out = (struct list_template){ .count = 0 };
    while (rest.size > 0) {
        const char *open = memchr(rest.data, '{', rest.size);
        size_t plain = open ? (size_t)(open - rest.data) : rest.size;
        const char *close = open ? memchr(open, '}', rest.size - plain) : NULL;
        struct slice name = { open ? open + 1 : "", close ? (size_t)(close - open - 1) : 0 };
        if (memchr(rest.data, '}', plain) || (open && name.size == 0))
            return refuse(text, "has a brace without its pair; write such as {mac}@example.org",
                          why);
        if (!add_piece(out, LIST_PIECE_TEXT, (struct slice){ rest.data, plain }) ||
            !add_piece(out, kind_of(name), name))
            return refuse(text, "has too many pieces; 16 are allowed", why);
        plain += open ? name.size + 2 : 0;
        rest.data += plain;
        rest.size -= plain;
    }
    if (out->count == 0)
        return refuse(text, "is empty; write such as {mac}@example.org", why);
    return true;
}

/* A comma would be read as the end of the identity elsewhere, an '@' as its domain. */
static bool is_one_value(const struct slice *name, struct slice value, char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX], column[LIST_SHOWN_MAX];

    if (value.size == 0) {
        snprintf(why, LIST_WHY_MAX, "column %s is empty; write its value",
                 list_shown(*name, column));
        return false;
    }
    if (!memchr(value.data, '@', value.size) && !memchr(value.data, ',', value.size))
        return true;
    snprintf(why, LIST_WHY_MAX,
             "column %s has %s; write one value without @ and comma, or take whole identities "
             "with --columns identity=...",
             list_shown(*name, column), list_shown(value, shown));
    return false;
}

static bool append(char out[LIST_TEMPLATE_MAX], size_t *size, struct slice s, bool lower)
{
    if (s.size > LIST_TEMPLATE_MAX - *size)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        out[(*size)++] = (char)(lower && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    return true;
}

bool list_template_fill(const struct list_template *template, struct slice cn,
                        const struct slice *values, char out[LIST_TEMPLATE_MAX], size_t *size,
                        char why[LIST_WHY_MAX])
{
    *size = 0;
    for (size_t i = 0; i < template->count; i++) {
        enum list_piece_kind kind = template->pieces[i].kind;
        bool text = kind == LIST_PIECE_TEXT;
        struct slice name = text ? SLICE("") : template->pieces[i].text;
        struct slice value = text                        ? template->pieces[i].text
                             : kind == LIST_PIECE_COLUMN ? values[i]
                                                         : cn;
        if (!text && !is_one_value(&name, value, why))
            return false;
        if (!append(out, size, value, kind == LIST_PIECE_CN_LOWER))
            return refuse(value, "makes the identity longer than 254 octets; shorten it", why);
    }
    return true;
}

bool list_sequence_read(struct slice text, struct list_sequence *out, char why[LIST_WHY_MAX])
{
    const char *at = text.size ? memchr(text.data, '@', text.size) : NULL;
    size_t end = at ? (size_t)(at - text.data) : 0, from = end;
    struct identity whole;

    while (from > 0 && text.data[from - 1] >= '0' && text.data[from - 1] <= '9')
        from--;
    *out = (struct list_sequence){ .prefix = { text.data, from }, .digits = end - from };
    if (at)
        out->domain = (struct slice){ at + 1, text.size - end - 1 };
    if (out->digits == 0 || out->digits > SEQUENCE_DIGITS_MAX ||
        !slice_to_u64((struct slice){ text.data + from, end - from }, UINT64_MAX, &out->next) ||
        identity_from_text(&whole, text) != ERROR_NONE)
        return refuse(text,
                      "is no beginning of a sequence; write a user that ends in 1 to 15 "
                      "digits, such as 2000@example.org",
                      why);
    return true;
}

void list_sequence_next(struct list_sequence *sequence, char out[LIST_TEMPLATE_MAX], size_t *size)
{
    int written = snprintf(out, LIST_TEMPLATE_MAX, "%.*s%0*llu@%.*s", (int)sequence->prefix.size,
                           sequence->prefix.data, (int)sequence->digits, sequence->next++,
                           (int)sequence->domain.size, sequence->domain.data);

    *size = written > 0 && written < LIST_TEMPLATE_MAX ? (size_t)written : 0;
}
