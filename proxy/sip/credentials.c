/* SPDX-License-Identifier: Apache-2.0 */
/* `Digest name=value, name="value", …` */
#include "proxy/sip/credentials.h"

#include "common/identity.h"
#include "proxy/sip/header.h"
#include "proxy/sip/scan_internal.h"

#define NC_DIGITS 8

/* Parameters that count; each may stand once. username* is username. */
enum field {
    FIELD_NONE = 0,
    FIELD_USERNAME,
    FIELD_REALM,
    FIELD_NONCE,
    FIELD_URI,
    FIELD_RESPONSE,
    FIELD_ALGORITHM,
    FIELD_CNONCE,
    FIELD_QOP,
    FIELD_NC,
    FIELD_USERHASH,
    FIELD_COUNT
};

static const struct {
    const char *name;
    enum field field;
} FIELDS[] = {
    { "username", FIELD_USERNAME },
    { "username*", FIELD_USERNAME },
    { "realm", FIELD_REALM },
    { "nonce", FIELD_NONCE },
    { "uri", FIELD_URI },
    { "response", FIELD_RESPONSE },
    { "algorithm", FIELD_ALGORITHM },
    { "cnonce", FIELD_CNONCE },
    { "qop", FIELD_QOP },
    { "nc", FIELD_NC },
    { "userhash", FIELD_USERHASH },
};

/* One parameter as it stands. */
struct pair {
    struct slice name, value; /* what is between the quotes, or the token */
    bool quoted;
};

const char *digest_algorithm_name(enum digest_algorithm algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA_256:
        return "SHA-256";
    case DIGEST_MD5:
        return "MD5";
    case DIGEST_ALGORITHM_NONE:
        break;
    }
    return "";
}

enum digest_algorithm digest_algorithm_of(struct slice name)
{
    if (slice_equal_nocase(name, SLICE("SHA-256")))
        return DIGEST_SHA_256;
    if (slice_equal_nocase(name, SLICE("MD5")))
        return DIGEST_MD5;
    return DIGEST_ALGORITHM_NONE;
}

static size_t response_size(enum digest_algorithm algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA_256:
        return 64;
    case DIGEST_MD5:
        return 32;
    case DIGEST_ALGORITHM_NONE:
        break;
    }
    return 0;
}

/* ---- The list ---- */

/* name = value, then a comma or the end. ERROR_NOT_FOUND at the end. */
static enum error next_pair(struct slice *rest, struct pair *out)
{
    *out = (struct pair){ .quoted = false };
    scan_lws(rest);
    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    out->name = slice_first(*rest, scan_run(*rest, CHAR_TOKEN));
    *rest = slice_skip(*rest, out->name.size);
    scan_lws(rest);
    if (out->name.size == 0 || !slice_starts(*rest, '='))
        return ERROR_MALFORMED;
    *rest = slice_skip(*rest, 1);
    scan_lws(rest);
    out->quoted = slice_starts(*rest, '"');
    if (out->quoted) {
        if (!scan_quoted(rest, &out->value))
            return ERROR_MALFORMED;
    } else {
        out->value = slice_first(*rest, scan_run(*rest, CHAR_TOKEN));
        *rest = slice_skip(*rest, out->value.size);
        if (out->value.size == 0)
            return ERROR_MALFORMED;
    }
    scan_lws(rest);
    if (rest->size == 0)
        return ERROR_NONE;
    if (!slice_starts(*rest, ','))
        return ERROR_MALFORMED;
    *rest = slice_skip(*rest, 1);
    scan_lws(rest);
    return rest->size > 0 ? ERROR_NONE : ERROR_MALFORMED; /* a comma announces one more */
}

/* Of an unknown name: NONE. */
static enum field field_of(struct slice name)
{
    for (size_t i = 0; i < sizeof(FIELDS) / sizeof(FIELDS[0]); i++)
        if (slice_equal_nocase(name, slice_of(FIELDS[i].name)))
            return FIELDS[i].field;
    return FIELD_NONE;
}

/* ---- Values ---- */

/* What both ends hash must be the same octets: an escape, a fold or a control character would leave
 * that open. */
static bool is_plain(struct slice value, size_t max)
{
    for (size_t i = 0; i < value.size; i++)
        if ((unsigned char)value.data[i] < ' ' || value.data[i] == 0x7f || value.data[i] == '\\')
            return false;
    return value.size > 0 && value.size <= max;
}

static bool keep_name(struct slice text, char out[CREDENTIALS_NAME_MAX + 1], size_t *size)
{
    if (text.size == 0 || text.size > CREDENTIALS_NAME_MAX || !text_is_clean_utf8(text))
        return false;
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    *size = text.size;
    return true;
}

