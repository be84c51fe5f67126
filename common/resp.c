/* SPDX-License-Identifier: Apache-2.0 */
/* RESP2 reader and writer. */
#include "common/resp.h"

/* The longest line that holds a number: type, sign, 19 digits, CRLF. */
#define NUMBER_LINE_MAX 23

/* What is read, from the front. */
struct cursor {
    const char *at, *end;
};

static size_t left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* Digits with an optional minus, no other form ("-0", "+1", "007" are refused: one number, one
 * spelling). */
static bool read_integer(struct slice s, int64_t *value)
{
    bool negative = s.size && s.data[0] == '-';
    unsigned long long digits;

    if (negative) {
        s.data++;
        s.size--;
    }
    if (!slice_to_u64(s, (unsigned long long)INT64_MAX + negative, &digits))
        return false;
    if (s.data[0] == '0' && (s.size > 1 || negative))
        return false;
    *value = negative ? (int64_t)(0 - digits) : (int64_t)digits;
    return true;
}

/* A line of at most `max` bytes with its CRLF; a CR or LF elsewhere in it is malformed. */
static enum error read_line(struct cursor *c, size_t max, struct slice *line)
{
    size_t seen = left(c) < max ? left(c) : max;

    for (size_t i = 0; i < seen; i++) {
        if (c->at[i] == '\n')
            return ERROR_MALFORMED;
        if (c->at[i] != '\r')
            continue;
        if (i + 1 == seen)
            return seen == max ? ERROR_TOO_LARGE : ERROR_INCOMPLETE;
        if (c->at[i + 1] != '\n')
            return ERROR_MALFORMED;
        *line = (struct slice){ c->at, i };
        c->at += i + 2;
        return ERROR_NONE;
    }
    return seen == max ? ERROR_TOO_LARGE : ERROR_INCOMPLETE;
}

/* What nearly every number is: one to four digits that begin with none of zero, and the line end.
 * Anything else is left to read_number(). */
static bool read_short_number(struct cursor *c, int64_t *value)
{
    const char *p = c->at + 1;
    int64_t sum = 0;

    if (left(c) < 7 || *p == '0')
        return false;
    while (*p >= '0' && *p <= '9' && p < c->at + 5)
        sum = sum * 10 + (*p++ - '0');
    if (p == c->at + 1 || p[0] != '\r' || p[1] != '\n')
        return false;
    c->at = p + 2;
    *value = sum;
    return true;
}

/* The number behind a type byte, which stands at the cursor. */
static enum error read_number(struct cursor *c, int64_t *value)
{
    struct slice line;
    enum error error;

    if (read_short_number(c, value))
        return ERROR_NONE;
    error = read_line(c, NUMBER_LINE_MAX, &line);
    if (error == ERROR_TOO_LARGE)
        return ERROR_MALFORMED; /* no number is that long */
    if (error != ERROR_NONE)
        return error;
    line.data++;
    line.size--;
    return read_integer(line, value) ? ERROR_NONE : ERROR_MALFORMED;
}

/* `size` bytes and CRLF. */
static enum error read_bulk_bytes(struct cursor *c, size_t size, struct slice *text)
{
    if (left(c) > size && c->at[size] != '\r')
        return ERROR_MALFORMED;
    if (left(c) < size + 2)
        return ERROR_INCOMPLETE;
    if (c->at[size + 1] != '\n')
        return ERROR_MALFORMED;
    *text = (struct slice){ c->at, size };
    c->at += size + 2;
    return ERROR_NONE;
}

static enum error read_arguments(struct cursor *c, struct resp_command *command)
{
    enum error error;
    int64_t number;

