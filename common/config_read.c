/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a configuration. libconfuse parses; every option is a string or a list to it, so that
 * types, ranges and complaints are ours. Its callbacks have no argument of ours, hence the static
 * reader: configurations are read by the main thread, one at a time. */
#include "common/config_internal.h"

#include "common/mem.h"
#include "common/slice.h"

#include <confuse.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#define TITLE_MAX 64
#define FILES_MAX 64
#define TEXT_MAX  512 /* of a complaint */

/* Where an option, or the end of a section, stood. */
struct place {
    const cfg_t *section;
    const char *name; /* of the table; NULL: the end of the section */
    char *file;
    int line;
    char *first;  /* of an option: its value, or first item */
    size_t count; /* of its items */
};

static struct {
    const struct option_spec *specs;
    size_t spec_count;
    struct place *places;
    size_t place_count, place_capacity;
    char *files[FILES_MAX]; /* to read: the first, then what include() names */
    size_t file_count;
    enum error error; /* memory, or else a complaint */
} reader;

/* ---- Complaints ---- */

/* Lack of memory outweighs a complaint: what follows it may be its consequence. */
static void note(enum error error)
{
    if (reader.error == ERROR_NONE || error == ERROR_MEMORY)
        reader.error = error;
}

#define complain(...) (config_complain_at(__VA_ARGS__), note(ERROR_CONFIG))

