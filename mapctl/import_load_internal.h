/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loader share. */
#ifndef HOLDLINE_MAPCTL_IMPORT_LOAD_INTERNAL_H
#define HOLDLINE_MAPCTL_IMPORT_LOAD_INTERNAL_H

#include "mapctl/import_load.h"

/* $1 is the trust store, $2 and $3 what is given or not. NULL on failure, which is said. */
PGresult *load_run(struct load *load, const char *statement, const char *second, const char *third);

/* One statement or several, without parameters. */
bool load_run_plain(struct load *load, const char *statements);

/* Of the rows of a device in tenant_device, i is the one that is shown: who provisions two domains
 * may have two. */
#define LOAD_FIRST_OWN                                    \
    " AND NOT EXISTS (SELECT FROM public.tenant_device o" \
    " WHERE o.trust_store = i.trust_store AND o.cn = i.cn AND o.domain < i.domain)"

uint64_t load_number_at(const PGresult *result, int row, int column);

#endif
