/* SPDX-License-Identifier: Apache-2.0 */
/* Values and routes of the configuration, and its life. What can be said of two options together is
 * checked here; one option's own range is in options.def. */
#include "proxy/config.h"

#include "common/mem.h"
#include "proxy/config_internal.h"
#include "proxy/tls/ticket_keys.h"

#include <assert.h>
#include <string.h>

static const struct option_spec specs[] = {
#define OPTION(section, name, type, default_text, minimum, maximum, live, help) \
    { section, name, type, default_text, minimum, maximum, live, help },
#include "proxy/options.def"
#undef OPTION
};
#define SPEC_COUNT (sizeof(specs) / sizeof(specs[0]))

void config_print_options(FILE *out)
{
    config_print_help(out, specs, SPEC_COUNT);
}

void config_print_page(FILE *out)
{
    config_print_man(out, "holdline-proxy",
                     "SIP proxy and registrar for phones that are known by their certificate",
                     specs, SPEC_COUNT);
}

const char *config_keep_text(struct config *config, const char *text)
{
    return arena_copy(&config->arena, slice_of(text)).data;
}

enum error config_worse(enum error a, enum error b)
{
    if (a == ERROR_NONE || (a == ERROR_CONFIG && b != ERROR_NONE))
        return b;
    return a;
}

static bool is_name(const char *text)
{
    size_t size = strlen(text);
    return size >= 1 && size <= PROXY_NAME_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == size;
}

enum error config_check_titles(const struct config_file *file, const char *section)
{
    enum error e = ERROR_NONE;
    size_t count = config_section_count(file, section);
    for (size_t i = 0; i < count; i++) {
        const struct config_section *s = config_section_at(file, section, i);
        const char *title = config_section_title(s);
        if (!is_name(title))
            e = config_complain(file, s, NULL,
                                "name of %s \"%s\": write 1 to 32 letters, digits, _ or -", section,
                                title);
    }
    return e;
}

/* ---- Values ---- */

static enum error read_texts(struct config *c, const struct config_file *file)
{
    const char *name = config_text(file, "name"), *level = config_text(file, "log_level");
    enum error e = ERROR_NONE;
    if (!is_name(name))
        e = config_complain(file, NULL, "name", "write 1 to 32 letters, digits, _ or -");
    else
        memcpy(c->name, name, strlen(name) + 1);
    if (!log_level_from_text(level, &c->log_level))
        e = config_complain(file, NULL, "log_level",
                            "\"%s\" is none; write error, warning, notice, info or debug", level);
    const char *international = config_text(file, "international_prefixes");
    c->international = arena_copy(&c->arena, slice_of(international));
    if (!c->international.data)
        return ERROR_MEMORY;
    if (strspn(international, "0123456789,") != strlen(international))
        e = config_complain(file, NULL, "international_prefixes", "write digits, such as 00,011");
    if (strcmp(config_text(file, "diversion"), "pass") == 0)
        c->pass_diversion = true;
    else if (strcmp(config_text(file, "diversion"), "remove") != 0)
        e = config_complain(file, NULL, "diversion", "write remove or pass");
    c->mapperd_socket = config_keep_text(c, config_text(file, "mapperd_socket"));
    c->control_socket = config_keep_text(c, config_text(file, "control_socket"));
    c->token_keys = config_keep_text(c, config_text(file, "token_keys"));
    c->log_file = config_keep_text(c, config_text(file, "log_file"));
    if (!c->mapperd_socket || !c->control_socket || !c->token_keys || !c->log_file)
        return ERROR_MEMORY;
    return e;
}

static enum error read_aliases(struct config *c, const struct config_file *file)
{
    size_t count = config_list_count(file, "aliases");
    const char **list = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*list));
    enum error e = ERROR_NONE;
    if (!list)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        struct identity host;
        const char *text = config_list_at(file, "aliases", i);
        if (identity_from_parts(&host, SLICE(""), slice_of(text), false) != ERROR_NONE)
            e = config_complain(file, NULL, "aliases", "\"%s\" is no host name", text);
        else if ((list[c->alias_count] = config_keep_text(c, host.text)))
            c->alias_count++;
        else
            return ERROR_MEMORY;
    }
    c->aliases = list;
    return e;
}

static uint64_t read_ms(const struct config_file *file, const char *name)
{
    return (uint64_t)config_integer(file, name);
}

static unsigned read_count(const struct config_file *file, const char *name)
{
    return (unsigned)config_integer(file, name);
}

