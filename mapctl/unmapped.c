/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl unmapped: devices that were refused because they have no mapping, and giving one of them
 * its identities. */
#include "mapctl/commands.h"
#include "mapctl/postgres.h"

#include "common/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNMAPPED_STORE = 1, UNMAPPED_LIMIT };

enum column {
    COLUMN_STORE,
    COLUMN_CN,
    COLUMN_FIRST,
    COLUMN_LAST,
    COLUMN_COUNT,
    COLUMN_FROM,
    COLUMN_ADDRESS,
    COLUMN_REASON
};

static const char *const NAMES[] = {
    [COLUMN_STORE] = "trust_store", [COLUMN_CN] = "cn",         [COLUMN_FIRST] = "first_seen",
    [COLUMN_LAST] = "last_seen",    [COLUMN_COUNT] = "count",   [COLUMN_FROM] = "from_tried",
    [COLUMN_ADDRESS] = "address",   [COLUMN_REASON] = "reason",
};

#define TIME(column) "to_char(u." column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/* What has got a mapping while it was reported goes within a minute; it is no news. */
static const char LIST[] = "SELECT u.trust_store, u.cn, " TIME("first_seen") ", " TIME(
    "last_seen") ", u.count,"
                 " u.from_tried, u.address, u.reason FROM public.unmapped_device u"
                 " WHERE ($1::text IS NULL OR u.trust_store = $1) AND NOT EXISTS (SELECT FROM "
                 "public.cn_mapping"
                 " m WHERE m.trust_store = u.trust_store AND m.cn = u.cn)"
                 " ORDER BY u.last_seen DESC, u.cn LIMIT $2::bigint";

/* One that is not in the list is more likely a slip of the pen than a device to come. */
static const char ADOPT[] = "INSERT INTO public.cn_mapping (trust_store, cn, identity)"
                            " SELECT u.trust_store, u.cn, i.identity FROM public.unmapped_device u,"
                            " jsonb_array_elements_text($3::jsonb) AS i (identity)"
                            " WHERE u.trust_store = $1 AND u.cn = public.device_cn($2, $1)"
                            " RETURNING trust_store, cn, identity";

static const char *value(const PGresult *result, int row, enum column column)
{
    return PQgetvalue(result, row, (int)column);
}

static void print_field(const char *before, const PGresult *result, int row, enum column column)
{
    const char *text = value(result, row, column);

    if (text[0] == '\0')
        return;
    fputs(before, stdout);
    print_slice(slice_of(text));
}

static void print_row(const PGresult *result, int row)
{
    print_field("", result, row, COLUMN_LAST);
    print_field(" ", result, row, COLUMN_STORE);
    print_field(" ", result, row, COLUMN_CN);
    print_field(": ", result, row, COLUMN_COUNT);
    print_field(" since ", result, row, COLUMN_FIRST);
    print_field(", as ", result, row, COLUMN_FROM);
    print_field(", from ", result, row, COLUMN_ADDRESS);
    print_field(", ", result, row, COLUMN_REASON);
    putchar('\n');
}

static json_t *row_document(const PGresult *result, int row)
{
    json_t *document = output_object();

    for (enum column c = COLUMN_STORE; c <= COLUMN_REASON; c++) {
        struct slice text = slice_of(value(result, row, c));
        bool none = text.size == 0;
        output_set(document, NAMES[c],
                   none                ? json_null()
                   : c == COLUMN_COUNT ? output_value(text)
                                       : output_text(text));
    }
    return document;
}

