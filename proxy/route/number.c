/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/number.h"

#include <stdio.h>

/* sip, user, an escape for each, host, user=phone. */
#define URI_MAX (3 * IDENTITY_MAX + 64)

static bool begins(struct slice s, const struct number *prefix)
{
    return s.size >= prefix->size && memcmp(s.data, prefix->text, prefix->size) == 0;
}

/* Octets of the longest prefix that fits; 0: none. */
static size_t longest_prefix(const struct config_route *route, const struct number *number)
{
    size_t longest = 0;

    for (size_t i = 0; i < route->prefix_count; i++) {
        const struct number *prefix = &route->prefixes[i];

        if (prefix->size > longest && begins((struct slice){ number->text, number->size }, prefix))
            longest = prefix->size;
    }
    return longest;
}

const struct config_route *route_of_number(const struct config *config, const struct uri *uri,
                                           const struct identity *identity, struct number *out)
{
    const struct config_route *found = NULL;
    struct number number;
    size_t longest = 0, size;

    *out = (struct number){ .size = 0 };
    if (uri_has_routing_param(uri))
        return NULL;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];

        if (route->prefix_count == 0 ||
            !number_read(identity_user(identity), &route->plan, &number))
            continue;
        size = longest_prefix(route, &number);
        if (size > longest) {
            longest = size;
            found = route;
            *out = number;
        }
    }
    return found;
}

bool route_rewrites(const struct config_route *route, const struct uri *uri,
                    const struct identity *identity)
{
    struct number number;

    return (route->number_form != NUMBER_AS_DIALLED || route->outside_line.size) &&
           !uri_has_routing_param(uri) &&
           number_read(identity_user(identity), &route->plan, &number);
}

static struct slice first_of(struct slice list)
{
    const char *comma = list.size ? memchr(list.data, ',', list.size) : NULL;

    return comma ? (struct slice){ list.data, (size_t)(comma - list.data) } : list;
}

/* `from` is the number by the plan. False: it stays as it is. */
static bool write_national(const struct config_route *route, const struct number *from, char *out,
                           size_t size)
{
    struct slice country = route->plan.country, outside = first_of(route->plan.international);
    const char *digits = from->text + 1;

    if (from->text[0] != '+')
        return false;
    if (country.size && strncmp(digits, country.data, country.size) == 0)
        snprintf(out, size, "%.*s%s", (int)route->plan.national.size, route->plan.national.data,
                 digits + country.size);
    else if (outside.size)
        snprintf(out, size, "%.*s%s", (int)outside.size, outside.data, digits);
    else
        return false;
    return true;
}

static struct slice write_uri(struct arena *arena, const struct config_route *route,
                              const char *scheme, const char *number)
{
    char text[URI_MAX];
    int size = snprintf(
        text, sizeof text, "%s:%.*s%s@%s;user=phone", scheme, (int)route->outside_line.size,
        route->outside_line.size ? route->outside_line.data : "", number, route->domain.text);

    if (size < 0 || (size_t)size >= sizeof text)
        return (struct slice){ NULL, 0 };
    return arena_copy(arena, (struct slice){ text, (size_t)size });
}

struct slice route_number_uri(struct arena *arena, const struct config_route *route,
                              struct slice user, bool sips)
{
    const struct number_plan as_dialled = { .international = { "", 0 } };
    const struct number_plan *plan =
        route->number_form == NUMBER_AS_DIALLED ? &as_dialled : &route->plan;
    char text[2 * IDENTITY_MAX];
    struct number number;

    if (!number_read(user, plan, &number))
        return (struct slice){ NULL, 0 };
    if (route->number_form != NUMBER_NATIONAL || !write_national(route, &number, text, sizeof text))
        memcpy(text, number.text, number.size + 1);
    return write_uri(arena, route, sips ? "sips" : "sip", text);
}

struct slice route_service_uri(struct arena *arena, const struct config_route *route)
{
    return write_uri(arena, route, "sip", route->service_number.data);
}