/* Number of edits between two names, case ignored; names are short. */
static size_t distance(const char *a, const char *b)
{
    size_t size = strlen(b), row[TITLE_MAX + 1];

    if (size > TITLE_MAX || strlen(a) > TITLE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= size; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= size; j++) {
            size_t above = row[j], best = diagonal;
            if (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0)
                best++;
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[size];
}

static void consider(const char *unknown, const char *name, const char **best, size_t *least)
{
    size_t edits = distance(unknown, name);

    if (edits < *least) {
        *least = edits;
        *best = name;
    }
}

/* The nearest name that may stand in this section; NULL when none is near. */
static const char *nearest_name(const char *section, const char *unknown)
{
    const char *best = NULL;
    size_t least = strlen(unknown) / 3 + 2;

    for (size_t i = 0; i < reader.spec_count; i++) {
        const struct option_spec *spec = &reader.specs[i];
        if (strcmp(spec->section, section) == 0)
            consider(unknown, spec->name, &best, &least);
        else if (!*section)
            consider(unknown, spec->section, &best, &least);
    }
    return best;
}

/* Where else the name is known: an option put into the wrong section. */
static const struct option_spec *same_name_elsewhere(const char *name)
{
    for (size_t i = 0; i < reader.spec_count; i++) {
        if (strcmp(reader.specs[i].name, name) == 0)
            return &reader.specs[i];
    }
    return NULL;
}

static void complain_unknown(cfg_t *cfg, const char *name)
{
    const char *section = strcmp(cfg->name, "root") == 0 ? "" : cfg->name;
    const char *near = nearest_name(section, name);
    const struct option_spec *elsewhere = same_name_elsewhere(name);

    if (elsewhere && *elsewhere->section)
        complain(cfg->filename, cfg->line,
                 "%s does not belong here; it stands in a section: %s NAME { %s = … }", name,
                 elsewhere->section, name);
    else if (elsewhere)
        complain(cfg->filename, cfg->line,
                 "%s does not belong here; it stands outside of any section", name);
    else if (near)
        complain(cfg->filename, cfg->line, "unknown option %s; did you mean %s?", name, near);
    else
        complain(cfg->filename, cfg->line, "unknown option %s; --help-config lists all", name);
}

/* libconfuse has one message for what is unknown, known by its format; others pass as they are. */
static void on_error(cfg_t *cfg, const char *format, va_list args)
{
    char text[TEXT_MAX];

    if (strcmp(format, "no such option '%s'") == 0) {
        complain_unknown(cfg, va_arg(args, const char *));
        return;
    }
    vsnprintf(text, sizeof(text), format, args);
    complain(cfg->filename ? cfg->filename : "configuration", cfg->line, "%s", text);
}

/* ---- While libconfuse parses: where things stand ---- */

static struct place *find_place(const cfg_t *section, const char *name)
{
    for (size_t i = 0; i < reader.place_count; i++) {
        struct place *place = &reader.places[i];
        if (place->section == section &&
            (name && place->name ? strcmp(place->name, name) == 0 : name == place->name))
            return place;
    }
    return NULL;
}

/* NULL: no memory. */
static struct place *add_place(const cfg_t *section, const char *name, const cfg_t *at)
{
    struct place place = { .section = section, .name = name, .line = at->line };

    if (reader.place_count == reader.place_capacity) {
        size_t capacity = reader.place_capacity ? reader.place_capacity * 2 : 64;
        struct place *places = mem_grow(reader.places, capacity * sizeof(*places));
        if (!places)
            return NULL;
        reader.places = places;
        reader.place_capacity = capacity;
    }
    place.file = mem_text(slice_of(at->filename));
    if (!place.file)
        return NULL;
    reader.places[reader.place_count] = place;
    return &reader.places[reader.place_count++];
}

/* Whether the list that is being read is still the one that was begun at `before`: it has grown, or
 * this is its closing brace. An "=" later would have begun it anew; "+=" adds to it. */
static bool is_same_list(const struct place *before, cfg_opt_t *opt)
{
    return (opt->flags & CFGF_LIST) && cfg_opt_size(opt) >= before->count &&
           strcmp(cfg_opt_getnstr(opt, 0), before->first) == 0;
}

/* Called once for a text; for each item of a list and for its closing brace. */
static int on_option(cfg_t *cfg, cfg_opt_t *opt)
{
    struct place *place = find_place(cfg, opt->name);
    bool again = place && !is_same_list(place, opt);

    if (again)
        complain(cfg->filename, cfg->line, "%s is given twice, first in line %d; remove one",
                 opt->name, place->line);
    if (!place)
        place = add_place(cfg, opt->name, cfg);
    if (place && !again && !place->first && cfg_opt_size(opt) > 0)
        place->first = mem_text(slice_of(cfg_opt_getnstr(opt, 0)));
    if (!place || (cfg_opt_size(opt) > 0 && !place->first)) {
        note(ERROR_MEMORY);
        return -1;
    }
    place->count = cfg_opt_size(opt);
    return 0;
}

/* Called at the closing brace, with the section that it is in. */
static int on_section_end(cfg_t *cfg, cfg_opt_t *opt)
{
    cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);

    if (add_place(section, NULL, cfg))
        return 0;
    note(ERROR_MEMORY);
    return -1;
}

/* ---- include() ---- */

/* Beside the file that names it, unless it begins with a slash. NULL: no memory. */
static char *beside(const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    size_t folder = slash && *name != '/' ? (size_t)(slash - file) + 1 : 0;
    size_t size = folder + strlen(name) + 1;
    char *path = mem_alloc(size);

    if (path)
        snprintf(path, size, "%.*s%s", (int)folder, file, name);
    return path;
}

/* The file is read once this one is: what stands where decides nothing, since nothing may be given
 * twice. */
static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    char *path;

    (void)opt;
    if (argc != 1 || reader.file_count == FILES_MAX) {
        complain(cfg->filename, cfg->line,
                 "include takes one file, and there may be %d; write include(\"FILE\")", FILES_MAX);
        return 0;
    }
    path = beside(cfg->filename, argv[0]);
    if (!path) {
        note(ERROR_MEMORY);
        return -1;
    }
    for (size_t i = 0; i < reader.file_count; i++) {
        if (strcmp(reader.files[i], path) == 0) {
            complain(cfg->filename, cfg->line, "%s is read already; remove this include", path);
            mem_free(path);
            return 0;
        }
    }
    reader.files[reader.file_count++] = path;
    return 0;
}

