/* SPDX-License-Identifier: Apache-2.0 */
/* Trust stores of the configuration: their files, once each, for the listeners and routes that name
 * them. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/context.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CA_FOLDER_MAX 1024

/* A trust store as the file has it. */
struct store_source {
    const char *name;
    struct trust_rules rules;
    struct pem_text pem;
    bool usable;
};

struct config_stores {
    struct store_source list[CONFIG_TRUST_STORES_MAX];
    size_t count;
};

/* One CA file tried by itself, so that a complaint can name it. */
static enum error try_ca(const struct config_file *file, const struct config_section *s,
                         const char *path, const struct pem_text *pem, size_t from)
{
    struct trust_store *probe;
    struct slice part = { pem->data + from, pem->size - from };
    enum error e = trust_store_create("probe", part, &TRUST_RULES_USUAL, &probe);
    trust_store_free(probe);
    if (e == ERROR_MALFORMED || e == ERROR_LIBRARY)
        return config_complain(
            file, s, "ca",
            "%s has no certificate, or one that cannot be read; name a PEM file of CA certificates",
            path);
    return e;
}

static enum error read_sources(const struct config_file *file, const struct config_section *s,
                               unsigned *sources)
{
    static const struct {
        const char *name;
        enum identity_source source;
    } known[] = { { "mapping", SOURCE_MAPPING },
                  { "san_uri", SOURCE_SAN_URI },
                  { "san_dns", SOURCE_SAN_DNS },
                  { "cn_domain", SOURCE_CN_DOMAIN } };
    enum error e = ERROR_NONE;
    size_t count = config_section_list_count(s, "identities");
    *sources = count ? 0 : SOURCES_USUAL;
    if (config_section_boolean(s, "email_as_sip"))
        *sources |= SOURCE_SAN_EMAIL;
    for (size_t i = 0; i < count; i++) {
        const char *name = config_section_list_at(s, "identities", i);
        unsigned found = 0;
        for (size_t j = 0; j < sizeof(known) / sizeof(known[0]); j++)
            if (strcmp(known[j].name, name) == 0)
                found = known[j].source;
        *sources |= found;
        if (!found)
            e = config_complain(file, s, "identities",
                                "\"%s\" is none; write mapping, san_uri, san_dns or cn_domain",
                                name);
    }
    return e;
}

static enum error read_rules(const struct config_file *file, const struct config_section *s,
                             struct trust_rules *rules)
{
    const char *usage = config_section_text(s, "key_usage");
    enum error e = read_sources(file, s, &rules->sources);
    rules->security_level = (int)config_section_integer(s, "security_level");
    rules->key_usage = KEY_USAGE_REQUIRE;
    if (strcmp(usage, "accept") == 0)
        rules->key_usage = KEY_USAGE_ACCEPT;
    else if (strcmp(usage, "ignore") == 0)
        rules->key_usage = KEY_USAGE_IGNORE;
    else if (strcmp(usage, "require") != 0)
        e = config_complain(file, s, "key_usage", "write ignore, accept or require");
    return e;
}

static enum error add_ca_file(const struct config_file *file, const struct config_section *s,
                              const char *path, struct pem_text *pem)
{
    size_t from = pem->size;
    enum error e = config_append_file(pem, path);
    return e == ERROR_NONE ? try_ca(file, s, path, pem, from)
                           : config_complain_of_file(file, s, "ca", path, e);
}

static int is_certificate_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot && (strcmp(dot, ".pem") == 0 || strcmp(dot, ".crt") == 0);
}

/* All of them must be good: an authority that is passed over would be missed much later. */
static enum error add_ca_folder(const struct config_file *file, const struct config_section *s,
                                const char *folder, struct pem_text *pem)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_certificate_file, alphasort);
    enum error e = ERROR_NONE;
    if (count < 0)
        return config_complain_of_file(file, s, "ca", folder, ERROR_SYSTEM);
    if (count == 0 || count > CA_FOLDER_MAX)
        e = config_complain(
            file, s, "ca",
            "%s has %d files *.pem or *.crt, and may have 1 to %d; name a folder of CA "
            "certificates",
            folder, count, CA_FOLDER_MAX);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        if (count <= CA_FOLDER_MAX)
            e = config_worse(e, add_ca_file(file, s, path, pem));
        free(entries[i]);
    }
    free(entries);
    return e;
}

