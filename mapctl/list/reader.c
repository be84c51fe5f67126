/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes of a list to devices. */
#include "mapctl/list/reader.h"

#include "common/mem.h"
#include "mapctl/list/columns.h"
#include "mapctl/list/csv.h"
#include "mapctl/list/guard.h"

#include <stdio.h>

struct list_reader {
    const struct list_options *options;
    struct list_sink sink;
    struct list_text text;
    struct list_csv csv;
    bool has_csv, dead; /* dead: the header is wrong */
    enum error failed;
    struct list_columns columns;
    bool has_template, has_sequence;
    struct list_template template;
    struct list_sequence sequence;
    /* Of the line at hand. */
    struct buffer octets; /* canonical identities, one behind the other */
    size_t ends[LIST_IDENTITIES_MAX];
    struct slice identities[LIST_IDENTITIES_MAX];
    size_t count;
};

/* A device as its line has it. `own` are its identities as written; `values` those of the
 * template's columns. */
struct written {
    uint64_t line;
    struct slice cn, own;
    const struct slice *values;
    bool has_label, has_site;
    struct slice label, site;
};

static bool wrong(struct list_reader *reader, uint64_t line, const char *what)
{
    return reader->sink.wrong(reader->sink.context, line, what);
}

/* ---- Identities ---- */

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n';
}

static bool add_identity(struct list_reader *reader, struct slice text, char why[LIST_WHY_MAX])
{
    struct identity identity;

    if (reader->count == LIST_IDENTITIES_MAX) {
        snprintf(
            why, LIST_WHY_MAX,
            "the line has more than 1,000 identities; write the rest on a line of its own with "
            "the same CN");
        return false;
    }
    if (!list_value_identity(text, &identity, why))
        return false;
    buffer_add(&reader->octets, identity_text(&identity));
    reader->ends[reader->count++] = buffer_size(&reader->octets);
    return true;
}

/* Commas and white space stand between identities; none has them. */
static bool add_own(struct list_reader *reader, struct slice own, char why[LIST_WHY_MAX])
{
    size_t at = 0;

    while (at < own.size) {
        size_t from = at;
        while (at < own.size && !is_separator(own.data[at]))
            at++;
        if (at > from && !add_identity(reader, (struct slice){ own.data + from, at - from }, why))
            return false;
        at++;
    }
    if (reader->count > 0)
        return true;
    snprintf(why, LIST_WHY_MAX,
             "the identity is missing; write user@domain, such as alice@example.org");
    return false;
}

static bool add_identities(struct list_reader *reader, const struct written *device,
                           struct slice cn, struct slice counted, char why[LIST_WHY_MAX])
{
    char filled[LIST_TEMPLATE_MAX];
    size_t size;

    if (reader->has_sequence)
        return add_identity(reader, counted, why);
    if (!reader->has_template)
        return add_own(reader, device->own, why);
    return list_template_fill(&reader->template, cn, device->values, filled, &size, why) &&
           add_identity(reader, (struct slice){ filled, size }, why);
}

/* ---- Devices ---- */

static bool give_row(struct list_reader *reader, const struct written *device, struct slice cn)
{
    struct slice octets = buffer_slice(&reader->octets);
    struct list_row row = { .line = device->line,
                            .cn = cn,
                            .identities = reader->identities,
                            .identity_count = reader->count,
                            .has_label = device->has_label,
                            .has_site = device->has_site };
    char why[LIST_WHY_MAX];

    if (!list_value_place("label", device->label, &row.label, why) ||
        !list_value_place("site", device->site, &row.site, why))
        return wrong(reader, device->line, why);

    for (size_t i = 0, from = 0; i < reader->count; from = reader->ends[i++])
        reader->identities[i] = (struct slice){ octets.data + from, reader->ends[i] - from };
    return reader->sink.row(reader->sink.context, &row);
}

/* A wrong line takes its number of the sequence all the same: mending it moves no other. */
static bool take(struct list_reader *reader, const struct written *device)
{
    char why[LIST_WHY_MAX], counted[LIST_TEMPLATE_MAX];
    struct list_cn cn;
    size_t counted_size = 0;

    reader->count = 0;
    buffer_reset(&reader->octets);
    if (reader->has_sequence)
        list_sequence_next(&reader->sequence, counted, &counted_size);
    if (!list_value_cn(&reader->options->store, device->cn, &cn, why) ||
        !add_identities(reader, device, (struct slice){ cn.text, cn.size },
                        (struct slice){ counted, counted_size }, why))
        return wrong(reader, device->line, why);
    if (reader->octets.failed) {
        reader->failed = ERROR_MEMORY;
        return false;
    }
    return give_row(reader, device, (struct slice){ cn.text, cn.size });
}

/* ---- repro and mac ---- */

