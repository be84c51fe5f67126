/* SPDX-License-Identifier: Apache-2.0 */
/* Staging and writing a list. */
#include "mapctl/import_load_internal.h"

#include "mapctl/output.h"
#include "mapctl/postgres.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_CHUNK (64 * 1024)
/* Some fifty thousand mappings a statement: enough that its triggers cost nothing by the row, few
 * enough that their transition tables stay small and progress is seen. */
#define PAGES_EACH 512

#define QUERY_CANCELED   "57014" /* by our own interrupt: the caller says so */
#define UNIQUE_VIOLATION "23505"

/* ---- Statements ---- */

static bool has_state(const PGresult *result, const char *state)
{
    const char *has = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return has != NULL && strcmp(has, state) == 0;
}

static bool failed(struct load *load, PGresult *result)
{
    if (!has_state(result, QUERY_CANCELED))
        postgres_complain(load->connection, result, "the database refuses");
    PQclear(result);
    return false;
}

static bool good(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK;
}

static PGresult *run(struct load *load, const char *statement, const char *second,
                     const char *third)
{
    const char *values[] = { load->store, second, third };
    int count = third ? 3 : second ? 2 : 1;

    return PQexecParams(load->connection, statement, count, NULL, values, NULL, NULL, 0);
}

PGresult *load_run(struct load *load, const char *statement, const char *second, const char *third)
{
    PGresult *result = run(load, statement, second, third);

    if (good(result))
        return result;
    failed(load, result);
    return NULL;
}

bool load_run_plain(struct load *load, const char *statements)
{
    PGresult *result = PQexec(load->connection, statements);

    if (!good(result))
        return failed(load, result);
    PQclear(result);
    return true;
}

