/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a configuration (config_read.c) and using one (config.c) share. */
#ifndef HOLDLINE_COMMON_CONFIG_INTERNAL_H
#define HOLDLINE_COMMON_CONFIG_INTERNAL_H

#include "common/config.h"

struct config_value {
    const struct option_spec *spec;
    char *file; /* NULL: it has its default */
    int line;
    int64_t integer;
    bool boolean;
    char *text;
    char **items;
    size_t item_count;
};

struct config_section {
    const char *kind; /* "" = top level; of the table */
    char *title, *file;
    int line;
    struct config_value *values;
    size_t value_count;
};

struct config_file {
    struct config_section *sections; /* the first is the top level */
    size_t section_count;
};

/* FILE:LINE: what, or FILE: what with line 0: to standard error, or the log once that is open. */
void config_complain_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The file's text with a NUL behind it, comments blanked, braces counted; the caller frees it.
 * NULL: *error is ERROR_CONFIG, complained, or ERROR_MEMORY. */
char *config_load_text(const char *path, enum error *error) MUST_CHECK;

#endif
