/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of mapctl; docs/HACKING.md says how to add one. */
#include "mapctl/commands.h"

/* One a line, so that two who add one do not meet. */
/* clang-format off */
const struct command *const COMMANDS[] = {
    &command_migrate,
    &command_status,
    &command_check,
    &command_import,
    &command_export,
    &command_history,
    &command_unmapped,
    &command_credential,
    &command_watch,
    &command_exporter,
    &command_completion,
    &command_help,
    NULL,
};
/* clang-format on */

const struct command *command_named(const char *name)
{
    for (const struct command *const *c = COMMANDS; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}