static bool read_quoted_name(const struct pair *pair, char out[CREDENTIALS_NAME_MAX + 1],
                             size_t *size)
{
    char plain[CREDENTIALS_VALUE_MAX];

    if (!pair->quoted || pair->value.size > sizeof(plain))
        return false;
    return keep_name((struct slice){ plain, header_unescape(pair->value, plain) }, out, size);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* UTF-8'LANGUAGE'PERCENT-ENCODED (RFC 8187, which RFC 7616 3.4 uses). */
static bool read_extended_name(const struct pair *pair, char out[CREDENTIALS_NAME_MAX + 1],
                               size_t *size)
{
    static const struct slice charset = SLICE("UTF-8'");
    struct slice rest = pair->value;
    char plain[CREDENTIALS_VALUE_MAX];
    const char *quote;
    size_t to = 0;

    if (pair->quoted || rest.size > sizeof(plain) || rest.size < charset.size ||
        !slice_equal_nocase(slice_first(rest, charset.size), charset))
        return false;
    rest = slice_skip(rest, charset.size);
    quote = rest.size ? memchr(rest.data, '\'', rest.size) : NULL;
    if (!quote)
        return false;
    rest = slice_skip(rest, (size_t)(quote - rest.data) + 1);
    for (size_t i = 0; i < rest.size; i++) {
        int high = 0, low = 0;

        if (rest.data[i] == '\'')
            return false;
        if (rest.data[i] != '%') {
            plain[to++] = rest.data[i];
            continue;
        }
        if (rest.size - i < 3 || (high = hex_value(rest.data[i + 1])) < 0 ||
            (low = hex_value(rest.data[i + 2])) < 0)
            return false;
        plain[to++] = (char)(high * 16 + low);
        i += 2;
    }
    return keep_name((struct slice){ plain, to }, out, size);
}

static bool read_nc(struct slice text, uint32_t *out)
{
    uint32_t nc = 0;

    if (text.size != NC_DIGITS || scan_run(text, CHAR_HEX) != NC_DIGITS)
        return false;
    for (size_t i = 0; i < NC_DIGITS; i++)
        nc = nc << 4 | (uint32_t)hex_value(text.data[i]);
    *out = nc;
    return nc > 0; /* RFC 7616 3.4: the first is 00000001 */
}

static enum digest_qop qop_of(struct slice text)
{
    if (slice_equal_nocase(text, SLICE("auth")))
        return DIGEST_QOP_AUTH;
    if (slice_equal_nocase(text, SLICE("auth-int")))
        return DIGEST_QOP_AUTH_INT;
    return DIGEST_QOP_NONE;
}

/* algorithm, qop and nc are tokens, but phones in use put quotes round them. */
static bool read_field(enum field field, const struct pair *pair, struct digest_credentials *out)
{
    struct slice value = pair->value;

    switch (field) {
    case FIELD_USERNAME:
        return slice_equal_nocase(pair->name, SLICE("username*"))
                   ? read_extended_name(pair, out->username, &out->username_size)
                   : read_quoted_name(pair, out->username, &out->username_size);
    case FIELD_REALM:
        return read_quoted_name(pair, out->realm, &out->realm_size);
    case FIELD_NONCE:
        out->nonce = value;
        return pair->quoted && is_plain(value, CREDENTIALS_TEXT_MAX);
    case FIELD_URI:
        out->uri = value;
        return pair->quoted && is_plain(value, CREDENTIALS_URI_MAX);
    case FIELD_RESPONSE:
        out->response = value;
        return pair->quoted && scan_run(value, CHAR_HEX) == value.size;
    case FIELD_ALGORITHM:
        out->algorithm = digest_algorithm_of(value);
        return true;
    case FIELD_CNONCE:
        out->cnonce = value;
        return pair->quoted && is_plain(value, CREDENTIALS_TEXT_MAX);
    case FIELD_QOP:
        out->qop_text = value;
        out->qop = qop_of(value);
        return out->qop != DIGEST_QOP_NONE;
    case FIELD_NC:
        out->nc_text = value;
        return read_nc(value, &out->nc);
    case FIELD_USERHASH:
        return slice_equal_nocase(value, SLICE("false"));
    case FIELD_NONE:
    case FIELD_COUNT:
        break;
    }
    return true;
}

/* ---- The whole ---- */

static bool has_all(const bool seen[FIELD_COUNT])
{
    return seen[FIELD_USERNAME] && seen[FIELD_REALM] && seen[FIELD_NONCE] && seen[FIELD_URI] &&
           seen[FIELD_RESPONSE] && seen[FIELD_CNONCE] && seen[FIELD_QOP] && seen[FIELD_NC];
}

static bool read_pairs(struct slice rest, struct digest_credentials *out)
{
    bool seen[FIELD_COUNT] = { false };
    struct slice names[CREDENTIALS_PARAMS_MAX];
    size_t count = 0;
    struct pair pair;
    enum error error;

    out->algorithm = DIGEST_MD5; /* RFC 7616 3.4: when it is not said */
    while ((error = next_pair(&rest, &pair)) == ERROR_NONE) {
        enum field field = field_of(pair.name);

        if (count == CREDENTIALS_PARAMS_MAX || (field != FIELD_NONE && seen[field]))
            return false;
        for (size_t i = 0; i < count; i++)
            if (slice_equal_nocase(names[i], pair.name))
                return false;
        names[count++] = pair.name;
        seen[field] = true;
        if (!read_field(field, &pair, out))
            return false;
    }
    if (error != ERROR_NOT_FOUND || !has_all(seen))
        return false;
    return out->algorithm == DIGEST_ALGORITHM_NONE ||
           out->response.size == response_size(out->algorithm);
}

enum error credentials_parse(struct slice value, struct digest_credentials *out)
{
    static const struct slice scheme = SLICE("Digest");
    struct slice rest = value;
    size_t size = scan_run(rest, CHAR_TOKEN);

    memset(out, 0, sizeof(*out));
    if (!slice_equal_nocase(slice_first(rest, size), scheme))
        return size ? ERROR_NOT_FOUND : ERROR_MALFORMED;
    rest = slice_skip(rest, size);
    size = rest.size;
    scan_lws(&rest);
    if (value.size <= CREDENTIALS_VALUE_MAX && rest.size < size && read_pairs(rest, out))
        return ERROR_NONE;
    memset(out, 0, sizeof(*out));
    return ERROR_MALFORMED;
}
