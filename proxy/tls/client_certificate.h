/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener asks of a client: the one word that configuration, context and session share. */
#ifndef HOLDLINE_TLS_CLIENT_CERTIFICATE_H
#define HOLDLINE_TLS_CLIENT_CERTIFICATE_H

#include <stdbool.h>
#include <string.h>

enum client_certificate {
    CLIENT_CERTIFICATE_REQUIRED = 0, /* none: no handshake */
    CLIENT_CERTIFICATE_OPTIONAL,     /* asked for; one that is sent must be good all the same */
    CLIENT_CERTIFICATE_IGNORED,      /* not asked for, so that none can be sent */
};

/* False: no such word; *out is REQUIRED then. */
static inline bool client_certificate_from_text(const char *text, enum client_certificate *out)
{
    *out = CLIENT_CERTIFICATE_REQUIRED;
    if (strcmp(text, "optional") == 0)
        *out = CLIENT_CERTIFICATE_OPTIONAL;
    else if (strcmp(text, "ignored") == 0)
        *out = CLIENT_CERTIFICATE_IGNORED;
    else
        return strcmp(text, "required") == 0;
    return true;
}

#endif
