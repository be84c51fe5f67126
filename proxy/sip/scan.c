/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and lines of SIP. */
#include "proxy/sip/scan_internal.h"

/* The table is made by the compiler from the productions of RFC 3261 25.1. */
#define DIGIT(c)   ((c) >= '0' && (c) <= '9')
#define UPPER(c)   ((c) >= 'A' && (c) <= 'Z')
#define LOWER(c)   ((c) >= 'a' && (c) <= 'z')
#define ALPHA(c)   (UPPER(c) || LOWER(c))
#define ALNUM(c)   (ALPHA(c) || DIGIT(c))
#define HEX(c)     (DIGIT(c) || ((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'))
#define VISIBLE(c) ((c) > ' ' && (c) < 0x7f)
#define MARK(c)                                                                          \
    ((c) == '-' || (c) == '_' || (c) == '.' || (c) == '!' || (c) == '~' || (c) == '*' || \
     (c) == '\'' || (c) == '(' || (c) == ')')
#define UNRESERVED(c) (ALNUM(c) || MARK(c))
#define RESERVED(c)                                                                      \
    ((c) == ';' || (c) == '/' || (c) == '?' || (c) == ':' || (c) == '@' || (c) == '&' || \
     (c) == '=' || (c) == '+' || (c) == '$' || (c) == ',')
#define TOKEN(c)                                                                       \
    (ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '!' || (c) == '%' || (c) == '*' || \
     (c) == '_' || (c) == '+' || (c) == '`' || (c) == '\'' || (c) == '~')
#define NO_URI(c)                                                                         \
    ((c) == '"' || (c) == '<' || (c) == '>' || (c) == '\\' || (c) == '^' || (c) == '`' || \
     (c) == '{' || (c) == '|' || (c) == '}')
#define PLAIN(c) ((c) == '&' || (c) == '=' || (c) == '+' || (c) == '$' || (c) == ',')

#define CLASSES(c)                                                                              \
    (uint16_t)(                                                                                 \
        (TOKEN(c) ? CHAR_TOKEN : 0) |                                                           \
        (UNRESERVED(c) || PLAIN(c) || (c) == ';' || (c) == '?' || (c) == '/' ? CHAR_USER : 0) | \
        (UNRESERVED(c) || PLAIN(c) ? CHAR_PASSWORD : 0) |                                       \
        (UNRESERVED(c) || (c) == '[' || (c) == ']' || (c) == '/' || (c) == ':' || (c) == '&' || \
                 (c) == '+' || (c) == '$'                                                       \
             ? CHAR_PARAM                                                                       \
             : 0) |                                                                             \
        (UNRESERVED(c) || (c) == '[' || (c) == ']' || (c) == '/' || (c) == '?' || (c) == ':' || \
                 (c) == '+' || (c) == '$'                                                       \
             ? CHAR_URI_HEADER                                                                  \
             : 0) |                                                                             \
        (ALNUM(c) || (c) == '.' || (c) == '-' ? CHAR_HOST : 0) |                                \
        (TOKEN(c) || (c) == ':' || (c) == '[' || (c) == ']' ? CHAR_VALUE : 0) |                 \
        (VISIBLE(c) && !NO_URI(c) ? CHAR_URI : 0) |                                             \
        (VISIBLE(c) && (c) != ',' && (c) != ';' ? CHAR_CALL_ID : 0) |                           \
        (DIGIT(c) ? CHAR_DIGIT : 0) | (HEX(c) ? CHAR_HEX : 0) | (ALPHA(c) ? CHAR_ALPHA : 0) |   \
        ((c) == ' ' || (c) == '\t' ? CHAR_SPACE : 0) |                                          \
        (HEX(c) || (c) == '*' || (c) == '#' || (c) == '-' || (c) == '.' || (c) == '(' ||        \
                 (c) == ')'                                                                     \
             ? CHAR_NUMBER                                                                      \
             : 0) |                                                                             \
        (RESERVED(c) ? CHAR_RESERVED : 0))

#define ROW4(c)  CLASSES(c), CLASSES((c) + 1), CLASSES((c) + 2), CLASSES((c) + 3)
#define ROW16(c) ROW4(c), ROW4((c) + 4), ROW4((c) + 8), ROW4((c) + 12)

