/* SPDX-License-Identifier: Apache-2.0 */
/* Every SQL statement of mapperd, with its parameters and columns. */
#ifndef HOLDLINE_MAPPERD_STATEMENTS_H
#define HOLDLINE_MAPPERD_STATEMENTS_H

#include "mapperd/database.h"

/* Asked on each connection before anything else. → system id int8, database oid, in recovery,
 * snapshot text, start of the server, WAL position, position that a standby's reader starts from */
extern const struct database_statement STATEMENT_HELLO;
/* $1 position (pg_snapshot text), $2 xid8[] text in ascending order, $3 int8[] text, $4 system id,
 * $5 database oid: → position not below the floor, not ahead, statements missing, of these
 * contradicted
 */
extern const struct database_statement STATEMENT_HISTORY;
/* The newest statements, for a store that is filled now: → xid, stamp */
extern const struct database_statement STATEMENT_RECENT;
/* $1 position, on a standby: → still in recovery, next position, it is below what is visible */
extern const struct database_statement STATEMENT_PENDING;
/* $1 position, $2 system id, $3 database oid, $4 mapperd id, $5 xid8 that the rows lie below, or
 * NULL, $6 the next position if it is known, or NULL: → snapshot, lsn, counter, xid, stamp, kind,
 * key; at least one row */
extern const struct database_statement STATEMENT_POLL;
extern const struct database_statement STATEMENT_PEEK; /* the same, at most POLL_ROWS rows */
extern const struct database_statement STATEMENT_LSN;  /* → lsn */
extern const struct database_statement STATEMENT_LISTEN;
/* → digest of what structure.h says (32 digits), tables of it whose changes no trigger logs */
extern const struct database_statement STATEMENT_STRUCTURE;

/* Keys read again; $n are text[]; one row a key asked for, in the shape of the fill statements. */
extern const struct database_statement STATEMENT_READ_TRUST, STATEMENT_READ_DOMAIN,
    STATEMENT_READ_RULES, STATEMENT_READ_USER, STATEMENT_READ_PEER, STATEMENT_READ_CREDENTIAL,
    STATEMENT_READ_BLOCKED, STATEMENT_READ_BINDING;
/* Ranges: behind the key $1 (and $2, …), at most $last rows. */
extern const struct database_statement STATEMENT_FILL_TRUST, STATEMENT_FILL_DOMAIN,
    STATEMENT_FILL_RULES, STATEMENT_FILL_USER, STATEMENT_FILL_PEER, STATEMENT_FILL_CREDENTIAL,
    STATEMENT_FILL_BLOCKED, STATEMENT_FILL_BINDING;

/* The same in steps of COMPARE_ROWS; bindings by AoR alone. */
#define COMPARE_ROWS 500
#define FILL_ROWS    5000
extern const struct database_statement STATEMENT_COMPARE_TRUST, STATEMENT_COMPARE_DOMAIN,
    STATEMENT_COMPARE_RULES, STATEMENT_COMPARE_USER, STATEMENT_COMPARE_PEER,
    STATEMENT_COMPARE_CREDENTIAL, STATEMENT_COMPARE_BLOCKED, STATEMENT_COMPARE_BINDING;

/* What is asked many times a second on each connection, and to be prepared there; NULL ends. */
extern const struct database_statement *const STATEMENTS_OF_LOG[],
    *const STATEMENTS_OF_KEYS[], *const STATEMENTS_OF_BINDINGS[];

/* $1 name: → id */
extern const struct database_statement STATEMENT_ENROL;
/* $1 id, $2 counter, $3 position or NULL */
extern const struct database_statement STATEMENT_COUNTER;
/* $1 seconds to keep, $2 rows at most: → rows deleted */
extern const struct database_statement STATEMENT_PRUNE;
/* $1 AoR, $2 device key, $3 instance key of the row to go on behind, $4 rows to look at: → the last
 * one's key, rows deleted; or no row */
extern const struct database_statement STATEMENT_PURGE_BINDINGS;
extern const struct database_statement STATEMENT_STANDING_BINDINGS, STATEMENT_BIND,
    STATEMENT_UNBIND_ONE, STATEMENT_UNBIND_DEVICE, STATEMENT_UNBIND_ALL;

/* Columns of one row a device: store, cn, first and last time in ms, count, from, address, reason
 */
extern const struct database_statement STATEMENT_REPORT_SETTINGS, STATEMENT_REPORT, STATEMENT_TIDY;

#endif
