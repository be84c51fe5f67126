/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and queries for one operator at a time. */
#include "mapctl/postgres.h"

#include "mapctl/command.h"

#include <stdlib.h>
#include <string.h>

/* libpq's messages end with a line break. */
static void complain_libpq(const char *what, const char *message)
{
    complain("%s: %.*s", what, (int)strcspn(message, "\n"), message);
}

PGconn *postgres_open(const char *conninfo)
{
    static const char *const KEYWORDS[] = { "fallback_application_name", "connect_timeout",
                                            "dbname", NULL };
    const char *const values[] = { "mapctl", "5", conninfo, NULL };
    PGconn *connection = PQconnectdbParams(KEYWORDS, values, 1);

    if (PQstatus(connection) == CONNECTION_OK) {
        PQclear(PQexec(connection, "SET statement_timeout = '10s'"));
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

PGresult *postgres_query(PGconn *connection, const char *query)
{
    PGresult *result = PQexec(connection, query);

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    complain_libpq("the database refuses a query", PQresultErrorMessage(result));
    PQclear(result);
    return NULL;
}