/* ---- What libconfuse is told ---- */

static bool is_first_of_section(size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(reader.specs[i].section, reader.specs[index].section) == 0)
            return false;
    }
    return true;
}

static cfg_opt_t option_of(const struct option_spec *spec)
{
    cfg_opt_t text = CFG_STR(spec->name, NULL, CFGF_NONE);
    cfg_opt_t list = CFG_STR_LIST(spec->name, NULL, CFGF_NONE);
    cfg_opt_t option = spec->type == OPTION_LIST ? list : text;

    option.validcb = on_option;
    return option;
}

/* Room for all options of a section, its sections, include and the end. */
static cfg_opt_t *options_of(const char *section)
{
    cfg_opt_t *options = mem_zero(reader.spec_count * 2 + 2, sizeof(*options));
    cfg_opt_t include = CFG_FUNC("include", on_include), end = CFG_END();
    size_t count = 0;

    if (!options)
        return NULL;
    for (size_t i = 0; i < reader.spec_count; i++) {
        if (strcmp(reader.specs[i].section, section) == 0)
            options[count++] = option_of(&reader.specs[i]);
    }
    if (!*section)
        options[count++] = include;
    options[count] = end;
    return options;
}

static void options_free(cfg_opt_t *options)
{
    for (size_t i = 0; options && options[i].name; i++)
        mem_free(options[i].subopts);
    mem_free(options);
}

static bool add_sections(cfg_opt_t *options)
{
    size_t count = 0;

    while (options[count].name)
        count++;
    for (size_t i = 0; i < reader.spec_count; i++) {
        const char *section = reader.specs[i].section;
        if (!*section || !is_first_of_section(i))
            continue;
        cfg_opt_t *inner = options_of(section);
        if (!inner)
            return false;
        cfg_opt_t option = CFG_SEC(section, inner, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
        option.validcb = on_section_end;
        options[count++] = option;
    }
    return true;
}

/* ---- From strings to values ---- */

static bool read_integer(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    unsigned long long digits;

    if (!slice_to_u64(slice_of(text + negative), INT64_MAX, &digits))
        return false;
    *value = negative ? -(int64_t)digits : (int64_t)digits;
    return true;
}

static bool read_boolean(const char *text, bool *value)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    }
    return false;
}

static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

static bool in_range(const struct option_spec *spec, size_t size)
{
    return size <= INT64_MAX && (int64_t)size >= spec->minimum && (int64_t)size <= spec->maximum;
}

static void set_integer(struct config_value *v, const char *text)
{
    const struct option_spec *spec = v->spec;

    if (!read_integer(text, &v->integer))
        complain(v->file, v->line,
                 "%s = \"%s\" is no whole number; write one from %" PRId64 " to %" PRId64,
                 spec->name, text, spec->minimum, spec->maximum);
    else if (v->file && (v->integer < spec->minimum || v->integer > spec->maximum))
        complain(v->file, v->line, "%s = %s is out of range; write %" PRId64 " to %" PRId64,
                 spec->name, text, spec->minimum, spec->maximum);
}

static void set_boolean(struct config_value *v, const char *text)
{
    if (!read_boolean(text, &v->boolean))
        complain(v->file, v->line, "%s = \"%s\" is neither yes nor no; write one of them",
                 v->spec->name, text);
}

static void set_text(struct config_value *v, const char *text)
{
    const struct option_spec *spec = v->spec;

    v->text = mem_text(slice_of(text));
    if (!v->text)
        note(ERROR_MEMORY);
    else if (has_control(text))
        complain(v->file, v->line, "%s holds a control character; write printable text",
                 spec->name);
    else if (v->file && !in_range(spec, strlen(text)))
        complain(v->file, v->line, "%s has %zu characters; write %" PRId64 " to %" PRId64,
                 spec->name, strlen(text), spec->minimum, spec->maximum);
}

