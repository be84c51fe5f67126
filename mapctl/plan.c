/* SPDX-License-Identifier: Apache-2.0 */
/* Reads sqitch's plan, and its table of what is deployed. */
#include "mapctl/plan.h"

#include "common/mem.h"
#include "mapctl/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool holds_plan(const char *folder)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/sqitch.plan", folder) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

/* PREFIX/bin has them in PREFIX/share/holdline, build/VARIANT/bin in the tree. */
bool plan_find(const char *given, char folder[PATH_MAX])
{
    static const char *const BESIDE[] = { "../share/holdline/migrations", "../../../migrations" };
    char program[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    if (given != NULL)
        return snprintf(folder, PATH_MAX, "%s", given) < PATH_MAX && holds_plan(folder);
    program[size > 0 ? size : 0] = '\0';
    slash = strrchr(program, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    for (size_t i = 0; i < sizeof(BESIDE) / sizeof(BESIDE[0]); i++) {
        if (snprintf(folder, PATH_MAX, "%s/%s", program, BESIDE[i]) < PATH_MAX &&
            holds_plan(folder))
            return true;
    }
    return false;
}

static enum error add_change(struct plan *changes, struct slice name)
{
    char *copy;

    if (changes->count == CHANGES_MAX)
        return ERROR_MALFORMED;
    copy = mem_text(name);
    if (copy == NULL)
        return ERROR_MEMORY;
    changes->names[changes->count++] = copy;
    return ERROR_NONE;
}

/* A line is `%pragma`, `@tag …`, `# comment`, nothing, or `change [dependencies] when who`. */
static enum error read_line(struct plan *changes, const char *line)
{
    size_t size;

    line += strspn(line, " \t");
    size = strcspn(line, " \t\r\n");
    if (size == 0 || *line == '%' || *line == '@' || *line == '#')
        return ERROR_NONE;
    return add_change(changes, (struct slice){ line, size });
}

enum error plan_read(struct plan *changes, const char *folder)
{
    char path[PATH_MAX], *line = NULL;
    enum error error = ERROR_NONE;
    size_t size = 0;
    FILE *file;

    *changes = (struct plan){ 0 };
    if (snprintf(path, sizeof(path), "%s/sqitch.plan", folder) >= (int)sizeof(path))
        return ERROR_MALFORMED;
    file = fopen(path, "re");
    if (file == NULL)
        return ERROR_SYSTEM;
    while (error == ERROR_NONE && getline(&line, &size, file) > 0)
        error = read_line(changes, line);
    if (error == ERROR_NONE && changes->count == 0)
        error = ERROR_MALFORMED;
    free(line); /* getline's */
    fclose(file);
    return error;
}

/* Whether this role may read sqitch's table: no row, there is none. */
static const char MAY_READ[] =
    "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'sqitch' AND c.relname = 'changes'";

static const char DEPLOYED[] = "SELECT change FROM sqitch.changes WHERE project = 'holdline'"
                               " ORDER BY committed_at, planned_at LIMIT 1024";

enum deployed plan_deployed(struct plan *changes, PGconn *connection)
{
    PGresult *result = postgres_query(connection, MAY_READ);
    bool there = PQntuples(result) == 1;
    bool may = there && *PQgetvalue(result, 0, 0) == 't';
    enum deployed known = result == NULL || there ? DEPLOYED_UNKNOWN : DEPLOYED_NOTHING;

    *changes = (struct plan){ 0 };
    PQclear(result);
    if (!may)
        return known;
    result = postgres_query(connection, DEPLOYED);
    if (result == NULL)
        return DEPLOYED_UNKNOWN;
    known = PQntuples(result) > 0 ? DEPLOYED_CHANGES : DEPLOYED_NOTHING;
    for (int row = 0; row < PQntuples(result); row++) {
        if (add_change(changes, slice_of(PQgetvalue(result, row, 0))) != ERROR_NONE)
            known = DEPLOYED_UNKNOWN;
    }
    PQclear(result);
    return known;
}

bool plan_has(const struct plan *changes, const char *name)
{
    for (size_t i = 0; i < changes->count; i++) {
        if (strcmp(changes->names[i], name) == 0)
            return true;
    }
    return false;
}

size_t plan_missing(const struct plan *a, const struct plan *b)
{
    size_t missing = 0;

    for (size_t i = 0; i < a->count; i++)
        missing += !plan_has(b, a->names[i]);
    return missing;
}

void plan_free(struct plan *changes)
{
    while (changes->count > 0)
        mem_free(changes->names[--changes->count]);
}
