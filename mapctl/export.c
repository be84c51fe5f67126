/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl export: the devices of a trust store as a list that mapctl import takes back. Streaming:
 * no more than one device is held here. */
#include "mapctl/cancel.h"
#include "mapctl/command.h"
#include "mapctl/commands.h"
#include "mapctl/import_load_internal.h"
#include "mapctl/list/writer.h"
#include "mapctl/list_options.h"
#include "mapctl/list_output.h"
#include "mapctl/postgres.h"
#include "mapctl/progress.h"

#include <stdlib.h>

enum export_option { EXPORT_OUTPUT = LIST_OPTION_OWN, EXPORT_BARE };

static const struct option_row OPTIONS[] = {
    LIST_OPTION_ROWS,
    { EXPORT_OUTPUT, "output", VALUE_FILE, "FILE",
      "write it there, whole or not at all; else to standard output" },
    { EXPORT_BARE, "bare", VALUE_NONE, NULL,
      "csv, tsv: without the apostrophe before values that a spreadsheet would run as formulas" },
    { 0 },
};

/* Pieces of a device before its identities. */
enum { PIECE_CN = 0, PIECE_LABEL, PIECE_SITE, BEFORE };

struct export
{
    struct load load; /* its connection and the store's form */
    struct list_writer writer;
    struct list_output output;
    struct progress progress;
    bool json, with_places;
    uint64_t mappings;
    /* The device that is being collected. */
    struct buffer octets; /* CN, label, site, then its identities */
    size_t ends[LIST_IDENTITIES_MAX + BEFORE];
    size_t count; /* of ends; 0 = none */
};

/* ---- Devices ---- */

static struct slice piece(const struct export *export, size_t at)
{
    size_t from = at ? export->ends[at - 1] : 0;

    return (struct slice){ buffer_slice(&export->octets).data + from, export->ends[at] - from };
}

static void add_document(struct export *export, const struct list_row *row)
{
    json_t *document = output_object(), *identities = output_array();
    char *text;

    for (size_t i = 0; i < row->identity_count; i++)
        output_append(identities, output_text(row->identities[i]));
    output_set(document, "store", output_text(slice_of(export->load.store)));
    output_set(document, "cn", output_text(row->cn));
    output_set(document, "identities", identities);
    output_set(document, "label", row->label.size ? output_text(row->label) : json_null());
    output_set(document, "site", row->site.size ? output_text(row->site) : json_null());
    text = json_dumps(document, JSON_COMPACT);
    if (text != NULL) {
        buffer_add_text(&export->output.bytes, text);
        buffer_add_char(&export->output.bytes, '\n');
    } else {
        export->output.bytes.failed = true;
    }
    free(text);
    json_decref(document);
}

static bool write_device(struct export *export)
{
    struct slice identities[LIST_IDENTITIES_MAX];
    struct list_row row = { .identities = identities };
    char why[LIST_WHY_MAX];

    if (export->count == 0)
        return true;
    row.cn = piece(export, PIECE_CN);
    row.label = piece(export, PIECE_LABEL);
    row.site = piece(export, PIECE_SITE);
    row.identity_count = export->count - BEFORE;
    for (size_t i = 0; i < row.identity_count; i++)
        identities[i] = piece(export, BEFORE + i);
    if (export->json) {
        add_document(export, &row);
    } else if (!list_write_row(&export->writer, &row, &export->output.bytes, why)) {
        complain("%s", why);
        return false;
    }
    buffer_reset(&export->octets);
    export->count = 0;
    return list_output_flush(&export->output, false);
}

static void add_piece(struct export *export, struct slice text)
{
    buffer_add(&export->octets, text);
    export->ends[export->count++] = buffer_size(&export->octets);
}

/* Columns as the query has them. */
enum { COLUMN_CN = 0, COLUMN_IDENTITY, COLUMN_LABEL, COLUMN_SITE, COLUMNS };

static bool add_mapping(struct export *export, const struct slice columns[COLUMNS])
{
    bool same = export->count > 0 && slice_equal(piece(export, PIECE_CN), columns[COLUMN_CN]);

    if ((!same || export->count == LIST_IDENTITIES_MAX + BEFORE) && !write_device(export))
        return false;
    if (export->count == 0) {
        add_piece(export, columns[COLUMN_CN]);
        add_piece(export, columns[COLUMN_LABEL]);
        add_piece(export, columns[COLUMN_SITE]);
    }
    add_piece(export, columns[COLUMN_IDENTITY]);
    export->mappings++;
    if (export->octets.failed)
        complain("out of memory");
    return !export->octets.failed;
}

/* ---- COPY ---- */

/* In place; of COPY's escapes only the backslash comes, since values have no control characters,
 * and \N, which is NULL and becomes ''. */
static struct slice unescape(char *text, size_t size)
{
    size_t to = 0;

    if (size == 2 && memcmp(text, "\\N", 2) == 0)
        return SLICE("");
    for (size_t from = 0; from < size; from++) {
        if (text[from] == '\\' && from + 1 < size)
            from++;
        text[to++] = text[from];
    }
    return (struct slice){ text, to };
}

