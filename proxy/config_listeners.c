/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners of the configuration. Each file is read once; every worker gets contexts made from the
 * same bytes, so that no lock of OpenSSL is shared between threads. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/context.h"

#include <string.h>

/* ---- A listener's TLS ---- */

static enum error choose_stores(const struct config_file *file, const struct config_section *s,
                                enum client_certificate client_certificate,
                                const struct config_stores *stores, struct tls_store_spec *chosen,
                                size_t *chosen_count)
{
    *chosen_count = 0;
    if (client_certificate != CLIENT_CERTIFICATE_IGNORED)
        return config_choose_stores(file, s, stores, "client certificates", chosen, chosen_count);
    if (config_section_list_count(s, "trust_stores") > 0)
        return config_complain(
            file, s, "trust_stores",
            "not used with client_certificate = ignored; remove them, or write optional");
    return ERROR_NONE;
}

static enum error check_overlap(const struct config_file *file, const struct config_section *s,
                                const struct tls_context *context)
{
    const struct trust_store *a, *b;
    for (size_t i = 0; (a = tls_context_store(context, i)); i++)
        for (size_t j = i + 1; (b = tls_context_store(context, j)); j++)
            if (trust_store_overlaps(a, b))
                return config_complain(
                    file, s, "trust_stores",
                    "%s and %s have an anchor with the same key or subject; remove it from one",
                    trust_store_name(a), trust_store_name(b));
    return ERROR_NONE;
}

static enum error build_contexts(const struct config *c, const struct config_file *file,
                                 const struct config_section *s,
                                 const struct tls_context_spec *spec,
                                 struct config_listener *listener)
{
    listener->tls = mem_zero(c->workers, sizeof(struct tls_context *));
    if (!listener->tls)
        return ERROR_MEMORY;
    for (unsigned i = 0; i < c->workers; i++) {
        const char *why;
        size_t which;
        enum error e = tls_context_create(spec, &listener->tls[i], &why, &which);
        if (e == ERROR_MEMORY)
            return e;
        if (e != ERROR_NONE)
            return config_complain(file, s, "certificate",
                                   "%s: %s; see certificate, key and ciphers",
                                   config_section_list_at(s, "certificate", which), why);
    }
    return check_overlap(file, s, listener->tls[0]);
}

int config_tls_version(const char *text)
{
    static const struct {
        const char *text;
        int version;
    } known[] = { { "1.0", TLS1_VERSION },
                  { "1.1", TLS1_1_VERSION },
                  { "1.2", TLS1_2_VERSION },
                  { "1.3", TLS1_3_VERSION } };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].text, text) == 0)
            return known[i].version;
    return 0;
}

static enum error read_version(const struct config_file *file, const struct config_section *s,
                               struct config *c, struct config_listener *listener)
{
    listener->tls_min = config_keep_text(c, config_section_text(s, "tls_min"));
    if (!listener->tls_min)
        return ERROR_MEMORY;
    if (!config_tls_version(listener->tls_min))
        return config_complain(file, s, "tls_min", "write 1.0, 1.1, 1.2 or 1.3");
    return ERROR_NONE;
}

/* Our certificates and keys, while a listener is read. */
struct own_files {
    struct pem_text certificates[TLS_OWN_MAX], keys[TLS_OWN_MAX];
    struct tls_own_spec specs[TLS_OWN_MAX];
    size_t count;
};

static enum error read_pair(const struct config_file *file, const struct config_section *s,
                            size_t index, struct own_files *own)
{
    const char *certificate = config_section_list_at(s, "certificate", index);
    const char *key = config_section_list_at(s, "key", index);
    enum error e = config_append_file(&own->certificates[index], certificate);
    e = config_complain_of_file(file, s, "certificate", certificate, e);
    return config_worse(e, config_read_key(file, s, "key", key, &own->keys[index]));
}

static enum error read_own(const struct config_file *file, const struct config_section *s,
                           struct own_files *own)
{
    size_t certificates = config_section_list_count(s, "certificate");
    size_t keys = config_section_list_count(s, "key");
    enum error e = ERROR_NONE;
    if (certificates == 0 || keys == 0)
        return config_complain(file, s, keys ? "certificate" : "key",
                               "a tls listener needs certificate and key; name PEM files");
    if (certificates != keys || keys > TLS_OWN_MAX)
        return config_complain(file, s, "key",
                               "%zu keys for %zu certificates; name one for each, in their order",
                               keys, certificates);
    for (; own->count < keys; own->count++) {
        size_t i = own->count;
        e = config_worse(e, read_pair(file, s, i, own));
        own->specs[i] = (struct tls_own_spec){ config_pem_slice(&own->certificates[i]),
                                               config_pem_slice(&own->keys[i]) };
    }
    return e;
}

