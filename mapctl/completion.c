/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl completion: scripts for shells, made from the tables of commands and options. */
#include "mapctl/commands.h"

#include <stdio.h>

static bool is_row(const struct option_row *row)
{
    return row != NULL && row->name != NULL;
}

/* The words of a list that '|' divides, with blanks between. */
static void print_words(const char *list)
{
    for (; *list; list++)
        putchar(*list == '|' ? ' ' : *list);
}

static void print_names(const struct option_row *row, const char *before)
{
    for (; is_row(row); row++)
        printf("%s--%s", before, row->name);
}

static void print_commands(const char *between)
{
    for (const struct command *const *c = COMMANDS; *c != NULL; c++)
        printf("%s%s", c == COMMANDS ? "" : between, (*c)->name);
}

/* Prints a text for the inside of single quotes, with a backslash before each of `special`. */
static void print_quoted(const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
            continue;
        }
        if (strchr(special, *text) != NULL)
            putchar('\\');
        putchar(*text);
    }
}

/* ---- bash ---- */

/* A line of the script that proposes what a value may be. */
static void bash_propose(enum value_kind kind, const char *words)
{
    switch (kind) {
    case VALUE_NONE:
    case VALUE_TEXT:
        puts("return ;;");
        break;
    case VALUE_FILE:
        puts("_mapctl_files -f; return ;;");
        break;
    case VALUE_FOLDER:
        puts("_mapctl_files -d; return ;;");
        break;
    case VALUE_WORD:
        fputs("words='", stdout);
        print_words(words);
        puts("' ;;");
        break;
    case VALUE_COMMAND:
        fputs("words='", stdout);
        print_commands(" ");
        puts("' ;;");
        break;
    }
}

static void bash_values(const char *command, const struct option_row *row)
{
    for (; is_row(row); row++) {
        if (row->kind == VALUE_NONE)
            continue;
        printf("    %s:--%s) ", command, row->name);
        bash_propose(row->kind, row->value);
    }
}

/* Steps over values of common options to the command's name. */
static void bash_find_command(void)
{
    puts("    for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "        case ${COMP_WORDS[i]} in");
    for (const struct option_row *row = COMMON_OPTIONS; is_row(row); row++) {
        if (row->kind != VALUE_NONE)
            printf("        --%s) ((i++)) ;;\n", row->name);
    }
    puts("        -*) ;;\n"
         "        *) command=${COMP_WORDS[i]}; break ;;\n"
         "        esac\n"
         "    done");
}

static void print_bash(void)
{
    puts("# Source it, or lay it down as /usr/share/bash-completion/completions/mapctl.\n"
         "_mapctl_files() {\n"
         "    compopt -o filenames 2>/dev/null || :\n"
         "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
         "}\n"
         "_mapctl() {\n"
         "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "    local command='' words='' i\n"
         "    COMPREPLY=()");
    bash_find_command();
    puts("    case $command:$previous in");
    bash_values("*", COMMON_OPTIONS);
    for (const struct command *const *c = COMMANDS; *c != NULL; c++)
        bash_values((*c)->name, (*c)->options);
    puts("    *) case $command:$current in");
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        printf("    %s:-*) words='", (*c)->name);
        print_names((*c)->options, " ");
        print_names(COMMON_OPTIONS, " ");
        printf("' ;;\n    %s:*) ", (*c)->name);
        bash_propose((*c)->operand_kind, (*c)->operands);
    }
    fputs("    :-*) words='", stdout);
    print_names(COMMON_OPTIONS, " ");
    fputs("' ;;\n    :*) words='", stdout);
    print_commands(" ");
    puts("' ;;\n"
         "    esac ;;\n"
         "    esac\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
         "}\n"
         "complete -F _mapctl mapctl");
}

/* ---- zsh ---- */

/* What follows ':NAME:' of an argument. */
static void zsh_action(enum value_kind kind, const char *words)
{
    switch (kind) {
    case VALUE_NONE:
    case VALUE_TEXT:
        putchar(' ');
        break;
    case VALUE_FILE:
        fputs("_files", stdout);
        break;
    case VALUE_FOLDER:
        fputs("_files -/", stdout);
        break;
    case VALUE_WORD:
        putchar('(');
        print_words(words);
        putchar(')');
        break;
    case VALUE_COMMAND:
        putchar('(');
        print_commands(" ");
        putchar(')');
        break;
    }
}

