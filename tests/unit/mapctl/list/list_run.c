/* SPDX-License-Identifier: Apache-2.0 */
/* Running the reader in tests. */
#include "tests/unit/mapctl/list/list_run.h"

#include "common/buffer.h"

static struct buffer told;

static bool on_row(void *context, const struct list_row *row)
{
    (void)context;
    buffer_add_format(&told, "%llu ", (unsigned long long)row->line);
    buffer_add(&told, row->cn);
    for (size_t i = 0; i < row->identity_count; i++) {
        buffer_add_char(&told, i ? ',' : '|');
        buffer_add(&told, row->identities[i]);
    }
    if (row->has_label || row->has_site) {
        buffer_add_char(&told, '|');
        buffer_add(&told, row->label);
        buffer_add_char(&told, '|');
        buffer_add(&told, row->site);
    }
    buffer_add_char(&told, '\n');
    return true;
}

static bool on_wrong(void *context, uint64_t line, const char *what)
{
    (void)context;
    buffer_add_format(&told, "%llu ! %s\n", (unsigned long long)line, what);
    return true;
}

const char *list_run(const struct list_options *options, struct slice list, size_t step)
{
    struct list_sink sink = { NULL, on_row, on_wrong };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];
    enum error error = list_reader_new(&reader, options, &sink, why);

    buffer_free(&told);
    buffer_init(&told, 0);
    if (error != ERROR_NONE)
        fail_msg("%s", why);
    while (error == ERROR_NONE && list.size > 0) {
        size_t size = step && step < list.size ? step : list.size;
        error = list_reader_push(reader, (struct slice){ list.data, size });
        list.data += size;
        list.size -= size;
    }
    if (error == ERROR_NONE)
        error = list_reader_end(reader);
    assert_true(error == ERROR_NONE || error == ERROR_CLOSED);
    list_reader_free(reader);
    buffer_add_char(&told, '\0');
    assert_false(told.failed);
    return buffer_slice(&told).data;
}

void list_must_give(const struct list_options *options, struct slice list, const char *expected)
{
    assert_string_equal(list_run(options, list, 0), expected);
    assert_string_equal(list_run(options, list, 1), expected);
    assert_string_equal(list_run(options, list, 7), expected);
    buffer_free(&told);
}
