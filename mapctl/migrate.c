/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl migrate: brings a database to a migration, forward or back, by sqitch, or verifies what is
 * there. */
#include "common/buffer.h"
#include "mapctl/commands.h"
#include "mapctl/loss.h"
#include "mapctl/plan.h"
#include "mapctl/postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum migrate_option {
    OPTION_TO = 1,
    OPTION_VERIFY,
    OPTION_REVERT,
    OPTION_ALL,
    OPTION_YES,
    OPTION_MIGRATIONS
};

static const struct option_row OPTIONS[] = {
    { OPTION_TO, "to", VALUE_TEXT, "CHANGE",
      "up to this change instead of the newest; with --revert back to it, which stays" },
    { OPTION_VERIFY, "verify", VALUE_NONE, NULL,
      "change nothing, and check that every migration is there and right" },
    { OPTION_REVERT, "revert", VALUE_NONE, NULL,
      "go back, to --to CHANGE or by --all; says first what data goes, and asks" },
    { OPTION_ALL, "all", VALUE_NONE, NULL, "with --revert: take every migration back" },
    { OPTION_YES, "yes", VALUE_NONE, NULL, "with --revert: do not ask" },
    { OPTION_MIGRATIONS, "migrations", VALUE_FOLDER, "DIR",
      "folder with sqitch.plan; else the one installed with this program" },
    { 0 },
};

#define SCRIPT_MAX (1u << 20)

struct migration {
    const struct settings *settings;
    const char *to; /* NULL = the newest, or with --revert all */
    bool revert, yes;
    char folder[PATH_MAX];
    struct plan plan, before, after; /* what the database has, before and after */
    PGconn *connection;
    json_t *losses;
};

/* ---- sqitch ---- */

/* Its own output goes where ours goes; with --json, where complaints go. */
static enum status run_sqitch(const struct migration *m, const char *const *words)
{
    const char *argv[12] = { "sqitch", "--chdir", m->folder };
    size_t count = 3;
    pid_t child;
    int status;

    while (*words != NULL)
        argv[count++] = *words++;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        if (m->settings->json)
            dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(argv[0], (char *const *)argv);
        complain("sqitch can't be started: %s; install the package sqitch", strerror(errno));
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        complain("sqitch: %s", strerror(errno));
        return STATUS_BAD;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? STATUS_GOOD : STATUS_BAD;
}

static json_t *names(const struct plan *changes, const struct plan *without)
{
    json_t *list = output_array();

    for (size_t i = 0; i < changes->count; i++) {
        if (!plan_has(without, changes->names[i]))
            output_append(list, output_text(slice_of(changes->names[i])));
    }
    return list;
}

/* With --json: what was done. */
static void report(struct migration *m, const char *action, enum status status)
{
    json_t *document;

    if (!m->settings->json)
        return;
    if (plan_deployed(&m->after, m->connection) == DEPLOYED_UNKNOWN)
        complain("what the database has now could not be read");
    document = output_object();
    output_set(document, "action", output_text(slice_of(action)));
    output_set(document, "done", json_boolean(status == STATUS_GOOD));
    output_set(document, "deployed", names(&m->after, &m->before));
    output_set(document, "reverted", names(&m->before, &m->after));
    output_set(document, "losses", m->losses ? json_incref(m->losses) : output_array());
    output_document(document);
}

/* ---- Forward ---- */

/* Sqitch says as much, in many more words. */
static bool may_deploy(const struct migration *m)
{
    size_t at = 0;

    for (size_t i = 0; i < m->before.count; i++) {
        if (!plan_has(&m->plan, m->before.names[i])) {
            complain("the database has %s, which this program's plan does not: use its newer "
                     "version",
                     m->before.names[i]);
            return false;
        }
    }
    if (m->to == NULL)
        return true;
    while (at < m->plan.count && strcmp(m->plan.names[at], m->to) != 0)
        at++;
    for (at++; at < m->plan.count; at++) {
        if (plan_has(&m->before, m->plan.names[at])) {
            complain("the database is beyond %s already, at %s: mapctl migrate --revert --to %s "
                     "goes back",
                     m->to, m->before.names[m->before.count - 1], m->to);
            return false;
        }
    }
    return true;
}

