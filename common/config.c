/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration that was read: getters, later complaints, and what a reload left unchanged. */
#include "common/config_internal.h"

#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>

#define TEXT_MAX 512 /* of a complaint */

void config_complain_at(const char *file, int line, const char *format, ...)
{
    char what[TEXT_MAX], text[TEXT_MAX + PATH_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (line > 0)
        snprintf(text, sizeof(text), "%s:%d: %s", file, line, what);
    else
        snprintf(text, sizeof(text), "%s: %s", file, what);
    if (log_is_open())
        log_write(LOG_ERROR, "config-wrong", "%s", text);
    else
        fprintf(stderr, "%s\n", text);
}

static void free_value(struct config_value *v)
{
    for (size_t i = 0; i < v->item_count; i++)
        mem_free(v->items[i]);
    mem_free(v->items);
    mem_free(v->text);
    mem_free(v->file);
}

void config_file_free(struct config_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->section_count; i++) {
        struct config_section *s = &file->sections[i];
        for (size_t j = 0; s->values && j < s->value_count; j++)
            free_value(&s->values[j]);
        mem_free(s->values);
        mem_free(s->title);
        mem_free(s->file);
    }
    mem_free(file->sections);
    mem_free(file);
}

/* ---- Getters ---- */

static const struct config_value *find_value(const struct config_section *s, const char *name)
{
    for (size_t i = 0; i < s->value_count; i++) {
        if (strcmp(s->values[i].spec->name, name) == 0)
            return &s->values[i];
    }
    return NULL;
}

static const struct config_value *value_of(const struct config_section *s, const char *name,
                                           enum option_type type)
{
    const struct config_value *v = find_value(s, name);

    assert(v && v->spec->type == type);
    return v;
}

int64_t config_section_integer(const struct config_section *s, const char *name)
{
    return value_of(s, name, OPTION_INTEGER)->integer;
}

bool config_section_boolean(const struct config_section *s, const char *name)
{
    return value_of(s, name, OPTION_BOOLEAN)->boolean;
}

const char *config_section_text(const struct config_section *s, const char *name)
{
    return value_of(s, name, OPTION_TEXT)->text;
}

size_t config_section_list_count(const struct config_section *s, const char *name)
{
    return value_of(s, name, OPTION_LIST)->item_count;
}

const char *config_section_list_at(const struct config_section *s, const char *name, size_t index)
{
    const struct config_value *v = value_of(s, name, OPTION_LIST);

    assert(index < v->item_count);
    return v->items[index];
}

int64_t config_integer(const struct config_file *file, const char *name)
{
    return config_section_integer(&file->sections[0], name);
}

bool config_boolean(const struct config_file *file, const char *name)
{
    return config_section_boolean(&file->sections[0], name);
}

const char *config_text(const struct config_file *file, const char *name)
{
    return config_section_text(&file->sections[0], name);
}

size_t config_list_count(const struct config_file *file, const char *name)
{
    return config_section_list_count(&file->sections[0], name);
}

const char *config_list_at(const struct config_file *file, const char *name, size_t index)
{
    return config_section_list_at(&file->sections[0], name, index);
}

size_t config_section_count(const struct config_file *file, const char *section)
{
    size_t count = 0;

    for (size_t i = 1; i < file->section_count; i++)
        count += strcmp(file->sections[i].kind, section) == 0;
    return count;
}

const struct config_section *config_section_at(const struct config_file *file, const char *section,
                                               size_t index)
{
    for (size_t i = 1; i < file->section_count; i++) {
        if (strcmp(file->sections[i].kind, section) == 0 && index-- == 0)
            return &file->sections[i];
    }
    assert(index < config_section_count(file, section));
    return NULL;
}

const struct config_section *config_section_titled(const struct config_file *file,
                                                   const char *section, const char *title)
{
    for (size_t i = 1; i < file->section_count; i++) {
        const struct config_section *s = &file->sections[i];
        if (strcmp(s->kind, section) == 0 && strcmp(s->title, title) == 0)
            return s;
    }
    return NULL;
}

const char *config_section_title(const struct config_section *s)
{
    return s->title;
}

int config_section_line(const struct config_section *s)
{
    return s->line;
}

enum error config_complain(const struct config_file *file, const struct config_section *section,
                           const char *name, const char *format, ...)
{
    const struct config_section *s = section ? section : &file->sections[0];
    const struct config_value *v = name ? find_value(s, name) : NULL;
    char what[TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    config_complain_at(v && v->file ? v->file : s->file, v && v->file ? v->line : s->line,
                       "%s%s%s%s%s%s%s", s->kind, *s->kind ? " " : "", s->title,
                       *s->kind && name ? ": " : "", name ? name : "", *s->kind || name ? ": " : "",
                       what);
    return ERROR_CONFIG;
}

/* ---- What a reload does not change ---- */

static bool value_equal(const struct config_value *a, const struct config_value *b)
{
    switch (a->spec->type) {
    case OPTION_INTEGER:
        return a->integer == b->integer;
    case OPTION_BOOLEAN:
        return a->boolean == b->boolean;
    case OPTION_TEXT:
        return strcmp(a->text, b->text) == 0;
    case OPTION_LIST:
        break;
    }
    if (a->item_count != b->item_count)
        return false;
    for (size_t i = 0; i < a->item_count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return true;
}

static void report_restart(const struct config_section *s, const char *name, const char *what)
{
    struct log_line line;

    log_begin(&line, LOG_WARNING, "config-needs-restart");
    if (*s->kind) {
        log_word(&line, "section", s->kind);
        log_word(&line, "name", s->title);
    }
    if (name)
        log_word(&line, "option", name);
    log_word(&line, "change", what);
    log_end(&line);
}

static bool all_live(const struct config_section *s)
{
    for (size_t i = 0; i < s->value_count; i++) {
        if (!s->values[i].spec->live)
            return false;
    }
    return true;
}

static const struct config_section *same_section(const struct config_file *file,
                                                 const struct config_section *s)
{
    return *s->kind ? config_section_titled(file, s->kind, s->title) : &file->sections[0];
}

static size_t report_values(const struct config_section *a, const struct config_section *b)
{
    size_t count = 0;

    for (size_t i = 0; i < a->value_count; i++) {
        if (a->values[i].spec->live || value_equal(&a->values[i], &b->values[i]))
            continue;
        report_restart(a, a->values[i].spec->name, "changed");
        count++;
    }
    return count;
}

size_t config_report_restart(const struct config_file *running, const struct config_file *read)
{
    size_t count = 0;

    for (size_t i = 0; i < running->section_count; i++) {
        const struct config_section *s = &running->sections[i], *now = same_section(read, s);
        if (now) {
            count += report_values(s, now);
        } else if (!all_live(s)) {
            report_restart(s, NULL, "removed");
            count++;
        }
    }
    for (size_t i = 1; i < read->section_count; i++) {
        const struct config_section *s = &read->sections[i];
        if (same_section(running, s) || all_live(s))
            continue;
        report_restart(s, NULL, "added");
        count++;
    }
    return count;
}
