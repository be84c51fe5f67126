/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of mapctl; docs/HACKING.md says how to add one. */
#include "mapctl/commands.h"

const struct command *const COMMANDS[] = {
    &command_migrate,    &command_status, &command_check,
    &command_history,    &command_import, &command_export,
    &command_completion, &command_help,   NULL,
};

const struct command *command_named(const char *name)
{
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}