static enum status deploy(struct migration *m)
{
    const char *const words[] = {
        "deploy", "--target", "db:pg:", m->to ? "--to" : NULL, m->to, NULL
    };

    return may_deploy(m) ? run_sqitch(m, words) : STATUS_BAD;
}

static enum status verify(struct migration *m)
{
    const char *const words[] = {
        "verify", "--target", "db:pg:", m->to ? "--to" : NULL, m->to, NULL
    };

    return run_sqitch(m, words);
}

/* ---- Back ---- */

static bool read_script(struct buffer *script, const char *folder, const char *change)
{
    char path[PATH_MAX];
    ssize_t size = -1;
    int file = -1;

    if (snprintf(path, sizeof(path), "%s/revert/%s.sql", folder, change) < (int)sizeof(path))
        file = open(path, O_RDONLY | O_CLOEXEC);
    while (file >= 0) {
        char *room = buffer_reserve(script, 65536);
        size = room ? read(file, room, 65536) : -1;
        if (size <= 0)
            break;
        buffer_commit(script, (size_t)size);
    }
    if (file >= 0)
        close(file);
    if (size != 0)
        complain("%s: %s", path, file < 0 ? strerror(errno) : "is no script of a change");
    return size == 0;
}

struct losses {
    json_t *list;
    const PGresult *counts;
};

/* Only what is there: a later change may have dropped it by now. */
static void add_loss(void *owner, const struct loss *loss)
{
    const struct losses *losses = owner;
    const PGresult *counts = losses->counts;

    for (int row = 0; row < PQntuples(counts); row++) {
        json_t *shown;
        if (strcmp(PQgetvalue(counts, row, 0), loss->table) != 0)
            continue;
        shown = output_object();
        output_set(shown, "table", output_text(slice_of(loss->table)));
        output_set(shown, "column",
                   output_text_or_null(loss->kind == LOSS_COLUMN ? loss->column : NULL));
        output_set(shown, "whole", json_boolean(loss->kind == LOSS_TABLE));
        output_set(shown, "rows", output_value(slice_of(PQgetvalue(counts, row, 2))));
        output_set(shown, "estimated", json_boolean(*PQgetvalue(counts, row, 1) == 't'));
        output_append(losses->list, shown);
    }
}

/* What goes with the changes from `first` on. */
static bool find_losses(struct migration *m, size_t first)
{
    PGresult *counts = postgres_counts(m->connection);
    struct losses losses = { .list = output_array(), .counts = counts };
    bool done = counts != NULL;

    m->losses = losses.list;
    for (size_t i = m->before.count; done && i > first; i--) {
        struct buffer script;
        buffer_init(&script, SCRIPT_MAX);
        done = read_script(&script, m->folder, m->before.names[i - 1]);
        if (done)
            loss_read(buffer_slice(&script), add_loss, &losses);
        buffer_free(&script);
    }
    PQclear(counts);
    return done;
}

static void print_losses(const struct migration *m, size_t first)
{
    size_t at;
    json_t *loss;

    fprintf(stderr, "Of the database %s these changes are taken back:", PQdb(m->connection));
    for (size_t i = m->before.count; i > first; i--)
        fprintf(stderr, " %s", m->before.names[i - 1]);
    fputs(json_array_size(m->losses) ? "\nWith them go, and do not come back:\n"
                                     : "\nNo table or column goes with them.\n",
          stderr);
    json_array_foreach(m->losses, at, loss)
    {
        const char *column = json_string_value(json_object_get(loss, "column"));
        bool whole = json_is_true(json_object_get(loss, "whole"));
        bool estimated = json_is_true(json_object_get(loss, "estimated"));
        json_int_t rows = json_integer_value(json_object_get(loss, "rows"));
        fprintf(stderr, "  %s %s%s%s, %s%lld %s\n",
                column  ? "column"
                : whole ? "table"
                        : "rows of table",
                json_string_value(json_object_get(loss, "table")), column ? "." : "",
                column ? column : "", estimated ? "about " : "", (long long)rows,
                rows == 1 ? "row" : "rows");
    }
}