static bool explain_no_tab(struct list_reader *reader, uint64_t number, struct slice text)
{
    if (memchr(text.data, ',', text.size) || memchr(text.data, ';', text.size))
        return wrong(reader, number,
                     "there is no TAB; write CN, TAB, identities, or read a CSV list with "
                     "--format csv");
    if (memchr(text.data, ' ', text.size))
        return wrong(reader, number,
                     "there is a space instead of a TAB; write CN, TAB, identities with commas "
                     "between them");
    return wrong(reader, number,
                 "there is no TAB and no identity; write CN, TAB, identities, or read a list of "
                 "MAC addresses with --identity or --from-sequence");
}

static bool take_repro(struct list_reader *reader, uint64_t number, struct slice text)
{
    struct written device = { .line = number };
    const char *tab;

    while (text.size > 0 && text.data[0] == ' ') {
        text.data++;
        text.size--;
    }
    tab = memchr(text.data, '\t', text.size);
    if (tab == NULL)
        return explain_no_tab(reader, number, text);
    device.cn = (struct slice){ text.data, (size_t)(tab - text.data) };
    device.own = (struct slice){ tab, text.size - device.cn.size };
    return take(reader, &device);
}

static bool take_mac(struct list_reader *reader, uint64_t number, struct slice text)
{
    return take(reader, &(struct written){ .line = number, .cn = slice_trim(text) });
}

/* ---- csv and tsv ---- */

static bool take_header(struct list_reader *reader, uint64_t line, const struct slice *fields,
                        size_t count)
{
    char why[LIST_WHY_MAX];
    bool needs_identity = !reader->has_template && !reader->has_sequence;

    if (list_columns_find(&reader->columns, fields, count,
                          reader->has_template ? &reader->template : NULL, needs_identity, why))
        return true;
    (void)wrong(reader, line, why);
    reader->dead = true;
    return false;
}

static bool is_empty(const struct slice *fields, size_t from, size_t count)
{
    for (size_t i = from; i < count; i++) {
        if (slice_trim(fields[i]).size > 0)
            return false;
    }
    return true;
}

static struct slice field_at(const struct slice *fields, size_t count, size_t at)
{
    return at < count ? list_unguard(fields[at]) : SLICE("");
}

static bool take_record(struct list_reader *reader, uint64_t line, const struct slice *fields,
                        size_t count)
{
    const struct list_columns *columns = &reader->columns;
    struct slice values[LIST_TEMPLATE_PIECES];
    struct written device = { .line = line, .values = values };
    char why[LIST_WHY_MAX];

    if (count > columns->count && !is_empty(fields, columns->count, count)) {
        snprintf(why, sizeof(why),
                 "the record has %zu fields, the header %zu; put a field in quotes that has the "
                 "delimiter in it",
                 count, columns->count);
        return wrong(reader, line, why);
    }
    for (size_t i = 0; reader->has_template && i < reader->template.count; i++)
        values[i] = reader->template.pieces[i].kind == LIST_PIECE_COLUMN
                        ? slice_trim(field_at(fields, count, columns->template_at[i]))
                        : SLICE("");
    device.cn = field_at(fields, count, columns->at[LIST_COLUMN_CN]);
    device.own = field_at(fields, count, columns->at[LIST_COLUMN_IDENTITY]);
    device.has_label = columns->at[LIST_COLUMN_LABEL] != LIST_COLUMN_ABSENT;
    device.has_site = columns->at[LIST_COLUMN_SITE] != LIST_COLUMN_ABSENT;
    device.label = field_at(fields, count, columns->at[LIST_COLUMN_LABEL]);
    device.site = field_at(fields, count, columns->at[LIST_COLUMN_SITE]);
    return take(reader, &device);
}

static bool on_record(void *context, uint64_t line, const struct slice *fields, size_t count,
                      const char *what)
{
    struct list_reader *reader = context;

    if (what != NULL) {
        if (reader->columns.count == 0)
            reader->dead = true;
        return wrong(reader, line, what) && !reader->dead;
    }
    if (is_empty(fields, 0, count))
        return true; /* spreadsheets fill up with empty cells */
    if (reader->columns.count == 0)
        return take_header(reader, line, fields, count);
    return take_record(reader, line, fields, count);
}

static bool begin_csv(struct list_reader *reader, struct slice header)
{
    char delimiter = reader->options->delimiter;

    if (delimiter == '\0')
        delimiter = reader->options->format == LIST_TSV ? '\t' : list_columns_delimiter(header);
    reader->has_csv = true;
    reader->failed = list_csv_init(&reader->csv, delimiter, on_record, reader);
    return reader->failed == ERROR_NONE;
}

static bool take_csv(struct list_reader *reader, uint64_t number, struct slice text,
                     enum list_fault fault)
{
    enum error error;

    if (!reader->has_csv) {
        if (slice_trim(text).size == 0 || text.data[0] == '#')
            return true;
        if (!begin_csv(reader, text))
            return false;
    }
    error = list_csv_line(&reader->csv, number, text, fault);
    if (error != ERROR_NONE && error != ERROR_CLOSED)
        reader->failed = error;
    return error == ERROR_NONE;
}

/* ---- Lines ---- */

