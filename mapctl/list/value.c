/* SPDX-License-Identifier: Apache-2.0 */
/* What a value becomes, or what is wrong with it. */
#include "mapctl/list/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define SHOWN_OCTETS    80
#define CN_MAX_CHARS    64 /* RFC 5280, and the database */
#define PLACE_MAX_CHARS 128

const char *list_shown(struct slice text, char out[LIST_SHOWN_MAX])
{
    static const char digits[16] = "0123456789abcdef";
    struct slice part = { text.data, text.size < SHOWN_OCTETS ? text.size : SHOWN_OCTETS };
    size_t to = 0;
    bool clean;

    while (part.size > 0 && part.size < text.size && (text.data[part.size] & 0xc0) == 0x80)
        part.size--; /* not through a character */
    clean = text_is_clean_utf8(part);
    out[to++] = '"';
    for (size_t i = 0; i < part.size; i++) {
        unsigned char c = (unsigned char)part.data[i];
        if (c == '"' || c == '\\') {
            out[to++] = '\\';
            out[to++] = (char)c;
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !clean)) {
            out[to++] = '\\';
            out[to++] = 'x';
            out[to++] = digits[c >> 4];
            out[to++] = digits[c & 15];
        } else {
            out[to++] = (char)c;
        }
    }
    out[to++] = '"';
    memcpy(out + to, part.size < text.size ? "..." : "", part.size < text.size ? 4 : 1);
    return out;
}

static bool explain(char why[LIST_WHY_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool explain(char why[LIST_WHY_MAX], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, LIST_WHY_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- CNs ---- */

static size_t characters(struct slice s)
{
    size_t count = 0;

    for (size_t i = 0; i < s.size; i++)
        count += (s.data[i] & 0xc0) != 0x80;
    return count;
}

bool list_value_cn(const struct list_store *store, struct slice text, struct list_cn *out,
                   char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX];
    enum error error = cn_canonical(store->form, store->prefixes, store->prefix_count, text,
                                    out->text, &out->size);

    if (error == ERROR_NONE && characters((struct slice){ out->text, out->size }) <= CN_MAX_CHARS)
        return true;
    if (text.size == 0)
        return explain(why, "the CN is missing; write it first");
    list_shown(text, shown);
    if (store->form == CN_FORM_MAC)
        return explain(why,
                       "%s is not a MAC address; write twelve hexadecimal digits, such as "
                       "0004F224A6AC or 00:04:f2:24:a6:ac",
                       shown);
    if (text_is_clean_utf8(text))
        return explain(
            why, "CN %s is longer than 64 characters; write it as the certificate has it", shown);
    return explain(why, "CN %s has a control character or is not UTF-8; leave it out", shown);
}

/* ---- Identities ---- */

static bool looks_like_number(struct slice s)
{
    bool digit = false;

    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        digit = digit || (c >= '0' && c <= '9');
        if (!(c >= '0' && c <= '9') && !strchr("+-(). ", c))
            return false;
    }
    return digit;
}

static bool explain_without_domain(struct slice text, const char *shown, char why[LIST_WHY_MAX])
{
    if (text.size >= 4 && strncasecmp(text.data, "tel:", 4) == 0)
        return explain(why,
                       "%s has no domain; write the number as a user of your domain, such as "
                       "+493012345@example.org",
                       shown);
    if (looks_like_number(text))
        return explain(why,
                       "%s has no domain; write it as a user of your domain, such as "
                       "2000@example.org, or add a domain to all with --identity",
                       shown);
    return explain(why,
                   "%s is no identity; write user@domain, such as alice@example.org, or a "
                   "whole domain",
                   shown);
}

static bool explain_domain(struct slice domain, const char *shown, char why[LIST_WHY_MAX])
{
    for (size_t i = 0; i < domain.size; i++) {
        if (strchr(":;?", domain.data[i]) && domain.data[i])
            return explain(why, "%s has a port, parameters or headers; write user@domain alone",
                           shown);
    }
    return explain(why,
                   "%s has no valid domain behind the @; write letters, digits and hyphens, "
                   "such as alice@example.org",
                   shown);
}

static bool explain_user(struct slice user, const char *shown, char why[LIST_WHY_MAX])
{
    for (size_t i = 0; i < user.size; i++) {
        unsigned char c = (unsigned char)user.data[i];
        if (c == ':')
            return explain(why, "%s has a password or an unknown scheme; write user@domain alone",
                           shown);
        if (c == '%')
            return explain(why,
                           "%s has a %% that is no escape of a printable character; write "
                           "the character itself, or %%25",
                           shown);
        if (c < 0x20 || c == 0x7f)
            return explain(why, "%s has a control character; leave it out", shown);
        if (c > 0x7f || strchr(" \"#<>[\\]^`{|}", c))
            return explain(why,
                           "%s has a character that must be escaped; write %%%02X instead of "
                           "octet %zu",
                           shown, c, i + 1);
    }
    return explain(why, "%s is no identity; write user@domain, such as alice@example.org", shown);
}

static struct slice without_scheme(struct slice text)
{
    size_t size = text.size >= 4 && strncasecmp(text.data, "sip:", 4) == 0    ? 4
                  : text.size >= 5 && strncasecmp(text.data, "sips:", 5) == 0 ? 5
                                                                              : 0;

    return (struct slice){ text.data + size, text.size - size };
}

bool list_value_identity(struct slice text, struct identity *out, char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX];
    struct slice user, domain;
    struct identity alone;
    const char *at;
    enum error error = identity_from_text(out, text);

    if (error == ERROR_NONE)
        return true;
    list_shown(text, shown);
    text = without_scheme(slice_trim(text));
    if (text.size == 0)
        return explain(why,
                       "the identity is missing; write user@domain, such as alice@example.org");
    if (error == ERROR_TOO_LARGE)
        return explain(why, "%s is longer than 254 octets; give the user a shorter name", shown);
    at = memchr(text.data, '@', text.size);
    if (at == NULL)
        return explain_without_domain(text, shown, why);
    if (at == text.data)
        return explain(why,
                       "%s has no user before the @; write user@domain, or the domain alone "
                       "for every user of it",
                       shown);
    user = (struct slice){ text.data, (size_t)(at - text.data) };
    domain = (struct slice){ at + 1, text.size - user.size - 1 };
    if (identity_from_parts(&alone, user, SLICE("example.org"), false) == ERROR_NONE)
        return explain_domain(domain, shown, why);
    return explain_user(user, shown, why);
}

/* ---- Labels and sites ---- */

bool list_value_place(const char *what, struct slice text, struct slice *out,
                      char why[LIST_WHY_MAX])
{
    char shown[LIST_SHOWN_MAX];

    *out = slice_trim(text);
    if (!text_is_clean_utf8(*out))
        return explain(why,
                       "the %s %s has a line break or a control character; write it on one line",
                       what, list_shown(*out, shown));
    if (characters(*out) > PLACE_MAX_CHARS)
        return explain(why, "the %s %s is longer than 128 characters; shorten it", what,
                       list_shown(*out, shown));
    return true;
}