static enum error read_timers(struct config_timers *t, const struct config_file *file)
{
    *t = (struct config_timers){
        .t1_ms = read_ms(file, "t1"),
        .t2_ms = read_ms(file, "t2"),
        .t4_ms = read_ms(file, "t4"),
        .timer_c_ms = read_ms(file, "timer_c"),
        .park_deadline_ms = read_ms(file, "park_deadline"),
        .nonfinal_100_after_ms = read_ms(file, "nonfinal_100_after"),
        .next_hop_pause_ms = read_ms(file, "next_hop_pause"),
        .handshake_timeout_ms = read_ms(file, "handshake_timeout"),
        .message_timeout_ms = read_ms(file, "message_timeout"),
        .output_timeout_ms = read_ms(file, "output_timeout"),
        .idle_timeout_ms = read_ms(file, "idle_timeout"),
    };
    if (t->park_deadline_ms >= 64 * t->t1_ms)
        return config_complain(file, NULL, "park_deadline",
                               "must be below 64 * t1 = %llu, when the sender gives up",
                               (unsigned long long)(64 * t->t1_ms));
    if (t->t2_ms < t->t1_ms)
        return config_complain(file, NULL, "t2", "must not be below t1");
    return ERROR_NONE;
}

static enum error read_bounds(struct config *c, const struct config_file *file)
{
    c->workers = read_count(file, "workers");
    c->bounds = (struct config_bounds){
        .max_message = (size_t)config_integer(file, "max_message"),
        .output_max = (size_t)config_integer(file, "output_max"),
        .max_connections = read_count(file, "max_connections"),
        .max_handshakes = read_count(file, "max_handshakes"),
        .park_per_device = read_count(file, "park_per_device"),
        .park_total = read_count(file, "park_total"),
        .park_per_trusted_peer = read_count(file, "park_per_trusted_peer"),
        .cache_entries = read_count(file, "cache_entries"),
    };
    c->registrar = (struct config_registrar){
        .expires_min_s = read_count(file, "expires_min"),
        .expires_default_s = read_count(file, "expires_default"),
        .expires_max_s = read_count(file, "expires_max"),
        .contacts_max = read_count(file, "contacts_max"),
    };
    c->passwords = (struct config_passwords){
        .nonce_lifetime_ms = (uint64_t)config_integer(file, "digest_nonce_lifetime"),
        .failures = read_count(file, "digest_failures"),
        .failures_per_minute = read_count(file, "digest_failures_per_minute"),
    };
    c->session_timer_s = read_count(file, "session_timer");
    c->resumption = (struct config_resumption){
        .max_ms = read_ms(file, "resumption_max"),
        .rotation_ms = read_ms(file, "ticket_key_rotation"),
    };
    c->ocsp.timeout_ms = read_ms(file, "ocsp_timeout");
    c->ocsp.refresh_ms = read_ms(file, "ocsp_refresh");
    const struct config_registrar *r = &c->registrar;
    enum error e = ERROR_NONE;
    if (c->resumption.max_ms / c->resumption.rotation_ms > TICKET_KEYS_MAX - 2)
        e = config_complain(file, NULL, "ticket_key_rotation",
                            "too short: %d keys must last for resumption_max = %llu",
                            TICKET_KEYS_MAX - 2, (unsigned long long)c->resumption.max_ms);
    if (c->session_timer_s != 0 && c->session_timer_s < SESSION_TIMER_MIN_S)
        e = config_complain(file, NULL, "session_timer", "write 0, or %d and more",
                            SESSION_TIMER_MIN_S);
    if (c->bounds.output_max < 2 * c->bounds.max_message)
        e = config_complain(file, NULL, "output_max", "must be at least twice max_message = %zu",
                            2 * c->bounds.max_message);
    if (r->expires_default_s < r->expires_min_s || r->expires_default_s > r->expires_max_s)
        e = config_complain(file, NULL, "expires_default",
                            "must lie between expires_min = %u and expires_max = %u",
                            r->expires_min_s, r->expires_max_s);
    return e;
}

/* ---- Routes ---- */

static enum error read_may_assert(struct config *c, const struct config_file *file,
                                  const struct config_section *s, struct config_route *route)
{
    size_t count = config_section_list_count(s, "may_assert");
    struct identity *list = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*list));
    enum error e = ERROR_NONE;
    if (!list)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *text = config_section_list_at(s, "may_assert", i);
        if (identity_from_text(&list[i], slice_of(text)) != ERROR_NONE)
            e = config_complain(file, s, "may_assert",
                                "\"%s\" is no identity; write a domain or user@domain", text);
    }
    route->may_assert = list;
    route->may_assert_count = count;
    return e;
}

static enum error read_servers(const struct config_file *file, const struct config_section *s,
                               struct config_route *route)
{
    enum error e = ERROR_NONE;
    route->server_count = config_section_list_count(s, "address");
    for (size_t i = 0; i < route->server_count && i < ROUTE_SERVERS_MAX; i++) {
        const char *text = config_section_list_at(s, "address", i);
        struct address *server = &route->servers[i];
        if (address_from_text(server, slice_of(text)) != ERROR_NONE || address_port(server) == 0 ||
            address_is_wildcard(server))
            e = config_complain(file, s, "address", "\"%s\": write IP:PORT or [IPv6]:PORT", text);
        for (size_t j = 0; e == ERROR_NONE && j < i; j++)
            if (address_equal(server, &route->servers[j]))
                e = config_complain(file, s, "address", "%s stands twice", text);
    }
    return e;
}

