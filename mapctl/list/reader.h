/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of devices: bytes in, one call a device with canonical CN and identities, one call a line
 * that is wrong with what to write instead. Formats:
 *   repro  CN, TAB, identities with commas between: the file CommonNameMappings of repro
 *   mac    one MAC address a line; identities come from a template or a sequence
 *   csv, tsv  a header, then a record a device; columns by name
 * In each, blank lines and lines that begin with '#' are passed over. Pure: no file, no database;
 * memory does not grow with the list. One thread. */
#ifndef HOLDLINE_MAPCTL_LIST_READER_H
#define HOLDLINE_MAPCTL_LIST_READER_H

#include "mapctl/list/value.h"

#include <stdint.h>

enum list_format { LIST_FORMAT_NONE = 0, LIST_REPRO, LIST_MAC, LIST_CSV, LIST_TSV };

#define LIST_IDENTITIES_MAX 1000 /* of one line; more go on another line with the same CN */

struct list_options {
    enum list_format format;
    char delimiter;       /* of csv and tsv; '\0' = ',' and TAB */
    const char *columns;  /* cn=MAC,identity=Ext,label=Name,site=Place; NULL = cn, identity, … */
    const char *identity; /* a template; NULL = none */
    const char *sequence; /* NULL = none */
    const char *encoding; /* NULL = found out by the first bytes */
    struct list_store store;
};

/* Valid during the call. */
struct list_row {
    uint64_t line;
    struct slice cn;
    const struct slice *identities; /* canonical, each once or more as the list has it */
    size_t identity_count;
    bool has_label, has_site; /* the list has the column */
    struct slice label, site; /* '' = empty */
};

/* Each returns false to stop. */
struct list_sink {
    void *context;
    bool (*row)(void *context, const struct list_row *row);
    bool (*wrong)(void *context, uint64_t line, const char *what);
};

struct list_reader;

/* Options must outlive it. ERROR_CONFIG: `why` says what is wrong with them. mem_free() is not
 * enough: list_reader_free(). */
enum error list_reader_new(struct list_reader **out, const struct list_options *options,
                           const struct list_sink *sink, char why[LIST_WHY_MAX]) MUST_CHECK;
void list_reader_free(struct list_reader *reader);

/* ERROR_CLOSED: the sink said stop, or the header is wrong, which the sink was told: nothing more
 * can be read. ERROR_MEMORY. */
enum error list_reader_push(struct list_reader *reader, struct slice bytes) MUST_CHECK;
enum error list_reader_end(struct list_reader *reader) MUST_CHECK;

/* Lines that the reader has seen. */
uint64_t list_reader_lines(const struct list_reader *reader);

#endif
