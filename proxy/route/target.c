/* SPDX-License-Identifier: Apache-2.0 */
/* Reads Route and Request-URI. A Route value that names us is taken off, with or without a token;
 * what it may mean is the dialog token's business. */
#include "proxy/route/target.h"

#include "proxy/route/number.h"
#include "proxy/route/service.h"
#include "proxy/sip/header.h"

#include <stdio.h>

#define URI_HOST_PORT_MAX (IDENTITY_MAX + 8)

static bool is_own(const struct own_names *names, struct slice host, uint16_t port)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->names[i].port != port)
            continue;
        if (slice_equal_nocase(host, slice_of(names->names[i].host)))
            return true;
        for (size_t j = 0; j < names->alias_count; j++)
            if (slice_equal_nocase(host, slice_of(names->aliases[j])))
                return true;
    }
    return false;
}

void own_names_add(struct own_names *names, const char *advertised)
{
    const char *colon = advertised ? strrchr(advertised, ':') : NULL;
    unsigned long long port;
    struct own_name *name;

    if (!colon || names->count == OWN_NAMES_MAX ||
        (size_t)(colon - advertised) >= sizeof(name->host) ||
        !slice_to_u64(slice_of(colon + 1), UINT16_MAX, &port) ||
        is_own(names, (struct slice){ advertised, (size_t)(colon - advertised) }, (uint16_t)port))
        return;
    name = &names->names[names->count++];
    memcpy(name->host, advertised, (size_t)(colon - advertised));
    name->host[colon - advertised] = 0;
    name->port = (uint16_t)port;
}

bool target_is_ours(const struct own_names *names, const struct uri *uri)
{
    struct slice transport = SLICE("");
    uint16_t port = uri->port;

    if (uri->scheme != URI_SIP && uri->scheme != URI_SIPS)
        return false;
    uri_param(uri, SLICE("transport"), &transport);
    if (!port)
        port = slice_equal_nocase(transport, SLICE("tls")) ? 5061 : uri_default_port(uri);
    return is_own(names, uri->host, port);
}

/* One value of Route, with its URI; MALFORMED is the peer's fault. */
static enum error next_route(struct message_values *values, struct uri *uri)
{
    struct slice value;
    struct name_addr address;
    enum error error = message_next_value(values, &value);

    if (error != ERROR_NONE)
        return error;
    if (header_parse_route(value, &address) != ERROR_NONE ||
        uri_parse(address.uri, uri) != ERROR_NONE)
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

static void take_token(const struct uri *uri, struct slice *token)
{
    struct slice value;

    if (!token->data && uri_param(uri, SLICE(TARGET_TOKEN_PARAM), &value) && value.size)
        *token = value;
}

/* The configured route that a Route value names. Nothing else of a Route is ever dialled. */
static const struct config_route *find_next_hop(const struct config *config, const struct uri *uri)
{
    struct identity host;
    char text[URI_HOST_PORT_MAX];
    struct address address;

    if (uri->scheme != URI_SIP ||
        identity_from_parts(&host, SLICE(""), uri->host, false) != ERROR_NONE)
        return NULL;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];

        if (slice_equal(identity_text(&route->domain), identity_text(&host)))
            return route;
        snprintf(text, sizeof text, "%s:%u", host.text,
                 uri->port ? uri->port : uri_default_port(uri));
        if (address_from_text(&address, slice_of(text)) != ERROR_NONE)
            continue;
        for (size_t j = 0; j < route->server_count; j++)
            if (address_equal(&route->servers[j], &address))
                return route;
    }
    return NULL;
}

/* Counts the values of ours on top. Two of them are normal: one for each side of a change of
 * transport (RFC 5658). */
static enum reason read_routes(const struct message *message, const struct config *config,
                               const struct own_names *names, struct request_target *out,
                               struct slice *last, unsigned *total)
{
    struct message_values values = message_values(message, HEADER_ROUTE);
    struct uri uri;
    enum error error;

    while ((error = next_route(&values, &uri)) == ERROR_NONE) {
        *last = uri.text;
        ++*total;
        if (out->foreign_route || !target_is_ours(names, &uri)) {
            if (!out->foreign_route)
                out->next_hop = find_next_hop(config, &uri);
            out->foreign_route = true;
            continue;
        }
        out->own_routes++;
        take_token(&uri, &out->token);
    }
    return error == ERROR_NOT_FOUND ? REASON_ALLOWED : REASON_MALFORMED;
}

/* 16.4: a strict router before us has put our Record-Route URI into the Request-URI and what stood
 * there into the last Route. */
static enum reason undo_strict_router(const struct message *message, const struct config *config,
                                      const struct own_names *names, struct request_target *out)
{
    struct slice last = { NULL, 0 };
    unsigned total = 0;
    struct uri uri;
    enum reason reason;

    if (uri_parse(out->uri_text, &uri) != ERROR_NONE)
        return REASON_MALFORMED;
    if (uri.user.size == 0 && uri_is_loose(&uri) && target_is_ours(names, &uri) &&
        message_header(message, HEADER_ROUTE)) {
        out->strict = true;
        take_token(&uri, &out->token);
    }
    reason = read_routes(message, config, names, out, &last, &total);
    if (reason != REASON_ALLOWED || !out->strict)
        return reason;
    /* The last value is the Request-URI now; it is no route any more. */
    out->uri_text = last;
    out->foreign_route = out->own_routes + 1 < total;
    return REASON_ALLOWED;
}

