/* SPDX-License-Identifier: Apache-2.0 */
/* Which numbers leave by a route, and its dial plan. */
#include "proxy/config_internal.h"

#include <string.h>

static enum error read_digits(struct config *c, const struct config_file *file,
                              const struct config_section *s, const char *option, struct slice *out)
{
    const char *text = config_keep_text(c, config_section_text(s, option));
    if (!text)
        return ERROR_MEMORY;
    *out = slice_of(text);
    if (strspn(text, "0123456789") != out->size)
        return config_complain(file, s, option, "\"%s\": write digits", text);
    return ERROR_NONE;
}

/* DIGITS:+PREFIX. Together they are a whole number (E.164: 15 digits at most). Three digits are
 * emergency numbers, which stay what they are. */
static bool read_local(const char *text, struct number_local *out)
{
    const char *colon = strstr(text, ":+");
    unsigned long long digits;
    if (!colon || !slice_to_u64((struct slice){ text, (size_t)(colon - text) }, 15, &digits))
        return false;
    *out = (struct number_local){ (size_t)digits, slice_of(colon + 2) };
    return digits > 3 && out->prefix.size > 0 && out->prefix.size + digits <= 15 &&
           strspn(out->prefix.data, "0123456789") == out->prefix.size;
}

static bool is_twice(const struct number_local *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].digits == list[count].digits)
            return true;
    return false;
}

static enum error read_locals(struct config *c, const struct config_file *file,
                              const struct config_section *s, struct number_plan *plan)
{
    size_t count = config_section_list_count(s, "local_numbers");
    struct number_local *list = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*list));
    enum error e = ERROR_NONE;
    if (!list)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count && e == ERROR_NONE; i++) {
        const char *text = config_keep_text(c, config_section_list_at(s, "local_numbers", i));
        if (!text)
            return ERROR_MEMORY;
        if (!read_local(text, &list[i]))
            e = config_complain(file, s, "local_numbers",
                                "\"%s\": write DIGITS:+PREFIX, such as 10:+1: 4 digits or more, 15 "
                                "with the prefix at most",
                                text);
        else if (is_twice(list, i))
            e = config_complain(file, s, "local_numbers", "%zu digits stand twice", list[i].digits);
    }
    plan->local = list;
    plan->local_count = count;
    return e;
}

static enum error read_form(const struct config_file *file, const struct config_section *s,
                            struct config_route *route)
{
    const char *text = config_section_text(s, "number_form");
    if (strcmp(text, "as_dialled") == 0)
        route->number_form = NUMBER_AS_DIALLED;
    else if (strcmp(text, "e164") == 0)
        route->number_form = NUMBER_E164;
    else if (strcmp(text, "national") == 0)
        route->number_form = NUMBER_NATIONAL;
    else
        return config_complain(file, s, "number_form", "write as_dialled, e164 or national");
    if (route->number_form == NUMBER_NATIONAL && route->plan.country.size == 0)
        return config_complain(file, s, "number_form",
                               "national needs country_code, such as country_code = \"49\"");
    return ERROR_NONE;
}

/* + alone is every number with a country. */
static bool read_prefix(const char *text, const struct number_plan *plan, struct number *out)
{
    *out = (struct number){ .text = "+", .size = 1 };
    return strcmp(text, "+") == 0 || number_read_beginning(slice_of(text), plan, out);
}

static enum error read_prefixes(struct config *c, const struct config_file *file,
                                const struct config_section *s, struct config_route *route)
{
    size_t count = config_section_list_count(s, "number_prefixes");
    struct number *list = arena_alloc(&c->arena, (count ? count : 1) * sizeof(*list));
    enum error e = ERROR_NONE;
    if (!list)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const char *text = config_section_list_at(s, "number_prefixes", i);
        if (!read_prefix(text, &route->plan, &list[i]))
            e = config_complain(file, s, "number_prefixes",
                                "\"%s\" begins no number; write +, or digits such as +49 or 112",
                                text);
    }
    route->prefixes = list;
    route->prefix_count = count;
    return e;
}

static enum error read_service_number(struct config *c, const struct config_file *file,
                                      const struct config_section *s, struct config_route *route)
{
    static const struct number_plan none = { .international = { "", 0 } };
    const char *text = config_keep_text(c, config_section_text(s, "service_number"));
    struct number number;
    if (!text)
        return ERROR_MEMORY;
    route->service_number = slice_of(text);
    if (*text &&
        (!number_read(route->service_number, &none, &number) || strcmp(number.text, text) != 0))
        return config_complain(file, s, "service_number", "\"%s\": write a number such as 112",
                               text);
    return ERROR_NONE;
}

enum error config_read_numbers(struct config *c, const struct config_file *file,
                               const struct config_section *s, struct config_route *route)
{
    enum error e;
    route->plan.international = c->international;
    e = read_digits(c, file, s, "country_code", &route->plan.country);
    e = config_worse(e, read_digits(c, file, s, "national_prefix", &route->plan.national));
    e = config_worse(e, read_digits(c, file, s, "outside_line", &route->outside_line));
    e = config_worse(e, read_locals(c, file, s, &route->plan));
    e = config_worse(e, read_service_number(c, file, s, route));
    if (e != ERROR_NONE)
        return e;
    e = read_form(file, s, route);
    return config_worse(e, read_prefixes(c, file, s, route));
}
