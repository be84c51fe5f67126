/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of subcommands, one for each file that has one. */
#ifndef HOLDLINE_MAPCTL_COMMANDS_H
#define HOLDLINE_MAPCTL_COMMANDS_H

#include "mapctl/command.h"

extern const struct command command_migrate;
extern const struct command command_status;
extern const struct command command_check;
extern const struct command command_exporter;
extern const struct command command_completion;
extern const struct command command_history;
extern const struct command command_unmapped;
extern const struct command command_credential;
extern const struct command command_watch;
extern const struct command command_import;
extern const struct command command_export;
extern const struct command command_help;

#endif