static enum error read_tls(struct config *c, const struct config_file *file,
                           const struct config_section *s, const struct config_stores *all,
                           struct config_listener *listener)
{
    struct tls_store_spec stores[CONFIG_TRUST_STORES_MAX];
    struct own_files own = { .count = 0 };
    size_t store_count;
    enum error e = ERROR_NONE;
    if (!client_certificate_from_text(config_section_text(s, "client_certificate"),
                                      &listener->client_certificate))
        e = config_complain(file, s, "client_certificate", "write required, optional or ignored");
    e = config_worse(e, read_version(file, s, c, listener));
    listener->tickets = config_section_boolean(s, "tickets");
    e = config_worse(
        e, choose_stores(file, s, listener->client_certificate, all, stores, &store_count));
    e = config_worse(e, read_own(file, s, &own));
    if (e == ERROR_NONE) {
        struct tls_context_spec spec = { .own = own.specs,
                                         .own_count = own.count,
                                         .ciphers = config_section_text(s, "ciphers"),
                                         .version_min = config_tls_version(listener->tls_min),
                                         .client_certificate = listener->client_certificate,
                                         .stores = stores,
                                         .store_count = store_count,
                                         .listener = listener->name };
        if (listener->tickets)
            spec.resumption_max_s = (c->resumption.max_ms + 999) / 1000;
        e = build_contexts(c, file, s, &spec, listener);
        e = config_worse(e, config_read_staples(c, file, s, own.specs, own.count, listener));
    }
    for (size_t i = 0; i < own.count; i++) {
        config_forget(&own.certificates[i]);
        config_forget(&own.keys[i]);
    }
    return e;
}

/* ---- Listeners ---- */

/* HOST:PORT with a name, an IPv4 address or [IPv6]. */
static bool is_advertisable(const char *text)
{
    struct address address;
    struct identity host;
    unsigned long long port;
    const char *colon = strrchr(text, ':');
    if (!colon || !slice_to_u64(slice_of(colon + 1), UINT16_MAX, &port) || port == 0)
        return false;
    if (address_from_text(&address, slice_of(text)) == ERROR_NONE)
        return !address_is_wildcard(&address);
    struct slice name = { text, (size_t)(colon - text) };
    return text[0] != '[' && identity_from_parts(&host, SLICE(""), name, false) == ERROR_NONE;
}

static bool keep_advertised(struct config *c, const char *text, struct config_listener *listener)
{
    const char *colon = strrchr(text, ':');
    struct slice host = { text, (size_t)(colon - text) };
    unsigned long long port = 0;
    listener->advertise = config_keep_text(c, text);
    listener->advertise_host = arena_copy(&c->arena, host).data;
    if (!slice_to_u64(slice_of(colon + 1), UINT16_MAX, &port))
        return false;
    listener->advertise_port = (uint16_t)port;
    return listener->advertise && listener->advertise_host;
}

static enum error read_addresses(struct config *c, const struct config_file *file,
                                 const struct config_section *s, struct config_listener *listener)
{
    const char *address = config_section_text(s, "address");
    const char *advertise = config_section_text(s, "advertise");
    enum error e = ERROR_NONE;
    if (address_from_text(&listener->address, slice_of(address)) != ERROR_NONE)
        e = config_complain(file, s, "address", "\"%s\": write IP:PORT or [IPv6]:PORT", address);
    else if (!*advertise && address_is_wildcard(&listener->address))
        e = config_complain(file, s, "advertise",
                            "needed with address %s, which peers can't send to; write HOST:PORT",
                            address);
    if (*advertise && !is_advertisable(advertise))
        e = config_complain(file, s, "advertise", "\"%s\": write HOST:PORT that peers can reach",
                            advertise);
    else if (*advertise && !keep_advertised(c, advertise, listener))
        return ERROR_MEMORY;
    return e;
}

static enum error read_listener(struct config *c, const struct config_file *file,
                                const struct config_section *s, const struct config_stores *stores,
                                struct config_listener *listener)
{
    listener->name = config_keep_text(c, config_section_title(s));
    if (!listener->name)
        return ERROR_MEMORY;
    enum error e = read_addresses(c, file, s, listener);
    if (!transport_from_text(config_section_text(s, "transport"), &listener->transport) ||
        listener->transport == TRANSPORT_UDP)
        return config_worse(e, config_complain(file, s, "transport", "write tls or tcp"));
    e = config_worse(e, config_read_digest(c, file, s, listener));
    if (listener->transport == TRANSPORT_TLS)
        return config_worse(e, read_tls(c, file, s, stores, listener));
    if (config_section_list_count(s, "certificate") || config_section_list_count(s, "key") ||
        config_section_list_count(s, "trust_stores") > 0)
        e = config_complain(
            file, s, "transport",
            "tcp takes no certificate, key or trust_stores; write tls or remove them");
    return e;
}

enum error config_read_listeners(struct config *config, const struct config_file *file,
                                 const struct config_stores *stores)
{
    size_t count = config_section_count(file, "listener");
    enum error e = config_check_titles(file, "listener");
    if (count == 0 || count > CONFIG_LISTENERS_MAX)
        e = config_worse(e,
                         config_complain(file, NULL, "listener", "write 1 to %d sections listener",
                                         CONFIG_LISTENERS_MAX));
    else if (!(config->listeners = mem_zero(count, sizeof(*config->listeners))))
        e = ERROR_MEMORY;
    for (size_t i = 0; config->listeners && i < count; i++) {
        config->listeners[i].index = (unsigned)i;
        config->listener_count++;
        e = config_worse(e, read_listener(config, file, config_section_at(file, "listener", i),
                                          stores, &config->listeners[i]));
    }
    return e;
}

void config_free_listeners(struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        struct tls_context **tls = config->listeners[i].tls;
        for (unsigned w = 0; tls && w < config->workers; w++)
            tls_context_free(tls[w]);
        mem_free(tls);
    }
    mem_free(config->listeners);
}

/* ---- Warnings ---- */

void config_warn(const struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        const struct trust_store *store;
        if (!listener->tls)
            continue;
        for (size_t j = 0; (store = tls_context_store(listener->tls[0], j)); j++)
            config_warn_of_store("listener", listener->name, store);
        config_warn_of_version("listener", listener->name, listener->tls_min);
    }
    config_warn_of_routes(config);
}
