/* SPDX-License-Identifier: Apache-2.0 */
/* The wire codec. A prefix of what is whole is incomplete, never something else; what is refused
 * stays refused with more behind it; what is written again is read as the same. */
#include "common/mem.h"
#include "common/resp.h"

#include <stdint.h>
#include <stdlib.h>

static const struct resp_limits limits = { 32768, 512 };

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* A copy without a byte behind it, so that ASan sees what is read too far. */
static char *exact_copy(struct slice s)
{
    char *copy = malloc(s.size ? s.size : 1);

    must(copy != NULL);
    if (s.size)
        memcpy(copy, s.data, s.size);
    return copy;
}

static bool is_inside(struct slice part, struct slice whole)
{
    return part.size == 0 ||
           (part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static enum error read_any(bool command, struct slice s, size_t *used)
{
    struct resp_command c;
    struct resp_value v;

    return command ? resp_read_command(s, &c, used) : resp_read_value(s, &limits, &v, used);
}

static void check_prefixes(bool command, struct slice s, enum error whole, size_t used)
{
    size_t step = s.size / 16 + 1;

    for (size_t cut = 0; cut < s.size; cut += step) {
        char *copy = exact_copy((struct slice){ s.data, cut });
        size_t cut_used;
        enum error error = read_any(command, (struct slice){ copy, cut }, &cut_used);
        if (error == ERROR_NONE)
            must(whole == ERROR_NONE && cut_used == used && cut >= used);
        else if (error == ERROR_INCOMPLETE)
            must(whole != ERROR_NONE || cut < used);
        else
            must(whole == error);
        must(error == ERROR_NONE || cut_used == 0);
        free(copy);
    }
}

static void check_command(struct slice s)
{
    struct resp_command command, again;
    struct buffer b;
    size_t used, again_used;
    enum error error = resp_read_command(s, &command, &used);

    check_prefixes(true, s, error, used);
    must(error != ERROR_INCOMPLETE || s.size < RESP_COMMAND_MAX);
    if (error != ERROR_NONE)
        return;
    must(used > 0 && used <= s.size && used <= RESP_COMMAND_MAX && command.count <= RESP_ARGS_MAX);
    buffer_init(&b, 0);
    resp_add_array(&b, command.count);
    for (size_t i = 0; i < command.count; i++) {
        must(is_inside(command.args[i], s) && command.args[i].size <= RESP_ARG_MAX);
        resp_add_bulk(&b, command.args[i]);
    }
    must(!b.failed);
    error = resp_read_command(buffer_slice(&b), &again, &again_used);
    /* Words of a line become longer when they are written as bulk strings. */
    if (error == ERROR_NONE) {
        must(again_used == buffer_size(&b) && again.count == command.count);
        for (size_t i = 0; i < command.count; i++)
            must(slice_equal(again.args[i], command.args[i]));
    } else {
        must(error == ERROR_TOO_LARGE && s.data[0] != '*');
    }
    buffer_free(&b);
}

static void write_value(struct buffer *b, const struct resp_value *value, struct slice whole,
                        unsigned depth)
{
    struct slice rest = value->text;
    struct resp_value item;
    size_t count = 0;

    must(depth <= RESP_DEPTH_MAX && is_inside(value->text, whole));
    switch (value->type) {
    case RESP_NONE:
        abort();
    case RESP_STATUS:
    case RESP_FAILURE:
        buffer_add_char(b, value->type == RESP_STATUS ? '+' : '-');
        buffer_add(b, value->text);
        buffer_add_text(b, "\r\n");
        break;
    case RESP_INTEGER:
        resp_add_integer(b, value->integer);
        break;
    case RESP_BULK:
        resp_add_bulk(b, value->text);
        break;
    case RESP_NIL:
        resp_add_nil(b);
        break;
    case RESP_ARRAY:
        resp_add_array(b, value->count);
        for (; resp_item(&rest, &item); count++)
            write_value(b, &item, whole, depth + 1);
        must(count == value->count && rest.size == 0);
        break;
    }
}

static void check_value(struct slice s)
{
    struct resp_value value, again;
    struct buffer once, twice;
    size_t used, again_used;
    enum error error = resp_read_value(s, &limits, &value, &used);

    check_prefixes(false, s, error, used);
    must(error != ERROR_INCOMPLETE || s.size < limits.value_max);
    if (error != ERROR_NONE)
        return;
    must(used > 0 && used <= s.size && used <= limits.value_max);
    buffer_init(&once, 0);
    buffer_init(&twice, 0);
    write_value(&once, &value, s, 0);
    must(!once.failed && buffer_size(&once) == used);
    must(resp_read_value(buffer_slice(&once), &limits, &again, &again_used) == ERROR_NONE);
    must(again_used == used && again.type == value.type);
    write_value(&twice, &again, buffer_slice(&once), 0);
    must(slice_equal(buffer_slice(&once), buffer_slice(&twice)));
    buffer_free(&once);
    buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = { (const char *)data, size };

    check_command(s);
    check_value(s);
    return 0;
}
