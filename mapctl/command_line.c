/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: options of every command stand before or behind the command's name, its own
 * behind it. */
#include "common/version.h"
#include "mapctl/commands.h"
#include "mapctl/settings.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#define OPTIONS_MAX 64
#define CONFIGS_MAX 4

enum common_option {
    COMMON_CONFIG = 1,
    COMMON_MAPPERD,
    COMMON_PROXY,
    COMMON_DATABASE,
    COMMON_JSON,
    COMMON_HELP,
    COMMON_VERSION
};

const struct option_row COMMON_OPTIONS[] = {
    { COMMON_CONFIG, "config", VALUE_FILE, "FILE",
      "take sockets and database from a configuration of mapperd or proxy; may be given again" },
    { COMMON_MAPPERD, "mapperd-socket", VALUE_FILE, "PATH",
      "else MAPPERD_SOCKET, else /run/holdline/mapperd.sock" },
    { COMMON_PROXY, "proxy-socket", VALUE_FILE, "PATH",
      "else PROXY_SOCKET, else /run/holdline/proxy.sock" },
    { COMMON_DATABASE, "database", VALUE_TEXT, "TEXT",
      "libpq connection text or URI; else the PG... environment" },
    { COMMON_JSON, "json", VALUE_NONE, NULL, "print JSON, one document a line, instead of text" },
    { COMMON_HELP, "help", VALUE_NONE, NULL, "how this command is used" },
    { COMMON_VERSION, "version", VALUE_NONE, NULL, "which build this is" },
    { 0 },
};

/* What is read before the command's name and behind it. */
struct line {
    struct settings *settings;
    struct arguments *arguments;
    const char *configs[CONFIGS_MAX];
    size_t config_count;
    const struct command *command; /* NULL: none was named */
    bool help, version;
};

/* getopt's val of a row is its place among common and own together, above all characters. */
#define VAL_FIRST 256

struct getopt_rows {
    struct option options[OPTIONS_MAX + 1];
    const struct option_row *rows[OPTIONS_MAX];
    size_t count, common;
};

static void add_rows(struct getopt_rows *all, const struct option_row *rows)
{
    for (; rows != NULL && rows->name != NULL; rows++) {
        assert(all->count < OPTIONS_MAX);
        all->options[all->count] =
            (struct option){ rows->name, rows->kind == VALUE_NONE ? no_argument : required_argument,
                             NULL, VAL_FIRST + (int)all->count };
        all->rows[all->count++] = rows;
    }
}

/* Whether `value` is one of the words that `list` divides by '|'. */
static bool is_word(const char *list, const char *value)
{
    size_t size = strlen(value);

    for (const char *word = list; word != NULL; word = strchr(word, '|')) {
        word += *word == '|';
        if (strcspn(word, "|") == size && memcmp(word, value, size) == 0)
            return true;
    }
    return false;
}

static bool take_common(struct line *line, const struct option_row *row, const char *value)
{
    struct settings *settings = line->settings;

    switch ((enum common_option)row->id) {
    case COMMON_CONFIG:
        if (line->config_count == CONFIGS_MAX) {
            complain("--config may be given %d times", CONFIGS_MAX);
            return false;
        }
        line->configs[line->config_count++] = value;
        break;
    case COMMON_MAPPERD:
        settings->mapperd_socket = value;
        break;
    case COMMON_PROXY:
        settings->proxy_socket = value;
        break;
    case COMMON_DATABASE:
        settings->database = value;
        break;
    case COMMON_JSON:
        settings->json = true;
        break;
    case COMMON_HELP:
        line->help = true;
        break;
    case COMMON_VERSION:
        line->version = true;
        break;
    }
    return true;
}

static bool take_own(struct arguments *arguments, const struct option_row *row, const char *value)
{
    if (row->kind == VALUE_WORD && !is_word(row->value, value)) {
        complain("--%s %s: write one of %s", row->name, value, row->value);
        return false;
    }
    if (arguments->given_count == GIVEN_MAX) {
        complain("at most %d options may be given", GIVEN_MAX);
        return false;
    }
    arguments->given[arguments->given_count].id = row->id;
    arguments->given[arguments->given_count++].value = value;
    return true;
}

static const struct option_row *row_of(const struct getopt_rows *all, int val)
{
    return val >= VAL_FIRST && val < VAL_FIRST + (int)all->count ? all->rows[val - VAL_FIRST]
                                                                 : NULL;
}

/* `word` is what getopt stands at. */
static bool complain_option(const struct getopt_rows *all, int option, const char *word)
{
    const struct option_row *row = row_of(all, optopt);

    if (option == ':' && row != NULL)
        complain("--%s needs a value: --%s %s", row->name, row->name, row->value);
    else if (row != NULL)
        complain("--%s takes no value", row->name);
    else if (optopt != 0)
        complain("there is no option -%c", optopt);
    else
        complain("there is no option %s here", word);
    return false;
}