uint64_t load_number_at(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

/* ---- Open ---- */

static const char FORM[] =
    "SELECT s.cn_form, p.prefix, row_security_active('public.cn_mapping')"
    " AND NOT pg_has_role(current_user, 'holdline_admin', 'USAGE') FROM public.trust_store s"
    " LEFT JOIN unnest(s.cn_prefixes) WITH ORDINALITY p (prefix, place) ON true"
    " WHERE s.name = $1 ORDER BY p.place";
static const char STORES[] =
    "SELECT coalesce(string_agg(name, ', ' ORDER BY name), 'none') FROM public.trust_store"
    " WHERE $1::text IS NOT NULL";

static enum status complain_of_store(struct load *load)
{
    PGresult *stores = load_run(load, STORES, NULL, NULL);
    char shown[LIST_SHOWN_MAX];

    if (stores != NULL)
        complain("there is no trust store %s; write one of: %s",
                 list_shown(slice_of(load->store), shown), PQgetvalue(stores, 0, 0));
    PQclear(stores);
    return STATUS_USAGE;
}

static enum status read_form(struct load *load)
{
    PGresult *result = load_run(load, FORM, NULL, NULL);

    load->form_result = result;
    if (result == NULL)
        return STATUS_BAD;
    if (PQntuples(result) == 0)
        return complain_of_store(load);
    load->form.form = strcmp(PQgetvalue(result, 0, 0), "mac") == 0     ? CN_FORM_MAC
                      : strcmp(PQgetvalue(result, 0, 0), "exact") == 0 ? CN_FORM_EXACT
                                                                       : CN_FORM_NONE;
    load->tenant = *PQgetvalue(result, 0, 2) == 't';
    for (int i = 0; i < PQntuples(result) && i < LIST_PREFIXES_MAX; i++) {
        if (!PQgetisnull(result, i, 1))
            load->form.prefixes[load->form.prefix_count++] = slice_of(PQgetvalue(result, i, 1));
    }
    return STATUS_GOOD;
}

enum status load_open(struct load *load, const char *database, const char *store)
{
    *load = (struct load){ .store = store };
    buffer_init(&load->copy, 0);
    load->connection = postgres_open(database);
    if (load->connection == NULL)
        return STATUS_UNREACHABLE;
    return read_form(load);
}

void load_close(struct load *load)
{
    PQclear(load->form_result);
    if (load->connection != NULL)
        PQfinish(load->connection);
    buffer_free(&load->copy);
    list_seen_free(&load->cns);
    list_seen_free(&load->identities);
    *load = (struct load){ .connection = NULL };
}

/* ---- Staging ---- */

/* A list is sorted and joined as a whole; no statement here is bounded in time but by its reader,
 * who can stop it. Compiled to machine code, each would take longer to compile than it saves. */
static const char BEGIN[] =
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
    "SET client_encoding = 'UTF8'; SET temp_buffers = '32MB';"
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off;"
    "CREATE TEMPORARY TABLE import_list (line bigint NOT NULL, cn text COLLATE \"C\" NOT NULL,"
    " identity text COLLATE \"C\" NOT NULL, label text, site text) ON COMMIT DROP;"
    "CREATE TEMPORARY TABLE import_add (line bigint, cn text COLLATE \"C\","
    " identity text COLLATE \"C\") ON COMMIT DROP;"
    "CREATE TEMPORARY TABLE import_remove (cn text COLLATE \"C\", identity text COLLATE \"C\")"
    " ON COMMIT DROP;"
    "CREATE TEMPORARY TABLE import_place (cn text COLLATE \"C\", label text, site text)"
    " ON COMMIT DROP";

bool load_begin(struct load *load)
{
    if (list_seen_init(&load->cns) != ERROR_NONE ||
        list_seen_init(&load->identities) != ERROR_NONE) {
        complain("out of memory");
        return false;
    }
    return load_run_plain(load, BEGIN);
}

/* With the first row it is known which columns the list has. */
static bool begin_copy(struct load *load, const struct list_row *row)
{
    char copy[128];
    PGresult *result;

    load->has_label = row->has_label;
    load->has_site = row->has_site;
    snprintf(copy, sizeof(copy), "COPY pg_temp.import_list (line, cn, identity%s%s) FROM STDIN",
             row->has_label ? ", label" : "", row->has_site ? ", site" : "");
    result = PQexec(load->connection, copy);
    if (PQresultStatus(result) != PGRES_COPY_IN)
        return failed(load, result);
    PQclear(result);
    load->copying = true;
    return true;
}

static bool send_copy(struct load *load)
{
    struct slice rows = buffer_slice(&load->copy);

    if (load->copy.failed) {
        complain("out of memory");
        return false;
    }
    if (PQputCopyData(load->connection, rows.data, (int)rows.size) != 1) {
        postgres_complain(load->connection, NULL, "the database refuses");
        return false;
    }
    buffer_reset(&load->copy);
    return true;
}

/* Control characters are refused before; the backslash is all that COPY reads otherwise. */
static void add_copied(struct buffer *copy, struct slice value)
{
    const char *at;

    while (value.size > 0 && (at = memchr(value.data, '\\', value.size)) != NULL) {
        size_t size = (size_t)(at - value.data) + 1;
        buffer_add(copy, (struct slice){ value.data, size });
        buffer_add_char(copy, '\\');
        value.data += size;
        value.size -= size;
    }
    buffer_add(copy, value);
}

/* Stands with the first identity of its line; NULL elsewhere. */
static void add_place(struct buffer *copy, struct slice text, bool first)
{
    buffer_add_char(copy, '\t');
    if (first)
        add_copied(copy, text);
    else
        buffer_add_text(copy, "\\N");
}

bool load_add(struct load *load, const struct list_row *row)
{
    if (!load->copying && !begin_copy(load, row))
        return false;
    load->devices++;
    load->cn_repeated = list_seen_add(&load->cns, row->cn) || load->cn_repeated;
    for (size_t i = 0; i < row->identity_count; i++) {
        struct slice identity = row->identities[i];
        load->mappings++;
        load->identity_repeated =
            list_seen_add(&load->identities, identity) || load->identity_repeated;
        buffer_add_u64(&load->copy, row->line);
        buffer_add_char(&load->copy, '\t');
        add_copied(&load->copy, row->cn);
        buffer_add_char(&load->copy, '\t');
        add_copied(&load->copy, identity);
        if (load->has_label)
            add_place(&load->copy, row->label, i == 0);
        if (load->has_site)
            add_place(&load->copy, row->site, i == 0);
        buffer_add_char(&load->copy, '\n');
        if (!memchr(identity.data, '@', identity.size) &&
            !memchr(identity.data, '.', identity.size))
            load->has_words = true;
    }
    return buffer_size(&load->copy) < COPY_CHUNK || send_copy(load);
}

bool load_stage(struct load *load)
{
    PGresult *result;

    if (!load->copying)
        return true; /* an empty list */
    if (!send_copy(load) || PQputCopyEnd(load->connection, NULL) != 1)
        return false;
    result = PQgetResult(load->connection);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return failed(load, result);
    PQclear(result);
    while ((result = PQgetResult(load->connection)) != NULL)
        PQclear(result);
    return load_run_plain(load, "ANALYZE pg_temp.import_list");
}

/* ---- Writing ---- */

/* Canonical values, and user_identity where the domain is ours: triggers then have nothing to do by
 * the row. No join, which might change the order. What was added goes before what is removed: a
 * device whose new mapping covers what an old one covered keeps its registrations. */
#define INSERT_MAPPINGS                                                                \
    "INSERT INTO public.cn_mapping (trust_store, cn, identity, user_identity)"         \
    " SELECT $1, a.cn, a.identity, CASE WHEN strpos(a.identity, '@') > 0 AND EXISTS (" \
    "  SELECT FROM public.domain d WHERE d.name = split_part(a.identity, '@', 2))"     \
    "  THEN a.identity END FROM pg_temp.import_add a"                                  \
    " WHERE a.ctid >= $2::tid AND a.ctid < $3::tid"
/* To ask of each row whether it is there yet costs half as much as writing it, and load_compare()
 * has asked. */
static const char INSERT[] = INSERT_MAPPINGS;
static const char INSERT_ABSENT[] = INSERT_MAPPINGS " ON CONFLICT DO NOTHING";
static const char DELETE[] =
    "DELETE FROM public.cn_mapping m USING pg_temp.import_remove r"
    " WHERE m.trust_store = $1 AND m.cn = r.cn AND m.identity = r.identity";
#define WRITE_PLACES(table, shown)                                               \
    "WITH had AS (UPDATE public." table " i SET label = p.label, site = p.site"  \
    "  FROM pg_temp.import_place p WHERE p.ctid >= $2::tid AND p.ctid < $3::tid" \
    "  AND i.trust_store = $1 AND i.cn = p.cn" shown " RETURNING i.cn)"          \
    " INSERT INTO public." table " (trust_store, cn, label, site)"               \
    " SELECT $1, p.cn, p.label, p.site FROM pg_temp.import_place p"              \
    " WHERE p.ctid >= $2::tid AND p.ctid < $3::tid"                              \
    " AND NOT EXISTS (SELECT FROM had WHERE had.cn = p.cn)"                      \
    " AND (p.label IS NOT NULL OR p.site IS NOT NULL) ON CONFLICT DO NOTHING"
static const char PLACE[] = WRITE_PLACES("device_info", "");
static const char PLACE_OWN[] = WRITE_PLACES("tenant_device", LOAD_FIRST_OWN);
/* What is known of a device that has lost its last identity goes with it, but not that it is
 * disabled. Row security lets a tenant forget what is its own. */
#define FORGET_IN(table)                                                                     \
    "DELETE FROM public." table " i USING (SELECT DISTINCT cn FROM pg_temp.import_remove) r" \
    " WHERE i.trust_store = $1 AND i.cn = r.cn AND NOT EXISTS ("                             \
    "  SELECT FROM public.cn_mapping m WHERE m.trust_store = $1 AND m.cn = r.cn)"
static const char FORGET[] = FORGET_IN("device_info") " AND i.state <> 'disabled'";
static const char FORGET_OWN[] = FORGET_IN("tenant_device");
static const char CHECK_NOW[] = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED";

struct steps {
    load_progress *progress;
    void *context;
    uint64_t done, total;
    bool collided; /* with a row that another has written since load_compare() */
};

/* In pieces of the table that has what is to be written. */
static bool write_pieces(struct load *load, const char *statement, uint64_t pages,
                         struct steps *steps)
{
    for (uint64_t page = 0; page < pages; page += PAGES_EACH) {
        uint64_t end = page + PAGES_EACH < pages ? page + PAGES_EACH : pages;
        char from[32], to[32];
        PGresult *result;
        snprintf(from, sizeof(from), "(%" PRIu64 ",0)", page);
        snprintf(to, sizeof(to), "(%" PRIu64 ",0)", end);
        result = run(load, statement, from, to);
        steps->collided = has_state(result, UNIQUE_VIOLATION) && statement == INSERT;
        if (!good(result) && !steps->collided)
            return failed(load, result);
        PQclear(result);
        /* What waits for the commit is checked now: a refusal comes before it, and no queue of
         * checks grows with the list. */
        if (steps->collided || !load_run_plain(load, CHECK_NOW))
            return false;
        steps->done += end - page;
        if (!steps->progress(steps->context, steps->done, steps->total))
            return false;
    }
    return true;
}

static bool write_mappings(struct load *load, struct steps *steps)
{
    if (!load_run_plain(load, "SAVEPOINT mappings"))
        return false;
    if (write_pieces(load, INSERT, load->pages, steps))
        return true;
    if (!steps->collided)
        return false;
    steps->done = 0;
    return load_run_plain(load, "ROLLBACK TO SAVEPOINT mappings") &&
           write_pieces(load, INSERT_ABSENT, load->pages, steps);
}

static bool run_done(struct load *load, const char *statement)
{
    PGresult *result = load_run(load, statement, NULL, NULL);

    PQclear(result);
    return result != NULL;
}

static bool remove_rest(struct load *load)
{
    return run_done(load, DELETE) && run_done(load, FORGET_OWN) &&
           (load->tenant || run_done(load, FORGET));
}

bool load_apply(struct load *load, bool replace, load_progress *progress, void *context)
{
    struct steps steps = { progress, context, 0, load->pages + load->place_pages, false };

    return write_mappings(load, &steps) &&
           write_pieces(load, load->tenant ? PLACE_OWN : PLACE, load->place_pages, &steps) &&
           (!replace || remove_rest(load)) && load_run_plain(load, CHECK_NOW);
}

bool load_commit(struct load *load)
{
    PGresult *result = PQexec(load->connection, "COMMIT");

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        return failed(load, result);
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        complain("the database rolled back");
        PQclear(result);
        return false;
    }
    PQclear(result);
    return true;
}
