/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical form of SIP identities. SQL has the same rules; tests/corpus/identity.tsv is run
 * through both. */
#include "common/identity.h"

#include <arpa/inet.h>

#define HOST_MAX  253 /* RFC 1035 2.3.4, without the trailing dot */
#define LABEL_MAX 63

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char to_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* unreserved and user-unreserved of RFC 3261 25.1; and what the labels of a host name in lower case
 * are made of. */
enum { IN_USER = 1, IN_LABEL = 2 };
static const unsigned char PLACES[256] = {
    ['a' ... 'z'] = IN_USER | IN_LABEL,
    ['0' ... '9'] = IN_USER | IN_LABEL,
    ['A' ... 'Z'] = IN_USER,
    ['-'] = IN_USER | IN_LABEL,
    ['_'] = IN_USER,
    ['.'] = IN_USER,
    ['!'] = IN_USER,
    ['~'] = IN_USER,
    ['*'] = IN_USER,
    ['\''] = IN_USER,
    ['('] = IN_USER,
    [')'] = IN_USER,
    ['&'] = IN_USER,
    ['='] = IN_USER,
    ['+'] = IN_USER,
    ['$'] = IN_USER,
    [','] = IN_USER,
    [';'] = IN_USER,
    ['?'] = IN_USER,
    ['/'] = IN_USER,
};

static bool may_stand_in(char c, unsigned place)
{
    return (PLACES[(unsigned char)c] & place) != 0;
}

