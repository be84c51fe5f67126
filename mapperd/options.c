/* SPDX-License-Identifier: Apache-2.0 */
/* From the file to struct options. */
#include "mapperd/options.h"

#include <stdlib.h>
#include <string.h>

static const struct option_spec SPECS[] = {
#define OPTION(section, name, type, standard, minimum, maximum, live, help) \
    { section, name, type, standard, minimum, maximum, live, help },
#include "mapperd/options.def"
#undef OPTION
};

#define SPEC_COUNT (sizeof(SPECS) / sizeof(SPECS[0]))

void options_print_help(FILE *out)
{
    config_print_help(out, SPECS, SPEC_COUNT);
}

void options_print_man(FILE *out)
{
    config_print_man(out, "holdline-mapperd",
                     "keeps Holdline's mapping data in LMDB and answers from it", SPECS,
                     SPEC_COUNT);
}

static enum error read_mode(const struct config_file *file, uint32_t *mode)
{
    char *end;
    const char *text = config_text(file, "socket_mode");
    unsigned long value = strtoul(text, &end, 8);
    if (*end != '\0' || value > 0777)
        return config_complain(file, NULL, "socket_mode",
                               "'%s' is not an octal mode; write \"0660\"", text);
    *mode = (uint32_t)value;
    return ERROR_NONE;
}

static enum error read_ids(const struct config_file *file, const char *name,
                           struct options_ids *ids)
{
    struct slice rest = slice_trim(slice_of(config_text(file, name)));
    unsigned long long id;
    ids->count = 0;
    while (rest.size > 0) {
        size_t size = 0;
        while (size < rest.size && rest.data[size] != ' ' && rest.data[size] != ',')
            size++;
        if (!slice_to_u64((struct slice){ rest.data, size }, UINT32_MAX - 1, &id) ||
            ids->count == OPTIONS_IDS_MAX)
            return config_complain(file, NULL, name,
                                   "must be up to 64 numbers; write \"1000 1001\"");
        ids->ids[ids->count++] = (uint32_t)id;
        rest = slice_trim((struct slice){ rest.data + size + (size < rest.size),
                                          rest.size - size - (size < rest.size) });
    }
    return ERROR_NONE;
}

static enum error read_all_ids(struct options *o)
{
    const struct {
        const char *name;
        struct options_ids *ids;
    } lists[] = {
        { "read_uids", &o->read_uids },
        { "read_gids", &o->read_gids },
        { "register_uids", &o->register_uids },
        { "register_gids", &o->register_gids },
        { "credential_uids", &o->credential_uids },
        { "credential_gids", &o->credential_gids },
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        enum error e = read_ids(o->file, lists[i].name, lists[i].ids);
        if (e != ERROR_NONE)
            return e;
    }
    return ERROR_NONE;
}

enum error options_read(const char *path, struct options *o)
{
    memset(o, 0, sizeof(*o));
    enum error e = config_file_read(path, SPECS, SPEC_COUNT, &o->file);
    if (e != ERROR_NONE)
        return e;
    o->name = config_text(o->file, "name");
    o->socket = config_text(o->file, "socket");
    o->lmdb_dir = config_text(o->file, "lmdb_dir");
    o->database = config_text(o->file, "database");
    o->primary = config_text(o->file, "primary");
    if (o->primary[0] == '\0')
        o->primary = o->database;
    o->log_file = config_text(o->file, "log_file");
    o->map_size = (uint64_t)config_integer(o->file, "lmdb_map_size_mb") << 20;
    o->journal_max = (uint64_t)config_integer(o->file, "journal_max_mb") << 20;
    o->poll_ms = (uint64_t)config_integer(o->file, "poll_ms");
    o->log_keep_s = (uint64_t)config_integer(o->file, "log_keep_s");
    o->compare_round_s = (uint64_t)config_integer(o->file, "compare_round_s");
    o->bind_confirm_ms = (uint64_t)config_integer(o->file, "bind_confirm_ms");
    o->staleness_bound_ms = (uint64_t)config_integer(o->file, "staleness_bound_ms");
    o->staleness_alarm_ms = (uint64_t)config_integer(o->file, "staleness_alarm_ms");
    o->max_clients = (uint64_t)config_integer(o->file, "max_clients");
    o->output_max = (uint64_t)config_integer(o->file, "output_max");
    const char *level = config_text(o->file, "log_level");
    e = read_mode(o->file, &o->socket_mode);
    if (e == ERROR_NONE && !log_level_from_text(level, &o->log_level))
        e = config_complain(o->file, NULL, "log_level",
                            "'%s' is not a level; write error, warning, notice, info or debug",
                            level);
    if (e == ERROR_NONE)
        e = read_all_ids(o);
    if (e != ERROR_NONE)
        options_free(o);
    return e;
}

void options_free(struct options *o)
{
    if (o->file != NULL)
        config_file_free(o->file);
    o->file = NULL;
}