static enum error read_route(struct config *c, const struct config_file *file,
                             const struct config_section *s, struct config_route *route)
{
    const char *domain = config_section_text(s, "domain");
    enum error e = ERROR_NONE;
    route->name = config_keep_text(c, config_section_title(s));
    if (!route->name)
        return ERROR_MEMORY;
    route->inbound = config_section_boolean(s, "inbound");
    route->trusted = config_section_boolean(s, "trusted");
    if (identity_from_text(&route->domain, slice_of(domain)) != ERROR_NONE ||
        route->domain.user_size > 0)
        e = config_complain(file, s, "domain",
                            "\"%s\" is no domain; write one like pbx.example.org", domain);
    e = config_worse(e, read_servers(file, s, route));
    if (!transport_from_text(config_section_text(s, "transport"), &route->transport) ||
        route->transport == TRANSPORT_UDP)
        e = config_complain(file, s, "transport", "write tcp or tls");
    if (e == ERROR_NONE && config_route_of_domain(c, identity_text(&route->domain)))
        e = config_complain(file, s, "domain", "%s has a route already", route->domain.text);
    e = config_worse(e, config_read_services(c, file, s, route));
    e = config_worse(e, config_read_numbers(c, file, s, route));
    return config_worse(e, read_may_assert(c, file, s, route));
}

static enum error read_routes(struct config *c, const struct config_file *file)
{
    enum error e = config_check_titles(file, "route");
    size_t count = config_section_count(file, "route");
    if (count > CONFIG_ROUTES_MAX)
        return config_complain(file, NULL, "route", "more than %d", CONFIG_ROUTES_MAX);
    c->routes = mem_zero(count ? count : 1, sizeof(*c->routes));
    if (!c->routes)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        c->routes[i].index = (unsigned)i;
        e = config_worse(e,
                         read_route(c, file, config_section_at(file, "route", i), &c->routes[i]));
        c->route_count++;
    }
    return e;
}

const struct config_route *config_route_of_domain(const struct config *config, struct slice domain)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (slice_equal(identity_text(&config->routes[i].domain), domain))
            return &config->routes[i];
    return NULL;
}

const struct config_route *config_route_of_host(const struct config *config,
                                                const struct address *host)
{
    for (size_t i = 0; i < config->route_count; i++)
        for (size_t j = 0; j < config->routes[i].server_count; j++)
            if (address_same_host(&config->routes[i].servers[j], host))
                return &config->routes[i];
    return NULL;
}

/* ---- Life ---- */

static void config_free(struct config *config)
{
    config_free_listeners(config);
    config_free_route_tls(config);
    config_free_crls(config);
    config_free_staples(config);
    config_file_free(config->file);
    mem_free(config->routes);
    mem_free(config->trusted_peers);
    arena_free(&config->arena);
    mem_free(config);
}

static enum error read_all(struct config *c, const char *path, const struct config *running)
{
    const struct config_file *file = c->file;
    struct config_stores *stores;
    c->path = config_keep_text(c, path);
    enum error e = c->path ? ERROR_NONE : ERROR_MEMORY;
    e = config_worse(e, read_texts(c, file));
    e = config_worse(e, read_aliases(c, file));
    e = config_worse(e, read_timers(&c->timers, file));
    e = config_worse(e, read_bounds(c, file));
    if (running)
        c->workers = running->workers; /* each needs contexts of its own */
    e = config_worse(e, read_routes(c, file));
    e = config_worse(e, config_read_trusted_peers(c, file));
    e = config_worse(e, config_read_stores(c, file, &stores));
    if (stores)
        e = config_worse(e, config_read_listeners(c, file, stores));
    if (stores)
        e = config_worse(e, config_read_route_tls(c, file, stores));
    config_forget_stores(stores);
    return e;
}

static enum error load(const char *path, const struct config *running, struct config **out)
{
    *out = NULL;
    struct config *c = mem_zero(1, sizeof(*c));
    if (!c)
        return ERROR_MEMORY;
    atomic_init(&c->references, 1);
    arena_init(&c->arena, 0);
    enum error e = config_file_read(path, specs, SPEC_COUNT, &c->file);
    if (e == ERROR_NONE)
        e = read_all(c, path, running);
    if (e != ERROR_NONE) {
        config_free(c);
        return e;
    }
    *out = c;
    return ERROR_NONE;
}

enum error config_load(const char *path, struct config **out)
{
    return load(path, NULL, out);
}

enum error config_reload(const struct config *running, struct config **out)
{
    enum error e = load(running->path, running, out);
    if (e == ERROR_NONE)
        (void)config_report_restart(running->file, (*out)->file);
    return e;
}

/* The count is all of it that changes, so what others hold is const. */
const struct config *config_hold(const struct config *config)
{
    unsigned before =
        atomic_fetch_add_explicit(&((struct config *)config)->references, 1, memory_order_relaxed);
    assert(before > 0);
    return config;
}

void config_drop(const struct config *config)
{
    if (!config)
        return;
    unsigned before =
        atomic_fetch_sub_explicit(&((struct config *)config)->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        config_free((struct config *)config);
}