static bool take_copied(struct export *export, char *line, size_t size)
{
    struct slice columns[COLUMNS];

    for (size_t i = 0; i < COLUMNS; i++) {
        char *end = size ? memchr(line, i + 1 < COLUMNS ? '\t' : '\n', size) : NULL;
        if (end == NULL) {
            complain("the database answers something else than a list");
            return false;
        }
        columns[i] = unescape(line, (size_t)(end - line));
        size -= (size_t)(end + 1 - line);
        line = end + 1;
    }
    return add_mapping(export, columns);
}

#define READ_PLACES(table, shown)                                                          \
    "COPY (SELECT m.cn, m.identity, i.label, i.site FROM public.cn_mapping m"              \
    " LEFT JOIN public." table " i ON i.trust_store = m.trust_store AND i.cn = m.cn" shown \
    " WHERE m.trust_store = "
static const char WITH_PLACES[] = READ_PLACES("device_info", "");
static const char WITH_OWN_PLACES[] = READ_PLACES("tenant_device", LOAD_FIRST_OWN);
static const char WITHOUT_PLACES[] =
    "COPY (SELECT m.cn, m.identity, NULL, NULL FROM public.cn_mapping m WHERE m.trust_store = ";

static bool begin_copy(struct export *export)
{
    char *store =
        PQescapeLiteral(export->load.connection, export->load.store, strlen(export->load.store));
    struct buffer query;
    PGresult *result;
    bool good;

    buffer_init(&query, 0);
    buffer_add_text(&query, !export->with_places  ? WITHOUT_PLACES
                            : export->load.tenant ? WITH_OWN_PLACES
                                                  : WITH_PLACES);
    buffer_add_text(&query, store ? store : "NULL");
    buffer_add_text(&query, " ORDER BY m.cn, m.identity) TO STDOUT");
    buffer_add_char(&query, '\0');
    result = query.failed ? NULL : PQexec(export->load.connection, buffer_slice(&query).data);
    good = PQresultStatus(result) == PGRES_COPY_OUT;
    if (!good)
        postgres_complain(export->load.connection, result, "the database refuses");
    PQclear(result);
    PQfreemem(store);
    buffer_free(&query);
    return good;
}

static bool end_copy(struct export *export)
{
    PGresult *result = PQgetResult(export->load.connection);
    bool good = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (!good && !cancelled())
        postgres_complain(export->load.connection, result, "the database refuses");
    PQclear(result);
    return good;
}

static bool write_list(struct export *export)
{
    char *line;
    int size;
    bool good = true;

    if (!export->json)
        list_write_head(&export->writer, &export->output.bytes);
    progress_begin(&export->progress, "writing");
    while (good && !cancelled() && (size = PQgetCopyData(export->load.connection, &line, 0)) > 0) {
        good = take_copied(export, line, (size_t)size);
        PQfreemem(line);
        progress_show(&export->progress, export->mappings, 0, 0);
    }
    progress_clear(&export->progress);
    return good && !cancelled() && end_copy(export) && write_device(export) &&
           list_output_flush(&export->output, true);
}

/* ---- The command ---- */

static bool check(const struct export *export)
{
    if (export->writer.format != LIST_MAC || export->load.form.form == CN_FORM_MAC)
        return true;
    complain("the CNs of store %s are no MAC addresses; write --format csv", export->load.store);
    return false;
}

static enum status with_store(struct export *export, const char *path)
{
    bool good;

    if (!check(export))
        return STATUS_USAGE;
    if (!list_output_open(&export->output, path))
        return STATUS_BAD;
    cancel_watch(export->load.connection);
    PQclear(PQexec(export->load.connection, "SET statement_timeout = 0"));
    PQsetClientEncoding(export->load.connection, "UTF8");
    good = begin_copy(export) && write_list(export);
    cancel_hold();
    if (!good && cancelled())
        complain("interrupted; the list is not whole");
    good = list_output_close(&export->output, good);
    cancel_forget();
    if (good)
        return STATUS_GOOD;
    return PQstatus(export->load.connection) == CONNECTION_BAD ? STATUS_UNREACHABLE : STATUS_BAD;
}

static bool check_options(const struct settings *settings, const struct arguments *arguments)
{
    if (settings->json && (option_given(arguments, LIST_OPTION_FORMAT) ||
                           option_given(arguments, LIST_OPTION_DELIMITER))) {
        complain("--json is a format of its own; leave --format and --delimiter out");
        return false;
    }
    return true;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    struct export export = { .json = settings->json };
    struct list_options options;
    enum status status;

    if (!check_options(settings, arguments) || !list_options_read(arguments, &options))
        return STATUS_USAGE;
    export.writer = (struct list_writer){ .format = options.format,
                                          .delimiter = options.delimiter,
                                          .bare = option_given(arguments, EXPORT_BARE) };
    export.with_places = export.writer.with_places =
        export.json || options.format == LIST_CSV || options.format == LIST_TSV;
    buffer_init(&export.octets, 0);
    progress_init(&export.progress);
    status = load_open(&export.load, settings->database, list_options_store(arguments));
    if (status == STATUS_GOOD)
        status = with_store(&export, option_text(arguments, EXPORT_OUTPUT, NULL));
    load_close(&export.load);
    buffer_free(&export.octets);
    return status;
}

const struct command command_export = {
    .name = "export",
    .operands = "",
    .brief = "write the devices of a trust store as a list",
    .help = "In the formats that import takes, ordered by CN, so that two exports can be compared; "
            "import changes nothing when it is given the same list again. The format mac has no "
            "identities. With --json a line is one device.",
    .options = OPTIONS,
    .run = run,
};
