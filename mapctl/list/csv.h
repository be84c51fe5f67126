/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of CSV or TSV as records of fields (libcsv does the quoting, strictly). A record may go
 * over several lines inside quotes; it is bounded, so that a quote that is never closed costs no
 * memory and no more than its record. Pure; one thread. */
#ifndef HOLDLINE_MAPCTL_LIST_CSV_H
#define HOLDLINE_MAPCTL_LIST_CSV_H

#include "mapctl/list/text.h"

#include <csv.h>

#define LIST_FIELDS_MAX 1024
#define LIST_RECORD_MAX (2 * LIST_LINE_MAX) /* octets, with quotes */

/* `line` is where the record begins. `wrong` is NULL, or what to write instead; then there are no
 * fields. Fields are valid during the call. False: stop. */
typedef bool list_record_function(void *context, uint64_t line, const struct slice *fields,
                                  size_t count, const char *wrong);

struct list_csv {
    struct csv_parser parser;
    list_record_function *on_record;
    void *context;
    char delimiter;
    uint64_t line; /* of the record's beginning */
    size_t taken;  /* octets of the record so far; 0 = outside */
    const char *wrong;
    struct buffer octets;                 /* of the fields */
    size_t ends[LIST_FIELDS_MAX];         /* where each field ends in octets */
    struct slice fields[LIST_FIELDS_MAX]; /* made when the record is complete */
    size_t count;
    bool complete, no_memory;
};

enum error list_csv_init(struct list_csv *csv, char delimiter, list_record_function *on_record,
                         void *context) MUST_CHECK;
void list_csv_free(struct list_csv *csv);

/* The next line, as list_line_function has it; blank ones and those with '#' in front are passed
 * over outside of a record. ERROR_CLOSED: on_record said stop. */
enum error list_csv_line(struct list_csv *csv, uint64_t number, struct slice text,
                         enum list_fault fault) MUST_CHECK;
/* After the last line: complains of a quote that is still open. */
enum error list_csv_end(struct list_csv *csv) MUST_CHECK;

#endif