static void zsh_options(const struct option_row *row)
{
    for (; is_row(row); row++) {
        printf("        '*--%s[", row->name);
        print_quoted(row->help, "\\[]:");
        putchar(']');
        if (row->kind != VALUE_NONE) {
            putchar(':');
            print_quoted(row->value, "\\[]:");
            putchar(':');
            zsh_action(row->kind, row->value);
        }
        puts("'");
    }
}

static void print_zsh(void)
{
    puts("#compdef mapctl\n"
         "# Lay it down as _mapctl in a folder of $fpath.\n"
         "_mapctl() {\n"
         "    local context state state_descr line\n"
         "    typeset -A opt_args\n"
         "    local -a common commands own\n"
         "    common=(");
    zsh_options(COMMON_OPTIONS);
    puts("    )\n    commands=(");
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        printf("        '%s:", (*c)->name);
        print_quoted((*c)->brief, "\\:");
        puts("'");
    }
    puts("    )\n"
         "    _arguments -C $common '1:command:->command' '*::operand:->rest' && return\n"
         "    if [[ $state == command ]]; then\n"
         "        _describe -t commands command commands\n"
         "        return\n"
         "    fi\n"
         "    case $words[1] in");
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        printf("    %s) own=(\n", (*c)->name);
        zsh_options((*c)->options);
        if ((*c)->operand_kind != VALUE_NONE) {
            fputs("        '*:operand:", stdout);
            zsh_action((*c)->operand_kind, (*c)->operands);
            puts("'");
        }
        puts("    ) ;;");
    }
    puts("    esac\n"
         "    _arguments $common $own\n"
         "}\n"
         "if [[ $funcstack[1] == _mapctl ]]; then _mapctl \"$@\"; else compdef _mapctl mapctl; fi");
}

/* ---- fish ---- */

/* The rest of a `complete` line: what a value may be. */
static void fish_value(enum value_kind kind, const char *words)
{
    switch (kind) {
    case VALUE_NONE:
        break;
    case VALUE_TEXT:
        fputs(" -x", stdout);
        break;
    case VALUE_FILE:
        fputs(" -r -F", stdout);
        break;
    case VALUE_FOLDER:
        fputs(" -x -a '(__fish_complete_directories)'", stdout);
        break;
    case VALUE_WORD:
        fputs(" -x -a '", stdout);
        print_words(words);
        putchar('\'');
        break;
    case VALUE_COMMAND:
        fputs(" -x -a '", stdout);
        print_commands(" ");
        putchar('\'');
        break;
    }
}

/* Of one command, or of all. */
static void fish_options(const char *command, const struct option_row *row)
{
    for (; is_row(row); row++) {
        fputs("complete -c mapctl", stdout);
        if (command != NULL)
            printf(" -n '__fish_seen_subcommand_from %s'", command);
        printf(" -l %s", row->name);
        fish_value(row->kind, row->value);
        fputs(" -d '", stdout);
        print_quoted(row->help, "\\");
        puts("'");
    }
}

static void print_fish(void)
{
    puts("# Lay it down as ~/.config/fish/completions/mapctl.fish.\n"
         "complete -c mapctl -f");
    fish_options(NULL, COMMON_OPTIONS);
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        printf("complete -c mapctl -n __fish_use_subcommand -a %s -d '", (*c)->name);
        print_quoted((*c)->brief, "\\");
        puts("'");
        fish_options((*c)->name, (*c)->options);
        if ((*c)->operand_kind == VALUE_NONE || (*c)->operand_kind == VALUE_TEXT)
            continue;
        printf("complete -c mapctl -n '__fish_seen_subcommand_from %s'", (*c)->name);
        fish_value((*c)->operand_kind, (*c)->operands);
        putchar('\n');
    }
}

/* ---- The command ---- */

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } SHELLS[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

    (void)settings;
    for (size_t i = 0; i < sizeof(SHELLS) / sizeof(SHELLS[0]); i++) {
        if (strcmp(arguments->operands[0], SHELLS[i].name) == 0) {
            SHELLS[i].print();
            return STATUS_GOOD;
        }
    }
    complain("%s is no shell that is known here; write bash, zsh or fish", arguments->operands[0]);
    return STATUS_USAGE;
}

const struct command command_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .operand_kind = VALUE_WORD,
    .operands_min = 1,
    .operands_max = 1,
    .brief = "a script that completes commands and options in a shell",
    .help = "bash: . <(mapctl completion bash), or its output as "
            "/usr/share/bash-completion/completions/mapctl\n"
            "zsh: its output as _mapctl in a folder of $fpath\n"
            "fish: its output as ~/.config/fish/completions/mapctl.fish",
    .run = run,
};
