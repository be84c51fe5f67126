/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl status: asks database, mapperd and proxy how they are, and judges. */
#include "mapctl/status.h"

#include "mapctl/commands.h"
#include "mapctl/info.h"
#include "mapctl/plan.h"
#include "mapctl/postgres.h"
#include "mapctl/remote.h"

#include <stdlib.h>

/* A mapperd reads its own counter back once a second. */
#define AGE_MAX_MS 30000

static enum status worse(enum status a, enum status b)
{
    return a > b ? a : b;
}

/* Why a part is not well, in words that follow its name; NULL = it is. */
static void set_trouble(json_t *part, const char *trouble)
{
    output_set(part, "trouble", output_text_or_null(trouble));
}

/* ---- Database ---- */

static const char MAPPERDS[] =
    "SELECT name, id, extract(epoch FROM clock_timestamp() - seen_at)::bigint"
    " FROM public.mapperd ORDER BY name";

static const char IS_STANDBY[] = "SELECT pg_is_in_recovery()";

static json_t *value_of(const PGresult *result, int row, int column)
{
    return output_value(slice_of(PQgetvalue(result, row, column)));
}

static void add_rows(json_t *database, const PGresult *counts)
{
    json_t *rows = output_object();

    for (int row = 0; row < PQntuples(counts); row++) {
        json_t *table = output_object();
        output_set(table, "count", value_of(counts, row, 2));
        output_set(table, "estimated", json_boolean(*PQgetvalue(counts, row, 1) == 't'));
        output_set(rows, PQgetvalue(counts, row, 0), table);
    }
    output_set(database, "rows", rows);
}

static void add_mapperds(json_t *database, const PGresult *mapperds)
{
    json_t *list = output_array();

    for (int row = 0; row < PQntuples(mapperds); row++) {
        json_t *mapperd = output_object();
        output_set(mapperd, "name", output_text(slice_of(PQgetvalue(mapperds, row, 0))));
        output_set(mapperd, "id", value_of(mapperds, row, 1));
        output_set(mapperd, "seen_s", value_of(mapperds, row, 2));
        output_append(list, mapperd);
    }
    output_set(database, "mapperds", list);
}

static const char *last_of(const struct plan *changes)
{
    return changes->count ? changes->names[changes->count - 1] : NULL;
}

/* The database's migrations against this program's. Gives how many it lacks. */
static size_t add_migration(json_t *database, PGconn *connection, const char *migrations)
{
    struct plan plan = { 0 }, there = { 0 };
    json_t *migration = output_object();
    enum deployed deployed = plan_deployed(&there, connection);
    char folder[PATH_MAX];
    bool planned = plan_find(migrations, folder) && plan_read(&plan, folder) == ERROR_NONE;
    bool known = planned && deployed != DEPLOYED_UNKNOWN;
    size_t missing = known ? plan_missing(&plan, &there) : 0;

    output_set(migration, "visible", json_boolean(deployed != DEPLOYED_UNKNOWN));
    output_set(migration, "deployed", output_text_or_null(last_of(&there)));
    output_set(migration, "newest", output_text_or_null(planned ? last_of(&plan) : NULL));
    output_set(migration, "missing", known ? json_integer((json_int_t)missing) : json_null());
    output_set(migration, "newer",
               known ? json_integer((json_int_t)plan_missing(&there, &plan)) : json_null());
    output_set(database, "migration", migration);
    plan_free(&plan);
    plan_free(&there);
    return missing;
}

static bool has_table(const PGresult *counts, const char *name)
{
    for (int row = 0; row < PQntuples(counts); row++) {
        if (strcmp(PQgetvalue(counts, row, 0), name) == 0)
            return true;
    }
    return false;
}

/* What a database that answers says; gives its trouble. */
static const char *ask_database(json_t *database, PGconn *connection, const char *migrations)
{
    PGresult *standby = postgres_query(connection, IS_STANDBY), *counts, *mapperds;
    const char *trouble = NULL;
    size_t missing;

    output_set(database, "standby",
               standby ? json_boolean(*PQgetvalue(standby, 0, 0) == 't') : json_null());
    missing = add_migration(database, connection, migrations);
    counts = postgres_counts(connection);
    add_rows(database, counts);
    if (counts == NULL)
        trouble = "refuses a query";
    else if (!has_table(counts, "cn_mapping"))
        trouble = "the schema is not there: mapctl migrate";
    else if (missing > 0)
        trouble = "lacks migrations: mapctl migrate";
    mapperds = has_table(counts, "mapperd") ? postgres_query(connection, MAPPERDS) : NULL;
    add_mapperds(database, mapperds);
    PQclear(standby);
    PQclear(counts);
    PQclear(mapperds);
    return trouble;
}