static enum error add_ca(const struct config_file *file, const struct config_section *s,
                         const char *path, struct pem_text *pem)
{
    struct stat status;
    bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    return folder ? add_ca_folder(file, s, path, pem) : add_ca_file(file, s, path, pem);
}

static enum error read_store(struct config *c, const struct config_file *file,
                             const struct config_section *s, struct store_source *store)
{
    enum error e = read_rules(file, s, &store->rules);
    store->name = config_section_title(s);
    size_t count = config_section_list_count(s, "ca");
    for (size_t i = 0; i < count; i++)
        e = config_worse(e, add_ca(file, s, config_section_list_at(s, "ca", i), &store->pem));
    if (strspn(store->name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(store->name))
        e = config_worse(
            e, config_complain(
                   file, s, NULL,
                   "trust_store %s: write small letters, digits, _ or -, as in the database",
                   store->name));
    e = config_worse(e, config_read_ocsp_rules(c, file, s, &store->rules));
    if (e == ERROR_NONE)
        e = config_read_crl_store(c, file, s, config_pem_slice(&store->pem), &store->rules);
    store->usable = e == ERROR_NONE;
    return e;
}

enum error config_read_stores(struct config *c, const struct config_file *file,
                              struct config_stores **out)
{
    enum error e = config_check_titles(file, "trust_store");
    size_t count = config_section_count(file, "trust_store");
    struct config_stores *stores = *out = mem_zero(1, sizeof(*stores));
    if (!stores)
        return ERROR_MEMORY;
    if (count > CONFIG_TRUST_STORES_MAX)
        return config_complain(file, NULL, "trust_store", "more than %d", CONFIG_TRUST_STORES_MAX);
    for (size_t i = 0; i < count; i++) {
        e = config_worse(
            e, read_store(c, file, config_section_at(file, "trust_store", i), &stores->list[i]));
        stores->count++;
    }
    return config_worse(e, config_finish_crls(c));
}

void config_forget_stores(struct config_stores *stores)
{
    for (size_t i = 0; stores && i < stores->count; i++)
        config_forget(&stores->list[i].pem);
    mem_free(stores);
}

static const struct store_source *find_store(const struct config_stores *stores, const char *name)
{
    for (size_t i = 0; i < stores->count; i++)
        if (strcmp(stores->list[i].name, name) == 0)
            return &stores->list[i];
    return NULL;
}

enum error config_choose_stores(const struct config_file *file, const struct config_section *s,
                                const struct config_stores *stores, const char *what_for,
                                struct tls_store_spec *chosen, size_t *chosen_count)
{
    enum error e = ERROR_NONE;
    size_t count = config_section_list_count(s, "trust_stores");
    *chosen_count = 0;
    if (count == 0 || count > CONFIG_TRUST_STORES_MAX)
        return config_complain(file, s, "trust_stores",
                               "name the trust_store sections that %s are verified in", what_for);
    for (size_t i = 0; i < count; i++) {
        const char *name = config_section_list_at(s, "trust_stores", i);
        const struct store_source *store = find_store(stores, name);
        if (!store)
            e = config_complain(file, s, "trust_stores",
                                "there is no section trust_store %s; write one or correct the name",
                                name);
        else if (!store->usable)
            e = config_worse(e, ERROR_CONFIG); /* complained of already */
        else
            chosen[(*chosen_count)++] =
                (struct tls_store_spec){ store->name, config_pem_slice(&store->pem), store->rules };
    }
    return e;
}

/* ---- Warnings ---- */

void config_warn_of_store(const char *what, const char *name, const struct trust_store *store)
{
    int level = trust_store_rules(store)->security_level;
    struct log_line line;
    if (level >= TRUST_LEVEL_USUAL)
        return;
    log_begin(&line, LOG_WARNING, "weak-trust-store");
    log_word(&line, what, name);
    log_word(&line, "store", trust_store_name(store));
    log_number(&line, "security_level", level);
    log_text(&line, "detail", SLICE("SHA-1 signatures or short RSA keys pass in its chains"));
    log_end(&line);
}

void config_warn_of_version(const char *what, const char *name, const char *tls_min)
{
    struct log_line line;
    if (config_tls_version(tls_min) >= TLS1_2_VERSION)
        return;
    log_begin(&line, LOG_WARNING, "weak-tls");
    log_word(&line, what, name);
    log_word(&line, "tls_min", tls_min);
    log_text(&line, "detail", SLICE("versions with known weaknesses, for old peers only"));
    log_end(&line);
}
