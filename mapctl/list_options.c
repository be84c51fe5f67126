/* SPDX-License-Identifier: Apache-2.0 */
/* From the command line to a list's format. */
#include "mapctl/list_options.h"

#include <ctype.h>

static enum list_format format_named(const char *name)
{
    static const char *const NAMES[] = {
        [LIST_REPRO] = "repro", [LIST_MAC] = "mac", [LIST_CSV] = "csv", [LIST_TSV] = "tsv"
    };

    for (size_t i = LIST_REPRO; i <= LIST_TSV; i++) {
        if (strcmp(name, NAMES[i]) == 0)
            return (enum list_format)i;
    }
    return LIST_FORMAT_NONE;
}

/* An option that only one format has says which it is. */
static enum list_format format_of(const struct arguments *arguments,
                                  const struct list_options *options)
{
    const char *name = option_text(arguments, LIST_OPTION_FORMAT, NULL);

    if (name != NULL)
        return format_named(name);
    if (options->columns != NULL || options->delimiter != '\0')
        return LIST_CSV;
    if (options->identity != NULL || options->sequence != NULL)
        return LIST_MAC;
    return LIST_REPRO;
}

/* What can't be taken for a part of a value, or for the end of a line. */
static bool read_delimiter(const struct arguments *arguments, char *delimiter)
{
    const char *text = option_text(arguments, LIST_OPTION_DELIMITER, NULL);

    if (text == NULL)
        return true;
    if (strcmp(text, "\\t") == 0)
        text = "\t";
    if (strlen(text) == 1 && !isalnum((unsigned char)*text) && !strchr("\"#'@ \r\n", *text) &&
        (*text == '\t' || isprint((unsigned char)*text))) {
        *delimiter = *text;
        return true;
    }
    complain("--delimiter %s: write one character, such as ';' or '|', or \\t for a TAB", text);
    return false;
}

bool list_options_read(const struct arguments *arguments, struct list_options *options)
{
    *options = (struct list_options){
        .columns = option_text(arguments, LIST_OPTION_COLUMNS, NULL),
        .identity = option_text(arguments, LIST_OPTION_IDENTITY, NULL),
        .sequence = option_text(arguments, LIST_OPTION_SEQUENCE, NULL),
        .encoding = option_text(arguments, LIST_OPTION_ENCODING, NULL),
    };
    if (!read_delimiter(arguments, &options->delimiter))
        return false;
    options->format = format_of(arguments, options);
    return true;
}

const char *list_options_store(const struct arguments *arguments)
{
    return option_text(arguments, LIST_OPTION_STORE, "device");
}