    error = read_number(c, &number);
    if (error != ERROR_NONE)
        return error;
    if (number < -1)
        return ERROR_MALFORMED;
    if (number > RESP_ARGS_MAX)
        return ERROR_TOO_LARGE;
    for (int64_t i = 0; i < number; i++) {
        int64_t size;
        if (left(c) == 0)
            return ERROR_INCOMPLETE;
        if (*c->at != '$')
            return ERROR_MALFORMED;
        error = read_number(c, &size);
        if (error != ERROR_NONE)
            return error;
        if (size < 0)
            return ERROR_MALFORMED;
        if (size > RESP_ARG_MAX)
            return ERROR_TOO_LARGE;
        error = read_bulk_bytes(c, (size_t)size, &command->args[command->count]);
        if (error != ERROR_NONE)
            return error;
        command->count++;
    }
    return ERROR_NONE;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static enum error split_line(struct slice line, struct resp_command *command)
{
    size_t at = 0;

    while (at < line.size) {
        size_t begin = at;
        while (at < line.size && !is_blank(line.data[at]))
            at++;
        if (at > begin) {
            if (command->count == RESP_ARGS_MAX)
                return ERROR_TOO_LARGE;
            command->args[command->count++] = (struct slice){ line.data + begin, at - begin };
        }
        while (at < line.size && is_blank(line.data[at]))
            at++;
    }
    return ERROR_NONE;
}

/* A line by hand ends in LF or CRLF. A first byte that no one types (a TLS hello, say) is refused
 * at once instead of waiting for a line end. */
static enum error read_inline(struct cursor *c, struct resp_command *command)
{
    size_t seen = left(c) < RESP_INLINE_MAX ? left(c) : RESP_INLINE_MAX;
    const char *end = memchr(c->at, '\n', seen);
    struct slice line;

    if (!is_letter(*c->at) && !is_blank(*c->at) && *c->at != '\r' && *c->at != '\n')
        return ERROR_MALFORMED;
    if (!end)
        return seen == RESP_INLINE_MAX ? ERROR_TOO_LARGE : ERROR_INCOMPLETE;
    line = (struct slice){ c->at, (size_t)(end - c->at) };
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    if (memchr(line.data, '\r', line.size) || memchr(line.data, '\0', line.size))
        return ERROR_MALFORMED;
    c->at = end + 1;
    return split_line(line, command);
}

enum error resp_read_command(struct slice input, struct resp_command *command, size_t *used)
{
    size_t size = input.size < RESP_COMMAND_MAX ? input.size : RESP_COMMAND_MAX;
    struct cursor c;
    enum error error;

    *used = 0;
    command->count = 0;
    if (size == 0)
        return ERROR_INCOMPLETE;
    c = (struct cursor){ input.data, input.data + size };
    error = *c.at == '*' ? read_arguments(&c, command) : read_inline(&c, command);
    if (error == ERROR_INCOMPLETE && size == RESP_COMMAND_MAX)
        error = ERROR_TOO_LARGE;
    if (error != ERROR_NONE) {
        command->count = 0;
        return error;
    }
    *used = (size_t)(c.at - input.data);
    return ERROR_NONE;
}

/* ---- A client's side ---- */

struct budget {
    size_t bytes; /* of the whole reply */
    size_t items; /* not yet announced by an array */
};

static enum error read_value(struct cursor *c, struct budget *budget, unsigned depth,
                             struct resp_value *value);

static enum error read_elements(struct cursor *c, struct budget *budget, unsigned depth,
                                struct resp_value *value)
{
    const char *begin = c->at;

    for (size_t i = 0; i < value->count; i++) {
        struct resp_value element;
        enum error error = read_value(c, budget, depth, &element);
        if (error != ERROR_NONE)
            return error;
    }
    value->text = (struct slice){ begin, (size_t)(c->at - begin) };
    return ERROR_NONE;
}

static enum error read_array(struct cursor *c, struct budget *budget, unsigned depth,
                             struct resp_value *value)
{
    int64_t count;
    enum error error = read_number(c, &count);

    if (error != ERROR_NONE)
        return error;
    if (count == -1) {
        value->type = RESP_NIL;
        return ERROR_NONE;
    }
    if (count < 0)
        return ERROR_MALFORMED;
    if (depth == RESP_DEPTH_MAX || (uint64_t)count > budget->items)
        return ERROR_TOO_LARGE;
    budget->items -= (size_t)count;
    value->type = RESP_ARRAY;
    value->count = (size_t)count;
    return read_elements(c, budget, depth + 1, value);
}

static enum error read_bulk(struct cursor *c, const struct budget *budget, struct resp_value *value)
{
    int64_t size;
    enum error error = read_number(c, &size);

    if (error != ERROR_NONE)
        return error;
    if (size == -1) {
        value->type = RESP_NIL;
        return ERROR_NONE;
    }
    if (size < 0)
        return ERROR_MALFORMED;
    if ((uint64_t)size > budget->bytes)
        return ERROR_TOO_LARGE;
    value->type = RESP_BULK;
    return read_bulk_bytes(c, (size_t)size, &value->text);
}

static enum error read_text_line(struct cursor *c, enum resp_type type, struct resp_value *value)
{
    struct slice line;
    enum error error = read_line(c, RESP_LINE_MAX, &line);

