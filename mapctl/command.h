/* SPDX-License-Identifier: Apache-2.0 */
/* What a subcommand of mapctl is, and what it is given. Each is one `struct command`, in a file of
 * its own, and one row of COMMANDS in mapctl/commands.c; command line, help and shell completion
 * are made from these tables. One thread; blocking calls with time limits. */
#ifndef HOLDLINE_MAPCTL_COMMAND_H
#define HOLDLINE_MAPCTL_COMMAND_H

#include "mapctl/output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses, the same for every subcommand; docs/mapctl.md lists them. */
enum status {
    STATUS_GOOD = 0,        /* done; allowed; all is well */
    STATUS_BAD = 1,         /* failed; denied; something is not well */
    STATUS_USAGE = 2,       /* the command line or a configuration file is wrong */
    STATUS_UNREACHABLE = 3, /* mapperd, proxy or database does not answer */
};

/* What an operand or an option's value is, for completion in the shell. */
enum value_kind {
    VALUE_NONE = 0, /* there is none: a flag; a command without operands */
    VALUE_TEXT,     /* nothing to propose */
    VALUE_FILE,
    VALUE_FOLDER,
    VALUE_WORD,    /* one of those that `value` lists, divided by '|'; anything else is refused */
    VALUE_COMMAND, /* name of a subcommand */
};

/* One option of a subcommand: a row of its table, which ends with a row without name. */
struct option_row {
    int id;           /* the subcommand's own number for it, from 1 */
    const char *name; /* without the two dashes */
    enum value_kind kind;
    const char *value; /* how help calls it: "DIR", "csv|tsv"; NULL for a flag */
    const char *help;  /* one sentence or two, as one line of text */
};

/* What every subcommand gets. Texts are argv's, the environment's, constant, or owned here. */
#define OWNED_MAX 4 /* each of the texts below is set once */
struct settings {
    const char *mapperd_socket;
    const char *proxy_socket;
    const char *database; /* libpq connection text; "" = the PG… environment */
    bool json;            /* --json: one document on standard output instead of text */
    char *owned[OWNED_MAX];
    size_t owned_count;
};

#define GIVEN_MAX 64

/* A subcommand's operands, without its name, as many as its row permits, and its options in the
 * order of the command line; those of every command are in settings. */
struct arguments {
    char **operands;
    size_t operand_count;
    const struct option_row *options;
    struct {
        int id;
        const char *value; /* NULL for a flag */
    } given[GIVEN_MAX];
    size_t given_count;
};

struct command {
    const char *name;
    const char *operands; /* as help writes them; "" = none */
    enum value_kind operand_kind;
    size_t operands_min, operands_max;
    const char *brief; /* one line of help */
    const char *help;  /* further sentences; a line break begins a paragraph; NULL = none */
    const struct option_row *options; /* NULL = none */
    /* Acts in the database as a role that may write: takes --database or the environment, never
     * what --config says, since mapperd's role may not. */
    bool administers;
    /* Prints to standard output, complaints to standard error; gives the exit status. */
    enum status (*run)(const struct settings *settings, const struct arguments *arguments);
};

/* In the order of help; the last is NULL. */
extern const struct command *const COMMANDS[];

const struct command *command_named(const char *name); /* NULL: there is none */

/* The whole of mapctl: reads the command line and runs the subcommand it names. */
enum status command_line_run(int argc, char **argv);

/* `mapctl help`, of all commands or of one. */
void help_print(const struct command *command);

/* The options that every command has; ends with a row without name. */
extern const struct option_row COMMON_OPTIONS[];

bool option_given(const struct arguments *arguments, int id);

/* The value that was given last, or `otherwise`. */
const char *option_text(const struct arguments *arguments, int id, const char *otherwise);

/* The next value of an option that may be repeated; *cursor begins with 0. NULL: no more. */
const char *option_next(const struct arguments *arguments, int id, size_t *cursor);

/* Reads a number that was given into *value, else leaves it. False: it is none, or not in
 * [min, max]; already said, the caller ends with STATUS_USAGE. */
bool option_number(const struct arguments *arguments, int id, uint64_t min, uint64_t max,
                   uint64_t *value);

#endif
