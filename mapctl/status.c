/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl status: whether database, mapperd and proxy are well, in a few lines each. */
#include "mapctl/commands.h"
#include "mapctl/postgres.h"
#include "mapctl/remote.h"

#include <stdio.h>
#include <stdlib.h>

/* Above this, counting costs more than it tells. */
#define COUNT_MAX "100000"
/* A mapperd reads its own counter back once a second. */
#define AGE_MAX_MS 30000

static enum status worse(enum status a, enum status b)
{
    return a > b ? a : b;
}

/* ---- Database ---- */

static const char COUNTS[] =
    "SELECT c.relname, CASE WHEN c.reltuples > " COUNT_MAX " THEN 'about ' || c.reltuples::bigint"
    " ELSE (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM public.%I %s',"
    " c.relname, CASE c.relname WHEN 'binding' THEN 'WHERE NOT removed AND expires_at > now()'"
    " ELSE '' END), false, true, '')))[1]::text END"
    " FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN"
    " ('trust_store', 'domain', 'cn_mapping', 'sip_user', 'rights_rule', 'binding')"
    " AND c.relkind IN ('r', 'p') ORDER BY c.relname";

static const char MAPPERDS[] =
    "SELECT name, id, coalesce(extract(epoch FROM clock_timestamp() - seen_at)::bigint::text, '-')"
    " FROM public.mapperd ORDER BY name";

static void print_counts(const PGresult *counts, const PGresult *mapperds)
{
    for (int row = 0; row < PQntuples(counts); row++)
        printf("  %s: %s\n", PQgetvalue(counts, row, 0), PQgetvalue(counts, row, 1));
    for (int row = 0; row < PQntuples(mapperds); row++)
        printf("  mapperd %s: id %s, seen %s s ago\n", PQgetvalue(mapperds, row, 0),
               PQgetvalue(mapperds, row, 1), PQgetvalue(mapperds, row, 2));
}

static enum status status_database(const struct settings *settings)
{
    PGconn *connection = postgres_open(settings->database);
    PGresult *counts, *mapperds = NULL;
    enum status status = STATUS_BAD;

    if (connection == NULL) {
        puts("database: does not answer");
        return STATUS_UNREACHABLE;
    }
    printf("database: answers, %s as %s, PostgreSQL %d\n", PQdb(connection), PQuser(connection),
           PQserverVersion(connection) / 10000);
    counts = postgres_query(connection, COUNTS);
    if (counts != NULL && PQntuples(counts) < 6)
        puts("  the schema is not there: mapctl migrate");
    else if (counts != NULL)
        mapperds = postgres_query(connection, MAPPERDS);
    if (mapperds != NULL) {
        print_counts(counts, mapperds);
        status = STATUS_GOOD;
    }
    PQclear(counts);
    PQclear(mapperds);
    PQfinish(connection);
    return status;
}

/* ---- Programs ---- */

/* The value of a key in INFO's text; empty when it is not there. */
static struct slice info_value(struct slice info, const char *key)
{
    size_t size = strlen(key);

    while (info.size > 0) {
        const char *end = memchr(info.data, '\n', info.size);
        size_t line = end ? (size_t)(end - info.data) : info.size;
        if (line > size && info.data[size] == ':' && memcmp(info.data, key, size) == 0)
            return slice_trim((struct slice){ info.data + size + 1, line - size - 1 });
        info.data += end ? line + 1 : line;
        info.size -= end ? line + 1 : line;
    }
    return (struct slice){ "", 0 };
}

/* Whatever a program's INFO says that is short enough to be a figure. */
static void print_info(struct slice info)
{
    while (info.size > 0) {
        const char *end = memchr(info.data, '\n', info.size);
        size_t line = end ? (size_t)(end - info.data) : info.size;
        struct slice text = slice_trim((struct slice){ info.data, line });
        const char *colon = text.size ? memchr(text.data, ':', text.size) : NULL;
        if (colon != NULL && text.data[0] != '#') {
            fputs("  ", stdout);
            print_slice((struct slice){ text.data, (size_t)(colon - text.data) });
            fputs(": ", stdout);
            print_slice((struct slice){ colon + 1, text.size - 1 - (size_t)(colon - text.data) });
            putchar('\n');
        }
        info.data += end ? line + 1 : line;
        info.size -= end ? line + 1 : line;
    }
}

/* Asks INFO; *reply is freed by the caller whatever comes. */
static bool ask_info(const char *program, const char *path, struct reply *reply)
{
    const struct slice words[] = { SLICE("INFO") };
    struct remote remote;
    bool done;

    buffer_init(&reply->bytes, 0);
    if (remote_open(&remote, program, path) != ERROR_NONE)
        return false;
    done = remote_ask(&remote, reply, words, 1) == ERROR_NONE && reply->value.type == RESP_BULK;
    remote_close(&remote);
    return done;
}

static bool is_ready(struct slice info)
{
    return slice_equal(info_value(info, "ready"), SLICE("1"));
}

/* Why mapperd is not well, or NULL. */
static const char *mapperd_trouble(struct slice info)
{
    unsigned long long age_ms;

    if (!is_ready(info))
        return "is not ready";
    if (!slice_equal(info_value(info, "database"), SLICE("1")))
        return "answers from LMDB, without database";
    if (!slice_to_u64(info_value(info, "age_ms"), UINT64_MAX, &age_ms))
        return "answers with data of unknown age";
    return age_ms > AGE_MAX_MS ? "answers with old data" : NULL;
}

/* The first worker that mapperd has left, or that has not reached it, stands for all. */
static const char *proxy_trouble(struct slice info)
{
    unsigned long long workers;
    char key[48];

    if (!slice_to_u64(info_value(info, "workers"), 1024, &workers))
        return "does not say how many workers it has";
    for (unsigned i = 0; i < workers; i++) {
        snprintf(key, sizeof(key), "worker.%u.mapperd", i);
        if (!slice_equal(info_value(info, key), SLICE("up")))
            return "is without mapperd";
    }
    return is_ready(info) ? NULL : "is not ready";
}

static enum status status_program(const char *program, const char *path,
                                  const char *(*trouble)(struct slice info))
{
    struct reply reply;
    enum status status = STATUS_UNREACHABLE;

    if (ask_info(program, path, &reply)) {
        const char *why = trouble(reply.value.text);
        struct slice age_ms = info_value(reply.value.text, "age_ms");
        printf("%s: %s", program, why ? why : "ready");
        if (age_ms.size > 0) {
            fputs(", data at most this old in ms: ", stdout);
            print_slice(age_ms);
        }
        putchar('\n');
        print_info(reply.value.text);
        status = why ? STATUS_BAD : STATUS_GOOD;
    } else {
        printf("%s: does not answer\n", program);
    }
    reply_free(&reply);
    return status;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    enum status status = status_database(settings);

    (void)arguments;
    status = worse(status, status_program("mapperd", settings->mapperd_socket, mapperd_trouble));
    return worse(status, status_program("proxy", settings->proxy_socket, proxy_trouble));
}

const struct command command_status = {
    .name = "status",
    .operands = "",
    .brief = "how database, mapperd and proxy are",
    .run = run,
};
