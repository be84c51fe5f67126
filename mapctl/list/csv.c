/* SPDX-License-Identifier: Apache-2.0 */
/* Records of CSV. */
#include "mapctl/list/csv.h"

#include "common/mem.h"

static const char NOT_CLOSED[] =
    "a quote that opens in this record is not closed; close it, and double a quote inside quotes";
static const char MISPLACED_QUOTE[] =
    "a quote stands inside a field; put the whole field in quotes and double the quote";

static bool restart(struct list_csv *csv)
{
    csv_free(&csv->parser);
    if (csv_init(&csv->parser, CSV_STRICT | CSV_STRICT_FINI) != 0)
        return false;
    csv_set_delim(&csv->parser, (unsigned char)csv->delimiter);
    csv_set_realloc_func(&csv->parser, mem_grow);
    csv_set_free_func(&csv->parser, mem_free);
    csv_set_blk_size(&csv->parser, 4096);
    return true;
}

enum error list_csv_init(struct list_csv *csv, char delimiter, list_record_function *on_record,
                         void *context)
{
    *csv = (struct list_csv){ .on_record = on_record, .context = context, .delimiter = delimiter };
    buffer_init(&csv->octets, LIST_RECORD_MAX);
    csv->parser.free_func = mem_free;
    return restart(csv) ? ERROR_NONE : ERROR_MEMORY;
}

void list_csv_free(struct list_csv *csv)
{
    csv_free(&csv->parser);
    buffer_free(&csv->octets);
}

/* ---- libcsv's callbacks ---- */

static void on_field(void *data, size_t size, void *context)
{
    struct list_csv *csv = context;

    if (csv->count == LIST_FIELDS_MAX) {
        csv->wrong = "the record has more than 1,024 fields; leave columns out";
        return;
    }
    buffer_add(&csv->octets, (struct slice){ data ? data : "", size });
    csv->no_memory = csv->no_memory || csv->octets.failed;
    csv->ends[csv->count++] = buffer_size(&csv->octets);
}

static void on_end(int character, void *context)
{
    struct list_csv *csv = context;

    (void)character;
    csv->complete = true;
}

/* ---- Records ---- */

static enum error give_record(struct list_csv *csv)
{
    const char *wrong = csv->wrong;
    struct slice octets = buffer_slice(&csv->octets);
    bool more;

    for (size_t i = 0, from = 0; i < csv->count; from = csv->ends[i++])
        csv->fields[i] = (struct slice){ octets.data + from, csv->ends[i] - from };
    more = csv->on_record(csv->context, csv->line, csv->fields, wrong ? 0 : csv->count, wrong);
    buffer_reset(&csv->octets);
    csv->count = csv->taken = 0;
    csv->complete = false;
    csv->wrong = NULL;
    return more ? ERROR_NONE : ERROR_CLOSED;
}

/* The record is over, whatever the parser thinks. */
static enum error give_up(struct list_csv *csv, const char *wrong)
{
    csv->wrong = wrong;
    return restart(csv) ? give_record(csv) : ERROR_MEMORY;
}

static bool is_blank(struct slice text)
{
    return slice_trim(text).size == 0;
}

static const char *fault_text(enum list_fault fault)
{
    switch (fault) {
    case LIST_FAULT_NONE:
        return NULL;
    case LIST_FAULT_TOO_LONG:
        return "a line of the record is longer than 1 MiB; shorten it";
    case LIST_FAULT_NOT_TEXT:
        return "the record is not UTF-8 or has a control character; save the list as UTF-8 or "
               "name its encoding with --encoding";
    }
    return NULL;
}

static enum error parse(struct list_csv *csv, struct slice text)
{
    size_t done = csv_parse(&csv->parser, text.data, text.size, on_field, on_end, csv);

    if (done == text.size && !csv->no_memory)
        return ERROR_NONE;
    return csv->no_memory || csv_error(&csv->parser) != CSV_EPARSE ? ERROR_MEMORY : ERROR_MALFORMED;
}

enum error list_csv_line(struct list_csv *csv, uint64_t number, struct slice text,
                         enum list_fault fault)
{
    enum error error;

    if (csv->taken == 0) {
        if (is_blank(text) || text.data[0] == '#')
            return ERROR_NONE;
        csv->line = number;
    }
    csv->taken += text.size + 1;
    if (csv->wrong == NULL)
        csv->wrong = fault_text(fault);
    if (fault == LIST_FAULT_TOO_LONG)
        return give_up(csv, csv->wrong);
    if (csv->taken > LIST_RECORD_MAX)
        return give_up(csv, NOT_CLOSED);
    error = parse(csv, text);
    if (error == ERROR_NONE)
        error = parse(csv, SLICE("\n"));
    if (error == ERROR_MALFORMED)
        return give_up(csv, MISPLACED_QUOTE);
    if (error != ERROR_NONE)
        return error;
    return csv->complete ? give_record(csv) : ERROR_NONE;
}

enum error list_csv_end(struct list_csv *csv)
{
    return csv->taken > 0 ? give_up(csv, NOT_CLOSED) : ERROR_NONE;
}
