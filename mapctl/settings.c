/* SPDX-License-Identifier: Apache-2.0 */
/* The three texts that mapctl needs of the configurations of two programs. */
#include "mapctl/settings.h"

#include "common/mem.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPERD_SOCKET "/run/holdline/mapperd.sock"
#define PROXY_SOCKET   "/run/holdline/proxy.sock"

static void report(cfg_t *cfg, const char *format, va_list arguments)
{
    char text[512];

    vsnprintf(text, sizeof(text), format, arguments);
    complain("%s:%d: %s", cfg && cfg->filename ? cfg->filename : "configuration",
             cfg ? cfg->line : 0, text);
}

static bool take(struct settings *settings, const char **setting, cfg_t *cfg, const char *name)
{
    const char *text = cfg_getstr(cfg, name);
    char *copy;

    if (*setting != NULL || text == NULL)
        return true;
    copy = mem_text(slice_of(text));
    if (copy == NULL)
        return false;
    assert(settings->owned_count < OWNED_MAX);
    settings->owned[settings->owned_count++] = copy;
    *setting = copy;
    return true;
}

/* include() looks beside the file that it stands in, as in the programs. */
static int parse(cfg_t *cfg, const char *path)
{
    FILE *file = fopen(path, "re");
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    int result;

    if (file == NULL)
        return CFG_FILE_ERROR;
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    cfg_add_searchpath(cfg, folder);
    cfg->filename = strdup(path); /* libconfuse frees it */
    result = cfg_parse_fp(cfg, file);
    fclose(file);
    return result;
}

enum error settings_read_config(struct settings *settings, const char *path)
{
    cfg_opt_t section[] = { CFG_STR("__unknown", NULL, CFGF_NONE), CFG_END() };
    cfg_opt_t options[] = {
        CFG_SEC("trust_store", section, CFGF_MULTI | CFGF_TITLE | CFGF_IGNORE_UNKNOWN),
        CFG_SEC("listener", section, CFGF_MULTI | CFGF_TITLE | CFGF_IGNORE_UNKNOWN),
        CFG_SEC("route", section, CFGF_MULTI | CFGF_TITLE | CFGF_IGNORE_UNKNOWN),
        CFG_SEC("trusted_peer", section, CFGF_MULTI | CFGF_TITLE | CFGF_IGNORE_UNKNOWN),
        CFG_STR("socket", NULL, CFGF_NODEFAULT),
        CFG_STR("mapperd_socket", NULL, CFGF_NODEFAULT),
        CFG_STR("database", NULL, CFGF_NODEFAULT),
        CFG_STR("control_socket", NULL, CFGF_NODEFAULT),
        CFG_FUNC("include", cfg_include),
        CFG_STR("__unknown", NULL, CFGF_NONE),
        CFG_END(),
    };
    cfg_t *cfg = cfg_init(options, CFGF_IGNORE_UNKNOWN);
    enum error error = ERROR_MEMORY;

    if (cfg == NULL)
        return error;
    cfg_set_error_function(cfg, report);
    switch (parse(cfg, path)) {
    case CFG_SUCCESS:
        if (take(settings, &settings->mapperd_socket, cfg, "socket") &&
            take(settings, &settings->mapperd_socket, cfg, "mapperd_socket") &&
            take(settings, &settings->proxy_socket, cfg, "control_socket") &&
            take(settings, &settings->database, cfg, "database"))
            error = ERROR_NONE;
        break;
    case CFG_FILE_ERROR:
        complain("%s: %s", path, strerror(errno));
        error = ERROR_CONFIG;
        break;
    default:
        error = ERROR_CONFIG; /* reported */
        break;
    }
    cfg_free(cfg);
    return error;
}

static const char *first(const char *set, const char *variable, const char *otherwise)
{
    const char *text = getenv(variable);

    if (set != NULL)
        return set;
    return text != NULL && *text ? text : otherwise;
}

void settings_complete(struct settings *settings)
{
    settings->mapperd_socket = first(settings->mapperd_socket, "MAPPERD_SOCKET", MAPPERD_SOCKET);
    settings->proxy_socket = first(settings->proxy_socket, "PROXY_SOCKET", PROXY_SOCKET);
    if (settings->database == NULL)
        settings->database = "";
}

void settings_free(struct settings *settings)
{
    while (settings->owned_count > 0)
        mem_free(settings->owned[--settings->owned_count]);
}
