/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to PostgreSQL on a libev loop: never blocks, each wait has a deadline, parameters
 * are always bound. Results are binary. Belongs to the feed thread.
 *
 *   CLOSED → CONNECTING → IDLE ⇄ BUSY, any → CLOSED
 * A connection that misses a deadline, breaks or returns an error that its owner did not ask for is
 * closed, and `lost` is called once. The owner opens it again when it sees fit. */
#ifndef HOLDLINE_MAPPERD_DATABASE_H
#define HOLDLINE_MAPPERD_DATABASE_H

#include "common/error.h"
#include "common/slice.h"

#include <ev.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

enum database_state { DATABASE_CLOSED, DATABASE_CONNECTING, DATABASE_IDLE, DATABASE_BUSY };

/* Parameters of one statement; text ones may hold any byte but NUL. */
#define DATABASE_PARAMETERS_MAX 24
struct database_parameters {
    const char *values[DATABASE_PARAMETERS_MAX];
    int sizes[DATABASE_PARAMETERS_MAX];
    int formats[DATABASE_PARAMETERS_MAX]; /* 0 text (NUL-terminated), 1 binary */
    int count;
};
void database_add_text(struct database_parameters *p, const char *text); /* NULL = SQL NULL */
void database_add_binary(struct database_parameters *p, struct slice bytes);

/* Statements with a plan of their own on a connection. */
#define DATABASE_PREPARED_MAX 24

#define DATABASE_HELD_MAX 8

struct database;
struct database_owner {
    void (*connected)(struct database *db);
    /* One result of a statement; NULL: the statement has ended. The result is the callee's to read,
     * not to clear. In pipeline mode a PGRES_PIPELINE_SYNC is handed over too. Errors: see
     * `errors_are_results`. */
    void (*result)(struct database *db, const PGresult *result);
    void (*notified)(struct database *db);
    void (*lost)(struct database *db, const char *why);
};

struct database {
    enum database_state state;
    const char *name; /* for logs: "log", "keys", "bindings" */
    PGconn *pg;
    struct ev_loop *loop;
    ev_io read, write;
    ev_timer deadline;
    double statement_deadline_s;
    bool single_rows;        /* of the statement under way */
    bool errors_are_results; /* an error result goes to the owner instead of closing the connection
                              */
    bool awaiting;           /* a statement's end has not been seen */
    bool handling;           /* inside of the owner's callback: closing is put off to its return */
    bool close_wanted;
    unsigned waiting_syncs;            /* pipeline mode: syncs sent and not yet seen */
    PGresult *held[DATABASE_HELD_MAX]; /* taken in, not yet handed over */
    unsigned held_count, held_syncs;
    const struct database_statement *prepared[DATABASE_PREPARED_MAX];
    size_t prepared_count;
    bool preparing;      /* the server is at database_prepare() */
    bool leave_pipeline; /* … which began the pipeline mode that it was sent in */
    struct database_owner owner;
    void *context;
};

void database_init(struct database *db, const char *name, struct ev_loop *loop,
                   struct database_owner owner, void *context);
/* Begins to connect with a conninfo text, of several hosts with the one at `turn`; `connected` or
 * `lost` follows, also for an immediate failure (from the loop, never from here). */
void database_open(struct database *db, const char *conninfo, unsigned turn, double deadline_s);
/* Closes without a word to the owner. */
void database_close(struct database *db);

/* Sends one statement; the connection must be IDLE. SQL is a constant with a name. */
struct database_statement {
    const char *name, *sql;
};
enum error database_send(struct database *db, const struct database_statement *statement,
                         const struct database_parameters *parameters, bool single_rows,
                         double deadline_s) MUST_CHECK;

/* From here on until this connection is closed the server parses and plans these no more, which
 * costs more than to run them. The connection must be IDLE; `result` is called once, with NULL. */
enum error database_prepare(struct database *db, const struct database_statement *const *statements,
                            size_t count, double deadline_s) MUST_CHECK;

/* Pipeline mode: any number of statements, then database_sync(). The connection is BUSY until all
 * syncs have come. */
enum error database_pipeline_start(struct database *db) MUST_CHECK;
enum error database_pipeline_add(struct database *db, const struct database_statement *statement,
                                 const struct database_parameters *parameters) MUST_CHECK;
enum error database_sync(struct database *db, double deadline_s) MUST_CHECK;

/* Takes in what has arrived of the answers behind the one that is handed over now, so that the
 * server does not wait for room in the socket while this one is worked through. Gives the result
 * that will be handed over `place` results after the next one, NULL when it is not there yet or is
 * a statement's end; it stays the connection's. Pipeline mode. */
const PGresult *database_take_in(struct database *db, unsigned place);

/* Reading binary columns. Each checks NULL and size; a wrong size is ERROR_MALFORMED. */
struct slice database_text(const PGresult *result, int row, int column); /* '' for NULL */
bool database_is_null(const PGresult *result, int row, int column);
enum error database_i64(const PGresult *result, int row, int column, int64_t *value) MUST_CHECK;
enum error database_u64(const PGresult *result, int row, int column,
                        uint64_t *value) MUST_CHECK; /* int8, int4, xid8, oid */
bool database_true(const PGresult *result, int row, int column);

/* A one-dimensional text[]: walk with database_array_next(). NULL and empty have no elements; a
 * NULL element is ''. */
struct database_array {
    struct slice rest;
    uint32_t left;
};
enum error database_array(const PGresult *result, int row, int column,
                          struct database_array *array) MUST_CHECK;
bool database_array_next(struct database_array *array, struct slice *element);

#endif
