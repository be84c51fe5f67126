/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/route/service.h"

/* sos.fire is below sos, and sosfire is not. */
static bool covers(struct slice of, struct slice name)
{
    return of.size <= name.size && memcmp(of.data, name.data, of.size) == 0 &&
           (of.size == name.size || name.data[of.size] == '.');
}

const struct config_route *route_of_service(const struct config *config, struct slice name)
{
    const struct config_route *found = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];

        for (size_t j = 0; j < route->service_count; j++) {
            struct slice of = identity_service(&route->services[j]);

            if (of.size > longest && covers(of, name)) {
                longest = of.size;
                found = route;
            }
        }
    }
    return found;
}