static const char *fault_text(enum list_fault fault)
{
    switch (fault) {
    case LIST_FAULT_NONE:
        return NULL;
    case LIST_FAULT_TOO_LONG:
        return "the line is longer than 1 MiB; write the rest on a line of its own with the same "
               "CN";
    case LIST_FAULT_NOT_TEXT:
        return "the line is not UTF-8 or has a control character; save the list as UTF-8 or name "
               "its encoding with --encoding";
    }
    return NULL;
}

static bool on_line(void *context, uint64_t number, struct slice text, enum list_fault fault)
{
    struct list_reader *reader = context;

    if (reader->options->format == LIST_CSV || reader->options->format == LIST_TSV)
        return take_csv(reader, number, text, fault);
    if (slice_trim(text).size == 0 || slice_trim(text).data[0] == '#')
        return true;
    if (fault != LIST_FAULT_NONE)
        return wrong(reader, number, fault_text(fault));
    return reader->options->format == LIST_MAC ? take_mac(reader, number, text)
                                               : take_repro(reader, number, text);
}

/* ---- Public ---- */

static bool refuse(char why[LIST_WHY_MAX], const char *text)
{
    snprintf(why, LIST_WHY_MAX, "%s", text);
    return false;
}

static bool has_column_piece(const struct list_template *template)
{
    for (size_t i = 0; i < template->count; i++) {
        if (template->pieces[i].kind == LIST_PIECE_COLUMN)
            return true;
    }
    return false;
}

/* What does not go together is said before anything is read. */
static bool check_options(struct list_reader *reader, char why[LIST_WHY_MAX])
{
    const struct list_options *o = reader->options;
    bool table = o->format == LIST_CSV || o->format == LIST_TSV;

    reader->has_template = o->identity != NULL;
    reader->has_sequence = o->sequence != NULL;
    if (o->format == LIST_FORMAT_NONE)
        return refuse(why, "--format is missing; write repro, mac, csv or tsv");
    if (reader->has_template && reader->has_sequence)
        return refuse(why, "--identity and --from-sequence do not go together; write one");
    if (o->format == LIST_REPRO && (reader->has_template || reader->has_sequence))
        return refuse(why, "the format repro has its own identities; leave --identity and "
                           "--from-sequence out, or write --format mac");
    if (o->format == LIST_MAC && !reader->has_template && !reader->has_sequence)
        return refuse(why, "a list of MAC addresses has no identities; write --identity "
                           "'{mac}@example.org' or --from-sequence 2000@example.org");
    if (o->format == LIST_MAC && o->store.form != CN_FORM_MAC)
        return refuse(why, "the trust store's CNs are no MAC addresses (cn_form); write --format "
                           "csv");
    if (!table && (o->columns != NULL || o->delimiter != '\0'))
        return refuse(why, "--columns and --delimiter need --format csv or tsv");
    if (reader->has_template && !list_template_read(slice_of(o->identity), &reader->template, why))
        return false;
    if (!table && reader->has_template && has_column_piece(&reader->template))
        return refuse(why, "this format has no columns; a template may have {mac} and {mac-lower}");
    if (reader->has_sequence && !list_sequence_read(slice_of(o->sequence), &reader->sequence, why))
        return false;
    return list_columns_read(&reader->columns, o->columns, why);
}

enum error list_reader_new(struct list_reader **out, const struct list_options *options,
                           const struct list_sink *sink, char why[LIST_WHY_MAX])
{
    struct list_reader *reader = mem_zero(1, sizeof(*reader));
    enum error error;

    *out = NULL;
    snprintf(why, LIST_WHY_MAX, "out of memory");
    if (reader == NULL)
        return ERROR_MEMORY;
    reader->options = options;
    reader->sink = *sink;
    buffer_init(&reader->octets, 0);
    error = list_text_init(&reader->text, options->encoding, on_line, reader);
    if (error == ERROR_NOT_FOUND) {
        refuse(why, "--encoding: there is no such encoding; iconv --list has their names");
        error = ERROR_CONFIG;
    }
    if (error == ERROR_NONE && !check_options(reader, why))
        error = ERROR_CONFIG;
    if (error != ERROR_NONE) {
        list_reader_free(reader);
        return error;
    }
    *out = reader;
    return ERROR_NONE;
}

void list_reader_free(struct list_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->has_csv)
        list_csv_free(&reader->csv);
    list_text_free(&reader->text);
    buffer_free(&reader->octets);
    mem_free(reader);
}

static enum error outcome(const struct list_reader *reader, enum error error)
{
    return reader->failed != ERROR_NONE ? reader->failed : error;
}

enum error list_reader_push(struct list_reader *reader, struct slice bytes)
{
    return outcome(reader, list_text_push(&reader->text, bytes));
}

enum error list_reader_end(struct list_reader *reader)
{
    enum error error = list_text_end(&reader->text);

    if (error == ERROR_NONE && reader->has_csv)
        error = list_csv_end(&reader->csv);
    return outcome(reader, error);
}

uint64_t list_reader_lines(const struct list_reader *reader)
{
    return reader->text.number - 1;
}
