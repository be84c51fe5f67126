/* SPDX-License-Identifier: Apache-2.0 */
/* What routes of the configuration say about TLS: whom the next hop must be, who vouches for that,
 * and what we show. Routes that say the same share their contexts, since each costs memory and time
 * at every start: contexts know no names, so that nothing is shared by it but files. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/client.h"

#include <arpa/inet.h>
#include <string.h>

static const char *const tls_texts[] = { "certificate", "key", "tls_min", "ciphers" };
#define TLS_TEXT_COUNT (sizeof(tls_texts) / sizeof(tls_texts[0]))

/* ---- Whom and where ---- */

/* A certificate names no address (RFC 5922 7.1), and neither does SNI (RFC 6066 3). */
static bool is_address(const struct identity *domain)
{
    struct in_addr v4;
    return domain->text[0] == '[' || inet_pton(AF_INET, domain->text, &v4) == 1;
}

static enum error read_name(const struct config_file *file, const struct config_section *s,
                            struct config_route *route)
{
    const char *name = config_section_text(s, "tls_name");
    route->tls_name = route->domain;
    if (*name && (identity_from_text(&route->tls_name, slice_of(name)) != ERROR_NONE ||
                  route->tls_name.user_size > 0))
        return config_complain(file, s, "tls_name",
                               "\"%s\" is no domain; write one like sip.example.org", name);
    if (is_address(&route->tls_name))
        return config_complain(file, s, "tls_name",
                               "a certificate names no address; write the domain in it");
    return ERROR_NONE;
}

static enum error read_listener(struct config *c, const struct config_file *file,
                                const struct config_section *s, struct config_route *route)
{
    const char *name = config_section_text(s, "listener");
    if (!*name)
        return ERROR_NONE;
    for (size_t i = 0; i < c->listener_count; i++)
        if (strcmp(c->listeners[i].name, name) == 0 &&
            c->listeners[i].transport == route->transport) {
            route->listener = config_keep_text(c, name);
            return route->listener ? ERROR_NONE : ERROR_MEMORY;
        }
    return config_complain(file, s, "listener",
                           "there is no listener %s with transport = %s; correct the name", name,
                           route->transport == TRANSPORT_TLS ? "tls" : "tcp");
}

/* ---- Contexts ---- */

static enum error keep_store_names(struct config *c, const struct config_section *s,
                                   struct config_route *route)
{
    size_t count = config_section_list_count(s, "trust_stores");
    const char **names = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*names));
    if (!names)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++)
        if (!(names[i] = config_keep_text(c, config_section_list_at(s, "trust_stores", i))))
            return ERROR_MEMORY;
    route->trust_stores = names;
    route->trust_store_count = count;
    return ERROR_NONE;
}

static bool says_the_same(const struct config_section *a, const struct config_section *b)
{
    size_t count = config_section_list_count(a, "trust_stores");
    bool same = config_section_list_count(b, "trust_stores") == count;
    for (size_t i = 0; same && i < TLS_TEXT_COUNT; i++)
        same =
            strcmp(config_section_text(a, tls_texts[i]), config_section_text(b, tls_texts[i])) == 0;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(config_section_list_at(a, "trust_stores", i),
                      config_section_list_at(b, "trust_stores", i)) == 0;
    return same;
}

static struct tls_client **find_shared(const struct config *c, const struct config_file *file,
                                       const struct config_section *s,
                                       const struct config_route *route)
{
    for (size_t i = 0; i < route->index; i++)
        if (c->routes[i].tls && !c->routes[i].tls_is_anothers &&
            says_the_same(config_section_at(file, "route", i), s))
            return c->routes[i].tls;
    return NULL;
}

static enum error check_overlap(const struct config_file *file, const struct config_section *s,
                                const struct tls_client *client)
{
    const struct trust_store *a, *b;
    for (size_t i = 0; (a = tls_client_store(client, i)); i++)
        for (size_t j = i + 1; (b = tls_client_store(client, j)); j++)
            if (trust_store_overlaps(a, b))
                return config_complain(
                    file, s, "trust_stores",
                    "%s and %s have an anchor with the same key or subject; remove it from one",
                    trust_store_name(a), trust_store_name(b));
    return ERROR_NONE;
}

