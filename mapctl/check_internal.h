/* SPDX-License-Identifier: Apache-2.0 */
/* What the two ways of mapctl check share: check.c asks mapperd itself, check_proxy.c lets the
 * proxy's code ask. */
#ifndef HOLDLINE_MAPCTL_CHECK_INTERNAL_H
#define HOLDLINE_MAPCTL_CHECK_INTERNAL_H

#include "common/policy.h"
#include "mapctl/command.h"

#define METHOD_MAX 32
#define NAMES_MAX  16

#define PROXY_CONFIG    "/etc/holdline/proxy.conf"
#define CERTIFICATE_MAX (256 << 10)

enum check_option {
    OPTION_NAME = 1,
    OPTION_LISTENER,
    OPTION_CERT,
    OPTION_NO_CERT,
    OPTION_PROXY_CONFIG
};

/* SIP names of the certificate. */
struct names {
    struct identity list[NAMES_MAX];
    size_t count;
};

struct question {
    struct slice store, cn, method;
    char method_text[METHOD_MAX + 1];
    struct identity from, target;
    struct identity domain; /* of the target */
    bool registers;
    bool presumed; /* STORE and CN stand for a certificate that nobody has shown */
};

/* What was decided, with the rows that bear on it, as EXPLAIN names them. */
enum status check_show(const struct question *q, const struct settings *settings,
                       const struct names *names, const struct decision *decision);

/* --listener: as the proxy of that configuration. Fills in store and CN. */
enum status check_as_proxy(struct question *q, const struct settings *settings,
                           const struct arguments *arguments, const struct names *names);

#endif
