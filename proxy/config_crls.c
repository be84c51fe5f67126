/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation lists of the configuration: read with it, and again whenever their files change. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/revocation.h"
#include "proxy/tls/trust_store.h"

#include <errno.h>
#include <string.h>

#define FILES_MAX 64

enum error config_read_crls(const struct config_crl_store *store, struct revocations **out,
                            const char **file, const char **why)
{
    struct pem_text texts[FILES_MAX] = { { NULL, 0 } };
    struct slice files[FILES_MAX];
    enum error e = ERROR_NONE;
    size_t count = 0, which = 0;
    *out = NULL;
    *why = "out of memory";
    for (; e == ERROR_NONE && count < store->file_count && count < FILES_MAX; count++) {
        which = count;
        e = config_append_file(&texts[count], store->files[count]);
        if (e == ERROR_SYSTEM)
            *why = strerror(errno);
        files[count] = (struct slice){ texts[count].data, texts[count].size };
    }
    if (e == ERROR_NONE)
        e = revocations_read(store->anchors, files, count, out, why, &which);
    for (size_t i = 0; i < count; i++)
        config_forget(&texts[i]);
    *file = store->files[which];
    return e;
}

static enum error read_rules(const struct config_file *file, const struct config_section *s,
                             struct trust_rules *rules)
{
    const char *check = config_section_text(s, "crl_check");
    const char *expired = config_section_text(s, "crl_expired");
    size_t count = config_section_list_count(s, "crl");
    enum error e = ERROR_NONE;
    rules->crl = CRL_REQUIRED;
    if (strcmp(check, "off") == 0 || (strcmp(check, "if_present") == 0 && count == 0))
        rules->crl = CRL_OFF;
    else if (strcmp(check, "if_present") == 0)
        rules->crl = CRL_IF_PRESENT;
    else if (strcmp(check, "required") != 0)
        e = config_complain(file, s, "crl_check", "write if_present, required or off");
    else if (count == 0)
        e = config_complain(file, s, "crl_check",
                            "needs files of revocation lists; name them in crl");
    rules->crl_expired_accepted = strcmp(expired, "accept") == 0;
    if (!rules->crl_expired_accepted && strcmp(expired, "refuse") != 0)
        e = config_complain(file, s, "crl_expired", "write refuse or accept");
    return e;
}

static enum error keep_names(struct config *c, const struct config_section *s,
                             struct config_crl_store *store)
{
    store->file_count = config_section_list_count(s, "crl");
    store->files = arena_alloc(&c->arena, store->file_count * sizeof(*store->files));
    store->name = config_keep_text(c, config_section_title(s));
    if (!store->files || !store->name)
        return ERROR_MEMORY;
    for (size_t i = 0; i < store->file_count; i++) {
        store->files[i] = config_keep_text(c, config_section_list_at(s, "crl", i));
        if (!store->files[i])
            return ERROR_MEMORY;
    }
    return ERROR_NONE;
}

enum error config_read_crl_store(struct config *config, const struct config_file *file,
                                 const struct config_section *section, struct slice pem,
                                 struct trust_rules *rules)
{
    const char *path, *why;
    enum error e = read_rules(file, section, rules);
    if (e != ERROR_NONE || rules->crl == CRL_OFF)
        return e;
    if (!config->crl_stores)
        config->crl_stores = mem_zero(CONFIG_TRUST_STORES_MAX, sizeof(*config->crl_stores));
    if (!config->crl_stores)
        return ERROR_MEMORY;
    struct config_crl_store *store = &config->crl_stores[config->crl_store_count++];
    store->rules = *rules;
    e = keep_names(config, section, store);
    if (e == ERROR_NONE)
        e = trust_store_create(store->name, pem, rules, &store->anchors);
    if (e == ERROR_NONE) {
        e = config_read_crls(store, &store->list, &path, &why);
        if (e != ERROR_NONE && e != ERROR_MEMORY)
            e = config_complain(file, section, "crl", "%s: %s", path, why);
    }
    return e;
}

enum error config_finish_crls(struct config *config)
{
    enum error e = revocation_set_new(&config->revocations);
    for (size_t i = 0; e == ERROR_NONE && i < config->crl_store_count; i++)
        if (config->crl_stores[i].list)
            e = revocation_set_put(config->revocations, config->crl_stores[i].name,
                                   config->crl_stores[i].list);
    return e;
}

void config_free_crls(struct config *config)
{
    for (size_t i = 0; i < config->crl_store_count; i++) {
        trust_store_free(config->crl_stores[i].anchors);
        revocations_drop(config->crl_stores[i].list);
    }
    mem_free(config->crl_stores);
    revocation_set_drop(config->revocations);
}
