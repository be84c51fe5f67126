/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of BIND and UNBIND: read and bounded before anything is done with them. Pure. */
#ifndef HOLDLINE_MAPPERD_COMMAND_H
#define HOLDLINE_MAPPERD_COMMAND_H

#include "common/resp.h"
#include "mapperd/message.h"

/* Fills message->bind, ->binding and ->text (each field NUL-terminated). *why is a static text that
 * names the argument. */
enum error command_read_bind(const struct resp_command *command, struct loop_message *message,
                             const char **why) MUST_CHECK;
enum error command_read_unbind(const struct resp_command *command, struct loop_message *message,
                               const char **why) MUST_CHECK;

#endif