static bool may_stand_in_user(char c)
{
    return may_stand_in(c, IN_USER);
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    c = to_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool append(struct identity *out, char c)
{
    if (out->size == IDENTITY_MAX)
        return false;
    out->text[out->size++] = c;
    return true;
}

/* ---- User part ---- */

/* The escape at *at, which stands on '%': decoded, or kept with upper-case digits. */
static enum error append_escape(struct identity *out, struct slice user, size_t *at)
{
    static const char digits[16] = "0123456789ABCDEF";
    int high = *at + 2 < user.size ? hex_value(user.data[*at + 1]) : -1;
    int low = *at + 2 < user.size ? hex_value(user.data[*at + 2]) : -1;
    int value = high * 16 + low;

    if (high < 0 || low < 0 || value < 0x20 || value == 0x7f)
        return ERROR_MALFORMED;
    *at += 2;
    if (value < 0x80 && may_stand_in_user((char)value))
        return append(out, (char)value) ? ERROR_NONE : ERROR_TOO_LARGE;
    if (!append(out, '%') || !append(out, digits[high]) || !append(out, digits[low]))
        return ERROR_TOO_LARGE;
    return ERROR_NONE;
}

/* A tel: URI may have a '#' as it stands; a sip URI has it escaped, so that is the one form. */
static enum error append_user(struct identity *out, struct slice user, bool phone)
{
    for (size_t i = 0; i < user.size; i++) {
        char c = user.data[i];
        if (c == '%') {
            enum error error = append_escape(out, user, &i);
            if (error != ERROR_NONE)
                return error;
        } else if (phone && c == '#') {
            if (!append(out, '%') || !append(out, '2') || !append(out, '3'))
                return ERROR_TOO_LARGE;
        } else if (!may_stand_in_user(c)) {
            return ERROR_MALFORMED;
        } else if (!append(out, c)) {
            return ERROR_TOO_LARGE;
        }
    }
    return ERROR_NONE;
}

static bool is_separator(char c)
{
    return c == '-' || c == '.' || c == '(' || c == ')';
}

/* The length of the number at the front of the decoded user, before its parameters; 0 when it is
 * none. `phone` allows what only a tel: URI has: hexadecimal digits, '*', and '#', which stands
 * there as %23. A user that is no number keeps its dots: alice.b is not aliceb. */
static size_t number_size(const struct identity *user, bool phone)
{
    size_t i = user->text[0] == '+' ? 1 : 0, digits = 0;

    for (; i < user->size && user->text[i] != ';'; i++) {
        char c = user->text[i];
        if (phone && strncmp(user->text + i, "%23", 3) == 0) {
            i += 2;
            digits++;
        } else if (is_digit(c) || (phone && (hex_value(c) >= 0 || c == '*'))) {
            digits++;
        } else if (!is_separator(c)) {
            return 0;
        }
    }
    return digits ? i : 0;
}

static bool drop_separators(struct identity *out, bool phone)
{
    size_t number = number_size(out, phone), to = 0;

    if (number == 0)
        return !phone; /* a tel: URI is a number or nothing */
    for (size_t i = 0; i < out->size; i++) {
        if (i >= number || !is_separator(out->text[i]))
            out->text[to++] = out->text[i];
    }
    memset(out->text + to, 0, out->size - to);
    out->size = (uint16_t)to;
    return true;
}

/* ---- Host ---- */

static bool label_is_valid(struct slice label)
{
    if (label.size == 0 || label.size > LABEL_MAX || label.data[0] == '-' ||
        label.data[label.size - 1] == '-')
        return false;
    for (size_t i = 0; i < label.size; i++) {
        if (!is_letter(label.data[i]) && !is_digit(label.data[i]) && label.data[i] != '-')
            return false;
    }
    return true;
}

static bool next_label(struct slice *rest, struct slice *label)
{
    const char *dot = memchr(rest->data, '.', rest->size);
    size_t size = dot ? (size_t)(dot - rest->data) : rest->size;

    *label = (struct slice){ rest->data, size };
    rest->data += dot ? size + 1 : size;
    rest->size -= dot ? size + 1 : size;
    return dot != NULL;
}

/* RFC 3261 25.1: the last label begins with a letter, which tells a name from an address. */
static bool is_host_name(struct slice host)
{
    struct slice label;
    bool more;

    do {
        more = next_label(&host, &label);
        if (!label_is_valid(label))
            return false;
    } while (more);
    return is_letter(label.data[0]);
}

/* Without leading zeros, which some read as octal. */
static bool is_ipv4(struct slice host)
{
    struct slice label;
    unsigned long long value;
    unsigned count = 0;
    bool more;

    do {
        more = next_label(&host, &label);
        if (!slice_to_u64(label, 255, &value) || (label.size > 1 && label.data[0] == '0'))
            return false;
        count++;
    } while (more);
    return count == 4;
}

static enum error append_ipv6(struct identity *out, struct slice host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t size;

    if (host.size < 4 || host.data[host.size - 1] != ']' || host.size - 2 >= sizeof(text))
        return ERROR_MALFORMED;
    memcpy(text, host.data + 1, host.size - 2);
    text[host.size - 2] = '\0';
    if (strlen(text) != host.size - 2 || inet_pton(AF_INET6, text, &address) != 1)
        return ERROR_MALFORMED;
    inet_ntop(AF_INET6, &address, text, sizeof(text));
    size = strlen(text);
    if (size + 2 > (size_t)IDENTITY_MAX - out->size)
        return ERROR_TOO_LARGE;
    out->text[out->size] = '[';
    memcpy(out->text + out->size + 1, text, size);
    out->text[out->size + 1 + size] = ']';
    out->size = (uint16_t)(out->size + size + 2);
    return ERROR_NONE;
}

static enum error append_host(struct identity *out, struct slice host)
{
    if (host.size && host.data[0] == '[')
        return append_ipv6(out, host);
    if (host.size && host.data[host.size - 1] == '.')
        host.size--;
    if (host.size > HOST_MAX)
        return ERROR_TOO_LARGE;
    if (host.size == 0 || (!is_ipv4(host) && !is_host_name(host)))
        return ERROR_MALFORMED;
    for (size_t i = 0; i < host.size; i++) {
        if (!append(out, to_lower(host.data[i])))
            return ERROR_TOO_LARGE;
    }
    return ERROR_NONE;
}

/* ---- Public ---- */

static enum error build(struct identity *out, struct slice user, struct slice host, bool number)
{
    bool phone = number && host.size == 0;
    enum error error = append_user(out, user, phone);

    if (error != ERROR_NONE)
        return error;
    if (number && user.size && !drop_separators(out, phone))
        return ERROR_MALFORMED;
    out->user_size = out->size;
    if (phone && out->size)
        return ERROR_NONE;
    if (out->size && !append(out, '@'))
        return ERROR_TOO_LARGE;
    return append_host(out, host);
}

enum error identity_from_parts(struct identity *out, struct slice user, struct slice host,
                               bool number)
{
    enum error error;

    *out = (struct identity){ .size = 0 };
    error = build(out, user, host, number);
    if (error != ERROR_NONE)
        *out = (struct identity){ .size = 0 };
    return error;
}

static struct slice trim_spaces(struct slice s)
{
    while (s.size && s.data[0] == ' ') {
        s.data++;
        s.size--;
    }
    while (s.size && s.data[s.size - 1] == ' ')
        s.size--;
    return s;
}

static bool cut_prefix(struct slice *s, struct slice prefix)
{
    if (s->size < prefix.size ||
        !slice_equal_nocase((struct slice){ s->data, prefix.size }, prefix))
        return false;
    s->data += prefix.size;
    s->size -= prefix.size;
    return true;
}

enum error identity_from_text(struct identity *out, struct slice text)
{
    struct slice user = SLICE(""), host;
    const char *at;

    *out = (struct identity){ .size = 0 };
    text = trim_spaces(text);
    if (!cut_prefix(&text, SLICE("sip:")))
        (void)cut_prefix(&text, SLICE("sips:"));
    host = text;
    at = text.size ? memchr(text.data, '@', text.size) : NULL;
    if (at) {
        user = (struct slice){ text.data, (size_t)(at - text.data) };
        host = (struct slice){ at + 1, text.size - user.size - 1 };
        if (user.size == 0)
            return ERROR_MALFORMED;
    }
    if (host.size == 0 || host.data[0] == '[')
        return ERROR_MALFORMED;
    return identity_from_parts(out, user, host, false);
}

/* A host name in lower case, as is_host_name() wants it: nothing of it would be changed. */
static bool is_plain_host(struct slice host)
{
    size_t label = 0, last = 0;

    for (size_t i = 0; i <= host.size; i++) {
        if (i < host.size && may_stand_in(host.data[i], IN_LABEL))
            continue;
        if (i < host.size && host.data[i] != '.')
            return false;
        if (i == label || i - label > LABEL_MAX || host.data[label] == '-' ||
            host.data[i - 1] == '-')
            return false;
        last = label;
        label = i + 1;
    }
    return host.size <= HOST_MAX && is_letter(host.data[last]);
}

/* Only the grammar's own characters: what has spaces around it, a scheme or an escape has others.
 */
static bool is_plain_user(struct slice user)
{
    for (size_t i = 0; i < user.size; i++)
        if (!may_stand_in_user(user.data[i]))
            return false;
    return user.size > 0;
}

bool identity_is_canonical(struct slice text)
{
    struct identity made;
    const char *at = text.size > 0 ? memchr(text.data, '@', text.size) : NULL;
    struct slice user = { text.data, at != NULL ? (size_t)(at - text.data) : 0 };
    size_t before = at != NULL ? user.size + 1 : 0;
    struct slice host = { text.data + before, text.size - before };

    if (text.size > IDENTITY_MAX)
        return false;
    if (is_plain_host(host) && (at == NULL || is_plain_user(user)))
        return true;
    return identity_from_text(&made, text) == ERROR_NONE && slice_equal(identity_text(&made), text);
}

bool identity_covered_by(const struct identity *i, struct slice entry)
{
    if (i->size == 0 || entry.size == 0)
        return false;
    /* A number made of hexadecimal digits alone could look like a domain. */
    if (i->user_size == i->size && i->text[0] != '+' && !is_digit(i->text[0]))
        return false;
    if (slice_equal(identity_text(i), entry))
        return true;
    return slice_equal(identity_domain(i), entry);
}

bool identity_is_number(const struct identity *i)
{
    struct slice user = identity_user(i);
    size_t at = user.size && user.data[0] == '+' ? 1 : 0;

    if (at == user.size)
        return false;
    for (; at < user.size; at++) {
        if (!is_digit(user.data[at]))
            return false;
    }
    return true;
}

bool identity_is_anonymous(const struct identity *i)
{
    return slice_equal(identity_domain(i), SLICE("anonymous.invalid"));
}

/* ---- Services ---- */

#define SERVICE_PREFIX "urn:service:"

enum error identity_from_service(struct identity *out, struct slice name)
{
    struct slice rest, label;
    bool more;

    *out = (struct identity){ .size = 0 };
    (void)cut_prefix(&name, SLICE(SERVICE_PREFIX));
    if (name.size > IDENTITY_MAX - strlen(SERVICE_PREFIX))
        return ERROR_TOO_LARGE;
    rest = name;
    do {
        more = next_label(&rest, &label);
        if (!label_is_valid(label))
            return ERROR_MALFORMED;
    } while (more);
    memcpy(out->text, SERVICE_PREFIX, strlen(SERVICE_PREFIX));
    out->size = (uint16_t)strlen(SERVICE_PREFIX);
    for (size_t i = 0; i < name.size; i++)
        out->text[out->size++] = to_lower(name.data[i]);
    out->user_size = out->size;
    return ERROR_NONE;
}

struct slice identity_service(const struct identity *i)
{
    size_t prefix = strlen(SERVICE_PREFIX);

    if (i->size <= prefix || memcmp(i->text, SERVICE_PREFIX, prefix) != 0)
        return SLICE("");
    return (struct slice){ i->text + prefix, i->size - prefix };
}

/* ---- CNs ---- */

/* Whether it is canonical as it stands, as nearly all that is asked about is. */
static bool is_canonical_mac(struct slice s)
{
    unsigned good = s.size == 12;

    for (size_t i = 0; good && i < 12; i++) {
        unsigned char c = (unsigned char)s.data[i];
        good = (unsigned)(c - '0') < 10 || (unsigned)(c - 'A') < 6;
    }
    return good;
}

/* Six octets, with at most one separator between two of them. */
static bool read_mac(struct slice s, char *out)
{
    size_t at = 0;

    if (is_canonical_mac(s)) {
        memcpy(out, s.data, 12);
        out[12] = '\0';
        return true;
    }
    for (size_t octet = 0; octet < 6; octet++) {
        if (octet && at < s.size && (s.data[at] == ':' || s.data[at] == '-' || s.data[at] == '.'))
            at++;
        for (size_t digit = 0; digit < 2; digit++, at++) {
            char c = at < s.size ? s.data[at] : '\0';
            if (c >= 'a' && c <= 'f')
                c = (char)(c - 'a' + 'A');
            if (!is_digit(c) && (c < 'A' || c > 'F'))
                return false;
            out[2 * octet + digit] = c;
        }
    }
    out[12] = '\0';
    return at == s.size;
}

/* What is an address as it stands keeps its digits even if a prefix fits: else the canonical form
 * of a store with prefix "00" were not its own canonical form. */
static enum error canonical_mac(const struct slice *prefixes, size_t prefix_count, struct slice cn,
                                char *out)
{
    cn = trim_spaces(cn);
    if (read_mac(cn, out))
        return ERROR_NONE;
    for (size_t i = 0; i < prefix_count; i++) {
        if (prefixes[i].size && cut_prefix(&cn, prefixes[i]))
            return read_mac(trim_spaces(cn), out) ? ERROR_NONE : ERROR_MALFORMED;
    }
    return ERROR_MALFORMED;
}

static enum error canonical_exact(struct slice cn, char *out)
{
    if (cn.size > CN_MAX_OCTETS)
        return ERROR_TOO_LARGE;
    if (cn.size == 0 || !text_is_clean_utf8(cn))
        return ERROR_MALFORMED;
    memcpy(out, cn.data, cn.size);
    out[cn.size] = '\0';
    return ERROR_NONE;
}

enum error cn_canonical(enum cn_form form, const struct slice *prefixes, size_t prefix_count,
                        struct slice cn, char *out, size_t *out_size)
{
    enum error error = ERROR_MALFORMED;

    switch (form) {
    case CN_FORM_NONE:
        break;
    case CN_FORM_MAC:
        error = canonical_mac(prefixes, prefix_count, cn, out);
        break;
    case CN_FORM_EXACT:
        error = canonical_exact(cn, out);
        break;
    }
    if (error != ERROR_NONE)
        out[0] = '\0';
    if (out_size)
        *out_size = strlen(out);
    return error;
}

/* ---- UTF-8 ---- */

/* The code point at *at, or UINT32_MAX; RFC 3629 4: no overlong form, no surrogate. */
static uint32_t next_code_point(struct slice s, size_t *at)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)s.data[*at];
    size_t size = first < 0x80             ? 1
                  : (first & 0xe0) == 0xc0 ? 2
                  : (first & 0xf0) == 0xe0 ? 3
                  : (first & 0xf8) == 0xf0 ? 4
                                           : 0;
    uint32_t point = size > 1 ? first & (0x7fu >> size) : first;

    if (size == 0 || size > s.size - *at)
        return UINT32_MAX;
    for (size_t i = 1; i < size; i++) {
        unsigned char next = (unsigned char)s.data[*at + i];
        if ((next & 0xc0) != 0x80)
            return UINT32_MAX;
        point = point << 6 | (next & 0x3f);
    }
    if (point < smallest[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return UINT32_MAX;
    *at += size;
    return point;
}

bool text_is_clean_utf8(struct slice s)
{
    size_t at = 0;

    while (at < s.size && s.data[at] >= ' ' && s.data[at] < 0x7f) /* mostly this is all */
        at++;
    while (at < s.size) {
        uint32_t point = next_code_point(s, &at);
        if (point == UINT32_MAX || point < 0x20 || (point >= 0x7f && point <= 0x9f))
            return false;
    }
    return true;
}
