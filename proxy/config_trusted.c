/* SPDX-License-Identifier: Apache-2.0 */
/* Trusted peers of the configuration: who may name users of other domains in From. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/peer_identity.h"

#include <string.h>

static enum error read_list(struct config *c, const struct config_file *file,
                            const struct config_section *s, struct config_trusted_peer *trusted)
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
    trusted->may_assert = list;
    trusted->may_assert_count = count;
    trusted->own_domains = config_section_boolean(s, "own_domains");
    if (trusted->own_domains && count == 0)
        e = config_complain(file, s, "own_domains",
                            "name the domains in may_assert; without a list it is all but ours");
    return e;
}

static enum error read_certificate(const struct config_file *file, const struct config_section *s,
                                   struct config_trusted_peer *trusted)
{
    const char *cn = config_section_text(s, "cn"), *san = config_section_text(s, "san");
    enum error e = ERROR_NONE;
    if (*cn && cn_canonical(CN_FORM_EXACT, NULL, 0, slice_of(cn), trusted->cn, NULL) != ERROR_NONE)
        e = config_complain(file, s, "cn", "\"%s\" is no CN; write it as the certificate has it",
                            cn);
    if (*san && identity_from_text(&trusted->san, slice_of(san)) != ERROR_NONE)
        e = config_complain(file, s, "san", "\"%s\" is no name; write a domain or user@domain",
                            san);
    return e;
}

static enum error check_store(const struct config_file *file, const struct config_section *s,
                              const char *store)
{
    size_t count = config_section_count(file, "trust_store");
    for (size_t i = 0; i < count; i++)
        if (strcmp(config_section_title(config_section_at(file, "trust_store", i)), store) == 0)
            return ERROR_NONE;
    return config_complain(file, s, "trust_store",
                           "there is no section trust_store %s; write one or correct the name",
                           store);
}

enum error config_read_trusted_peers(struct config *c, const struct config_file *file)
{
    enum error e = config_check_titles(file, "trusted_peer");
    size_t count = config_section_count(file, "trusted_peer");
    if (count > CONFIG_ROUTES_MAX)
        return config_complain(file, NULL, "trusted_peer", "more than %d", CONFIG_ROUTES_MAX);
    c->trusted_peers = mem_zero(count ? count : 1, sizeof(*c->trusted_peers));
    if (!c->trusted_peers)
        return ERROR_MEMORY;
    for (; c->trusted_peer_count < count; c->trusted_peer_count++) {
        const struct config_section *s =
            config_section_at(file, "trusted_peer", c->trusted_peer_count);
        struct config_trusted_peer *trusted = &c->trusted_peers[c->trusted_peer_count];
        trusted->name = config_keep_text(c, config_section_title(s));
        trusted->store = config_keep_text(c, config_section_text(s, "trust_store"));
        if (!trusted->name || !trusted->store)
            return ERROR_MEMORY;
        e = config_worse(e, check_store(file, s, trusted->store));
        e = config_worse(e, read_certificate(file, s, trusted));
        e = config_worse(e, read_list(c, file, s, trusted));
    }
    return e;
}

static bool has_name(const struct peer_identity *certificate, const struct identity *name)
{
    for (size_t i = 0; i < certificate->name_count; i++)
        if (slice_equal(identity_text(&certificate->names[i]), identity_text(name)))
            return true;
    return false;
}

const struct config_trusted_peer *config_trusted_peer_of(const struct config *config,
                                                         const struct peer_identity *certificate)
{
    for (size_t i = 0; i < config->trusted_peer_count; i++) {
        const struct config_trusted_peer *trusted = &config->trusted_peers[i];
        if (strcmp(trusted->store, certificate->store) == 0 &&
            (!trusted->cn[0] ||
             slice_equal(slice_of(trusted->cn),
                         (struct slice){ certificate->cn, certificate->cn_size })) &&
            (!trusted->san.size || has_name(certificate, &trusted->san)))
            return trusted;
    }
    return NULL;
}

/* What may_assert says, whosever the domain is. */
static bool is_listed(const struct config_trusted_peer *trusted, const struct identity *identity)
{
    for (size_t i = 0; i < trusted->may_assert_count; i++)
        if (identity_covered_by(identity, identity_text(&trusted->may_assert[i])))
            return true;
    return trusted->may_assert_count == 0 && !trusted->own_domains;
}

bool config_trusted_peer_asserts(const struct config_trusted_peer *trusted,
                                 const struct identity *identity, bool foreign)
{
    return identity->size > 0 && (foreign || trusted->own_domains) && is_listed(trusted, identity);
}
