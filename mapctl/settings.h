/* SPDX-License-Identifier: Apache-2.0 */
/* Where mapctl finds mapperd, proxy and database: options first, then --config files, then the
 * environment, then the defaults of the programs. */
#ifndef HOLDLINE_MAPCTL_SETTINGS_H
#define HOLDLINE_MAPCTL_SETTINGS_H

#include "common/error.h"
#include "mapctl/command.h"

/* Takes what is still unset from a configuration file of mapperd or of the proxy; options that
 * mapctl does not need are passed over. ERROR_CONFIG: already reported, with file and line. */
enum error settings_read_config(struct settings *settings, const char *path) MUST_CHECK;

/* Fills what is left from MAPPERD_SOCKET, PROXY_SOCKET and the defaults. */
void settings_complete(struct settings *settings);

void settings_free(struct settings *settings);

#endif