static enum error build_clients(const struct config *c, const struct config_file *file,
                                const struct config_section *s, const struct tls_client_spec *spec,
                                struct config_route *route)
{
    route->tls = mem_zero(c->workers, sizeof(struct tls_client *));
    if (!route->tls)
        return ERROR_MEMORY;
    for (unsigned i = 0; i < c->workers; i++) {
        const char *why;
        enum error e = tls_client_create(spec, &route->tls[i], &why);
        if (e == ERROR_MEMORY)
            return e;
        if (e != ERROR_NONE)
            return config_complain(file, s, "certificate",
                                   "%s: %s; see certificate, key and ciphers",
                                   config_section_text(s, "certificate"), why);
    }
    return check_overlap(file, s, route->tls[0]);
}

static enum error read_own(const struct config_file *file, const struct config_section *s,
                           struct pem_text *certificate, struct pem_text *key)
{
    bool has_certificate = *config_section_text(s, "certificate") != 0;
    if (has_certificate != (*config_section_text(s, "key") != 0))
        return config_complain(file, s, has_certificate ? "key" : "certificate",
                               "certificate and key go together; name PEM files");
    if (!has_certificate)
        return ERROR_NONE;
    const char *path = config_section_text(s, "certificate");
    enum error e = config_append_file(certificate, path);
    e = config_complain_of_file(file, s, "certificate", path, e);
    return config_worse(e, config_read_key(file, s, "key", config_section_text(s, "key"), key));
}

static enum error read_context(const struct config *c, const struct config_file *file,
                               const struct config_section *s, const struct config_stores *all,
                               struct config_route *route)
{
    struct tls_store_spec stores[CONFIG_TRUST_STORES_MAX];
    struct pem_text certificate = { NULL, 0 }, key = { NULL, 0 };
    struct tls_client_spec spec = { .ciphers = config_section_text(s, "ciphers"),
                                    .stores = stores };
    enum error e = config_choose_stores(file, s, all, "certificates of the next hop", stores,
                                        &spec.store_count);
    spec.version_min = config_tls_version(config_section_text(s, "tls_min"));
    if (!spec.version_min)
        e = config_complain(file, s, "tls_min", "write 1.0, 1.1, 1.2 or 1.3");
    e = config_worse(e, read_own(file, s, &certificate, &key));
    const struct tls_own_spec own = { config_pem_slice(&certificate), config_pem_slice(&key) };
    if (certificate.size)
        spec.own = &own;
    if (e == ERROR_NONE)
        e = build_clients(c, file, s, &spec, route);
    config_forget(&certificate);
    config_forget(&key);
    return e;
}

static enum error read_tls(struct config *c, const struct config_file *file,
                           const struct config_section *s, const struct config_stores *stores,
                           struct config_route *route)
{
    enum error e = config_worse(read_name(file, s, route), keep_store_names(c, s, route));
    route->tls_min = config_keep_text(c, config_section_text(s, "tls_min"));
    if (!route->tls_min)
        return ERROR_MEMORY;
    struct tls_client **shared = find_shared(c, file, s, route);
    if (!shared)
        return config_worse(e, read_context(c, file, s, stores, route));
    route->tls = shared;
    route->tls_is_anothers = true;
    return e;
}

static enum error refuse_tls_of_tcp(const struct config_file *file, const struct config_section *s)
{
    if (*config_section_text(s, "certificate") || *config_section_text(s, "key") ||
        *config_section_text(s, "tls_name") || config_section_list_count(s, "trust_stores") > 0)
        return config_complain(
            file, s, "transport",
            "tcp takes no certificate, key, tls_name or trust_stores; write tls or remove them");
    return ERROR_NONE;
}

enum error config_read_route_tls(struct config *c, const struct config_file *file,
                                 const struct config_stores *stores)
{
    enum error e = ERROR_NONE;
    for (size_t i = 0; i < c->route_count; i++) {
        const struct config_section *s = config_section_at(file, "route", i);
        struct config_route *route = &c->routes[i];
        e = config_worse(e, read_listener(c, file, s, route));
        e = config_worse(e, route->transport == TRANSPORT_TLS ? read_tls(c, file, s, stores, route)
                                                              : refuse_tls_of_tcp(file, s));
    }
    return e;
}

void config_free_route_tls(struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        struct tls_client **tls = config->routes[i].tls;
        if (config->routes[i].tls_is_anothers)
            continue;
        for (unsigned w = 0; tls && w < config->workers; w++)
            tls_client_free(tls[w]);
        mem_free(tls);
    }
}

/* ---- Warnings ---- */

void config_warn_of_routes(const struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        const struct trust_store *store;
        if (!route->tls)
            continue;
        for (size_t j = 0; (store = tls_client_store(route->tls[0], j)); j++)
            config_warn_of_store("route", route->name, store);
        config_warn_of_version("route", route->name, route->tls_min);
    }
}
