/* SPDX-License-Identifier: Apache-2.0 */
#include "mapperd/hosts.h"

#include <string.h>

#define OPTIONS_MAX 64

void hosts_rotate(struct buffer *out, struct slice list, unsigned turn)
{
    size_t words = 1, at = 0;
    for (size_t i = 0; i < list.size; i++)
        words += list.data[i] == ',';
    for (turn %= (unsigned)words; turn > 0; turn--)
        at +=
            (size_t)((const char *)memchr(list.data + at, ',', list.size - at) - (list.data + at)) +
            1;
    buffer_add(out, (struct slice){ list.data + at, list.size - at });
    if (at > 0) {
        buffer_add_char(out, ',');
        buffer_add(out, (struct slice){ list.data, at - 1 });
    }
    buffer_add_char(out, '\0');
}

static bool is_list(const char *keyword)
{
    return strcmp(keyword, "host") == 0 || strcmp(keyword, "hostaddr") == 0 ||
           strcmp(keyword, "port") == 0;
}

/* With a name for pg_stat_activity, which the options' own one overrides. */
static PGconn *connect_rotated(const PQconninfoOption *options, unsigned turn)
{
    const char *keywords[OPTIONS_MAX + 1] = { "fallback_application_name" };
    const char *values[OPTIONS_MAX + 1] = { "holdline-mapperd" };
    size_t count = 1, offsets[OPTIONS_MAX] = { SIZE_MAX };
    struct buffer text;
    buffer_init(&text, 0);
    for (const PQconninfoOption *o = options; o->keyword != NULL && count < OPTIONS_MAX; o++) {
        if (o->val == NULL)
            continue;
        keywords[count] = o->keyword;
        values[count] = o->val;
        offsets[count] = is_list(o->keyword) ? buffer_size(&text) : SIZE_MAX;
        if (offsets[count] != SIZE_MAX)
            hosts_rotate(&text, slice_of(o->val), turn);
        count++;
    }
    /* The buffer moves no more. */
    for (size_t i = 0; i < count; i++)
        if (offsets[i] != SIZE_MAX && !text.failed)
            values[i] = buffer_slice(&text).data + offsets[i];
    keywords[count] = values[count] = NULL;
    PGconn *connection = PQconnectStartParams(keywords, values, 0);
    buffer_free(&text);
    return connection;
}

PGconn *hosts_connect(const char *conninfo, unsigned turn)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    /* A text that can't be read: libpq's own message says why. */
    if (options == NULL)
        return PQconnectStart(conninfo);
    PGconn *connection = connect_rotated(options, turn);
    PQconninfoFree(options);
    return connection;
}
