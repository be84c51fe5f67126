/* SPDX-License-Identifier: Apache-2.0 */
/* What mapctl import says: complaints as they come, a summary before it acts, a document for
 * --json. */
#ifndef HOLDLINE_MAPCTL_IMPORT_REPORT_H
#define HOLDLINE_MAPCTL_IMPORT_REPORT_H

#include "mapctl/import_load.h"
#include "mapctl/progress.h"

#include <stdio.h>

/* One run of the command. */
struct import {
    const char *file;
    struct list_options list;
    bool json, dry_run, skip_bad, replace, refuse_conflicts, yes;
    int descriptor;
    uint64_t octets, size; /* read; 0 = of unknown size */
    struct load load;
    struct list_reader *reader;
    struct progress progress;
    uint64_t rows, wrong;
    bool load_failed, written;
    struct load_summary summary;
    uint64_t conflicts[LOAD_CONFLICTS];
    json_t *complaints;
};

/* `FILE:LINE: what` on standard error; `kind` is "" of a wrong line, else stands before it. */
void import_complain(struct import *import, uint64_t line, const char *kind, const char *what);

uint64_t import_conflicts(const struct import *import);
void import_print_summary(FILE *out, const struct import *import);
void import_print_document(struct import *import);

#endif
