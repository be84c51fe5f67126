/* SPDX-License-Identifier: Apache-2.0 */
/* What a REGISTER asks for: its contacts (RFC 3261 10.2, 10.3 steps 6 and 7; RFC 5626 6). Pure. */
#ifndef HOLDLINE_REGISTRAR_WANTED_H
#define HOLDLINE_REGISTRAR_WANTED_H

#include "common/reason.h"
#include "proxy/config.h"
#include "proxy/sip/message.h"

/* Contacts in one REGISTER; a phone sends one, rarely two. */
#define REGISTRAR_CONTACTS_MAX 8

/* One contact. Slices point into the message. */
struct wanted {
    struct slice uri, instance;
    uint32_t reg_id;
    uint16_t q;
    uint32_t granted_s; /* 0: remove */
};

struct wanted_list {
    struct wanted list[REGISTRAR_CONTACTS_MAX];
    size_t count;
    bool star; /* all shall go */
};

/* ALLOWED, MALFORMED, BINDINGS_TOO_MANY or EXPIRES_TOO_BRIEF. `out` is all zero before. */
enum reason wanted_read(const struct message *m, const struct config_registrar *limits,
                        struct wanted_list *out);

#endif
