/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and queries for one operator at a time. */
#include "mapctl/postgres.h"

#include "common/clock.h"
#include "mapctl/command.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* libpq's messages end with a line break. */
static void complain_libpq(const char *what, const char *message)
{
    complain("%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

/* The DETAIL of these names the columns of a key. That of others shows a row whole, hashes and all.
 */
static bool detail_is_a_key(const char *state)
{
    static const char FOREIGN_KEY[] = "23503", UNIQUE[] = "23505";

    return state != NULL && (strcmp(state, FOREIGN_KEY) == 0 || strcmp(state, UNIQUE) == 0);
}

/* What to do, where the server itself has no hint. */
static const char *our_hint(const char *state, const char *message)
{
    static const char DENIED[] = "42501", NO_TABLE[] = "42P01", NO_FUNCTION[] = "42883";

    if (state == NULL)
        return NULL;
    if (strcmp(state, NO_TABLE) == 0 || strcmp(state, NO_FUNCTION) == 0)
        return "is it the right database? If so: mapctl migrate";
    /* Row security, which has the same state, says what it means. */
    if (strcmp(state, DENIED) == 0 && strncmp(message, "permission denied", 17) == 0)
        return "it takes a role that has holdline_admin";
    return NULL;
}

void postgres_complain(PGconn *connection, const PGresult *result, const char *what)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *detail =
        detail_is_a_key(state) ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;

    if (message == NULL)
        message = PQerrorMessage(connection);
    if (hint == NULL)
        hint = our_hint(state, message);
    complain("%s: %.*s%s%s%s%s", what, (int)strcspn(message, "\n"), message, detail ? "; " : "",
             detail ? detail : "", hint ? "; " : "", hint ? hint : "");
}

PGconn *postgres_open(const char *conninfo)
{
    static const char *const KEYWORDS[] = { "fallback_application_name", "connect_timeout",
                                            "dbname", NULL };
    const char *const values[] = { "mapctl", "5", conninfo, NULL };
    PGconn *connection = PQconnectdbParams(KEYWORDS, values, 1);

    if (PQstatus(connection) == CONNECTION_OK) {
        PQclear(postgres_run(connection, "SET statement_timeout = '10s'"));
        return connection;
    }
    complain_libpq("the database does not answer", PQerrorMessage(connection));
    PQfinish(connection);
    return NULL;
}

bool postgres_export(const char *conninfo)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &message);
    bool done = options != NULL;

    if (options == NULL)
        complain_libpq("--database", message ? message : "out of memory");
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val != NULL && o->envvar != NULL && setenv(o->envvar, o->val, 1) != 0)
            done = false;
        if (o->val != NULL && o->envvar == NULL) {
            complain("--database: %s can't be handed on to sqitch; leave it out", o->keyword);
            done = false;
        }
    }
    PQconninfoFree(options);
    PQfreemem(message);
    return done;
}

/* Waits for the whole answer; false: it did not come in time. */
static bool await(PGconn *connection)
{
    uint64_t due_mono_ms = clock_mono_ms() + POSTGRES_TIMEOUT_MS;
    struct pollfd wait = { .fd = PQsocket(connection), .events = POLLIN };

    while (PQisBusy(connection)) {
        uint64_t now = clock_mono_ms();
        int ready = now < due_mono_ms ? poll(&wait, 1, (int)(due_mono_ms - now)) : 0;
        if (ready == 0 || (ready < 0 && errno != EINTR))
            return false;
        if (ready > 0 && !PQconsumeInput(connection))
            return true; /* PQgetResult() tells */
    }
    return true;
}

/* Of what was sent: the last result of several. NULL: no answer in time. */
static PGresult *take_result(PGconn *connection)
{
    PGresult *result = NULL, *next;

    while (await(connection)) {
        next = PQgetResult(connection);
        if (next == NULL)
            return result;
        PQclear(result);
        result = next;
    }
    PQclear(result);
    return NULL;
}

PGresult *postgres_run(PGconn *connection, const char *query)
{
    return PQsendQuery(connection, query) ? take_result(connection) : NULL;
}

/* Takes the result over. */
static PGresult *must_be_rows(PGconn *connection, PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    if (result == NULL && PQtransactionStatus(connection) == PQTRANS_ACTIVE)
        complain("the database does not answer a query within %d s", POSTGRES_TIMEOUT_MS / 1000);
    else
        postgres_complain(connection, result, "the database refuses a query");
    PQclear(result);
    return NULL;
}

PGresult *postgres_query(PGconn *connection, const char *query)
{
    return must_be_rows(connection, postgres_run(connection, query));
}

PGresult *postgres_query_with(PGconn *connection, const char *query, const char *const *values,
                              int count)
{
    PGresult *result = PQsendQueryParams(connection, query, count, NULL, values, NULL, NULL, 0)
                           ? take_result(connection)
                           : NULL;

    return must_be_rows(connection, result);
}

/* Above this, counting costs more than it tells. */
#define COUNT_MAX "100000"

/* A partitioned table once. */
static const char COUNTS[] =
    "SELECT c.relname, c.reltuples > " COUNT_MAX ", CASE WHEN c.reltuples > " COUNT_MAX
    " THEN c.reltuples::bigint::text"
    " ELSE (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM public.%I %s',"
    " c.relname, CASE c.relname WHEN 'binding' THEN 'WHERE NOT removed AND expires_at > now()'"
    " ELSE '' END), false, true, '')))[1]::text END"
    " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
    " AND NOT c.relispartition AND has_table_privilege(c.oid, 'SELECT') ORDER BY c.relname";

PGresult *postgres_counts(PGconn *connection)
{
    return postgres_query(connection, COUNTS);
}
