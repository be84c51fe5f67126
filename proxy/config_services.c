/* SPDX-License-Identifier: Apache-2.0 */
/* Which services of RFC 5031 leave by a route. */
#include "proxy/config_internal.h"

enum error config_read_services(struct config *c, const struct config_file *file,
                                const struct config_section *s, struct config_route *route)
{
    size_t count = config_section_list_count(s, "services");
    struct identity *list = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*list));
    enum error e = ERROR_NONE;
    if (!list)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *text = config_section_list_at(s, "services", i);
        if (identity_from_service(&list[i], slice_of(text)) != ERROR_NONE)
            e = config_complain(file, s, "services",
                                "\"%s\" is no service; write one like sos or sos.fire", text);
    }
    route->services = list;
    route->service_count = count;
    return e;
}
