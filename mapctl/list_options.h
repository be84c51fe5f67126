/* SPDX-License-Identifier: Apache-2.0 */
/* The options that import and export share: which format a list has, and of which trust store it
 * is. */
#ifndef HOLDLINE_MAPCTL_LIST_OPTIONS_H
#define HOLDLINE_MAPCTL_LIST_OPTIONS_H

#include "mapctl/command.h"
#include "mapctl/list/reader.h"

enum list_option {
    LIST_OPTION_FORMAT = 1,
    LIST_OPTION_STORE,
    LIST_OPTION_DELIMITER,
    LIST_OPTION_COLUMNS,
    LIST_OPTION_IDENTITY,
    LIST_OPTION_SEQUENCE,
    LIST_OPTION_ENCODING,
    LIST_OPTION_OWN /* the first number that a command has for itself */
};

#define LIST_OPTION_ROWS                                                                           \
    { LIST_OPTION_FORMAT, "format", VALUE_WORD, "repro|mac|csv|tsv", "of the list" },              \
        { LIST_OPTION_STORE, "store", VALUE_TEXT, "NAME", "trust store; else device" },            \
    {                                                                                              \
        LIST_OPTION_DELIMITER, "delimiter", VALUE_TEXT, "CHARACTER",                               \
            "csv, tsv: what stands between fields; else a comma, or what the header shows; a TAB " \
            "in tsv"                                                                               \
    }

/* Takes the format, what else it is made of, and nothing of the store. False: already said. */
bool list_options_read(const struct arguments *arguments, struct list_options *options);

const char *list_options_store(const struct arguments *arguments);

#endif