static void find_number_route(const struct config *config, struct request_target *out)
{
    struct number number;
    const struct config_route *route = route_of_number(config, &out->uri, &out->identity, &number);

    if (!route || identity_from_parts(&out->number, (struct slice){ number.text, number.size },
                                      SLICE(""), true) != ERROR_NONE)
        return;
    out->number_route = route;
    if (identity_domain(&out->identity).size > 0)
        return;
    out->kind = REQUEST_TARGET_NUMBER;
    out->plan = route->plan;
}

static enum reason read_identity(const struct config *config, const struct own_names *names,
                                 struct request_target *out)
{
    if (uri_identity(&out->uri, &out->identity) != ERROR_NONE)
        return REASON_MALFORMED;
    if (out->uri.scheme == URI_SERVICE) {
        out->kind = REQUEST_TARGET_SERVICE;
        out->route = route_of_service(config, identity_service(&out->identity));
        return REASON_ALLOWED;
    }
    if (out->identity.user_size == 0) {
        out->kind = target_is_ours(names, &out->uri) ? REQUEST_TARGET_PROXY : REQUEST_TARGET_DOMAIN;
        return REASON_ALLOWED;
    }
    if (!out->token.data && uri_has_routing_param(&out->uri) &&
        number_is_begun(identity_user(&out->identity)))
        return REASON_NO_RIGHT; /* what follows would not be what the number rules saw (T21) */
    out->route = config_route_of_domain(config, identity_domain(&out->identity));
    out->kind = out->route ? REQUEST_TARGET_ROUTE : REQUEST_TARGET_USER;
    if (out->route)
        out->plan = out->route->plan;
    else
        find_number_route(config, out);
    return REASON_ALLOWED;
}

enum reason target_read(const struct message *message, const struct config *config,
                        const struct own_names *names, struct request_target *out)
{
    enum reason reason;

    *out = (struct request_target){ .uri_text = message_slice(message, message->request_uri),
                                    .plan.international = config->international };
    reason = undo_strict_router(message, config, names, out);
    if (reason != REASON_ALLOWED)
        return reason;
    if (uri_parse(out->uri_text, &out->uri) != ERROR_NONE)
        return REASON_MALFORMED;
    /* Whoever reads them would add them to what was checked (RFC 3261 19.1.1: there are none). */
    if (out->uri.headers.size > 0)
        return REASON_MALFORMED;
    if (out->uri.scheme == URI_OTHER)
        return REASON_SCHEME_UNSUPPORTED;
    reason = read_identity(config, names, out);
    /* sips: asks for TLS on each hop (RFC 5630 3.1); in a dialog the token says where to. */
    if (reason == REASON_ALLOWED && out->uri.scheme == URI_SIPS && out->route &&
        out->route->transport != TRANSPORT_TLS && !out->token.data)
        return REASON_SCHEME_UNSUPPORTED;
    return reason;
}

enum reason target_read_referred(struct slice uri, const struct config *config,
                                 const struct own_names *names, struct request_target *out)
{
    *out = (struct request_target){ .uri_text = uri, .plan.international = config->international };
    if (uri_parse(uri, &out->uri) != ERROR_NONE)
        return REASON_MALFORMED;
    return out->uri.scheme == URI_OTHER ? REASON_ALLOWED : read_identity(config, names, out);
}

enum reason target_follow_route(struct request_target *target)
{
    struct identity reached;
    struct slice user = identity_user(&target->identity);

    if (!target->next_hop || target->strict || user.size == 0 ||
        identity_from_parts(&reached, user, identity_text(&target->next_hop->domain), false) !=
            ERROR_NONE)
        return REASON_ROUTE_NOT_PERMITTED;
    if (target->uri.scheme == URI_SIPS && target->next_hop->transport != TRANSPORT_TLS)
        return REASON_SCHEME_UNSUPPORTED;
    target->identity = reached;
    target->route = target->next_hop;
    target->plan = target->route->plan;
    target->number_route = NULL;
    target->kind = REQUEST_TARGET_ROUTE;
    return REASON_ALLOWED;
}

void target_not_back(struct request_target *target, const char *route_name)
{
    if (!target->number_route || strcmp(target->number_route->name, route_name) != 0)
        return;
    target->number_route = NULL;
    if (target->kind == REQUEST_TARGET_NUMBER)
        target->kind = REQUEST_TARGET_USER;
}

/* Only a rule lets a request leave our domains, and only a route leads out. */
enum reason target_reason_of_nobody(enum user_state state)
{
    switch (state) {
    case USER_KNOWN:
        return REASON_TARGET_UNREACHABLE;
    case USER_FOREIGN:
        return REASON_TARGET_NO_ROUTE;
    case USER_NONE:
    case USER_UNKNOWN:
    case USER_DISABLED:
        break;
    }
    return REASON_TARGET_UNKNOWN;
}