/* Reads options from argv[1] on, up to the first operand when `own` is NULL, else all of them;
 * optind is the first operand then. */
static bool read_options(struct line *line, int argc, char **argv, const struct option_row *own)
{
    struct getopt_rows all = { 0 };

    add_rows(&all, COMMON_OPTIONS);
    all.common = all.count;
    add_rows(&all, own);
    optind = 0; /* begin anew */
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, line->arguments->options ? ":h" : "+:h",
                                           all.options, NULL)) != -1;) {
        const struct option_row *row = row_of(&all, option);
        if (option == 'h')
            line->help = true;
        else if (row == NULL)
            return complain_option(&all, option, argv[optind - 1]);
        else if (option < VAL_FIRST + (int)all.common ? !take_common(line, row, optarg)
                                                      : !take_own(line->arguments, row, optarg))
            return false;
    }
    return true;
}

static bool read_configs(struct line *line, const struct command *command)
{
    if (command->administers && line->settings->database == NULL)
        line->settings->database = "";
    for (size_t i = 0; i < line->config_count; i++) {
        if (settings_read_config(line->settings, line->configs[i]) != ERROR_NONE)
            return false;
    }
    settings_complete(line->settings);
    return true;
}

static bool count_operands(const struct command *command, size_t count)
{
    if (count >= command->operands_min && count <= command->operands_max)
        return true;
    if (command->operands_max == 0)
        complain("%s takes no operand", command->name);
    else
        complain("%s takes %s", command->name, command->operands);
    return false;
}

static enum status print_version(void)
{
    puts("mapctl " HOLDLINE_VERSION);
    return STATUS_GOOD;
}

static enum status run_named(struct line *line, int argc, char **argv)
{
    static const struct option_row NONE[] = { { 0 } };
    const struct command *command = command_named(argv[0]);
    struct arguments *arguments = line->arguments;

    if (command == NULL) {
        complain("there is no command %s", argv[0]);
        return STATUS_USAGE;
    }
    line->command = command;
    arguments->options = command->options ? command->options : NONE;
    if (!read_options(line, argc, argv, arguments->options))
        return STATUS_USAGE;
    if (line->version)
        return print_version();
    if (line->help) {
        help_print(command);
        return STATUS_GOOD;
    }
    arguments->operands = argv + optind;
    arguments->operand_count = (size_t)(argc - optind);
    if (!count_operands(command, arguments->operand_count) || !read_configs(line, command))
        return STATUS_USAGE;
    return command->run(line->settings, arguments);
}

enum status command_line_run(int argc, char **argv)
{
    struct settings settings = { 0 };
    struct arguments arguments = { 0 };
    struct line line = { .settings = &settings, .arguments = &arguments };
    enum status status = STATUS_USAGE;

    if (read_options(&line, argc, argv, NULL)) {
        if (line.version) {
            status = print_version();
        } else if (optind < argc) {
            status = run_named(&line, argc - optind, argv + optind);
        } else if (line.help) {
            help_print(NULL);
            status = STATUS_GOOD;
        } else {
            complain("no command is given");
        }
    }
    if (status == STATUS_USAGE && line.command != NULL)
        fprintf(stderr, "mapctl help %s says how it is used.\n", line.command->name);
    else if (status == STATUS_USAGE)
        fputs("mapctl help, and mapctl help COMMAND, say how it is used.\n", stderr);
    if (!output_finish() && status == STATUS_GOOD)
        status = STATUS_BAD;
    settings_free(&settings);
    return status;
}

/* ---- What a command asks ---- */

const char *option_next(const struct arguments *arguments, int id, size_t *cursor)
{
    while (*cursor < arguments->given_count) {
        size_t at = (*cursor)++;
        if (arguments->given[at].id == id)
            return arguments->given[at].value;
    }
    return NULL;
}

bool option_given(const struct arguments *arguments, int id)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (arguments->given[i].id == id)
            return true;
    }
    return false;
}

const char *option_text(const struct arguments *arguments, int id, const char *otherwise)
{
    size_t cursor = 0;

    for (const char *next; (next = option_next(arguments, id, &cursor)) != NULL;)
        otherwise = next;
    return otherwise;
}

bool option_number(const struct arguments *arguments, int id, uint64_t min, uint64_t max,
                   uint64_t *value)
{
    const char *text = option_text(arguments, id, NULL);
    const struct option_row *row = arguments->options;
    unsigned long long number;

    if (text == NULL)
        return true;
    if (slice_to_u64(slice_of(text), max, &number) && number >= min) {
        *value = number;
        return true;
    }
    while (row->name != NULL && row->id != id)
        row++;
    complain("--%s %s: write a number from %" PRIu64 " to %" PRIu64, row->name ? row->name : "?",
             text, min, max);
    return false;
}