static enum status list(const struct settings *settings, const struct arguments *arguments,
                        PGconn *connection)
{
    uint64_t limit = 1000;
    char text[24];
    const char *values[2] = { option_text(arguments, UNMAPPED_STORE, NULL), text };
    PGresult *result;

    if (!option_number(arguments, UNMAPPED_LIMIT, 1, 1000000, &limit))
        return STATUS_USAGE;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)limit);
    result = postgres_query_with(connection, LIST, values, 2);
    if (result == NULL)
        return STATUS_BAD;
    if (settings->json) {
        json_t *documents = output_array();
        for (int row = 0; row < PQntuples(result); row++)
            output_append(documents, row_document(result, row));
        output_document(documents);
    } else {
        for (int row = 0; row < PQntuples(result); row++)
            print_row(result, row);
    }
    PQclear(result);
    return STATUS_GOOD;
}

static void print_adopted(const struct settings *settings, const PGresult *result)
{
    json_t *document, *identities;

    if (!settings->json) {
        for (int row = 0; row < PQntuples(result); row++) {
            for (int column = 0; column < 3; column++) {
                print_slice(slice_of(PQgetvalue(result, row, column)));
                putchar(column < 2 ? ' ' : '\n');
            }
        }
        return;
    }
    document = output_object();
    identities = output_array();
    output_set(document, "trust_store", output_text(slice_of(PQgetvalue(result, 0, 0))));
    output_set(document, "cn", output_text(slice_of(PQgetvalue(result, 0, 1))));
    for (int row = 0; row < PQntuples(result); row++)
        output_append(identities, output_text(slice_of(PQgetvalue(result, row, 2))));
    output_set(document, "identities", identities);
    output_document(document);
}

static enum status adopt(const struct settings *settings, const struct arguments *arguments,
                         PGconn *connection)
{
    const char *store = option_text(arguments, UNMAPPED_STORE, "device");
    const char *cn = arguments->operands[1];
    json_t *identities = output_array();
    char *text;
    PGresult *result;
    enum status status = STATUS_BAD;

    for (size_t i = 2; i < arguments->operand_count; i++)
        output_append(identities, output_text(slice_of(arguments->operands[i])));
    text = json_dumps(identities, JSON_COMPACT);
    json_decref(identities);
    if (text == NULL) {
        complain("out of memory");
        return STATUS_BAD;
    }
    result = postgres_query_with(connection, ADOPT, (const char *[]){ store, cn, text }, 3);
    free(text);
    if (result == NULL)
        return STATUS_BAD;
    if (PQntuples(result) == 0) {
        complain("%s of trust store %s is not among the devices that were refused: mapctl unmapped "
                 "lists them",
                 cn, store);
    } else {
        print_adopted(settings, result);
        status = STATUS_GOOD;
    }
    PQclear(result);
    return status;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    bool adopts = arguments->operand_count > 0;
    PGconn *connection;
    enum status status;

    if (adopts && (strcmp(arguments->operands[0], "adopt") != 0 || arguments->operand_count < 3)) {
        complain("write: mapctl unmapped, or mapctl unmapped adopt CN IDENTITY...");
        return STATUS_USAGE;
    }
    connection = postgres_open(settings->database);
    if (connection == NULL)
        return STATUS_UNREACHABLE;
    status =
        adopts ? adopt(settings, arguments, connection) : list(settings, arguments, connection);
    PQfinish(connection);
    return status;
}

static const struct option_row OPTIONS[] = {
    { UNMAPPED_STORE, "store", VALUE_TEXT, "STORE",
      "only devices of this trust store; of the CN to adopt, else device" },
    { UNMAPPED_LIMIT, "limit", VALUE_TEXT, "ROWS", "the newest so many; else 1000" },
    { 0 },
};

const struct command command_unmapped = {
    .name = "unmapped",
    .operands = "[adopt CN IDENTITY...]",
    .operand_kind = VALUE_TEXT,
    .operands_min = 0,
    .operands_max = 66,
    .brief = "devices that were refused because they have no mapping",
    .help = "One line a device, the newest first: when it was seen last, trust store and CN, how "
            "often since when, as whom, from where.\n"
            "adopt gives one of them its identities, in any spelling; it may register at once and "
            "leaves the list.",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
