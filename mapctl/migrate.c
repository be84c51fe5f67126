/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl migrate: brings a database to the newest migration by sqitch, or verifies that it is
 * there.
 */
#include "mapctl/command.h"
#include "mapctl/postgres.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool holds_plan(const char *folder)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/sqitch.plan", folder) < (int)sizeof(path) &&
           access(path, R_OK) == 0;
}

/* PREFIX/bin has them in PREFIX/share/holdline, build/VARIANT/bin in the tree. */
static bool find_migrations(const struct settings *settings, char folder[PATH_MAX])
{
    static const char *const BESIDE[] = { "../share/holdline/migrations", "../../../migrations" };
    char program[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    char *slash;

    if (settings->migrations != NULL)
        return snprintf(folder, PATH_MAX, "%s", settings->migrations) < PATH_MAX &&
               holds_plan(folder);
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

enum status command_migrate(const struct settings *settings, char **operands, size_t count)
{
    char folder[PATH_MAX];
    PGconn *connection;

    (void)operands;
    if (count > 0) {
        complain("migrate takes no operand");
        return STATUS_USAGE;
    }
    if (!find_migrations(settings, folder)) {
        complain("no sqitch.plan in %s; say where the migrations are with --migrations DIR",
                 settings->migrations ? settings->migrations : "the folders beside this program");
        return STATUS_USAGE;
    }
    if (!postgres_export(settings->database))
        return STATUS_USAGE;
    connection = postgres_open("");
    if (connection == NULL)
        return STATUS_UNREACHABLE;
    PQfinish(connection);
    return run_sqitch(folder, settings->verify ? "verify" : "deploy");
}
