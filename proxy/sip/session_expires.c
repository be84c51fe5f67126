/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/sip/session_expires.h"

#include "proxy/sip/header.h"
#include "proxy/sip/scan_internal.h"

/* As bounded as a header value's parameters are everywhere (docs/sip.md). */
#define PARAMS_MAX 64

/* Splits `digits;params`. */
static enum error parse_seconds(struct slice value, uint32_t *seconds, struct slice *params)
{
    size_t digits = 0;

    value = slice_trim(value);
    while (digits < value.size && value.data[digits] != ';')
        digits++;
    *params = slice_skip(value, digits);
    return header_parse_number(slice_trim(slice_first(value, digits)), UINT32_MAX, seconds);
}

static enum error read_refresher(const struct param *param, enum session_refresher *out)
{
    if (!slice_equal_nocase(param->name, SLICE("refresher")))
        return ERROR_NONE;
    if (!param->has_value || param->quoted)
        return ERROR_MALFORMED;
    if (slice_equal_nocase(param->value, SLICE("uac")))
        *out = SESSION_REFRESHER_UAC;
    else if (slice_equal_nocase(param->value, SLICE("uas")))
        *out = SESSION_REFRESHER_UAS;
    return *out == SESSION_REFRESHER_NONE ? ERROR_MALFORMED : ERROR_NONE;
}

static enum error walk(struct slice params, enum session_refresher *refresher)
{
    struct slice names[PARAMS_MAX];
    size_t count = 0;
    struct param param;
    enum error e;

    while ((e = header_next_param(&params, &param)) == ERROR_NONE) {
        for (size_t i = 0; i < count; i++)
            if (slice_equal_nocase(names[i], param.name))
                return ERROR_MALFORMED;
        if (count == PARAMS_MAX || read_refresher(&param, refresher) != ERROR_NONE)
            return ERROR_MALFORMED;
        names[count++] = param.name;
    }
    return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
}

enum error session_expires_parse(struct slice value, struct session_expires *out)
{
    struct session_expires read = { .refresher = SESSION_REFRESHER_NONE };

    *out = (struct session_expires){ .params = { "", 0 } };
    if (parse_seconds(value, &read.seconds, &read.params) != ERROR_NONE ||
        walk(read.params, &read.refresher) != ERROR_NONE)
        return ERROR_MALFORMED;
    *out = read;
    return ERROR_NONE;
}

enum error session_min_parse(struct slice value, uint32_t *seconds)
{
    enum session_refresher ignored = SESSION_REFRESHER_NONE;
    struct slice params;
    uint32_t read;

    *seconds = 0;
    if (parse_seconds(value, &read, &params) != ERROR_NONE || walk(params, &ignored) != ERROR_NONE)
        return ERROR_MALFORMED;
    *seconds = read;
    return ERROR_NONE;
}