static void set_list(struct config_value *v, cfg_opt_t *opt)
{
    const struct option_spec *spec = v->spec;
    const char *only = spec->default_text;
    size_t count = v->file ? cfg_opt_size(opt) : only && *only ? 1 : 0;

    v->items = mem_zero(count, sizeof(*v->items));
    if (!v->items) {
        note(ERROR_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = v->file ? cfg_opt_getnstr(opt, (unsigned)i) : only;
        if (v->file && (!*text || has_control(text)))
            complain(v->file, v->line,
                     "item %zu of %s is empty or holds a control character; write text", i + 1,
                     spec->name);
        v->items[i] = mem_text(slice_of(text));
        if (!v->items[i]) {
            note(ERROR_MEMORY);
            return;
        }
        v->item_count++;
    }
    if (v->file && !in_range(spec, count))
        complain(v->file, v->line, "%s has %zu items; write %" PRId64 " to %" PRId64, spec->name,
                 count, spec->minimum, spec->maximum);
}

static void set_value(struct config_value *v, cfg_t *cfg)
{
    cfg_opt_t *opt = cfg_getopt(cfg, v->spec->name);
    const char *text = v->file ? cfg_opt_getnstr(opt, 0) : v->spec->default_text;

    switch (v->spec->type) {
    case OPTION_INTEGER:
        set_integer(v, text);
        break;
    case OPTION_BOOLEAN:
        set_boolean(v, text);
        break;
    case OPTION_TEXT:
        set_text(v, text);
        break;
    case OPTION_LIST:
        set_list(v, opt);
        break;
    }
}

static void complain_missing(const struct config_section *s, const char *name)
{
    if (*s->kind)
        complain(s->file, s->line, "%s %s has no %s; write it inside the braces", s->kind, s->title,
                 name);
    else
        complain(s->file, 0, "%s is missing; write %s = …", name, name);
}

static void fill_value(const struct config_section *s, struct config_value *v, cfg_t *cfg)
{
    struct place *place = find_place(cfg, v->spec->name);
    /* libconfuse tells nothing of an empty list, but marks the option. */
    bool given = place || (cfg_getopt(cfg, v->spec->name)->flags & CFGF_MODIFIED);

    if (!given && !v->spec->default_text) {
        complain_missing(s, v->spec->name);
        return;
    }
    if (given) {
        v->line = place ? place->line : s->line;
        v->file = mem_text(slice_of(place ? place->file : s->file));
        if (!v->file) {
            note(ERROR_MEMORY);
            return;
        }
    }
    set_value(v, cfg);
}

static size_t count_options(const char *kind)
{
    size_t count = 0;

    for (size_t i = 0; i < reader.spec_count; i++)
        count += strcmp(reader.specs[i].section, kind) == 0;
    return count;
}

/* A section's own place: of its first option, else of its end. */
static const struct place *place_of_section(const cfg_t *cfg)
{
    for (size_t i = 0; i < reader.place_count; i++) {
        if (reader.places[i].section == cfg)
            return &reader.places[i];
    }
    return NULL;
}

static bool is_title(const char *title)
{
    size_t size =
        strspn(title, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

    return size > 0 && size <= TITLE_MAX && !title[size];
}

static void fill_section(struct config_section *s, const char *kind, cfg_t *cfg)
{
    const struct place *place = *kind ? place_of_section(cfg) : NULL;
    const char *title = *kind ? cfg_title(cfg) : "";

    s->kind = kind;
    s->line = place ? place->line : 0;
    s->title = mem_text(slice_of(title));
    s->file = mem_text(slice_of(place ? place->file : reader.files[0]));
    s->values = mem_zero(count_options(kind), sizeof(*s->values));
    if (!s->title || !s->file || !s->values) {
        note(ERROR_MEMORY);
        return;
    }
    if (*kind && !is_title(title))
        complain(s->file, s->line, "%s \"%s\" is no name; write 1 to %d of letters, digits, _ . -",
                 kind, title, TITLE_MAX);
    for (size_t i = 0; i < reader.spec_count; i++) {
        if (strcmp(reader.specs[i].section, kind) != 0)
            continue;
        struct config_value *v = &s->values[s->value_count++];
        v->spec = &reader.specs[i];
        fill_value(s, v, cfg);
    }
}

static void fill_file(struct config_file *file, cfg_t *cfg)
{
    size_t count = 1;

    for (size_t i = 0; i < reader.spec_count; i++) {
        if (*reader.specs[i].section && is_first_of_section(i))
            count += cfg_size(cfg, reader.specs[i].section);
    }
    file->sections = mem_zero(count, sizeof(*file->sections));
    if (!file->sections) {
        note(ERROR_MEMORY);
        return;
    }
    fill_section(&file->sections[file->section_count++], "", cfg);
    for (size_t i = 0; i < reader.spec_count; i++) {
        const char *kind = reader.specs[i].section;
        if (!*kind || !is_first_of_section(i))
            continue;
        for (unsigned n = 0; n < cfg_size(cfg, kind); n++)
            fill_section(&file->sections[file->section_count++], kind, cfg_getnsec(cfg, kind, n));
    }
}

/* ---- Files ---- */

static void parse(cfg_t *cfg, const char *path)
{
    enum error error = ERROR_NONE;
    char *text = config_load_text(path, &error);
    FILE *in;

    if (!text) {
        note(error);
        return;
    }
    in = fmemopen(text, strlen(text), "r");
    free(cfg->filename);
    cfg->filename = strdup(path); /* libconfuse frees it */
    if (!in || !cfg->filename)
        note(ERROR_MEMORY);
    else if (cfg_parse_fp(cfg, in) != CFG_SUCCESS && reader.error == ERROR_NONE)
        complain(path, cfg->line, "the syntax is wrong here");
    if (in)
        fclose(in);
    mem_free(text);
}

static void read_all(const char *path, struct config_file *file)
{
    cfg_opt_t *options = options_of("");
    cfg_t *cfg = options && add_sections(options) ? cfg_init(options, CFGF_NONE) : NULL;

    reader.files[0] = mem_text(slice_of(path));
    if (cfg && reader.files[0]) {
        reader.file_count = 1;
        cfg_set_error_function(cfg, on_error);
        for (size_t i = 0; i < reader.file_count && reader.error != ERROR_MEMORY; i++)
            parse(cfg, reader.files[i]);
        /* After a complaint the rest is still worth checking, if there is any. */
        if (reader.error == ERROR_NONE || (reader.error == ERROR_CONFIG && reader.place_count))
            fill_file(file, cfg);
    } else {
        note(ERROR_MEMORY);
    }
    if (cfg)
        cfg_free(cfg);
    options_free(options);
}

enum error config_file_read(const char *path, const struct option_spec *specs, size_t count,
                            struct config_file **out)
{
    struct config_file *file = mem_zero(1, sizeof(*file));
    enum error error;

    *out = NULL;
    if (!file)
        return ERROR_MEMORY;
    memset(&reader, 0, sizeof(reader));
    reader.specs = specs;
    reader.spec_count = count;
    read_all(path, file);
    for (size_t i = 0; i < reader.place_count; i++) {
        mem_free(reader.places[i].file);
        mem_free(reader.places[i].first);
    }
    mem_free(reader.places);
    for (size_t i = 0; i < FILES_MAX; i++)
        mem_free(reader.files[i]);
    error = reader.error;
    memset(&reader, 0, sizeof(reader));
    if (error != ERROR_NONE) {
        config_file_free(file);
        return error;
    }
    *out = file;
    return ERROR_NONE;
}
