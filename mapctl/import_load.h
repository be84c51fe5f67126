/* SPDX-License-Identifier: Apache-2.0 */
/* The database's side of mapctl import: a list goes into a temporary table by COPY, is compared
 * with the mappings there are, and what differs is written, all in one transaction. Only plain
 * INSERT and DELETE reach cn_mapping, so that triggers, audit and row-level security hold as for
 * anyone, and a role with one domain can load its own devices.
 *
 * In this order: load_open, load_begin, load_add for each row, load_stage, load_check,
 * load_compare, load_conflicts, load_apply, load_commit. A function that gives false has said why
 * on standard error; load_close() then leaves the database as it was. */
#ifndef HOLDLINE_MAPCTL_IMPORT_LOAD_H
#define HOLDLINE_MAPCTL_IMPORT_LOAD_H

#include "common/buffer.h"
#include "mapctl/command.h"
#include "mapctl/list/reader.h"
#include "mapctl/list/seen.h"

#include <libpq-fe.h>

struct load {
    PGconn *connection;
    const char *store; /* name of the trust store */
    bool tenant;       /* label and site are those of tenant_device, not of device_info */
    struct list_store form;
    PGresult *form_result; /* holds the prefixes */
    struct buffer copy;    /* rows that are not sent yet */
    bool copying, has_label, has_site;
    bool has_words; /* an identity is one word: a domain only if it is ours */
    /* What is certainly not twice in the list needs no look by SQL. */
    struct list_seen cns, identities;
    bool cn_repeated, identity_repeated;
    uint64_t devices, mappings;  /* added so far */
    uint64_t pages, place_pages; /* of the tables of what is to be written */
};

/* What the list changes; figures of load_compare(). */
struct load_summary {
    uint64_t rows; /* mappings as the list has them, repetitions and all */
    uint64_t mappings_listed, mappings_added, mappings_removed, mappings_unchanged;
    uint64_t places_changed; /* devices whose label or site changes */
    uint64_t devices_listed, devices_added, devices_changed, devices_removed, devices_unchanged;
};

enum load_conflict {
    LOAD_CN_HAS_OTHERS = 0,   /* the CN is mapped to what the list does not have */
    LOAD_IDENTITY_OF_ANOTHER, /* another CN has the identity */
    LOAD_MAPPING_REPEATED,    /* the list has CN and identity twice */
    LOAD_CN_REPEATED,         /* the list has the CN on several lines */
    LOAD_IDENTITY_REPEATED,   /* the list gives several CNs the identity */
    LOAD_CONFLICTS
};

/* `what` is one line of clean text. */
typedef void load_complaint(void *context, uint64_t line, const char *what);
/* False: stop. */
typedef bool load_progress(void *context, uint64_t done, uint64_t total);

/* Connects and reads the trust store's form. STATUS_USAGE: there is no such store. */
enum status load_open(struct load *load, const char *database, const char *store) MUST_CHECK;
bool load_begin(struct load *load) MUST_CHECK;
bool load_add(struct load *load, const struct list_row *row) MUST_CHECK;
bool load_stage(struct load *load) MUST_CHECK;

/* Complains of lines that only the database knows to be wrong, and takes them out of the list;
 * *count is how many. */
bool load_check(struct load *load, load_complaint *complaint, void *context,
                uint64_t *count) MUST_CHECK;

/* With `replace`, what the store has and the list lacks is to be removed. */
bool load_compare(struct load *load, bool replace, struct load_summary *summary) MUST_CHECK;

/* Complains of the first `each` conflicts of every kind; `counts` has all. */
bool load_conflicts(struct load *load, bool replace, const struct load_summary *summary,
                    unsigned each, load_complaint *complaint, void *context,
                    uint64_t counts[LOAD_CONFLICTS]) MUST_CHECK;

/* Writes what load_compare() found, in steps that `progress` is told. */
bool load_apply(struct load *load, bool replace, load_progress *progress, void *context) MUST_CHECK;
bool load_commit(struct load *load) MUST_CHECK;

/* Rolls back what is not committed. */
void load_close(struct load *load);

#endif