static bool ask(void)
{
    char answer[16];

    fputs("Go on? Only yes does: ", stderr);
    if (fgets(answer, sizeof(answer), stdin) == NULL)
        fputc('\n', stderr);
    else if (strcmp(answer, "yes\n") == 0)
        return true;
    complain("nothing was changed; type yes, or say --yes");
    return false;
}

static enum status revert(struct migration *m)
{
    const char *const words[] = { "revert", "-y", "--target", "db:pg:", m->to ? "--to" : NULL,
                                  m->to,    NULL };
    size_t first = 0;

    if (m->to != NULL && !plan_has(&m->before, m->to)) {
        complain("the database does not have %s", m->to);
        return STATUS_BAD;
    }
    while (m->to != NULL && strcmp(m->before.names[first], m->to) != 0)
        first++;
    first += m->to != NULL;
    if (first == m->before.count) {
        fputs("Nothing to take back.\n", stderr);
        return STATUS_GOOD;
    }
    if (!find_losses(m, first))
        return STATUS_BAD;
    print_losses(m, first);
    if (!m->yes && !ask())
        return STATUS_BAD;
    return run_sqitch(m, words);
}

/* ---- The command ---- */

static bool read_options(struct migration *m, const struct arguments *arguments)
{
    bool all = option_given(arguments, OPTION_ALL);

    m->to = option_text(arguments, OPTION_TO, NULL);
    m->revert = option_given(arguments, OPTION_REVERT);
    m->yes = option_given(arguments, OPTION_YES);
    if (m->revert && option_given(arguments, OPTION_VERIFY))
        complain("--verify and --revert do not go together");
    else if (m->revert && (m->to != NULL) == all)
        complain("--revert goes back to --to CHANGE, which stays, or takes --all back");
    else if (!m->revert && (all || m->yes))
        complain("--all and --yes go with --revert");
    else
        return true;
    return false;
}

static bool read_plan(struct migration *m, const char *given)
{
    enum error error;

    if (!plan_find(given, m->folder)) {
        complain("no sqitch.plan in %s; say where the migrations are with --migrations DIR",
                 given ? given : "the folders beside this program");
        return false;
    }
    error = plan_read(&m->plan, m->folder);
    if (error != ERROR_NONE) {
        complain("%s/sqitch.plan can't be read: %s", m->folder,
                 error == ERROR_SYSTEM ? strerror(errno) : error_text(error));
        return false;
    }
    if (m->to == NULL || plan_has(&m->plan, m->to))
        return true;
    complain("there is no change %s; the newest is %s, %s/sqitch.plan has all", m->to,
             m->plan.names[m->plan.count - 1], m->folder);
    return false;
}

static enum status act(struct migration *m, bool verifies)
{
    enum status status;

    m->connection = postgres_open("");
    if (m->connection == NULL)
        return STATUS_UNREACHABLE;
    if (plan_deployed(&m->before, m->connection) == DEPLOYED_UNKNOWN) {
        complain("this role may not read the schema sqitch: migrate as the owner of the database");
        status = STATUS_BAD;
    } else {
        status = verifies ? verify(m) : m->revert ? revert(m) : deploy(m);
        report(m, verifies ? "verify" : m->revert ? "revert" : "deploy", status);
    }
    PQfinish(m->connection);
    return status;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    struct migration m = { .settings = settings };
    enum status status = STATUS_USAGE;

    if (read_options(&m, arguments) &&
        read_plan(&m, option_text(arguments, OPTION_MIGRATIONS, NULL)) &&
        postgres_export(settings->database))
        status = act(&m, option_given(arguments, OPTION_VERIFY));
    plan_free(&m.plan);
    plan_free(&m.before);
    plan_free(&m.after);
    json_decref(m.losses);
    return status;
}

const struct command command_migrate = {
    .name = "migrate",
    .operands = "",
    .brief = "bring the database to the newest migration",
    .help = "A change that fails takes those of the same run back. With --revert it goes the other "
            "way: later migrations and their data are gone.",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
