/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL as mapctl needs it: blocking, with time limits, complaints on standard error. */
#ifndef HOLDLINE_MAPCTL_POSTGRES_H
#define HOLDLINE_MAPCTL_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>

/* A connection by `conninfo` over the PG… environment; PQfinish() ends it. NULL: already said. */
PGconn *postgres_open(const char *conninfo);

/* Puts what `conninfo` says into the PG… environment, for programs that this one starts. False: it
 * is no connection text; already said. */
bool postgres_export(const char *conninfo);

/* Runs a query without parameters; PQclear() ends the result. NULL: already said. */
PGresult *postgres_query(PGconn *connection, const char *query);

#endif
