/* SPDX-License-Identifier: Apache-2.0 */
/* Lists in every format and encoding. The first byte chooses the format and the store's form, the
 * second how many bytes each push has; the rest is the list. What must hold: a row has canonical
 * values; the size of the pushes changes nothing; what the writer makes of a row, the reader takes
 * back as the same row. */
#include "common/mem.h"
#include "mapctl/list/writer.h"

#include <stdint.h>
#include <stdlib.h>

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* A sum over all that the sink was told, to compare two runs. */
struct seen {
    const struct list_options *options;
    uint64_t sum, rows, wrong;
    bool write_back;
};

static void add(struct seen *seen, struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        seen->sum = (seen->sum ^ (unsigned char)s.data[i]) * 1099511628211u;
    seen->sum = (seen->sum ^ s.size) * 1099511628211u;
}

static void check_row(const struct seen *seen, const struct list_row *row)
{
    char why[LIST_WHY_MAX];
    struct list_cn cn;

    must(list_value_cn(&seen->options->store, row->cn, &cn, why));
    must(slice_equal((struct slice){ cn.text, cn.size }, row->cn));
    must(row->identity_count > 0 && row->identity_count <= LIST_IDENTITIES_MAX);
    for (size_t i = 0; i < row->identity_count; i++) {
        struct identity again;
        must(list_value_identity(row->identities[i], &again, why));
        must(slice_equal(identity_text(&again), row->identities[i]));
    }
}

static void write_back(const struct list_options *options, const struct list_row *row);

static bool on_row(void *context, const struct list_row *row)
{
    struct seen *seen = context;

    seen->rows++;
    check_row(seen, row);
    add(seen, row->cn);
    for (size_t i = 0; i < row->identity_count; i++)
        add(seen, row->identities[i]);
    add(seen, row->label);
    add(seen, row->site);
    if (seen->write_back && seen->rows <= 8)
        write_back(seen->options, row);
    return true;
}

static bool on_wrong(void *context, uint64_t line, const char *what)
{
    struct seen *seen = context;

    must(line > 0 && what[0] != '\0' && strlen(what) < LIST_WHY_MAX);
    must(text_is_clean_utf8(slice_of(what)));
    seen->wrong++;
    add(seen, slice_of(what));
    return true;
}

static struct seen run(const struct list_options *options, struct slice list, size_t step,
                       bool back)
{
    struct seen seen = { .options = options, .sum = 1, .write_back = back };
    struct list_sink sink = { &seen, on_row, on_wrong };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];
    enum error error = list_reader_new(&reader, options, &sink, why);

    must(error == ERROR_NONE);
    while (error == ERROR_NONE && list.size > 0) {
        size_t size = step && step < list.size ? step : list.size;
        error = list_reader_push(reader, (struct slice){ list.data, size });
        list.data += size;
        list.size -= size;
    }
    if (error == ERROR_NONE)
        error = list_reader_end(reader);
    must(error == ERROR_NONE || error == ERROR_CLOSED);
    list_reader_free(reader);
    return seen;
}

static struct seen sum_of(const struct list_options *options, const struct list_row *row)
{
    struct seen seen = { .options = options, .sum = 1 };

    on_row(&seen, row);
    return seen;
}

static void write_back(const struct list_options *options, const struct list_row *row)
{
    struct list_writer writer = { .format = options->format, .with_places = true };
    struct list_options again = { .format = options->format, .store = options->store };
    struct list_row plain = *row;
    struct buffer out;
    char why[LIST_WHY_MAX];

    if (options->format == LIST_MAC)
        return; /* has no identities to come back */
    if (options->format == LIST_REPRO)
        plain.label = plain.site = SLICE("");
    buffer_init(&out, 0);
    list_write_head(&writer, &out);
    if (list_write_row(&writer, &plain, &out, why)) {
        struct seen want = sum_of(options, &plain);
        struct seen have = run(&again, buffer_slice(&out), 0, false);
        must(have.rows == 1 && have.wrong == 0 && have.sum == want.sum);
    }
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum list_format formats[] = { LIST_REPRO, LIST_MAC, LIST_CSV, LIST_TSV };
    struct list_options options = { .store = { .prefixes = { SLICE("SEP") }, .prefix_count = 1 } };
    struct seen whole, pieces;
    struct slice list;

    if (size < 2)
        return 0;
    options.format = formats[data[0] & 3];
    options.store.form = data[0] & 4 && options.format != LIST_MAC ? CN_FORM_EXACT : CN_FORM_MAC;
    if (options.format == LIST_MAC)
        options.identity = data[0] & 8 ? "{mac-lower}@example.org" : NULL;
    else if (options.format != LIST_REPRO)
        options.identity = data[0] & 8 ? "x{Ext}-{identity}@example.org" : NULL;
    if (options.format == LIST_MAC && options.identity == NULL)
        options.sequence = "0098@example.org";
    if (options.format >= LIST_CSV && data[0] & 16)
        options.columns = "cn=MAC,\"identity=Ext, user\",label=Name";
    list = (struct slice){ (const char *)data + 2, size - 2 };
    whole = run(&options, list, 0, true);
    pieces = run(&options, list, 1 + data[1], false);
    must(whole.rows == pieces.rows && whole.wrong == pieces.wrong && whole.sum == pieces.sum);
    return 0;
}