static enum status gather_database(json_t *document, const struct settings *settings,
                                   const char *migrations)
{
    json_t *database = output_object();
    PGconn *connection = postgres_open(settings->database);
    const char *trouble = "does not answer";
    enum status status = STATUS_UNREACHABLE;

    output_set(database, "answers", json_boolean(connection != NULL));
    if (connection != NULL) {
        output_set(database, "name", output_text(slice_of(PQdb(connection))));
        output_set(database, "user", output_text(slice_of(PQuser(connection))));
        output_set(database, "server_version", json_integer(PQserverVersion(connection) / 10000));
        trouble = ask_database(database, connection, migrations);
        status = trouble ? STATUS_BAD : STATUS_GOOD;
        PQfinish(connection);
    }
    set_trouble(database, trouble);
    output_set(document, "database", database);
    return status;
}

/* ---- Programs ---- */

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

static const char *mapperd_trouble(struct slice info)
{
    unsigned long long age_ms;

    if (!is_ready(info))
        return "is not ready";
    if (slice_equal(info_value(info, "stale"), SLICE("1")))
        return "refuses lookups, its data are older than staleness_bound_ms";
    if (slice_equal(info_value(info, "behind"), SLICE("1")))
        return "answers from LMDB, waiting for a standby that lags";
    if (!slice_equal(info_value(info, "database"), SLICE("1")))
        return "answers from LMDB, without database";
    if (!slice_to_u64(info_value(info, "age_ms"), UINT64_MAX, &age_ms))
        return "answers with data of unknown age";
    if (slice_equal(info_value(info, "age_alarm"), SLICE("1")))
        return "answers with data older than staleness_alarm_ms";
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

/* All that INFO says, also what this program does not know; `unknown` is null. */
static json_t *info_object(struct slice info)
{
    json_t *object = output_object();
    struct slice key, value;

    while (info_next(&info, &key, &value)) {
        bool unknown = slice_equal(value, SLICE("unknown"));
        json_t *name = output_text(key); /* as UTF-8, which a key must be too */
        output_set(object, json_string_value(name), unknown ? json_null() : output_value(value));
        json_decref(name);
    }
    return object;
}

static enum status gather_program(json_t *document, const char *program, const char *path,
                                  const char *(*trouble_of)(struct slice info))
{
    json_t *part = output_object();
    const char *trouble = "does not answer";
    enum status status = STATUS_UNREACHABLE;
    struct reply reply;
    bool answers = ask_info(program, path, &reply);

    if (answers) {
        trouble = trouble_of(reply.value.text);
        status = trouble ? STATUS_BAD : STATUS_GOOD;
    }
    output_set(part, "answers", json_boolean(answers));
    set_trouble(part, trouble);
    output_set(part, "info", answers ? info_object(reply.value.text) : json_null());
    output_set(document, program, part);
    reply_free(&reply);
    return status;
}

json_t *status_gather(const struct settings *settings, const char *migrations, enum status *status)
{
    json_t *document = output_object();
    const char *word = "bad";

    output_set(document, "status", json_null()); /* stands first */
    *status = gather_database(document, settings, migrations);
    *status = worse(*status,
                    gather_program(document, "mapperd", settings->mapperd_socket, mapperd_trouble));
    *status =
        worse(*status, gather_program(document, "proxy", settings->proxy_socket, proxy_trouble));
    if (*status == STATUS_GOOD || *status == STATUS_UNREACHABLE)
        word = *status == STATUS_GOOD ? "good" : "unreachable";
    output_set(document, "status", output_text(slice_of(word)));
    return document;
}

/* ---- The command ---- */

enum status_option { OPTION_MIGRATIONS = 1, OPTION_WATCH, OPTION_INTERVAL, OPTION_COUNT };

static const struct option_row OPTIONS[] = {
    { OPTION_WATCH, "watch", VALUE_NONE, NULL,
      "look again and again: on a terminal it is drawn anew, else each look is one line" },
    { OPTION_INTERVAL, "interval", VALUE_TEXT, "SECONDS", "between two looks, 1 to 3600; else 2" },
    { OPTION_COUNT, "count", VALUE_TEXT, "N", "end after so many looks; else Ctrl-C ends it" },
    { OPTION_MIGRATIONS, "migrations", VALUE_FOLDER, "DIR",
      "folder with sqitch.plan; else the one installed with this program" },
    { 0 },
};

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    const char *migrations = option_text(arguments, OPTION_MIGRATIONS, NULL);
    uint64_t interval_s = 2, count = 0;
    enum status status;
    json_t *document;

    if (!option_number(arguments, OPTION_INTERVAL, 1, 3600, &interval_s) ||
        !option_number(arguments, OPTION_COUNT, 1, 1000000000, &count))
        return STATUS_USAGE;
    if (option_given(arguments, OPTION_WATCH))
        return status_watch(settings, migrations, interval_s * 1000, count);
    if (option_given(arguments, OPTION_INTERVAL) || option_given(arguments, OPTION_COUNT)) {
        complain("--interval and --count go with --watch");
        return STATUS_USAGE;
    }
    document = status_gather(settings, migrations, &status);
    if (settings->json) {
        output_document(document);
    } else {
        status_print(document, stdout);
        json_decref(document);
    }
    return status;
}

const struct command command_status = {
    .name = "status",
    .operands = "",
    .brief = "how database, mapperd and proxy are",
    .options = OPTIONS,
    .run = run,
};
