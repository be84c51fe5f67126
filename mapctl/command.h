/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands of mapctl share: options, exit statuses, and how each is called. One thread;
 * blocking calls with time limits. */
#ifndef HOLDLINE_MAPCTL_COMMAND_H
#define HOLDLINE_MAPCTL_COMMAND_H

#include "common/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses, the same for every subcommand; docs/mapctl.md lists them. */
enum status {
    STATUS_GOOD = 0,        /* done; allowed; all is well */
    STATUS_BAD = 1,         /* failed; denied; something is not well */
    STATUS_USAGE = 2,       /* the command line or a configuration file is wrong */
    STATUS_UNREACHABLE = 3, /* mapperd, proxy or database does not answer */
};

#define NAMES_MAX 16
#define OWNED_MAX 4 /* each of the texts below is set once */

/* What the command line, the configuration and the environment say. Other texts than
 * those it owns are argv's, the environment's or constant. */
struct settings {
    const char *mapperd_socket;
    const char *proxy_socket;
    const char *database;   /* libpq connection text; "" = the PG… environment */
    const char *migrations; /* NULL = beside the program */
    bool verify;
    const char *names[NAMES_MAX]; /* of a certificate, for check */
    size_t name_count;
    char *owned[OWNED_MAX]; /* texts from configurations; settings_free() */
    size_t owned_count;
};

/* Each takes its operands, without its own name; prints to standard output, complaints to standard
 * error; gives the exit status. */
enum status command_migrate(const struct settings *settings, char **operands, size_t count);
enum status command_status(const struct settings *settings, char **operands, size_t count);
enum status command_check(const struct settings *settings, char **operands, size_t count);

/* `mapctl: ` and the text as one line on standard error, control characters as '?'. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints a peer's text on standard output, control characters as '?': it forges no line. */
void print_slice(struct slice text);

#endif
