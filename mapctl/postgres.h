/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL as mapctl needs it: blocking, with time limits, complaints on standard error. */
#ifndef HOLDLINE_MAPCTL_POSTGRES_H
#define HOLDLINE_MAPCTL_POSTGRES_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Longer than the statement_timeout that is set on every connection: this is for a server that
 * stands still. */
#define POSTGRES_TIMEOUT_MS 15000

/* A connection by `conninfo` over the PG… environment; PQfinish() ends it. NULL: already said. */
PGconn *postgres_open(const char *conninfo);

/* Says what went wrong: the first line of the message, its HINT, and its DETAIL where that can hold
 * no secret. NULL for `result`: what the connection says. */
void postgres_complain(PGconn *connection, const PGresult *result, const char *what);

/* Puts what `conninfo` says into the PG… environment, for programs that this one starts. False: it
 * is no connection text; already said. */
bool postgres_export(const char *conninfo);

/* Runs a statement without parameters and gives what libpq says of it, the last result of several;
 * PQclear() ends it. NULL: it could not be sent, or no answer came within POSTGRES_TIMEOUT_MS; then
 * the connection is of no more use. */
PGresult *postgres_run(PGconn *connection, const char *query);

/* The same for a query that must give rows. NULL: already said. */
PGresult *postgres_query(PGconn *connection, const char *query);

/* The same with $1 to $`count` bound: text, or NULL. What is bound stands in no error message. */
PGresult *postgres_query_with(PGconn *connection, const char *query, const char *const *values,
                              int count);

/* Rows of name, estimated ('t' or 'f') and count of every table of ours that this role may read; of
 * registrations those that stand. NULL: already said. */
PGresult *postgres_counts(PGconn *connection);

#endif
