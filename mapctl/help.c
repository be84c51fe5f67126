/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl help: made from the tables of commands and options. */
#include "mapctl/commands.h"

#include <stdio.h>

#define WIDTH  80
#define INDENT 25 /* of what an option is for */

/* Prints `text` from `column` on, wrapped at WIDTH, further lines behind `indent` blanks. */
static void print_wrapped(const char *text, int column, int indent)
{
    while (*text) {
        int size = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + size > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", size, text);
        column += size;
        text += size;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
        }
        text += *text != '\0';
    }
    putchar('\n');
}

static void print_options(const struct option_row *row)
{
    for (; row != NULL && row->name != NULL; row++) {
        int size =
            printf("  --%s%s%s", row->name, row->value ? " " : "", row->value ? row->value : "");
        if (size >= INDENT) {
            putchar('\n');
            size = 0;
        }
        printf("%*s", INDENT - size, "");
        print_wrapped(row->help, INDENT, INDENT);
    }
}

static void print_all(void)
{
    puts("Usage: mapctl [OPTIONS] COMMAND [OPTIONS] [OPERANDS]\n");
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        printf("  %s%s%s\n%*s", (*c)->name, *(*c)->operands ? " " : "", (*c)->operands, 10, "");
        print_wrapped((*c)->brief, 10, 10);
    }
    puts("\nmapctl help COMMAND says more. Of every command:\n");
    print_options(COMMON_OPTIONS);
    puts("\nExit status: 0 done, allowed, all is well; 1 failed, denied, something is not well;\n"
         "2 wrong usage; 3 mapperd, proxy or database does not answer.");
}

void help_print(const struct command *command)
{
    if (command == NULL) {
        print_all();
        return;
    }
    printf("Usage: mapctl %s [OPTIONS]%s%s\n\n", command->name, *command->operands ? " " : "",
           command->operands);
    print_wrapped(command->brief, 0, 0);
    if (command->help != NULL) {
        putchar('\n');
        print_wrapped(command->help, 0, 0);
    }
    if (command->options != NULL) {
        putchar('\n');
        print_options(command->options);
    }
    puts("\nOf every command:\n");
    print_options(COMMON_OPTIONS);
    if (command->administers)
        puts("\nThe database is never taken from --config: mapperd's role may not do this.");
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    const struct command *command = NULL;

    (void)settings;
    if (arguments->operand_count > 0) {
        command = command_named(arguments->operands[0]);
        if (command == NULL) {
            complain("there is no command %s", arguments->operands[0]);
            return STATUS_USAGE;
        }
    }
    help_print(command);
    return STATUS_GOOD;
}

const struct command command_help = {
    .name = "help",
    .operands = "[COMMAND]",
    .operand_kind = VALUE_COMMAND,
    .operands_max = 1,
    .brief = "how mapctl, or one command, is used",
    .run = run,
};
