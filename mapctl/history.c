/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl history: who changed what of a device or a user, and when, from the table audit. */
#include "mapctl/commands.h"
#include "mapctl/postgres.h"

#include "common/buffer.h"

#include <stdio.h>
#include <string.h>

enum { HISTORY_STORE = 1, HISTORY_USER, HISTORY_LIMIT };

enum column {
    COLUMN_AT,
    COLUMN_ID,
    COLUMN_XID,
    COLUMN_WHO,
    COLUMN_ROLE,
    COLUMN_APPLICATION,
    COLUMN_CLIENT,
    COLUMN_OPERATION,
    COLUMN_TABLE,
    COLUMN_STORE,
    COLUMN_CN,
    COLUMN_IDENTITY,
    COLUMN_DOMAIN,
    COLUMN_NAME,
    COLUMN_BEFORE,
    COLUMN_AFTER
};

static const char *const NAMES[] = {
    [COLUMN_AT] = "at",         [COLUMN_ID] = "id",
    [COLUMN_XID] = "xid",       [COLUMN_WHO] = "who",
    [COLUMN_ROLE] = "role",     [COLUMN_APPLICATION] = "application",
    [COLUMN_CLIENT] = "client", [COLUMN_OPERATION] = "operation",
    [COLUMN_TABLE] = "table",   [COLUMN_STORE] = "trust_store",
    [COLUMN_CN] = "cn",         [COLUMN_IDENTITY] = "identity",
    [COLUMN_DOMAIN] = "domain", [COLUMN_NAME] = "name",
    [COLUMN_BEFORE] = "before", [COLUMN_AFTER] = "after",
};

#define COLUMNS                                                                           \
    "SELECT to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), a.id," \
    " a.xid, a.who, a.role, a.application, host(a.client), a.operation, a.table_name,"    \
    " a.trust_store, a.cn, a.identity, a.domain, a.name, a.before, a.after"               \
    " FROM public.audit a WHERE "

/* The newest `limit` rows, the newest first. NULL: already said. */
static PGresult *ask(PGconn *connection, const struct arguments *arguments, uint64_t limit)
{
    const char *named = arguments->operands[0];
    const char *store = option_text(arguments, HISTORY_STORE, "device");
    char *quoted = PQescapeLiteral(connection, named, strlen(named));
    char *in_store = PQescapeLiteral(connection, store, strlen(store));
    struct buffer query;
    PGresult *result = NULL;

    if (quoted == NULL || in_store == NULL) {
        complain("%s can't be asked for: %s", named, PQerrorMessage(connection));
    } else {
        buffer_init(&query, 0);
        buffer_add_text(&query, COLUMNS);
        if (option_given(arguments, HISTORY_USER)) {
            buffer_add_text(&query, "a.identity = public.identity_canonical(");
            buffer_add_text(&query, quoted);
            buffer_add_text(&query, ")");
        } else {
            buffer_add_text(&query, "a.trust_store = ");
            buffer_add_text(&query, in_store);
            buffer_add_text(&query, " AND a.cn = public.device_cn(");
            buffer_add_text(&query, quoted);
            buffer_add_text(&query, ", ");
            buffer_add_text(&query, in_store);
            buffer_add_text(&query, ")");
        }
        buffer_add_text(&query, " ORDER BY a.at DESC, a.id DESC LIMIT ");
        buffer_add_u64(&query, limit);
        buffer_add_char(&query, '\0');
        if (query.failed)
            complain("out of memory");
        else
            result = postgres_query(connection, buffer_slice(&query).data);
        buffer_free(&query);
    }
    PQfreemem(quoted);
    PQfreemem(in_store);
    return result;
}

static const char *value(const PGresult *result, int row, enum column column)
{
    return PQgetvalue(result, row, (int)column);
}

static void print_value(const char *before, const PGresult *result, int row, enum column column)
{
    if (PQgetisnull(result, row, (int)column) || value(result, row, column)[0] == '\0')
        return;
    fputs(before, stdout);
    print_slice(slice_of(value(result, row, column)));
}

/* One line: when, who, what, before and after. */
static void print_row(const PGresult *result, int row)
{
    print_value("", result, row, COLUMN_AT);
    print_value(" ", result, row, COLUMN_WHO);
    if (strcmp(value(result, row, COLUMN_ROLE), "none") != 0)
        print_value(" as ", result, row, COLUMN_ROLE);
    print_value(" from ", result, row, COLUMN_CLIENT);
    print_value(" with ", result, row, COLUMN_APPLICATION);
    print_value(": ", result, row, COLUMN_OPERATION);
    print_value(" ", result, row, COLUMN_TABLE);
    for (enum column c = COLUMN_STORE; c <= COLUMN_NAME; c++)
        print_value(" ", result, row, c);
    print_value(", before ", result, row, COLUMN_BEFORE);
    print_value(", after ", result, row, COLUMN_AFTER);
    putchar('\n');
}

static json_t *row_document(const PGresult *result, int row)
{
    json_t *document = output_object();

    for (enum column c = COLUMN_AT; c <= COLUMN_AFTER; c++) {
        bool none = PQgetisnull(result, row, (int)c) == 1;
        json_t *item = NULL;
        if (!none && (c == COLUMN_BEFORE || c == COLUMN_AFTER))
            item = json_loads(value(result, row, c), 0, NULL);
        else if (!none && (c == COLUMN_ID || c == COLUMN_XID))
            item = output_value(slice_of(value(result, row, c)));
        else
            item = output_text_or_null(none ? NULL : value(result, row, c));
        output_set(document, NAMES[c], item ? item : json_null());
    }
    return document;
}

static enum status print_history(const struct settings *settings, const PGresult *result,
                                 const char *named)
{
    int rows = PQntuples(result);

    if (settings->json) {
        json_t *documents = output_array();
        for (int row = rows - 1; row >= 0; row--)
            output_append(documents, row_document(result, row));
        output_document(documents);
    } else {
        for (int row = rows - 1; row >= 0; row--)
            print_row(result, row);
    }
    if (rows == 0)
        complain("nothing is known of changes of %s", named);
    return rows > 0 ? STATUS_GOOD : STATUS_BAD;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    uint64_t limit = 1000;
    PGconn *connection;
    PGresult *result;
    enum status status = STATUS_BAD;

    if (!option_number(arguments, HISTORY_LIMIT, 1, 1000000, &limit))
        return STATUS_USAGE;
    connection = postgres_open(settings->database);
    if (connection == NULL)
        return STATUS_UNREACHABLE;
    result = ask(connection, arguments, limit);
    if (result != NULL)
        status = print_history(settings, result, arguments->operands[0]);
    PQclear(result);
    PQfinish(connection);
    return status;
}

static const struct option_row OPTIONS[] = {
    { HISTORY_STORE, "store", VALUE_TEXT, "STORE", "trust store of the CN; else device" },
    { HISTORY_USER, "user", VALUE_NONE, NULL,
      "the operand is an identity: what happened to this user, and to whom it was mapped" },
    { HISTORY_LIMIT, "limit", VALUE_TEXT, "ROWS", "the newest so many; else 1000" },
    { 0 },
};

const struct command command_history = {
    .name = "history",
    .operands = "CN",
    .operand_kind = VALUE_TEXT,
    .operands_min = 1,
    .operands_max = 1,
    .brief = "who changed what of a device, and when",
    .help = "CN may be written in any spelling. One line a change, the oldest first, with what was "
            "there before and after it.",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
