/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values of SIP headers. Every parser here reads its value from front to back by moving a
 * slice on. */
#include "proxy/sip/header.h"

#include "proxy/sip/scan_internal.h"

#include <assert.h>

/* More parameters than this in one value are malformed: looking for a repeated one stays cheap. */
#define PARAMS_MAX 64

/* Where a name stands in the table below. The factors were searched for so that no two names of
 * header_names.def meet; if a new one does, the compiler says so (two initialisers of one element).
 */
#define NAME_HASH(size, first, last) (((size) + 2u * (first) + 136u * (last)) & 255)

static const uint8_t id_by_hash[256] = {
#define HEADER(id, name, first, last, compact, single) \
    [NAME_HASH(sizeof(name) - 1, first, last)] = HEADER_##id,
#include "proxy/sip/header_names.def"
#undef HEADER
};

static const struct {
    const char *name;
    uint8_t size;
    char compact;
    bool single;
} headers[HEADER_COUNT] = {
    [HEADER_OTHER] = { "", 0, 0, false },
#define HEADER(id, name, first, last, compact, single) \
    [HEADER_##id] = { name, sizeof(name) - 1, compact, single },
#include "proxy/sip/header_names.def"
#undef HEADER
};

static enum header_id id_by_letter(char letter)
{
    switch (letter) {
    case 'a':
        return HEADER_ACCEPT_CONTACT;
    case 'b':
        return HEADER_REFERRED_BY;
    case 'c':
        return HEADER_CONTENT_TYPE;
    case 'd':
        return HEADER_REQUEST_DISPOSITION;
    case 'e':
        return HEADER_CONTENT_ENCODING;
    case 'f':
        return HEADER_FROM;
    case 'i':
        return HEADER_CALL_ID;
    case 'j':
        return HEADER_REJECT_CONTACT;
    case 'k':
        return HEADER_SUPPORTED;
    case 'l':
        return HEADER_CONTENT_LENGTH;
    case 'm':
        return HEADER_CONTACT;
    case 'n':
        return HEADER_IDENTITY_INFO;
    case 'o':
        return HEADER_EVENT;
    case 'r':
        return HEADER_REFER_TO;
    case 's':
        return HEADER_SUBJECT;
    case 't':
        return HEADER_TO;
    case 'u':
        return HEADER_ALLOW_EVENTS;
    case 'v':
        return HEADER_VIA;
    case 'x':
        return HEADER_SESSION_EXPIRES;
    case 'y':
        return HEADER_IDENTITY;
    default:
        return HEADER_OTHER;
    }
}

enum header_id header_id_of(struct slice name)
{
    unsigned first, last;
    enum header_id id;

    if (name.size == 0)
        return HEADER_OTHER;
    first = (unsigned char)char_lower(name.data[0]);
    if (name.size == 1)
        return id_by_letter((char)first);
    last = (unsigned char)char_lower(name.data[name.size - 1]);
    id = id_by_hash[NAME_HASH((unsigned)name.size, first, last)];
    if (headers[id].size != name.size)
        return HEADER_OTHER;
    /* Most are spelled as the RFCs do. */
    if (memcmp(name.data, headers[id].name, name.size) == 0 ||
        slice_equal_nocase(name, header_name(id)))
        return id;
    return HEADER_OTHER;
}

struct slice header_name(enum header_id id)
{
    if (id >= HEADER_COUNT)
        return (struct slice){ "", 0 };
    return (struct slice){ headers[id].name, headers[id].size };
}

bool header_is_single(enum header_id id)
{
    return id < HEADER_COUNT && headers[id].single;
}

bool header_is_token(struct slice s)
{
    return s.size > 0 && scan_run(s, CHAR_TOKEN) == s.size;
}

static void trim_end(struct slice *s)
{
    *s = slice_trim(*s);
}

/* Offset behind the item at the front of s: of the comma, or s.size. SIZE_MAX: a quote or bracket
 * doesn't end. */
static size_t item_end(struct slice s)
{
    struct slice left = s, inside;
    const char *closing;

    while (left.size > 0 && left.data[0] != ',') {
        if (left.data[0] == '"') {
            if (!scan_quoted(&left, &inside))
                return SIZE_MAX;
        } else if (left.data[0] == '<') {
            closing = memchr(left.data, '>', left.size);
            if (!closing)
                return SIZE_MAX;
            left = slice_skip(left, (size_t)(closing - left.data) + 1);
        } else {
            left = slice_skip(left, 1);
        }
    }
    return s.size - left.size;
}

static enum error malformed(struct slice *rest)
{
    *rest = slice_skip(*rest, rest->size);
    return ERROR_MALFORMED;
}

enum error header_next_item(struct slice *rest, struct slice *item)
{
    size_t end;

    scan_lws(rest);
    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    end = item_end(*rest);
    if (end == SIZE_MAX)
        return malformed(rest);
    *item = slice_first(*rest, end);
    trim_end(item);
    if (item->size == 0)
        return malformed(rest);
    if (end < rest->size) {
        struct slice next = slice_skip(*rest, end + 1);

        /* A comma at the end promises one more. */
        scan_lws(&next);
        if (next.size == 0)
            return malformed(rest);
        *rest = next;
    } else {
        *rest = slice_skip(*rest, end);
    }
    return ERROR_NONE;
}

enum error header_next_token(struct slice *rest, struct slice *token)
{
    enum error e = header_next_item(rest, token);

    if (e == ERROR_NONE && !header_is_token(*token))
        return malformed(rest);
    return e;
}

/* The value of a parameter, `rest` behind its '='. */
static enum error param_value(struct slice *rest, struct param *out)
{
    scan_lws(rest);
    out->has_value = true;
    if (slice_starts(*rest, '"')) {
        out->quoted = true;
        return scan_quoted(rest, &out->value) ? ERROR_NONE : ERROR_MALFORMED;
    }
    out->value = slice_first(*rest, scan_run(*rest, CHAR_VALUE));
    *rest = slice_skip(*rest, out->value.size);
    return out->value.size ? ERROR_NONE : ERROR_MALFORMED;
}

enum error header_next_param(struct slice *rest, struct param *out)
{
    *out = (struct param){ .value = { "", 0 } };
    scan_lws(rest);
    if (rest->size == 0)
        return ERROR_NOT_FOUND;
    if (rest->data[0] != ';')
        return malformed(rest);
    *rest = slice_skip(*rest, 1);
    scan_lws(rest);
    out->name = slice_first(*rest, scan_run(*rest, CHAR_TOKEN));
    *rest = slice_skip(*rest, out->name.size);
    if (out->name.size == 0)
        return malformed(rest);
    scan_lws(rest);
    if (slice_starts(*rest, '=')) {
        *rest = slice_skip(*rest, 1);
        if (param_value(rest, out) != ERROR_NONE)
            return malformed(rest);
        scan_lws(rest);
    }
    if (rest->size > 0 && rest->data[0] != ';')
        return malformed(rest);
    return ERROR_NONE;
}

bool header_find_param(struct slice params, struct slice name, struct param *out)
{
    while (header_next_param(&params, out) == ERROR_NONE)
        if (slice_equal_nocase(out->name, name))
            return true;
    return false;
}

/* What a parser wants to know of each parameter. False: this value of it is malformed. */
typedef bool param_seen(void *object, const struct param *param);

/* Walks parameters that must fill `params` whole, none twice. */
static enum error walk_params(struct slice params, param_seen *seen, void *object)
{
    struct slice names[PARAMS_MAX];
    size_t count = 0;
    struct param param;
    enum error e;

    while ((e = header_next_param(&params, &param)) == ERROR_NONE) {
        for (size_t i = 0; i < count; i++)
            if (slice_equal_nocase(names[i], param.name))
                return ERROR_MALFORMED;
        if (count == PARAMS_MAX || !seen(object, &param))
            return ERROR_MALFORMED;
        names[count++] = param.name;
    }
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

static bool param_is(const struct param *param, const char *name, size_t size)
{
    return slice_equal_nocase(param->name, (struct slice){ name, size });
}
#define PARAM_IS(param, name) param_is((param), "" name, sizeof(name) - 1)

/* Display name and `<`, or nothing; s is moved on to the URI. */
static enum error take_display(struct slice *s, struct name_addr *out)
{
    struct slice start = *s, inside;

    if (slice_starts(*s, '"')) {
        if (!scan_quoted(s, &inside))
            return ERROR_MALFORMED;
        out->display = slice_first(start, start.size - s->size);
        scan_lws(s);
        if (!slice_starts(*s, '<'))
            return ERROR_MALFORMED;
    } else {
        /* Tokens with white space between them; many phones leave UTF-8 unquoted. */
        for (size_t before = SIZE_MAX; s->size != before;) {
            before = s->size;
            while (s->size > 0 &&
                   (char_is(s->data[0], CHAR_TOKEN) || (unsigned char)s->data[0] >= 0x80))
                *s = slice_skip(*s, 1);
            scan_lws(s);
        }
        if (!slice_starts(*s, '<')) {
            *s = start;
            return ERROR_NONE;
        }
        out->display = slice_trim(slice_first(start, start.size - s->size));
    }
    out->bracketed = true;
    *s = slice_skip(*s, 1);
    return ERROR_NONE;
}

/* The URI at the front of s, up to '>', or without brackets up to white space or ';'. */
static enum error take_uri(struct slice *s, struct name_addr *out)
{
    size_t size = 0;

    while (size < s->size && char_is(s->data[size], CHAR_URI)) {
        char c = s->data[size];

        if (!out->bracketed && c == ';')
            break;
        if (!out->bracketed && (c == ',' || c == '?'))
            return ERROR_MALFORMED;
        size++;
    }
    if (size == 0)
        return ERROR_MALFORMED;
    out->uri = slice_first(*s, size);
    *s = slice_skip(*s, size);
    if (!out->bracketed)
        return ERROR_NONE;
    if (!slice_starts(*s, '>'))
        return ERROR_MALFORMED;
    *s = slice_skip(*s, 1);
    return ERROR_NONE;
}

static bool see_tag(void *object, const struct param *param)
{
    struct name_addr *out = object;

    if (PARAM_IS(param, "tag")) {
        if (!param->has_value || param->quoted || !header_is_token(param->value))
            return false;
        out->tag = param->value;
    }
    return true;
}

/* All of a name-addr but what its parameters mean. */
static enum error take_name_addr(struct slice value, struct name_addr *out)
{
    const struct slice none = { "", 0 };
    enum error e;

    *out = (struct name_addr){ none, none, none, none, false };
    scan_lws(&value);
    e = take_display(&value, out);
    if (e == ERROR_NONE)
        e = take_uri(&value, out);
    if (e != ERROR_NONE)
        return e;
    scan_lws(&value);
    if (value.size > 0 && value.data[0] != ';')
        return ERROR_MALFORMED;
    out->params = value;
    return ERROR_NONE;
}

enum error header_parse_name_addr(struct slice value, struct name_addr *out)
{
    enum error e = take_name_addr(value, out);

    return e == ERROR_NONE ? walk_params(out->params, see_tag, out) : e;
}

enum error header_parse_route(struct slice value, struct name_addr *out)
{
    enum error e = header_parse_name_addr(value, out);

    return e == ERROR_NONE && !out->bracketed ? ERROR_MALFORMED : e;
}

/* qvalue: 0, 0.xxx, 1, 1.000. */
static bool parse_q(struct slice s, uint16_t *q)
{
    unsigned value, weight = 100;

    if (s.size == 0 || s.size > 5 || (s.data[0] != '0' && s.data[0] != '1') ||
        (s.size > 1 && s.data[1] != '.'))
        return false;
    value = s.data[0] == '1' ? 1000 : 0;
    for (size_t i = 2; i < s.size; i++, weight /= 10) {
        if (!char_is(s.data[i], CHAR_DIGIT))
            return false;
        value += (unsigned)(s.data[i] - '0') * weight;
    }
    if (value > 1000)
        return false;
    *q = (uint16_t)value;
    return true;
}

/* No folds, no escapes: one text has one spelling. */
static bool is_plain_text(struct slice s)
{
    return scan_control(s.data, 0, s.size) == s.size && !memchr(s.data, '\\', s.size);
}

static bool see_contact_param(void *object, const struct param *param)
{
    struct contact *out = object;
    bool plain = param->has_value && !param->quoted;

    if (PARAM_IS(param, "expires")) {
        out->has_expires = true;
        return plain &&
               header_parse_number(param->value, UINT32_MAX, &out->expires_s) == ERROR_NONE;
    }
    if (PARAM_IS(param, "q"))
        return plain && parse_q(param->value, &out->q);
    if (PARAM_IS(param, "reg-id"))
        return plain && header_parse_number(param->value, INT32_MAX, &out->reg_id) == ERROR_NONE &&
               out->reg_id > 0;
    if (PARAM_IS(param, "+sip.instance")) {
        out->instance = param->value;
        return param->quoted && param->value.size > 0 && is_plain_text(param->value);
    }
    return true;
}

enum error header_parse_contact(struct slice value, struct contact *out)
{
    const struct slice none = { "", 0 };
    enum error e;

    *out = (struct contact){ .address = { none, none, none, none, false },
                             .q = CONTACT_Q_NONE,
                             .instance = none };
    if (slice_equal(slice_trim(value), SLICE("*"))) {
        out->star = true;
        return ERROR_NONE;
    }
    e = take_name_addr(value, &out->address);
    if (e == ERROR_NONE)
        e = uri_parse(out->address.uri, &out->uri);
    return e == ERROR_NONE ? walk_params(out->address.params, see_contact_param, out) : e;
}

/* `text`, without case, then white space. */
static bool take_word(struct slice *s, struct slice text)
{
    if (s->size < text.size || !slice_equal_nocase(slice_first(*s, text.size), text))
        return false;
    *s = slice_skip(*s, text.size);
    scan_lws(s);
    return true;
}

/* sent-by, white space allowed round the colon. */
static enum error take_sent_by(struct slice *s, struct via *out)
{
    size_t size = 0;
    uint32_t port;

    if (slice_starts(*s, '[')) {
        const char *closing = memchr(s->data, ']', s->size);

        size = closing ? (size_t)(closing - s->data) + 1 : 0;
        if (size == 0 || !uri_is_host(slice_first(*s, size)))
            return ERROR_MALFORMED;
    } else {
        while (size < s->size && (char_is(s->data[size], CHAR_HOST) || s->data[size] == '_'))
            size++;
    }
    if (size == 0)
        return ERROR_MALFORMED;
    out->host = slice_first(*s, size);
    *s = slice_skip(*s, size);
    scan_lws(s);
    if (!slice_starts(*s, ':'))
        return ERROR_NONE;
    *s = slice_skip(*s, 1);
    scan_lws(s);
    size = scan_run(*s, CHAR_DIGIT);
    if (header_parse_number(slice_first(*s, size), UINT16_MAX, &port) != ERROR_NONE || port == 0)
        return ERROR_MALFORMED;
    out->port = (uint16_t)port;
    *s = slice_skip(*s, size);
    scan_lws(s);
    return ERROR_NONE;
}

static bool see_via_param(void *object, const struct param *param)
{
    struct via *out = object;
    bool plain = param->has_value && !param->quoted;
    uint32_t port;

    if (PARAM_IS(param, "branch")) {
        out->branch = param->value;
        return plain && header_is_token(param->value);
    }
    if (PARAM_IS(param, "received")) {
        out->received = param->value;
        return plain;
    }
    if (PARAM_IS(param, "maddr")) {
        out->maddr = param->value;
        return plain;
    }
    if (PARAM_IS(param, "rport")) {
        out->has_rport = true;
        if (!param->has_value)
            return true;
        if (!plain || header_parse_number(param->value, UINT16_MAX, &port) != ERROR_NONE)
            return false;
        out->rport = (uint16_t)port;
        return port > 0;
    }
    return true;
}

enum error header_parse_via(struct slice value, struct via *out)
{
    const struct slice none = { "", 0 }, slash = SLICE("/");
    size_t before;

    *out = (struct via){ .branch = none, .received = none, .maddr = none };
    scan_lws(&value);
    if (!take_word(&value, SLICE("SIP")) || !take_word(&value, slash) ||
        !take_word(&value, SLICE("2.0")) || !take_word(&value, slash))
        return ERROR_MALFORMED;
    out->transport = slice_first(value, scan_run(value, CHAR_TOKEN));
    value = slice_skip(value, out->transport.size);
    before = value.size;
    scan_lws(&value);
    if (out->transport.size == 0 || value.size == before)
        return ERROR_MALFORMED;
    if (take_sent_by(&value, out) != ERROR_NONE)
        return ERROR_MALFORMED;
    if (value.size > 0 && value.data[0] != ';')
        return ERROR_MALFORMED;
    out->params = value;
    return walk_params(out->params, see_via_param, out);
}

static uint16_t sent_by_port(const struct via *v)
{
    if (v->port)
        return v->port;
    return slice_equal_nocase(v->transport, SLICE("TLS")) ||
                   slice_equal_nocase(v->transport, SLICE("WSS"))
               ? 5061
               : 5060;
}

bool via_same_sent_by(const struct via *a, const struct via *b)
{
    return slice_equal_nocase(a->host, b->host) && sent_by_port(a) == sent_by_port(b);
}

bool via_needs_source(const struct via *via, struct slice source)
{
    struct slice host = via->host;

    if (source.size == 0)
        return false;
    if (host.data[0] == '[')
        host = (struct slice){ host.data + 1, host.size - 2 };
    return via->has_rport || via->received.size > 0 || !slice_equal_nocase(host, source);
}

bool via_branch_has_cookie(struct slice branch)
{
    const struct slice cookie = SLICE("z9hG4bK");

    /* Tokens are compared without case (RFC 3261 7.3.1). */
    return branch.size > cookie.size &&
           slice_equal_nocase(slice_first(branch, cookie.size), cookie);
}

enum error header_parse_number(struct slice value, uint32_t max, uint32_t *number)
{
    uint64_t n = 0;

    if (value.size == 0)
        return ERROR_MALFORMED;
    for (size_t i = 0; i < value.size; i++) {
        if (!char_is(value.data[i], CHAR_DIGIT))
            return ERROR_MALFORMED;
        n = n * 10 + (unsigned)(value.data[i] - '0');
        if (n > max)
            return ERROR_MALFORMED;
    }
    *number = (uint32_t)n;
    return ERROR_NONE;
}

enum error header_parse_cseq(struct slice value, uint32_t *number, struct slice *method)
{
    size_t digits, before;

    scan_lws(&value);
    digits = scan_run(value, CHAR_DIGIT);
    if (header_parse_number(slice_first(value, digits), INT32_MAX, number) != ERROR_NONE)
        return ERROR_MALFORMED;
    value = slice_skip(value, digits);
    before = value.size;
    scan_lws(&value);
    if (value.size == before || !header_is_token(value))
        return ERROR_MALFORMED;
    *method = value;
    return ERROR_NONE;
}

size_t header_unescape(struct slice quoted, char *out)
{
    size_t size = 0;

    for (size_t i = 0; i < quoted.size; i++) {
        if (quoted.data[i] == '\\' && i + 1 < quoted.size)
            i++;
        out[size++] = quoted.data[i];
    }
    return size;
}