    if (error != ERROR_NONE)
        return error;
    value->type = type;
    value->text = (struct slice){ line.data + 1, line.size - 1 };
    return ERROR_NONE;
}

static enum error read_value(struct cursor *c, struct budget *budget, unsigned depth,
                             struct resp_value *value)
{
    *value = (struct resp_value){ .type = RESP_NONE, .text = { "", 0 } };
    if (left(c) == 0)
        return ERROR_INCOMPLETE;
    switch (*c->at) {
    case '+':
        return read_text_line(c, RESP_STATUS, value);
    case '-':
        return read_text_line(c, RESP_FAILURE, value);
    case ':':
        value->type = RESP_INTEGER;
        return read_number(c, &value->integer);
    case '$':
        return read_bulk(c, budget, value);
    case '*':
        return read_array(c, budget, depth, value);
    default:
        return ERROR_MALFORMED;
    }
}

enum error resp_read_value(struct slice input, const struct resp_limits *limits,
                           struct resp_value *value, size_t *used)
{
    size_t size = input.size < limits->value_max ? input.size : limits->value_max;
    struct slice seen = size ? (struct slice){ input.data, size } : SLICE("");
    struct cursor c = { seen.data, seen.data + size };
    struct budget budget = { limits->value_max, limits->items_max };
    enum error error = read_value(&c, &budget, 0, value);

    *used = 0;
    if (error == ERROR_INCOMPLETE && size == limits->value_max)
        error = ERROR_TOO_LARGE;
    if (error != ERROR_NONE) {
        *value = (struct resp_value){ .type = RESP_NONE, .text = { "", 0 } };
        return error;
    }
    *used = (size_t)(c.at - seen.data);
    return ERROR_NONE;
}

bool resp_item(struct slice *rest, struct resp_value *item)
{
    /* It was checked with real limits once; its size bounds it now. */
    struct resp_limits limits = { rest->size, rest->size };
    size_t used;

    if (rest->size == 0 || resp_read_value(*rest, &limits, item, &used) != ERROR_NONE)
        return false;
    rest->data += used;
    rest->size -= used;
    return true;
}

/* ---- Writing ---- */

static void add_line(struct buffer *out, char type, uint64_t number)
{
    if (number < 10) {
        const char short_line[4] = { type, (char)('0' + number), '\r', '\n' };
        buffer_add(out, (struct slice){ short_line, sizeof(short_line) });
        return;
    }
    char line[NUMBER_LINE_MAX];
    size_t at = sizeof(line);

    line[--at] = '\n';
    line[--at] = '\r';
    do {
        line[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    line[--at] = type;
    buffer_add(out, (struct slice){ line + at, sizeof(line) - at });
}

void resp_add_array(struct buffer *out, size_t count)
{
    add_line(out, '*', count);
}

void resp_add_bulk(struct buffer *out, struct slice s)
{
    char *room;

    add_line(out, '$', s.size);
    if (s.size > SIZE_MAX - 2)
        s.size = SIZE_MAX - 2; /* beyond any buffer: the reserve fails */
    room = buffer_reserve(out, s.size + 2);
    if (!room)
        return;
    if (s.size)
        memcpy(room, s.data, s.size);
    memcpy(room + s.size, "\r\n", 2);
    buffer_commit(out, s.size + 2);
}

void resp_add_bulk_text(struct buffer *out, const char *text)
{
    resp_add_bulk(out, slice_of(text));
}

void resp_add_integer(struct buffer *out, int64_t value)
{
    buffer_add(out, value < 0 ? SLICE(":-") : SLICE(":"));
    buffer_add_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    buffer_add(out, SLICE("\r\n"));
}

static void add_text_line(struct buffer *out, char type, const char *text)
{
    buffer_add_char(out, type);
    for (; *text; text++)
        buffer_add_char(out, *text == '\r' || *text == '\n' ? ' ' : *text);
    buffer_add(out, SLICE("\r\n"));
}

void resp_add_status(struct buffer *out, const char *text)
{
    add_text_line(out, '+', text);
}

void resp_add_failure(struct buffer *out, const char *text)
{
    add_text_line(out, '-', text);
}

void resp_add_nil(struct buffer *out)
{
    buffer_add(out, SLICE("$-1\r\n"));
}
