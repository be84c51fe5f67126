/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a program's configuration with libconfuse from one table of options. Every error is
 * reported with file and line and what to write. The table is an X-macro file `options.def` of the
 * program: OPTION(section, name, type, default, minimum, maximum, live, help). */
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
    /* NULL = required. Of a list: "" = empty, else its one item. Not checked against the range, so
     * that "" can stand for unset. */
    const char *default_text;
    /* Of an integer; of a text or list: its length in octets or items. */
    int64_t minimum, maximum;
    bool live; /* SIGHUP can change it */
    const char *help;
};

struct config_file;

/* Reads `path` (libconfuse syntax; include("FILE") looks beside the file that it stands in and is
 * read after that). On ERROR_CONFIG every
 * complaint was already made as FILE:LINE: what is wrong; what to write: on standard error, and in
 * the log once that is open. Also ERROR_MEMORY. *out is freed with config_file_free(). Main thread
 * only: it is read there, then handed around as it is. `specs` must outlive it. Complained about:
 * syntax, an unknown option or section, a value of another type or out of range, an option given
 * twice, a section whose title another of its kind has, a required option that is missing. */
enum error config_file_read(const char *path, const struct option_spec *specs, size_t count,
                            struct config_file **out) MUST_CHECK;
void config_file_free(struct config_file *file);

/* Getters for top level; text stays the file's. An option that is not in the table, or is of
 * another type, is a bug (assert). */
int64_t config_integer(const struct config_file *file, const char *name);
bool config_boolean(const struct config_file *file, const char *name);
const char *config_text(const struct config_file *file, const char *name);
size_t config_list_count(const struct config_file *file, const char *name);
const char *config_list_at(const struct config_file *file, const char *name, size_t index);

/* Titled sections in file order. */
struct config_section;
size_t config_section_count(const struct config_file *file, const char *section);
const struct config_section *config_section_at(const struct config_file *file, const char *section,
                                               size_t index);
/* NULL when there is none of that title. */
const struct config_section *config_section_titled(const struct config_file *file,
                                                   const char *section, const char *title);
/* 1 to 64 characters of [A-Za-z0-9_.-]. */
const char *config_section_title(const struct config_section *s);
/* Of its first option, or where it ends when it has none. */
int config_section_line(const struct config_section *s);
int64_t config_section_integer(const struct config_section *s, const char *name);
bool config_section_boolean(const struct config_section *s, const char *name);
const char *config_section_text(const struct config_section *s, const char *name);
size_t config_section_list_count(const struct config_section *s, const char *name);
const char *config_section_list_at(const struct config_section *s, const char *name, size_t index);

/* Reports a fault found after reading (a file that can't be opened, a name that is unknown): same
 * look, at the option's own line; returns ERROR_CONFIG. section NULL = top level; name NULL = the
 * section itself. */
enum error config_complain(const struct config_file *file, const struct config_section *section,
                           const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* After a reload: names in the log every option that differs between the two and is not live, and
 * every section that came or went although not all its options are live. Returns how many. Both
 * were read with the same table. */
size_t config_report_restart(const struct config_file *running, const struct config_file *read);

/* --help-config: every option with section, type, default, range, whether SIGHUP changes it, help.
 */
void config_print_help(FILE *out, const struct option_spec *specs, size_t count);

/* --help-man: the same as a page of section 8 (roff, man macros). `summary` completes its NAME. */
void config_print_man(FILE *out, const char *program, const char *summary,
                      const struct option_spec *specs, size_t count);

#endif
