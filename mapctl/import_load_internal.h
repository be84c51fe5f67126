/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loader share. */
#ifndef HOLDLINE_MAPCTL_IMPORT_LOAD_INTERNAL_H
#define HOLDLINE_MAPCTL_IMPORT_LOAD_INTERNAL_H

#include "mapctl/import_load.h"

/* $1 is the trust store, $2 and $3 what is given or not. NULL on failure, which is said. */
PGresult *load_run(struct load *load, const char *statement, const char *second, const char *third);

/* One statement or several, without parameters. */
bool load_run_plain(struct load *load, const char *statements);

uint64_t load_number_at(const PGresult *result, int row, int column);

#endif