/* From 0x80 on: no class. */
const uint16_t char_classes[256] = { ROW16(0x00), ROW16(0x10), ROW16(0x20), ROW16(0x30),
                                     ROW16(0x40), ROW16(0x50), ROW16(0x60), ROW16(0x70) };

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
/* Marks, in the top bit of each byte, the bytes of `word` below 0x20 or equal to 0x7f. A mark above
 * a true one may be false (a borrow runs upwards), the lowest never is. */
static uint64_t control_marks(uint64_t word)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
    uint64_t del = word ^ (ones * 0x7f);

    return (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
}
#endif

size_t scan_control(const char *text, size_t from, size_t size)
{
    size_t i = from;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (size - i >= 8) {
        uint64_t word, marks;

        memcpy(&word, text + i, 8);
        marks = control_marks(word);
        if (!marks) {
            i += 8;
            continue;
        }
        i += (size_t)__builtin_ctzll(marks) / 8;
        if (text[i] != '\t')
            return i;
        i++;
    }
#endif
    while (i < size && !is_control(text[i]))
        i++;
    return i;
}

void scan_lws(struct slice *s)
{
    size_t i = 0;

    while (i < s->size) {
        if (char_is(s->data[i], CHAR_SPACE))
            i++;
        else if (s->data[i] == '\r' && s->size - i >= 3 && s->data[i + 1] == '\n' &&
                 char_is(s->data[i + 2], CHAR_SPACE))
            i += 3;
        else
            break;
    }
    *s = slice_skip(*s, i);
}

bool scan_quoted(struct slice *s, struct slice *inside)
{
    size_t i = 1;

    for (; i < s->size && s->data[i] != '"'; i++) {
        if (s->data[i] == '\\') {
            i++;
            if (i >= s->size || s->data[i] == '\r' || s->data[i] == '\n' ||
                (unsigned char)s->data[i] >= 0x80)
                return false;
        } else if (is_control(s->data[i])) {
            struct slice fold = slice_skip(*s, i);
            size_t before = fold.size;

            scan_lws(&fold);
            if (fold.size == before)
                return false;
            i += before - fold.size - 1;
        }
    }
    if (i >= s->size)
        return false;
    *inside = (struct slice){ s->data + 1, i - 1 };
    *s = slice_skip(*s, i + 1);
    return true;
}

void scan_header_line(struct slice line, struct header *h)
{
    size_t name = scan_run(line, CHAR_TOKEN), at = name, end = line.size;

    h->id = HEADER_BAD_LINE;
    h->name_len = 0;
    h->value_at = h->value_len = 0;
    while (at < end && char_is(line.data[at], CHAR_SPACE))
        at++;
    if (name == 0 || name > UINT16_MAX || at == end || line.data[at] != ':')
        return;
    at++;
    while (at < end &&
           (char_is(line.data[at], CHAR_SPACE) || line.data[at] == '\r' || line.data[at] == '\n'))
        at++;
    while (end > at && (char_is(line.data[end - 1], CHAR_SPACE) || line.data[end - 1] == '\r' ||
                        line.data[end - 1] == '\n'))
        end--;
    h->name_len = (uint16_t)name;
    h->value_at = (uint32_t)at;
    h->value_len = (uint32_t)(end - at);
    h->id = (uint8_t)header_id_of(slice_first(line, name));
}

bool scan_controls_are_quoted(struct slice value)
{
    struct slice inside;

    while (value.size > 0) {
        if (value.data[0] == '"') {
            if (!scan_quoted(&value, &inside))
                return false;
        } else if (is_control(value.data[0])) {
            size_t before = value.size;

            scan_lws(&value);
            if (value.size == before)
                return false;
        } else {
            value = slice_skip(value, 1);
        }
    }
    return true;
}

bool scan_content_length(struct slice value, uint32_t *length)
{
    return header_parse_number(value, INT32_MAX, length) == ERROR_NONE;
}

bool scan_looks_like_length(struct slice line)
{
    const struct slice name = SLICE("content-length");

    if (line.size == 0)
        return false;
    if (char_lower(line.data[0]) == 'l')
        return line.size == 1 || !char_is(line.data[1], CHAR_TOKEN);
    return line.size >= name.size && slice_equal_nocase(slice_first(line, name.size), name);
}
