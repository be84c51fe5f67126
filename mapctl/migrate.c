/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl migrate: brings a database to the newest migration by sqitch, or verifies that it is
 * there.
 */
#include "mapctl/commands.h"
#include "mapctl/postgres.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum migrate_option { OPTION_MIGRATIONS = 1, OPTION_VERIFY };

static const struct option_row OPTIONS[] = {
    { OPTION_VERIFY, "verify", VALUE_NONE, NULL,
      "change nothing, and check that every migration is there and right" },
    { OPTION_MIGRATIONS, "migrations", VALUE_FOLDER, "DIR",
      "folder with sqitch.plan; else the one installed with this program" },
    { 0 },
};

static bool holds_plan(const char *folder)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/sqitch.plan", folder) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

/* PREFIX/bin has them in PREFIX/share/holdline, build/VARIANT/bin in the tree. */
static bool find_migrations(const char *given, char folder[PATH_MAX])
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

/* Its own output goes where ours goes. */
static enum status run_sqitch(const char *folder, const char *command)
{
    pid_t child;
    int status;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        execlp("sqitch", "sqitch", "--chdir", folder, command, "db:pg:", (char *)NULL);
        complain("sqitch can't be started: %s; install the package sqitch", strerror(errno));
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) {
        complain("sqitch: %s", strerror(errno));
        return STATUS_BAD;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? STATUS_GOOD : STATUS_BAD;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    const char *given = option_text(arguments, OPTION_MIGRATIONS, NULL);
    char folder[PATH_MAX];
    PGconn *connection;

    if (!find_migrations(given, folder)) {
        complain("no sqitch.plan in %s; say where the migrations are with --migrations DIR",
                 given ? given : "the folders beside this program");
        return STATUS_USAGE;
    }
    if (!postgres_export(settings->database))
        return STATUS_USAGE;
    connection = postgres_open("");
    if (connection == NULL)
        return STATUS_UNREACHABLE;
    PQfinish(connection);
    return run_sqitch(folder, option_given(arguments, OPTION_VERIFY) ? "verify" : "deploy");
}

const struct command command_migrate = {
    .name = "migrate",
    .operands = "",
    .brief = "bring the database to the newest migration",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
