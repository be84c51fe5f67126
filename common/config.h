/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a program's configuration with libconfuse from one table of options. Every error is
 * reported with file and line and what to write. The table is an X-macro file `options.def` of the
 * program: OPTION(section, name, type, default, minimum, maximum, reload, help). */
#ifndef HOLDLINE_COMMON_CONFIG_H
#define HOLDLINE_COMMON_CONFIG_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type { OPTION_INTEGER = 1, OPTION_BOOLEAN, OPTION_TEXT, OPTION_LIST };

struct option_spec {
    const char *section; /* "" = top level; else a titled section, e.g. "listener" */
    const char *name;
    enum option_type type;
    const char *default_text; /* NULL = required */
    int64_t minimum, maximum; /* of an integer; of a text or list: its length in octets or items */
    bool live;                /* SIGHUP can change it */
    const char *help;
};

struct config_file;

/* Reads `path` (libconfuse syntax, include() allowed). On ERROR_CONFIG every complaint is already
 * on standard error as FILE:LINE: what is wrong; what to write. *out is freed with
 * config_file_free(). */
enum error config_file_read(const char *path, const struct option_spec *specs, size_t count,
                            struct config_file **out) MUST_CHECK;
void config_file_free(struct config_file *file);

/* Getters for top level; text stays the file's. An option that is not in the table is a bug
 * (assert). */
int64_t config_integer(const struct config_file *file, const char *name);
bool config_boolean(const struct config_file *file, const char *name);
const char *config_text(const struct config_file *file, const char *name);

/* Titled sections in file order. */
struct config_section;
size_t config_section_count(const struct config_file *file, const char *section);
const struct config_section *config_section_at(const struct config_file *file, const char *section,
                                               size_t index);
const char *config_section_title(const struct config_section *s);
int config_section_line(const struct config_section *s); /* for errors found later */
int64_t config_section_integer(const struct config_section *s, const char *name);
bool config_section_boolean(const struct config_section *s, const char *name);
const char *config_section_text(const struct config_section *s, const char *name);
size_t config_section_list_count(const struct config_section *s, const char *name);
const char *config_section_list_at(const struct config_section *s, const char *name, size_t index);

/* Reports a fault found after reading (a file that can't be opened, a name that is unknown): same
 * look, same ERROR_CONFIG. section NULL = top level. */
enum error config_complain(const struct config_file *file, const struct config_section *section,
                           const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* --help-config: every option with section, type, default, range, whether SIGHUP changes it, help.
 */
void config_print_help(FILE *out, const struct option_spec *specs, size_t count);

#endif
